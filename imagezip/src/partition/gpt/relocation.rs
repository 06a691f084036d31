//! Moving a GPT to a disk of another size.
//!
//! What it owns: what has to be written so that a GPT saved from one disk is right on another: the
//! protective MBR, the primary, and the backup at the target's end. What it never does: move a
//! partition, or change an entry.

use super::header::PRIMARY_LBA;
use super::{Gpt, GptCopy, GptFault, Header};
use crate::disk::{DiskError, ReadDisk};
use crate::partition::boot_sector::{
    ENTRIES_OFFSET, ENTRY_LEN, Entry, PROTECTIVE, Parsed, RECORD_LEN, parse,
};
use crate::partition::fit::{DoesNotFit, check_below};
use crate::partition::{LbaSize, Patch};
use crate::sector_set::SectorSet;
use crate::units::{HumanBytes, Sector, SectorCount, SectorRange};
use thiserror::Error;

/// Why a GPT cannot be moved.
#[derive(Debug, Error)]
pub enum RelocationError {
    /// The source cannot be read.
    #[error("partition table of the image: {0}")]
    Disk(#[from] DiskError),
    /// Neither copy is valid.
    #[error("both GPT copies of the image are broken: primary: {primary}; backup: {backup}")]
    Broken {
        /// What is wrong with the primary.
        primary: GptFault,
        /// What is wrong with the backup.
        backup: GptFault,
    },
    /// A partition ends beyond what the target can hold.
    #[error(transparent)]
    DoesNotFit(#[from] DoesNotFit),
    /// The target has no room for the table itself.
    #[error(
        "the target ({target} sectors, {}) is too small for the partition table",
        HumanBytes(.target.bytes())
    )]
    TooSmall {
        /// Size of the target.
        target: SectorCount,
    },
    /// The primary's entries have no room in front of the partitions.
    #[error("no room for the entries of the primary GPT before block {first_usable}")]
    NoRoomForPrimary {
        /// First usable logical sector.
        first_usable: u64,
    },
}

/// What to write, and what not to, so that a GPT is right on the target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Relocation {
    /// To be written after everything else, in this order: backup, primary, protective MBR.
    pub patches: Vec<Patch>,
    /// Where the source's backup is: these sectors must not be written from the image.
    pub obsolete: SectorSet,
}

impl Relocation {
    /// Plans the move of the GPT of `source` to a target of `target` sectors with the same logical
    /// sector size. `source` need only hold the sectors the tables are in, such as
    /// [`Excerpt`](crate::partition::Excerpt).
    ///
    /// # Errors
    /// When no copy is valid, when a partition does not fit (it is named), or when the source
    /// cannot be read.
    pub fn plan(source: &dyn ReadDisk, target: SectorCount) -> Result<Self, RelocationError> {
        let gpt = Gpt::read(source)?.map_err(|faults| {
            let (primary, backup) = *faults;
            RelocationError::Broken { primary, backup }
        })?;
        let copy = gpt.chosen().ok_or(RelocationError::TooSmall { target })?;
        let layout = Layout::plan(source, &gpt, target)?;
        let [backup, primary] = layout.copies(&copy.entries)?;
        let patches = [backup, primary, layout.protective].concat();
        Ok(Self { patches, obsolete: old_backup(&gpt) })
    }
}

/// The headers of a GPT made for a disk of some size, and what follows from them.
pub(super) struct Layout {
    size: LbaSize,
    target: SectorCount,
    /// The primary header.
    pub(super) primary: Header,
    /// Changes to the protective MBR.
    pub(super) protective: Vec<Patch>,
}

