//! Changing the type of a partition.
//!
//! What it owns: the bytes to write, in every place the type is recorded. What it never does: write
//! them, or turn a partition into something that is not one (an extended or a protective entry).

use super::boot_sector::{
    ENTRIES_OFFSET, ENTRY_LEN, Entry, KIND_OFFSET, PROTECTIVE, Parsed, RECORD_LEN, Record, parse,
};
use super::ebr::{Chain, FIRST_LOGICAL, Walked};
use super::gpt::{Gpt, GptCopy};
use super::lba::LbaSize;
use super::{PartitionKind, Patch};
use crate::disk::{DiskError, ReadDisk};
use thiserror::Error;

/// Why a type cannot be set.
#[derive(Debug, Error)]
pub enum SetTypeError {
    /// The disk cannot be read.
    #[error("partition table: {0}")]
    Disk(#[from] DiskError),
    /// There is no valid table.
    #[error("there is no valid partition table to change")]
    NoTable,
    /// The table has no such partition.
    #[error("there is no partition {number}")]
    NoPartition {
        /// The number asked for.
        number: u32,
    },
    /// The partition is an extended or a protective one.
    #[error("partition {number} is {kind}; its type holds the table together")]
    Structural {
        /// The number asked for.
        number: u32,
        /// What it is.
        kind: PartitionKind,
    },
    /// The type asked for would make the partition part of the table, or unused.
    #[error("{kind} is not a type for a partition that holds data")]
    NotData {
        /// The type asked for.
        kind: PartitionKind,
    },
    /// The type has no counterpart in this kind of table.
    #[error("{kind} has no counterpart in {table}; give {expected}")]
    NoCounterpart {
        /// The type asked for.
        kind: PartitionKind,
        /// Which kind of table.
        table: &'static str,
        /// What to give instead.
        expected: &'static str,
    },
}

/// The patches that give partition `number` another type, whichever table the disk has.
///
/// # Errors
/// See [`SetTypeError`].
pub fn set_type(
    disk: &dyn ReadDisk,
    number: u32,
    kind: PartitionKind,
) -> Result<Vec<Patch>, SetTypeError> {
    let record = record(disk, LbaSize::of(disk)?, 0)?;
    if record.is_some_and(|record| record.is_protective()) {
        set_gpt_type(disk, number, kind)
    } else {
        set_mbr_type(disk, number, kind)
    }
}

/// The patch of one byte that sets the type of an MBR partition, in sector 0 or, for a logical
/// partition, in its extended boot record. A GUID is turned into the byte that means the same.
///
/// # Errors
/// See [`SetTypeError`].
pub fn set_mbr_type(
    disk: &dyn ReadDisk,
    number: u32,
    kind: PartitionKind,
) -> Result<Vec<Patch>, SetTypeError> {
    let expected = "a byte such as 0x83";
    let byte =
        kind.to_byte().ok_or(SetTypeError::NoCounterpart { kind, table: "an MBR", expected })?;
    if byte == 0 || byte == PROTECTIVE || PartitionKind::Mbr(byte).is_extended() {
        return Err(SetTypeError::NotData { kind: PartitionKind::Mbr(byte) });
    }
    let size = LbaSize::of(disk)?;
    let record = record(disk, size, 0)?.ok_or(SetTypeError::NoTable)?;
    let (lba, entry) = if number < FIRST_LOGICAL {
        let entry = record.entries.iter().find(|entry| entry.number() == number);
        (0, *entry.ok_or(SetTypeError::NoPartition { number })?)
    } else {
        find_logical(disk, size, &record, number)?.ok_or(SetTypeError::NoPartition { number })?
    };
    if entry.is_extended() || entry.kind == PROTECTIVE {
        let kind = PartitionKind::Mbr(entry.kind);
        return Err(SetTypeError::Structural { number, kind });
    }
    let sector = size.sector(lba).ok_or(SetTypeError::NoPartition { number })?;
    let at = ENTRIES_OFFSET + u64::from(entry.slot) * ENTRY_LEN + KIND_OFFSET;
    Ok(vec![Patch { offset: sector.byte_offset() + at, bytes: vec![byte] }])
}

fn record(disk: &dyn ReadDisk, size: LbaSize, lba: u64) -> Result<Option<Record>, DiskError> {
    let bytes = size.read(disk, lba, RECORD_LEN)?.unwrap_or_default();
    Ok(match parse(&bytes) {
        Parsed::Record(record) => Some(record),
        Parsed::Unsigned | Parsed::BadFlag { .. } => None,
    })
}

/// The record that holds a logical partition, and its entry there.
fn find_logical(
    disk: &dyn ReadDisk,
    size: LbaSize,
    record: &Record,
    number: u32,
) -> Result<Option<(u64, Entry)>, SetTypeError> {
    let mut number_next = FIRST_LOGICAL;
    for entry in record.entries.iter().filter(|entry| entry.is_extended()) {
        let Some(extended) = entry.range(size, 0) else { continue };
        let mut found = None;
        let walked = Chain::new(disk, size, *entry, extended).walk(|ebr| {
            for (entry, _) in &ebr.data {
                if number_next == number {
                    found = Some((ebr.lba, *entry));
                }
                number_next += 1;
            }
            found.is_some()
        })?;
        if found.is_some() {
            return Ok(found);
        }
        if matches!(walked, Walked::Problem(_)) {
            return Err(SetTypeError::NoTable);
        }
    }
    Ok(None)
}

/// The patches that set the type of a GPT partition in every valid copy, checksums included. A byte
/// is turned into the GUID that means the same.
///
/// # Errors
/// See [`SetTypeError`].
pub fn set_gpt_type(
    disk: &dyn ReadDisk,
    number: u32,
    kind: PartitionKind,
) -> Result<Vec<Patch>, SetTypeError> {
    let guid = match kind {
        PartitionKind::Mbr(0 | PROTECTIVE) => {
            return Err(SetTypeError::NotData { kind });
        }
        PartitionKind::Guid(guid) if guid.is_nil() => {
            return Err(SetTypeError::NotData { kind });
        }
        _ => kind.to_guid().ok_or(SetTypeError::NoCounterpart {
            kind,
            table: "a GPT",
            expected: "a GUID",
        })?,
    };
    let gpt = Gpt::read(disk)?.map_err(|_| SetTypeError::NoTable)?;
    let size = gpt.lba_size;
    let known = |copy: &GptCopy| copy.entries().any(|entry| entry.number == number);
    if !gpt.chosen().is_some_and(known) {
        return Err(SetTypeError::NoPartition { number });
    }
    let mut patches = Vec::new();
    // The backup first: one valid copy remains if writing is cut short.
    for mut copy in [gpt.backup, gpt.primary].into_iter().flatten() {
        if !copy.set_kind(number, guid) {
            continue; // a backup that differs from the primary
        }
        let places = size.sector(copy.header.entries_lba).zip(size.sector(copy.header.my_lba));
        let (entries, header) = places.ok_or(SetTypeError::NoTable)?;
        patches.push(Patch { offset: entries.byte_offset(), bytes: copy.entries.clone() });
        patches.push(Patch { offset: header.byte_offset(), bytes: copy.header.encode() });
    }
    Ok(patches)
}
