//! Save and restore of random disks in every format: the same bytes come back, whatever the
//! threads, and the independent reader agrees.

use imagezip::disk::memory::MemoryDisk;
use imagezip::disk::{RegularFile, TargetOptions as OpenOptions, open_target};
use imagezip::load::{FreeSpace, HEAD, TargetOptions};
use imagezip::ndz::{Codec, Version};
use imagezip::save::SaveError;
use imagezip::units::SectorRange;
use proptest::prelude::*;
use proptest::sample::select;
use tests::independent::{self, Image};
use tests::samples::{
    Content, From, HoleyDisk, Sample, bytes_of, fields, load_onto, options, range, save_to_vec,
};

/// Every format and codec that is written.
const FORMATS: [(Version, Codec); 7] = [
    (Version::Native, Codec::Zstd),
    (Version::Native, Codec::Zlib),
    (Version::Native, Codec::Stored),
    (Version::V1, Codec::Zlib),
    (Version::V2, Codec::Zlib),
    (Version::V3, Codec::Zlib),
    (Version::V5, Codec::Zlib),
];

/// What stands on a target before the load.
const BEFORE: u8 = 0xB5;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 64, ..Default::default() }
}

/// What a target of `BEFORE` holds after a load: allocated sectors from the disk, free ones in the
/// first MiB zero, the others as `free` says.
fn expected(sample: &Sample, free: FreeSpace) -> Vec<u8> {
    let mut disk = vec![BEFORE; sample.bytes.len()];
    let head = usize::try_from(HEAD.bytes()).unwrap().min(disk.len());
    disk[..head].fill(0);
    match free {
        FreeSpace::Leave => {}
        FreeSpace::Zero => disk.fill(0),
        FreeSpace::Trim => disk[head..].fill(0xD5), // how a disk in memory shows it
        FreeSpace::Pattern(pattern) => {
            let pattern = pattern.to_le_bytes();
            disk.iter_mut().zip(pattern.iter().cycle()).for_each(|(to, byte)| *to = *byte);
        }
    }
    sample.over(&disk)
}

fn check_image(sample: &Sample, version: Version, image: &[u8]) -> Image {
    let read = Image::read(image).unwrap();
    read.check_writer(image).unwrap();
    let saved: Vec<_> = sample.ranges.iter().map(|r| (r.start().get(), r.count().get())).collect();
    assert_eq!(read.allocated(), saved);
    if version != Version::V1 {
        // No version but the native one tells a short last sector without a relocation.
        let len = u64::try_from(sample.bytes.len()).unwrap();
        assert_eq!(read.source_bytes(), len);
    }
    let mut disk = vec![BEFORE; sample.bytes.len()];
    read.restore(&mut disk);
    assert!(disk == sample.over(&vec![BEFORE; disk.len()]), "the independent reader restores");
    read
}

