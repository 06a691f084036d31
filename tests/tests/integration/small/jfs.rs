//! JFS against jfs_fsck and the kernel.

use super::{Damage, files, formatted, prove, reason, workspace, worn};
use anyhow::{Context, Result, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::jfs;
use std::path::Path;
use tests::tools::{output, ready, run, text};
use tests::uml::{self, Kind, Session};
use tests::{image_file, poison};

const KIND: Kind = Kind { name: "jfs", modules: &[], options: "noatime" };

fn tools() -> Vec<&'static str> {
    [&["jfs_mkfs", "jfs_fsck"][..], &uml::TOOLS].concat()
}

fn make(options: &str) -> impl Fn(&Path) -> Result<()> + '_ {
    move |image| {
        let mut args = vec!["-q"];
        args.extend(options.split_whitespace());
        args.push(text(image));
        run("jfs_mkfs", &args).map(drop)
    }
}

/// jfs_fsck must find nothing at all.
fn check(image: &Path) -> Result<()> {
    let output = output("jfs_fsck", &["-n", "-f", "-v", text(image)])?;
    let said = String::from_utf8_lossy(&output.stdout);
    let is_clean = said.contains("Filesystem is clean");
    ensure!(output.status.success() && is_clean, "{said}{:?}", output.status);
    ensure!(!said.contains("incorrect") && !said.contains("rror"), "{said}");
    Ok(())
}

fn prove_variant(test: &str, options: &str, mib: u64) -> Result<()> {
    if !ready(test, &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), mib << 20, &make(options))?;
    worn(KIND, &image, mib, 3, "")?;
    prove_exact(&image, mib)
}

/// Poison, and compares with what the kernel counts as free.
fn prove_exact(image: &Path, mib: u64) -> Result<()> {
    let session = Session::new(KIND)?.mount("ro").then("stat -f -c free=%f $M");
    let free = session.unmount().run(&[image])?.number("free")?;
    let (found, set) = prove(KIND, image, &check)?;
    ensure!(found.name == "jfs" && found.size.get() == mib << 11, "{found:?}");
    let kept = set.count().get();
    ensure!(kept == (mib << 11) - free * 8, "{kept} sectors kept, {free} blocks free");
    Ok(())
}

macro_rules! variants {
    ($($name:ident: $options:literal, $mib:literal;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            prove_variant(stringify!($name), $options, $mib)
        })*
    };
}

variants! {
    jfs_default: "-L name", 64;
    jfs_os2: "-O", 50;
    jfs_large_log: "-s 8", 201;
    // More than the blocks of one page of the map, and not a multiple of them.
    jfs_many_pages: "", 333;
}

/// Grown: the block map is in several pieces.
#[test]
fn jfs_grown() -> Result<()> {
    if !ready("jfs_grown", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 40 << 20, &make(""))?;
    worn(KIND, &image, 9, 1, "")?;
    std::fs::OpenOptions::new().write(true).open(&image)?.set_len(150 << 20)?;
    let session = Session::new(KIND)?.mount("rw").then("mount -i -n -o remount,resize $M");
    session.unmount().run(&[&image])?;
    prove_exact(&image, 150)
}

#[test]
fn jfs_not_unmounted_is_kept() -> Result<()> {
    if !ready("jfs_not_unmounted_is_kept", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 32 << 20, &make(""))?;
    let copy = dir.path().join("copy");
    image_file::create(&copy, 32 << 20)?;
    let session = Session::new(KIND)?.mount("rw").fill(3, 20)?;
    session.then("sync; cat /dev/ubda > /dev/ubdb; sync").unmount().run(&[&image, &copy])?;
    let why = reason(&poison::recognise(&copy)?)?;
    ensure!(why.contains("not unmounted cleanly"), "{why}");
    Ok(())
}

#[test]
fn jfs_with_its_log_elsewhere_is_kept() -> Result<()> {
    if !ready("jfs_with_its_log_elsewhere_is_kept", &tools(), true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 32 << 20, &make(""))?;
    // INLINE_LOG in both superblocks.
    for superblock in [32 << 10, 60 << 10] {
        poison::flip(&image, superblock + 37, 8)?;
    }
    let why = reason(&poison::recognise(&image)?)?;
    ensure!(why.contains("another device"), "{why}");
    Ok(())
}

#[test]
fn jfs_damage_loses_nothing() -> Result<()> {
    if !ready("jfs_damage_loses_nothing", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 64 << 20, &make(""))?;
    worn(KIND, &image, 5, 1, "")?;
    ensure!(files(KIND, &image)?.len() > 20);
    let mut bytes = std::fs::read(&image)?;
    let inode = 0xB000 + 2 * 512;
    // The address of the first extent of the block map.
    let at = inode + 224 + 32 + 12;
    let place = bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).context("extent")?;
    let map = u64::from(u32::from_le_bytes(place)) * 4096;
    let (superblock, inode) = (32 << 10, u64::try_from(inode)?);
    let page = map + 4 * 4096;
    let checked = [
        (superblock, superblock + 40),
        (inode + 24, inode + 32),
        (inode + 224 + 16, inode + 224 + 64),
        (map, map + 20),
        (page, page + 16),
        (page + 2048, page + 4096),
        (page + 4096, page + 4112),
    ];
    let unchecked = [(superblock, superblock + 184), (inode, inode + 512), (map, map + (64 << 10))];
    let damage =
        Damage { reader: jfs::probe, bytes: &bytes, checked: &checked, unchecked: &unchecked };
    damage.prove()?;
    bytes.truncate(bytes.len() - 512);
    reason(&jfs::probe(&MemoryDisk::new(bytes))?.context("jfs")?)?;
    Ok(())
}

/// Saved from one place and loaded to another.
pub(crate) fn replanted(test: &str) -> Result<()> {
    if !ready(test, &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 48 << 20, &make(""))?;
    worn(KIND, &image, 6, 1, "")?;
    tests::replant::prove(&image, &check, &|image| files(KIND, image))
}