impl Layout {
    /// Places both copies of `gpt`, which was read from `source`, on a disk of `target` sectors.
    pub(super) fn plan(
        source: &dyn ReadDisk,
        gpt: &Gpt,
        target: SectorCount,
    ) -> Result<Self, RelocationError> {
        let size = gpt.lba_size;
        let too_small = || RelocationError::TooSmall { target };
        let copy = gpt.chosen().ok_or_else(too_small)?;
        let last = size.count_on(target).checked_sub(1).ok_or_else(too_small)?;
        let record = record(source, size)?;
        let primary = new_primary(gpt, copy, &record, last, target)?;
        let protective = protective_patches(&record, copy, last);
        Ok(Self { size, target, primary, protective })
    }

    /// What is to be written of the backup, and of the primary, around this array of entries. The
    /// primary's checksum of the entries is that of this array.
    pub(super) fn copies(&self, entries: &[u8]) -> Result<[Vec<Patch>; 2], RelocationError> {
        let too_small = || RelocationError::TooSmall { target: self.target };
        let primary = &self.primary;
        let backup = new_backup(primary, primary.alternate_lba, self.size).ok_or_else(too_small)?;
        let copy = |header: &Header| {
            let array = patch(self.size, header.entries_lba, entries)?;
            Some(vec![array, patch(self.size, header.my_lba, &header.encode())?])
        };
        Ok([copy(&backup).ok_or_else(too_small)?, copy(primary).ok_or_else(too_small)?])
    }
}

/// The entries of sector 0.
fn record(source: &dyn ReadDisk, size: LbaSize) -> Result<Vec<Entry>, DiskError> {
    let sector = size.read(source, 0, RECORD_LEN)?.unwrap_or_default();
    Ok(match parse(&sector) {
        Parsed::Record(record) => record.entries,
        Parsed::Unsigned | Parsed::BadFlag { .. } => Vec::new(),
    })
}

fn patch(size: LbaSize, lba: u64, bytes: &[u8]) -> Option<Patch> {
    Some(Patch { offset: size.sector(lba)?.byte_offset(), bytes: bytes.to_vec() })
}

/// The primary header for a disk whose last logical sector is `last`.
fn new_primary(
    gpt: &Gpt,
    copy: &GptCopy,
    record: &[Entry],
    last: u64,
    target: SectorCount,
) -> Result<Header, RelocationError> {
    let size = gpt.lba_size;
    let mut header = copy.header.clone();
    let entries_lbas = header.entries_lbas(size);
    // The primary's entries stay where they are, or go behind the header if that place is unknown or
    // not in front of all partitions.
    let first_used = copy.entries().map(|entry| entry.first).min().unwrap_or(u64::MAX);
    let first_usable = header.first_usable.min(first_used);
    let before_all =
        |lba: &u64| lba.checked_add(entries_lbas).is_some_and(|end| end <= first_usable);
    let place = gpt.primary_header.as_ref().map(|header| header.entries_lba).filter(before_all);
    let place = place.or(Some(PRIMARY_LBA + 1).filter(before_all));
    header.entries_lba = place.ok_or(RelocationError::NoRoomForPrimary { first_usable })?;
    // The least room the backup needs, its header included; a source may have left more.
    let behind_min = entries_lbas + 1;
    let old_last = copy.header.my_lba.max(copy.header.alternate_lba);
    let behind_old = old_last.saturating_sub(header.last_usable).max(behind_min);
    let hybrid = record.iter().filter(|entry| entry.kind != PROTECTIVE);
    let hybrid = hybrid.map(|entry| u64::from(entry.start) + u64::from(entry.count) - 1);
    let needed_last = copy.entries().map(|entry| entry.last).chain(hybrid).max().unwrap_or(0);
    let behind = match last.checked_sub(behind_old) {
        Some(last_usable) if last_usable >= needed_last => behind_old,
        _ => behind_min,
    };
    let last_usable = last.checked_sub(behind);
    check_partitions_fit(copy, record, size, last_usable, behind_min, target)?;
    header.last_usable = last_usable
        .filter(|last_usable| *last_usable >= header.first_usable)
        .ok_or(RelocationError::TooSmall { target })?;
    header.my_lba = PRIMARY_LBA;
    header.alternate_lba = last;
    Ok(header)
}

