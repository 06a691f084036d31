//! ReiserFS against reiserfsck and the kernel.

use super::{Damage, files, formatted, prove, reason, workspace, worn};
use anyhow::{Context, Result, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::reiserfs;
use std::path::Path;
use tests::tools::{output, ready, run, text};
use tests::uml::{self, Kind, Session};
use tests::{image_file, poison};

const KIND: Kind = Kind { name: "reiserfs", modules: &[], options: "noatime" };

fn tools() -> Vec<&'static str> {
    [&["mkreiserfs", "reiserfsck", "debugreiserfs", "reiserfstune"][..], &uml::TOOLS].concat()
}

fn make(options: &str) -> impl Fn(&Path) -> Result<()> + '_ {
    move |image| {
        let mut args = vec!["-q", "-ff"];
        args.extend(options.split_whitespace());
        args.push(text(image));
        run("mkreiserfs", &args).map(drop)
    }
}

/// reiserfsck must find nothing at all.
fn check(image: &Path) -> Result<()> {
    let output = output("reiserfsck", &["--check", "-y", "-f", text(image)])?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success() && said.contains("No corruptions found"), "{said}");
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

/// Poison, and compares with what debugreiserfs says of the superblock.
fn prove_exact(image: &Path, mib: u64) -> Result<()> {
    let used = used_sectors(image)?;
    let (found, set) = prove(KIND, image, &check)?;
    ensure!(found.name == "reiserfs" && found.size.get() == mib << 11, "{found:?}");
    let kept = set.count().get();
    ensure!(kept == used, "{kept} sectors kept, {used} in use");
    Ok(())
}

fn used_sectors(image: &Path) -> Result<u64> {
    let said = run("debugreiserfs", &[text(image)])?;
    let field = |name: &str| -> Result<u64> {
        let line = said.lines().find(|line| line.starts_with(name)).context(said.clone())?;
        Ok(line.rsplit(' ').next().context("number")?.parse()?)
    };
    let (free, blocks) = (field("Free blocks")?, field("Count of blocks")?);
    let block_sectors = field("Blocksize")? / 512;
    Ok((blocks - free) * block_sectors)
}

/// The kernel does not mount an empty one of this format, so reiserfsck is the only witness.
#[test]
fn reiserfs_35() -> Result<()> {
    if !ready("reiserfs_35", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 150 << 20, &make("--format 3.5"))?;
    let files = |_: &Path| Ok(tests::content::Tree::new());
    let (found, set) = poison::prove(&image, &check, &files)?;
    ensure!(found.features == ["format 3.5"], "{found:?}");
    ensure!(set.count().get() == used_sectors(&image)?);
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
    reiserfs_default: "-l name", 64;
    // Two bitmaps, the second with a rest.
    reiserfs_two_bitmaps: "", 171;
    reiserfs_1k: "-b 1024", 64;
    reiserfs_small_journal: "-s 1024", 40;
}

#[test]
fn reiserfs_not_unmounted_is_kept() -> Result<()> {
    if !ready("reiserfs_not_unmounted_is_kept", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 64 << 20, &make(""))?;
    let copy = dir.path().join("copy");
    image_file::create(&copy, 64 << 20)?;
    let session = Session::new(KIND)?.mount("rw").fill(3, 20)?;
    session.then("sync; cat /dev/ubda > /dev/ubdb; sync").unmount().run(&[&image, &copy])?;
    let why = reason(&poison::recognise(&copy)?)?;
    ensure!(why.contains("not unmounted cleanly"), "{why}");
    // Even when its state says otherwise, the journal betrays it.
    poison::flip(&copy, 65536 + 50, 2 ^ 1)?;
    let why = reason(&poison::recognise(&copy)?)?;
    ensure!(why.contains("journal has transaction"), "{why}");
    Ok(())
}

#[test]
fn reiserfs_with_its_journal_elsewhere_is_kept() -> Result<()> {
    if !ready("reiserfs_with_its_journal_elsewhere_is_kept", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 64 << 20, &make(""))?;
    poison::flip(&image, 65536 + 16, 7)?;
    let why = reason(&poison::recognise(&image)?)?;
    ensure!(why.contains("another device"), "{why}");
    Ok(())
}

#[test]
fn reiserfs_damage_loses_nothing() -> Result<()> {
    if !ready("reiserfs_damage_loses_nothing", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 40 << 20, &make(""))?;
    worn(KIND, &image, 5, 1, "")?;
    ensure!(files(KIND, &image)?.len() > 20);
    let mut bytes = std::fs::read(&image)?;
    let bitmap = 17 * 4096;
    let checked = [(65536, 65536 + 20), (65536 + 44, 65536 + 74), (bitmap, bitmap + 40 * 256 / 8)];
    let header = (18 + 8192) * 4096;
    let unchecked = [(65536, 65536 + 204), (bitmap, bitmap + 4096), (header, header + 44)];
    let damage =
        Damage { reader: reiserfs::probe, bytes: &bytes, checked: &checked, unchecked: &unchecked };
    damage.prove()?;
    bytes.truncate(bytes.len() - 512);
    reason(&reiserfs::probe(&MemoryDisk::new(bytes))?.context("reiserfs")?)?;
    Ok(())
}

/// Saved from one place and loaded to another.
pub(crate) fn replanted(test: &str) -> Result<()> {
    if !ready(test, &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 64 << 20, &make(""))?;
    worn(KIND, &image, 6, 1, "")?;
    tests::replant::prove(&image, &check, &|image| files(KIND, image))
}
