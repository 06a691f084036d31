//! Logical block addresses: the unit partition tables count in.
//!
//! What it owns: the step between a table's own addresses (logical sectors of 512 to 4096 bytes) and
//! this crate's 512-byte [`Sector`]. What it never does: overflow, or read past the end of the disk.

use crate::disk::{DiskError, Operation, ReadDisk};
use crate::units::{SECTOR_SIZE, Sector, SectorCount, SectorRange};
use std::io;

/// The length of a disk's logical sector: a power of two, 512 to 4096 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LbaSize(u32);

impl LbaSize {
    /// Every size there is, in bytes.
    pub const ALL: [Self; 4] = [Self(512), Self(1024), Self(2048), Self(4096)];

    /// The size of this many bytes; `None` when no disk has such sectors.
    pub fn new(bytes: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.0 == bytes)
    }

    /// The size a disk reports.
    ///
    /// # Errors
    /// When it is not one a partition table can count in.
    pub fn of(disk: &dyn ReadDisk) -> Result<Self, DiskError> {
        let bytes = disk.logical_sector_bytes();
        Self::new(bytes).ok_or_else(|| {
            let text =
                format!("logical sectors of {bytes} bytes; expected 512, 1024, 2048 or 4096");
            DiskError::new(Operation::Read, 0, io::Error::new(io::ErrorKind::Unsupported, text))
        })
    }

    /// Bytes in a logical sector.
    pub fn bytes(self) -> u32 {
        self.0
    }

    /// The 512-byte sector a logical sector starts at; `None` above the crate's limit.
    pub fn sector(self, lba: u64) -> Option<Sector> {
        Sector::new(lba.checked_mul(self.sectors_each())?)
    }

    /// `count` logical sectors from `lba`; `None` when that ends above the crate's limit.
    pub fn range(self, lba: u64, count: u64) -> Option<SectorRange> {
        let count = SectorCount::new(count.checked_mul(self.sectors_each())?)?;
        SectorRange::with_count(self.sector(lba)?, count)
    }

    /// Whole logical sectors on a disk of this size.
    pub fn count_on(self, disk: SectorCount) -> u64 {
        disk.get() / self.sectors_each()
    }

    /// Logical sectors needed to hold this many bytes.
    pub fn holding(self, bytes: u64) -> u64 {
        bytes.div_ceil(u64::from(self.0))
    }

    fn sectors_each(self) -> u64 {
        u64::from(self.0) / SECTOR_SIZE
    }

    /// Reads `bytes` bytes from the start of a logical sector; `None` when the disk ends before.
    /// The caller has bounded `bytes`.
    pub(super) fn read(
        self,
        disk: &dyn ReadDisk,
        lba: u64,
        bytes: usize,
    ) -> Result<Option<Vec<u8>>, DiskError> {
        let Some(sector) = self.sector(lba) else { return Ok(None) };
        let Ok(len) = u64::try_from(bytes) else { return Ok(None) };
        let end = sector.byte_offset().checked_add(len);
        if end.is_none_or(|end| end > disk.size_bytes()) {
            return Ok(None);
        }
        let mut buf = vec![0; bytes];
        disk.read_at(&mut buf, sector.byte_offset())?;
        Ok(Some(buf))
    }
}
