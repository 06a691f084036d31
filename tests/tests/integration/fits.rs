//! Loading onto disks of another size or kind: GPT, MBR, a bare filesystem; other sector sizes; one
//! partition.

use imagezip::disk::memory::MemoryDisk;
use imagezip::load::fit::{self, target_facts};
use imagezip::load::{LoadError, Refusal, Target, TargetOptions, load, prepare};
use imagezip::ndz::{Codec, Relocation, Version};
use imagezip::units::{Sector, SectorRange};
use imagezip::{interrupt::Interrupt, progress::Progress};
use std::path::Path;
use tests::independent::Image;
use tests::rng::Rng;
use tests::samples::{From, Sample, bytes_of, input, load_onto, options, range, save_to_vec};
use tests::tools::{ready, run, text};

/// Sectors in a MiB.
const MIB: u64 = 2_048;

const FORMATS: [(Version, Codec); 3] =
    [(Version::Native, Codec::Zstd), (Version::V3, Codec::Zlib), (Version::V5, Codec::Zlib)];

/// What stands on a target before the load.
const BEFORE: u8 = 0xB5;

/// A blank disk with this done to it by a tool, and some noise in these ranges.
fn disk(sectors: u64, noise: &[SectorRange], make: impl FnOnce(&Path)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::File::create(&path).unwrap().set_len(sectors * 512).unwrap();
    make(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    for range in noise {
        let (from, to) = bytes_of(*range);
        bytes[from..to].copy_from_slice(&Rng::new(to.try_into().unwrap()).bytes(to - from));
    }
    bytes
}

/// A GPT disk of 24 MiB with partitions at 1 and 5 MiB, each 4 MiB long and half full.
fn gpt() -> Sample {
    let sectors = 24 * MIB;
    let data = [range(MIB, 3 * MIB), range(5 * MIB, 7 * MIB)];
    let bytes = disk(sectors, &data, |path| {
        let new = ["--new=1:1M:+4M", "--change-name=1:first", "--new=2:5M:+4M"];
        run("sgdisk", &[&new[..], &["--disk-guid=R", text(path)]].concat()).unwrap();
    });
    let backup = range(sectors - 33, sectors);
    Sample { bytes, ranges: vec![range(0, 34), data[0], data[1], backup] }
}

fn loaded(image: &[u8], from: From, sectors: u64) -> Result<Vec<u8>, LoadError> {
    let target = MemoryDisk::new(vec![BEFORE; usize::try_from(sectors * 512).unwrap()]);
    load_onto(image, from, &target, TargetOptions::default(), 2)?;
    Ok(target.into_bytes())
}

/// Runs `sgdisk --verify`.
fn assert_gpt_is_sound(bytes: &[u8], what: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::write(&path, bytes).unwrap();
    let said = run("sgdisk", &["--verify", text(&path)]).unwrap();
    assert!(said.contains("No problems found"), "{what}: {said}");
    assert!(!said.contains("Caution") && !said.contains("Warning"), "{what}: {said}");
    let listed = run("sgdisk", &["--print", text(&path)]).unwrap();
    assert!(listed.contains("first"), "{what}: {listed}");
}

#[test]
fn a_gpt_follows_the_end_of_its_disk() {
    if !ready("a_gpt_follows_the_end_of_its_disk", &["sgdisk"], false) {
        return;
    }
    let sample = gpt();
    for (version, codec) in FORMATS {
        let image = sample.image(version, codec, 2);
        for from in [From::File, From::Stream] {
            for mib in [24, 40, 12] {
                let what = format!("{version} from a {from:?} onto {mib} MiB");
                let disk =
                    loaded(&image, from, mib * MIB).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_gpt_is_sound(&disk, &what);
                for range in &sample.ranges[1..3] {
                    let (from, to) = bytes_of(*range);
                    assert!(disk[from..to] == sample.bytes[from..to], "{what}: data of {range}");
                }
                if mib == 40 {
                    let (from, to) = bytes_of(sample.ranges[3]);
                    assert!(disk[from..to].iter().all(|b| *b == BEFORE), "{what}: the old backup");
                }
            }
        }
        // Room for the second partition, but not for the table behind it; then not even that.
        for sectors in [9 * MIB + 20, 8 * MIB] {
            let error = loaded(&image, From::File, sectors).unwrap_err();
            assert!(matches!(error, LoadError::Refused(_)), "{error}");
            let said = error.to_string();
            assert!(said.contains("partition 2") && said.contains(&sectors.to_string()), "{said}");
        }
    }
}

#[test]
fn a_gpt_is_kept_on_request() {
    if !ready("a_gpt_is_kept_on_request", &["sgdisk"], false) {
        return;
    }
    let sample = gpt();
    let image = sample.image(Version::Native, Codec::Zstd, 2);
    let (input, _file) = input(&image, From::File).unwrap();
    let prepared = prepare(&input).unwrap();
    let disk = MemoryDisk::new(vec![BEFORE; usize::try_from(40 * MIB * 512).unwrap()]);
    let fit = fit::check(&prepared.facts, &target_facts(&disk, None, true, true), &prepared.tables);
    let (progress, never) = (Progress::new(), Interrupt::never());
    let target = Target::new(&disk, fit.unwrap(), TargetOptions::default(), &progress);
    load(&input, &prepared, &target, 2, &progress, &never).unwrap();
    let after = disk.into_bytes();
    for range in &sample.ranges {
        let (from, to) = bytes_of(*range);
        assert!(after[from..to] == sample.bytes[from..to], "{range}");
    }
}

#[test]
fn a_gpt_with_a_broken_primary_is_moved_by_its_backup() {
    if !ready("a_gpt_with_a_broken_primary_is_moved_by_its_backup", &["sgdisk"], false) {
        return;
    }
    let mut sample = gpt();
    sample.bytes[600..616].fill(0x5A);
    let image = sample.image(Version::Native, Codec::Zstd, 2);
    for mib in [40, 12] {
        let disk = loaded(&image, From::File, mib * MIB).unwrap();
        assert_gpt_is_sound(&disk, "by the backup");
    }
    let mut both = sample.clone();
    let end = both.bytes.len();
    both.bytes[end - 400..end - 380].fill(0x5A);
    let image = both.image(Version::Native, Codec::Zstd, 2);
    assert!(matches!(loaded(&image, From::File, 40 * MIB), Ok(_) | Err(LoadError::Refused(_))));
    // On a disk of the same size nothing has to be understood.
    let disk = loaded(&image, From::File, 24 * MIB).unwrap();
    assert!(disk[..34 * 512] == both.bytes[..34 * 512]);
}

#[test]
fn an_mbr_fits_when_its_partitions_do() {
    if !ready("an_mbr_fits_when_its_partitions_do", &["sfdisk"], false) {
        return;
    }
    let data = [range(MIB, 2 * MIB), range(4 * MIB, 5 * MIB)];
    let bytes = disk(16 * MIB, &data, |path| {
        let script = path.with_extension("script");
        std::fs::write(&script, "label: dos\nstart=2048,size=4096\nstart=8192,size=6144\n")
            .unwrap();
        let command = format!("sfdisk --quiet {} < {}", text(path), text(&script));
        run("sh", &["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {command}")]).unwrap();
    });
    let sample = Sample { bytes, ranges: vec![range(0, 63), data[0], data[1]] };
    for (version, codec) in FORMATS {
        let image = sample.image(version, codec, 2);
        for mib in [16, 30, 7] {
            let disk = loaded(&image, From::File, mib * MIB).unwrap();
            let mut expected = vec![BEFORE; disk.len()];
            expected[..usize::try_from(MIB * 512).unwrap()].fill(0);
            for range in &sample.ranges {
                let (from, to) = bytes_of(*range);
                expected[from..to].copy_from_slice(&sample.bytes[from..to]);
            }
            assert!(disk == expected, "{version} onto {mib} MiB");
        }
        // All saved sectors would fit 6 MiB; the second partition would not.
        let error = loaded(&image, From::File, 6 * MIB).unwrap_err();
        let refusal = matches!(error, LoadError::Refused(Refusal::Partition(_)));
        assert!(refusal && error.to_string().contains("partition 2"), "{error}");
    }
}

