//! Where run-hooks finds the root filesystem, and what it says when there is none.

use super::disks::{MIB, disk, ext, lengthen, put};
use super::lab::Attached;
use super::rooted::{DISK_MIB, LAYOUT, ROOT_AT_MIB, ROOT_MIB, Rooted, can_run, usual};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use tests::tools::{run, text};

const NAME: (&str, &str) = ("FRISBEE_HOSTNAME", "node17");

/// A root filesystem of ext4 in a file.
fn root(dir: &Path, options: &str) -> Result<std::path::PathBuf> {
    let (tree, part) = (dir.join("tree"), dir.join("part.raw"));
    if !tree.exists() {
        usual(&tree)?;
    }
    ext(&part, ROOT_MIB, options, &tree)?;
    Ok(part)
}

#[test]
fn without_a_root_filesystem_it_says_what_there_is() -> Result<()> {
    if !can_run("without_a_root_filesystem_it_says_what_there_is", &["pvcreate", "lvm"]) {
        return Ok(());
    }
    // Blank, and a filesystem without a system.
    let lab = Rooted::with(|dir, file| {
        let empty = dir.join("empty");
        fs::create_dir(&empty)?;
        disk(file, DISK_MIB, LAYOUT)?;
        let part = dir.join("part.raw");
        ext(&part, ROOT_MIB, "-t ext4", &empty)?;
        put(file, ROOT_AT_MIB, &part)
    })?;
    let ran =
        lab.hooks("hostname", &[NAME])?.expect(1)?.saying("no root filesystem on /dev/loop")?;
    ensure!(ran.stdout.is_empty(), "{ran:?}");
    // LVM.
    let lab = Rooted::with(|_, file| disk(file, DISK_MIB, LAYOUT))?;
    let root = lab.attached.partition(2);
    run("pvcreate", &["-q", "--devices", text(&root), text(&root)])?;
    lab.hooks("hostname", &[NAME])?.expect(1)?.saying("part of LVM, which is not looked into")?;
    // Damaged: its first group descriptors are gone.
    let lab = Rooted::new(|_| Ok(()))?;
    let to = format!("of={}", text(&lab.attached.partition(2)));
    run("dd", &["if=/dev/urandom", &to, "bs=1024", "seek=2", "count=1", "conv=notrunc,fsync"])?;
    let ran = lab.hooks("hostname", &[NAME])?.expect(1)?;
    ran.saying("(ext4) cannot be mounted: mount:")?;
    Ok(())
}

#[test]
fn two_root_filesystems_are_one_too_many() -> Result<()> {
    if !can_run("two_root_filesystems_are_one_too_many", &[]) {
        return Ok(());
    }
    let lab = Rooted::with(|dir, file| {
        disk(file, 60, "label: gpt\nstart=1MiB,size=24MiB\nsize=24MiB\n")?;
        let part = root(dir, "-t ext4")?;
        put(file, 1, &part)?;
        put(file, 25, &part)
    })?;
    let before = lab.tree()?;
    lab.hooks("machine-id", &[])?.expect(1)?.saying("both look like a root filesystem")?;
    ensure!(lab.tree()? == before, "something was changed");
    Ok(())
}

#[test]
fn a_root_without_a_partition_table() -> Result<()> {
    if !can_run("a_root_without_a_partition_table", &[]) {
        return Ok(());
    }
    let lab = Rooted::with(|dir, file| {
        let part = root(dir, "-t ext2")?;
        fs::rename(part, file).context("rename")
    })?;
    let device = lab.attached.disk().to_owned();
    let lab = lab.at(&device);
    lab.hooks("hostname", &[NAME])?.expect(0)?;
    ensure!(lab.read("etc/hostname")?.as_deref() == Some("node17\n"));
    Ok(())
}

#[test]
fn a_journal_is_replayed() -> Result<()> {
    if !can_run("a_journal_is_replayed", &[]) {
        return Ok(());
    }
    let source = Rooted::new(|_| Ok(()))?;
    // Copied as after a power cut, while it is mounted, with a change in the journal.
    let (mounted, at) = source.mount()?;
    fs::write(at.join("etc/late"), "written late\n")?;
    fs::File::open(at.join("etc/late"))?.sync_all()?;
    let copy = source.path("copy.raw");
    run(
        "dd",
        &[
            &format!("if={}", text(&source.path("disk.raw"))),
            &format!("of={}", text(&copy)),
            "bs=1M",
            "conv=sparse",
            "status=none",
        ],
    )?;
    mounted.end()?;
    let lab = Rooted::with(|_, file| fs::copy(&copy, file).map(drop).context("copy"))?;
    let said = run("dumpe2fs", &["-h", text(&lab.attached.partition(2))])?;
    ensure!(said.contains("needs_recovery"), "{said}");
    lab.hooks("hostname machine-id", &[NAME])?.expect(0)?;
    ensure!(lab.read("etc/late")?.as_deref() == Some("written late\n"));
    ensure!(lab.read("etc/hostname")?.as_deref() == Some("node17\n"));
    run("e2fsck", &["-fn", text(&lab.attached.partition(2))])?;
    Ok(())
}

