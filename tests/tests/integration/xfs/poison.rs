//! Every variant of XFS: what we call free is poisoned, xfs_repair and all files must not notice,
//! and what we keep is exactly what xfs_db does not count as free.

use super::{TOOLS, check, db, files, make_worn, number, workspace};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use tests::image_file;
use tests::mount::Mount;
use tests::poison;
use tests::tools::{ready, run, text};

fn prove(test: &str, options: &str, mib: u64, shows: &[&str]) -> Result<()> {
    if !ready(test, &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), options, mib, mib)?;
    prove_image(&image, shows)
}

/// `shows` are features, a field of the superblock as `blocksize = 4096`, or one it must not have
/// as `!sparse`.
fn prove_image(image: &Path, shows: &[&str]) -> Result<()> {
    let superblock = db(image, &["sb 0", "p"])?;
    let (found, set) = poison::prove(image, &check, &files)?;
    ensure!(found.name == "xfs", "{found:?}");
    for word in shows {
        let is_shown = match word.strip_prefix('!') {
            Some(absent) => !found.features.iter().any(|name| name == absent),
            None if word.contains('=') => superblock.lines().any(|line| line == *word),
            None => found.features.iter().any(|name| name == word),
        };
        ensure!(is_shown, "{word} expected in {:?} or in\n{superblock}", found.features);
    }
    let block_sectors = number(image, &["sb 0"], "blocksize")? / 512;
    let blocks = number(image, &["sb 0"], "dblocks")?;
    ensure!(found.size.get() == blocks * block_sectors, "size {}", found.size);
    // What freesp counts includes the blocks set aside for the trees in each group.
    let mut set_aside = 0;
    for group in 0..number(image, &["sb 0"], "agcount")? {
        set_aside += number(image, &[&format!("agf {group}")], "flcount")?;
    }
    let summary = db(image, &["freesp -s"])?;
    let line = summary.lines().find_map(|line| line.strip_prefix("total free blocks "));
    let free = line.context("freesp prints no total")?.trim().parse::<u64>()? - set_aside;
    let kept = set.count().get();
    let used = (blocks - free) * block_sectors;
    ensure!(kept == used, "{kept} sectors kept, {used} used of {}", found.size);
    let uuid = db(image, &["sb 0", "p uuid"])?;
    ensure!(found.uuid.as_deref() == uuid.trim().strip_prefix("uuid = "), "{:?}", found.uuid);
    Ok(())
}

macro_rules! variants {
    ($($name:ident: $options:literal, $mib:literal, $shows:expr;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            prove(stringify!($name), $options, $mib, &$shows)
        })*
    };
}

variants! {
    v5_default: "", 301, ["v5", "crc", "finobt", "reflink", "sparse", "bigtime", "inobtcount"];
    v5_512: "-m crc=1 -b size=1024 -s size=512", 50, ["blocksize = 1024"];
    v5_1k: "-b size=1024", 65, ["blocksize = 1024"];
    v5_2k: "-b size=2048", 80, ["blocksize = 2048"];
    v5_8k: "-b size=8192", 100, ["blocksize = 8192"];
    v5_16k: "-b size=16384", 300, ["blocksize = 16384"];
    v5_64k: "-b size=65536", 500, ["blocksize = 65536"];
    v5_4k_sectors: "-s size=4096", 64, ["sectsize = 4096"];
    v5_2k_sectors: "-s size=2048", 64, ["sectsize = 2048"];
    v5_rmapbt: "-m rmapbt=1,reflink=1 -d agcount=3", 99, ["rmapbt", "reflink"];
    v5_nrext64: "-i nrext64=1,size=2048", 64, ["nrext64"];
    v5_plain: "-m finobt=0,reflink=0,bigtime=0,inobtcount=0 -i sparse=0", 64, ["!finobt", "!reflink", "!sparse", "!bigtime"];
    v5_many_groups: "-d agcount=16", 401, ["agcount = 16"];
    v5_short_last_group: "-d agsize=24m", 114, ["agcount = 5"];
    v5_log_elsewhere: "-d agcount=4 -l agnum=3", 80, ["agcount = 4"];
    v5_log_stripe: "-l su=64k", 120, ["logsunit = 65536"];
    v5_log_stripe_max: "-l su=256k,size=20m", 200, ["logsunit = 262144"];
    v5_stripes: "-d su=64k,sw=4", 200, ["unit = 16"];
    v5_labelled: "-L a-label -m uuid=c1b9d5a2-f162-11cf-9ece-0020afc76f16", 64, ["fname = \"a-label\\000\\000\\000\\000\\000\""];
    v4: "-m crc=0", 64, ["v4", "!crc"];
    v4_512: "-m crc=0 -b size=512", 64, ["blocksize = 512"];
    v4_1k: "-m crc=0 -b size=1024 -i attr=1 -l lazy-count=0", 64, ["!lazysbcount"];
    v4_64k: "-m crc=0 -b size=65536", 500, ["blocksize = 65536"];
    v4_ascii_ci: "-m crc=0 -n version=ci,ftype=0", 64, ["asciici", "!ftype"];
    v4_log_v1: "-m crc=0 -l version=1", 64, ["!logv2"];
    v4_4k_sectors: "-m crc=0 -s size=4096 -i projid32bit=0 -d agcount=3", 99, ["sectsize = 4096", "!projid32bit"];
}

