//! Tests of whole tables: MBR chains, GPT copies, what is refused and what is kept.

use super::testing::{MadeGpt, disk, mbr_bytes, put_entry, sign};
use super::*;
use crate::disk::memory::MemoryDisk;
use crate::units::SectorCount;
use proptest::prelude::*;

fn range(start: u32, end: u32) -> SectorRange {
    SectorRange::new(Sector::from_u32(start), Sector::from_u32(end)).unwrap()
}

fn numbers(table: &Table) -> Vec<(u32, SectorRange)> {
    table.partitions.iter().map(|p| (p.number, p.range)).collect()
}

/// Primary 1, extended 2 (100-999) with logical 5 and 6.
fn chain() -> Vec<u8> {
    let mut bytes = mbr_bytes(1000, &[(0x83, 10, 50), (0x0f, 100, 900)]);
    put_entry(&mut bytes, 100 * 512, 0, 0x83, 10, 90);
    put_entry(&mut bytes, 100 * 512, 1, 0x05, 200, 300);
    sign(&mut bytes, 100 * 512);
    put_entry(&mut bytes, 300 * 512, 0, 0x82, 8, 92);
    sign(&mut bytes, 300 * 512);
    bytes
}

#[test]
fn logical_partitions_are_numbered_along_the_chain() {
    let mut bytes = chain();
    bytes[446] = 0x80;
    let table = read(&disk(bytes)).unwrap();
    assert_eq!(table.scheme, Scheme::Mbr { signature: 0x1234_5678 });
    let expected = [(1, range(10, 60)), (5, range(110, 200)), (6, range(308, 400))];
    assert_eq!(numbers(&table), expected);
    assert!(table.partitions[0].bootable && !table.partitions[1].bootable);
    assert_eq!(table.partition(6).unwrap().kind.to_string(), "Linux swap / Solaris (0x82)");
    assert_eq!(table.container(2).unwrap().declared, range(100, 1000));
    assert!(table.container(2).unwrap().complete);
    assert_eq!(table.metadata.ranges(), [range(0, 1), range(100, 101), range(300, 301)]);
    assert_eq!(table.keep_end, Sector::from_u32(400));
    assert_eq!((table.warnings, table.problem), (vec![], None));
}

#[test]
fn a_chain_that_loops_or_leaves_is_a_problem() {
    for (target, expected) in [
        (0, Problem::EbrLoop { at: Sector::from_u32(100) }),
        (200, Problem::EbrLoop { at: Sector::from_u32(300) }),
        (
            900,
            Problem::EbrOutside {
                at: Sector::from_u32(300),
                target: Sector::from_u32(1000),
                extended: range(100, 1000),
            },
        ),
    ] {
        let mut bytes = chain();
        put_entry(&mut bytes, 300 * 512, 1, 0x85, target, 10);
        let table = read(&disk(bytes)).unwrap();
        assert_eq!(table.problem, Some(expected));
        assert_eq!(table.keep_end, Sector::from_u32(1000));
    }
}

#[test]
fn a_chain_longer_than_any_disk_is_refused() {
    let count = u32::try_from(ebr::EBRS_MAX).unwrap() + 10;
    let mut bytes = mbr_bytes(10 + count as usize, &[(0x05, 10, count)]);
    for i in 0..count - 1 {
        let at = (10 + i as usize) * 512;
        put_entry(&mut bytes, at, 1, 0x05, i + 1, 1);
        sign(&mut bytes, at);
    }
    let table = read(&disk(bytes)).unwrap();
    assert_eq!(table.problem, Some(Problem::TooManyEbrs { limit: ebr::EBRS_MAX }));
}

#[test]
fn a_broken_chain_keeps_all_of_the_extended_partition() {
    let mut bytes = chain();
    bytes[300 * 512 + 510] = 0;
    let table = read(&disk(bytes)).unwrap();
    assert_eq!(table.problem, None);
    assert_eq!(table.keep_end, Sector::from_u32(1000));
    assert!(matches!(table.warnings[..], [Warning::ExtendedIncomplete { number: 2, .. }]));
    assert!(!table.container(2).unwrap().complete);
}

