//! GUID partition tables.
//!
//! What it owns: choosing between the two copies of a GPT, and turning its entries into partitions.
//! What it never does: use a copy whose checksums fail, or read an array larger than 4 MiB.
//!
//! The primary header is in logical sector 1. The backup is where the primary says; if the primary
//! is broken, at the disk's end, or where the disk ended when the protective MBR was written.

mod growth;
mod header;
mod relocation;

pub use super::set_type::set_gpt_type as set_type;
pub(super) use growth::plan as plan_growth;
pub use header::{GptCopy, GptEntry, GptFault, Header};
pub use relocation::{Relocation, RelocationError};

use super::boot_sector::{Entry, PROTECTIVE, Parsed, RECORD_LEN, Record, parse};
use super::draft::Draft;
use super::lba::LbaSize;
use super::{Partition, PartitionKind, Problem, Scheme, Table, Warning};
use crate::disk::{DiskError, ReadDisk};
use crate::units::SectorRange;
use header::{CopyFault, PRIMARY_LBA, SIGNATURE};

/// Attribute bit 2: "legacy BIOS bootable".
const ATTRIBUTE_BOOTABLE: u64 = 1 << 2;

/// Bytes an array of entries is given at least (UEFI 5.3.1); kept when its header is unreadable.
const ENTRIES_BYTES_USUAL: u64 = 16384;

/// A GPT of which at least one copy is valid.
#[derive(Clone, Debug)]
pub struct Gpt {
    /// The logical sector size it counts in.
    pub lba_size: LbaSize,
    /// The copy at the start of the disk.
    pub primary: Result<GptCopy, GptFault>,
    /// The copy at the end.
    pub backup: Result<GptCopy, GptFault>,
    /// The primary's header, which may be valid when its entries are not.
    primary_header: Option<Header>,
}

impl Gpt {
    /// Reads both copies; the inner error holds the faults of primary and backup.
    ///
    /// # Errors
    /// When the disk cannot be read, or its logical sector size is none we know.
    pub fn read(disk: &dyn ReadDisk) -> Result<Result<Self, Box<(GptFault, GptFault)>>, DiskError> {
        let size = LbaSize::of(disk)?;
        let sector = size.read(disk, 0, RECORD_LEN)?.unwrap_or_default();
        let old_end = match parse(&sector) {
            Parsed::Record(record) => old_end(&record),
            Parsed::Unsigned | Parsed::BadFlag { .. } => None,
        };
        Self::read_sized(disk, size, old_end)
    }

    /// The same with a logical sector size that may not be the disk's. `old_end` is the logical
    /// sector in which a protective MBR says the disk ends.
    pub(super) fn read_sized(
        disk: &dyn ReadDisk,
        size: LbaSize,
        old_end: Option<u64>,
    ) -> Result<Result<Self, Box<(GptFault, GptFault)>>, DiskError> {
        let (primary, primary_header) = match GptCopy::read(disk, size, PRIMARY_LBA)? {
            Ok(copy) => {
                let header = copy.header.clone();
                (Ok(copy), Some(header))
            }
            Err(CopyFault { fault, header }) => (Err(fault), header),
        };
        let said = primary_header.as_ref().map(|header| header.alternate_lba);
        let last = size.count_on(disk.sectors()).checked_sub(1);
        let mut backup = Err(GptFault::NoSignature { lba: said.or(last).unwrap_or_default() });
        for (i, lba) in [said, last, old_end].into_iter().flatten().enumerate() {
            if lba <= PRIMARY_LBA || (i > 0 && primary.is_ok()) {
                continue;
            }
            let copy = read_backup(disk, size, lba)?;
            let found = copy.is_ok();
            if found || i == 0 {
                backup = copy;
            }
            if found {
                break;
            }
        }
        Ok(match (primary, backup) {
            (Err(primary), Err(backup)) => Err(Box::new((primary, backup))),
            (primary, backup) => Ok(Self { lba_size: size, primary, backup, primary_header }),
        })
    }

    /// The copy to believe: the primary if valid.
    pub fn chosen(&self) -> Option<&GptCopy> {
        self.primary.as_ref().or(self.backup.as_ref()).ok()
    }

