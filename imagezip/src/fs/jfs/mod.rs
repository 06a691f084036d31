//! JFS.
//!
//! What it owns: the allocation map of filesystems with an inline log, as Linux and OS/2 make them.
//! What it never does: replay a log, or look at files.
//!
//! The block map is a file, inode 2 of the aggregate's inode table, in pages of 4096 bytes. One
//! page covers 8192 blocks, with a bit for each; pages of summary stand between them. Behind the
//! blocks of the map are space for fsck and the log, which are always in use.
//!
//! Read in this order: `raw`, `superblock`, `map_file`, `map`.

mod map;
mod map_file;
mod raw;
mod superblock;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::Filesystem;
use crate::fs::identity::{label_text, uuid_text};
use crate::fs::refusal::{Refusal, settle};
use crate::sector_set::SectorSet;
use crate::units::SectorCount;
use superblock::Superblock;

/// Recognises JFS and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    let Some(superblock) = Superblock::read(disk)? else {
        return Ok(None);
    };
    let raw = superblock.raw();
    // Version 1 had only the short label.
    let label = label_text(&raw.s_label).or_else(|| label_text(&raw.s_fpack));
    Ok(Some(Filesystem {
        name: "jfs",
        label: label.map(|text| text.trim_end().to_owned()).filter(|text| !text.is_empty()),
        uuid: uuid_text(raw.s_uuid),
        features: superblock.features(),
        size: superblock.claimed_bytes().and_then(SectorCount::whole_in_bytes).unwrap_or_default(),
        volumes: Vec::new(),
        allocation: settle(allocated(disk, &superblock))?,
    }))
}

fn allocated(disk: &dyn ReadDisk, superblock: &Superblock) -> Result<SectorSet, Refusal> {
    superblock.check_state()?;
    let geometry = superblock.geometry(disk)?;
    superblock.check_log(disk)?;
    map::allocated(disk, &geometry)
}
