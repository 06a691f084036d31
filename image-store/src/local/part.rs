//! The files of an upload under way.
//!
//! What it owns: `.uploads/ID.part` and `.uploads/ID.journal`, and the order in which they are
//! written, flushed, renamed and removed. What it never does: judge what arrives.
//!
//! The order of publishing: the part is flushed, the old image gets a second name (if old ones are
//! kept), the part takes the image's name in one step, the folder is flushed, the journal goes. A
//! process killed in between leaves the old image or the new one, and a journal without a part,
//! which the next sweep removes.

use super::lock::{Lock, lock_folder, lock_name};
use super::{LocalStore, PARKED_MAX, UPLOADS, bytes_of, entry, is_file, is_folder, modified};
use crate::intake::Intake;
use crate::journal::{self, JOURNAL_LEN_MAX, Journal, SLOT_LEN};
use crate::upload::Destination;
use crate::{Entry, ImageName, StoreError, Upload, UploadId, UploadOptions};
use imagezip::ndz::CHUNK_LEN;
use imagezip::units::HumanBytes;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The folder of images that were replaced.
const OLD: &str = ".old";

/// Why a name cannot be that of an image.
const IS_FOLDER: &str = "this is a folder; give the name of an image";
const BELOW_IMAGE: &str = "a part of this name is an image, not a folder";

/// An upload into a directory.
pub(super) struct Part {
    store: Arc<LocalStore>,
    uploads: OwnedFd,
    id: UploadId,
    name: ImageName,
    modified: Option<u64>,
    part: File,
    journal: File,
    /// Which of the journal's two slots is written next.
    slot: u64,
    durable: u64,
    /// The part has become the image: nothing may be done to it any more.
    published: bool,
    /// Held as long as this lives: nobody else writes this image.
    _lock: Lock,
}

/// The name of an upload's bytes.
pub(super) fn part_name(id: UploadId) -> String {
    format!("{id}.part")
}

/// The name of an upload's journal.
pub(super) fn journal_name(id: UploadId) -> String {
    format!("{id}.journal")
}

/// Reads a journal; `None` when it is missing or none.
pub(super) fn read_journal(uploads: impl AsFd, id: UploadId) -> io::Result<Option<Journal>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(uploads, journal_name(id), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(JOURNAL_LEN_MAX).unwrap_or(0) + 1;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Journal::parse(&bytes))
}

