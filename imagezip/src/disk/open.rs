//! Opening a disk: what may be one, how large it is, and what to say when it cannot be used.

use super::file::{FileDisk, Kind};
use super::in_use::{Use, holders_of, uses_of};
use crate::units::{SECTOR_SIZE, SECTORS_MAX};
use rustix::fs::{Advice, Mode, OFlags};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// No disk is longer: every address on it has to be a sector.
const SIZE_BYTES_MAX: u64 = SECTORS_MAX * SECTOR_SIZE;

/// How to open a disk for reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceOptions {
    /// Bytes of a logical sector, when the caller knows better than the kernel: an image file of a
    /// disk with 4096-byte sectors. `None` asks the device; a regular file has 512.
    pub logical_sector_bytes: Option<u32>,
    /// Read past the page cache (`O_DIRECT`) where the filesystem can.
    pub direct: bool,
}

/// How to open a disk for writing.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetOptions {
    /// What to do about a regular file; a block device does not care.
    pub regular_file: RegularFile,
    /// As in [`SourceOptions::logical_sector_bytes`].
    pub logical_sector_bytes: Option<u32>,
    /// Write past the page cache (`O_DIRECT`) where the filesystem can.
    pub direct: bool,
    /// Open a target that is mounted or otherwise held. For a caller that writes one partition of
    /// a disk and has checked with [`in_use`](super::in_use) that this partition is free.
    pub allow_busy: bool,
}

/// How a regular file becomes a target.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RegularFile {
    /// It must exist and is a disk of its own size.
    #[default]
    Existing,
    /// It is created, or made this long; bytes it has and that fit are kept.
    Resize {
        /// The length in bytes.
        size_bytes: u64,
    },
    /// It is created, or emptied, and then made this long: a hole that reads as zeros.
    Fresh {
        /// The length in bytes.
        size_bytes: u64,
    },
}

/// Why a disk could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A system call failed.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was opened.
        path: PathBuf,
        /// What was tried, as in "cannot ...".
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is something that has no sectors.
    #[error(
        "{}: is a {found}; a disk is a block device (such as /dev/sda) or a regular file",
        path.display()
    )]
    NotADisk {
        /// What was opened.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The target is mounted or otherwise held.
    #[error("{}: in use, not written: {used_by}", path.display())]
    Busy {
        /// What was opened.
        path: PathBuf,
        /// Who uses it, and what to do.
        used_by: String,
    },
    /// A logical sector size that no disk has.
    #[error(
        "{}: logical sectors of {bytes} bytes; expected a power of two from 512 to 65536",
        path.display()
    )]
    SectorSize {
        /// What was opened.
        path: PathBuf,
        /// The size that was found or asked for.
        bytes: u32,
    },
    /// A length that no disk has.
    #[error("{}: {bytes} bytes is longer than a disk can be", path.display())]
    TooLong {
        /// What was opened.
        path: PathBuf,
        /// The length that was found or asked for.
        bytes: u64,
    },
}

/// Opens a disk for reading.
///
/// # Errors
/// When it does not exist, may not be read, or is no block device and no regular file.
pub fn open_source(path: &Path, options: SourceOptions) -> Result<FileDisk, OpenError> {
    let opening = Opening { path };
    // O_NONBLOCK: a fifo with no writer is refused, not waited for.
    let file = opening.open(OFlags::RDONLY | OFlags::NONBLOCK, "open it for reading")?;
    let disk = opening.disk(file, false, options.logical_sector_bytes, options.direct)?;
    // Advice is only advice: a filesystem that has none is as good.
    let _ = rustix::fs::fadvise(disk.cached_file(), 0, None, Advice::Sequential);
    Ok(disk)
}

