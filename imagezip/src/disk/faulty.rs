//! A disk that fails as told, for tests of what must survive failing disks.
//!
//! What it owns: deterministic faults around another disk. What it never does: fail by chance.

use super::{DiskError, Operation, ReadDisk, WriteDisk};
use crate::sector_set::SectorSet;
use crate::units::{SECTOR_SIZE, SECTORS_MAX, Sector, SectorCount, SectorRange};
use rustix::io::Errno;
use std::sync::atomic::{AtomicU64, Ordering};

/// Another disk with faults; without any until told.
#[derive(Debug)]
pub struct FaultyDisk<D> {
    disk: D,
    unreadable: SectorSet,
    unwritable: SectorSet,
    /// Writes end with this error once so many bytes were written.
    writes_end: Option<(u64, Errno)>,
    sync_fails: bool,
    reads: AtomicU64,
    written_bytes: AtomicU64,
}

impl<D> FaultyDisk<D> {
    /// The disk without a fault.
    pub fn new(disk: D) -> Self {
        Self {
            disk,
            unreadable: SectorSet::default(),
            unwritable: SectorSet::default(),
            writes_end: None,
            sync_fails: false,
            reads: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
        }
    }

    /// Reads that touch these sectors fail with EIO at the first of them; with 4096-byte logical
    /// sectors, at the first of those that touches one.
    pub fn with_unreadable(mut self, sectors: SectorSet) -> Self {
        self.unreadable = sectors;
        self
    }

    /// Writes that touch these sectors write what is before and then fail with EIO.
    pub fn with_unwritable(mut self, sectors: SectorSet) -> Self {
        self.unwritable = sectors;
        self
    }

    /// Writes fail with EIO once `bytes` were written; the write that passes it is cut there.
    pub fn with_write_error_after(mut self, bytes: u64) -> Self {
        self.writes_end = Some((bytes, Errno::IO));
        self
    }

    /// Writes fail with ENOSPC once `bytes` were written; the write that passes it is cut there.
    pub fn with_full_after(mut self, bytes: u64) -> Self {
        self.writes_end = Some((bytes, Errno::NOSPC));
        self
    }

    /// Flushing fails with EIO.
    pub fn with_sync_error(mut self) -> Self {
        self.sync_fails = true;
        self
    }

    /// How often it was read.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Bytes written, zeroing included.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// The disk behind.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk behind, for itself.
    pub fn into_disk(self) -> D {
        self.disk
    }
}

impl<D: ReadDisk> FaultyDisk<D> {
    /// Byte offset of the first fault of `bad` that `len` bytes from `offset` meet.
    fn first_fault(&self, bad: &SectorSet, offset: u64, len: u64) -> Option<u64> {
        let from = Sector::new(offset / SECTOR_SIZE)?;
        let to = Sector::new(offset.checked_add(len)?.div_ceil(SECTOR_SIZE))?;
        let cell = SectorCount::whole_in_bytes(self.disk.logical_sector_bytes().into())?;
        let touched = SectorRange::new(from, to)?.widen_to_grid(cell, Sector::new(SECTORS_MAX)?);
        if len == 0 {
            return None;
        }
        let hit = bad.ranges().iter().find_map(|range| range.intersection(touched))?;
        Some(hit.widen_to_grid(cell, hit.end()).byte_offset())
    }

    /// How many of `len` bytes can be written, and what stops the rest.
    fn writable(&self, offset: u64, len: u64) -> (u64, Option<Errno>) {
        let mut allowed = (len, None);
        if let Some(at) = self.first_fault(&self.unwritable, offset, len) {
            allowed = (at.saturating_sub(offset), Some(Errno::IO));
        }
        if let Some((limit, error)) = self.writes_end {
            let left = limit.saturating_sub(self.written_bytes());
            if left < allowed.0 {
                allowed = (left, Some(error));
            }
        }
        self.written_bytes.fetch_add(allowed.0, Ordering::Relaxed);
        allowed
    }
}

