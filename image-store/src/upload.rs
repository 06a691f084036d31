//! An image that is arriving.
//!
//! What it owns: the sequence from the first byte to the verdict, the same for every kind of
//! store. Bytes go to a [`Destination`], which only publishes them when this module says so. What
//! it never does: show anything under the image's name before it is complete and whole.

use crate::details::Remembered;
use crate::intake::{Intake, Taken};
use crate::{Entry, ImageName, StoreError, UploadId};
use imagezip::ndz::ImageInfo;
use std::sync::Arc;

/// What a sender says of its upload, and what it may send.
#[derive(Clone, Debug)]
pub struct UploadOptions {
    /// It is an ndz image: every chunk is checked while it arrives, and a file that is not one
    /// whole image is not published. Otherwise it is any file.
    pub image: bool,
    /// Its length in bytes, if known. Room for it is taken at once.
    pub bytes: Option<u64>,
    /// Most bytes that are taken.
    pub bytes_max: u64,
    /// The time of change to give it, in seconds since 1970; otherwise when it is published, and
    /// at least a second after the image that it replaces, so that its signature differs.
    pub modified: Option<u64>,
    /// The upload to go on with.
    pub resume: Option<UploadId>,
}

impl Default for UploadOptions {
    /// An image of any length.
    fn default() -> Self {
        Self { image: true, bytes: None, bytes_max: u64::MAX, modified: None, resume: None }
    }
}

/// An image that has been published.
#[derive(Clone, Debug)]
pub struct Published {
    /// As it is listed now.
    pub entry: Entry,
    /// BLAKE3 of all its bytes.
    pub blake3: [u8; 32],
    /// What its headers tell, if it was checked as an image.
    pub info: Option<ImageInfo>,
}

/// Where the bytes of one upload go, and what becomes of them.
pub(crate) trait Destination: Send {
    /// Takes bytes in order.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError>;
    /// Makes the first `bytes` bytes safe, and tells how many are.
    fn make_durable(&mut self, bytes: u64) -> Result<u64, StoreError>;
    /// Puts the upload, of this length, in the place of the image.
    fn publish(&mut self, bytes: u64) -> Result<Entry, StoreError>;
    /// Keeps it to be gone on with. With an intake the state is exactly what has been made
    /// durable.
    fn suspend(self: Box<Self>, intake: Option<Intake>);
    /// Keeps it where nobody is served from.
    fn set_aside(self: Box<Self>, reason: &str) -> Result<(), StoreError>;
    /// Forgets it.
    fn discard(self: Box<Self>) -> Result<(), StoreError>;
}

/// An image that is arriving. Dropped before it is published, it is suspended: kept for a while
/// so that its sender can go on; if it was found broken, it is set aside.
pub struct Upload {
    id: UploadId,
    name: ImageName,
    bytes: Option<u64>,
    bytes_max: u64,
    intake: Option<Intake>,
    /// Gone when the upload has ended.
    place: Option<Box<dyn Destination>>,
    /// Why it can never become an image.
    broken: Option<String>,
    /// Who wants to know what was found out.
    details: Option<Arc<Remembered>>,
}

impl Upload {
    pub(crate) fn new(
        id: UploadId,
        options: &UploadOptions,
        name: ImageName,
        intake: Intake,
        place: Box<dyn Destination>,
    ) -> Self {
        Self {
            id,
            name,
            bytes: options.bytes,
            bytes_max: options.bytes_max,
            intake: Some(intake),
            place: Some(place),
            broken: None,
            details: None,
        }
    }

    /// What is found out about the image is remembered there.
    pub(crate) fn remembered_by(mut self, details: Arc<Remembered>) -> Self {
        self.details = Some(details);
        self
    }

    /// By which it can be gone on with.
    pub fn id(&self) -> UploadId {
        self.id
    }

    /// What it will be called.
    pub fn name(&self) -> &ImageName {
        &self.name
    }

    /// Bytes taken so far: where the sender goes on.
    pub fn offset(&self) -> u64 {
        self.intake.as_ref().map_or(0, Intake::position)
    }

