//! FAT12, FAT16 and FAT32 against dosfstools and mtools.

use anyhow::{Context, Result, bail, ensure};
use imagezip::fs::{Allocation, Filesystem};
use imagezip::sector_set::SectorSet;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::content::{Tree, read_tree};
use tests::image_file;
use tests::poison::{self, flip, recognise};
use tests::rng::Rng;
use tests::tools::{ready, run, text};

/// Debian packages dosfstools and mtools.
pub(super) const TOOLS: [&str; 5] = ["mkfs.fat", "fsck.fat", "mcopy", "mdel", "mdeltree"];

pub(super) fn workspace() -> Result<TempDir> {
    tempfile::Builder::new().prefix("imagezip-fat-").tempdir().context("temporary directory")
}

/// Makes a filesystem by `mkfs.fat OPTIONS` in a file of `kib` KiB, then fills and wears it.
pub(super) fn make_worn(dir: &Path, options: &str, kib: u64, seed: u64) -> Result<PathBuf> {
    let image = dir.join("image");
    image_file::create(&image, kib * 1024)?;
    let mut args = vec!["-n", "WORN"];
    args.extend(options.split_whitespace());
    args.push(text(&image));
    run("mkfs.fat", &args)?;
    wear(dir, &image, (kib << 10).min(24 << 20), seed)?;
    Ok(image)
}

/// Fills about half of `bytes`, deletes every other file, and fills the holes with larger ones.
fn wear(dir: &Path, image: &Path, bytes: u64, seed: u64) -> Result<()> {
    let mut rng = Rng::new(seed);
    let source = dir.join("source");
    fs::create_dir_all(source.join("old/deep/a long name of a directory"))?;
    let len_max = bytes / 100;
    let mut write = |path: PathBuf, len: u64| -> Result<()> {
        Ok(fs::write(path, rng.bytes(usize::try_from(len)?))?)
    };
    for i in 0..50 {
        let folder = if i % 3 == 0 { "old" } else { "old/deep/a long name of a directory" };
        write(source.join(folder).join(format!("file number {i}")), len_max / 50 * i)?;
    }
    run("mcopy", &["-i", text(image), "-s", text(&source.join("old")), "::/"])?;
    let delete = |which: &[u64]| {
        let gone: Vec<_> = which.iter().map(|i| format!("::/old/file number {i}")).collect();
        let args = ["-i", text(image)].into_iter().chain(gone.iter().map(String::as_str));
        run("mdel", &args.collect::<Vec<_>>())
    };
    delete(&[0, 6, 12, 18, 24, 30, 36, 42, 48])?;
    fs::create_dir_all(source.join("new"))?;
    for i in 0..6 {
        write(source.join("new").join(format!("LARGE{i}")), len_max * 3)?;
    }
    run("mcopy", &["-i", text(image), "-s", text(&source.join("new")), "::/"])?;
    run("mdel", &["-i", text(image), "::/new/LARGE1", "::/new/LARGE4"])?;
    delete(&[9, 21, 27, 33, 45])?;
    Ok(())
}

/// fsck.fat must find nothing at all.
pub(super) fn check(image: &Path) -> Result<()> {
    run("fsck.fat", &["-n", text(image)]).map(drop)
}

/// All files, read by mtools.
pub(super) fn files(image: &Path) -> Result<Tree> {
    let out = tempfile::tempdir()?;
    run("mcopy", &["-i", text(image), "-s", "-n", "::/", text(out.path())])?;
    let tree = read_tree(out.path())?;
    if tree.len() < 20 {
        bail!("mtools read only {} files", tree.len());
    }
    Ok(tree)
}

/// The number in front of a word of a tool's output.
fn number_before(output: &str, word: &str) -> Result<u64> {
    let before = output.split(word).next().unwrap_or_default().trim_end();
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().with_context(|| format!("no number before {word:?} in\n{output}"))
}

struct Variant {
    options: &'static str,
    kib: u64,
    name: &'static str,
}

fn prove(test: &str, variant: &Variant) -> Result<()> {
    if !ready(test, &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), variant.options, variant.kib, variant.kib)?;
    prove_image(&image, variant.name)
}

fn prove_image(image: &Path, name: &str) -> Result<()> {
    let (found, set) = poison::prove(image, &check, &files)?;
    ensure!(found.name == name, "{found:?}");
    ensure!(found.label.as_deref() == Some("WORN"), "label {:?}", found.label);
    ensure!(set.len() > 4, "{} ranges: nothing is in pieces", set.len());

    assert_exact(image, &found, &set)
}

/// Kept is exactly what fsck.fat counts, besides the tables and what is behind the last cluster.
fn assert_exact(image: &Path, found: &Filesystem, set: &SectorSet) -> Result<()> {
    let report = run("fsck.fat", &["-n", "-v", text(image)])?;
    let cluster = number_before(&report, "bytes per cluster")?;
    let data =
        number_before(report.split("Data area starts at byte").nth(1).context("data")?, "(")?;
    let used = number_before(report.rsplit("files,").next().context("files")?, "/")?;
    let total = number_before(&report, " clusters\n")?;
    let kept = set.count().get() * 512;
    let rest = found.size.get() * 512 - data - total * cluster;
    ensure!(kept == data + used * cluster + rest, "{kept} kept, {used} clusters used:\n{report}");
    Ok(())
}

macro_rules! variants {
    ($($test:ident: $options:literal, $kib:literal, $name:literal;)*) => {
        $(#[test]
        fn $test() -> Result<()> {
            prove(stringify!($test), &Variant { options: $options, kib: $kib, name: $name })
        })*
    };
}