#[test]
fn a_disk_without_a_table_fits_when_its_saved_sectors_do() {
    let bytes = Rng::new(3).bytes(usize::try_from(8 * MIB * 512).unwrap());
    let sample = Sample { bytes, ranges: vec![range(0, 100), range(MIB, 3 * MIB)] };
    for (version, codec) in FORMATS {
        let image = sample.image(version, codec, 2);
        for mib in [8, 12, 3] {
            let disk = loaded(&image, From::File, mib * MIB).unwrap();
            let (from, to) = bytes_of(sample.ranges[1]);
            assert!(disk[from..to] == sample.bytes[from..to], "{version} onto {mib} MiB");
        }
        let error = loaded(&image, From::File, 3 * MIB - 1).unwrap_err();
        assert!(matches!(error, LoadError::Refused(Refusal::TooSmall { .. })), "{error}");
    }
}

#[test]
fn sectors_of_another_size_are_refused_with_both_sizes() {
    if !ready("sectors_of_another_size_are_refused_with_both_sizes", &["sgdisk"], false) {
        return;
    }
    let sample = gpt();
    for (version, codec) in FORMATS {
        let image = sample.image(version, codec, 2);
        for from in [From::File, From::Stream] {
            let bytes = vec![BEFORE; sample.bytes.len()];
            let target = MemoryDisk::new(bytes).with_logical_sector_bytes(4096);
            let error = load_onto(&image, from, &target, TargetOptions::default(), 1).unwrap_err();
            let said = error.to_string();
            assert!(matches!(error, LoadError::Refused(Refusal::SectorSize { .. })), "{said}");
            assert!(said.contains("512-byte") && said.contains("4096-byte"), "{said}");
            assert!(target.into_bytes().iter().all(|byte| *byte == BEFORE));
        }
    }
}

