//! ReiserFS, formats 3.5 and 3.6.
//!
//! What it owns: the allocation map of filesystems whose journal is on the same device. What it
//! never does: replay the journal, or look at the tree.
//!
//! The map is a bitmap block for every 8 times as many blocks as a block has bytes. The journal has
//! a header behind it that says which transaction was the last to be written to its place.
//!
//! Read in this order: `raw`, `superblock`, `journal`, `bitmap`.

mod bitmap;
mod journal;
mod raw;
mod superblock;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::Filesystem;
use crate::fs::identity::{label_text, uuid_text};
use crate::fs::refusal::{Refusal, settle};
use crate::sector_set::SectorSet;
use crate::units::SectorCount;
use superblock::Superblock;

/// Recognises ReiserFS and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    let Some(superblock) = Superblock::read(disk)? else {
        return Ok(None);
    };
    let long = Some(superblock.raw()).filter(|_| superblock.is_36());
    Ok(Some(Filesystem {
        name: "reiserfs",
        label: long.and_then(|raw| label_text(&raw.s_label)),
        uuid: long.and_then(|raw| uuid_text(raw.s_uuid)),
        features: superblock.features(),
        size: SectorCount::whole_in_bytes(superblock.claimed_bytes()).unwrap_or_default(),
        volumes: Vec::new(),
        allocation: settle(allocated(disk, &superblock))?,
    }))
}

fn allocated(disk: &dyn ReadDisk, superblock: &Superblock) -> Result<SectorSet, Refusal> {
    superblock.check_state()?;
    let geometry = superblock.geometry(disk.size_bytes())?;
    journal::check_clean(disk, &geometry)?;
    bitmap::allocated(disk, &geometry)
}
