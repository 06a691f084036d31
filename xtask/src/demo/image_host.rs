//! An image host: the disk is saved straight to it, and loaded from it by name.

use super::disk::Disk;
use super::process::Stopped;
use super::steps::say;
use super::work::Work;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The name of the image on the host.
const NAME: &str = "saves/demo.ndz";

/// Saves `disk` to a host and loads it from there; the new disk.
pub(super) fn round_trip(work: &Work, disk: &Disk) -> Result<PathBuf> {
    let images = work.path("images");
    std::fs::create_dir(&images)?;
    let mut host = Command::new(work.program("frisbee-server")?)
        .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "-i", "lo"])
        .args(["--allow-put", "127.0.0.0/8", "--json", "--quiet", "--dir"])
        .arg(&images)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start frisbee-server")?;
    let lines = host.stdout.take().context("no output")?;
    let _host = Stopped(host);
    let mut start = String::new();
    BufReader::new(lines).read_line(&mut start)?;
    let start: Value = serde_json::from_str(&start).context("the image host did not start")?;
    let address = start.get("rendezvous").and_then(Value::as_str).context("no address")?;

    let to = format!("frisbee://{address}/{NAME}");
    say(&format!("imagezip DISK {to}"));
    let saved = Command::new(work.program("imagezip")?)
        .args(["--quiet".as_ref(), disk.path.as_os_str(), to.as_ref()])
        .status()?;
    ensure!(saved.success(), "the image host did not take the image: {saved}");
    say(&format!("frisbee-client --server {address} --image {NAME} DISK"));
    let loaded = work.path("by-name.raw");
    let load = Command::new(work.program("frisbee-client")?)
        .args(["--server", address, "--image", NAME, "-i", "127.0.0.21", "--quiet", "-T", "60"])
        .arg(&loaded)
        .status()?;
    ensure!(load.success(), "frisbee-client failed: {load}");
    Ok(loaded)
}