#[test]
fn partitions_that_overlap_or_cover_the_table_are_a_problem() {
    let table = read(&disk(mbr_bytes(500, &[(0x83, 10, 50), (0x83, 59, 10)]))).unwrap();
    let overlap = Problem::Overlap { first: 1, second: 2, range: range(59, 60) };
    assert_eq!(table.problem, Some(overlap));
    let table = read(&disk(mbr_bytes(500, &[(0x17, 0, 50), (0xef, 60, 10)]))).unwrap();
    assert_eq!(table.problem, Some(Problem::CoversTable { number: 1, range: range(0, 1) }));
    let mut bytes = chain();
    put_entry(&mut bytes, 100 * 512, 0, 0x83, 10, 250); // over the record at 300
    assert!(read(&disk(bytes)).unwrap().problem.is_some());
    let mut bytes = chain();
    put_entry(&mut bytes, 300 * 512, 0, 0x83, 8, 2000);
    assert!(matches!(read(&disk(bytes)).unwrap().problem, Some(Problem::LogicalOutside { .. })));
}

#[test]
fn a_disk_smaller_than_its_table_is_cut() {
    let table =
        read(&disk(mbr_bytes(100, &[(0x83, 10, 50), (0x83, 60, 80), (7, 200, 9)]))).unwrap();
    let expected = [(1, range(10, 60)), (2, range(60, 100)), (3, range(100, 100))];
    assert_eq!(numbers(&table), expected);
    let truncated: Vec<_> = table.partitions.iter().map(|p| p.truncated).collect();
    assert_eq!(truncated, [false, true, true]);
    assert_eq!(table.partition(3).unwrap().declared, range(200, 209));
    assert_eq!((table.warnings.len(), table.problem), (2, None));
}

#[test]
fn what_is_not_a_table_is_kept_whole() {
    let whole = |bytes: Vec<u8>| {
        let table = read(&disk(bytes)).unwrap();
        assert_eq!(table.scheme, Scheme::None);
        assert_eq!((table.partitions.len(), &table.problem), (0, &None));
        assert_eq!(table.keep_end, Sector::from_u32(200));
        table.warnings.len()
    };
    assert_eq!(whole(vec![0; 200 * 512]), 0);
    assert_eq!(whole(mbr_bytes(200, &[])), 1); // a bootable filesystem looks like this
    assert_eq!(whole(mbr_bytes(200, &[(0x0c, 0, 200)])), 1); // mkfs.fat on a whole disk
    assert_eq!(whole(mbr_bytes(200, &[(0x83, 500, 10)])), 1);
    let mut text = mbr_bytes(200, &[(0x83, 10, 10)]);
    text[462] = b'M';
    assert_eq!(whole(text), 1);
    assert_eq!(read(&disk(vec![])).unwrap().scheme, Scheme::None);
    assert_eq!(read(&disk(vec![0; 700])).unwrap().keep_end, Sector::from_u32(1));
}

#[test]
fn a_filesystem_with_a_table_in_its_boot_sector_is_a_problem() {
    let mut bytes = mbr_bytes(200, &[(0x83, 10, 10)]);
    bytes[..24].copy_from_slice(&[
        0xEB, 0x3C, 0x90, b'm', b'k', b'f', b's', b'.', b'f', b'a', b't', 0, 2, 4, 1, 0, 2, 0, 2,
        200, 0, 0xF8, 1, 0,
    ]);
    // A parameter block alone is what GRUB leaves in an MBR.
    assert_eq!(read(&disk(bytes.clone())).unwrap().problem, None);
    bytes[512..515].copy_from_slice(&[0xF8, 0xFF, 0xFF]);
    let problem = read(&disk(bytes)).unwrap().problem;
    assert_eq!(problem, Some(Problem::BootSectorAndTable { filesystem: "FAT" }));
}

#[test]
fn an_iso_image_is_kept_to_its_end() {
    let mut bytes = mbr_bytes(400, &[(0xef, 100, 20)]);
    bytes[32768..32774].copy_from_slice(b"\x01CD001");
    bytes[32768 + 80] = 75;
    bytes[32768 + 128..32768 + 130].copy_from_slice(&2048u16.to_le_bytes());
    assert_eq!(read(&disk(bytes)).unwrap().keep_end, Sector::from_u32(300));
}

