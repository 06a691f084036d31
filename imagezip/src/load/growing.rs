//! A file that grows while it is loaded, for images that tell their length last.

use crate::disk::{DiskError, FileDisk, ReadDisk, WriteDisk};
use crate::units::{SECTOR_SIZE, SECTORS_MAX, SectorRange};
use std::sync::{Mutex, PoisonError};

/// A new regular file without a fixed length: writes beyond its end make it longer.
pub(super) struct GrowingFile<'a> {
    file: &'a FileDisk,
    len: Mutex<u64>,
}

impl<'a> GrowingFile<'a> {
    /// A file opened as a fresh target, with whatever length it has now.
    pub(super) fn new(file: &'a FileDisk) -> Self {
        Self { file, len: Mutex::new(file.size_bytes()) }
    }

    fn reach(&self, end: u64) -> Result<(), DiskError> {
        let mut len = self.len.lock().unwrap_or_else(PoisonError::into_inner);
        if end > *len {
            self.file.set_len(end)?;
            *len = end;
        }
        Ok(())
    }
}

impl ReadDisk for GrowingFile<'_> {
    fn size_bytes(&self) -> u64 {
        SECTORS_MAX * SECTOR_SIZE
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.file.logical_sector_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.file.read_at(buf, offset)
    }
}

impl WriteDisk for GrowingFile<'_> {
    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), DiskError> {
        self.reach(offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX)))?;
        self.file.write_at(data, offset)
    }

    fn zero(&self, range: SectorRange) -> Result<(), DiskError> {
        self.reach(range.byte_end()) // what is new reads as zeros
    }

    fn discard(&self, _: SectorRange) -> Result<(), DiskError> {
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync()
    }
}
