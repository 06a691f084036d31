//! NTFS.
//!
//! What it owns: the allocation map of every volume that Windows NT 4 to 11 and mkntfs make:
//! clusters of 512 bytes to 2 MiB, file records of any size, an MFT and a bitmap in many pieces.
//! What it never does: replay the log, or look at other files than it needs.
//!
//! Layouts and rules come from the "NTFS Documentation" of the Linux-NTFS project and are proved
//! against ntfs-3g by the poison test in `tests`.
//!
//! Read in this order: `raw`, `boot`, `fixup`, `record`, `runs`, `mft`, `volume`, `logfile`,
//! `directory`, `bitmap`.

mod bitmap;
mod boot;
mod directory;
mod fixup;
mod logfile;
mod mft;
mod raw;
mod record;
mod runs;
mod volume;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::{Refusal, settle};
use crate::fs::{Filesystem, ProbeOptions};
use crate::sector_set::SectorSet;
use crate::units::{HumanBytes, SectorCount};
use boot::BootSector;
use mft::Mft;
use volume::Volume;

/// Numbers of the records of the volume's own files.
const MIRROR: u64 = 1;
const LOG_FILE: u64 = 2;
const VOLUME: u64 = 3;
const ROOT: u64 = 5;
const BITMAP: u64 = 6;
const BOOT: u64 = 7;

/// Recognises NTFS and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk, options: ProbeOptions) -> Result<Option<Filesystem>, DiskError> {
    let Some(boot) = BootSector::read(disk)? else {
        return Ok(None);
    };
    let serial = boot.raw.serial.get();
    let bytes = boot.claimed_bytes(disk.size_bytes());
    let size = SectorCount::whole_in_bytes(bytes).unwrap_or_default();
    let mut found = Filesystem::unread("ntfs", size);
    found.uuid = (serial != 0).then(|| format!("{serial:016X}"));
    found.allocation = settle(allocated(disk, &boot, options, &mut found))?;
    Ok(Some(found))
}

fn allocated(
    disk: &dyn ReadDisk,
    boot: &BootSector,
    options: ProbeOptions,
    found: &mut Filesystem,
) -> Result<SectorSet, Refusal> {
    let geometry = boot.geometry(disk.size_bytes())?;
    found.features = vec![
        format!("clusters of {}", HumanBytes(geometry.cluster_bytes)),
        format!("records of {}", HumanBytes(geometry.record_bytes)),
        format!("sectors of {} bytes", geometry.sector_bytes),
    ];
    let mft = Mft::open(disk, &geometry)?;
    let volume = Volume::read(&mft.record(VOLUME)?)?;
    found.features.insert(0, format!("version {}", volume.version));
    found.label.clone_from(&volume.label);
    volume.check(options)?;
    let log = mft.plain_data(&mft.record(LOG_FILE)?)?;
    logfile::check(disk, &geometry, &log, options)?;
    let page_files = directory::page_files(disk, &geometry, &mft, &mft.record(ROOT)?)?;
    let mut asleep = false;
    for file in &page_files {
        asleep |= file.is_asleep(&mft)?;
    }
    if asleep {
        options.refuse_unclean(
            "Windows is hibernated on it (or was shut down with fast startup, which is the same): \
             boot Windows and shut it down with shutdown /s /t 0, and save again",
        )?;
    }
    let mirror = mft.plain_data(&mft.record(MIRROR)?)?;
    volume::check_mirror(disk, &geometry, &mft, &mirror)?;
    let bits = mft.plain_data(&mft.record(BITMAP)?)?;
    let mut set = bitmap::allocated(disk, &geometry, &bits)?;
    let boot_file = mft.plain_data(&mft.record(BOOT)?)?;
    // What a sleeping Windows wakes up with is never left out.
    if options.leave_out_page_files && !asleep {
        for file in &page_files {
            let content = file.sectors(&geometry);
            if content.difference(&set).is_empty() {
                set = set.difference(&content);
                found.features.push(format!("{} left out", file.name()));
            }
        }
    }
    for (name, runs) in [
        ("$MFT", mft.runs()),
        ("$MFTMirr", &mirror.runs),
        ("$LogFile", &log.runs),
        ("$Bitmap", &bits.runs),
        ("$Boot", &boot_file.runs),
    ] {
        bitmap::check_own(&set, &geometry, name, runs)?;
    }
    Ok(set)
}