#[test]
fn a_sound_gpt() {
    let table = read(&MadeGpt::usual().disk()).unwrap();
    assert_eq!(table.scheme, Scheme::Gpt { disk_guid: Uuid::from_u128(0xD15C) });
    assert_eq!(numbers(&table), [(1, range(64, 128)), (3, range(200, 400))]);
    let third = table.partition(3).unwrap();
    assert_eq!(third.name.as_deref(), Some("süd 2"));
    assert_eq!(third.guid, Some(Uuid::from_u128(3)));
    assert!(third.bootable);
    assert_eq!(third.kind.to_string(), "Linux filesystem");
    assert_eq!(table.metadata.ranges(), [range(0, 34), range(991, 1024)]);
    assert_eq!(table.keep_end, Sector::from_u32(400));
    assert_eq!((table.warnings, table.problem), (vec![], None));
}

#[test]
fn gpt_entries_that_contradict() {
    let problem = |entries: Vec<(u32, u64, u64)>| {
        read(&MadeGpt { entries, ..MadeGpt::usual() }.disk()).unwrap()
    };
    let overlap = problem(vec![(0, 64, 127), (1, 127, 200)]).problem;
    assert_eq!(overlap, Some(Problem::Overlap { first: 1, second: 2, range: range(127, 128) }));
    let table = problem(vec![(0, 20, 127)]).problem;
    assert_eq!(table, Some(Problem::CoversTable { number: 1, range: range(20, 34) }));
    let reversed = problem(vec![(4, 127, 64)]).problem;
    assert_eq!(reversed, Some(Problem::ImpossibleEntry { number: 5, first: 127, last: 64 }));
    let huge = problem(vec![(4, 127, u64::MAX)]).problem;
    assert!(matches!(huge, Some(Problem::ImpossibleEntry { .. })));
    let beyond = problem(vec![(0, 900, 2000)]);
    assert!(beyond.problem.is_some()); // over the backup
}

#[test]
fn the_backup_serves_when_the_primary_is_broken() {
    let sound = MadeGpt::usual();
    let expected = numbers(&read(&sound.disk()).unwrap());
    for at in [512, 512 + 40, 1024 + 32, 1024 + 127 * 128] {
        let mut bytes = sound.bytes();
        bytes[at] ^= 1;
        let table = read(&disk(bytes)).unwrap();
        assert_eq!(numbers(&table), expected);
        assert!(matches!(table.warnings[..], [Warning::PrimaryGptBroken { .. }]), "{at}");
        assert_eq!(table.metadata.ranges(), [range(0, 34), range(991, 1024)]);
    }
    // A disk that has grown: the protective entry knows where it ended.
    let mut bytes = sound.bytes();
    bytes[512] = 0;
    bytes.resize(2048 * 512, 0);
    let table = read(&disk(bytes)).unwrap();
    assert_eq!(numbers(&table), expected);
    assert!(matches!(
        table.warnings[..],
        [Warning::PrimaryGptBroken { .. }, Warning::BackupNotAtEnd { .. }]
    ));
    // Both broken.
    let mut bytes = sound.bytes();
    bytes[512] = 0;
    bytes[1023 * 512 + 30] ^= 1;
    let table = read(&disk(bytes)).unwrap();
    assert!(matches!(table.problem, Some(Problem::GptBroken { .. })));
    assert_eq!(table.keep_end, Sector::from_u32(1024));
}

#[test]
fn a_truncated_gpt_disk() {
    let mut bytes = MadeGpt::usual().bytes();
    bytes.truncate(300 * 512);
    let table = read(&disk(bytes)).unwrap();
    assert_eq!(numbers(&table), [(1, range(64, 128)), (3, range(200, 300))]);
    assert!(matches!(
        table.warnings[..],
        [Warning::BackupBeyondEnd { backup: 1023, .. }, Warning::PartitionTruncated { .. }]
    ));
    assert_eq!(table.problem, None);
}

#[test]
fn hybrid_entries_are_compared_with_the_gpt() {
    let hybrid = |start, count| {
        let mut bytes = MadeGpt::usual().bytes();
        put_entry(&mut bytes, 0, 1, 0x83, start, count);
        read(&disk(bytes)).unwrap()
    };
    let table = hybrid(64, 64);
    assert!(matches!(table.scheme, Scheme::HybridGpt { .. }));
    assert_eq!((table.warnings.len(), table.problem), (1, None));
    let table = hybrid(500, 100);
    assert_eq!(table.keep_end, Sector::from_u32(600));
    assert_eq!((table.warnings.len(), table.problem), (2, None));
    assert!(matches!(hybrid(64, 65).problem, Some(Problem::HybridDisagrees { entry: 2, .. })));
}

