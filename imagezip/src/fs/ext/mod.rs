//! ext2, ext3 and ext4.
//!
//! What it owns: the allocation map of every form mke2fs makes today (1.47) or made before:
//! revisions 0 and 1, blocks of 1 to 64 KiB, `64bit`, `flex_bg`, `meta_bg`, both forms of sparse
//! superblocks, `bigalloc`, groups whose bitmap was never written, and all checksums that vouch
//! for the map. What it never does: replay a journal, or look at files.
//!
//! Layouts and rules come from the kernel's documentation (`Documentation/filesystems/ext4`) and
//! are proved against e2fsprogs by the poison test in `tests`.
//!
//! Read in this order: `raw`, `features`, `superblock`, `geometry`, `state`, `descriptor`, `bitmap`.

mod bitmap;
mod checksum;
mod descriptor;
mod features;
mod geometry;
mod journal;
mod raw;
mod state;
mod superblock;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::Filesystem;
use crate::fs::identity::{label_text, uuid_text};
use crate::fs::refusal::{Refusal, settle};
use crate::sector_set::SectorSet;
use crate::units::SectorCount;
use descriptor::DescriptorTable;
use superblock::Superblock;

/// Recognises ext2, ext3, ext4 and their external journals, and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    let Some(superblock) = Superblock::read(disk)? else {
        return Ok(None);
    };
    Ok(Some(Filesystem {
        name: superblock.features.filesystem_name(),
        label: label_text(&superblock.raw().s_volume_name),
        uuid: uuid_text(superblock.raw().s_uuid),
        features: superblock.features.names(),
        size: superblock.claimed_bytes().and_then(SectorCount::whole_in_bytes).unwrap_or_default(),
        allocation: settle(allocated(disk, &superblock))?,
        volumes: Vec::new(),
    }))
}

/// Why the filesystem on `disk` has to be repaired before anybody writes to it; `None` when nothing
/// in its superblock says so, also when a journal has to be replayed.
pub(super) fn damage_of(disk: &dyn ReadDisk) -> Result<Option<&'static str>, DiskError> {
    Ok(Superblock::read(disk)?.and_then(|superblock| state::damage(&superblock)))
}

fn allocated(disk: &dyn ReadDisk, superblock: &Superblock) -> Result<SectorSet, Refusal> {
    let features = superblock.features;
    if features.has(features::JOURNAL_DEV) {
        return Err(Refusal::unsupported("it is the external journal of another filesystem"));
    }
    superblock.verify()?;
    let revision = superblock.raw().s_rev_level.get();
    if revision > 1 || (revision == 0 && !features.is_empty()) {
        return Err(Refusal::unsupported(format!(
            "revision {revision} with these features is not known"
        )));
    }
    let refused = features.refused();
    if !refused.is_empty() {
        let names = refused.join(", ");
        return Err(Refusal::unsupported(format!(
            "this version does not know its features {names}"
        )));
    }
    state::check_superblock(superblock)?;
    let geometry = superblock.geometry(disk.size_bytes())?;
    let checksums = superblock.checksums();
    state::check_mmp(disk, superblock, &geometry)?;
    let table = DescriptorTable::new(disk, &geometry, checksums);
    journal::check_empty(disk, superblock, &geometry, &table)?;
    bitmap::allocated(disk, &geometry, checksums)
}
