//! XFS.
//!
//! What it owns: the allocation map of version 4 and version 5 filesystems: blocks of 512 bytes to
//! 64 KiB, sectors of 512 bytes to 32 KiB, all features that mkfs.xfs of xfsprogs 6.18 sets, and
//! every checksum that vouches for the map. What it never does: replay a log, or look at files. A
//! filesystem with an external log or a realtime device is one half of something, and kept whole.
//!
//! The map is the complement of one btree in each allocation group, the one that lists free space
//! by block. All else, AG headers, inode chunks, the log, blocks set aside in the AGFL, is in use
//! because it is not in that tree.
//!
//! Layouts and rules come from "XFS Algorithms & Data Structures" and the kernel's documentation
//! (`Documentation/filesystems/xfs`), and are proved against xfsprogs and the kernel by the poison
//! test in `tests`.
//!
//! Read in this order: `raw`, `features`, `superblock`, `log`, `group`, `btree`.

mod btree;
mod checksum;
mod features;
mod group;
mod log;
mod raw;
mod superblock;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::Filesystem;
use crate::fs::identity::{label_text, uuid_text};
use crate::fs::refusal::{Refusal, settle};
use crate::sector_set::{SectorSet, SectorSetBuilder};
use crate::units::SectorCount;
use superblock::Superblock;

/// Recognises XFS and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    let Some(superblock) = Superblock::read(disk)? else {
        return Ok(None);
    };
    Ok(Some(Filesystem {
        name: "xfs",
        label: label_text(&superblock.raw().sb_fname),
        uuid: uuid_text(superblock.raw().sb_uuid),
        features: superblock.features().names(),
        size: superblock.claimed_bytes().and_then(SectorCount::whole_in_bytes).unwrap_or_default(),
        allocation: settle(allocated(disk, &superblock))?,
        volumes: Vec::new(),
    }))
}

fn allocated(disk: &dyn ReadDisk, superblock: &Superblock) -> Result<SectorSet, Refusal> {
    superblock.verify(disk)?;
    superblock.check_features()?;
    let geometry = superblock.geometry(disk.size_bytes())?;
    superblock.check_state()?;
    let log = superblock.log(&geometry)?;
    log::check_clean(disk, &log)?;
    let mut builder = SectorSetBuilder::new();
    for group in 0..geometry.groups {
        group::add_allocated(disk, &geometry, group, &log, &mut builder)?;
    }
    Ok(builder.finish())
}