    /// Where headers and entries are, of a broken copy as far as can be told.
    fn ranges(&self) -> Vec<SectorRange> {
        let size = self.lba_size;
        let mut ranges = Vec::new();
        let entries_lbas = self.chosen().map_or(0, |copy| copy.header.entries_lbas(size));
        match &self.primary {
            Ok(copy) => ranges.extend(copy.ranges(size)),
            Err(_) => {
                ranges.extend(size.range(PRIMARY_LBA, 1));
                let at = self.primary_header.as_ref().map_or(2, |header| header.entries_lba);
                ranges.extend(size.range(at, entries_lbas));
            }
        }
        match (&self.backup, &self.primary) {
            (Ok(copy), _) => ranges.extend(copy.ranges(size)),
            (Err(_), Ok(primary)) => {
                let header = &primary.header;
                let start = header.alternate_lba.saturating_sub(entries_lbas);
                let start = start.max(header.last_usable.saturating_add(1));
                let count = header.alternate_lba.saturating_add(1).saturating_sub(start);
                ranges.extend(size.range(start, count));
            }
            (Err(_), Err(_)) => {}
        }
        ranges
    }
}

/// Reads a backup; a valid one also knows where the primary is.
fn read_backup(
    disk: &dyn ReadDisk,
    size: LbaSize,
    lba: u64,
) -> Result<Result<GptCopy, GptFault>, DiskError> {
    Ok(match GptCopy::read(disk, size, lba)? {
        Ok(copy) if copy.header.alternate_lba != PRIMARY_LBA => {
            Err(GptFault::Alternate { found: copy.header.alternate_lba })
        }
        Ok(copy) => Ok(copy),
        Err(fault) => Err(fault.fault),
    })
}

/// The logical sector a protective entry ends with.
fn old_end(record: &Record) -> Option<u64> {
    let entry = record.entries.iter().find(|entry| entry.kind == PROTECTIVE)?;
    (u64::from(entry.start) + u64::from(entry.count)).checked_sub(1)
}

/// Reads the table of a disk whose MBR has a protective entry.
pub(super) fn table(mut draft: Draft<'_>, record: &Record) -> Result<Table, DiskError> {
    let size = draft.lba_size;
    let gpt = match Gpt::read_sized(draft.disk, size, old_end(record))? {
        Ok(gpt) => gpt,
        Err(faults) => {
            let (primary, backup) = *faults;
            let remains = remains(draft.disk, size)?;
            draft.remains.extend(remains);
            draft.problem(match other_size(draft.disk, size)? {
                Some(other) => {
                    Problem::SectorSize { configured: size.bytes(), found: other.bytes() }
                }
                None => Problem::GptBroken { primary, backup },
            });
            return draft.finish(Scheme::None);
        }
    };
    let Some(copy) = gpt.chosen() else { return draft.finish(Scheme::None) };
    note_copies(&mut draft, &gpt);
    draft.table.extend(gpt.ranges());
    // A stale backup at the very end, when the one in use is elsewhere, is kept but not believed.
    if let Some(last) = size.count_on(draft.size).checked_sub(1).filter(|last| *last > PRIMARY_LBA)
    {
        draft.remains.extend(size.range(last, 1));
    }
    add_partitions(&mut draft, copy);
    let disk_guid = copy.header.disk_guid;
    let own: Vec<_> = record.entries.iter().filter(|entry| entry.kind != PROTECTIVE).collect();
    if own.is_empty() {
        return draft.finish(Scheme::Gpt { disk_guid });
    }
    draft.warnings.push(Warning::HybridMbr { entries: own.len() });
    own.into_iter().for_each(|entry| compare_hybrid(&mut draft, *entry));
    draft.finish(Scheme::HybridGpt { disk_guid })
}

