//! Whole loads over multicast on the loopback interface, as processes: how near they come to the
//! ideal, and what more clients cost. `make bench` runs it; `network_load DISK` takes a disk image of
//! your own.
//!
//! The ideal is the slower of two: the paced network, and imageunzip with the image in the page
//! cache. Server, clients and the kernel's copies share this machine's processors, which a real
//! network does not.

use anyhow::{Context, Result, ensure};
use benches::{copy_system_files, file_len, median, memory_dir, program};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs of each kind, in turns; the median is shown.
const ROUNDS: usize = 3;

/// Bytes on the wire for a block of 1024: headers of the protocol, UDP, IP and Ethernet with
/// preamble, checksum and gap.
const WIRE_BYTES_A_BLOCK: usize = 1024 + 24 + 8 + 20 + 38;

/// What is measured: clients, and megabits a second the server may send.
const LOADS: [(usize, u32); 5] = [(1, 1000), (1, 2000), (1, 200), (3, 200), (8, 200)];

fn main() -> Result<()> {
    let work = std::env::current_exe()?.with_file_name("bench-network-load");
    std::fs::create_dir_all(&work)?;
    let disk = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => make_disk(&work)?,
    };
    let image = work.join("image.ndz");
    run(program("imagezip")?.arg("-q").arg(&disk).arg(&image))?;
    let targets = memory_dir(&work);
    let mut unzip = Vec::new();
    let mut loads = [const { Vec::new() }; LOADS.len()];
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        unzip.push(time_unzip(&image, &targets)?);
        for ((clients, megabits), times) in LOADS.iter().zip(&mut loads) {
            times.push(time_load(&image, &targets, *clients, *megabits)?);
        }
    }
    print(file_len(&image)?, median(&unzip), &loads);
    std::fs::remove_dir_all(&work)?;
    Ok(())
}

/// An ext4 disk with some of this machine's own files: eight of them fit in memory.
fn make_disk(work: &Path) -> Result<PathBuf> {
    let (files, disk) = (work.join("files"), work.join("disk.raw"));
    std::fs::create_dir_all(&files)?;
    copy_system_files(&files, 300 << 20)?;
    std::fs::File::create(&disk)?.set_len(1 << 30)?;
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(&files).arg(&disk))?;
    std::fs::remove_dir_all(&files)?;
    Ok(disk)
}

fn time_unzip(image: &Path, targets: &Path) -> Result<Duration> {
    let target = targets.join("network-load-0.raw");
    let start = Instant::now();
    run(program("imageunzip")?.arg("-q").arg(image).arg(&target))?;
    let time = start.elapsed();
    std::fs::remove_file(&target)?;
    Ok(time)
}

/// Serves the image and loads it; the time from the clients' start to the end of the last.
fn time_load(image: &Path, targets: &Path, clients: usize, megabits: u32) -> Result<Duration> {
    let rate = format!("{megabits}M");
    let server = program("frisbee-server")?
        .args(["-i", "127.0.0.1", "-T", "-1", "--quiet", "-W", &rate])
        .arg(image)
        .spawn()
        .context("frisbee-server")?;
    let mut server = Stopped(server);
    let start = Instant::now();
    let mut running = Vec::new();
    let disks: Vec<_> =
        (0..clients).map(|i| targets.join(format!("network-load-{i}.raw"))).collect();
    for (i, disk) in disks.iter().enumerate() {
        let client = program("frisbee-client")?
            .args(["-i", &format!("127.0.0.{}", i + 11), "-T", "60", "-q"])
            .arg(disk)
            .stdout(Stdio::null())
            .spawn()
            .context("frisbee-client")?;
        running.push(Stopped(client));
    }
    for client in &mut running {
        let status = client.0.wait()?;
        ensure!(status.success(), "a client failed: {status}");
    }
    let time = start.elapsed();
    // It ends by itself when the last client has left.
    let status = server.0.wait()?;
    ensure!(status.success(), "frisbee-server failed: {status}");
    for disk in &disks {
        std::fs::remove_file(disk)?;
    }
    Ok(time)
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn print(image_bytes: usize, unzip: f64, loads: &[Vec<Duration>]) {
    println!("image: {} MiB; imageunzip alone: {unzip:.2} s\n", image_bytes >> 20);
    println!("| clients | rate | s | ideal s | share of the ideal | x one client |");
    println!("|---|---|---|---|---|---|");
    for ((clients, megabits), times) in LOADS.iter().zip(loads) {
        let wire_bits = (image_bytes.div_ceil(1024) * WIRE_BYTES_A_BLOCK * 8) as f64;
        let ideal = unzip.max(wire_bits / (f64::from(*megabits) * 1e6));
        let seconds = median(times);
        let alone = LOADS.iter().zip(loads).find(|(load, _)| **load == (1, *megabits));
        let alone = alone.map_or(seconds, |(_, times)| median(times));
        println!(
            "| {clients} | {megabits} Mb/s | {seconds:.2} | {ideal:.2} | {:.2} | {:.2} |",
            ideal / seconds,
            seconds / alone
        );
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// A process that does not outlive this value.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        // Both fail when it has ended already, as it should have.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
