//! A system that does not exist: two disks, a volume, a loop device, btrfs and an overlay.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;

/// `/dev/NAME` is a device; other paths are files whose filesystem their first name tells.
fn identify(path: &Path) -> io::Result<Identity> {
    let device = |major, minor| DeviceId { major, minor };
    let text = path.to_str().unwrap_or_default();
    let known = [
        ("/dev/sda1", 8, 1),
        ("/dev/sda2", 8, 2),
        ("/dev/sda3", 8, 3),
        ("/dev/sda", 8, 0),
        ("/dev/sdb", 8, 16),
        ("/dev/sdc", 8, 32),
        ("/dev/loop0", 7, 0),
        ("/dev/vol", 253, 0),
    ];
    if let Some((_, major, minor)) = known.iter().find(|(name, ..)| *name == text) {
        return Ok(Identity::Device(device(*major, *minor)));
    }
    let file = |major, minor, inode| Identity::File { filesystem: device(major, minor), inode };
    Ok(match text {
        "/dev/null" => Identity::Other,
        "/" | "/img" | "/upper" => file(253, 0, u64::try_from(text.len()).unwrap_or(0)),
        "/boot dir" => file(8, 1, 2),
        "/boot dir/img" => file(8, 1, 3),
        "/looped" => file(7, 0, 2),
        "/pool" | "/pool/sub" => file(0, 77, 256),
        "/over" => file(0, 50, 9),
        "/tmp" => file(0, 30, 1),
        _ => return Err(io::ErrorKind::NotFound.into()),
    })
}

fn put(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// sda = sda1 (/boot dir), sda2 (volume vg-root at /), sda3 (swap); sdb + sdc = btrfs at /pool;
/// loop0 = the file `/boot dir/img`, mounted read-only at /looped; an overlay on /upper at /over.
fn system(dir: &tempfile::TempDir) -> System {
    let (proc, sys) = (dir.path().join("proc"), dir.path().join("sys"));
    put(
        proc.join("self/mountinfo"),
        "21 1 253:0 / / rw,relatime - ext4 /dev/mapper/vg-root rw\n\
         22 21 8:1 / /boot\\040dir ro shared:5 - ext4 /dev/sda1 rw,errors=continue\n\
         23 21 7:0 / /looped rw - ext4 /dev/loop0 ro\n\
         24 21 0:41 /sub /pool rw - btrfs /dev/sdb rw,subvol=/sub\n\
         25 21 0:50 / /over rw - overlay overlay rw,lowerdir=/l,upperdir=/upper,workdir=/w\n\
         26 21 0:30 / /tmp rw - tmpfs tmpfs rw\n\
         broken line\n",
    );
    put(proc.join("swaps"), "Filename Type Size Used Priority\n/dev/sda3 partition 1 0 -2\n");
    let block = sys.join("devices/block");
    for (name, id) in [
        ("sda", "8:0"),
        ("sda/sda1", "8:1"),
        ("sda/sda2", "8:2"),
        ("sda/sda3", "8:3"),
        ("sdb", "8:16"),
        ("sdc", "8:32"),
        ("loop0", "7:0"),
        ("dm-0", "253:0"),
    ] {
        put(block.join(name).join("dev"), &format!("{id}\n"));
        if name.contains('/') {
            put(block.join(name).join("partition"), "1\n");
        }
        fs::create_dir_all(sys.join("dev/block")).unwrap();
        symlink(block.join(name), sys.join("dev/block").join(id)).unwrap();
    }
    put(block.join("dm-0/dm/name"), "vg-root\n");
    put(block.join("loop0/loop/backing_file"), "/boot dir/img\n");
    fs::create_dir_all(block.join("sda/sda2/holders")).unwrap();
    symlink(block.join("dm-0"), block.join("sda/sda2/holders/dm-0")).unwrap();
    fs::create_dir_all(block.join("dm-0/slaves")).unwrap();
    symlink(block.join("sda/sda2"), block.join("dm-0/slaves/sda2")).unwrap();
    fs::create_dir_all(sys.join("block")).unwrap();
    symlink(block.join("loop0"), sys.join("block/loop0")).unwrap();
    let members = sys.join("fs/btrfs/uuid/devices");
    fs::create_dir_all(&members).unwrap();
    symlink(block.join("sdb"), members.join("sdb")).unwrap();
    symlink(block.join("sdc"), members.join("sdc")).unwrap();
    System::at(proc, sys, identify)
}

fn uses(path: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let uses = system(&dir).uses_of(Path::new(path)).unwrap();
    uses.iter().map(Use::to_string).collect()
}

#[test]
fn a_whole_disk_is_used_by_all_that_stands_on_it() {
    assert_eq!(
        uses("/dev/sda"),
        [
            "sda1 is mounted read-write at /boot dir",
            "sda2 is part of dm-0 (vg-root)",
            "sda3 is active swap",
            "dm-0 (vg-root) is mounted read-write at /",
        ]
    );
    assert_eq!(uses("/dev/sda3"), ["sda3 is active swap"]);
    assert_eq!(uses("/dev/null"), [""; 0]);
}

#[test]
fn files_behind_loop_devices_and_all_members_of_btrfs_are_used() {
    assert_eq!(
        uses("/boot dir/img"),
        ["/boot dir/img is behind loop0", "loop0 is mounted read-only at /looped"]
    );
    assert_eq!(uses("/dev/sdc"), ["sdc is mounted read-write at /pool"]);
    assert_eq!(uses("/img"), [""; 0]);
}

#[test]
fn outputs_on_the_source_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let system = system(&dir);
    let same = |source: &str, output: &str| {
        system.same_storage(Path::new(source), Path::new(output)).unwrap().is_some()
    };
    for (source, output) in [
        ("/dev/sda", "/dev/sda"),
        ("/dev/sda", "/dev/sda1"),
        ("/dev/sda1", "/dev/sda"),
        ("/dev/sda", "/new.ndz"),
        ("/dev/sda2", "/new.ndz"),
        ("/dev/sda", "/boot dir/new.ndz"),
        ("/dev/sda", "/looped/new.ndz"),
        ("/boot dir/img", "/looped/new.ndz"),
        ("/boot dir/img", "/dev/loop0"),
        ("/dev/loop0", "/boot dir/img"),
        ("/dev/sdc", "/pool/new.ndz"),
        ("/dev/sda2", "/over/new.ndz"),
        ("/img", "/img"),
        ("/img", "/dev/sda"),
    ] {
        assert!(same(source, output), "{source} {output}");
    }
    for (source, output) in [
        ("/dev/sda1", "/dev/sda2"),
        ("/dev/sda1", "/new.ndz"),
        ("/dev/sdb", "/new.ndz"),
        ("/dev/sda", "/pool/new.ndz"),
        ("/dev/sda", "/tmp/new.ndz"),
        ("/dev/sda", "/dev/null"),
        ("/dev/loop0", "/boot dir/new.ndz"),
        ("/img", "/new.ndz"),
        ("/img", "/boot dir/img"),
    ] {
        assert!(!same(source, output), "{source} {output}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let system = system(&dir);
    assert!(system.uses_of(Path::new("/none")).is_err());
    assert!(system.same_storage(Path::new("/dev/sda"), Path::new("/none/new.ndz")).is_err());
    fs::remove_file(dir.path().join("proc/self/mountinfo")).unwrap();
    let error = system.uses_of(Path::new("/dev/sda")).unwrap_err();
    assert!(error.to_string().contains("mountinfo"), "{error}");
}
