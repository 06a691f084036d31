//! Restoring the image onto a blank disk.

use super::steps::say;
use super::work::Work;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Restores onto a new blank disk file of this size, and lets imageunzip read everything back.
pub(super) fn onto_blank(work: &Work, image: &Path, name: &str, bytes: u64) -> Result<PathBuf> {
    let disk = work.path(name);
    File::create(&disk)?.set_len(bytes)?;
    let output = Command::new(work.program("imageunzip")?)
        .args(["--in-place", "--verify"])
        .args([image, &disk])
        .output()
        .context("cannot start imageunzip")?;
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        say(line);
    }
    ensure!(output.status.success(), "imageunzip failed: {}", output.status);
    Ok(disk)
}
