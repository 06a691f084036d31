//! F2FS.
//!
//! What it owns: the allocation map of filesystems on one conventional device, with blocks of 4096
//! bytes and all features that mkfs.f2fs sets there. What it never does: roll a filesystem forward,
//! or look at files.
//!
//! Everything before the main area is in use. In the main area the segment information table (SIT)
//! has a bit for each block. Each block of the SIT has two copies; a bitmap in the checkpoint says
//! which counts, and a journal there holds up to six entries that are newer than both. The main
//! area is written in logs. A filesystem that was unmounted has nothing behind their ends, but
//! some kernels look there all the same, for nodes that carry the number of the checkpoint. When an
//! image is restored over a later state of the same filesystem, such nodes might stand there. So
//! the one block where kernels begin to look is kept.
//!
//! Read in this order: `raw`, `superblock`, `checkpoint`, `sit`.

mod checkpoint;
mod raw;
mod sit;
mod superblock;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::Filesystem;
use crate::fs::identity::{utf16_text, uuid_text};
use crate::fs::refusal::{Refusal, settle};
use crate::sector_set::SectorSet;
use crate::units::SectorCount;
use superblock::Superblock;

/// Recognises F2FS and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    let Some(superblock) = Superblock::read(disk)? else {
        return Ok(None);
    };
    let raw = superblock.raw();
    let name = raw.volume_name.as_chunks::<2>().0;
    let end = name.iter().position(|unit| *unit == [0, 0]).unwrap_or(name.len());
    Ok(Some(Filesystem {
        name: "f2fs",
        label: utf16_text(raw.volume_name.get(..end * 2).unwrap_or_default()),
        uuid: uuid_text(raw.uuid),
        features: superblock.features(),
        size: superblock.claimed_bytes().and_then(SectorCount::whole_in_bytes).unwrap_or_default(),
        volumes: Vec::new(),
        allocation: settle(allocated(disk, &superblock))?,
    }))
}

fn allocated(disk: &dyn ReadDisk, superblock: &Superblock) -> Result<SectorSet, Refusal> {
    superblock.verify(disk)?;
    superblock.check_features()?;
    let geometry = superblock.geometry(disk.size_bytes())?;
    let checkpoint = checkpoint::read_living(disk, &geometry)?;
    sit::allocated(disk, &geometry, &checkpoint)
}