fn other_size(disk: &dyn ReadDisk, size: LbaSize) -> Result<Option<LbaSize>, DiskError> {
    for other in LbaSize::ALL.into_iter().filter(|other| *other != size) {
        if Gpt::read_sized(disk, other, None)?.is_ok() {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

/// Says what is odd about the two copies.
fn note_copies(draft: &mut Draft<'_>, gpt: &Gpt) {
    let (size, disk) = (draft.lba_size, draft.size);
    let last = size.count_on(disk).checked_sub(1);
    let warnings = &mut draft.warnings;
    match (&gpt.primary, &gpt.backup) {
        (Err(fault), Ok(backup)) => {
            let backup = size.sector(backup.header.my_lba).unwrap_or_default();
            warnings.push(Warning::PrimaryGptBroken { fault: fault.clone(), backup });
        }
        (Ok(primary), Err(fault)) => {
            let alternate = primary.header.alternate_lba;
            warnings.push(if last.is_none_or(|last| alternate > last) {
                let each = u64::from(size.bytes()) / 512;
                Warning::BackupBeyondEnd { backup: alternate.saturating_mul(each), disk }
            } else {
                Warning::BackupGptBroken { fault: fault.clone() }
            });
        }
        (Ok(primary), Ok(backup)) => {
            let (a, b) = (&primary.header, &backup.header);
            let same = primary.entries == backup.entries
                && (a.disk_guid, a.entry_bytes, a.first_usable, a.last_usable)
                    == (b.disk_guid, b.entry_bytes, b.first_usable, b.last_usable);
            if !same {
                warnings.push(Warning::CopiesDiffer);
            }
        }
        (Err(_), Err(_)) => {}
    }
    if let Ok(backup) = &gpt.backup
        && last.is_some_and(|last| last != backup.header.my_lba)
    {
        let backup = size.sector(backup.header.my_lba).unwrap_or_default();
        warnings.push(Warning::BackupNotAtEnd { backup, disk });
    }
}

fn add_partitions(draft: &mut Draft<'_>, copy: &GptCopy) {
    let size = draft.lba_size;
    let header = &copy.header;
    for entry in copy.entries() {
        let GptEntry { number, first, last, .. } = entry;
        let count = last.checked_sub(first).and_then(|count| count.checked_add(1));
        let Some(range) = count.and_then(|count| size.range(first, count)) else {
            draft.problem(Problem::ImpossibleEntry { number, first, last });
            continue;
        };
        if first < header.first_usable || last > header.last_usable {
            draft.warnings.push(Warning::OutsideUsable { number, range });
        }
        draft.partitions.push(Partition {
            number,
            range,
            declared: range,
            kind: PartitionKind::Guid(entry.kind),
            name: Some(entry.name).filter(|name| !name.is_empty()),
            guid: Some(entry.guid),
            attributes: entry.attributes,
            bootable: entry.attributes & ATTRIBUTE_BOOTABLE != 0,
            truncated: false,
        });
    }
}

/// An entry of a hybrid MBR is another name for a GPT partition, or something else to be kept.
fn compare_hybrid(draft: &mut Draft<'_>, entry: Entry) {
    let Some(range) = entry.range(draft.lba_size, 0) else { return };
    let number = entry.number();
    if draft.partitions.iter().any(|partition| partition.declared == range) {
        return;
    }
    let clash =
        draft.partitions.iter().find_map(|p| Some((p.number, p.declared.intersection(range)?)));
    match clash {
        Some((partition, range)) => {
            draft.problem(Problem::HybridDisagrees { entry: number, number: partition, range });
        }
        None => {
            draft.keep_ends.push(range.end());
            draft.warnings.push(Warning::HybridOnly { number, range });
        }
    }
}

/// Where something that looks like a GPT is, valid or not.
pub(super) fn remains(disk: &dyn ReadDisk, size: LbaSize) -> Result<Vec<SectorRange>, DiskError> {
    let mut ranges = Vec::new();
    let usual = size.holding(ENTRIES_BYTES_USUAL);
    let last = size.count_on(disk.sectors()).checked_sub(1).filter(|last| *last > PRIMARY_LBA);
    for (lba, from) in
        [Some((PRIMARY_LBA, PRIMARY_LBA)), last.map(|last| (last, last.saturating_sub(usual)))]
            .into_iter()
            .flatten()
    {
        let found = size.read(disk, lba, SIGNATURE.len())?;
        if found.as_deref() != Some(SIGNATURE.as_slice()) {
            continue;
        }
        ranges.extend(size.range(from, usual + 1));
        match GptCopy::read(disk, size, lba)? {
            Ok(copy) => ranges.extend(copy.ranges(size)),
            Err(CopyFault { header: Some(header), .. }) => {
                ranges.extend(size.range(header.entries_lba, header.entries_lbas(size)));
            }
            Err(CopyFault { header: None, .. }) => {}
        }
    }
    Ok(ranges)
}
