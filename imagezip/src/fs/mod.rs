//! Filesystems: which sectors of a partition are in use.
//!
//! What it owns: the question asked of every partition, [`probe`], and its answer, [`Filesystem`].
//! Each reader is a module that recognises its filesystem by content and reads only what the
//! allocation map needs. What it never does: guess. A reader that meets anything it does not fully
//! understand answers [`Allocation::Unsupported`] or [`Allocation::Corrupt`], and the partition is
//! saved whole.

use crate::disk::{DiskError, ReadDisk};
use crate::sector_set::SectorSet;
use crate::units::{Sector, SectorCount};
use std::fmt;

/// What a reader found in a partition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filesystem {
    /// Its name as people know it: `ext4`, `linux-swap`.
    pub name: &'static str,
    /// The volume label, when it has one.
    pub label: Option<String>,
    /// Its UUID as text, when it has one.
    pub uuid: Option<String>,
    /// Its features in the words of its own tools, for `imagezip -i`.
    pub features: Vec<String>,
    /// How long it says it is, from the start of the partition.
    pub size: SectorCount,
    /// Which of its sectors are in use.
    pub allocation: Allocation,
}

/// Which sectors of a filesystem are in use, counted from its start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Allocation {
    /// These are in use; every other sector inside the filesystem's size is free for certain.
    Known(SectorSet),
    /// Recognised, but in a form or state whose map cannot be trusted: save all of it.
    Unsupported {
        /// Why, in words that complete "kept whole: ...".
        reason: String,
    },
    /// Its own structures contradict each other or fail their checksums: save all of it.
    Corrupt(Corrupt),
}

/// A contradiction in a structure on the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Corrupt {
    /// Which structure, in the filesystem's own words: `block bitmap of group 7`.
    pub what: String,
    /// Where it stands, from the start of the filesystem.
    pub at: Sector,
    /// What a sound structure would hold.
    pub expected: String,
    /// What was there.
    pub found: String,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, at, expected, found } = self;
        write!(f, "{what} (at sector {at} of it): expected {expected}, found {found}")
    }
}

/// Asks every reader in turn; `None` when none knows the content of `disk`, which is one
/// partition (or a whole disk without a table).
///
/// # Errors
/// When the disk cannot be read. The caller then saves the partition whole, which meets the same
/// sector again and reports it.
pub fn probe(_disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    Ok(None)
}
