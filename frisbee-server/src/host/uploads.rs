//! Images that arrive: how many, from whom, how far, and the three ways in.
//!
//! What it owns: limits of number, size and time, and what is known of each upload while it runs.
//! What it never does: publish anything that is not whole; the store proves that, chunk by chunk.
//!
//! Each upload has a thread of its own, which reads from the socket and waits for the disk; there
//! are only a few at a time.

mod deployed;
mod frames;
mod stream;

pub(crate) use deployed::{Deployed, open_port};
pub(crate) use frames::{read_frame, receive_frames};
pub(crate) use stream::serve_streams;

use crate::host::counters::{Counters, bump};
use crate::host::error::HostError;
use crate::host::events::Events;
use crate::host::guard;
use image_store::{ImageName, Published, Store, Upload, UploadOptions};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};
use web::api::Event;

/// What uploads may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadLimits {
    pub(crate) at_once: usize,
    pub(crate) bytes_max: u64,
    pub(crate) idle: Duration,
    pub(crate) total: Duration,
}

/// All uploads.
#[derive(Debug)]
pub(crate) struct Arrivals {
    store: Arc<Store>,
    limits: UploadLimits,
    events: Events,
    counters: Arc<Counters>,
    running: Mutex<BTreeMap<u64, Arrival>>,
    verdicts: Mutex<VecDeque<Remembered>>,
}

/// An upload that was published. Its sender may not have heard the verdict.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(crate) id: String,
    pub(crate) name: ImageName,
    pub(crate) bytes: u64,
    pub(crate) blake3: [u8; 32],
}

/// Verdicts that are remembered.
const VERDICTS_MAX: usize = 1000;

/// What is known of an upload that runs.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) name: ImageName,
    pub(crate) peer: IpAddr,
    pub(crate) bytes: u64,
    pub(crate) bytes_total: Option<u64>,
    /// Not sent by a client, but asked for by this host.
    pub(crate) fetched: bool,
    pub(crate) started_at: SystemTime,
}

/// Time between two events about one upload.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

