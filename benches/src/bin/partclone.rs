//! Saving against partclone, for the filesystems that both understand, as the table of
//! docs/performance.md. `make bench` runs it; it needs root, for mounting.
//!
//! Each filesystem holds the same files of this machine. Programs take turns, read from the page
//! cache, write to memory; every figure is the median of several runs.

use anyhow::{Context, Result, ensure};
use benches::{copy_system_files, file_len, median, memory_dir, program, ratio};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::mount::{FuseMount, Mount};
use tests::tools::{ready, run, text};

/// Runs of each kind; the median is shown.
const ROUNDS: usize = 3;
/// Size of each volume.
const VOLUME_BYTES: u64 = 2 << 30;
/// Bytes of files in it.
const FILES_BYTES: u64 = 600 << 20;

/// How files get into a volume.
#[derive(Clone, Copy)]
enum Fill {
    Kernel,
    Fuse(&'static str),
    Mtools,
}

/// One filesystem to save.
struct Volume {
    /// partclone's name for it too.
    name: &'static str,
    maker: &'static [&'static str],
    fill: Fill,
}

const VOLUMES: [Volume; 5] = [
    Volume { name: "extfs", maker: &["mke2fs", "-q", "-F", "-t", "ext4"], fill: Fill::Kernel },
    Volume { name: "fat32", maker: &["mkfs.fat", "-F", "32"], fill: Fill::Mtools },
    Volume { name: "ntfs", maker: &["mkntfs", "-F", "-Q", "-q"], fill: Fill::Fuse("ntfs-3g") },
    Volume { name: "xfs", maker: &["mkfs.xfs", "-q", "-f"], fill: Fill::Kernel },
    Volume { name: "btrfs", maker: &["mkfs.btrfs", "-q", "-f"], fill: Fill::Kernel },
];

/// What makes an image: a name, and a shell command with the volume as `$0` and the image as `$1`.
const PEERS: [(&str, &str); 2] = [
    ("partclone, gzip", "partclone.NAME -q -c -s \"$0\" -o - -L /dev/null | gzip > \"$1\""),
    (
        "partclone, zstd -T0 -3",
        "partclone.NAME -q -c -s \"$0\" -o - -L /dev/null | zstd -q -T0 -3 > \"$1\"",
    ),
];

fn main() -> Result<()> {
    let work = std::env::current_exe()?.with_file_name("bench-partclone");
    let files = work.join("files");
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    println!("| filesystem | program | s | MiB | time, x imagezip | size, x imagezip |");
    println!("|---|---|---|---|---|---|");
    for volume in &VOLUMES {
        let (tool, _) = volume.maker.split_first().context("maker")?;
        let peer = format!("partclone.{}", volume.name);
        let is_wanted = wanted.is_empty() || wanted.iter().any(|name| name == volume.name);
        if is_wanted && ready(volume.name, &[*tool, &peer, "gzip", "zstd", "mcopy"], true) {
            if !files.exists() {
                std::fs::create_dir_all(&files)?;
                copy_system_files(&files, FILES_BYTES)?;
            }
            compare(volume, &files, &work).with_context(|| volume.name)?;
        }
    }
    if work.exists() {
        std::fs::remove_dir_all(&work)?;
    }
    Ok(())
}

fn compare(volume: &Volume, files: &Path, work: &Path) -> Result<()> {
    let image = work.join("volume");
    File::create(&image)?.set_len(VOLUME_BYTES)?;
    let (tool, options) = volume.maker.split_first().context("maker")?;
    run(tool, &[options, &[text(&image)]].concat())?;
    fill(volume.fill, &image, files, work)?;
    File::open(&image)?.sync_all()?;
    std::io::copy(&mut File::open(&image)?, &mut std::io::sink())?; // into the page cache

    let out = memory_dir(work).join("partclone-bench.image");
    let mut rows = [(); 3].map(|()| (Vec::new(), 0));
    for _ in 0..ROUNDS {
        let [ours, peers @ ..] = &mut rows;
        time(ours, &out, program("imagezip")?.arg("-q").arg(&image).arg(&out))?;
        for (row, (_, command)) in peers.iter_mut().zip(PEERS) {
            let command = format!("set -o pipefail; {}", command.replace("NAME", volume.name));
            time(row, &out, Command::new("bash").args(["-c", &command]).arg(&image).arg(&out))?;
        }
    }
    let names = std::iter::once("imagezip").chain(PEERS.map(|(name, _)| name));
    let [(base_times, base_size), ..] = &rows;
    for (name, (times, size)) in names.zip(&rows) {
        println!(
            "| {} | {name} | {:.2} | {} | {:.2} | {:.3} |",
            volume.name,
            median(times),
            size >> 20,
            median(times) / median(base_times),
            ratio(*size, *base_size),
        );
    }
    Ok(())
}

/// Runs one program, which writes `out`; its time and the size of the image.
fn time(row: &mut (Vec<Duration>, usize), out: &Path, command: &mut Command) -> Result<()> {
    let start = Instant::now();
    let status = command.stderr(Stdio::null()).status()?;
    row.0.push(start.elapsed());
    ensure!(status.success(), "{command:?}: {status}");
    row.1 = file_len(out)?;
    std::fs::remove_file(out)?;
    Ok(())
}

fn fill(how: Fill, image: &Path, files: &Path, work: &Path) -> Result<()> {
    let point = work.join("mount");
    let everything = format!("{}/.", text(files));
    match how {
        Fill::Kernel => {
            let mount = Mount::new(image, &point, "")?;
            run("cp", &["-r", &everything, text(mount.point())])?;
            mount.unmount()
        }
        Fill::Fuse(driver) => {
            let mount = FuseMount::new(driver, image, &point, "big_writes")?;
            run("cp", &["-r", &everything, text(mount.point())])?;
            mount.unmount()
        }
        Fill::Mtools => {
            for entry in std::fs::read_dir(files)? {
                let entry = entry?.path();
                run("mcopy", &["-s", "-Q", "-i", text(image), text(&entry), "::"])?;
            }
            Ok(())
        }
    }
}
