//! FAT12, FAT16 and FAT32.
//!
//! What it owns: the allocation map of every form that Windows and Linux mount: sectors of 512 to
//! 4096 bytes, clusters of any power of two, one or more FATs. What it never does: trust the FSInfo
//! sector, follow chains, or look at files.
//!
//! Layouts and rules come from Microsoft's "FAT: General Overview of On-Disk Format" (fatgen103) and
//! are proved against dosfstools and mtools by the poison test in `tests`.
//!
//! Read in this order: `raw`, `boot`, `table`.

mod boot;
mod raw;
mod table;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::identity::{label_text, serial_text};
use crate::fs::refusal::{Refusal, settle};
use crate::fs::{Filesystem, ProbeOptions};
use crate::sector_set::SectorSet;
use crate::units::{HumanBytes, SectorCount};
use boot::BootSector;

/// Recognises FAT12, FAT16 and FAT32 and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk, options: ProbeOptions) -> Result<Option<Filesystem>, DiskError> {
    let Some(boot) = BootSector::read(disk)? else {
        return Ok(None);
    };
    let mut features = Vec::new();
    let allocation = settle(allocated(disk, &boot, options, &mut features))?;
    let identity = boot.identity();
    let label = identity.and_then(|identity| label_text(identity.label.trim_ascii_end()));
    Ok(Some(Filesystem {
        name: boot.kind().name(),
        label: label.filter(|label| label != "NO NAME"),
        uuid: identity.and_then(|identity| serial_text(identity.serial.get())),
        features,
        size: SectorCount::whole_in_bytes(boot.claimed_bytes()).unwrap_or_default(),
        allocation,
        volumes: Vec::new(),
    }))
}

fn allocated(
    disk: &dyn ReadDisk,
    boot: &BootSector,
    options: ProbeOptions,
    features: &mut Vec<String>,
) -> Result<SectorSet, Refusal> {
    let geometry = boot.geometry(disk.size_bytes())?;
    features.push(format!("clusters of {}", HumanBytes(geometry.cluster_bytes)));
    features.push(format!("sectors of {} bytes", geometry.sector_bytes));
    features.push(format!("FATs: {}", geometry.fats));
    table::check_state(disk, &geometry, boot.identity(), options)?;
    boot.check_backup(disk, &geometry)?;
    table::allocated(disk, &geometry)
}

#[cfg(test)]
mod tests;
