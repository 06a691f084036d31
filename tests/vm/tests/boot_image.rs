//! The boot image as a file: made again it is the same to the byte, it is small, and all it needs is in it.

use std::fs;
use std::path::Path;
use std::process::Command;
use vmtest::artifacts::{node, project};
use vmtest::lab::has_boot_image;

/// What fits into a small machine's memory, and comes by TFTP in seconds.
const BYTES_MAX: usize = 16 << 20;

#[test]
fn it_is_the_same_to_the_byte_when_made_again_elsewhere() {
    if !has_boot_image("the boot image made again") {
        return;
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let copied =
        Command::new("cp").arg("-R").arg(node().join("bin")).arg(elsewhere.path()).status();
    assert!(copied.unwrap().success());
    let built =
        Command::new(project().join("initfs/build")).arg(elsewhere.path()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    for name in ["initfs.gz", "vmlinuz", "MANIFEST"] {
        let [one, other] = [node(), elsewhere.path().into()]
            .map(|folder: std::path::PathBuf| fs::read(folder.join(name)).unwrap());
        assert!(one == other, "{name} differs: is `make extract` older than the sources?");
    }
}

#[test]
fn it_is_small_and_whole_and_belongs_to_root() {
    if !has_boot_image("what is in the boot image") {
        return;
    }
    let image = node().join("initfs.gz");
    assert!(fs::metadata(&image).unwrap().len() <= u64::try_from(BYTES_MAX).unwrap());
    let listed = Command::new("sh")
        .args(["-c", "gzip -dc \"$1\" | cpio --list --verbose --numeric-uid-gid --quiet", "sh"])
        .arg(&image)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut names = Vec::new();
    for line in listed.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [mode, _, user, group, ..] = fields[..] else { panic!("{line}") };
        assert_eq!((user, group), ("0", "0"), "{line}");
        assert!(line.contains("1970"), "the time is fixed: {line}");
        assert!(mode.starts_with('l') || mode.as_bytes()[8] != b'w', "anybody could write: {line}");
        names.push(fields[8]);
    }
    for program in
        ["frisbee-agent", "frisbee-client", "imagedump", "imagegrow", "imageunzip", "imagezip"]
    {
        assert!(names.contains(&format!("usr/bin/{program}").as_str()), "{program} is missing");
    }
    for name in ["init", "bin/busybox", "bin/sh", "usr/lib/frisbee/run-hooks", "etc/mdev.conf"] {
        assert!(names.contains(&name), "{name} is missing");
    }
    for module in ["virtio_net", "virtio_blk", "nvme", "ahci", "e1000e", "igb", "tg3", "ext4"] {
        let file = format!("/{module}.ko");
        assert!(names.iter().any(|name| name.ends_with(&file)), "{module} is missing");
    }
}

#[test]
fn its_programs_need_no_library() {
    if !has_boot_image("the static programs") {
        return;
    }
    for entry in fs::read_dir(node().join("bin")).unwrap() {
        let path = entry.unwrap().path();
        if is_hidden(&path) {
            continue;
        }
        let said = Command::new("readelf").arg("--dynamic").arg(&path).output().unwrap();
        assert!(!String::from_utf8_lossy(&said.stdout).contains("NEEDED"), "{}", path.display());
        let version = Command::new(&path).arg("--version").env_clear().output().unwrap();
        assert!(version.status.success(), "{}", path.display());
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}