fn check_partitions_fit(
    copy: &GptCopy,
    record: &[Entry],
    size: LbaSize,
    last_usable: Option<u64>,
    behind_lbas: u64,
    target: SectorCount,
) -> Result<(), RelocationError> {
    let too_small = RelocationError::TooSmall { target };
    let limit = last_usable.and_then(|last| size.sector(last.checked_add(1)?));
    let (Some(limit), Some(behind)) = (limit, size.range(0, behind_lbas)) else {
        return Err(too_small);
    };
    let whole = |entry: &super::GptEntry| {
        let count = entry.last.checked_sub(entry.first).and_then(|count| count.checked_add(1));
        count.and_then(|count| size.range(entry.first, count))
    };
    let beyond =
        SectorRange::new(Sector::ZERO, Sector::new(crate::units::SECTORS_MAX).unwrap_or_default());
    let all = copy.entries().map(|entry| {
        // An impossible entry fits nowhere.
        let range = whole(&entry).or(beyond).unwrap_or_default();
        (entry.number, Some(entry.name).filter(|name| !name.is_empty()), range)
    });
    // Entries of a hybrid MBR are most often GPT partitions under another name.
    let hybrid = record.iter().filter(|entry| entry.kind != PROTECTIVE).filter_map(|entry| {
        Some((entry.number(), Some("in the hybrid MBR".to_owned()), entry.range(size, 0)?))
    });
    Ok(check_below(hybrid.chain(all), limit, target, behind.count())?)
}

/// The backup of a primary: places swapped, entries before the header.
fn new_backup(primary: &Header, last: u64, size: LbaSize) -> Option<Header> {
    let mut header = primary.clone();
    header.my_lba = last;
    header.alternate_lba = PRIMARY_LBA;
    header.entries_lba = last.checked_sub(primary.entries_lbas(size))?;
    (header.entries_lba > primary.last_usable).then_some(header)
}

/// The protective entry follows the disk's size; one that covers only the table of a hybrid, and
/// all other entries, stay.
fn protective_patches(record: &[Entry], copy: &GptCopy, last: u64) -> Vec<Patch> {
    let old_last = copy.header.my_lba.max(copy.header.alternate_lba);
    let hybrid = record.iter().any(|entry| entry.kind != PROTECTIVE);
    let follows = |entry: &&Entry| {
        let end = u64::from(entry.start) + u64::from(entry.count);
        entry.kind == PROTECTIVE && (!hybrid || entry.count == u32::MAX || end > old_last.min(last))
    };
    let mut patches = Vec::new();
    for entry in record.iter().filter(follows) {
        let count = (last + 1).saturating_sub(u64::from(entry.start));
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        // One that starts beyond the disk is nonsense, but protects; an empty one does not.
        if count == entry.count || count == 0 {
            continue;
        }
        let at = ENTRIES_OFFSET + u64::from(entry.slot) * ENTRY_LEN;
        // Where it ends in cylinders and heads: FFFFFF stands for "not expressible".
        patches.push(Patch { offset: at + 5, bytes: vec![0xFF; 3] });
        patches.push(Patch { offset: at + 12, bytes: count.to_le_bytes().to_vec() });
    }
    patches
}

/// Where the source's backup is, as far as can be told, outside all partitions.
fn old_backup(gpt: &Gpt) -> SectorSet {
    let Some(copy) = gpt.chosen() else { return SectorSet::empty() };
    let size = gpt.lba_size;
    let behind = copy.header.last_usable.checked_add(1).and_then(|lba| size.sector(lba));
    let partitions: SectorSet = copy
        .entries()
        .filter_map(|entry| size.range(entry.first, entry.last.checked_sub(entry.first)? + 1))
        .collect();
    let tables: SectorSet =
        gpt.ranges().into_iter().filter(|range| Some(range.start()) >= behind).collect();
    tables.difference(&partitions)
}