variants! {
    floppy: "-F 12", 1440, "fat12";
    fat12_s1: "-F 12 -s 1", 1900, "fat12";
    fat12_s2: "-F 12 -s 2", 4_000, "fat12";
    fat12_s8: "-F 12 -s 8", 16_000, "fat12";
    fat12_s16: "-F 12 -s 16", 30_000, "fat12";
    fat12_s32: "-F 12 -s 32", 60_000, "fat12";
    fat12_s64: "-F 12 -s 64", 80_000, "fat12";
    fat12_s128: "-F 12 -s 128", 100_000, "fat12";
    fat12_one_fat: "-F 12 -s 4 -f 1", 6_001, "fat12";
    fat12_4k_sectors: "-F 12 -S 4096", 12_000, "fat12";
    fat16_s1: "-F 16 -s 1", 20_000, "fat16";
    fat16_s2: "-F 16 -s 2", 20_000, "fat16";
    fat16_s4: "-F 16 -s 4", 40_001, "fat16";
    fat16_s8: "-F 16 -s 8", 50_000, "fat16";
    fat16_s16: "-F 16 -s 16", 80_000, "fat16";
    fat16_s32: "-F 16 -s 32", 100_000, "fat16";
    fat16_s64: "-F 16 -s 64 -r 1024 -R 7", 150_000, "fat16";
    fat16_one_fat: "-F 16 -f 1", 30_000, "fat16";
    fat16_1k_sectors: "-F 16 -S 1024", 40_000, "fat16";
    fat16_2k_sectors: "-F 16 -S 2048", 60_000, "fat16";
    fat16_4k_sectors: "-F 16 -S 4096", 90_000, "fat16";
    fat32_s1: "-F 32 -s 1", 40_000, "fat32";
    fat32_s2: "-F 32 -s 2", 80_000, "fat32";
    fat32_s4: "-F 32 -s 4", 140_000, "fat32";
    fat32_one_fat: "-F 32 -f 1 -s 1", 50_000, "fat32";
    fat32_1k_sectors: "-F 32 -S 1024 -s 1", 80_000, "fat32";
    fat32_4k_sectors: "-F 32 -S 4096 -s 1", 300_000, "fat32";
    fat32_odd: "-F 32 -s 1 -R 77 -b 12 -a", 40_003, "fat32";
}

/// Too large to poison, but not to count.
#[test]
fn large_clusters_and_volumes() -> Result<()> {
    if !ready("large_clusters_and_volumes", &TOOLS, false) {
        return Ok(());
    }
    for (options, gib) in [
        ("-F 16 -s 128", 1),
        ("-F 32 -s 8", 40),
        ("-F 32 -s 16", 60),
        ("-F 32 -s 32", 100),
        ("-F 32 -s 64", 300),
        ("-F 32 -s 128", 2000),
    ] {
        let dir = workspace()?;
        let image = make_worn(dir.path(), options, gib << 20, gib)?;
        let found = recognise(&image)?;
        let Allocation::Known(set) = &found.allocation else { bail!("{found:?}") };
        ensure!(set.len() > 4, "{} ranges: nothing is in pieces", set.len());
        assert_exact(&image, &found, set)?;
    }
    Ok(())
}

/// The filesystem ends before its partition does.
#[test]
fn in_a_larger_partition() -> Result<()> {
    if !ready("in_a_larger_partition", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "-F 16", 20_000, 5)?;
    let size = recognise(&image)?.size;
    fs::OpenOptions::new().write(true).open(&image)?.set_len(30 << 20)?;
    prove_image(&image, "fat16")?;
    ensure!(recognise(&image)?.size == size);
    Ok(())
}

/// Clusters marked bad are kept: nothing may be written there after a load.
#[test]
fn bad_clusters() -> Result<()> {
    if !ready("bad_clusters", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let list = dir.path().join("bad");
    fs::write(&list, "9000\n9001\n15000\n")?; // blocks of 1 KiB
    let image = dir.path().join("image");
    image_file::create(&image, 20_000 << 10)?;
    run("mkfs.fat", &["-F", "16", "-n", "WORN", "-l", text(&list), text(&image)])?;
    wear(dir.path(), &image, 8 << 20, 9)?;
    let (_, set) = poison::prove(&image, &check, &files)?;
    for block in [9000u32, 9001, 15_000] {
        let sector = imagezip::units::Sector::from_u32(block * 2);
        ensure!(set.contains(sector), "bad block {block} is called free");
    }
    Ok(())
}

#[test]
fn fats_that_differ_and_a_wrong_free_count() -> Result<()> {
    if !ready("fats_that_differ_and_a_wrong_free_count", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "-F 32 -s 1 -R 32", 40_000, 6)?;
    let Allocation::Known(before) = recognise(&image)?.allocation else { bail!("no map") };
    // FSInfo, which stands in sector 1, counts free clusters at 488; nobody believes it.
    flip(&image, 512 + 488, 0xFF)?;
    ensure!(recognise(&image)?.allocation == Allocation::Known(before), "FSInfo was believed");
    flip(&image, 32 * 512 + 4 * 1000, 0x40)?;
    let found = recognise(&image)?;
    ensure!(
        matches!(&found.allocation, Allocation::Corrupt(c) if c.what == "FAT 2 of 2"),
        "{:?}",
        found.allocation
    );
    Ok(())
}
