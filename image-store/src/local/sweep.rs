//! Leftovers in `.uploads`.
//!
//! What it owns: the decision what is a leftover. What can be gone on with is kept for a while;
//! what cannot, or was left too long, is removed. What it never does: touch an upload that somebody
//! is writing, here or in another process.

use super::lock::{lock_folder, lock_name};
use super::part::{journal_name, now, part_facts, part_name, read_journal, remove};
use super::{LocalStore, UPLOADS};
use crate::{ImageName, UploadId};
use rustix::fs::Dir;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;

/// Most uploads looked at in one sweep.
const SWEPT_MAX: usize = 10_000;

impl LocalStore {
    /// Removes leftovers. Failing is no reason not to go on.
    pub(crate) fn sweep(&self) {
        let uploads = match self.root.hidden(UPLOADS) {
            Ok(uploads) => uploads,
            Err(Errno::NOENT) => return,
            Err(error) => return tracing::warn!("cannot look for unfinished uploads: {error}"),
        };
        if let Err(error) = self.sweep_folder(&uploads) {
            tracing::warn!("cannot remove what is left of unfinished uploads: {error}");
        }
    }

    fn sweep_folder(&self, uploads: &OwnedFd) -> io::Result<()> {
        // With this, an upload has both of its files or none.
        let _folder = lock_folder(uploads)?;
        for id in ids(uploads)? {
            // An old image on its way to its place; it still has its other name, too.
            remove(uploads, &format!("{id}.old"))?;
            let journal = read_journal(uploads, id)?;
            let facts = part_facts(uploads, id);
            let (Some(journal), Some((_, last))) = (journal, facts) else {
                self.forget(uploads, id)?;
                continue;
            };
            let age = now().saturating_sub(last);
            if age < self.options.unfinished_for.as_secs() {
                continue;
            }
            if let Some(_lock) = lock_name(uploads, &journal.name)? {
                let name = &journal.name;
                tracing::info!("an upload of {name} left unfinished {age} s ago is removed");
                self.forget(uploads, id)?;
            }
        }
        Ok(())
    }

    /// Removes unfinished uploads of an image that has just been published. The caller holds the
    /// lock of its name.
    pub(super) fn drop_superseded(&self, uploads: &OwnedFd, name: &ImageName) {
        let dropped = lock_folder(uploads).and_then(|_folder| {
            for id in ids(uploads)? {
                if read_journal(uploads, id)?.is_some_and(|journal| journal.name == *name) {
                    self.forget(uploads, id)?;
                }
            }
            Ok(())
        });
        if let Err(error) = dropped {
            tracing::warn!("unfinished older uploads of {name} stay: {error}");
        }
    }

    fn forget(&self, uploads: &OwnedFd, id: UploadId) -> io::Result<()> {
        self.parked().remove(&id);
        remove(uploads, &part_name(id))?;
        remove(uploads, &journal_name(id))
    }
}

/// The uploads that have files.
fn ids(uploads: &OwnedFd) -> io::Result<BTreeSet<UploadId>> {
    let mut ids = BTreeSet::new();
    for item in Dir::read_from(uploads)? {
        let item = item?;
        let name = item.file_name().to_str().unwrap_or_default();
        if let Some((id, _)) = name.split_once('.') {
            ids.extend(UploadId::parse(id));
        }
        if ids.len() == SWEPT_MAX {
            break;
        }
    }
    Ok(ids)
}