#[test]
fn a_gpt_nobody_protects_is_kept_but_not_used() {
    let mut bytes = MadeGpt::usual().bytes();
    put_entry(&mut bytes, 0, 0, 0x83, 100, 100);
    let table = read(&disk(bytes)).unwrap();
    assert!(matches!(table.scheme, Scheme::Mbr { .. }));
    assert_eq!(numbers(&table), [(1, range(100, 200))]);
    assert_eq!(table.warnings, [Warning::GptRemainder]);
    assert_eq!(table.metadata.ranges(), [range(0, 34), range(991, 1024)]);
}

#[test]
fn another_sector_size_is_recognised() {
    let big =
        MadeGpt { sector_bytes: 4096, lbas: 128, entries: vec![(0, 10, 19)], ..MadeGpt::usual() };
    let table = read(&big.disk()).unwrap();
    assert_eq!(numbers(&table), [(1, range(80, 160))]);
    assert_eq!(table.metadata.ranges(), [range(0, 48), range(123 * 8, 1024)]);
    let small = disk(big.bytes());
    let table = read(&small).unwrap();
    assert_eq!(table.problem, Some(Problem::SectorSize { configured: 512, found: 4096 }));
    assert!(table.problem.unwrap().to_string().contains("--sector-size 4096"));
    assert_eq!(detect_sector_size(&small).unwrap(), LbaSize::new(4096));
    assert_eq!(detect_sector_size(&MadeGpt::usual().disk()).unwrap(), LbaSize::new(512));
    assert_eq!(detect_sector_size(&disk(chain())).unwrap(), None);
    // An MBR counts in the disk's own sectors too.
    let four_k = disk(mbr_bytes(8000, &[(0x83, 10, 50)])).with_logical_sector_bytes(4096);
    assert_eq!(numbers(&read(&four_k).unwrap()), [(1, range(80, 480))]);
    assert!(read(&MemoryDisk::new(vec![0; 4096]).with_logical_sector_bytes(520)).is_err());
}

#[test]
fn fitting() {
    let table = read(&disk(chain())).unwrap();
    assert_eq!(check_fits(&table, SectorCount::from_u32(1000)), Ok(()));
    let error = check_fits(&table, SectorCount::from_u32(999)).unwrap_err();
    assert_eq!((error.number, error.needed.get()), (2, 1000));
}