impl<D: ReadDisk> ReadDisk for FaultyDisk<D> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.disk.logical_sector_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let len = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        match self.first_fault(&self.unreadable, offset, len) {
            Some(at) => Err(DiskError::new(Operation::Read, at, Errno::IO.into())),
            None => self.disk.read_at(buf, offset),
        }
    }

    fn next_data(&self, range: SectorRange) -> Result<Option<SectorRange>, DiskError> {
        self.disk.next_data(range)
    }
}

impl<D: WriteDisk> WriteDisk for FaultyDisk<D> {
    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), DiskError> {
        let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let (allowed, error) = self.writable(offset, len);
        let part = usize::try_from(allowed).ok().and_then(|n| data.get(..n)).unwrap_or(data);
        self.disk.write_at(part, offset)?;
        match error {
            Some(error) => Err(DiskError::new(Operation::Write, offset + allowed, error.into())),
            None => Ok(()),
        }
    }

    fn zero(&self, range: SectorRange) -> Result<(), DiskError> {
        let (allowed, error) = self.writable(range.byte_offset(), range.byte_len());
        let count = SectorCount::whole_in_bytes(allowed).unwrap_or_default();
        self.disk.zero(range.split_at(count).0)?;
        let at = range.byte_offset() + allowed;
        match error {
            Some(error) => Err(DiskError::new(Operation::Zero, at, error.into())),
            None => Ok(()),
        }
    }

    fn discard(&self, range: SectorRange) -> Result<(), DiskError> {
        self.disk.discard(range)
    }

    fn sync(&self) -> Result<(), DiskError> {
        if self.sync_fails {
            return Err(DiskError::new(Operation::Sync, 0, Errno::IO.into()));
        }
        self.disk.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    fn sectors(start: u32, end: u32) -> SectorSet {
        let range = SectorRange::new(Sector::from_u32(start), Sector::from_u32(end)).unwrap();
        [range].into_iter().collect()
    }

    #[test]
    fn a_bad_sector_fails_where_it_is() {
        let disk = FaultyDisk::new(MemoryDisk::new(vec![1; 20 * 512]));
        let disk = disk.with_unreadable(sectors(11, 13));
        disk.read_at(&mut [0; 11 * 512], 0).unwrap();
        disk.read_at(&mut [0; 7 * 512], 13 * 512).unwrap();
        disk.read_at(&mut [], 11 * 512).unwrap();
        let error = disk.read_at(&mut [0; 20 * 512], 0).unwrap_err();
        assert_eq!((error.sector().get(), error.source.raw_os_error()), (11, Some(5)));
        assert_eq!(disk.read_at(&mut [0; 1], 12 * 512 + 7).unwrap_err().sector().get(), 12);
        let memory = MemoryDisk::new(vec![1; 20 * 512]).with_logical_sector_bytes(4096);
        let disk = FaultyDisk::new(memory).with_unreadable(sectors(11, 13));
        assert_eq!(disk.read_at(&mut [0; 512], 9 * 512).unwrap_err().sector().get(), 8);
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let disk = FaultyDisk::new(MemoryDisk::new(vec![0; 4096])).with_full_after(700);
        disk.write_at(&[1; 512], 0).unwrap();
        let error = disk.write_at(&[2; 512], 1024).unwrap_err();
        assert_eq!((error.offset, error.source.raw_os_error()), (1024 + 188, Some(28)));
        assert_eq!(disk.written_bytes(), 700);
        let bytes = disk.into_disk().into_bytes();
        assert_eq!((bytes[1024 + 187], bytes[1024 + 188]), (2, 0));
    }

    #[test]
    fn writes_flushes_and_zeroing_fail_as_told() {
        let disk = FaultyDisk::new(MemoryDisk::new(vec![9; 4096]));
        let disk = disk.with_unwritable(sectors(2, 3)).with_sync_error();
        let whole = SectorRange::whole(disk.sectors());
        assert_eq!(disk.zero(whole).unwrap_err().sector().get(), 2);
        assert_eq!(disk.write_at(&[1; 2048], 0).unwrap_err().offset, 1024);
        assert!(disk.sync().is_err());
    }
}
