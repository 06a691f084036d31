//! A part of a disk seen as a disk of its own: a partition.

use super::{DiskError, ReadDisk};
use crate::units::{SectorCount, SectorRange};

/// The sectors of `range` of another disk, counted from 0. What lies outside cannot be reached.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    disk: &'a dyn ReadDisk,
    range: SectorRange,
    size_bytes: u64,
}

impl<'a> Window<'a> {
    /// The window of `disk` over `range`, cut at the disk's end.
    pub fn new(disk: &'a dyn ReadDisk, range: SectorRange) -> Self {
        let end = range.byte_end().min(disk.size_bytes());
        Self { disk, range, size_bytes: end.saturating_sub(range.byte_offset()) }
    }
}

impl ReadDisk for Window<'_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.disk.logical_sector_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        let len = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        if offset.checked_add(len).is_none_or(|end| end > self.size_bytes) {
            return Err(DiskError::past_end(offset, buf.len(), self.size_bytes));
        }
        self.disk.read_at(buf, self.range.byte_offset() + offset)
    }

    fn next_data(&self, range: SectorRange) -> Result<Option<SectorRange>, DiskError> {
        let origin = self.range.start();
        let by = SectorCount::new(origin.get()).unwrap_or_default();
        let Some(absolute) = range.checked_shift(by).and_then(|r| r.intersection(self.range))
        else {
            return Ok(None);
        };
        Ok(self.disk.next_data(absolute)?.and_then(|data| data.relative_to(origin)))
    }
}
