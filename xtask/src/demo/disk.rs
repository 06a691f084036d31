//! Making the disk: GPT, EFI system partition, ext4 with this machine's files, swap.

use super::files::{Tree, copy_some, read_tree};
use super::steps::{mib, say};
use super::tools::{run, run_with};
use super::work::{Work, remove};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;
/// Size of the disk, most of it free.
const DISK_BYTES: u64 = 8 << 30;
/// How much of this machine's files goes on it.
const FILES_BYTES: u64 = 1200 * MIB;
/// Where they come from.
const FILES_FROM: [&str; 2] = ["/usr", "/opt"];

/// Partitions: type (as sfdisk abbreviates it), name, mebibytes. Behind them the disk is empty.
const LAYOUT: &str = "label: gpt
start=1MiB,size=64MiB,type=U,name=esp
size=6144MiB,type=L,name=root
size=512MiB,type=S,name=swap
";

/// A partition's place on the disk, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub offset: u64,
    pub bytes: u64,
}

/// The disk, and what is on it.
#[derive(Debug)]
pub(super) struct Disk {
    pub path: PathBuf,
    pub bytes: u64,
    pub esp: Place,
    pub root: Place,
    pub swap: Place,
    /// What the ext4 filesystem holds.
    pub files: Tree,
}

/// Makes it.
pub(super) fn make(work: &Work) -> Result<Disk> {
    let path = work.path("disk.raw");
    File::create(&path)?.set_len(DISK_BYTES)?;
    run_with("sfdisk", &["--quiet".as_ref(), path.as_os_str()], LAYOUT)?;
    let [esp, root, swap] = partitions(&path)?;

    let tree = work.path("files");
    let mut copied = 0;
    for from in FILES_FROM.iter().map(Path::new).filter(|from| from.is_dir()) {
        let to = tree.join(from.strip_prefix("/")?);
        copied += copy_some(from, &to, FILES_BYTES - copied)?;
    }
    let files = read_tree(&tree)?;
    say(&format!("{} of files: {} names from {}", mib(copied), files.len(), FILES_FROM.join(", ")));
    ensure!(copied >= 100 * MIB, "there is too little to copy in {}", FILES_FROM.join(", "));
    make_ext4(&path, root, &tree)?;
    make_esp(work, &path, esp, &tree)?;
    remove(&tree);
    make_swap(work, &path, swap)?;
    say(&format!("{}: {}, GPT: EFI system partition, ext4, swap", path.display(), mib(DISK_BYTES)));
    Ok(Disk { path, bytes: DISK_BYTES, esp, root, swap, files })
}

/// Where sfdisk put the partitions.
fn partitions(disk: &Path) -> Result<[Place; 3]> {
    let text = run("sfdisk", &["--json".as_ref(), disk.as_os_str()])?;
    let table: Value = serde_json::from_str(&text)?;
    let place = |index: usize| {
        let entry = table.pointer(&format!("/partitiontable/partitions/{index}"));
        let sectors = |key| entry.and_then(|entry| entry.get(key)).and_then(Value::as_u64);
        let (start, size) = (sectors("start"), sectors("size"));
        let (start, size) = start.zip(size).with_context(|| format!("sfdisk said: {text}"))?;
        anyhow::Ok(Place { offset: start * 512, bytes: size * 512 })
    };
    Ok([place(0)?, place(1)?, place(2)?])
}

/// An ext4 as mkfs makes it today, filled with a tree.
fn make_ext4(disk: &Path, place: Place, tree: &Path) -> Result<()> {
    let offset = format!("offset={}", place.offset);
    let size = format!("{}k", place.bytes / 1024);
    let (disk, tree) = (disk.as_os_str(), tree.as_os_str());
    let flags = ["-q", "-F", "-L", "root", "-E", &offset, "-d"].map(AsRef::as_ref);
    run("mkfs.ext4", &[&flags, [tree, disk, size.as_ref()].as_slice()].concat())?;
    Ok(())
}

/// A FAT with a directory of files in it.
fn make_esp(work: &Work, disk: &Path, place: Place, tree: &Path) -> Result<()> {
    let esp = work.path("esp.fat");
    File::create(&esp)?.set_len(place.bytes)?;
    let image = esp.as_os_str();
    run("mkfs.fat", &["-F".as_ref(), "32".as_ref(), "-n".as_ref(), "ESP".as_ref(), image])?;
    run("mmd", &["-i".as_ref(), image, "::EFI".as_ref()])?;
    let mut taken = Vec::new();
    for name in ["bash", "ls", "tar", "grep", "sed"] {
        taken.extend([tree.join("usr/bin").join(name)].into_iter().filter(|path| path.is_file()));
    }
    let mut args = vec!["-i".as_ref(), image];
    args.extend(taken.iter().map(|path| path.as_os_str()));
    args.push("::EFI".as_ref());
    run("mcopy", &args)?;
    place_on(disk, place, &esp)
}

fn make_swap(work: &Work, disk: &Path, place: Place) -> Result<()> {
    let swap = work.path("swap");
    File::create(&swap)?.set_len(place.bytes)?;
    run("mkswap", &["-L".as_ref(), "swap".as_ref(), swap.as_os_str()])?;
    place_on(disk, place, &swap)
}

/// Copies a filesystem in a file to its place on the disk, leaving holes where it is zero, and
/// removes the file.
fn place_on(disk: &Path, place: Place, from: &Path) -> Result<()> {
    let disk = OpenOptions::new().write(true).open(disk)?;
    let mut source = File::open(from)?;
    let mut buf = vec![0; 1 << 20];
    let mut offset = place.offset;
    loop {
        let len = source.read(&mut buf)?;
        let Some(bytes) = buf.get(..len).filter(|bytes| !bytes.is_empty()) else { break };
        if bytes.iter().any(|byte| *byte != 0) {
            disk.write_all_at(bytes, offset)?;
        }
        offset += u64::try_from(len)?;
    }
    std::fs::remove_file(from)?;
    Ok(())
}
