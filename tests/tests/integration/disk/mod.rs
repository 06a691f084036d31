//! Disks of the system against the real kernel: loop devices, mounts, full filesystems, signals.

mod output;
mod setup;
mod uses;

use imagezip::disk::{
    Kind, OpenError, ReadDisk, RegularFile, SourceOptions, TargetOptions, Uncached, WriteDisk,
    open_source, open_target, rescue_read,
};
use imagezip::units::{Sector, SectorRange};
use setup::{Loop, Mount, root, run, text};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn range(start: u32, end: u32) -> SectorRange {
    SectorRange::new(Sector::from_u32(start), Sector::from_u32(end)).unwrap()
}

#[test]
fn only_disks_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    run("mkfifo", &[text(&fifo)]);
    let socket = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, what) in [
        (dir.path(), "is a directory"),
        (Path::new("/dev/null"), "is a character device"),
        (&fifo, "is a pipe"),
        (&socket, "is a socket"),
        (Path::new("/none"), "No such file"),
    ] {
        let source = open_source(path, SourceOptions::default()).unwrap_err().to_string();
        assert!(source.contains(what), "{source}");
        let target = open_target(path, TargetOptions::default()).unwrap_err().to_string();
        assert!(target.contains(what), "{target}");
    }
    let path = dir.path().join("disk");
    File::create(&path).unwrap().set_len(8192).unwrap();
    for (bytes, good) in [(4096, true), (513, false), (256, false), (1 << 17, false)] {
        let options =
            SourceOptions { logical_sector_bytes: Some(bytes), ..SourceOptions::default() };
        match open_source(&path, options) {
            Ok(disk) => assert!(good && disk.logical_sector_bytes() == bytes),
            Err(e) => assert!(!good && matches!(e, OpenError::SectorSize { .. }), "{e}"),
        }
    }
}

#[test]
fn regular_files_become_targets_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let open = |regular_file| {
        open_target(&path, TargetOptions { regular_file, ..TargetOptions::default() })
    };
    assert!(open(RegularFile::Existing).is_err());
    let disk = open(RegularFile::Resize { size_bytes: 4096 }).unwrap();
    disk.write_at(&[1; 4096], 0).unwrap();
    assert_eq!(open(RegularFile::Existing).unwrap().size_bytes(), 4096);
    assert_eq!(open(RegularFile::Resize { size_bytes: 1024 }).unwrap().size_bytes(), 1024);
    assert_eq!(std::fs::read(&path).unwrap(), [1; 1024]);
    assert_eq!(open(RegularFile::Fresh { size_bytes: 2048 }).unwrap().size_bytes(), 2048);
    assert_eq!(std::fs::read(&path).unwrap(), [0; 2048]);
    assert!(open(RegularFile::Resize { size_bytes: u64::MAX }).is_err());
}

#[test]
fn loop_devices_of_both_sector_sizes_are_read_and_written() {
    if !root("loop_devices_of_both_sector_sizes_are_read_and_written") {
        return;
    }
    for sector_bytes in [512, 4096] {
        for direct in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let on = Loop::new(dir.path(), 4 << 20, sector_bytes);
            let options = TargetOptions { direct, ..TargetOptions::default() };
            let disk = open_target(&on.device, options).unwrap();
            assert_eq!(disk.kind(), Kind::BlockDevice);
            assert_eq!(disk.is_direct(), direct);
            assert_eq!((disk.size_bytes(), disk.logical_sector_bytes()), (4 << 20, sector_bytes));
            let mut model: Vec<u8> =
                (0..4_u32 << 20).map(|i| u8::try_from(i % 251).unwrap()).collect();
            disk.write_at(&model, 0).unwrap();
            disk.write_at(&[7; 9000], 70_001).unwrap();
            model[70_001..79_001].fill(7);
            // Neither end is on the 4096-byte grid.
            disk.zero(range(1003, 3001)).unwrap();
            model[1003 * 512..3001 * 512].fill(0);
            disk.zero(range(17, 18)).unwrap();
            model[17 * 512..18 * 512].fill(0);
            let mut back = vec![1; 100_000];
            disk.read_at(&mut back, 60_003).unwrap();
            assert!(back == model[60_003..160_003]);
            disk.discard(range(4097, 8000)).unwrap();
            disk.sync().unwrap();
            let backing = std::fs::read(&on.backing).unwrap();
            assert!(backing[..4096 * 512 + 512] == model[..4096 * 512 + 512]);
            assert!(backing[8000 * 512..] == model[8000 * 512..]);
            assert!(disk.write_at(&[0; 512], 4 << 20).is_err());
            assert!(disk.set_len(8 << 20).is_err());
        }
    }
}

