//! imagegrow on disks in files, and with a kernel that has every filesystem: User-Mode Linux.

use super::disks::{
    MIB, TOOLS, check_table, disk, ext, grow, imagegrow, lengthen, put, range, sfdisk, table,
};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use tests::content::populate;
use tests::tools::{ready, run, text};
use tests::uml::{self, Kind, Session};

const GPT: &str = "label: gpt\nstart=1MiB,size=8MiB,type=L\nsize=24MiB,type=L,name=root\n";

/// All but these sectors of two files is the same.
fn same_but(before: &[u8], after: &[u8], tables: &[(u64, u64)]) -> Result<()> {
    for (sector, (old, new)) in (0u64..).zip(before.chunks(512).zip(after.chunks(512))) {
        let is_table = tables.iter().any(|(from, to)| (*from..*to).contains(&sector));
        ensure!(is_table || old == new, "sector {sector} was changed");
    }
    Ok(())
}

/// Fills a disk with something that is not zero, before it gets a table.
fn filled(path: &Path, mib: u64, layout: &str) -> Result<()> {
    let line: Vec<u8> = (0..=255).collect();
    fs::write(path, line.repeat(usize::try_from(mib * MIB / 256)?))?;
    sfdisk(path, layout)
}

#[test]
fn tables_in_files_grow_and_nothing_else_changes() -> Result<()> {
    let test = "tables_in_files_grow_and_nothing_else_changes";
    if !ready(test, &["sfdisk", "sgdisk"], false) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("disk.raw");
    let mbr = "label: dos\nstart=1MiB,size=2MiB,type=83\nsize=2MiB,type=83\n";
    let logical = "label: dos
start=1MiB,size=2MiB,type=83
start=3MiB,size=8MiB,type=5
\
                   start=4MiB,size=1MiB,type=83
start=6MiB,size=2MiB,type=83
";
    // Layout, its length, the last partition, where that starts, and sectors of tables.
    let old_gpt = (34 * 2048 - 33, 34 * 2048);
    let new_gpt = (40 * 2048 - 33, 40 * 2048);
    for (layout, mib, number, start, tables) in [
        (GPT, 34, 2, 9, vec![(0, 34), old_gpt, new_gpt]),
        (mbr, 6, 2, 3, vec![(0, 1)]),
        // A record a mebibyte before each logical partition, as sfdisk puts it.
        (logical, 12, 6, 6, vec![(0, 1), (3 * 2048, 3 * 2048 + 1), (5 * 2048, 5 * 2048 + 1)]),
    ] {
        filled(&path, mib, layout).context(layout)?;
        let before = table(&path, 512)?;
        let start_sector = range(&before, number)?.0;
        ensure!(start_sector / 2048 == start, "{layout}: {start_sector}");
        lengthen(&path, 40)?;
        let old = fs::read(&path)?;
        let check = grow("--check-only", &path)?.expect(0)?.saying("would be grown")?;
        ensure!(fs::read(&path)? == old && check.stderr.is_empty(), "{layout}: something written");
        let json = grow("--json", &path)?.expect(0)?.json()?;
        let end = if number == 2 && layout == GPT { 39 * 2048 } else { 40 * 2048 };
        ensure!(json["sectors_after"] == end - start_sector, "{layout}: {json}");
        ensure!(json["table_written"] == true && json["partition"] == number, "{json}");
        let after = table(&path, 512)?;
        ensure!(range(&after, number)? == (start_sector, end), "{layout}: {after:?}");
        for partition in before.partitions.iter().filter(|p| p.number != number) {
            ensure!(after.partition(partition.number) == Some(partition), "{layout}: {after:?}");
        }
        check_table(&path, layout == GPT).context(layout)?;
        let new = fs::read(&path)?;
        same_but(&old, &new, &tables).context(layout)?;
        let json = grow("--json", &path)?.expect(0)?.json()?;
        ensure!(json["table_written"] == false && fs::read(&path)? == new, "{layout}: {json}");
    }
    Ok(())
}