/// An image of one partition that begins with a BSD disklabel.
fn labelled(version: Version, kind: u32) -> (Sample, Vec<u8>) {
    let mut bytes = Rng::new(8).bytes(4_000 * 512);
    let label = &mut bytes[512..1_024];
    label.fill(0);
    label[..4].copy_from_slice(&0x8256_4557u32.to_le_bytes());
    label[132..136].copy_from_slice(&0x8256_4557u32.to_le_bytes());
    label[138..140].copy_from_slice(&8u16.to_le_bytes());
    for (i, (size, offset)) in [(1_000u32, 0u32), (9_000, 1_000), (4_000, 0)].iter().enumerate() {
        label[148 + i * 16..152 + i * 16].copy_from_slice(&size.to_le_bytes());
        label[152 + i * 16..156 + i * 16].copy_from_slice(&offset.to_le_bytes());
    }
    let sample = Sample { bytes, ranges: vec![range(0, 1_500)] };
    let mut fields = sample.fields(version, Codec::Zlib);
    fields.slice = true;
    let sector = Sector::from_u32(1);
    fields.relocations = vec![Relocation { kind, sector, offset: 0, size: 276 }];
    let image = save_to_vec(&sample.disk(), &sample.ranges, fields, &options(1)).unwrap().0;
    (sample, image)
}

#[test]
fn a_disklabel_follows_its_partition() {
    let partition = range(3 * MIB, 3 * MIB + 3_000);
    for version in [Version::V2, Version::V3, Version::V5, Version::Native] {
        for (kind, c) in [(1, (3_000, 6_144)), (2, (4_000, 0))] {
            let (sample, image) = labelled(version, kind);
            let target = MemoryDisk::new(vec![BEFORE; usize::try_from(6 * MIB * 512).unwrap()]);
            let options = TargetOptions { partition: Some(partition), ..Default::default() };
            let loaded = load_onto(&image, From::File, &target, options, 1).unwrap();
            assert!(loaded.not_applied.is_empty(), "{:?}", loaded.not_applied);
            let disk = target.into_bytes();
            let base = usize::try_from(partition.byte_offset()).unwrap();
            let number = |at: usize| {
                u32::from_le_bytes(disk[base + 512 + at..base + 516 + at].try_into().unwrap())
            };
            let entry = |i: usize| (number(148 + i * 16), number(152 + i * 16));
            assert_eq!(entry(0), (1_000, 6_144), "{version}");
            assert_eq!(entry(1), (2_000, 7_144), "{version}: cut at the partition's end");
            assert_eq!(entry(2), c, "{version}");
            let words = disk[base + 512..base + 512 + 276].chunks(2);
            let sum = words.fold(0, |sum, w| sum ^ u16::from_le_bytes([w[0], w[1]]));
            assert_eq!(sum, 0, "{version}: checksum of the label");
            assert!(disk[base..base + 512] == sample.bytes[..512]);
            assert!(disk[base + 1_024..base + 1_500 * 512] == sample.bytes[1_024..1_500 * 512]);
            assert!(disk[..base].iter().all(|byte| *byte == BEFORE), "in front of the partition");

            // Onto a whole disk nothing is adjusted.
            let target = MemoryDisk::new(vec![BEFORE; sample.bytes.len()]);
            load_onto(&image, From::File, &target, TargetOptions::default(), 1).unwrap();
            let mut expected = vec![BEFORE; sample.bytes.len()];
            Image::read(&image).unwrap().restore(&mut expected);
            assert!(target.into_bytes()[..1_024] == expected[..1_024]);
        }
    }
    let (_, image) = labelled(Version::V3, 3);
    let target = MemoryDisk::new(vec![BEFORE; usize::try_from(6 * MIB * 512).unwrap()]);
    let options = TargetOptions { partition: Some(partition), ..Default::default() };
    let loaded = load_onto(&image, From::File, &target, options, 1).unwrap();
    assert_eq!(loaded.not_applied.len(), 1);
    assert!(loaded.not_applied[0].contains("LILO"), "{:?}", loaded.not_applied);
}

#[test]
fn a_whole_disk_does_not_go_into_a_partition() {
    let sample = Sample { bytes: vec![1; 100 * 512], ranges: vec![range(0, 100)] };
    let image = sample.image(Version::Native, Codec::Zstd, 1);
    let target = MemoryDisk::new(vec![BEFORE; 1_000 * 512]);
    let options = TargetOptions { partition: Some(range(10, 500)), ..Default::default() };
    let error = load_onto(&image, From::File, &target, options, 1).unwrap_err();
    assert!(matches!(error, LoadError::Refused(Refusal::WholeDisk)), "{error}");
    let slice = labelled(Version::Native, 6).1;
    let options = TargetOptions { partition: Some(range(10, 500)), ..Default::default() };
    let error = load_onto(&slice, From::File, &target, options, 1).unwrap_err();
    assert!(matches!(error, LoadError::Refused(Refusal::TooSmall { .. })), "{error}");
    assert!(target.into_bytes().iter().all(|byte| *byte == BEFORE));
}
