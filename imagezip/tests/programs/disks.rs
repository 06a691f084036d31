//! Disks to save, in files, and the proof that a restored one is whole.
//!
//! Free space is full of garbage, as on a disk that has been used.

use crate::process::{Place, noise, write_at};
use crate::tools::{run, run_with};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const MIB: u64 = 1 << 20;
/// Length of all disks here.
pub(crate) const DISK_BYTES: u64 = 48 * MIB;
/// Length of the ext4 filesystems.
const EXT4_BYTES: u64 = 20 * MIB;
/// Tools the disks are made and checked with.
pub(crate) const TOOLS: [&str; 9] = [
    "sfdisk",
    "sgdisk",
    "mkfs.ext4",
    "e2fsck",
    "debugfs",
    "mkfs.fat",
    "fsck.fat",
    "mcopy",
    "mkswap",
];

/// What a tree of files holds.
type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// A disk in a file, and what is on it.
pub(crate) struct Disk {
    pub(crate) name: &'static str,
    /// Offset of its ext4.
    pub(crate) ext4: u64,
    /// Number of the partition it is in.
    pub(crate) ext4_number: u32,
    files: Tree,
}

/// Fills sectors from the second one up to the first partition with something like a boot loader's
/// core image, and the first one's code area.
fn boot_code(disk: &Path, first_free_sector: u64) {
    write_at(disk, 0, &noise(1, 440));
    write_at(disk, first_free_sector * 512, &noise(2, 100_000));
    write_at(disk, MIB - 512, &noise(3, 512));
}

/// GPT: EFI system partition, ext4, swap, and a tail without partitions.
pub(crate) fn gpt(place: &Place) -> Disk {
    let name = "gpt.raw";
    let path = garbage(place, name);
    let layout = "label: gpt\nstart=2048,size=8MiB,type=U\nsize=20MiB,type=L\nsize=4MiB,type=S\n";
    run_with("sfdisk", &["-q".as_ref(), path.as_os_str()], layout);
    boot_code(&path, 34);
    let esp = fat(place);
    put(&path, MIB, &esp);
    let files = ext4(place, &path, 9 * MIB);
    put(&path, 29 * MIB, &swap(place, 4 * MIB));
    Disk { name, ext4: 9 * MIB, ext4_number: 2, files }
}

/// MBR: FAT, and in an extended partition ext4 and swap.
pub(crate) fn mbr(place: &Place) -> Disk {
    let name = "mbr.raw";
    let path = garbage(place, name);
    let layout = "label: dos\nstart=2048,size=8MiB,type=c,bootable\nstart=9MiB,size=32MiB,type=5\n\
                  start=10MiB,size=20MiB,type=83\nstart=31MiB,size=4MiB,type=82\n";
    run_with("sfdisk", &["-q".as_ref(), path.as_os_str()], layout);
    boot_code(&path, 1);
    let boot = fat(place);
    put(&path, MIB, &boot);
    let files = ext4(place, &path, 10 * MIB);
    put(&path, 31 * MIB, &swap(place, 4 * MIB));
    Disk { name, ext4: 10 * MIB, ext4_number: 5, files }
}

fn garbage(place: &Place, name: &str) -> PathBuf {
    let block = noise(99, 1 << 20);
    let count = usize::try_from(DISK_BYTES / MIB).unwrap();
    place.write(name, &block.repeat(count));
    let path = place.path(name);
    // sfdisk looks for old tables; there is none in noise, but be sure.
    write_at(&path, 0, &[0; 4096]);
    path
}

fn put(disk: &Path, offset: u64, bytes: &[u8]) {
    write_at(disk, offset, bytes);
}

fn fat(place: &Place) -> Vec<u8> {
    place.write("fat", &noise(6, usize::try_from(8 * MIB).unwrap()));
    let image = place.path("fat");
    run("mkfs.fat", &["-n".as_ref(), "BOOT".as_ref(), image.as_os_str()]);
    place.write("kernel", &noise(4, 700_000));
    let kernel = place.path("kernel");
    run("mcopy", &["-i".as_ref(), image.as_os_str(), kernel.as_os_str(), "::".as_ref()]);
    take_away(place, &["kernel"]);
    let bytes = place.read("fat");
    take_away(place, &["fat"]);
    bytes
}