#[test]
fn what_does_not_qualify_is_refused() -> Result<()> {
    if !ready("what_does_not_qualify_is_refused", &["sfdisk"], false) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("disk.raw");
    fs::write(&path, vec![0; 4 << 20])?;
    grow("", &path)?.expect(3)?.saying("no valid partition table")?;
    grow("--json", &path)?.expect(3)?;
    disk(&path, 16, "label: gpt\nstart=1MiB,size=8MiB,type=L\n")?;
    let whole = fs::read(&path)?;
    fs::write(&path, &whole[..8 << 20])?;
    grow("", &path)?.expect(3)?.saying("is cut")?;
    ensure!(fs::read(&path)? == whole[..8 << 20], "something was written");
    grow("", dir.path())?.expect(3)?.saying("is a directory")?;
    grow("", &dir.path().join("none"))?.expect(1)?;
    grow("--nonsense", &path)?.expect(2)?;
    grow("--help", &path)?.expect(0)?.saying("Exit status")?;
    Ok(())
}

#[test]
fn what_cannot_be_grown_says_so() -> Result<()> {
    if !ready("what_cannot_be_grown_says_so", &[&TOOLS[..], &["mkswap"]].concat(), false) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (path, part) = (dir.path().join("disk.raw"), dir.path().join("part.raw"));
    let fresh = |content: &dyn Fn() -> Result<()>| -> Result<()> {
        disk(&path, 34, GPT)?;
        fs::File::create(&part)?.set_len(24 * MIB)?;
        content()?;
        put(&path, 9, &part)?;
        lengthen(&path, 40)
    };
    // Swap takes no more room.
    fresh(&|| run("mkswap", &["-q", text(&part)]).map(drop))?;
    let old = fs::read(&path)?;
    grow("", &path)?.expect(0)?.saying("left as it is: swap")?;
    ensure!(fs::read(&path)? == old, "a swap partition was grown");
    // Unknown content, and a filesystem nobody grows: only the table.
    fresh(&|| Ok(()))?;
    grow("", &path)?.expect(0)?.saying("grown from 24.0 MiB")?.saying("content is not known")?;
    let empty = dir.path().join("empty");
    fs::create_dir_all(&empty)?;
    fresh(&|| ext(&part, 24, "-t ext4", &empty))?;
    grow("", &path)?.expect(0)?.saying("the disk is a file")?;
    // A RAID whose mark stands at the end of the partition would be lost.
    fresh(&|| {
        // The superblock of version 1.0: magic number and version, 8 KiB before the end.
        let mut bytes = vec![0; 24 << 20];
        let at = (24 << 20) - (8 << 10);
        bytes[at..at + 8].copy_from_slice(&[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]);
        let place = (at as u64 / 512).to_le_bytes();
        bytes[at + 144..at + 152].copy_from_slice(&place);
        Ok(fs::write(&part, bytes)?)
    })?;
    let old = fs::read(&path)?;
    grow("", &path)?.expect(3)?.saying("mark at the end of the partition")?;
    ensure!(fs::read(&path)? == old, "a RAID member was grown");
    Ok(())
}

/// Makes a disk with a filesystem that can be grown by some hundred MiB.
fn growable(
    dir: &Path,
    name: &str,
    mib: u64,
    make: &dyn Fn(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let (path, part) = (dir.join(name), dir.join("part"));
    let _ = fs::remove_file(&part);
    disk(&path, mib + 10, &format!("label: gpt\nstart=1MiB,size=8MiB\nsize={mib}MiB\n"))?;
    fs::File::create(&part)?.set_len(mib * MIB)?;
    make(&part)?;
    put(&path, 9, &part)?;
    lengthen(&path, 3 * mib + 40)?;
    Ok(path)
}

/// A script that reads a partition, grows it, and reads it again; for a kernel as on a node.
fn script(letter: char, driver: &str, mounted: bool) -> Result<String> {
    let program = imagegrow()?;
    let program = text(&program);
    let (mount, unmount) = match mounted {
        true => (format!("mount -n -t {driver} /dev/ubd{letter}2 $M"), "umount -n $M"),
        false => (":".into(), ":"),
    };
    Ok(format!(
        "digest() {{
           mount -n -t {driver} /dev/ubd{letter}2 $M
           echo {letter}_$1=$(cd $M && find . -type f -exec sha256sum {{}} + | sort | cksum)
           umount -n $M
         }}
         digest before
         {mount}
         {program} --json /dev/ubd{letter}
         {unmount}
         echo {letter}_kernel=$(cat /sys/class/block/ubd{letter}2/size)
         digest after
         {program} /dev/ubd{letter}"
    ))
}

