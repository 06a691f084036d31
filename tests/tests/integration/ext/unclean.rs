//! Filesystems that are not at rest are kept whole, and the reason says what to do.

use super::{TOOLS, make_worn, workspace};
use anyhow::{Result, bail, ensure};
use imagezip::fs::Allocation;
use std::path::Path;
use tests::content::churn;
use tests::mount::Mount;
use tests::poison::{flip, recognise};
use tests::tools::{ready, run, text};

fn assert_kept(image: &Path, why: &str) -> Result<()> {
    let found = recognise(image)?;
    match found.allocation {
        Allocation::Unsupported { reason } if reason.contains(why) => Ok(()),
        Allocation::Known(_) => bail!("{why:?} expected, a map was given"),
        other => bail!("{why:?} expected: {other:?}"),
    }
}

/// A copy made while the filesystem is mounted and written to, as after a crash.
fn assert_crash_copy_kept(test: &str, options: &str, why: &str) -> Result<()> {
    if !ready(test, &[&TOOLS[..], &["mount", "umount", "sync"]].concat(), true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), options, 60_000, 11)?;
    ensure!(matches!(recognise(&image)?.allocation, Allocation::Known(_)));
    let mount = Mount::new(&image, &dir.path().join("m"), "")?;
    churn(&mount.point().join("d0"), 12, 1)?;
    run("sync", &["-f", text(mount.point())])?;
    let copy = dir.path().join("copy");
    std::fs::copy(&image, &copy)?;
    assert_kept(&copy, why)?;
    mount.unmount()?;
    ensure!(matches!(recognise(&image)?.allocation, Allocation::Known(_)));
    // What the reason advises works.
    let _ = tests::tools::output("e2fsck", &["-fy", text(&copy)])?;
    ensure!(matches!(recognise(&copy)?.allocation, Allocation::Known(_)));
    Ok(())
}

#[test]
fn ext4_with_a_live_journal() -> Result<()> {
    assert_crash_copy_kept(
        "ext4_with_a_live_journal",
        "-t ext4 -b 1024",
        "journal must be replayed",
    )
}

#[test]
fn ext3_with_a_live_journal() -> Result<()> {
    assert_crash_copy_kept(
        "ext3_with_a_live_journal",
        "-t ext3 -b 1024",
        "journal must be replayed",
    )
}

#[test]
fn ext4_fast_commit_with_a_live_journal() -> Result<()> {
    let options = "-t ext4 -b 1024 -O fast_commit";
    assert_crash_copy_kept("ext4_fast_commit", options, "journal must be replayed")
}

#[test]
fn ext2_mounted() -> Result<()> {
    assert_crash_copy_kept("ext2_mounted", "-t ext2 -b 1024", "not unmounted cleanly")
}

#[test]
fn ext4_without_journal_mounted() -> Result<()> {
    let options = "-t ext4 -b 1024 -O ^has_journal";
    assert_crash_copy_kept("ext4_without_journal_mounted", options, "not unmounted cleanly")
}

/// Sets superblock fields by debugfs, which renews the checksum.
fn assert_marked_kept(test: &str, options: &str, requests: &[&str], why: &str) -> Result<()> {
    if !ready(test, &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), options, 20_000, 13)?;
    for request in requests {
        run("debugfs", &["-w", "-R", request, text(&image)])?;
    }
    assert_kept(&image, why)
}

#[test]
fn errors_recorded() -> Result<()> {
    let requests = ["ssv state 3"];
    assert_marked_kept("errors_recorded", "-t ext4 -b 1024", &requests, "recorded errors")
}

#[test]
fn recovery_cut_short() -> Result<()> {
    let requests = ["ssv state 5"];
    assert_marked_kept("recovery_cut_short", "-t ext4 -b 1024", &requests, "cut short")
}

#[test]
fn features_unknown() -> Result<()> {
    let options = "-t ext4 -b 1024";
    let requests = ["feature FEATURE_I24"];
    assert_marked_kept("features_unknown", options, &requests, "FEATURE_I24")?;
    let requests = ["feature FEATURE_R20"];
    assert_marked_kept("features_unknown", options, &requests, "FEATURE_R20")
}

#[test]
fn journal_filled_behind_the_superblock() -> Result<()> {
    let test = "journal_filled_behind_the_superblock";
    // Writes a transaction to the journal; needs_recovery is then taken away again.
    let requests = ["jo", "jw -b 5000 /dev/zero"];
    if !ready(test, &TOOLS, false) {
        return Ok(());
    }
    for options in ["-t ext4 -b 1024", "-t ext3 -b 1024", "-t ext4 -b 4096 -J size=8 -g 2048"] {
        let dir = workspace()?;
        let image = make_worn(dir.path(), options, 40_000, 14)?;
        let script = dir.path().join("script");
        std::fs::write(&script, format!("{}\njc\n", requests.join("\n")))?;
        run("debugfs", &["-w", "-f", text(&script), text(&image)])?;
        run("debugfs", &["-w", "-R", "feature -needs_recovery", text(&image)])?;
        assert_kept(&image, "it is not empty")?;
    }
    Ok(())
}

#[test]
fn multi_mount_protection_in_use() -> Result<()> {
    if !ready("multi_mount_protection_in_use", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "-t ext4 -b 4096 -O mmp", 20_000, 15)?;
    let dump = run("dumpe2fs", &["-h", text(&image)])?;
    // A sequence number instead of the mark for "clean".
    let offset = super::number(&dump, "MMP block number")? * 4096 + 4;
    flip(&image, offset + 3, 0xFF)?;
    assert_kept(&image, "multi-mount protection")?;
    flip(&image, offset - 4, 0x01)?;
    let found = recognise(&image)?;
    ensure!(
        matches!(&found.allocation, Allocation::Corrupt(c) if c.what.contains("multi-mount")),
        "its magic number is gone"
    );
    Ok(())
}
