//! Saving the disk, as a user does it.

use super::disk::Disk;
use super::steps::{mib, rate, say};
use super::work::Work;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// Saves; imagezip itself tells what is kept and left out, and why.
pub(super) fn save(work: &Work, disk: &Disk) -> Result<PathBuf> {
    let image = work.path("disk.ndz");
    let start = Instant::now();
    let output = Command::new(work.program("imagezip")?)
        .args([&disk.path, &image])
        .output()
        .context("cannot start imagezip")?;
    let time = start.elapsed();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        say(line);
    }
    ensure!(output.status.success(), "imagezip failed: {}", output.status);
    let plan = plan(work, disk)?;
    let kept = plan.get("save_bytes").and_then(Value::as_u64).context("no save_bytes")?;
    say(&format!("rate: {} of kept data in {}", mib(kept), rate(kept, time)));
    Ok(image)
}

/// What `imagezip --info --json` says.
fn plan(work: &Work, disk: &Disk) -> Result<Value> {
    let output = Command::new(work.program("imagezip")?)
        .args(["--info", "--json"])
        .arg(&disk.path)
        .output()?;
    ensure!(output.status.success(), "imagezip --info failed: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