fn swap(place: &Place, bytes: u64) -> Vec<u8> {
    place.write("swap", &noise(5, usize::try_from(bytes).unwrap()));
    run("mkswap", &[place.path("swap")]);
    let bytes = place.read("swap");
    take_away(place, &["swap"]);
    bytes
}

/// Makes a filesystem full of files inside the disk.
fn ext4(place: &Place, disk: &Path, offset: u64) -> Tree {
    let tree = place.path("tree");
    for i in 0..30_u8 {
        let dir = tree.join(format!("d{}", i % 4));
        fs::create_dir_all(&dir).unwrap();
        let text = b"the same words again and again ".repeat(usize::from(i) * 200);
        fs::write(dir.join(format!("text{i}")), text).unwrap();
        fs::write(dir.join(format!("noise{i}")), noise(i.into(), usize::from(i) * 5000)).unwrap();
    }
    fs::write(tree.join("zeros"), vec![0; 300_000]).unwrap();
    let files = read_tree(&tree);
    let options = format!("offset={offset}");
    let size = format!("{}k", EXT4_BYTES / 1024);
    let mut args = ["-q", "-F", "-L", "root", "-E", &options, "-d"].map(AsRef::as_ref).to_vec();
    args.extend([tree.as_os_str(), disk.as_os_str(), size.as_ref()]);
    run("mkfs.ext4", &args);
    fs::remove_dir_all(tree).unwrap();
    files
}

fn take_away(place: &Place, names: &[&str]) {
    for name in names {
        fs::remove_file(place.path(name)).unwrap();
    }
}

fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_path_buf();
                tree.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    tree
}

impl Disk {
    /// Asserts that the ext4 at `offset` of the file `name` is clean and holds all files.
    #[track_caller]
    pub(crate) fn assert_files(&self, place: &Place, name: &str, offset: u64) {
        let image = format!("{}?offset={offset}", place.path(name).display());
        run("e2fsck", &["-fn", &image]);
        let out = tempfile::tempdir().unwrap();
        let dump = format!("rdump / {}", out.path().display());
        run("debugfs", &["-R", &dump, &image]);
        assert!(read_tree(out.path()) == self.files, "{name}: files differ");
    }

    /// Asserts that a restored disk is whole: table, boot code, FAT, files, swap.
    #[track_caller]
    pub(crate) fn assert_restored(&self, place: &Place, name: &str) {
        self.assert_files(place, name, self.ext4);
        let restored = place.path(name);
        let (made, got) = (place.path(self.name), restored.as_path());
        let range = crate::process::read_range;
        assert!(range(&made, 440..MIB) == range(got, 440..MIB) || self.ext4_number == 2, "{name}");
        assert!(range(&made, 0..440) == range(got, 0..440), "{name}: boot code");
        assert!(range(&made, 34 * 512..MIB) == range(got, 34 * 512..MIB), "{name}: GRUB's core");
        let fat = range(got, MIB..9 * MIB);
        place.write("fat.restored", &fat);
        run("fsck.fat", &["-n".as_ref(), place.path("fat.restored").as_os_str()]);
        take_away(place, &["fat.restored"]);
        let swap = self.ext4 + if self.ext4_number == 2 { EXT4_BYTES } else { EXT4_BYTES + MIB };
        assert!(range(&made, swap..swap + 4096) == range(got, swap..swap + 4096), "{name}: swap");
        run("sfdisk", &["--verify".as_ref(), restored.as_os_str()]);
        if self.ext4_number == 2 {
            let text = run("sgdisk", &["-v".as_ref(), restored.as_os_str()]);
            assert!(text.contains("No problems found"), "{name}: {text}");
        }
    }
}
