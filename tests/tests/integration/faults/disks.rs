//! Disks that fail, and signals.

use super::{BEFORE, assert_broken, faulty, sample, target};
use imagezip::disk::faulty::FaultyDisk;
use imagezip::disk::memory::MemoryDisk;
use imagezip::disk::{DiskError, Operation, ReadDisk};
use imagezip::interrupt::Interrupt;
use imagezip::load::{Fit, LoadError, Target, TargetOptions, load, prepare};
use imagezip::ndz::{Codec, Version};
use imagezip::progress::Progress;
use imagezip::save::{SaveError, SaveOptions, save};
use imagezip::sector_set::SectorSet;
use imagezip::units::SectorRange;
use std::io;
use tests::independent::{CHUNK, Image};
use tests::samples::{From, Sample, input, load_onto, options, range, save_to_vec};

const FORMATS: [(Version, Codec); 3] =
    [(Version::Native, Codec::Zstd), (Version::Native, Codec::Stored), (Version::V3, Codec::Zlib)];

#[test]
fn a_sector_that_cannot_be_read_is_named() {
    let sample = sample();
    for (version, codec) in FORMATS {
        for bad in [0, 62, 2_048, 4_321, 7_989] {
            let unreadable = SectorSet::from_range(range(bad, bad + 1));
            let disk = FaultyDisk::new(sample.disk()).with_unreadable(unreadable);
            let fields = sample.fields(version, codec);
            let error = save_to_vec(&disk, &sample.ranges, fields, &options(2)).unwrap_err();
            let SaveError::Disk(error) = error else { panic!("{error}") };
            assert_eq!(error.sector().get(), bad, "{error}");
            assert!(error.to_string().contains(&format!("sector {bad} ")), "{error}");
        }
        // A free sector is not read.
        let unreadable = SectorSet::from_range(range(1_000, 1_100));
        let disk = FaultyDisk::new(sample.disk()).with_unreadable(unreadable);
        let fields = sample.fields(version, codec);
        save_to_vec(&disk, &sample.ranges, fields, &options(2)).unwrap();
    }
}

#[test]
fn rescue_saves_the_rest_and_lists_what_was_lost() {
    let sample = sample();
    let lost = [range(5, 6), range(2_100, 2_103), range(7_989, 7_990)];
    for (version, codec) in FORMATS {
        let disk = FaultyDisk::new(sample.disk()).with_unreadable(lost.into_iter().collect());
        let options = SaveOptions { rescue: true, ..options(2) };
        let fields = sample.fields(version, codec);
        let (image, saved) = save_to_vec(&disk, &sample.ranges, fields, &options).unwrap();
        assert_eq!(saved.lost, lost);
        let mut expected = sample.clone();
        for range in lost {
            let (from, to) = tests::samples::bytes_of(range);
            expected.bytes[from..to].fill(0);
        }
        let mut restored = vec![BEFORE; sample.bytes.len()];
        Image::read(&image).unwrap().restore(&mut restored);
        assert!(restored == expected.over(&vec![BEFORE; restored.len()]));
    }
}

#[test]
fn an_output_that_fails_ends_the_save() {
    let sample = sample();
    for (version, codec) in FORMATS {
        for good in 0..2 {
            let mut written = 0;
            let mut write = |_: &[u8]| {
                if written == good {
                    let full = io::Error::from(io::ErrorKind::StorageFull);
                    return Err(SaveError::Disk(DiskError::new(Operation::Write, 0, full)));
                }
                written += 1;
                Ok(())
            };
            let error = save(
                &sample.disk(),
                &sample.ranges,
                sample.fields(version, codec),
                &options(3),
                &Progress::new(),
                &Interrupt::never(),
                &mut write,
            );
            assert!(matches!(error, Err(SaveError::Disk(_))), "{error:?}");
        }
    }
}

/// A petabyte of zeros that nobody knows to be zeros; a signal comes when it is first read.
struct Zeros(Interrupt);

impl ReadDisk for Zeros {
    fn size_bytes(&self) -> u64 {
        1 << 50
    }

    fn read_at(&self, buf: &mut [u8], _: u64) -> Result<(), DiskError> {
        buf.fill(0);
        self.0.set();
        Ok(())
    }
}

#[test]
fn a_signal_ends_the_reading_of_endless_zeros() {
    let interrupt = Interrupt::never();
    let disk = Zeros(interrupt.clone());
    let fields = sample().fields(Version::Native, Codec::Zstd);
    let mut write = |_: &[u8]| Ok(());
    let ranges = [SectorRange::whole(disk.sectors())];
    let progress = Progress::new();
    let error = save(&disk, &ranges, fields, &options(2), &progress, &interrupt, &mut write);
    assert!(matches!(error, Err(SaveError::Interrupted)), "{error:?}");
}

#[test]
fn an_interrupted_save_has_no_last_chunk() {
    let sample = sample();
    let interrupt = Interrupt::never();
    let mut chunks = Vec::new();
    let mut write = |chunk: &[u8]| {
        interrupt.set();
        chunks.push(chunk.to_vec());
        Ok(())
    };
    let result = save(
        &sample.disk(),
        &sample.ranges,
        sample.fields(Version::Native, Codec::Zstd),
        &options(2),
        &Progress::new(),
        &interrupt,
        &mut write,
    );
    assert!(matches!(result, Err(SaveError::Interrupted)), "{result:?}");
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0][20] & 1, 0, "not the last one");
}

