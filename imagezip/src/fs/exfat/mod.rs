//! exFAT.
//!
//! What it owns: the allocation map of every volume of version 1.x: sectors of 512 to 4096 bytes,
//! clusters up to 32 MiB, one FAT or two (TexFAT). What it never does: follow the chains of files,
//! which the bitmap makes needless.
//!
//! Layouts and rules come from Microsoft's "exFAT file system specification" and are proved against
//! exfatprogs and the FUSE driver by the poison test in `tests`.
//!
//! Read in this order: `raw`, `boot`, `chain`, `root`, `bitmap`.

mod bitmap;
mod boot;
mod chain;
mod raw;
mod root;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::identity::serial_text;
use crate::fs::refusal::{Refusal, settle};
use crate::fs::{Filesystem, ProbeOptions};
use crate::sector_set::SectorSet;
use crate::units::{HumanBytes, SectorCount};
use boot::BootSector;
use chain::Fat;
use root::Root;

/// Recognises exFAT and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk, options: ProbeOptions) -> Result<Option<Filesystem>, DiskError> {
    let Some(boot) = BootSector::read(disk)? else {
        return Ok(None);
    };
    let size = boot.claimed_bytes().and_then(SectorCount::whole_in_bytes).unwrap_or_default();
    let mut found = Filesystem::unread("exfat", size);
    found.uuid = serial_text(boot.raw.serial.get());
    found.allocation = settle(allocated(disk, &boot, options, &mut found))?;
    Ok(Some(found))
}

fn allocated(
    disk: &dyn ReadDisk,
    boot: &BootSector,
    options: ProbeOptions,
    found: &mut Filesystem,
) -> Result<SectorSet, Refusal> {
    let geometry = boot.verified(disk)?;
    found.features = vec![
        format!("clusters of {}", HumanBytes(geometry.cluster_bytes)),
        format!("sectors of {} bytes", geometry.sector_bytes),
        format!("FATs: {}", geometry.fats),
    ];
    let active = u64::from(boot.raw.volume_flags.get() & raw::ACTIVE_FAT);
    if active >= geometry.fats {
        let what = "active FAT in the boot sector";
        return Err(Refusal::corrupt(what, 0, "0, as there is one only", active.to_string()));
    }
    let mut fat = Fat::new(disk, &geometry, active);
    let root = Root::read(disk, &geometry, &mut fat)?;
    found.label.clone_from(&root.label);
    boot.check_state(options)?;
    bitmap::allocated(disk, &geometry, &mut fat, &root)
}

#[cfg(test)]
mod tests;
