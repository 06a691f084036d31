//! imagegrow on block devices of this machine. For root.

use super::disks::{TOOLS, check_table, disk, grow, lengthen, range, table};
use super::lab::{self, Attached, Mounted, disk_of_sectors, is_unmounted};
use anyhow::{Result, ensure};
use std::path::Path;
use tests::content::{populate, read_tree};
use tests::tools::{ready, run, text};

fn can_run(test: &str, more: &[&str]) -> bool {
    ready(test, &[&TOOLS[..], &lab::TOOLS, more].concat(), true)
}

const GPT: &str = "label: gpt\nstart=1MiB,size=8MiB\nsize=310MiB\n";

fn mkfs_xfs(partition: &Path) -> Result<()> {
    run("mkfs.xfs", &["-q", "-f", text(partition)]).map(drop)
}

#[test]
fn an_xfs_grows_with_both_sector_sizes_mounted_or_not() -> Result<()> {
    let test = "an_xfs_grows_with_both_sector_sizes_mounted_or_not";
    if !can_run(test, &["mkfs.xfs", "xfs_repair"]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (file, at) = (dir.path().join("disk.raw"), dir.path().join("m"));
    for (sector_bytes, mounted) in [(512, false), (512, true), (4096, false), (4096, true)] {
        disk_of_sectors(&file, sector_bytes, 320, GPT)?;
        lengthen(&file, 700)?;
        let attached = Attached::new(&file, sector_bytes)?;
        mkfs_xfs(&attached.partition(2))?;
        let mount = Mounted::new(&attached.partition(2), &at, "rw")?;
        populate(&at, 3, 20)?;
        let before = read_tree(&at)?;
        let mut mount = Some(mount);
        if !mounted {
            mount.take().map_or(Ok(()), Mounted::end)?;
        }
        let report = grow("--json", attached.disk())?.expect(0)?.json()?;
        ensure!(report["filesystem_grows"] == true && report["backup_gpt_moves"] == true);
        ensure!(report["device"] == text(&attached.partition(2)), "{report}");
        ensure!(attached.kernel_mib(2)? == 690, "{report}");
        drop(mount);
        ensure!(is_unmounted(attached.disk())?, "still mounted");
        grow("", attached.disk())?.expect(0)?.saying("stays as it is")?;
        let mount = Mounted::new(&attached.partition(2), &at, "rw")?;
        ensure!(read_tree(&at)? == before, "the content is another");
        mount.end()?;
        run("xfs_repair", &["-n", text(&attached.partition(2))])?;
        check_table(attached.disk(), true)?;
    }
    Ok(())
}

#[test]
fn sectors_of_4096_bytes_in_a_file() -> Result<()> {
    if !can_run("sectors_of_4096_bytes_in_a_file", &[]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("disk.raw");
    disk_of_sectors(&path, 4096, 16, "label: gpt\nstart=1MiB,size=4MiB\n")?;
    lengthen(&path, 32)?;
    grow("", &path)?.expect(3)?.saying("4096-byte sectors")?;
    grow("--sector-size 4096", &path)?.expect(0)?.saying("moved to the end")?;
    ensure!(range(&table(&path, 4096)?, 1)? == (2048, 31 * 2048), "{:?}", table(&path, 4096)?);
    Ok(())
}

#[test]
fn a_logical_partition_with_btrfs_grows() -> Result<()> {
    if !can_run("a_logical_partition_with_btrfs_grows", &["mkfs.btrfs", "btrfs"]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (file, at) = (dir.path().join("disk.raw"), dir.path().join("m"));
    let layout = "label: dos
start=1MiB,size=4MiB,type=83
start=5MiB,size=130MiB,type=5
\
                  start=6MiB,size=8MiB,type=83
start=15MiB,size=116MiB,type=83
";
    disk(&file, 140, layout)?;
    lengthen(&file, 400)?;
    let attached = Attached::new(&file, 512)?;
    run("mkfs.btrfs", &["-q", "-f", text(&attached.partition(6))])?;
    let mount = Mounted::new(&attached.partition(6), &at, "rw")?;
    populate(&at, 4, 20)?;
    let before = read_tree(&at)?;
    mount.end()?;
    grow("", attached.disk())?.expect(0)?.saying("with extended partition 2")?;
    let mount = Mounted::new(&attached.partition(6), &at, "rw")?;
    ensure!(read_tree(&at)? == before, "the content is another");
    mount.end()?;
    run("btrfs", &["check", text(&attached.partition(6))])?;
    check_table(attached.disk(), false)?;
    let (_, end) = range(&table(&file, 512)?, 6)?;
    ensure!(end == 400 * 2048, "{end}");
    Ok(())
}

#[test]
fn what_a_power_cut_left_is_finished() -> Result<()> {
    if !can_run("what_a_power_cut_left_is_finished", &["mkfs.xfs"]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("disk.raw");
    disk(&file, 320, GPT)?;
    lengthen(&file, 700)?;
    let attached = Attached::new(&file, 512)?;
    mkfs_xfs(&attached.partition(2))?;
    // The table was written, by way of the file, and the kernel and the filesystem do not know.
    run("sync", &[])?;
    let image = dir.path().join("copy.raw");
    run("cp", &["--sparse=always", text(&file), text(&image)])?;
    grow("", &image)?.expect(0)?.saying("moved to the end")?;
    for (skip, count) in [(0, 1), (699, 1)] {
        let (from, to) = (format!("if={}", text(&image)), format!("of={}", text(attached.disk())));
        let (skip, seek) = (format!("skip={skip}"), format!("seek={skip}"));
        let count = format!("count={count}");
        run("dd", &[&from, &to, "bs=1M", &skip, &seek, &count, "conv=notrunc,fsync"])?;
    }
    ensure!(attached.kernel_mib(2)? == 310);
    let report = grow("--json", attached.disk())?.expect(0)?.json()?;
    ensure!(report["table_written"] == false && report["filesystem_grows"] == true, "{report}");
    ensure!(attached.kernel_mib(2)? == 690);
    Ok(())
}

#[test]
fn what_stands_in_the_way_is_said() -> Result<()> {
    if !can_run("what_stands_in_the_way_is_said", &["mkfs.xfs", "debugfs", "pvcreate", "lvm"]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (file, at) = (dir.path().join("disk.raw"), dir.path().join("m"));
    let fresh = || -> Result<Attached> {
        disk(&file, 320, GPT)?;
        lengthen(&file, 700)?;
        Attached::new(&file, 512)
    };
    // A filesystem that recorded errors.
    let attached = fresh()?;
    let root = attached.partition(2);
    run("mkfs.ext4", &["-q", "-F", text(&root)])?;
    run("debugfs", &["-w", "-R", "set_super_value state 2", text(&root)])?;
    grow("-n", attached.disk())?.expect(0)?.saying("left as it is: it recorded errors")?;
    let ran = grow("", attached.disk())?.expect(1)?.saying("recorded errors")?;
    ran.saying("is grown in the partition table, but its ext4 was not")?
        .saying("partition 2 grown from 310.0 MiB to 690.0 MiB")?;
    ensure!(attached.kernel_mib(2)? == 690 && is_unmounted(attached.disk())?);
    // A partition is not a disk.
    grow("", &root)?.expect(3)?.saying("is a partition")?;
    drop(attached);
    // One that is mounted read-only.
    let attached = fresh()?;
    mkfs_xfs(&attached.partition(2))?;
    let mount = Mounted::new(&attached.partition(2), &at, "ro,norecovery")?;
    grow("", attached.disk())?.expect(1)?.saying("is mounted read-only at")?;
    mount.end()?;
    drop(attached);
    // A volume manager's.
    let attached = fresh()?;
    run(
        "pvcreate",
        &["-q", "--devices", text(&attached.partition(2)), text(&attached.partition(2))],
    )?;
    grow("", attached.disk())?.expect(0)?.saying("left as it is: lvm2")?;
    ensure!(attached.kernel_mib(2)? == 690);
    Ok(())
}

#[test]
fn a_filesystem_without_a_table_grows_to_its_disk() -> Result<()> {
    if !can_run("a_filesystem_without_a_table_grows_to_its_disk", &["mkfs.xfs"]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("disk.raw");
    std::fs::File::create(&file)?.set_len(320 << 20)?;
    mkfs_xfs(&file)?;
    lengthen(&file, 700)?;
    grow("", &file)?.expect(3)?.saying("no valid partition table")?;
    let attached = Attached::new(&file, 512)?;
    grow("-n", attached.disk())?.expect(0)?.saying("xfs would be grown")?;
    let report = grow("--json", attached.disk())?.expect(0)?.json()?;
    ensure!(report["filesystem_grows"] == true && report["partition"].is_null(), "{report}");
    grow("", attached.disk())?.expect(0)?.saying("xfs is as large as it can be")?;
    Ok(())
}
