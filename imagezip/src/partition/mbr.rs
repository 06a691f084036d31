//! Master boot records.
//!
//! What it owns: the four entries of sector 0, when they are a partition table, and changing a type
//! byte. What it never does: accept a filesystem's boot sector as a table, or drop a partition
//! because its type is unknown: Linux numbers every entry with a length, and so do we.

use super::boot_sector::{self, Entry, Record};
use super::draft::Draft;
use super::ebr;
use super::{Container, Partition, PartitionKind, Problem, Scheme, Table, Warning};
use crate::disk::DiskError;
use crate::units::SectorRange;

pub use super::set_type::set_mbr_type as set_type;

/// Reads the table of a record that protects no GPT. `sector` holds the record's bytes.
pub(super) fn table(
    mut draft: Draft<'_>,
    sector: &[u8],
    record: &Record,
) -> Result<Table, DiskError> {
    let filesystem = boot_sector::filesystem(draft.disk, sector)?;
    if let Some(reason) = against(&draft, record) {
        return Ok(draft.bare(Some(Warning::NotATable { reason })));
    }
    if let Some(filesystem) = filesystem {
        draft.problem(Problem::BootSectorAndTable { filesystem });
    }
    let mut number_next = ebr::FIRST_LOGICAL;
    for entry in &record.entries {
        let Some(range) = entry.range(draft.lba_size, 0) else { continue };
        if entry.is_extended() {
            let complete = ebr::walk(&mut draft, *entry, range, &mut number_next)?;
            if !complete {
                draft.keep_ends.push(range.end());
            }
            let kind = PartitionKind::Mbr(entry.kind);
            let number = entry.number();
            draft.containers.push(Container { number, declared: range, kind, complete });
        } else {
            draft.partitions.push(partition(entry.number(), *entry, range));
        }
    }
    draft.finish(Scheme::Mbr { signature: record.signature })
}

/// What shows that a record is not a partition table of this disk.
fn against(draft: &Draft<'_>, record: &Record) -> Option<String> {
    let disk = SectorRange::whole(draft.size);
    match record.entries.as_slice() {
        [] => Some("no partition is defined".to_owned()),
        // What mkfs.fat writes into its boot sector, and isohybrid into an image's.
        [Entry { start: 0, .. }] => {
            Some("its only partition starts at sector 0 and contains the table itself".to_owned())
        }
        entries => {
            let on_disk = |entry: &Entry| {
                entry.range(draft.lba_size, 0).is_some_and(|range| disk.contains(range.start()))
            };
            let disk = draft.size;
            (!entries.iter().any(on_disk)).then(|| {
                format!("every partition starts beyond the end of the disk ({disk} sectors)")
            })
        }
    }
}

/// An entry as a partition.
pub(super) fn partition(number: u32, entry: Entry, range: SectorRange) -> Partition {
    Partition {
        number,
        range,
        declared: range,
        kind: PartitionKind::Mbr(entry.kind),
        name: None,
        guid: None,
        attributes: 0,
        bootable: entry.bootable,
        truncated: false,
    }
}