impl Arrivals {
    pub(crate) fn new(
        store: Arc<Store>,
        limits: UploadLimits,
        events: Events,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            limits,
            events,
            counters,
            running: Mutex::default(),
            verdicts: Mutex::default(),
        })
    }

    /// What may come.
    pub(crate) fn limits(&self) -> UploadLimits {
        self.limits
    }

    /// Uploads that run, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arrival> {
        self.lock().values().cloned().collect()
    }

    /// What became of an upload of this id and name.
    pub(crate) fn verdict(&self, id: &str, name: &ImageName) -> Option<Remembered> {
        let verdicts = guard(&self.verdicts);
        verdicts.iter().find(|known| known.id == id && known.name == *name).cloned()
    }

    fn remember(&self, verdict: Remembered) {
        let mut verdicts = guard(&self.verdicts);
        verdicts.push_front(verdict);
        verdicts.truncate(VERDICTS_MAX);
    }

    /// True while an image of this name arrives.
    pub(crate) fn brings(&self, name: &ImageName) -> bool {
        self.lock().values().any(|arrival| arrival.name == *name)
    }

    /// Begins to take an image.
    ///
    /// # Errors
    /// When there are too many, or the store refuses.
    pub(crate) fn begin(
        self: &Arc<Self>,
        name: &ImageName,
        peer: IpAddr,
        options: UploadOptions,
    ) -> Result<Arriving, HostError> {
        self.begin_as(name, peer, options, false)
    }

    /// Begins to take an image that this host has asked for; it does not count as an upload.
    ///
    /// # Errors
    /// When the store refuses.
    pub(crate) fn begin_fetched(
        self: &Arc<Self>,
        name: &ImageName,
        peer: IpAddr,
        options: UploadOptions,
    ) -> Result<Arriving, HostError> {
        self.begin_as(name, peer, options, true)
    }

    fn begin_as(
        self: &Arc<Self>,
        name: &ImageName,
        peer: IpAddr,
        options: UploadOptions,
        fetched: bool,
    ) -> Result<Arriving, HostError> {
        let mut running = self.lock();
        let uploads = running.values().filter(|arrival| !arrival.fetched).count();
        if !fetched && uploads >= self.limits.at_once {
            return Err(HostError::TooManyUploads(self.limits.at_once));
        }
        let id = running.keys().next_back().map_or(1, |last| last + 1);
        let arrival = Arrival {
            name: name.clone(),
            peer,
            bytes: 0,
            bytes_total: options.bytes,
            fetched,
            started_at: SystemTime::now(),
        };
        running.insert(id, arrival);
        drop(running);
        let bytes_max = self.limits.bytes_max;
        let (total, options) = (options.bytes, UploadOptions { bytes_max, ..options });
        let begun = self.store.begin_upload(name, options);
        match begun {
            Ok(upload) => {
                tracing::info!("{peer} sends {name}, from byte {}", upload.offset());
                self.events.tell(Event::UploadStarted { name: name.to_string(), peer });
                let now = Instant::now();
                let bytes = upload.offset();
                Ok(Arriving {
                    all: Arc::clone(self),
                    id,
                    name: name.clone(),
                    peer,
                    upload: Some(upload),
                    bytes,
                    total,
                    started: now,
                    total_time: self.limits.total,
                    told: now,
                    verdict: None,
                })
            }
            Err(error) => {
                self.lock().remove(&id);
                Err(error.into())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arrival>> {
        guard(&self.running)
    }
}

/// An image that is being taken. Dropping it without a verdict keeps what came, so that the sender
/// can go on.
#[derive(Debug)]
pub(crate) struct Arriving {
    all: Arc<Arrivals>,
    id: u64,
    name: ImageName,
    peer: IpAddr,
    /// `None` once there is a verdict.
    upload: Option<Upload>,
    bytes: u64,
    total: Option<u64>,
    started: Instant,
    total_time: Duration,
    told: Instant,
    verdict: Option<Result<(), String>>,
}

impl Arriving {
    fn upload(&mut self) -> Result<&mut Upload, HostError> {
        self.upload.as_mut().ok_or(HostError::Closing)
    }

    /// Gives it no more than this time in all.
    pub(crate) fn shorten(&mut self, total_time: Duration) {
        self.total_time = self.total_time.min(total_time);
    }

    /// Names the upload, for a sender that wants to go on after a broken connection.
    pub(crate) fn id(&self) -> String {
        self.upload.as_ref().map(|upload| upload.id().to_string()).unwrap_or_default()
    }

    /// Bytes that have come.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they cannot be part of a whole image, or of one that is allowed, or the disk fails.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        if let Err(error) = self.upload()?.write(bytes) {
            return Err(self.failed(error.into()));
        }
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(len);
        self.all.counters.upload_bytes.fetch_add(len, Ordering::Relaxed);
        let now = Instant::now();
        if now.duration_since(self.told) >= EVENT_INTERVAL {
            self.told = now;
            if let Some(arrival) = self.all.lock().get_mut(&self.id) {
                arrival.bytes = self.bytes;
            }
            self.all.events.tell(Event::UploadProgress {
                name: self.name.to_string(),
                bytes: self.bytes,
                bytes_expected: self.total,
            });
        }
        if now.duration_since(self.started) > self.total_time {
            let secs = self.total_time.as_secs();
            return Err(self.failed(HostError::TooSlow { name: self.name.clone(), secs }));
        }
        Ok(())
    }

    /// Makes what came durable; returns how much that is.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn make_durable(&mut self) -> Result<u64, HostError> {
        self.upload()?.make_durable().map_err(|error| self.failed(error.into()))
    }

    /// Publishes the image under its name, if it is whole and what the sender says it sent.
    ///
    /// # Errors
    /// Why nothing was published. What came of a broken image is kept aside.
    pub(crate) fn publish(
        mut self,
        expected: Option<(u64, [u8; 32])>,
    ) -> Result<Published, HostError> {
        let (id, name) = (self.id(), self.name.clone());
        let upload = self.upload.take().ok_or(HostError::Closing)?;
        match upload.publish(expected) {
            Ok(published) => {
                let (bytes, blake3) = (published.entry.bytes, published.blake3);
                self.all.remember(Remembered { id, name, bytes, blake3 });
                bump(&self.all.counters.uploads_done);
                tracing::info!(
                    "{} is here, {} bytes from {}",
                    self.name,
                    published.entry.bytes,
                    self.peer
                );
                self.verdict = Some(Ok(()));
                Ok(published)
            }
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// Keeps what came where nobody is served from, for somebody to look at.
    pub(crate) fn set_aside(mut self, why: &str) -> HostError {
        let kept = match self.upload.take().map(|upload| upload.set_aside(why)) {
            Some(Err(error)) => format!("; it could not be kept: {error}"),
            _ => "; what came is kept aside".into(),
        };
        self.failed(HostError::NotWhole { name: self.name.clone(), why: format!("{why}{kept}") })
    }

    /// Forgets what came: the sender does not want it any more.
    pub(crate) fn discard(mut self, why: &str) {
        if let Some(Err(error)) = self.upload.take().map(Upload::discard) {
            tracing::warn!("{}: {error}", self.name);
        }
        self.failed(HostError::GivenUp { name: self.name.clone(), why: why.to_owned() });
    }

    fn failed(&mut self, error: HostError) -> HostError {
        bump(&self.all.counters.uploads_failed);
        tracing::warn!("{} from {}: {error}", self.name, self.peer);
        self.verdict = Some(Err(error.to_string()));
        error
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
        let error = match self.verdict.take() {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(error),
            None => {
                bump(&self.all.counters.uploads_failed);
                Some("the connection broke; the sender may go on".into())
            }
        };
        self.all.events.tell(Event::UploadEnded {
            name: self.name.to_string(),
            bytes: self.bytes,
            error,
        });
    }
}

/// Makes a connection one that a thread can wait for, and be sure to wait no longer than `idle`.
pub(crate) fn blocking(stream: tokio::net::TcpStream, idle: Duration) -> io::Result<TcpStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(idle))?;
    stream.set_write_timeout(Some(idle))?;
    Ok(stream)
}

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
