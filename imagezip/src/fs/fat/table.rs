//! The file allocation tables: all copies read, compared, and turned into a map.
//!
//! What it owns: what an entry means for the map: any but zero is in use, be it part of a chain, an
//! end, reserved or a bad cluster. What it never does: follow chains, or hold a whole table, which
//! is 1 GiB at most.

use super::boot::{Geometry, Kind};
use super::raw::Identity;
use crate::disk::ReadDisk;
use crate::fs::ProbeOptions;
use crate::fs::areas::sectors;
use crate::fs::bit_runs::for_each_run;
use crate::fs::refusal::Refusal;
use crate::sector_set::{SectorSet, SectorSetBuilder};

/// Entries read in one go: 1 MiB of FAT32. A multiple of 8.
const PIECE_ENTRIES: u64 = 256 << 10;

/// The bits of a FAT32 entry that count; the upper four are reserved.
const FAT32_MASK: u32 = 0x0FFF_FFFF;

/// `BS_Reserved1`: mounted, or not unmounted.
const STATE_DIRTY: u8 = 1;
/// `BS_Reserved1`: the surface needs a test.
const STATE_ERRORS: u8 = 2;

/// Refuses a filesystem that is not at rest, as its boot sector and its FAT tell.
pub(super) fn check_state(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    identity: Option<&Identity>,
    options: ProbeOptions,
) -> Result<(), Refusal> {
    let mut head = [0; 8];
    disk.read_at(&mut head, geometry.fat_offset)?;
    let [media, _, second_low, second_high, fourth @ ..] = head;
    if media != geometry.media {
        return Err(Refusal::corrupt(
            "first FAT",
            geometry.fat_offset,
            format!("the medium {:#04x} in entry 0", geometry.media),
            format!("{media:#04x}"),
        ));
    }
    // Entry 1 has a bit for "unmounted" and one for "no read or write failed"; FAT12 has not.
    let (unmounted, no_errors) = match geometry.kind {
        Kind::Fat12 => (true, true),
        Kind::Fat16 => {
            let entry = u16::from_le_bytes([second_low, second_high]);
            (entry & 0x8000 != 0, entry & 0x4000 != 0)
        }
        Kind::Fat32 => {
            let entry = u32::from_le_bytes(fourth);
            (entry & 0x0800_0000 != 0, entry & 0x0400_0000 != 0)
        }
    };
    let state = identity.map_or(0, |identity| identity.state);
    if !unmounted || state & STATE_DIRTY != 0 {
        options.refuse_unclean(
            "it was not unmounted cleanly, or is mounted now (its dirty mark is set): unmount it, \
             run fsck.fat -a on it, and save again",
        )?;
    }
    if !no_errors || state & STATE_ERRORS != 0 {
        options.refuse_unclean(
            "it recorded that the disk failed to read or write: run fsck.fat -t or chkdsk /r on \
             it, and save again",
        )?;
    }
    Ok(())
}

/// The sectors in use.
pub(super) fn allocated(disk: &dyn ReadDisk, geometry: &Geometry) -> Result<SectorSet, Refusal> {
    let mut builder = SectorSetBuilder::new();
    // Boot sectors, FATs and the fixed root directory.
    builder.push(sectors(0, geometry.data_offset));
    let end = geometry.clusters.saturating_add(2);
    let mut bitmap = Vec::new();
    let mut first = 0;
    while first < end {
        let entries = PIECE_ENTRIES.min(end - first);
        let table = read_piece(disk, geometry, first, entries)?;
        in_use(geometry.kind, &table, &mut bitmap);
        for_each_run(&bitmap, entries, |from, to| {
            // Entries 0 and 1 have no clusters.
            builder.push(geometry.clusters((first + from).max(2), (first + to).max(2)));
        });
        first += entries;
    }
    // Sectors behind the last whole cluster belong to no entry.
    builder.push(sectors(geometry.clusters(end, end).byte_offset(), geometry.bytes));
    let set = builder.finish();
    if let Some(root) = geometry.root_cluster
        && !set.contains(geometry.clusters(root, root).start())
    {
        return Err(Refusal::corrupt(
            "first FAT",
            geometry.fat_offset.saturating_add(root.saturating_mul(4)),
            format!("cluster {root}, where the root directory starts, in use"),
            "free",
        ));
    }
    Ok(set)
}

