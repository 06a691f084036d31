//! A disk in memory, for tests and for tables that are patched before they are written.

use super::{DiskError, Operation, ReadDisk, WriteDisk};
use crate::units::SectorRange;
use std::io;
use std::sync::{RwLock, RwLockReadGuard};

/// A disk held in memory.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    bytes: RwLock<Vec<u8>>,
    logical_sector_bytes: u32,
}

impl MemoryDisk {
    /// A disk with this content and 512-byte logical sectors.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: RwLock::new(bytes), logical_sector_bytes: 512 }
    }

    /// The same disk with another logical sector size, in bytes.
    pub fn with_logical_sector_bytes(mut self, bytes: u32) -> Self {
        self.logical_sector_bytes = bytes;
        self
    }

    /// The content.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<u8>> {
        self.bytes.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn edit(
        &self,
        operation: Operation,
        offset: u64,
        len: usize,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<(), DiskError> {
        let mut bytes = self.bytes.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        match span(offset, len).and_then(|(from, to)| bytes.get_mut(from..to)) {
            Some(part) => change(part),
            None => {
                let source = io::Error::new(io::ErrorKind::StorageFull, "past the end of the disk");
                return Err(DiskError::new(operation, offset, source));
            }
        }
        Ok(())
    }
}

fn span(offset: u64, len: usize) -> Option<(usize, usize)> {
    let from = usize::try_from(offset).ok()?;
    Some((from, from.checked_add(len)?))
}

fn range_len(range: SectorRange) -> usize {
    usize::try_from(range.byte_len()).unwrap_or(usize::MAX)
}

impl ReadDisk for MemoryDisk {
    fn size_bytes(&self) -> u64 {
        u64::try_from(self.read().len()).unwrap_or(u64::MAX)
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.logical_sector_bytes
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        let bytes = self.read();
        match span(offset, buf.len()).and_then(|(from, to)| bytes.get(from..to)) {
            Some(part) => buf.copy_from_slice(part),
            None => return Err(DiskError::past_end(offset, buf.len(), self.size_bytes())),
        }
        Ok(())
    }
}

impl WriteDisk for MemoryDisk {
    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), DiskError> {
        self.edit(Operation::Write, offset, data.len(), |part| part.copy_from_slice(data))
    }

    fn zero(&self, range: SectorRange) -> Result<(), DiskError> {
        self.edit(Operation::Zero, range.byte_offset(), range_len(range), |part| part.fill(0))
    }

    fn discard(&self, range: SectorRange) -> Result<(), DiskError> {
        // What a discarded range reads as is undefined: show a pattern nobody mistakes for data.
        self.edit(Operation::Discard, range.byte_offset(), range_len(range), |part| part.fill(0xD5))
    }

    fn sync(&self) -> Result<(), DiskError> {
        Ok(())
    }
}
