//! Growing the last partition of an MBR, primary or logical.
//!
//! What it owns: the entries that say where a partition ends: its own, for a logical one also that
//! of the extended partition and the link to its record. What it never does: address a sector that
//! an MBR cannot, or grow over an extended boot record.
//!
//! Each entry is in one sector and written at once. The outer ones are written first: an extended
//! partition that is larger than what it holds contradicts nothing.

use super::{ALIGNMENT, GrowError, Growth, Partition, Patch, Table, aligned_end};
use crate::disk::ReadDisk;
use crate::partition::LbaSize;
use crate::partition::boot_sector::{
    ENTRIES_OFFSET, ENTRY_LEN, Entry, PLACE_OFFSET, Parsed, RECORD_LEN, Record, parse,
};
use crate::partition::ebr::Chain;
use crate::units::SectorRange;

/// Logical sectors that an MBR can address: the 32 bits of a start and of a count.
const LBAS_MAX: u64 = 1 << 32;

/// Heads and sectors a track by which ends are also told as cylinder, head and sector: what every
/// system assumes of a disk.
const HEADS: u64 = 255;
const TRACK_SECTORS: u64 = 63;

/// An entry and the logical sector its record is in.
struct Place {
    lba: u64,
    slot: u32,
    /// The logical sector its range starts with.
    start: u64,
    /// The same as the record says it.
    start_said: u32,
    /// The logical sector after its last.
    end: u64,
}

/// Plans the growth of `last`, the last partition.
pub(super) fn plan(
    disk: &dyn ReadDisk,
    table: &Table,
    last: &Partition,
) -> Result<Growth, GrowError> {
    let size = table.lba_size;
    let whole = SectorRange::whole(disk.sectors());
    if let Some(beyond) = table.containers.iter().find(|c| !whole.contains_range(c.declared)) {
        let (number, declared) = (beyond.number, beyond.declared);
        return Err(GrowError::ExtendedBeyondEnd { number, declared });
    }
    let record = record(disk, size)?.ok_or(GrowError::NoTable)?;
    let old = last.declared;
    let reach = size.sector(LBAS_MAX).unwrap_or(whole.end()).min(whole.end());
    let end = aligned_end(reach, ALIGNMENT).max(old.end());
    let container = table.containers.iter().find(|c| c.declared.contains_range(old));
    let in_the_way = table.containers.iter().find(|c| c.declared.start() >= old.end());
    if let Some(empty) = in_the_way {
        let (number, at) = (last.number, empty.declared.start());
        return Err(GrowError::TableBehind { number, at });
    }
    let mut places = Vec::new();
    match container {
        None => places.extend(entry_place(&record, last.number)),
        Some(container) => {
            places.extend(entry_place(&record, container.number));
            places.extend(logical_places(disk, size, &record, container.number, last)?);
        }
    }
    let new = SectorRange::new(old.start(), end).unwrap_or(old);
    let end_lba = end.byte_offset() / u64::from(size.bytes());
    let mut steps = Vec::new();
    if new != old {
        for place in &places {
            // An extended partition may reach further than is of use to what it holds.
            if place.end < end_lba {
                steps.push(vec![place.patch(size, end_lba).ok_or(GrowError::NoTable)?]);
            }
        }
    }
    let mut growth = Growth::new(last.number, old, new, steps);
    growth.container = container.filter(|c| c.declared.end() < end).map(|c| c.number);
    if end >= reach {
        growth.out_of_reach = whole.end().distance_from(reach).unwrap_or_default();
    }
    Ok(growth)
}

fn record(disk: &dyn ReadDisk, size: LbaSize) -> Result<Option<Record>, GrowError> {
    let bytes = size.read(disk, 0, RECORD_LEN)?.unwrap_or_default();
    Ok(match parse(&bytes) {
        Parsed::Record(record) => Some(record),
        Parsed::Unsigned | Parsed::BadFlag { .. } => None,
    })
}

/// The entry of the first record with this number.
fn entry_place(record: &Record, number: u32) -> Option<Place> {
    let entry = record.entries.iter().find(|entry| entry.number() == number)?;
    let start = u64::from(entry.start);
    let end = start + u64::from(entry.count);
    Some(Place { lba: 0, slot: entry.slot, start, start_said: entry.start, end })
}

/// The link to the record of a logical partition, if it has one, and its own entry.
fn logical_places(
    disk: &dyn ReadDisk,
    size: LbaSize,
    record: &Record,
    container: u32,
    last: &Partition,
) -> Result<Vec<Place>, GrowError> {
    let entry = record.entries.iter().find(|entry| entry.number() == container);
    let entry: Entry = *entry.ok_or(GrowError::NoTable)?;
    let extended = entry.range(size, 0).ok_or(GrowError::NoTable)?;
    let first = u64::from(entry.start);
    let mut links: Vec<(u64, Place)> = Vec::new();
    let mut found = None;
    let mut behind = None;
    Chain::new(disk, size, entry, extended).walk(|ebr| {
        if let Some(link) = &ebr.next {
            let start_said = u32::try_from(link.lba - first.min(link.lba)).unwrap_or(u32::MAX);
            let (start, end) = (link.lba, link.lba + u64::from(link.count));
            let place = Place { lba: ebr.lba, slot: link.slot, start, start_said, end };
            links.push((link.lba, place));
        }
        if size.sector(ebr.lba).is_some_and(|at| at >= last.declared.end()) {
            behind = size.sector(ebr.lba);
        }
        for (entry, range) in &ebr.data {
            if *range == last.declared {
                let start = ebr.lba + u64::from(entry.start);
                let end = start + u64::from(entry.count);
                let (slot, start_said) = (entry.slot, entry.start);
                found = Some(Place { lba: ebr.lba, slot, start, start_said, end });
            }
        }
        false
    })?;
    if let Some(at) = behind {
        return Err(GrowError::TableBehind { number: last.number, at });
    }
    let found = found.ok_or(GrowError::NoTable)?;
    let link = links.into_iter().find(|(target, _)| *target == found.lba);
    Ok(link.map(|(_, place)| place).into_iter().chain([found]).collect())
}

impl Place {
    /// What makes the entry end before logical sector `end`. Never called with one that is larger
    /// than what an MBR can address, unless the entry is already; then there is no such patch.
    fn patch(&self, size: LbaSize, end: u64) -> Option<Patch> {
        let count = u32::try_from(end.checked_sub(self.start)?).ok()?;
        let at = ENTRIES_OFFSET + u64::from(self.slot) * ENTRY_LEN + PLACE_OFFSET;
        let offset = size.sector(self.lba)?.byte_offset().checked_add(at)?;
        let mut bytes = cylinder_head_sector(end.saturating_sub(1)).to_vec();
        bytes.extend(self.start_said.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        Some(Patch { offset, bytes })
    }
}

/// A logical sector as an MBR entry tells it to systems of the eighties; the largest that can be
/// told for all beyond.
fn cylinder_head_sector(lba: u64) -> [u8; 3] {
    let (cylinder, head) = (lba / (HEADS * TRACK_SECTORS), lba / TRACK_SECTORS % HEADS);
    let sector = lba % TRACK_SECTORS + 1;
    let told = (u8::try_from(head), u8::try_from(sector | (cylinder >> 8) << 6));
    match (cylinder, told) {
        (0..=1023, (Ok(head), Ok(sector))) => {
            [head, sector, u8::try_from(cylinder & 0xFF).unwrap_or(0xFF)]
        }
        _ => [0xFE, 0xFF, 0xFF],
    }
}
