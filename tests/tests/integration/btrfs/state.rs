//! Filesystems that are not at rest or not alone are kept whole, and the reason says what to do.

use super::{TOOLS, check, make_worn, poison::prove_image, workspace};
use anyhow::{Context, Result, bail};
use imagezip::fs::Allocation;
use std::path::Path;
use tests::content::churn;
use tests::image_file;
use tests::mount::Mount;
use tests::poison::recognise;
use tests::tools::{ready, run, text};

fn assert_kept(image: &Path, why: &str) -> Result<()> {
    match recognise(image)?.allocation {
        Allocation::Unsupported { reason } if reason.contains(why) => Ok(()),
        Allocation::Known(_) => bail!("{why:?} expected, a map was given"),
        other => bail!("{why:?} expected: {other:?}"),
    }
}

/// A copy made right after a commit is as good as an unmounted one; one with a log is not.
#[test]
fn copied_while_mounted() -> Result<()> {
    if !ready("copied_while_mounted", &[&TOOLS[..], &["mount", "sync"]].concat(), true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "", 200, 11)?;
    let (committed, logged) = (dir.path().join("committed"), dir.path().join("logged"));
    let mount = Mount::new(&image, &dir.path().join("m"), "commit=300")?;
    churn(&mount.point().join("d0"), 12, 1)?;
    run("sync", &["-f", text(mount.point())])?;
    std::fs::copy(&image, &committed)?;
    let file = std::fs::File::create(mount.point().join("synced"))?;
    std::os::unix::fs::FileExt::write_all_at(&file, &[5; 50_000], 0)?;
    file.sync_all()?;
    drop(file);
    std::fs::copy(&image, &logged)?;
    mount.unmount()?;
    assert_kept(&logged, "log of synced files to replay")?;
    prove_image(&committed, &["crc32c"]).context("a copy after a commit")?;
    prove_image(&image, &["crc32c"])?;
    // What the reason advises works.
    Mount::new(&logged, &dir.path().join("m"), "")?.unmount()?;
    prove_image(&logged, &["crc32c"])
}

#[test]
fn one_of_two_devices() -> Result<()> {
    if !ready("one_of_two_devices", &TOOLS, false) {
        return Ok(());
    }
    for profile in ["raid0", "raid1", "single"] {
        let dir = workspace()?;
        let images = [dir.path().join("one"), dir.path().join("two")];
        for image in &images {
            image_file::create(image, 300 << 20)?;
        }
        let [one, two] = images.each_ref().map(|image| text(image));
        run("mkfs.btrfs", &["-q", "-d", profile, "-m", profile, one, two])?;
        for image in &images {
            assert_kept(image, "one of 2 devices")?;
        }
    }
    Ok(())
}

#[test]
fn seed_device() -> Result<()> {
    if !ready("seed_device", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "", 200, 13)?;
    run("btrfstune", &["-f", "-S", "1", text(&image)])?;
    assert_kept(&image, "seed device")?;
    run("btrfstune", &["-f", "-S", "0", text(&image)])?;
    check(&image)?;
    prove_image(&image, &["crc32c"])
}
