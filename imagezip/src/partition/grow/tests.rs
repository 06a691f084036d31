//! Growing tables made by hand: where ends go, what is refused, and what a power cut leaves.

use super::*;
use crate::disk::faulty::FaultyDisk;
use crate::disk::memory::MemoryDisk;
use crate::partition::testing::{MadeGpt, disk, mbr_bytes, put_entry, sign};

const MIB: u32 = 2048;

fn range(start: u32, end: u32) -> SectorRange {
    SectorRange::new(Sector::from_u32(start), Sector::from_u32(end)).unwrap()
}

/// A disk of so many MiB whose table was made for one of `made` MiB.
fn gpt_disk(made: &MadeGpt, mib: usize) -> MemoryDisk {
    let mut bytes = made.bytes();
    bytes.resize(mib << 20, 0);
    made.disk_of(bytes)
}

/// 4 MiB with partition 1 at 1-2 MiB and partition 3 at 2-3 MiB.
fn small(sector_bytes: usize) -> MadeGpt {
    let mib = (1 << 20) / u64::try_from(sector_bytes).unwrap();
    let entries = vec![(0, mib, 2 * mib - 1), (2, 2 * mib, 3 * mib - 1)];
    MadeGpt { sector_bytes, lbas: 4 * mib, entries, ..MadeGpt::usual() }
}

fn grown(disk: &MemoryDisk) -> Growth {
    let growth = plan(disk).unwrap().unwrap();
    growth.apply(disk).unwrap();
    assert!(plan(disk).unwrap().unwrap().is_nothing(), "a second time there is nothing to do");
    growth
}

fn place_of(disk: &dyn ReadDisk, number: u32) -> SectorRange {
    let table = read(disk).unwrap();
    assert_eq!((&table.warnings[..], &table.problem), (&[][..], &None));
    table.partition(number).unwrap().declared
}

#[test]
fn the_last_of_a_gpt_grows_on_its_disk_and_on_a_larger_one() {
    for sector_bytes in [512, 4096] {
        for (mib, end) in [(4, 3), (5, 4), (64, 63)] {
            let disk = gpt_disk(&small(sector_bytes), mib);
            let growth = plan(&disk).unwrap().unwrap();
            assert_eq!((growth.number, growth.moves_backup), (3, mib > 4));
            grown(&disk);
            assert_eq!(place_of(&disk, 3), range(2 * MIB, end * MIB), "{mib} MiB");
            assert_eq!(place_of(&disk, 1), range(MIB, 2 * MIB));
        }
    }
}

#[test]
fn an_end_that_is_beyond_the_last_mebibyte_stays() {
    let mut made = small(512);
    made.entries[1].2 = 8192 - 40;
    let disk = gpt_disk(&made, 4);
    let growth = plan(&disk).unwrap().unwrap();
    assert!(growth.is_nothing() && growth.old == growth.new);
    // On a disk a little larger the backup moves, and the partition still stays.
    let mut bytes = made.bytes();
    bytes.resize((4 << 20) + 4096, 0);
    let disk = made.disk_of(bytes);
    let growth = grown(&disk);
    assert!(growth.moves_backup && growth.old == growth.new && !growth.is_nothing());
}

/// Cuts the writing at every 64th byte, and then finishes.
fn cut_everywhere(fresh: impl Fn() -> MemoryDisk, number: u32, ends: [SectorRange; 2]) {
    let whole = FaultyDisk::new(fresh());
    let growth = plan(&whole).unwrap().unwrap();
    growth.apply(&whole).unwrap();
    assert_eq!(place_of(whole.disk(), number), ends[1]);
    let total = whole.written_bytes();
    for cut in (0..total).step_by(64).chain([total - 1]) {
        let disk = FaultyDisk::new(fresh()).with_write_error_after(cut);
        growth.apply(&disk).unwrap_err();
        let disk = disk.into_disk();
        let table = read(&disk).unwrap();
        assert_eq!(table.problem, None, "cut after {cut} bytes");
        let found = table.partition(number).unwrap().declared;
        assert!(ends.contains(&found), "cut after {cut} bytes: {found}");
        let again = plan(&disk).unwrap_or_else(|e| panic!("cut after {cut} bytes: {e}"));
        again.unwrap().apply(&disk).unwrap();
        assert_eq!(place_of(&disk, number), ends[1], "cut after {cut} bytes");
    }
}