/// Loads onto a faulty disk; must fail and leave it broken.
fn assert_fails(
    image: &[u8],
    from: From,
    disk: FaultyDisk<MemoryDisk>,
    sample: &Sample,
) -> LoadError {
    let error = load_onto(image, from, &disk, TargetOptions::default(), 2).unwrap_err();
    assert_broken(&disk.into_disk().into_bytes(), sample, &error.to_string());
    error
}

#[test]
fn a_sector_that_cannot_be_written_is_named_and_the_target_stays_broken() {
    let sample = sample();
    for (version, codec) in FORMATS {
        let image = sample.image(version, codec, 2);
        for (bad, from) in [(2_200, From::File), (5_555, From::Stream), (7_989, From::File)] {
            let disk = faulty().with_unwritable(SectorSet::from_range(range(bad, bad + 1)));
            let LoadError::Disk(error) = assert_fails(&image, from, disk, &sample) else {
                panic!("not the disk's error")
            };
            assert_eq!(error.sector().get(), bad, "{error}");
        }
    }
}

#[test]
fn a_target_that_becomes_full_stays_broken() {
    let sample = sample();
    let image = sample.image(Version::Native, Codec::Zstd, 2);
    // The head and the backup GPT are zeroed with the first bytes; then at many points until all
    // but the last sector of the head is written.
    let head = (1 << 20) + 512;
    let disk = faulty();
    load_onto(&image, From::File, &disk, TargetOptions::default(), 2).unwrap();
    let all = disk.written_bytes();
    for i in 0..24 {
        let bytes = head + (all - head - 512 * 64) * i / 24;
        let error = assert_fails(&image, From::File, faulty().with_full_after(bytes), &sample);
        assert!(matches!(error, LoadError::Disk(_)), "{error}");
    }
    // Within the head, written last: sector 0 is still zero.
    let disk = faulty().with_write_error_after(all - 1_024);
    load_onto(&image, From::File, &disk, TargetOptions::default(), 2).unwrap_err();
    assert!(disk.into_disk().into_bytes()[..512].iter().all(|byte| *byte == 0));
}

#[test]
fn a_target_that_cannot_flush_fails() {
    let sample = sample();
    let image = sample.image(Version::Native, Codec::Zstd, 2);
    assert_fails(&image, From::File, faulty().with_sync_error(), &sample);
    let blank = TargetOptions { blank: true, ..Default::default() };
    let disk = FaultyDisk::new(MemoryDisk::new(vec![0; 8_000 * 512])).with_sync_error();
    let error = load_onto(&image, From::File, &disk, blank, 2).unwrap_err();
    assert!(matches!(error, LoadError::Disk(_)), "{error}");
    assert!(disk.into_disk().into_bytes()[..1 << 20].iter().all(|byte| *byte == 0));
}

#[test]
fn an_interrupted_load_leaves_a_broken_target() {
    let sample = sample();
    let image = sample.image(Version::Native, Codec::Zstd, 2);
    for from in [From::File, From::Stream] {
        let (input, _file) = input(&image, from).unwrap();
        let prepared = prepare(&input).unwrap();
        let disk = MemoryDisk::new(target(8_000));
        let (progress, interrupt) = (Progress::new(), Interrupt::never());
        interrupt.set();
        let options = TargetOptions::default();
        let target = Target::new(&disk, Fit::default(), options, &progress);
        let error = load(&input, &prepared, &target, 2, &progress, &interrupt).unwrap_err();
        assert!(matches!(error, LoadError::Interrupted), "{error}");
        assert_broken(&disk.into_bytes(), &sample, "interrupted");
    }
}

#[test]
fn verify_finds_a_sector_that_changed() {
    let sample = sample();
    let (progress, never) = (Progress::new(), Interrupt::never());
    for (version, codec) in FORMATS {
        let image = sample.image(version, codec, 2);
        assert!(image.len() > CHUNK);
        for flip in [None, Some(0), Some(62), Some(2_048), Some(2_700), Some(7_989), Some(1_000)] {
            let (input, _file) = input(&image, From::File).unwrap();
            let prepared = prepare(&input).unwrap();
            let disk = MemoryDisk::new(target(8_000));
            let options = TargetOptions { read_back: true, ..Default::default() };
            let target = Target::new(&disk, Fit::default(), options, &progress);
            load(&input, &prepared, &target, 2, &progress, &never).unwrap();
            let mut after = tests::samples::content(&disk);
            if let Some(sector) = flip {
                after[sector * 512 + 100] ^= 4;
            }
            let result = target.verify(&MemoryDisk::new(after), 2, &never);
            match (flip, result) {
                // Sector 1000 is free: nobody promised it.
                (None | Some(1_000), Ok(bytes)) => assert!(bytes >= 5_000 * 512),
                (Some(sector), Err(LoadError::Verify { first, count: 1 })) => {
                    let sector = u64::try_from(sector).unwrap();
                    assert!((first.start().get()..first.end().get()).contains(&sector));
                }
                (flip, result) => panic!("{flip:?}: {result:?}"),
            }
        }
    }
}
