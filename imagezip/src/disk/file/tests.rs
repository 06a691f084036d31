//! Regular files as disks; devices are tested where there is a kernel to ask.

use super::*;
use crate::disk::{RegularFile, SourceOptions, TargetOptions, open_source, open_target};
use crate::units::Sector;
use proptest::prelude::*;

fn range(start: u32, end: u32) -> SectorRange {
    SectorRange::new(Sector::from_u32(start), Sector::from_u32(end)).unwrap()
}

fn target(dir: &tempfile::TempDir, size_bytes: u64, direct: bool) -> FileDisk {
    let regular_file = RegularFile::Fresh { size_bytes };
    let options = TargetOptions { regular_file, direct, ..TargetOptions::default() };
    open_target(&dir.path().join("disk"), options).unwrap()
}

#[test]
fn holes_are_found_and_widened_to_sectors() {
    let dir = tempfile::tempdir().unwrap();
    let disk = target(&dir, 10 << 20, false);
    let whole = SectorRange::whole(disk.sectors());
    assert_eq!(disk.next_data(whole).unwrap(), None);
    disk.write_at(b"x", (5 << 20) + 100).unwrap();
    let data = disk.next_data(whole).unwrap().unwrap();
    let written = Sector::from_u32(5 << 11);
    assert!(data.contains(written), "{data}");
    assert!(data.count().get() < 4096, "{data}");
    assert_eq!(disk.next_data(range(0, 5 << 11)).unwrap(), None);
    let inside = SectorRange::new(written, data.end()).unwrap();
    assert_eq!(disk.next_data(inside).unwrap(), Some(inside));
    assert_eq!(disk.next_data(range(7, 7)).unwrap(), None);
    disk.zero(whole).unwrap();
    assert_eq!(disk.next_data(whole).unwrap(), None);
}

#[test]
fn nothing_passes_the_end() {
    let dir = tempfile::tempdir().unwrap();
    for direct in [false, true] {
        let disk = target(&dir, 10_000, direct);
        disk.write_at(&[7; 100], 9_900).unwrap();
        let mut buf = [0; 100];
        disk.read_at(&mut buf, 9_900).unwrap();
        assert_eq!(buf, [7; 100]);
        for error in [
            disk.read_at(&mut buf, 9_901).unwrap_err(),
            disk.write_at(&buf, 9_901).unwrap_err(),
            disk.write_at(&buf, u64::MAX).unwrap_err(),
            disk.zero(range(19, 20)).unwrap_err(),
            disk.discard(range(0, 20)).unwrap_err(),
        ] {
            assert!(error.to_string().contains("ends at byte 10000"), "{error}");
        }
    }
}

#[test]
fn a_file_that_shrank_is_said_so_with_the_place() {
    let dir = tempfile::tempdir().unwrap();
    for direct in [false, true] {
        drop(target(&dir, 100_000, false));
        let path = dir.path().join("disk");
        let options = SourceOptions { direct, ..SourceOptions::default() };
        let disk = open_source(&path, options).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(50_000).unwrap();
        let error = disk.read_at(&mut [0; 90_000], 3).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(error.offset, 50_000);
    }
}

#[test]
fn what_was_written_is_read_back_uncached() {
    let dir = tempfile::tempdir().unwrap();
    let disk = target(&dir, 1 << 20, false);
    disk.write_at(&[9; 4096], 8192).unwrap();
    let (back, _) = disk.reopen_uncached().unwrap();
    let mut buf = [0; 4096];
    back.read_at(&mut buf, 8192).unwrap();
    assert_eq!(buf, [9; 4096]);
    assert!(back.write_at(&buf, 0).is_err());
    disk.reread_partition_table().unwrap();
    disk.set_len(2 << 20).unwrap();
    disk.write_at(&[1], (2 << 20) - 1).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Direct and cached IO give what a vector gives, at any alignment.
    #[test]
    fn io_agrees_with_memory(
        direct in any::<bool>(),
        rest in 0u64..4096,
        edits in prop::collection::vec((0u64..60_000, 1usize..30_000, any::<u8>(), 0usize..600, 0u8..3), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let size = 90_000 + rest;
        let disk = target(&dir, size, direct);
        let mut model = vec![0; usize::try_from(size).unwrap()];
        for (offset, len, byte, shift, how) in edits {
            let from = usize::try_from(offset).unwrap();
            if how == 0 {
                let zeroed = range(u32::try_from(offset / 512).unwrap(), u32::try_from((from + len) / 512).unwrap());
                disk.zero(zeroed).unwrap();
                model[from / 512 * 512..(from + len) / 512 * 512].fill(0);
            } else {
                let mut data = AlignedBuf::zeroed(shift + len);
                data.fill(byte);
                disk.write_at(&data[shift..], offset).unwrap();
                model[from..from + len].fill(byte);
            }
            let mut back = AlignedBuf::zeroed(shift + len);
            disk.read_at(&mut back[shift..], offset).unwrap();
            prop_assert_eq!(&back[shift..], &model[from..from + len]);
        }
        disk.sync().unwrap();
        prop_assert!(std::fs::read(disk.path()).unwrap() == model);
    }
}
