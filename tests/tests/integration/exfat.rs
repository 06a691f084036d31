//! exFAT against exfatprogs and the FUSE driver.

use anyhow::{Context, Result, bail, ensure};
use imagezip::fs::Allocation;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::content::{Tree, churn, read_tree};
use tests::image_file;
use tests::mount::FuseMount;
use tests::poison::{self, recognise};
use tests::rng::Rng;
use tests::tools::{ready, run, text};

/// Debian packages exfatprogs and exfat-fuse.
pub(super) const TOOLS: [&str; 5] = ["mkfs.exfat", "fsck.exfat", "dump.exfat", DRIVER, "losetup"];
const DRIVER: &str = "mount.exfat-fuse";

pub(super) fn workspace() -> Result<TempDir> {
    tempfile::Builder::new().prefix("imagezip-exfat-").tempdir().context("temporary directory")
}

/// Makes a filesystem by `mkfs.exfat OPTIONS` in a file of `kib` KiB, then fills and wears it.
pub(super) fn make_worn(dir: &Path, options: &str, kib: u64, seed: u64) -> Result<PathBuf> {
    let image = dir.join("image");
    image_file::create(&image, kib * 1024)?;
    let mut args: Vec<_> = options.split_whitespace().collect();
    args.extend(["-L", "Worn", text(&image)]);
    run("mkfs.exfat", &args)?;
    let mount = FuseMount::new(DRIVER, &image, &dir.join("m"), "noatime")?;
    let point = mount.point();
    // Enough names that the root directory itself grows between files.
    for i in 0..200 {
        fs::write(point.join(format!("a file with a long name in the root {i}")), vec![7; i * 9])?;
    }
    churn(point, seed, 3)?;
    fs::write(point.join("large"), Rng::new(seed).bytes(2_000_000))?;
    for i in (0..200).step_by(3) {
        fs::remove_file(point.join(format!("a file with a long name in the root {i}")))?;
    }
    for i in (1..60).step_by(4) {
        fs::remove_file(point.join(format!("churn1/f{i}")))?;
    }
    mount.unmount()?;
    Ok(image)
}

/// fsck.exfat must find nothing at all.
pub(super) fn check(image: &Path) -> Result<()> {
    let said = run("fsck.exfat", &["-n", text(image)])?;
    ensure!(said.contains("clean"), "{said}");
    Ok(())
}

/// All files, read by the FUSE driver.
pub(super) fn files(image: &Path) -> Result<Tree> {
    let dir = workspace()?;
    let mount = FuseMount::new(DRIVER, image, &dir.path().join("m"), "ro")?;
    let tree = read_tree(mount.point())?;
    mount.unmount()?;
    if tree.len() < 150 {
        bail!("read only {} files", tree.len());
    }
    Ok(tree)
}

/// A field of `dump.exfat`.
fn number(dump: &str, name: &str) -> Result<u64> {
    let line = dump.lines().find_map(|line| line.strip_prefix(name));
    let value =
        line.and_then(|rest| rest.trim_start_matches([':', '\t', ' ']).split_whitespace().next());
    Ok(value.with_context(|| format!("no {name} in\n{dump}"))?.parse()?)
}

fn prove(test: &str, options: &str, kib: u64) -> Result<()> {
    if !ready(test, &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), options, kib, kib)?;
    let (found, set) = poison::prove(&image, &check, &files)?;
    ensure!((found.name, found.label.as_deref()) == ("exfat", Some("Worn")), "{found:?}");
    ensure!(set.len() > 10, "{} ranges: nothing is in pieces", set.len());

    // Exactly the clusters that dump.exfat counts, besides what is before and behind them.
    let dump = run("dump.exfat", &[text(&image)])?;
    let cluster = number(&dump, "Cluster size")?;
    let free = number(&dump, "Free Clusters")?;
    let size = found.size.get() * 512;
    let kept = set.count().get() * 512;
    ensure!(kept == size - free * cluster, "{kept} of {size} kept:\n{dump}");
    Ok(())
}

macro_rules! variants {
    ($($test:ident: $options:literal, $kib:literal;)*) => {
        $(#[test]
        fn $test() -> Result<()> {
            prove(stringify!($test), $options, $kib)
        })*
    };
}

variants! {
    clusters_512: "-c 512", 30_000;
    clusters_4k: "-c 4k", 40_000;
    clusters_32k: "-c 32k", 100_000;
    clusters_128k: "-c 128k", 200_000;
    bitmap_packed: "-c 4k --pack-bitmap", 40_004;
    boundary: "-c 8k -b 64k", 50_011;
}

/// Files whose clusters no FAT links, because they stand behind each other.
#[test]
fn files_without_a_chain() -> Result<()> {
    if !ready("files_without_a_chain", &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "-c 4k", 40_000, 8)?;
    let Allocation::Known(set) = recognise(&image)?.allocation else { bail!("no map") };
    let bytes = fs::read(&image)?;
    let word = |at: usize| -> Result<usize> {
        let word = bytes.get(at..).and_then(<[u8]>::first_chunk).context("a word")?;
        Ok(usize::try_from(u32::from_le_bytes(*word))?)
    };
    let (fat, heap) = (word(80)? * 512, word(88)? * 512);
    let mut found = 0;
    // A file's entry, then its stream: allocation possible, no FAT chain.
    for (at, entries) in bytes[heap..].windows(64).enumerate().step_by(32) {
        if entries[0] != 0x85 || entries[32] != 0xC0 || entries[33] != 3 {
            continue;
        }
        let (first, len) = (word(heap + at + 52)?, word(heap + at + 56)?);
        let count = len.div_ceil(4096);
        if count < 2 || len >> 22 != 0 {
            continue;
        }
        for cluster in first..first + count {
            ensure!(word(fat + cluster * 4)? == 0, "cluster {cluster} is in a chain");
            let start = u64::try_from(heap + (cluster - 2) * 4096)? / 512;
            let wanted = tests::samples::range(start, start + 8);
            ensure!(set.within(wanted).eq([wanted]), "cluster {cluster} is called free");
        }
        found += 1;
    }
    ensure!(found > 10, "only {found} files of more than a cluster");
    Ok(())
}

#[test]
fn dirty_while_mounted() -> Result<()> {
    if !ready("dirty_while_mounted", &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "-c 4k", 30_000, 3)?;
    let mount = FuseMount::new(DRIVER, &image, &dir.path().join("m"), "noatime")?;
    fs::write(mount.point().join("another"), "x")?;
    run("sync", &["-f", text(mount.point())])?;
    let found = recognise(&image)?;
    ensure!(
        matches!(&found.allocation, Allocation::Unsupported { reason } if reason.contains("VolumeDirty")),
        "{:?}",
        found.allocation
    );
    mount.unmount()?;
    ensure!(matches!(recognise(&image)?.allocation, Allocation::Known(_)));
    Ok(())
}
