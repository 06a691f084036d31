//! Disks: something with sectors that can be read, and perhaps written.
//!
//! What it owns: the two traits the rest of the crate sees, [`ReadDisk`] and [`WriteDisk`], and the
//! one error they report. Implementations stand beside it: [`FileDisk`] for what the system has,
//! [`memory`] for tests and small tables, [`Window`] for a part. What it never does: know what the
//! bytes mean.

mod aligned;
pub mod faulty;
mod file;
pub mod in_use;
pub mod memory;
mod open;
mod partitions;
mod patched;
mod positional;
mod rescue;
pub(crate) mod sys;
mod window;

pub use aligned::{ALIGNMENT, AlignedBuf};
pub use file::{FileDisk, Kind, RereadWarning, Uncached};
pub use open::{OpenError, RegularFile, SourceOptions, TargetOptions, open_source, open_target};
pub use partitions::KernelPartition;
pub use patched::Patched;
pub use rescue::rescue_read;
pub use window::Window;

use crate::units::{Sector, SectorCount, SectorRange};
use std::fmt;
use std::io;
use thiserror::Error;

/// What was being done to a disk when it failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Bytes were read.
    Read,
    /// Bytes were written.
    Write,
    /// A range was being made zero.
    Zero,
    /// A range was being discarded (TRIM, hole punching).
    Discard,
    /// Written data was being flushed to stable storage.
    Sync,
    /// The layout of holes in a sparse file was asked for.
    SeekData,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Zero => "zeroing",
            Self::Discard => "discard",
            Self::Sync => "flush to the device",
            Self::SeekData => "query for holes",
        })
    }
}

/// A disk operation that failed, with the place.
#[derive(Debug, Error)]
#[error("{operation} failed at sector {} (byte offset {offset}): {source}", offset / 512)]
pub struct DiskError {
    /// What was being done.
    pub operation: Operation,
    /// Byte offset from the start of the disk; as exact as the failing call allows.
    pub offset: u64,
    /// What the system said.
    pub source: io::Error,
}

impl DiskError {
    /// An error of `operation` at a byte offset.
    pub fn new(operation: Operation, offset: u64, source: io::Error) -> Self {
        Self { operation, offset, source }
    }

    /// A read that runs past the end of the disk.
    pub fn past_end(offset: u64, len: usize, size: u64) -> Self {
        let text = format!("{len} bytes wanted here, but the disk ends at byte {size}");
        Self::new(Operation::Read, offset, io::Error::new(io::ErrorKind::UnexpectedEof, text))
    }

    /// The sector it happened in.
    pub fn sector(&self) -> Sector {
        Sector::containing_byte(self.offset).unwrap_or_default()
    }
}

/// A disk that can be read: a block device, a regular file, or a part of one.
pub trait ReadDisk: Send + Sync {
    /// Size in bytes. A regular file need not end on a sector.
    fn size_bytes(&self) -> u64;

    /// Bytes of the disk's own logical sector: 512, or 4096 on a "4Kn" disk.
    fn logical_sector_bytes(&self) -> u32 {
        512
    }

    /// Fills `buf` from a byte offset.
    ///
    /// # Errors
    /// When the disk reports one, or when the read would run past the end of the disk.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError>;

    /// The first run of sectors inside `range` that may hold something else than zeros; `None` when
    /// all of `range` is known to be zero without reading (holes of a sparse file).
    ///
    /// # Errors
    /// When the system cannot tell for another reason than not knowing holes.
    fn next_data(&self, range: SectorRange) -> Result<Option<SectorRange>, DiskError> {
        Ok((!range.is_empty()).then_some(range))
    }

    /// Whole sectors on the disk; a rest of less than a sector does not count.
    fn sectors(&self) -> SectorCount {
        SectorCount::whole_in_bytes(self.size_bytes()).unwrap_or_default()
    }
}

/// A disk that can also be written.
pub trait WriteDisk: ReadDisk {
    /// Writes `data` at a byte offset.
    ///
    /// # Errors
    /// When the disk reports one, or the write would run past its end.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), DiskError>;

    /// Makes a range read as zeros, by the quickest way the disk has.
    ///
    /// # Errors
    /// When the disk reports one.
    fn zero(&self, range: SectorRange) -> Result<(), DiskError>;

    /// Tells the disk that a range is not needed; what it reads as afterwards is not defined.
    ///
    /// # Errors
    /// When the disk reports one; not being able to discard is not an error.
    fn discard(&self, range: SectorRange) -> Result<(), DiskError>;

    /// Returns when everything written has reached stable storage.
    ///
    /// # Errors
    /// When it has not.
    fn sync(&self) -> Result<(), DiskError>;
}
