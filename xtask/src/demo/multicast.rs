//! Serving the image to several clients at once, by multicast on this machine's loopback.

use super::process::Stopped;
use super::steps::say;
use super::work::Work;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Clients that load at the same time.
const CLIENTS: usize = 3;

/// Serves `image` and loads it on [`CLIENTS`] clients; the disks they made.
///
/// Server and clients have addresses of their own in 127.0.0.0/8, as if they were machines.
pub(super) fn load(work: &Work, image: &Path) -> Result<Vec<PathBuf>> {
    let server = work.program("frisbee-server")?;
    let server = Command::new(server)
        .args(["-i", "127.0.0.1", "-T", "-1", "--quiet"])
        .arg(image)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start frisbee-server")?;
    let mut server = Stopped(server);
    let start = Instant::now();
    let disks: Vec<_> = (1..=CLIENTS).map(|i| work.path(&format!("client{i}.raw"))).collect();
    let mut clients = Vec::new();
    for (i, disk) in disks.iter().enumerate() {
        let client = Command::new(work.program("frisbee-client")?)
            .args(["-i", &format!("127.0.0.{}", i + 11), "-T", "60", "--json"])
            .arg(disk)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start frisbee-client")?;
        clients.push(Stopped(client));
    }
    let bytes = std::fs::metadata(image)?.len();
    say(&format!("{:<10} {:>8} {:>14}", "client", "seconds", "image MiB/s"));
    for (i, client) in clients.iter_mut().enumerate() {
        // Read the lines to the end, or the client would wait for us.
        if let Some(mut lines) = client.0.stdout.take() {
            std::io::copy(&mut lines, &mut std::io::sink())?;
        }
        let status = client.0.wait()?;
        ensure!(status.success(), "client {} failed: {status}", i + 1);
        let seconds = start.elapsed().as_secs_f64();
        let rate = f64::from(u32::try_from(bytes >> 20)?) / seconds;
        say(&format!("{:<10} {seconds:>8.1} {rate:>14.0}", i + 1));
    }
    // It ends by itself when the last client has left.
    let status = server.0.wait()?;
    ensure!(status.success(), "frisbee-server failed: {status}");
    Ok(disks)
}