/// Opens a disk for writing (and reading back).
///
/// A block device is claimed: the kernel refuses it while it or a part of it is mounted, and
/// refuses to mount it while it is open.
///
/// # Errors
/// When it may not be written, is held by somebody, or is no block device and no regular file.
pub fn open_target(path: &Path, options: TargetOptions) -> Result<FileDisk, OpenError> {
    let opening = Opening { path };
    let new = match options.regular_file {
        RegularFile::Existing => None,
        RegularFile::Resize { size_bytes } | RegularFile::Fresh { size_bytes } => Some(size_bytes),
    };
    let found = match std::fs::metadata(path) {
        Ok(metadata) => Some(kind(path, &metadata)?),
        Err(e) if e.kind() == io::ErrorKind::NotFound && new.is_some() => None,
        Err(e) => return Err(opening.failed("open it for writing", e)),
    };
    if found == Some(Kind::RegularFile) && !options.allow_busy {
        // Nobody but us can tell that a loop device shows this file to a mounted filesystem.
        opening.refuse_used()?;
    }
    let mut flags = OFlags::RDWR | OFlags::NONBLOCK;
    match found {
        Some(Kind::BlockDevice) if !options.allow_busy => flags |= OFlags::EXCL,
        None => flags |= OFlags::CREATE,
        Some(_) => {}
    }
    let file = match opening.open(flags, "open it for writing") {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::ResourceBusy => {
            return Err(OpenError::Busy { path: path.into(), used_by: holders_of(path) });
        }
        other => other?,
    };
    if let (Some(bytes), Some(Kind::RegularFile) | None) = (new, found) {
        if bytes > SIZE_BYTES_MAX {
            return Err(OpenError::TooLong { path: path.into(), bytes });
        }
        if matches!(options.regular_file, RegularFile::Fresh { .. }) {
            file.set_len(0).map_err(|e| opening.failed("empty it", e))?;
        }
        file.set_len(bytes).map_err(|e| opening.failed("set its length", e))?;
    }
    opening.disk(file, true, options.logical_sector_bytes, options.direct)
}

/// What can be a disk; everything else is refused by name.
fn kind(path: &Path, metadata: &Metadata) -> Result<Kind, OpenError> {
    let file_type = metadata.file_type();
    let found = if file_type.is_file() {
        return Ok(Kind::RegularFile);
    } else if file_type.is_block_device() {
        return Ok(Kind::BlockDevice);
    } else if file_type.is_dir() {
        "directory"
    } else if file_type.is_char_device() {
        "character device"
    } else if file_type.is_fifo() {
        "pipe"
    } else if file_type.is_socket() {
        "socket"
    } else {
        "file of another kind"
    };
    Err(OpenError::NotADisk { path: path.into(), found })
}

/// An opening under way.
struct Opening<'a> {
    path: &'a Path,
}

impl Opening<'_> {
    fn failed(&self, action: &'static str, source: impl Into<io::Error>) -> OpenError {
        OpenError::Io { path: self.path.into(), action, source: source.into() }
    }

    fn open(&self, flags: OFlags, action: &'static str) -> Result<File, OpenError> {
        rustix::fs::open(self.path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o666))
            .map(File::from)
            .map_err(|e| self.refused(action, e.into()))
    }

    /// A directory refuses to be written before we see what it is.
    fn refused(&self, action: &'static str, source: io::Error) -> OpenError {
        match std::fs::metadata(self.path).map(|metadata| kind(self.path, &metadata)) {
            Ok(Err(not_a_disk)) => not_a_disk,
            _ => self.failed(action, source),
        }
    }

    fn refuse_used(&self) -> Result<(), OpenError> {
        let uses = uses_of(self.path)
            .map_err(|e| self.failed("find out what uses it", io::Error::other(e)))?;
        let texts: Vec<_> =
            uses.iter().filter(|found| found.forbids_writing()).map(Use::to_string).collect();
        if texts.is_empty() {
            return Ok(());
        }
        Err(OpenError::Busy { path: self.path.into(), used_by: texts.join("; ") })
    }

    fn disk(
        &self,
        file: File,
        writable: bool,
        logical_sector_bytes: Option<u32>,
        direct: bool,
    ) -> Result<FileDisk, OpenError> {
        let metadata = file.metadata().map_err(|e| self.failed("look at it", e))?;
        let kind = kind(self.path, &metadata)?;
        let size = match kind {
            Kind::RegularFile => metadata.len(),
            // A block device ends where the kernel says it ends; the position is not used again.
            Kind::BlockDevice => (&file)
                .seek(SeekFrom::End(0))
                .map_err(|e| self.failed("find out how large it is", e))?,
        };
        if size > SIZE_BYTES_MAX {
            return Err(OpenError::TooLong { path: self.path.into(), bytes: size });
        }
        let sector = match (logical_sector_bytes, kind) {
            (Some(bytes), _) => bytes,
            (None, Kind::RegularFile) => 512,
            (None, Kind::BlockDevice) => rustix::fs::ioctl_blksszget(&file)
                .map_err(|e| self.failed("find out its sector size", e))?,
        };
        if !sector.is_power_of_two() || !(512..=65536).contains(&sector) {
            return Err(OpenError::SectorSize { path: self.path.into(), bytes: sector });
        }
        let mut disk = FileDisk::new(self.path.into(), kind, file, size, sector, writable);
        if direct {
            disk.enable_direct();
        }
        Ok(disk)
    }
}

/// Shows as the words a person uses.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BlockDevice => "block device",
            Self::RegularFile => "regular file",
        })
    }
}