fn apply(bytes: &mut [u8], patches: &[Patch]) {
    for patch in patches {
        let at = usize::try_from(patch.offset).unwrap();
        bytes[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
}

#[test]
fn types_are_set_where_they_are_recorded() {
    let mut bytes = chain();
    let patches = mbr::set_type(&disk(bytes.clone()), 6, PartitionKind::Mbr(0x83)).unwrap();
    assert_eq!(patches, [Patch { offset: 300 * 512 + 450, bytes: vec![0x83] }]);
    apply(&mut bytes, &patches);
    let guid = PartitionKind::Guid(PartitionKind::Mbr(0xef).to_guid().unwrap());
    let patches = set_type(&disk(bytes.clone()), 1, guid).unwrap();
    apply(&mut bytes, &patches);
    let table = read(&disk(bytes.clone())).unwrap();
    assert_eq!(table.partition(6).unwrap().kind, PartitionKind::Mbr(0x83));
    assert_eq!(table.partition(1).unwrap().kind, PartitionKind::Mbr(0xef));
    let refused = |number, kind| set_type(&disk(bytes.clone()), number, kind).unwrap_err();
    let linux = PartitionKind::Mbr(0x83);
    assert!(matches!(refused(2, linux), SetTypeError::Structural { number: 2, .. }));
    assert!(matches!(refused(7, linux), SetTypeError::NoPartition { number: 7 }));
    assert!(matches!(refused(1, PartitionKind::Mbr(0x05)), SetTypeError::NotData { .. }));

    let mut bytes = MadeGpt::usual().bytes();
    let patches = set_type(&disk(bytes.clone()), 3, PartitionKind::Mbr(0x82)).unwrap();
    apply(&mut bytes, &patches);
    let table = read(&disk(bytes.clone())).unwrap();
    assert_eq!(table.partition(3).unwrap().kind.to_string(), "Linux swap");
    assert_eq!((table.warnings, table.problem), (vec![], None));
    assert!(matches!(
        gpt::set_type(&disk(bytes.clone()), 2, PartitionKind::Mbr(0x82)),
        Err(SetTypeError::NoPartition { number: 2 })
    ));
    assert!(gpt::set_type(&disk(bytes), 3, PartitionKind::Mbr(0x99)).is_err());
}

/// Made GPTs of many shapes; partitions do not overlap.
fn gpts() -> impl Strategy<Value = MadeGpt> {
    (0u32..4, 1u32..200, 0u32..3, prop::collection::vec((1u64..30, 1u64..30), 0..8)).prop_map(
        |(size, count, stride, runs)| {
            let mut made = MadeGpt {
                sector_bytes: 512 << size,
                lbas: 0,
                entry_count: count,
                entry_bytes: 128 << stride,
                entries: Vec::new(),
            };
            let mut at = 2 + made.entries_lbas();
            for (index, (gap, len)) in (0..count).zip(runs) {
                made.entries.push((index, at + gap, at + gap + len - 1));
                at += gap + len;
            }
            made.lbas = at + 4 + made.entries_lbas() + 1;
            made
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_read_without_panic(
        seed in prop::collection::vec(any::<u8>(), 0..1500),
        kinds in prop::collection::vec((0usize..4, prop::sample::select(vec![0x05u8, 0x0f, 0x83, 0xEE]),
            prop_oneof![0u32..40, any::<u32>()], prop_oneof![0u32..40, any::<u32>()]), 0..4),
        records in prop::collection::vec((0usize..40, 0usize..4, 0u32..40, 0u32..40), 0..40),
        sector_bytes in prop::sample::select(vec![512u32, 1024, 4096]),
    ) {
        let mut bytes = vec![0; 40 * 512];
        bytes[..seed.len()].copy_from_slice(&seed);
        for (slot, kind, start, count) in kinds {
            for entry in bytes[446..510].chunks_exact_mut(16) { entry[0] &= 0x80; }
            put_entry(&mut bytes, 0, slot, kind, start, count);
            sign(&mut bytes, 0);
        }
        for (at, slot, start, count) in records {
            if at > 0 {
                put_entry(&mut bytes, at * 512, slot, if slot == 1 { 5 } else { 0x83 }, start, count);
                sign(&mut bytes, at * 512);
            }
        }
        let disk = MemoryDisk::new(bytes).with_logical_sector_bytes(sector_bytes);
        let table = read(&disk).unwrap();
        let whole = SectorRange::whole(disk.sectors());
        for partition in &table.partitions {
            prop_assert!(whole.contains_range(partition.range));
            prop_assert!(table.problem.is_some() || partition.range.end() <= table.keep_end);
        }
        prop_assert!(table.problem.is_none() || table.keep_end == whole.end());
        let _ = set_type(&disk, 5, PartitionKind::Mbr(0x83));
        let _ = gpt::Relocation::plan(&disk, SectorCount::from_u32(100));
        let _ = detect_sector_size(&disk).unwrap();
    }

    /// Checksums right, values hostile: the table must be bounded, and refused or harmless.
    #[test]
    fn any_gpt_entries_are_read_without_panic(
        entries in prop::collection::vec(
            (0u32..8, prop_oneof![0u64..1100, any::<u64>()], prop_oneof![0u64..1100, any::<u64>()]), 0..8),
        field in 0usize..9,
        value in prop_oneof![0u64..1100, any::<u64>(), Just(u64::MAX)],
        target in 0u32..3000,
    ) {
        let mut bytes = MadeGpt { entries, ..MadeGpt::usual() }.bytes();
        let header = &mut bytes[512..512 + 92];
        match field {
            0..4 => header[24 + 8 * field..32 + 8 * field].copy_from_slice(&value.to_le_bytes()),
            4 => header[72..80].copy_from_slice(&value.to_le_bytes()),
            5 => header[80..84].copy_from_slice(&value.to_le_bytes()[..4]),
            6 => header[84..88].copy_from_slice(&value.to_le_bytes()[..4]),
            _ => {}
        }
        header[16..20].fill(0);
        let crc = crc32fast::hash(header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        let disk = disk(bytes);
        let table = read(&disk).unwrap();
        if table.problem.is_none() {
            for pair in table.partitions.iter().flat_map(|a| table.partitions.iter().map(move |b| (a, b))) {
                prop_assert!(pair.0.number == pair.1.number || pair.0.range.intersection(pair.1.range).is_none());
            }
        }
        if let Ok(plan) = gpt::Relocation::plan(&disk, SectorCount::from_u32(target)) {
            let end = u64::from(target) * 512;
            prop_assert!(plan.patches.iter().all(|p| p.offset + p.bytes.len() as u64 <= end));
        }
        let _ = set_type(&disk, 1, PartitionKind::Mbr(0x82));
    }

    #[test]
    fn a_gpt_survives_relocation(made in gpts(), grow in -3i64..200) {
        let source = made.disk();
        let before = read(&source).unwrap();
        prop_assert_eq!((&before.warnings, &before.problem), (&vec![], &None));
        prop_assert_eq!(before.partitions.len(), made.entries.len());
        let lbas = made.lbas.checked_add_signed(grow).unwrap();
        let target = SectorCount::new(lbas * made.sector_bytes as u64 / 512).unwrap();
        let plan = gpt::Relocation::plan(&source, target).unwrap();
        let mut bytes = made.bytes();
        for range in plan.obsolete.ranges() {
            let (from, to) = (range.byte_offset(), range.byte_end());
            bytes[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()].fill(0xA5);
        }
        bytes.resize(usize::try_from(target.bytes()).unwrap(), 0);
        apply(&mut bytes, &plan.patches);
        let after = read(&made.disk_of(bytes)).unwrap();
        prop_assert_eq!(&after.partitions, &before.partitions);
        prop_assert_eq!((&after.warnings, &after.problem), (&vec![], &None));
        prop_assert_eq!(after.scheme, before.scheme);
    }

    #[test]
    fn a_flipped_bit_never_changes_partitions_silently(made in gpts(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let sound = read(&made.disk()).unwrap();
        let mut bytes = made.bytes();
        let from = made.sector_bytes;
        let len = made.sector_bytes + (made.entry_count * made.entry_bytes) as usize;
        bytes[from + at.index(len)] ^= 1 << bit;
        let table = read(&made.disk_of(bytes)).unwrap();
        prop_assert!(table.problem.is_some() || table.partitions == sound.partitions);
    }
}

/// Every single bit of a header, not a sample.
#[test]
fn no_flipped_header_bit_is_believed() {
    let made = MadeGpt { entry_count: 4, lbas: 512, ..MadeGpt::usual() };
    let sound = read(&made.disk()).unwrap();
    for bit in 0..92 * 8 {
        let mut bytes = made.bytes();
        bytes[512 + bit / 8] ^= 1 << (bit % 8);
        let table = read(&disk(bytes)).unwrap();
        assert_eq!(table.partitions, sound.partitions);
        assert!(matches!(table.warnings[..], [Warning::PrimaryGptBroken { .. }]), "bit {bit}");
    }
}

#[test]
fn relocation_from_the_first_sectors_alone_and_from_the_backup() {
    let made = MadeGpt::usual();
    let bytes = made.bytes();
    let target = SectorCount::from_u32(2000);
    let full = gpt::Relocation::plan(&made.disk(), target).unwrap();
    let head = Excerpt::new(1024 * 512, 512).with(0, &bytes[..34 * 512]);
    let from_head = gpt::Relocation::plan(&head, target).unwrap();
    assert_eq!(from_head, full);
    assert_eq!(full.obsolete.ranges(), [range(991, 1024)]);
    let mut broken = bytes;
    broken[512..1024].fill(0);
    broken[1024 + 32] ^= 1;
    let from_backup = gpt::Relocation::plan(&disk(broken), target).unwrap();
    assert_eq!(from_backup, full);
}

#[test]
fn a_target_too_small_names_the_partition() {
    let made = MadeGpt::usual();
    // The last partition ends at 399; 32 blocks of entries and a header follow.
    assert!(gpt::Relocation::plan(&made.disk(), SectorCount::from_u32(433)).is_ok());
    let error = gpt::Relocation::plan(&made.disk(), SectorCount::from_u32(432)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("partition 3 \"süd 2\" ends at sector 400, but"), "{text}");
    assert!(
        matches!(error, gpt::RelocationError::DoesNotFit(DoesNotFit { needed, .. }) if needed.get() == 433)
    );
    assert!(gpt::Relocation::plan(&made.disk(), SectorCount::from_u32(3)).is_err());
}