#[test]
fn a_filesystem_that_cannot_be_written_is_refused() -> Result<()> {
    if !can_run("a_filesystem_that_cannot_be_written_is_refused", &["tune2fs"]) {
        return Ok(());
    }
    let lab = Rooted::with(|dir, file| {
        disk(file, DISK_MIB, LAYOUT)?;
        // Marked as one that must not be written (EXT4_FEATURE_RO_COMPAT_READONLY).
        let part = root(dir, "-t ext4")?;
        run("tune2fs", &["-O", "read-only", text(&part)])?;
        put(file, ROOT_AT_MIB, &part)
    })?;
    lab.hooks("hostname", &[NAME])?.expect(1)?.saying("read-only")?;
    Ok(())
}

/// A btrfs of 120 MiB whose default subvolume is empty, and `@` the root.
fn btrfs(dir: &Path, subvolume: &str) -> Result<Rooted> {
    let lab =
        Rooted::with(|_, file| disk(file, 130, "label: gpt\nstart=1MiB,size=4MiB\nsize=120MiB\n"))?;
    let device = lab.attached.partition(2);
    run("mkfs.btrfs", &["-q", "-f", text(&device)])?;
    let (mounted, at) = lab.mount()?;
    let root = at.join(subvolume);
    run("btrfs", &["subvolume", "create", text(&root)])?;
    let tree = dir.join("tree");
    usual(&tree)?;
    run("cp", &["-a", &format!("{}/.", text(&tree)), text(&root)])?;
    mounted.end()?;
    Ok(lab)
}

#[test]
fn subvolumes_of_btrfs_are_looked_into() -> Result<()> {
    if !can_run("subvolumes_of_btrfs_are_looked_into", &["mkfs.btrfs", "btrfs"]) {
        return Ok(());
    }
    for subvolume in ["@", "@rootfs"] {
        let dir = tempfile::tempdir()?;
        let lab = btrfs(dir.path(), subvolume)?;
        lab.hooks("hostname", &[NAME])?.expect(0)?;
        let name = lab.read(&format!("{subvolume}/etc/hostname"))?;
        ensure!(name.as_deref() == Some("node17\n"), "{name:?}");
        run("btrfs", &["check", text(&lab.attached.partition(2))])?;
    }
    Ok(())
}

#[test]
fn the_disk_grows_and_then_gets_its_name() -> Result<()> {
    if !can_run("the_disk_grows_and_then_gets_its_name", &["mkfs.btrfs", "btrfs"]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let small = btrfs(dir.path(), "@")?;
    let file = small.path("disk.raw");
    run("sync", &[])?;
    let lab = Rooted::with(|_, larger| {
        run("cp", &["--sparse=always", text(&file), text(larger)])?;
        lengthen(larger, 300)
    })?;
    drop(small);
    let said = lab.hooks("hostname grow", &[NAME])?.expect(0)?.stdout;
    ensure!(said.starts_with("hook grow: /dev/loop"), "{said}");
    ensure!(said.contains(": btrfs grown, room for 294.0 MiB"), "{said}");
    ensure!(said.contains("hook hostname: /etc/hostname is node17 now"), "{said}");
    let blocks = fs::metadata(lab.path("disk.raw"))?.len() / MIB;
    ensure!((blocks, lab.attached.kernel_mib(2)?) == (300, 294));
    // What cannot be grown for a reason ends the run.
    let whole = Attached::new(&lab.path("disk.raw"), 512)?;
    drop(whole);
    let blank = Rooted::with(|_, file| Ok(fs::File::create(file)?.set_len(16 * MIB)?))?;
    let ran = blank.hooks("grow hostname", &[NAME])?.expect(1)?;
    ran.saying("run-hooks: grow failed: imagegrow: /dev/loop")?
        .saying("no valid partition table")?;
    Ok(())
}