/// Noise once made deflate fill its buffer, whose size depends on what it was used for before.
#[test]
fn noise_does_not_depend_on_threads() {
    for seed in [14_354_964_234_265_345_668, 1, 2, 3] {
        let sample = Sample::random(seed, 12_508, Content::Noise);
        let image = sample.image(Version::V3, Codec::Zlib, 1);
        for threads in [2, 3, 5] {
            let other = sample.image(Version::V3, Codec::Zlib, threads);
            assert!(other == image, "{threads} threads differ");
        }
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn what_is_saved_comes_back(
        seed: u64,
        sectors in prop_oneof![1u64..300, 300u64..6_000, 6_000u64..16_000],
        content in select(&[Content::Mixed, Content::Mixed, Content::Noise, Content::Text][..]),
        (version, codec) in select(&FORMATS[..]),
        threads in select(&[2usize, 3, 5][..]),
        from in select(&[From::File, From::Stream][..]),
        free in select(&[
            FreeSpace::Leave, FreeSpace::Zero, FreeSpace::Trim, FreeSpace::Pattern(0xDEAD_BEEF),
        ][..]),
    ) {
        let sample = Sample::random(seed, sectors, content);
        let image = sample.image(version, codec, 1);
        prop_assert!(sample.image(version, codec, threads) == image, "{threads} threads differ");
        let holey = HoleyDisk(sample.disk());
        let fields = sample.fields(version, codec);
        let (sparse, _) = save_to_vec(&holey, &sample.ranges, fields, &options(2)).unwrap();
        prop_assert!(sparse == image, "a sparse source differs");
        check_image(&sample, version, &image);

        let target = MemoryDisk::new(vec![BEFORE; sample.bytes.len()]);
        let options = TargetOptions { free, read_back: true, ..Default::default() };
        load_onto(&image, from, &target, options, threads).unwrap();
        let (found, expected) = (target.into_bytes(), expected(&sample, free));
        let differs = found.iter().zip(&expected).position(|(a, b)| a != b);
        prop_assert_eq!(differs.map(|at| (at / 512, found[at], expected[at])), None);
    }

    #[test]
    fn a_source_that_ends_inside_a_sector_comes_back(
        seed: u64,
        sectors in 1u64..3_000,
        short in 1usize..512,
        codec in select(&[Codec::Zstd, Codec::Zlib, Codec::Stored][..]),
        zeros: bool,
        blank: bool,
    ) {
        let content = if zeros { Content::Zeros } else { Content::Mixed };
        let mut bytes = Sample::random(seed, sectors, content).bytes;
        bytes.truncate(bytes.len() - short);
        let sample = Sample::whole(bytes);
        let image = sample.image(Version::Native, codec, 2);
        check_image(&sample, Version::Native, &image);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("target");
        let len = u64::try_from(sample.bytes.len()).unwrap();
        if !blank {
            std::fs::write(&path, vec![BEFORE; sample.bytes.len()]).unwrap();
        }
        let regular_file = match blank {
            true => RegularFile::Fresh { size_bytes: len },
            false => RegularFile::Existing,
        };
        let disk = open_target(&path, OpenOptions { regular_file, ..Default::default() }).unwrap();
        let options = TargetOptions { blank, ..Default::default() };
        load_onto(&image, From::File, &disk, options, 2).unwrap();
        prop_assert!(std::fs::read(&path).unwrap() == sample.bytes);
    }
}

/// A disk on which every second sector is allocated, in ranges of one sector.
fn comb(teeth: u64) -> Sample {
    let bytes = (0..teeth * 2).flat_map(|n| [n.to_le_bytes(); 64].concat()).collect();
    Sample { bytes, ranges: (0..teeth).map(|n| range(n * 2 + 1, n * 2 + 2)).collect() }
}

#[test]
fn a_full_region_table_ends_the_chunk() {
    let sample = comb(9_000);
    for (version, codec) in FORMATS {
        let image = sample.image(version, codec, 2);
        let read = check_image(&sample, version, &image);
        let regions = read.chunks.iter().map(|chunk| chunk.regions.len()).max().unwrap();
        let areas = read.chunks.iter().map(|chunk| chunk.area).max().unwrap();
        // Pieces end after 32 regions, so a table is filled up to the last 31.
        let (most, area) = match version {
            Version::V1 => (509, 4096),
            Version::V2 | Version::V3 => (507, 4096),
            Version::V5 => (251, 4096),
            _ => (4_080, 65_536),
        };
        let limited_by_payload = codec == Codec::Stored;
        if !limited_by_payload {
            assert!((most - 31..=most).contains(&regions), "{version}: {regions} regions");
            assert!(areas > area - 512 && areas <= area, "{version}: header area of {areas}");
        }
        let target = MemoryDisk::new(vec![BEFORE; sample.bytes.len()]);
        load_onto(&image, From::File, &target, TargetOptions::default(), 2).unwrap();
        assert!(target.into_bytes() == expected(&sample, FreeSpace::Leave), "{version} {codec}");
    }
}

#[test]
fn bounds_tile_the_disk_where_chunks_end_in_and_after_ranges() {
    // Noise: a chunk holds a little less than 2048 sectors.
    let noise = Sample::random(1, 9_000, Content::Noise).bytes;
    for (version, codec) in FORMATS {
        let whole = Sample::whole(noise.clone());
        let chunks = Image::read(&whole.image(version, codec, 2)).unwrap().chunks;
        let capacity = chunks[0].regions[0].count;
        assert!(capacity > 1_900, "{version} {codec}: chunk 0 holds {capacity} sectors");
        // Ranges that end just where the chunk does, a sector before, and a sector after.
        for len in [capacity - 1, capacity, capacity + 1] {
            let ranges = vec![range(7, 7 + len), range(5_000, 6_000)];
            let sample = Sample { bytes: noise.clone(), ranges };
            let image = sample.image(version, codec, 3);
            let read = check_image(&sample, version, &image);
            let (first, last) = (&read.chunks[0], read.chunks.last().unwrap());
            if version != Version::V1 {
                assert_eq!(first.bounds.unwrap().0, 0);
                assert_eq!(last.bounds.unwrap().1, 9_000);
            }
        }
    }
}

#[test]
fn a_disk_with_nothing_allocated_is_one_chunk() {
    for (version, codec) in FORMATS {
        let sample = Sample { bytes: vec![7; 100 * 512], ranges: vec![] };
        let image = sample.image(version, codec, 2);
        let read = check_image(&sample, version, &image);
        assert_eq!(read.chunks.len(), 1);
        let target = MemoryDisk::new(vec![BEFORE; sample.bytes.len()]);
        load_onto(&image, From::Stream, &target, TargetOptions::default(), 1).unwrap();
    }
}

#[test]
fn what_inflates_to_much_is_cut_and_restored_in_bounded_pieces() {
    // 80 MiB of a pattern: 1000:1. Native chunks stop at 64 MiB; legacy ones go on.
    let bytes = b"0123456789abcdef".repeat(80 << 16);
    let sample = Sample::whole(bytes);
    for (version, codec) in [FORMATS[0], FORMATS[1], FORMATS[5]] {
        let image = sample.image(version, codec, 2);
        let read = check_image(&sample, version, &image);
        let most = read.chunks.iter().map(independent::Chunk::data_sectors).max().unwrap();
        let limit = if version == Version::Native { 131_072 } else { 163_840 };
        assert_eq!(most, limit, "{version}");
        let target = MemoryDisk::new(vec![BEFORE; sample.bytes.len()]);
        load_onto(&image, From::File, &target, TargetOptions::default(), 2).unwrap();
        assert!(target.into_bytes() == sample.bytes, "{version} {codec}");
    }
}

/// A disk that is all holes, of any size.
struct Void(u64);

impl imagezip::disk::ReadDisk for Void {
    fn size_bytes(&self) -> u64 {
        self.0
    }

    fn read_at(&self, buf: &mut [u8], _: u64) -> Result<(), imagezip::disk::DiskError> {
        buf.fill(0);
        Ok(())
    }

    fn next_data(&self, _: SectorRange) -> Result<Option<SectorRange>, imagezip::disk::DiskError> {
        Ok(None)
    }
}

#[test]
fn numbers_of_more_than_32_bits_need_v5_or_native() {
    let disk = Void(5 << 40);
    let limit = 1u64 << 32;
    for version in [Version::V1, Version::V2, Version::V3] {
        let fields = fields(version, Codec::Zlib, disk.0);
        let error = save_to_vec(&disk, &[range(0, 1)], fields, &options(1)).unwrap_err();
        assert!(matches!(error, SaveError::TooLarge { max: 0xffff_ffff, .. }), "{error}");
        assert!(error.to_string().contains("--format v5"), "{error}");
    }
    let ranges = [range(0, 3), range(limit - 1, limit + 2), range(2 * limit, 2 * limit + 5)];
    let wanted: Vec<_> = ranges.iter().map(|r| (r.start().get(), r.count().get())).collect();
    for (version, codec) in [FORMATS[0], FORMATS[6]] {
        let fields = fields(version, codec, disk.0);
        let (image, _) = save_to_vec(&disk, &ranges, fields, &options(2)).unwrap();
        let read = Image::read(&image).unwrap();
        read.check_writer(&image).unwrap();
        assert_eq!((read.allocated(), read.source_bytes()), (wanted.clone(), disk.0));
    }
    // The last disk that fits, to the sector.
    let disk = Void((limit - 1) * 512);
    let fields = fields(Version::V3, Codec::Zlib, disk.0);
    let ranges = [range(limit - 2, limit - 1)];
    let (image, _) = save_to_vec(&disk, &ranges, fields, &options(1)).unwrap();
    assert_eq!(Image::read(&image).unwrap().source_bytes(), disk.0);
}

#[test]
fn a_run_of_zeros_longer_than_a_region_is_several() {
    let disk = Void(5 << 40);
    let all = range(0, (5 << 40) / 512);
    let fields = fields(Version::Native, Codec::Zstd, disk.0);
    let (image, saved) = save_to_vec(&disk, &[all], fields, &options(2)).unwrap();
    let read = Image::read(&image).unwrap();
    read.check_writer(&image).unwrap();
    assert_eq!((saved.chunks, saved.data_sectors), (1, 0));
    assert_eq!(saved.zero_sectors, all.count().get());
    let regions: Vec<_> = read.chunks[0].regions.iter().map(|region| region.count).collect();
    assert_eq!(regions, [0xffff_ffff, 0xffff_ffff, (5 << 31) - 2 * 0xffff_ffff]);
}

#[test]
fn little_memory_is_enough_or_refused_before_it_starts() {
    let sample = Sample::random(11, 20_000, Content::Mixed);
    let image = sample.image(Version::Native, Codec::Zstd, 1);
    let save = |threads, mib: u64| {
        let options = imagezip::save::SaveOptions { memory: Some(mib << 20), ..options(threads) };
        let fields = sample.fields(Version::Native, Codec::Zstd);
        save_to_vec(&sample.disk(), &sample.ranges, fields, &options)
    };
    assert!(save(2, 20).unwrap().0 == image);
    let error = save(8, 4).unwrap_err();
    assert!(matches!(error, SaveError::Memory { .. }), "{error}");
}

/// Bytes of a sample that are allocated, to see that the generator is worth its name.
#[test]
fn samples_differ() {
    let allocated = |seed| {
        let sample = Sample::random(seed, 2_000, Content::Mixed);
        let bytes = sample.ranges.iter().map(|r| bytes_of(*r)).map(|(from, to)| to - from);
        (sample.ranges.len(), bytes.sum::<usize>())
    };
    let all: std::collections::BTreeSet<_> = (0..20).map(allocated).collect();
    assert!(all.len() > 15, "{all:?}");
}
