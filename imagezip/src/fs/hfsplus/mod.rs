//! HFS+ and HFSX; and plain HFS by name.
//!
//! What it owns: the allocation map of volumes that were unmounted, with or without a journal. What
//! it never does: replay a journal, or look at files. Plain HFS, also as a wrapper around HFS+, is
//! recognised and kept whole.
//!
//! The map is a file, the allocation file, whose pieces the volume header lists. A copy of the
//! header stands 1024 bytes before the end of the volume, perhaps behind its last block.
//!
//! Read in this order: `raw`, `header`, `journal`, `map`.

mod header;
mod journal;
mod map;
mod raw;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::{Refusal, settle};
use crate::fs::{Allocation, Filesystem};
use crate::sector_set::SectorSet;
use crate::units::SectorCount;
use header::Header;

/// Recognises HFS+, HFSX and HFS, and reads the allocation map of the first two.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    let Some(header) = Header::read(disk)? else {
        return plain(disk);
    };
    let end = header.copy_place(disk)?.map_or_else(|| header.claimed_bytes(), |(_, end)| end);
    let id = header.raw().volume_id.get();
    Ok(Some(Filesystem {
        name: if header.is_x() { "hfsx" } else { "hfsplus" },
        // The name is in the catalog, which nothing else is wanted from.
        label: None,
        uuid: (id != 0).then(|| format!("{id:016x}")),
        features: header.features(),
        size: SectorCount::whole_in_bytes(end).unwrap_or_default(),
        volumes: Vec::new(),
        allocation: settle(allocated(disk, &header))?,
    }))
}

fn plain(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    let Some((bytes, is_wrapper)) = header::plain_hfs(disk)? else {
        return Ok(None);
    };
    let (name, what) = if is_wrapper {
        ("hfs-wrapper", "HFS+ embedded in HFS")
    } else {
        ("hfs", "HFS without the plus")
    };
    let size = SectorCount::whole_in_bytes(bytes).unwrap_or_default();
    Ok(Some(Filesystem {
        allocation: Allocation::Unsupported { reason: format!("the map of {what} is not read") },
        ..Filesystem::unread(name, size)
    }))
}

fn allocated(disk: &dyn ReadDisk, header: &Header) -> Result<SectorSet, Refusal> {
    header.check_state()?;
    let geometry = header.geometry(disk)?;
    if header.is_journaled() {
        let block = header.raw().journal_info_block.get();
        journal::check_clean(disk, &geometry, block.into())?;
    }
    map::allocated(disk, &geometry, header.raw())
}