/// `entries` entries from `first` on, which must be the same in all copies.
fn read_piece(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    first: u64,
    entries: u64,
) -> Result<Vec<u8>, Refusal> {
    let bits = geometry.kind.entry_bits();
    let start = first * bits / 8; // `first` is a multiple of 8
    let len = usize::try_from((entries * bits).div_ceil(8)).unwrap_or_default();
    let mut table = vec![0; len];
    let mut offset = geometry.fat_offset.saturating_add(start);
    disk.read_at(&mut table, offset)?;
    let mut copy = vec![0; len];
    for number in 1..geometry.fats {
        offset = offset.saturating_add(geometry.fat_bytes);
        disk.read_at(&mut copy, offset)?;
        if copy != table {
            let same = copy.iter().zip(&table).take_while(|(a, b)| a == b).count();
            let same = u64::try_from(same).unwrap_or_default();
            return Err(Refusal::corrupt(
                format!("FAT {} of {}", number + 1, geometry.fats),
                offset.saturating_add(same),
                "the same as FAT 1 (fsck.fat -a makes them so)",
                format!("another entry {}", first + same * 8 / bits),
            ));
        }
    }
    Ok(table)
}

/// One bit for each entry of `table`, set when it is not zero.
fn in_use(kind: Kind, table: &[u8], bitmap: &mut Vec<u8>) {
    let group = usize::try_from(kind.entry_bits()).unwrap_or(usize::MAX);
    bitmap.clear();
    bitmap.extend(table.chunks(group).map(|entries| match kind {
        Kind::Fat12 => bits(entries.chunks(3).flat_map(|pair| match *pair {
            [a, b, c] => [a != 0 || b & 0x0F != 0, b & 0xF0 != 0 || c != 0],
            [a, b] => [a != 0 || b & 0x0F != 0, false],
            _ => [false, false],
        })),
        Kind::Fat16 => bits(entries.chunks(2).map(|entry| entry != [0, 0])),
        Kind::Fat32 => bits(
            entries.as_chunks().0.iter().map(|entry| u32::from_le_bytes(*entry) & FAT32_MASK != 0),
        ),
    }));
}

/// The lowest bit is the first.
fn bits(values: impl Iterator<Item = bool>) -> u8 {
    values.zip(0..8).fold(0, |byte, (value, place)| byte | u8::from(value) << place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Entries as the kernel of the format packs them, one at a time.
    fn pack(kind: Kind, entries: &[u32]) -> Vec<u8> {
        let mut table = vec![0; entries.len() * 4 + 4];
        for (i, entry) in entries.iter().enumerate() {
            match kind {
                Kind::Fat12 => {
                    let at = i * 3 / 2;
                    let shifted = (entry & 0xFFF) << (i % 2 * 4);
                    let [low, high, ..] = shifted.to_le_bytes();
                    table[at] |= low;
                    table[at + 1] |= high;
                }
                Kind::Fat16 => table[i * 2..i * 2 + 2].copy_from_slice(&entry.to_le_bytes()[..2]),
                Kind::Fat32 => table[i * 4..i * 4 + 4].copy_from_slice(&entry.to_le_bytes()),
            }
        }
        let bits = usize::try_from(kind.entry_bits()).unwrap();
        table.truncate((entries.len() * bits).div_ceil(8));
        table
    }

    proptest! {
        #[test]
        fn an_entry_is_free_when_its_bits_are_zero(
            entries in prop::collection::vec(prop_oneof![
                Just(0u32), Just(0xF000_0000), Just(1), any::<u32>()], 1..60),
        ) {
            for (kind, mask) in [(Kind::Fat12, 0xFFF), (Kind::Fat16, 0xFFFF), (Kind::Fat32, FAT32_MASK)] {
                let mut bitmap = Vec::new();
                in_use(kind, &pack(kind, &entries), &mut bitmap);
                for (i, entry) in entries.iter().enumerate() {
                    let bit = bitmap[i / 8] >> (i % 8) & 1 == 1;
                    prop_assert_eq!(bit, entry & mask != 0, "{:?} entry {}", kind, i);
                }
            }
        }
    }
}