/// Removes a file if it is there.
pub(super) fn remove(folder: impl AsFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The file system that something is on.
fn device(fd: impl AsFd) -> Option<u64> {
    rustix::fs::fstat(fd).ok().map(|stat| stat.st_dev)
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl LocalStore {
    /// Begins an upload, or goes on with one.
    pub(crate) fn begin_upload(
        store: &Arc<Self>,
        name: &ImageName,
        options: UploadOptions,
    ) -> Result<Upload, StoreError> {
        let failed = |error: io::Error| StoreError::io(format!("begin an upload of {name}"), error);
        let replaces = store.find(name)?.map_or(0, |old| old.bytes);
        let place = store.root.open_at(name.as_str(), OFlags::PATH).and_then(rustix::fs::fstat);
        match place {
            Ok(stat) if is_folder(&stat) => return Err(StoreError::refused(name, IS_FOLDER)),
            Err(Errno::NOTDIR) => return Err(StoreError::refused(name, BELOW_IMAGE)),
            _ => {}
        }
        let uploads = store.root.make_hidden(UPLOADS).map_err(|error| failed(error.into()))?;
        if let Ok(folder) = store.root.folder_of(name)
            && device(&folder) != device(&uploads)
        {
            let why = "its folder is on another file system than the image directory, so that it \
                       could not appear in one step; serve that folder by itself";
            return Err(StoreError::refused(name, why));
        }
        let lock = lock_name(&uploads, name).map_err(failed)?;
        let lock = lock.ok_or_else(|| StoreError::Busy { name: name.clone() })?;
        store.sweep();
        let mut options = options;
        let id = options.resume.unwrap_or_else(UploadId::random);
        // From here on the upload counts; `Part` stops that when it goes.
        let freed = if store.options.keep_old { 0 } else { replaces };
        store.ledger().enter(id, freed);
        let begun = match options.resume {
            None => create(store, uploads, (id, name), lock, &options),
            Some(_) => resume(store, uploads, (id, name), lock, &mut options),
        };
        match begun {
            Ok((part, intake)) => {
                Ok(Upload::new(id, &options, name.clone(), intake, Box::new(part)))
            }
            Err(error) => {
                store.ledger().end(id);
                Err(error)
            }
        }
    }

    /// The state of an upload of which nothing is there yet.
    fn new_intake(&self, name: &ImageName, image: bool) -> Intake {
        Intake::new(name.clone(), image.then(|| Arc::clone(&self.pool)))
    }
}

fn create(
    store: &Arc<LocalStore>,
    uploads: OwnedFd,
    (id, name): (UploadId, &ImageName),
    lock: Lock,
    options: &UploadOptions,
) -> Result<(Part, Intake), StoreError> {
    store.recount();
    let known = options.bytes.unwrap_or(0);
    store.ledger().grow(id, name, known, store.options.quota_bytes)?;
    let journal = Journal {
        name: name.clone(),
        image: options.image,
        bytes: options.bytes,
        modified: options.modified,
        durable: 0,
    };
    let failed = |error: io::Error| StoreError::writing(name, error);
    // Nobody sweeps while only one of the two files is there.
    let folder = lock_folder(&uploads).map_err(failed)?;
    let make = |file: &str| {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::openat(&uploads, file, flags, Mode::from_raw_mode(0o644)).map(File::from)
    };
    let made = make(&journal_name(id)).map_err(io::Error::from).and_then(|file| {
        file.write_all_at(&journal.emit(), 0)?;
        file.sync_all()?;
        Ok((file, make(&part_name(id))?))
    });
    drop(folder);
    let (file, part) = made.map_err(failed)?;
    rustix::fs::fsync(&uploads).map_err(|error| failed(error.into()))?;
    let part = Part {
        store: Arc::clone(store),
        uploads,
        id,
        name: name.clone(),
        modified: options.modified,
        part,
        journal: file,
        slot: 0,
        durable: 0,
        published: false,
        _lock: lock,
    };
    if let Err(error) = part.take_room(options.bytes) {
        part.remove_files()?;
        return Err(error);
    }
    Ok((part, store.new_intake(name, options.image)))
}

fn resume(
    store: &Arc<LocalStore>,
    uploads: OwnedFd,
    (id, name): (UploadId, &ImageName),
    lock: Lock,
    options: &mut UploadOptions,
) -> Result<(Part, Intake), StoreError> {
    let failed =
        |error: io::Error| StoreError::io(format!("go on with an upload of {name}"), error);
    let missing = || StoreError::NoSuchUpload { name: name.clone(), id };
    let journal = read_journal(&uploads, id).map_err(failed)?.ok_or_else(missing)?;
    let other_length = matches!((journal.bytes, options.bytes), (Some(a), Some(b)) if a != b);
    if journal.name != *name || journal.image != options.image || other_length {
        return Err(missing());
    }
    let open = |file: &str| {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&uploads, file, flags, Mode::empty()) {
            Ok(file) => Ok(File::from(file)),
            Err(Errno::NOENT) => Err(missing()),
            Err(error) => Err(failed(error.into())),
        }
    };
    let (file, data) = (open(&journal_name(id))?, open(&part_name(id))?);
    let durable = journal.durable;
    if data.metadata().map_err(failed)?.len() < durable {
        return Err(missing()); // somebody cut it
    }
    // What came after is not known to be safe.
    data.set_len(durable).map_err(failed)?;
    // What was said at the beginning holds.
    options.bytes = options.bytes.or(journal.bytes);
    store.recount();
    let known = options.bytes.unwrap_or(durable);
    store.ledger().grow(id, name, known, store.options.quota_bytes)?;
    let part = Part {
        store: Arc::clone(store),
        uploads,
        id,
        name: name.clone(),
        modified: options.modified.or(journal.modified),
        part: data,
        journal: file,
        slot: 0,
        durable,
        published: false,
        _lock: lock,
    };
    part.take_room(options.bytes)?;
    let parked = store.parked().remove(&id).filter(|intake| intake.position() == durable);
    let intake = match parked {
        Some(intake) => Ok(intake),
        None => read_back(&part, store.new_intake(name, journal.image)),
    };
    match intake {
        Ok(intake) => Ok((part, intake)),
        Err(error @ StoreError::Broken { .. }) => {
            Box::new(part).set_aside(&error.to_string())?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Makes the state in memory again from what is on the disk.
fn read_back(part: &Part, mut intake: Intake) -> Result<Intake, StoreError> {
    let mut buffer = vec![0; CHUNK_LEN];
    let mut at = 0;
    while at < part.durable {
        let left = usize::try_from(part.durable - at).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        let Some(bytes) = buffer.get_mut(..len) else { break };
        part.part.read_exact_at(bytes, at).map_err(|error| {
            StoreError::io(format!("read back an upload of {}", part.name), error)
        })?;
        intake.take_again(bytes)?;
        at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
    intake.settle()?;
    Ok(intake)
}

impl Part {
    /// Makes sure that there is room for the whole file, if its length is known.
    fn take_room(&self, bytes: Option<u64>) -> Result<(), StoreError> {
        let Some(bytes) = bytes.filter(|bytes| *bytes > self.durable) else { return Ok(()) };
        let failed = |error: Errno| StoreError::writing(&self.name, error);
        let free = rustix::fs::fstatvfs(&self.uploads).map_err(failed)?;
        let free = free.f_bavail.saturating_mul(free.f_frsize);
        let needed = bytes - self.durable;
        let full = || StoreError::Full {
            name: self.name.clone(),
            why: format!("{} needed, {} free on the disk", HumanBytes(needed), HumanBytes(free)),
        };
        if needed > free {
            return Err(full());
        }
        match rustix::fs::fallocate(&self.part, FallocateFlags::KEEP_SIZE, 0, bytes) {
            Ok(()) => Ok(()),
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Err(full()),
            // This file system cannot; a full disk is then noticed when it is full.
            Err(_) => Ok(()),
        }
    }

    /// Removes both files, the bytes first: a journal alone is known for a leftover.
    fn remove_files(&self) -> Result<(), StoreError> {
        remove(&self.uploads, &part_name(self.id))
            .and_then(|()| remove(&self.uploads, &journal_name(self.id)))
            .map_err(|error| StoreError::io(format!("remove an upload of {}", self.name), error))
    }

    /// The time of change of the new image.
    fn new_time(&self, old: Option<&Stat>) -> u64 {
        let after_old = old.map_or(0, |old| modified(old).saturating_add(1));
        self.modified.unwrap_or_else(|| now().max(after_old))
    }

    /// Gives the old image a second name under `.old`.
    fn keep_old(&self, folder: &OwnedFd) -> rustix::io::Result<()> {
        let old = self.store.root.make_hidden(OLD)?;
        let waiting = format!("{}.old", self.id);
        let last = self.name.split().1;
        rustix::fs::linkat(folder, last, &self.uploads, waiting.as_str(), AtFlags::empty())?;
        rustix::fs::renameat(&self.uploads, waiting.as_str(), &old, old_name(&self.name))?;
        // Renaming one of two names of one file onto the other does nothing.
        match rustix::fs::unlinkat(&self.uploads, waiting.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => rustix::fs::fsync(old),
            Err(error) => Err(error),
        }
    }

    /// Every step up to the rename can fail and leave the old image as it was.
    fn put_in_place(&mut self, bytes: u64) -> Result<Entry, StoreError> {
        let name = self.name.clone();
        let failed = |error: Errno| StoreError::writing(&name, error);
        let last = name.split().1;
        self.make_durable(bytes)?;
        self.part.set_len(bytes).map_err(|error| StoreError::writing(&name, error))?;
        let folder = self.store.root.make_folder_of(&self.name).map_err(|error| match error {
            Errno::NOTDIR => StoreError::refused(&self.name, BELOW_IMAGE),
            error => failed(error),
        })?;
        let old = match rustix::fs::statat(&folder, last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_folder(&stat) => {
                return Err(StoreError::refused(&self.name, IS_FOLDER));
            }
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(failed(error)),
        };
        let time = i64::try_from(self.new_time(old.as_ref())).unwrap_or(i64::MAX);
        let time = Timespec { tv_sec: time, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&self.part, &times).map_err(failed)?;
        rustix::fs::fsync(&self.part).map_err(failed)?;
        // A link is replaced; what it points at stays where it is.
        if self.store.options.keep_old && old.is_some_and(|old| is_file(&old)) {
            self.keep_old(&folder).map_err(|error| {
                StoreError::io(format!("keep the old image of {}", self.name), error)
            })?;
        }
        rustix::fs::renameat(&self.uploads, part_name(self.id), &folder, last).map_err(failed)?;
        self.published = true;
        rustix::fs::fsync(&folder).map_err(failed)?;
        let stat = rustix::fs::fstat(&self.part).map_err(failed)?;
        Ok(entry(self.name.clone(), &stat))
    }
}

/// The name under which an old image is kept: its own in one part. One that gets too long for
/// that becomes a digest.
fn old_name(name: &ImageName) -> String {
    let flat = name.as_str().replace('%', "%25").replace('/', "%2F");
    if flat.len() <= crate::NAME_BYTES_MAX {
        return flat;
    }
    blake3::hash(name.as_str().as_bytes()).to_hex().to_string()
}

impl Destination for Part {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.store.ledger().grow(self.id, &self.name, end, self.store.options.quota_bytes)?;
        self.part
            .write_all_at(bytes, offset)
            .map_err(|error| StoreError::writing(&self.name, error))
    }

    fn make_durable(&mut self, bytes: u64) -> Result<u64, StoreError> {
        if bytes > self.durable {
            let failed = |error| StoreError::writing(&self.name, error);
            self.part.sync_data().map_err(failed)?;
            // The other slot stays whole whatever happens to this one.
            let at = self.slot * u64::try_from(SLOT_LEN).unwrap_or(0);
            self.journal.write_all_at(&journal::slot(bytes), at).map_err(failed)?;
            self.journal.sync_data().map_err(failed)?;
            self.slot ^= 1;
            self.durable = bytes;
        }
        Ok(self.durable)
    }

    fn publish(&mut self, bytes: u64) -> Result<Entry, StoreError> {
        let entry = self.put_in_place(bytes)?;
        if let Err(error) = remove(&self.uploads, &journal_name(self.id)) {
            tracing::warn!("the journal of {} stays: {error}", self.name);
        }
        // What was begun before this image came would put an older one in its place.
        self.store.drop_superseded(&self.uploads, &self.name);
        Ok(entry)
    }

    fn suspend(self: Box<Self>, intake: Option<Intake>) {
        if self.published {
            return;
        }
        // Gives back the room that was taken for what has not come.
        if let Err(error) = self.part.set_len(self.durable) {
            tracing::warn!("an unfinished upload of {} keeps its room: {error}", self.name);
        }
        if let Some(intake) = intake {
            let mut parked = self.store.parked();
            if parked.len() < PARKED_MAX {
                parked.insert(self.id, intake);
            }
        }
    }

    fn set_aside(self: Box<Self>, reason: &str) -> Result<(), StoreError> {
        self.store
            .put_aside(&self.uploads, self.id, &self.name, reason)
            .map_err(|error| StoreError::io(format!("set aside {}", self.name), error))
    }

    fn discard(self: Box<Self>) -> Result<(), StoreError> {
        self.remove_files()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.store.ledger().end(self.id);
        self.store.recount();
    }
}

/// The length of a part, and when something last arrived.
pub(super) fn part_facts(uploads: impl AsFd, id: UploadId) -> Option<(u64, u64)> {
    let stat = rustix::fs::statat(uploads, part_name(id), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    is_file(&stat).then(|| (bytes_of(&stat), modified(&stat)))
}
