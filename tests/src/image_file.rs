//! Image files as the disks of the library.

use anyhow::{Context, Result};
use imagezip::disk::{DiskError, Operation, ReadDisk};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A regular file or block device, to read from. The simplest possible one: tests must not depend
/// on the disks they test.
#[derive(Debug)]
pub struct ImageFile {
    file: File,
    size_bytes: u64,
}

impl ImageFile {
    /// Opens a file.
    ///
    /// # Errors
    /// When that fails.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { file, size_bytes })
    }
}

impl ReadDisk for ImageFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.file
            .read_exact_at(buf, offset)
            .map_err(|source| DiskError::new(Operation::Read, offset, source))
    }
}

/// Makes a sparse file of this size.
///
/// # Errors
/// When that fails.
pub fn create(path: &Path, bytes: u64) -> Result<()> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    file.set_len(bytes).context("cannot set the size of an image file")
}
