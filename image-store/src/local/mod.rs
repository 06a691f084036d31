//! A directory of images.
//!
//! ```text
//! IMAGES/project/image.ndz      images, at any depth
//! IMAGES/.uploads/ID.part       what is arriving ...
//! IMAGES/.uploads/ID.journal    ... and how much of it is safe
//! IMAGES/.uploads/lock          who writes what
//! IMAGES/.old/project%2Fimage   the image that the last upload replaced, if they are kept
//! IMAGES/.aside/TIME-ID.part    broken uploads, with a text beside each that says why
//! ```
//! What it owns: finding and opening images so that nothing leads out of the directory; the life
//! of an upload's files. What it never does: change a published image; it is replaced whole.

mod aside;
mod beneath;
mod lock;
mod part;
mod sweep;
mod walk;

use crate::intake::{CheckPool, Intake};
use crate::ledger::Ledger;
use crate::{Entry, ImageName, Source, StoreError, StoreOptions, UploadId};
use beneath::Root;
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The folder of what is arriving.
const UPLOADS: &str = ".uploads";

/// Uploads of which the state in memory is kept while they are suspended. Of others it is made
/// again from what is on the disk.
const PARKED_MAX: usize = 16;

/// A directory of images.
#[derive(Debug)]
pub(crate) struct LocalStore {
    root: Root,
    options: StoreOptions,
    pool: Arc<CheckPool>,
    ledger: Mutex<Ledger>,
    parked: Mutex<HashMap<UploadId, Intake>>,
}

impl LocalStore {
    pub(crate) fn open(
        path: &Path,
        options: StoreOptions,
        pool: Arc<CheckPool>,
    ) -> Result<Self, StoreError> {
        let store = Self {
            root: Root::open(path)?,
            options,
            pool,
            ledger: Mutex::default(),
            parked: Mutex::default(),
        };
        store.sweep();
        Ok(store)
    }

    pub(crate) fn list(&self) -> Result<Vec<Entry>, StoreError> {
        walk::list(&self.root)
    }

    pub(crate) fn find(&self, name: &ImageName) -> Result<Option<Entry>, StoreError> {
        match self.root.open_at(name.as_str(), OFlags::PATH) {
            Ok(found) => {
                let stat = rustix::fs::fstat(found)
                    .map_err(|error| StoreError::io(format!("look at {name}"), error))?;
                Ok(is_file(&stat).then(|| entry(name.clone(), &stat)))
            }
            Err(error) => outside(name, error),
        }
    }

    pub(crate) fn open_image(&self, name: &ImageName) -> Result<Source, StoreError> {
        let missing = || StoreError::NoSuchImage { name: name.clone() };
        self.find(name)?.ok_or_else(missing)?;
        // It may have become something else meanwhile, which must neither block nor be served.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let failed = |error| StoreError::io(format!("open {name}"), error);
        let file = match self.root.open_at(name.as_str(), flags) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
            Err(error) => return Err(failed(error)),
        };
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if !is_file(&stat) {
            return Err(missing());
        }
        Ok(Source::local(entry(name.clone(), &stat), File::from(file)))
    }

    pub(crate) fn delete(&self, name: &ImageName) -> Result<(), StoreError> {
        if self.find(name)?.is_none() {
            return Err(StoreError::NoSuchImage { name: name.clone() });
        }
        let removed = self.root.folder_of(name).and_then(|folder| {
            rustix::fs::unlinkat(&folder, name.split().1, AtFlags::empty())?;
            rustix::fs::fsync(folder)
        });
        match removed {
            Ok(()) => {
                self.recount();
                Ok(())
            }
            Err(Errno::NOENT) => Err(StoreError::NoSuchImage { name: name.clone() }),
            Err(error) => Err(StoreError::io(format!("delete {name}"), error)),
        }
    }

    /// Counts again what the store holds, if that matters.
    fn recount(&self) {
        if self.options.quota_bytes.is_none() {
            return;
        }
        let mut ledger = self.ledger();
        match walk::usage(&self.root) {
            Ok(usage) => ledger.set(usage.kept, &usage.parts),
            Err(error) => tracing::warn!("the quota is judged by an old count: {error}"),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parked(&self) -> MutexGuard<'_, HashMap<UploadId, Intake>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a failure to find `name` means: nothing there, or something that may not be followed.
fn outside(name: &ImageName, error: Errno) -> Result<Option<Entry>, StoreError> {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Ok(None),
        Errno::XDEV | Errno::LOOP => {
            let why = "a link in this name leads out of the image directory; it is not followed";
            Err(StoreError::refused(name, why))
        }
        error => Err(StoreError::io(format!("look for {name}"), error)),
    }
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn bytes_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn modified(stat: &Stat) -> u64 {
    u64::try_from(stat.st_mtime).unwrap_or(0)
}

fn entry(name: ImageName, stat: &Stat) -> Entry {
    let version = format!("{:x}-{:x}-{:x}", stat.st_ino, stat.st_ctime, stat.st_ctime_nsec);
    Entry { name, bytes: bytes_of(stat), modified: modified(stat), version }
}

#[cfg(test)]
mod tests;
