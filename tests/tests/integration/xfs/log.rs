//! The log: clean ones are believed, all others keep the filesystem whole.

use super::{TOOLS, check, make_worn, workspace};
use anyhow::{Context, Result, bail, ensure};
use imagezip::fs::Allocation;
use std::path::Path;
use tests::content::churn;
use tests::image_file;
use tests::mount::Mount;
use tests::poison::recognise;
use tests::tools::{output, ready, run, text};

fn assert_kept(image: &Path, why: &str) -> Result<()> {
    match recognise(image)?.allocation {
        Allocation::Unsupported { reason } if reason.contains(why) => Ok(()),
        Allocation::Known(_) => bail!("{why:?} expected, a map was given"),
        other => bail!("{why:?} expected: {other:?}"),
    }
}

fn assert_known(image: &Path) -> Result<()> {
    match recognise(image)?.allocation {
        Allocation::Known(_) => Ok(()),
        other => bail!("a map expected: {other:?}"),
    }
}

/// Copies made while it is mounted and written to, as after a crash, and states of the log after
/// each clean unmount, while the end of the log goes round several times.
#[test]
fn around_the_ring() -> Result<()> {
    if !ready("around_the_ring", &[&TOOLS[..], &["mount", "umount", "sync"]].concat(), true) {
        return Ok(());
    }
    for options in ["-b size=1024 -l size=4m", "-l size=8m,su=32k", "-s size=4096 -l size=8m"] {
        let dir = workspace()?;
        let image = make_worn(dir.path(), options, 80, 11).context(options)?;
        let copy = dir.path().join("copy");
        let mut cycles = Vec::new();
        for round in 0..14 {
            assert_known(&image).with_context(|| format!("{options}, round {round}"))?;
            let mount = Mount::new(&image, &dir.path().join("m"), "")?;
            let place = mount.point().join(format!("r{}", round % 2));
            churn(&place, round, 2 + round % 3)?;
            for i in 0..1500 {
                std::fs::write(place.join(format!("a long name to fill the log with {i}")), "")?;
            }
            run("sync", &["-f", text(mount.point())])?;
            std::fs::write(place.join("one more"), "content")?;
            std::fs::copy(&image, &copy)?;
            assert_kept(&copy, "log")?;
            std::fs::remove_dir_all(&place)?;
            mount.unmount()?;
            // The cycle and block of the log at which the superblock was last written.
            let place = super::db(&image, &["sb 0", "p lsn"])?;
            let place = place.trim().trim_start_matches("lsn = 0x");
            cycles.push(u64::from_str_radix(place, 16)? >> 32);
        }
        println!("{options}: {cycles:?}");
        cycles.dedup();
        ensure!(cycles.len() > 1, "{options}: the log never went round");
        // What the reason advises works.
        assert_kept(&copy, "mount and unmount it once")?;
        Mount::new(&copy, &dir.path().join("m"), "")?.unmount()?;
        assert_known(&copy)?;
        check(&copy)?;
    }
    Ok(())
}

#[test]
fn shut_down_or_frozen() -> Result<()> {
    let tools = [&TOOLS[..], &["mount", "xfs_io", "xfs_freeze"]].concat();
    if !ready("shut_down_or_frozen", &tools, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "", 64, 12)?;
    let mount = Mount::new(&image, &dir.path().join("m"), "")?;
    std::fs::write(mount.point().join("one"), vec![1; 100_000])?;
    run("xfs_freeze", &["-f", text(mount.point())])?;
    let copy = dir.path().join("copy");
    std::fs::copy(&image, &copy)?;
    run("xfs_freeze", &["-u", text(mount.point())])?;
    assert_kept(&copy, "log")?;
    run("xfs_io", &["-x", "-c", "shutdown -f", text(mount.point())])?;
    mount.unmount()?;
    assert_kept(&image, "log")?;
    // The other advice.
    let _ = output("xfs_repair", &["-f", "-L", text(&image)])?;
    assert_known(&image)?;
    check(&image)?;
    // The log that xfs_repair wrote goes on being one.
    for round in 0..4 {
        let mount = Mount::new(&image, &dir.path().join("m"), "")?;
        assert_known(&image).context("mounted, nothing written")?;
        churn(&mount.point().join("d2"), round, 1)?;
        run("sync", &["-f", text(mount.point())])?;
        assert_kept(&image, "log")?;
        mount.unmount()?;
        assert_known(&image).context("unmounted again")?;
    }
    check(&image)
}

#[test]
fn external_log() -> Result<()> {
    if !ready("external_log", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let log = dir.path().join("log");
    image_file::create(&log, 16 << 20)?;
    let options = format!("-l logdev={},size=8m", text(&log));
    let image = dir.path().join("image");
    image_file::create(&image, 64 << 20)?;
    let args = [&["-q", "-f", "--unsupported"][..], &options.split(' ').collect::<Vec<_>>()];
    run("mkfs.xfs", &[&args.concat()[..], &[text(&image)]].concat())?;
    assert_kept(&image, "log is on another device")
}

#[test]
fn realtime_device() -> Result<()> {
    if !ready("realtime_device", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let device = dir.path().join("realtime");
    image_file::create(&device, 32 << 20)?;
    let options = format!("-m reflink=0 -r rtdev={}", text(&device));
    let image = dir.path().join("image");
    image_file::create(&image, 64 << 20)?;
    let args = [&["-q", "-f", "--unsupported"][..], &options.split(' ').collect::<Vec<_>>()];
    run("mkfs.xfs", &[&args.concat()[..], &[text(&image)]].concat())?;
    assert_kept(&image, "realtime device")
}

/// Sets fields by xfs_db, which renews the checksum.
#[test]
fn marked_in_the_superblock() -> Result<()> {
    if !ready("marked_in_the_superblock", &TOOLS, false) {
        return Ok(());
    }
    for (field, value, why) in [
        ("inprogress", "1", "did not finish"),
        ("features_incompat", "0x1b", "in need of repair"),
        ("features_incompat", "0x8000000b", "incompat bit 31"),
        ("features_incompat", "0x20b", "zoned"),
        ("features_ro_compat", "0x4d", "ro_compat bit 6"),
        ("features_log_incompat", "0x2", "log_incompat bit 1"),
        ("versionnum", "0xb4a3", "version 3"),
    ] {
        let dir = workspace()?;
        let image = make_worn(dir.path(), "", 64, 13)?;
        let write = format!("write -d {field} {value}");
        let args = ["-x", "-f", "-c", "sb 0", "-c", &write, "-c", "crc -r", text(&image)];
        output("xfs_db", &args)?;
        assert_kept(&image, why).with_context(|| write.clone())?;
    }
    Ok(())
}

#[test]
fn a_log_of_zeros_is_not_believed() -> Result<()> {
    if !ready("a_log_of_zeros_is_not_believed", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "-d agcount=1", 64, 14)?;
    let start = super::number(&image, &["sb 0"], "logstart")? * 4096;
    let file = std::fs::OpenOptions::new().write(true).open(&image)?;
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 8192], start)?;
    assert_kept(&image, "nothing tells whether its log is clean")
}