    /// Most bytes that are taken.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// `Broken` when a chunk is not sound (it may be one of the last few: they are checked on
    /// other threads), or more comes than was announced; `TooBig`, `Full`, `Quota`, `Io`. After
    /// `Broken` nothing more is taken.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let end = self.offset().saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if end > self.bytes_max {
            let (name, bytes_max) = (self.name.clone(), self.bytes_max);
            return Err(StoreError::TooBig { name, bytes: end, bytes_max });
        }
        if let Some(announced) = self.bytes.filter(|announced| end > *announced) {
            let why = format!("more bytes arrive than the {announced} that were announced");
            return Err(self.note(StoreError::broken(&self.name, why)));
        }
        self.with_place(|intake, place| intake.take(bytes, &mut |at, new| place.write(at, new)))
    }

    /// Makes what has been taken safe, also against a power cut, and returns how many bytes that
    /// are: the sender may forget them. (In an object store: safe as long as this process lives.)
    ///
    /// # Errors
    /// As [`Upload::write`].
    pub fn make_durable(&mut self) -> Result<u64, StoreError> {
        self.with_place(|intake, place| {
            let landed = intake.land(&mut |at, new| place.write(at, new));
            // Even if the last bytes find no room: those before them are worth keeping.
            let durable = place.make_durable(intake.landed());
            landed.and(durable)
        })
    }

    /// Puts the image in its place, if it is whole and has the size and digest (BLAKE3 of all
    /// bytes) that the sender `expected`. When this returns, it is there for good.
    ///
    /// # Errors
    /// `Broken` when it is not whole or not what was sent: it is set aside, and the image of that
    /// name, if there is one, stays. After another error the upload is suspended.
    pub fn publish(mut self, expected: Option<(u64, [u8; 32])>) -> Result<Published, StoreError> {
        self.with_place(|intake, place| {
            intake.land(&mut |at, new| place.write(at, new))?;
            intake.settle()
        })?;
        let bytes = self.offset();
        if let Some(announced) = self.bytes.filter(|announced| *announced != bytes) {
            let why = format!("cut off: {bytes} bytes arrived of {announced} announced");
            return Err(self.note(StoreError::broken(&self.name, why)));
        }
        // From here on the state in memory is used up.
        let taken = match self.intake.take().map(|mut intake| intake.finish()) {
            Some(taken) => taken.map_err(|error| self.note(error))?,
            None => return Err(self.ended()),
        };
        self.compare(bytes, &taken, expected)?;
        let Some(place) = &mut self.place else { return Err(self.ended()) };
        let entry = place.publish(bytes)?;
        self.place = None;
        let published = Published { entry, blake3: taken.blake3, info: taken.info };
        if let Some(details) = &self.details {
            details.published(&published);
        }
        Ok(published)
    }

    /// Keeps it, so that its sender can go on later, also after a restart of the server.
    ///
    /// # Errors
    /// When it cannot be made safe. What was safe before is kept all the same.
    pub fn suspend(mut self) -> Result<(), StoreError> {
        self.end()
    }

    /// Gives it up, but keeps what arrived under `.aside`, for somebody to look at.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn set_aside(mut self, reason: &str) -> Result<(), StoreError> {
        // The last bytes are worth having, but no reason to fail.
        let _ = self.with_place(|intake, place| intake.land(&mut |at, new| place.write(at, new)));
        match self.place.take() {
            Some(place) => place.set_aside(reason),
            None => Ok(()),
        }
    }

    /// Gives it up and removes it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn discard(mut self) -> Result<(), StoreError> {
        self.place.take().map_or(Ok(()), |place| place.discard())
    }

    fn compare(
        &mut self,
        bytes: u64,
        taken: &Taken,
        expected: Option<(u64, [u8; 32])>,
    ) -> Result<(), StoreError> {
        let why = match expected {
            None => return Ok(()),
            Some((sent, _)) if sent != bytes => {
                format!("{bytes} bytes arrived, but {sent} were sent")
            }
            Some((_, digest)) if digest != taken.blake3 => {
                "the digest of what arrived is not that of what was sent: bytes were changed on \
                 the way; send it again"
                    .into()
            }
            Some(_) => return Ok(()),
        };
        Err(self.note(StoreError::broken(&self.name, why)))
    }

    /// Does something with both halves, unless the upload is broken already.
    fn with_place<T>(
        &mut self,
        work: impl FnOnce(&mut Intake, &mut dyn Destination) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(why) = &self.broken {
            return Err(StoreError::broken(&self.name, why));
        }
        match (&mut self.intake, &mut self.place) {
            (Some(intake), Some(place)) => {
                work(intake, place.as_mut()).map_err(|error| self.note(error))
            }
            _ => Err(self.ended()),
        }
    }

    /// Remembers that the upload is broken.
    fn note(&mut self, error: StoreError) -> StoreError {
        if let StoreError::Broken { why, .. } = &error {
            self.broken.get_or_insert_with(|| why.clone());
        }
        error
    }

    fn ended(&self) -> StoreError {
        StoreError::refused(&self.name, "the upload has ended already")
    }

    /// Sets it aside if it is broken, suspends it otherwise.
    fn end(&mut self) -> Result<(), StoreError> {
        if self.place.is_none() {
            return Ok(());
        }
        let durable = match (&self.broken, &self.intake) {
            (None, Some(_)) => self.make_durable(),
            _ => Ok(0),
        };
        let Some(place) = self.place.take() else { return Ok(()) };
        if let Some(why) = &self.broken {
            return place.set_aside(why);
        }
        let intake = self.intake.take();
        place.suspend(
            intake.filter(|intake| durable.as_ref().is_ok_and(|d| *d == intake.position())),
        );
        durable.map(|_| ())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!("upload {} of {} not kept as a whole: {error}", self.id, self.name);
        }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload({} of {} at {})", self.id, self.name, self.offset())
    }
}
