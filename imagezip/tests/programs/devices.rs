//! Block devices and mounted filesystems. For root.

use crate::disks::{self, DISK_BYTES, MIB, TOOLS};
use crate::process::{Place, noise, read_range};
use crate::tools::{ready, run, run_with};
use std::path::{Path, PathBuf};

/// A loop device, detached when dropped.
pub(crate) struct Loop(pub(crate) String);

impl Loop {
    pub(crate) fn new(file: &Path, sector_bytes: u32) -> Self {
        let size = sector_bytes.to_string();
        let flags = ["--find", "--show", "--sector-size", &size].map(AsRef::as_ref);
        let device = run("losetup", &[&flags, [file.as_os_str()].as_slice()].concat());
        Self(device.trim().into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("losetup", &["--detach", &self.0]);
    }
}

/// A mount, undone when dropped.
pub(crate) struct Mount(pub(crate) PathBuf);

impl Mount {
    pub(crate) fn new(args: &[&str], at: PathBuf) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        run("mount", &[args, &[at.to_str().unwrap()]].concat());
        Self(at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[&self.0]);
    }
}

pub(crate) fn can_run(test: &str) -> bool {
    let tools = [&TOOLS[..], &["losetup", "mount", "umount"]].concat();
    ready(test, &tools, true)
}

#[test]
fn a_device_is_saved_and_restored() {
    if !can_run("a_device_is_saved_and_restored") {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    let source = Loop::new(&place.path(disk.name), 512);
    place.imagezip(&format!("{} image.ndz", source.0)).expect(0);
    place.imagezip(&format!("--direct {} direct.ndz", source.0)).expect(0);
    for options in ["", "-f", "--verify", "-z", "-E"] {
        place.blank("target.raw", DISK_BYTES + MIB);
        let target = Loop::new(&place.path("target.raw"), 512);
        place.imageunzip(&format!("{options} image.ndz {}", target.0)).expect(0);
        drop(target);
        disk.assert_restored(&place, "target.raw");
    }
}

#[test]
fn sectors_of_4096_bytes() {
    if !can_run("sectors_of_4096_bytes") {
        return;
    }
    let place = Place::new();
    place.write("disk.raw", &noise(1, 1 << 20).repeat(32));
    let source = Loop::new(&place.path("disk.raw"), 4096);
    let layout = "label: gpt\nstart=1MiB,size=20MiB,type=L\n";
    run_with("sfdisk", &["-q", "--wipe=always", &source.0], layout);
    let image = place.path("disk.raw");
    let args = ["-q", "-F", "-b4096", "-E", "offset=1048576", image.to_str().unwrap(), "20480k"];
    run("mkfs.ext4", &args);
    let info = place.imagezip(&format!("-i --json {}", source.0)).expect(0).json();
    assert_eq!((&info["logical_sector_bytes"], &info["table"]), (&4096.into(), &"GPT".into()));
    assert_eq!(info["partitions"][0]["verdict"], "allocated", "{info}");
    // A copy of that disk in a file is read the same way when told so; else it is kept whole.
    let file = place.imagezip("-i --json --sector-size 4096 disk.raw").expect(0).json();
    assert_eq!(file["save_bytes"], info["save_bytes"], "{file}");
    place.imagezip("-i disk.raw").expect(0).saying("use --sector-size 4096");
    for format in ["", "-3"] {
        place.imagezip(&format!("{format} {} image.ndz", source.0)).expect(0);
        place.blank("target.raw", 40 << 20);
        let target = Loop::new(&place.path("target.raw"), 4096);
        place.imageunzip(&format!("--verify image.ndz {}", target.0)).expect(0);
        let text = run("sgdisk", &["-v", &target.0]);
        assert!(text.contains("No problems found"), "{text}");
        drop(target);
        let ext4 = format!("{}?offset=1048576", place.path("target.raw").display());
        run("e2fsck", &["-fn", &ext4]);
        let wrong = Loop::new(&place.path("target.raw"), 512);
        let ran = place.imageunzip(&format!("image.ndz {}", wrong.0)).expect(3);
        ran.saying("4096-byte").saying("512-byte").in_one_line();
    }
}

#[test]
fn what_is_mounted_is_warned_of_and_not_written() {
    if !can_run("what_is_mounted_is_warned_of_and_not_written") {
        return;
    }
    let place = Place::new();
    place.blank("fs.raw", 16 << 20);
    run("mkfs.ext4", &["-q".as_ref(), place.path("fs.raw").as_os_str()]);
    place.write("disk", &noise(3, 1 << 20));
    place.imagezip("disk image.ndz").expect(0);
    let device = Loop::new(&place.path("fs.raw"), 512);
    let at = place.path("mounted");
    let mount = Mount::new(&[&device.0], at.clone());

    let saved = place.imagezip(&format!("{} mounted.ndz", device.0)).expect(0);
    saved.saying("warning").saying("mounted read-write").saying("mounted");
    let onto = place.imagezip(&format!("{} mounted/out.ndz", device.0)).expect(3);
    onto.saying("refusing").in_one_line();
    let onto = place.imagezip("fs.raw mounted/out.ndz").expect(3);
    onto.saying("refusing").in_one_line();
    let before = place.read("fs.raw");
    for target in [device.0.as_str(), "--in-place fs.raw"] {
        let ran = place.imageunzip(&format!("image.ndz {target}")).expect(3);
        ran.saying("in use, not written").saying("mounted").in_one_line();
    }
    let ran = place.imagezip(&format!("disk {}", device.0)).expect(3);
    ran.saying("in use").in_one_line();
    assert!(place.read("fs.raw") == before, "a mounted target is not touched");

    run("mount", &["-o", "remount,ro", at.to_str().unwrap()]);
    let saved = place.imagezip(&format!("{} mounted.ndz", device.0)).expect(0);
    assert!(!saved.stderr.contains("read-write"), "{}", saved.stderr);
    drop(mount);
    place.imageunzip(&format!("image.ndz {}", device.0)).expect(0);
    assert!(read_range(&place.path("fs.raw"), 0..MIB) == place.read("disk"));
}

#[test]
fn a_full_disk_is_one_clear_error() {
    if !can_run("a_full_disk_is_one_clear_error") {
        return;
    }
    let place = Place::new();
    place.write("disk", &noise(7, 8 << 20));
    place.imagezip("disk image.ndz").expect(0);
    let small = Mount::new(&["-t", "tmpfs", "-o", "size=3m", "none"], place.path("small"));
    for (program, words) in [("imagezip", "disk small/out"), ("imageunzip", "image.ndz small/out")]
    {
        let ran = finish(&place, program, words).expect(1);
        ran.saying("No space left on device").saying("small/").in_one_line();
        assert_eq!(crate::process::names(&small.0), Vec::<String>::new());
    }
}

fn finish(place: &Place, program: &str, words: &str) -> crate::process::Ran {
    crate::process::finish(place.command(program, words).spawn().unwrap())
}