#[test]
fn a_power_cut_leaves_a_valid_gpt() {
    let ends = |end| [range(2 * MIB, 3 * MIB), range(2 * MIB, end)];
    for sector_bytes in [512, 4096] {
        let mut made = small(sector_bytes);
        cut_everywhere(|| gpt_disk(&made, 16), 3, ends(15 * MIB));
        // The backup moves by a few sectors: the new one covers the old.
        cut_everywhere(
            || {
                let mut bytes = made.bytes();
                bytes.resize((4 << 20) + 8192, 0);
                made.disk_of(bytes)
            },
            3,
            ends(3 * MIB),
        );
        // The backup stays.
        made.entries[1].2 -= 8;
        let from = range(2 * MIB, 3 * MIB - u32::try_from(sector_bytes / 64).unwrap());
        cut_everywhere(|| gpt_disk(&made, 4), 3, [from, range(2 * MIB, 3 * MIB)]);
    }
}

#[test]
fn a_broken_copy_is_written_after_the_good_one_was_read() {
    let made = small(512);
    for (at, name) in [(512 + 20, "primary"), ((4 << 20) - 512 + 20, "backup")] {
        let fresh = || {
            let mut bytes = made.bytes();
            bytes[at] ^= 1;
            bytes.resize((4 << 20) + 1024, 0);
            made.disk_of(bytes)
        };
        let ends = [range(2 * MIB, 3 * MIB), range(2 * MIB, 3 * MIB)];
        cut_everywhere(fresh, 3, ends);
        let disk = fresh();
        assert_eq!(grown(&disk).number, 3, "{name}");
    }
}

#[test]
fn a_protective_entry_that_is_nonsense_still_protects() {
    let made = small(512);
    let mut bytes = made.bytes();
    put_entry(&mut bytes, 0, 0, 0xEE, 1_000_000, 5);
    bytes.resize(16 << 20, 0);
    let disk = made.disk_of(bytes);
    grown(&disk);
    assert_eq!(place_of(&disk, 3), range(2 * MIB, 15 * MIB));
}

#[test]
fn copies_that_differ_are_refused() {
    let (made, mut other) = (small(512), small(512));
    other.entries[1].2 -= 8;
    let mut bytes = made.bytes();
    let backup = (4 << 20) - 33 * 512;
    bytes[backup..].copy_from_slice(&other.bytes()[backup..]);
    let error = plan(&made.disk_of(bytes)).unwrap_err();
    assert!(matches!(error, GrowError::Doubt(Warning::CopiesDiffer)), "{error}");
}

/// The reason why a table is refused.
fn refusal(disk: &MemoryDisk) -> String {
    plan(disk).unwrap_err().to_string()
}

#[test]
fn doubt_is_refused() {
    let made = small(512);
    let mut hybrid = made.bytes();
    put_entry(&mut hybrid, 0, 1, 0x83, MIB, MIB);
    assert!(refusal(&made.disk_of(hybrid)).contains("hybrid MBR"));
    let mut cut = made.bytes();
    cut.truncate((3 << 20) - 512);
    assert!(refusal(&made.disk_of(cut)).contains("is cut"));
    assert!(refusal(&disk(vec![0; 4 << 20])).contains("no valid partition table"));
    let overlap = mbr_bytes(4 << 11, &[(0x83, MIB, MIB), (0x83, MIB + 1, MIB)]);
    assert!(refusal(&disk(overlap)).contains("overlap"));
    let mut beside = mbr_bytes(4 << 11, &[(0x83, MIB, MIB)]);
    beside[512..520].copy_from_slice(b"EFI PART");
    assert!(refusal(&disk(beside)).contains("GPT without a protective MBR"));
    let mut chain = logicals(8);
    chain[5 * 1024 * 1024 + 510] = 0;
    assert!(refusal(&disk(chain)).contains("no 55AA"));
    let behind = mbr_bytes(8 << 11, &[(0x83, MIB, MIB), (0x05, 3 * MIB, 16 * MIB)]);
    assert!(refusal(&disk(behind)).contains("extended"));
    let mut empty = mbr_bytes(8 << 11, &[(0x83, MIB, MIB), (0x05, 3 * MIB, MIB)]);
    sign(&mut empty, 3 << 20);
    assert!(refusal(&disk(empty)).contains("a record behind it"));
}

#[test]
fn a_table_without_partitions_has_none_to_grow() {
    let made = MadeGpt { entries: vec![], ..small(512) };
    assert_eq!(plan(&made.disk()).unwrap(), None);
}

