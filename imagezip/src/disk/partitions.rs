//! Partitions as the kernel has them.
//!
//! What it owns: finding a partition's device by the disk and a number, whatever the driver calls
//! it (`sda3`, `nvme0n1p3`, `loop0p3`), and telling the kernel of a new end. What it never does:
//! read or write a partition table.

use super::file::{FileDisk, Kind};
use super::sys;
use crate::units::{Sector, SectorCount, SectorRange};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A partition of a disk, as the kernel has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KernelPartition {
    /// As Linux counts.
    pub number: u32,
    /// Its device, such as `/dev/sda3`.
    pub path: PathBuf,
    /// Where the kernel thinks it is.
    pub range: SectorRange,
}

impl FileDisk {
    /// The partition with this number; `None` when the kernel shows none, and for a regular file.
    ///
    /// # Errors
    /// When `/sys` cannot be read, or the partition has no device in `/dev`.
    pub fn kernel_partition(&self, number: u32) -> io::Result<Option<KernelPartition>> {
        let Some(disk) = self.directory()? else { return Ok(None) };
        for entry in fs::read_dir(disk)? {
            let directory = entry?.path();
            // Most of what is there is not about a partition.
            let Ok(found) = number_in(&directory.join("partition")) else { continue };
            if found == u64::from(number) {
                return Ok(Some(partition(&directory, number)?));
            }
        }
        Ok(None)
    }

    /// True when this is a partition of another disk.
    ///
    /// # Errors
    /// When `/sys` cannot be read.
    pub fn is_partition(&self) -> io::Result<bool> {
        Ok(self.directory()?.is_some_and(|directory| directory.join("partition").exists()))
    }

    /// Tells the kernel where a partition ends now. It may be in use.
    ///
    /// # Errors
    /// What the system says: no such partition, or one that starts elsewhere.
    pub fn resize_kernel_partition(&self, number: u32, range: SectorRange) -> io::Result<()> {
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let start = i64::try_from(range.byte_offset()).map_err(invalid)?;
        let length = i64::try_from(range.byte_len()).map_err(invalid)?;
        let number = i32::try_from(number).map_err(invalid)?;
        sys::resize_partition(self.cached_file(), number, start, length)
    }

    /// Where `/sys` tells about this device; `None` for a regular file.
    fn directory(&self) -> io::Result<Option<PathBuf>> {
        if self.kind() == Kind::RegularFile {
            return Ok(None);
        }
        let device = self.cached_file().metadata()?.rdev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).map(Some)
    }
}

fn partition(directory: &Path, number: u32) -> io::Result<KernelPartition> {
    let (start, count) =
        (number_in(&directory.join("start"))?, number_in(&directory.join("size"))?);
    let range = Sector::new(start)
        .zip(SectorCount::new(count))
        .and_then(|(start, count)| SectorRange::with_count(start, count));
    let range = range.ok_or_else(|| nonsense(directory))?;
    let event = fs::read_to_string(directory.join("uevent"))?;
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    let path = Path::new("/dev").join(name.ok_or_else(|| nonsense(directory))?);
    let numbers = fs::read_to_string(directory.join("dev"))?;
    let device = fs::metadata(&path).ok().filter(|device| device.file_type().is_block_device());
    let is_it = device.is_some_and(|device| {
        let (major, minor) = (rustix::fs::major(device.rdev()), rustix::fs::minor(device.rdev()));
        numbers.trim_end() == format!("{major}:{minor}")
    });
    if !is_it {
        let text = format!("{} is not the device that /sys tells of", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(KernelPartition { number, path, range })
}

fn number_in(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    text.trim_end().parse().map_err(|_| nonsense(path))
}

fn nonsense(path: &Path) -> io::Error {
    let text = format!("{}: not understood", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}