/// Runs the scripts, one for each disk, and checks what came of them.
fn grow_in_uml(disks: &[(PathBuf, &str, bool)]) -> Result<()> {
    let kind = Kind { name: "ext4", modules: &[], options: "" };
    let mut session = Session::new(kind)?.then("mount -n -t sysfs sys /sys");
    for (letter, (_, driver, mounted)) in ('a'..).zip(disks) {
        session = session.then(&script(letter, driver, *mounted)?);
    }
    let images: Vec<&Path> = disks.iter().map(|(path, ..)| path.as_path()).collect();
    let said = session.run(&images)?.said;
    let value = |name: String| -> Result<&str> {
        let found = said.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix('='));
        found.with_context(|| format!("no {name} in {said}"))
    };
    let reports: Vec<serde_json::Value> =
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    ensure!(reports.len() == disks.len(), "{said}");
    for (letter, ((path, ..), report)) in ('a'..).zip(disks.iter().zip(&reports)) {
        let name = path.display();
        ensure!(value(format!("{letter}_before"))? == value(format!("{letter}_after"))?, "{said}");
        ensure!(report["filesystem_grows"] == true && report["error"].is_null(), "{name}: {said}");
        let capacity = |key| report[key].as_u64().context("capacity");
        let [before, after] =
            [capacity("capacity_bytes_before")?, capacity("capacity_bytes_after")?];
        ensure!(after > 2 * before, "{name}: {report}");
        let (start, end) = range(&table(path, 512)?, 2)?;
        ensure!(value(format!("{letter}_kernel"))?.parse::<u64>()? == end - start, "{said}");
        ensure!(said.contains(&format!("/dev/ubd{letter}: partition 2 stays as it is")), "{said}");
        check_table(path, true)?;
    }
    Ok(())
}

#[test]
fn every_form_of_ext_grows() -> Result<()> {
    let test = "every_form_of_ext_grows";
    if !ready(test, &[&TOOLS[..], &uml::TOOLS].concat(), false) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let content = dir.path().join("content");
    fs::create_dir(&content)?;
    populate(&content, 1, 40)?;
    let mut disks = Vec::new();
    for (number, (options, mounted)) in [
        ("-t ext4", false),
        ("-t ext4 -b 1024", true),
        ("-t ext4 -O ^resize_inode", false),
        ("-t ext4 -O meta_bg,64bit,^resize_inode", false),
        ("-t ext2", false),
        ("-t ext3 -b 1024", true),
        ("-t ext4 -O ^64bit,^metadata_csum -I 128", false),
        ("-t ext4 -O bigalloc", false),
    ]
    .into_iter()
    .enumerate()
    {
        let path = growable(dir.path(), &format!("disk{number}"), 40, &|part| {
            ext(part, 40, options, &content)
        })?;
        disks.push((path, "ext4", mounted));
    }
    grow_in_uml(&disks)?;
    for (path, ..) in &disks {
        let partition = format!("{}?offset={}", text(path), 9 * MIB);
        run("e2fsck", &["-fn", &partition])?;
    }
    Ok(())
}

#[test]
fn xfs_and_btrfs_grow() -> Result<()> {
    let tools = ["mkfs.xfs", "xfs_repair", "mkfs.btrfs", "btrfs"];
    if !ready("xfs_and_btrfs_grow", &[&TOOLS[..], &tools, &uml::TOOLS].concat(), false) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let content = dir.path().join("content");
    fs::create_dir(&content)?;
    populate(&content, 2, 40)?;
    let xfs = |part: &Path| run("mkfs.xfs", &["-q", text(part)]).map(drop);
    let btrfs =
        |part: &Path| run("mkfs.btrfs", &["-q", "--rootdir", text(&content), text(part)]).map(drop);
    let disks = [
        (growable(dir.path(), "xfs", 320, &xfs)?, "xfs", false),
        (growable(dir.path(), "xfs-mounted", 320, &xfs)?, "xfs", true),
        (growable(dir.path(), "btrfs", 128, &btrfs)?, "btrfs", false),
        (growable(dir.path(), "btrfs-mounted", 128, &btrfs)?, "btrfs", true),
    ];
    grow_in_uml(&disks)?;
    for (path, driver, _) in &disks {
        // What was behind the partition cannot be seen by its tools.
        let part = dir.path().join("part");
        let (from, to) = (format!("if={}", text(path)), format!("of={}", text(&part)));
        let mib = (range(&table(path, 512)?, 2)?.1 - 9 * 2048) / 2048;
        let count = format!("count={mib}");
        run("dd", &[&from, &to, "bs=1M", "skip=9", &count, "conv=sparse", "status=none"])?;
        match *driver {
            "xfs" => run("xfs_repair", &["-n", text(&part)])?,
            _ => run("btrfs", &["check", text(&part)])?,
        };
    }
    Ok(())
}