#[test]
fn a_primary_grows_over_the_backup_of_a_gpt_that_is_gone() {
    let mut bytes = mbr_bytes(8 << 11, &[(0x83, 3 * MIB, MIB), (0x83, MIB, MIB)]);
    let last = bytes.len() - 512;
    bytes[last..last + 8].copy_from_slice(b"EFI PART");
    let disk = disk(bytes);
    let growth = plan(&disk).unwrap().unwrap();
    assert_eq!((growth.number, growth.new), (1, range(3 * MIB, 8 * MIB)));
    growth.apply(&disk).unwrap();
    assert_eq!(read(&disk).unwrap().partition(1).unwrap().declared, growth.new);
}

/// So many MiB: primary 1 at 1-2, extended 2 at 2-7 with logical 5 and 6, the second from 5.5 to 6.
fn logicals(mib: usize) -> Vec<u8> {
    let entries = [(0x83, MIB, MIB), (0x0f, 2 * MIB, 5 * MIB)];
    let mut bytes = mbr_bytes(mib << 11, &entries);
    let (first, second) = (2 << 20, 5 << 20);
    put_entry(&mut bytes, first, 0, 0x83, MIB, MIB);
    put_entry(&mut bytes, first, 1, 0x05, 3 * MIB, MIB);
    sign(&mut bytes, first);
    put_entry(&mut bytes, second, 0, 0x83, MIB / 2, MIB / 2);
    sign(&mut bytes, second);
    bytes
}

#[test]
fn a_logical_partition_grows_with_link_and_extended_partition() {
    let ends = [range(5 * MIB + MIB / 2, 6 * MIB), range(5 * MIB + MIB / 2, 16 * MIB)];
    cut_everywhere(|| disk(logicals(16)), 6, ends);
    let disk = disk(logicals(16));
    let growth = grown(&disk);
    assert_eq!((growth.number, growth.container, growth.steps().len()), (6, Some(2), 3));
    let table = read(&disk).unwrap();
    assert_eq!(table.container(2).unwrap().declared, range(2 * MIB, 16 * MIB));
    assert_eq!(place_of(&disk, 5), range(3 * MIB, 4 * MIB));
    let link = disk.into_bytes()[(2 << 20) + 446 + 16..][..16].to_vec();
    assert_eq!(link[8..12], (3 * MIB).to_le_bytes());
    assert_eq!(link[12..16], (11 * MIB).to_le_bytes());
}

#[test]
fn an_extended_partition_never_becomes_smaller() {
    // It reaches to the end of a disk that does not end on a mebibyte.
    let mut bytes = logicals(8);
    bytes.resize((8 << 20) + 512 * 63, 0);
    put_entry(&mut bytes, 0, 1, 0x0f, 2 * MIB, 6 * MIB + 63);
    let disk = disk(bytes);
    let growth = grown(&disk);
    assert_eq!((growth.container, growth.new.end()), (None, Sector::from_u32(8 * MIB)));
    let table = read(&disk).unwrap();
    assert_eq!(table.container(2).unwrap().declared, range(2 * MIB, 8 * MIB + 63));
}

/// A disk of a size that no memory holds; only its first sector is not zero.
fn huge(sectors: u64, start: u32, count: u32) -> crate::partition::Excerpt {
    let record = mbr_bytes(1, &[(0x83, start, count)]);
    crate::partition::Excerpt::new(sectors * 512, 512).with(0, &record)
}

#[test]
fn an_mbr_ends_at_two_tebibytes() {
    let disk = huge((1 << 32) + 10_000, MIB, MIB);
    let growth = plan(&disk).unwrap().unwrap();
    assert_eq!(growth.new.end().get(), 1 << 32);
    assert_eq!(growth.out_of_reach.get(), 10_000);
    let patch = &growth.steps()[0][0];
    assert_eq!(patch.offset, 446 + 5);
    assert_eq!(patch.bytes[..7], [0xFE, 0xFF, 0xFF, 0, 8, 0, 0]);
    assert_eq!(patch.bytes[7..], (u32::MAX - MIB + 1).to_le_bytes());
    // As large as it can be, and no more is said about a disk that is not that large.
    assert!(
        plan(&huge((1 << 32) + 10_000, MIB, u32::MAX - MIB + 1)).unwrap().unwrap().is_nothing()
    );
    assert!(plan(&huge(1 << 31, MIB, MIB)).unwrap().unwrap().out_of_reach.is_zero());
}
