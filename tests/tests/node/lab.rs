//! Disks in loop devices, with the partitions their table has. For root.

use super::disks::{MIB, sfdisk};
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use tests::tools::{output, run, text};

/// Tools to attach a disk.
pub(crate) const TOOLS: [&str; 4] = ["losetup", "partx", "mount", "umount"];

/// A loop device and its partitions, gone when dropped.
#[derive(Debug)]
pub(crate) struct Attached {
    device: PathBuf,
}

impl Attached {
    /// Attaches a file. Its partitions are told to the kernel one by one: not every kernel reads
    /// partition tables of loop devices, or at all.
    pub(crate) fn new(file: &Path, sector_bytes: u32) -> Result<Self> {
        let size = sector_bytes.to_string();
        let args = ["--find", "--show", "--sector-size", &size, text(file)];
        let device = PathBuf::from(run("losetup", &args)?.trim());
        let attached = Self { device };
        // A disk without a table has no partitions to be told.
        let _ = output("partx", &["--add", "--sector-size", &size, text(&attached.device)])?;
        Ok(attached)
    }

    /// The whole disk.
    pub(crate) fn disk(&self) -> &Path {
        &self.device
    }

    /// A partition.
    pub(crate) fn partition(&self, number: u32) -> PathBuf {
        format!("{}p{number}", text(&self.device)).into()
    }

    /// How long the kernel thinks a partition is.
    pub(crate) fn kernel_mib(&self, number: u32) -> Result<u64> {
        let name = text(&self.device).trim_start_matches("/dev/");
        let path = format!("/sys/class/block/{name}p{number}/size");
        let sectors: u64 = std::fs::read_to_string(path)?.trim().parse()?;
        Ok(sectors * 512 / MIB)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = output("partx", &["--delete", text(&self.device)]);
        let _ = run("losetup", &["--detach", text(&self.device)]);
    }
}

/// Makes a disk of so many MiB with logical sectors of this size; the layout is given as to sfdisk.
pub(crate) fn disk_of_sectors(
    file: &Path,
    sector_bytes: u32,
    mib: u64,
    layout: &str,
) -> Result<()> {
    std::fs::File::create(file)?.set_len(mib * MIB)?;
    let attached = Attached::new(file, sector_bytes)?;
    sfdisk(attached.disk(), layout)
}

/// A mount, undone when dropped or by [`Mounted::end`].
#[derive(Debug)]
pub(crate) struct Mounted(Option<PathBuf>);

impl Mounted {
    pub(crate) fn new(device: &Path, point: &Path, options: &str) -> Result<Self> {
        std::fs::create_dir_all(point)?;
        run("mount", &["-o", options, text(device), text(point)])?;
        Ok(Self(Some(point.into())))
    }

    /// Unmounts.
    pub(crate) fn end(mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |point| unmount(&point))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(point) = &self.0 {
            let _ = unmount(point);
        }
    }
}

fn unmount(point: &Path) -> Result<()> {
    // Programs that other tests are just starting share our open files until they have started.
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match run("umount", &[text(point)]) {
            Err(error) if error.to_string().contains("busy") => {
                ensure!(std::time::Instant::now() < give_up, "{error}");
            }
            done => return done.map(drop),
        }
    }
}

/// True when nothing of a device is mounted anywhere.
pub(crate) fn is_unmounted(device: &Path) -> Result<bool> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    Ok(!mounts.lines().any(|line| line.starts_with(text(device))))
}
