//! btrfs.
//!
//! What it owns: the allocation map of a filesystem on one device: all node sizes and checksums,
//! skinny and full extent items, block groups in the extent tree or in a tree of their own, mixed
//! groups, the profiles that one device can hold. What it never does: replay a log tree, look at
//! files, or use the free-space cache or tree, which only repeat what the extent tree says.
//!
//! Space is handed out twice: the chunk tree maps runs of logical addresses to places on the
//! device, and the extent tree lists what is in use by logical address. In use is thus what both
//! say, and the places the format reserves: the first mebibyte and the copies of the superblock.
//!
//! Layouts and rules come from the on-disk format pages of btrfs.readthedocs.io and are proved
//! against btrfs-progs and the kernel by the poison test in `tests`.
//!
//! Read in this order: `raw`, `features`, `superblock`, `chunk`, `tree`, `extent`.

mod checksum;
mod chunk;
mod extent;
mod features;
mod raw;
mod superblock;
mod tree;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::Filesystem;
use crate::fs::identity::{label_text, uuid_text};
use crate::fs::refusal::{Refusal, settle};
use crate::sector_set::SectorSet;
use crate::units::SectorCount;
use chunk::ChunkMap;
use superblock::Superblock;

/// Recognises btrfs and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    let Some(superblock) = Superblock::read(disk)? else {
        return Ok(None);
    };
    let raw = superblock.raw();
    Ok(Some(Filesystem {
        name: "btrfs",
        label: label_text(&raw.label),
        uuid: uuid_text(raw.fsid),
        features: superblock.features().names(),
        size: SectorCount::whole_in_bytes(raw.dev_item.total_bytes.get()).unwrap_or_default(),
        allocation: settle(allocated(disk, &superblock))?,
        volumes: Vec::new(),
    }))
}

/// Which device of a btrfs `disk` is; `None` when it is none.
pub(super) fn device_of(disk: &dyn ReadDisk) -> Result<Option<u64>, DiskError> {
    Ok(Superblock::read(disk)?.map(|superblock| superblock.raw().dev_item.devid.get()))
}

fn allocated(disk: &dyn ReadDisk, superblock: &Superblock) -> Result<SectorSet, Refusal> {
    superblock.verify()?;
    superblock.check_state()?;
    let volume = superblock.volume(disk.size_bytes())?;
    let boot = ChunkMap::of_system_array(&superblock.system_array()?, &volume)?;
    let chunks = boot.read_all(disk, &volume)?;
    extent::allocated(disk, &volume, &chunks)
}
