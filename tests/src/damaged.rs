//! Disks that lie: damaged in chosen places, or huge and empty.

use imagezip::disk::{DiskError, ReadDisk};

/// Another disk with bits of some bytes flipped.
pub struct Damaged<'a> {
    disk: &'a dyn ReadDisk,
    flips: Vec<(u64, u8)>,
}

impl<'a> Damaged<'a> {
    /// `disk` with these bits flipped, each a byte offset and a mask.
    pub fn new(disk: &'a dyn ReadDisk, flips: &[(u64, u8)]) -> Self {
        Self { disk, flips: flips.to_vec() }
    }
}

impl ReadDisk for Damaged<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.disk.read_at(buf, offset)?;
        for (at, mask) in &self.flips {
            let place = at.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
            if let Some(byte) = place.and_then(|at| buf.get_mut(at)) {
                *byte ^= mask;
            }
        }
        Ok(())
    }
}

/// A disk of 2^60 zero bytes but for its start.
pub struct Endless(pub Vec<u8>);

impl ReadDisk for Endless {
    fn size_bytes(&self) -> u64 {
        1 << 60
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let known = self.0.get(start..).unwrap_or_default();
        for (index, byte) in buf.iter_mut().enumerate() {
            *byte = known.get(index).copied().unwrap_or(0);
        }
        Ok(())
    }
}
