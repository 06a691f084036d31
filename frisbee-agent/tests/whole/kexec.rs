//! Finding a system on a real filesystem, up to the kernel's own refusal of what is no kernel.

use crate::node::disk;
use frisbee_agent::disks::Roots;
use frisbee_agent::kexec::{KexecError, load};
use std::fs;
use std::path::Path;
use tests::tools::{ready, run, text};

/// A loop device as long as this lives.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = run("losetup", &["--detach", &self.0]);
    }
}

/// What becomes of a disk with one partition that holds these files.
fn look(files: &[(&str, &str)]) -> KexecError {
    let folder = tempfile::tempdir().unwrap();
    let (tree, image) = (folder.path().join("tree"), folder.path().join("image"));
    fs::create_dir(&tree).unwrap();
    for (name, content) in files {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    run("mkfs.ext4", &["-q", "-d", text(&tree), text(&image)]).unwrap();
    let device =
        Loop(run("losetup", &["--find", "--show", text(&image)]).unwrap().trim().to_owned());
    let name = device.0.strip_prefix("/dev/").unwrap();
    // sysfs as it would be if the loop device were a partition of a disk.
    let part = folder.path().join("sys/block/vda").join(name);
    fs::create_dir_all(&part).unwrap();
    fs::write(part.join("partition"), "1\n").unwrap();
    let roots = Roots { sys: folder.path().join("sys"), ..Roots::default() };
    let error = load(&disk("vda", Path::new("/dev/vda")), &roots).unwrap_err();
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(&format!("frisbee-kexec-{}", std::process::id())), "{mounts}");
    error
}

#[test]
fn a_system_is_found_on_the_disk_and_handed_to_the_kernel() {
    let name = "a_system_is_found_on_the_disk_and_handed_to_the_kernel";
    if !ready(name, &["mkfs.ext4", "losetup"], true) {
        return;
    }
    let grub = "set default=0\nmenuentry 'x' {\n linux /boot/vmlinuz-1 root=UUID=1 ro\n initrd /boot/a /boot/b\n}\n";
    let files = [
        ("boot/grub/grub.cfg", grub),
        ("boot/vmlinuz-1", "no kernel"),
        ("boot/a", "abc"),
        ("boot/b", "d"),
    ];
    match look(&files) {
        KexecError::Refused { kernel, .. } => assert_eq!(kernel, "/boot/vmlinuz-1"),
        other => panic!("{other}"),
    }
    let nothing = look(&[("etc/os-release", "x")]).to_string();
    assert!(
        nothing.contains("no filesystem of /dev/vda has a kernel")
            && nothing.contains(": nothing to start"),
        "{nothing}"
    );
}
