//! Who uses a disk, with real mounts.

use super::setup::{Loop, Mount, root, run, text};
use imagezip::disk::in_use::{How, same_storage, uses_of};
use imagezip::disk::{OpenError, TargetOptions, open_target};
use imagezip::output::{Output, OutputError};
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn a_mounted_target_is_refused_with_its_mount_point() {
    if !root("a_mounted_target_is_refused_with_its_mount_point") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let on = Loop::new(dir.path(), 8 << 20, 512);
    run("mkfs.ext4", &["-q", text(&on.device)]);
    assert!(uses_of(&on.device).unwrap().is_empty());
    let mounted = Mount::new(dir.path().join("a b"), &[text(&on.device)]);
    let uses = uses_of(&on.device).unwrap();
    assert_eq!(uses.len(), 1, "{uses:?}");
    assert_eq!(uses[0].how, How::MountedReadWrite { at: mounted.at.clone() });
    assert!(uses[0].changes_content());
    // The device, and the file behind it that the kernel would let us write.
    for path in [&on.device, &on.backing] {
        let refused = open_target(path, TargetOptions::default()).unwrap_err();
        assert!(matches!(refused, OpenError::Busy { .. }), "{refused}");
        let wanted = format!("is mounted read-write at {}", mounted.at.display());
        assert!(refused.to_string().contains(&wanted), "{refused}");
        let options = TargetOptions { allow_busy: true, ..TargetOptions::default() };
        assert!(open_target(path, options).is_ok());
    }
    let inside = mounted.at.join("new.ndz");
    for source in [&on.device, &on.backing] {
        assert!(same_storage(source, &inside).unwrap().is_some());
        assert!(same_storage(source, &on.backing).unwrap().is_some());
        assert!(same_storage(source, &dir.path().join("new.ndz")).unwrap().is_none());
    }
    let busy = Output::open(&on.device).unwrap_err().to_string();
    assert!(busy.contains("is mounted read-write at"), "{busy}");
    drop(mounted);
    let mounted = Mount::new(dir.path().join("ro"), &["-o", "ro", text(&on.device)]);
    let uses = uses_of(&on.backing).unwrap();
    assert_eq!(uses.len(), 2, "{uses:?}");
    assert_eq!(uses[1].how, How::MountedReadOnly { at: mounted.at.clone() });
    assert!(!uses.iter().any(|found| found.changes_content()));
    drop(mounted);
    open_target(&on.backing, TargetOptions::default()).unwrap();
}

#[test]
fn two_cannot_write_one_device() {
    if !root("two_cannot_write_one_device") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let on = Loop::new(dir.path(), 1 << 20, 512);
    let first = open_target(&on.device, TargetOptions::default()).unwrap();
    let second = open_target(&on.device, TargetOptions::default()).unwrap_err().to_string();
    assert!(second.contains("another program may have it open"), "{second}");
    assert!(matches!(Output::open(&on.device), Err(OutputError::Busy { .. })));
    drop(first);
    let mut output = open_once_released(&on.device);
    output.append(&[1; 700]).unwrap();
    output.write_at(&[2; 100], 500).unwrap();
    assert!(matches!(output.write_at(&[3; 8], 1 << 20), Err(OutputError::Full { .. })));
    output.commit().unwrap();
    let backing = std::fs::read(&on.backing).unwrap();
    assert_eq!((backing[499], backing[500], backing[699], backing[700]), (1, 2, 1, 0));
}

/// Programs that other tests are just starting share our open files until they have started, so a
/// device can stay held for a moment after we closed it.
fn open_once_released(device: &Path) -> Output {
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        match Output::open(device) {
            Err(OutputError::Busy { .. }) if Instant::now() < give_up => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

#[test]
fn a_mounted_partition_holds_its_disk_but_not_its_neighbour() {
    if !root("a_mounted_partition_holds_its_disk_but_not_its_neighbour") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let on = Loop::new(dir.path(), 16 << 20, 512);
    let first = on.add_partition(1, 64, 16384);
    let second = on.add_partition(2, 16448, 8192);
    run("mkfs.ext4", &["-q", text(&first)]);
    let mounted = Mount::new(dir.path().join("first"), &[text(&first)]);
    let refused = open_target(&on.device, TargetOptions::default()).unwrap_err().to_string();
    let name = first.file_name().unwrap().to_str().unwrap();
    assert!(refused.contains(&format!("{name} is mounted read-write")), "{refused}");
    let allowed = TargetOptions { allow_busy: true, ..TargetOptions::default() };
    open_target(&on.device, allowed).unwrap();
    open_target(&second, TargetOptions::default()).unwrap();
    assert!(uses_of(&second).unwrap().is_empty());
    let inside = mounted.at.join("new.ndz");
    assert!(same_storage(&on.device, &inside).unwrap().is_some());
    assert!(same_storage(&first, &inside).unwrap().is_some());
    assert!(same_storage(&second, &inside).unwrap().is_none());
    assert!(same_storage(&second, &on.device).unwrap().is_some());
}