/// The backing file ends inside a page of the device: what follows cannot be read.
#[test]
fn a_read_error_names_the_sector_and_costs_no_other() {
    if !root("a_read_error_names_the_sector_and_costs_no_other") {
        return;
    }
    for direct in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let on = Loop::new(dir.path(), 1 << 20, 512);
        File::options().write(true).open(&on.backing).unwrap().set_len(1001 * 512).unwrap();
        File::options()
            .write(true)
            .open(&on.backing)
            .unwrap()
            .write_at(&[9; 512], 512_000)
            .unwrap();
        let options = SourceOptions { direct, ..SourceOptions::default() };
        let disk = open_source(&on.device, options).unwrap();
        let mut buf = vec![1; 1 << 20];
        let error = disk.read_at(&mut buf, 0).unwrap_err();
        assert_eq!(error.sector().get(), 1001, "{error}");
        assert_eq!(error.source.raw_os_error(), Some(5), "{error}");
        let mut sector = [1; 512];
        disk.read_at(&mut sector, 512_000).unwrap();
        assert_eq!(sector, [9; 512]);
        let lost = rescue_read(&disk, &mut buf[..200_000], 400_000).unwrap();
        assert_eq!(lost, [range(1001, 1172)]);
        assert!(buf[112_000..112_512].iter().all(|b| *b == 9));
    }
}

#[test]
fn reading_back_does_not_believe_the_cache() {
    if !root("reading_back_does_not_believe_the_cache") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let on = Loop::new(dir.path(), 1 << 20, 512);
    let disk = open_target(&on.device, TargetOptions::default()).unwrap();
    disk.write_at(&[1; 8192], 0).unwrap();
    disk.sync().unwrap();
    // The device changes behind the back of the cache.
    File::options().write(true).open(&on.backing).unwrap().write_at(&[2; 8192], 0).unwrap();
    let mut buf = [0; 8192];
    disk.read_at(&mut buf, 0).unwrap();
    assert_eq!(buf, [1; 8192]);
    let (back, how) = disk.reopen_uncached().unwrap();
    assert_eq!(how, Uncached::Direct);
    back.read_at(&mut buf, 0).unwrap();
    assert_eq!(buf, [2; 8192]);
    disk.drop_cache(range(0, 16)).unwrap();
    buf.fill(0);
    disk.read_at(&mut buf, 0).unwrap();
    assert_eq!(buf, [2; 8192]);
}

/// The disk has no table, so reading it again removes a partition that was added by hand. No test
/// of what the table says: a kernel need not know any kind of table.
#[test]
fn the_partition_table_is_read_again_unless_a_partition_is_used() {
    if !root("the_partition_table_is_read_again_unless_a_partition_is_used") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let on = Loop::new(dir.path(), 4 << 20, 512);
    let partition = on.add_partition(1, 64, 4096);
    let disk = open_target(&on.device, TargetOptions::default()).unwrap();
    assert!(partition.exists());
    disk.reread_partition_table().unwrap();
    assert!(!partition.exists());
    on.add_partition(1, 64, 4096);
    let _held = File::open(&partition).unwrap();
    let warning = disk.reread_partition_table().unwrap_err().to_string();
    assert!(warning.contains("still uses the old partition table"), "{warning}");
    let _unused = open_source(&partition, SourceOptions::default()).unwrap();
}

#[test]
fn where_direct_io_is_refused_the_cache_is_used() {
    if !root("where_direct_io_is_refused_the_cache_is_used") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ram = Mount::new(dir.path().join("ram"), &["-t", "ramfs", "none"]);
    let options = TargetOptions {
        regular_file: RegularFile::Fresh { size_bytes: 1 << 20 },
        direct: true,
        ..TargetOptions::default()
    };
    let disk = open_target(&ram.at.join("disk"), options).unwrap();
    assert!(!disk.is_direct());
    disk.write_at(&[5; 3000], 17).unwrap();
    // No holes to punch here: zeros are written.
    disk.zero(range(1, 4)).unwrap();
    disk.discard(range(0, 8)).unwrap();
    let (back, how) = disk.reopen_uncached().unwrap();
    assert_eq!(how, Uncached::CacheDropped);
    let mut buf = [1; 3100];
    back.read_at(&mut buf, 0).unwrap();
    assert_eq!((buf[16], buf[17], buf[511], buf[512], buf[2047], buf[2048]), (0, 5, 5, 0, 0, 5));
}
