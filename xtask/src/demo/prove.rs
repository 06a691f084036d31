//! The proof: what the system's own checkers and a comparison of all files say.

use super::disk::{Disk, Place};
use super::files::{first_difference, read_tree};
use super::steps::say;
use super::tools::run;
use super::work::{Work, remove};
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Proves that `restored` is the disk that was made.
pub(super) fn all(work: &Work, restored: &Path, made: &Disk) -> Result<()> {
    check_table(restored)?;
    check_ext4(restored, made.root)?;
    let esp = work.path("esp.restored");
    copy_out(restored, made.esp, &esp)?;
    run("fsck.fat", &["-n".as_ref(), esp.as_os_str()])?;
    std::fs::remove_file(&esp)?;
    say("fsck.fat: the EFI system partition is clean");
    compare_files(work, restored, made)?;
    same_bytes(restored, &made.path, made.esp).context("EFI system partition")?;
    same_bytes(restored, &made.path, made.swap).context("swap")?;
    say("EFI system partition and swap: every byte as it was");
    Ok(())
}

/// Proves that `moved`, a disk of another size, holds what `restored` holds.
pub(super) fn moved(moved: &Path, restored: &Path, made: &Disk) -> Result<()> {
    check_table(moved)?;
    check_ext4(moved, made.root)?;
    for place in [made.esp, made.root, made.swap] {
        same_bytes(moved, restored, place)?;
    }
    say("all three partitions: every byte as on the first disk");
    Ok(())
}

/// Proves that a client's disk is, byte for byte, the disk that was restored from the image.
pub(super) fn same_disk(disk: &Path, restored: &Path) -> Result<()> {
    run("cmp", &[disk, restored])?;
    say("client's disk: every byte as on the first disk");
    Ok(())
}

/// The whole table, backup and checksums, at the disk's own end. sgdisk exits with 0 even when it
/// finds problems.
fn check_table(disk: &Path) -> Result<()> {
    let text = run("sgdisk", &["--verify".as_ref(), disk.as_os_str()])?;
    ensure!(text.contains("No problems found"), "sgdisk --verify:\n{text}");
    say("sgdisk: no problems found in the partition table");
    Ok(())
}

fn check_ext4(disk: &Path, place: Place) -> Result<()> {
    run("e2fsck", &["-fn", &at(disk, place)])?;
    say("e2fsck: the ext4 filesystem is clean");
    Ok(())
}

/// How the tools of e2fsprogs name a filesystem inside a file.
fn at(disk: &Path, place: Place) -> String {
    format!("{}?offset={}", disk.display(), place.offset)
}

fn compare_files(work: &Work, restored: &Path, made: &Disk) -> Result<()> {
    let out = work.path("files.restored");
    std::fs::create_dir(&out)?;
    let dump = format!("rdump / {}", out.display());
    run("debugfs", &["-R", &dump, &at(restored, made.root)])?;
    let files = read_tree(&out)?;
    remove(&out);
    if let Some(difference) = first_difference(&made.files, &files) {
        bail!("the restored files differ: {difference}");
    }
    say(&format!("{} files, directories and links: all as they were", files.len()));
    Ok(())
}

/// Compares a partition on two disks.
fn same_bytes(a: &Path, b: &Path, place: Place) -> Result<()> {
    let (a, b) = (File::open(a)?, File::open(b)?);
    let (mut in_a, mut in_b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for offset in (place.offset..place.offset + place.bytes).step_by(1 << 20) {
        a.read_exact_at(&mut in_a, offset)?;
        b.read_exact_at(&mut in_b, offset)?;
        ensure!(in_a == in_b, "the mebibyte at byte {offset} differs");
    }
    Ok(())
}

/// Copies a partition into a file.
fn copy_out(disk: &Path, place: Place, to: &Path) -> Result<()> {
    let (disk, to) = (File::open(disk)?, File::create(to)?);
    let mut buf = vec![0; 1 << 20];
    for at in (0..place.bytes).step_by(1 << 20) {
        disk.read_exact_at(&mut buf, place.offset + at)?;
        to.write_all_at(&buf, at)?;
    }
    Ok(())
}