/// A disk as a real one is: free space in so many pieces that the trees have levels.
#[test]
fn trees_with_levels() -> Result<()> {
    if !ready("trees_with_levels", &[&TOOLS[..], &["mount"]].concat(), true) {
        return Ok(());
    }
    for options in ["-b size=1024 -d agcount=2", "-m rmapbt=1"] {
        let dir = workspace()?;
        let image = dir.path().join("image");
        image_file::create(&image, 100 << 20)?;
        let args = [&["-q", "-f", "--unsupported"][..], &options.split(' ').collect::<Vec<_>>()];
        run("mkfs.xfs", &[&args.concat()[..], &[text(&image)]].concat())?;
        let mount = Mount::new(&image, &dir.path().join("m"), "")?;
        for i in 0..9000 {
            std::fs::write(mount.point().join(format!("f{i}")), vec![7; 900])?;
        }
        run("sync", &["-f", text(mount.point())])?; // until then nothing has its place
        for i in (0..9000).step_by(2) {
            std::fs::remove_file(mount.point().join(format!("f{i}")))?;
        }
        mount.unmount()?;
        let levels = number(&image, &["agf 0"], "bnolevel")?;
        ensure!(levels > 1, "{options}: {levels} levels");
        let found = poison::recognise(&image)?;
        let imagezip::fs::Allocation::Known(set) = &found.allocation else {
            anyhow::bail!("{found:?}");
        };
        ensure!(set.len() > 1000, "{} ranges", set.len());
        prove_image(&image, &["crc"]).context(options)?;
    }
    Ok(())
}

/// Grown by the kernel over several groups, with a short last one.
#[test]
fn grown() -> Result<()> {
    let tools = [&TOOLS[..], &["mount", "xfs_growfs"]].concat();
    if !ready("grown", &tools, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "-d agcount=2", 48, 1)?;
    image_file_grow(&image, 151 << 20)?;
    let mount = Mount::new(&image, &dir.path().join("m"), "")?;
    run("xfs_growfs", &[text(mount.point())])?;
    tests::content::churn(&mount.point().join("d1"), 5, 2)?;
    mount.unmount()?;
    prove_image(&image, &["agcount = 7"])
}

fn image_file_grow(image: &Path, bytes: u64) -> Result<()> {
    Ok(std::fs::OpenOptions::new().write(true).open(image)?.set_len(bytes)?)
}

/// The UUID that people see and the one in the metadata then differ.
#[test]
fn uuid_changed() -> Result<()> {
    if !ready("uuid_changed", &[&TOOLS[..], &["xfs_admin"]].concat(), false) {
        return Ok(());
    }
    for options in ["", "-m crc=0"] {
        let dir = workspace()?;
        let image = make_worn(dir.path(), options, 64, 2)?;
        run("xfs_admin", &["-f", "-U", "11111111-2222-3333-4444-555555555555", text(&image)])?;
        let shows: &[_] = if options.is_empty() { &["meta_uuid"] } else { &["v4"] };
        prove_image(&image, shows)?;
    }
    Ok(())
}

/// The filesystem ends before its partition does.
#[test]
fn partition_longer_than_the_filesystem() -> Result<()> {
    if !ready("partition_longer_than_the_filesystem", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "", 64, 3)?;
    image_file_grow(&image, (64 << 20) + 12_345)?;
    prove_image(&image, &["v5"])
}
