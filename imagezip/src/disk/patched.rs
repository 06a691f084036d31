//! A disk seen with some bytes changed.

use super::{DiskError, ReadDisk};
use crate::units::SectorRange;

/// Another disk with other bytes at one place. Nothing is written.
pub struct Patched<'a> {
    disk: &'a dyn ReadDisk,
    at: u64,
    bytes: Vec<u8>,
}

impl<'a> Patched<'a> {
    /// `disk` with these bytes from byte `at` on.
    pub fn new(disk: &'a dyn ReadDisk, at: u64, bytes: Vec<u8>) -> Self {
        Self { disk, at, bytes }
    }
}

impl ReadDisk for Patched<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.disk.logical_sector_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.disk.read_at(buf, offset)?;
        let len =
            |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        // One of the two starts inside the other, or they do not meet.
        let skipped = self.bytes.get(len(self.at, offset)..).unwrap_or_default();
        let room = buf.get_mut(len(offset, self.at)..).unwrap_or_default();
        room.iter_mut().zip(skipped).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    /// What is changed is taken for data on the disk below too.
    fn next_data(&self, range: SectorRange) -> Result<Option<SectorRange>, DiskError> {
        self.disk.next_data(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    #[test]
    fn bytes_change_wherever_a_read_meets_them() {
        let below = MemoryDisk::new((0..100).collect());
        let disk = Patched::new(&below, 40, vec![200; 10]);
        for start in 0..100usize {
            for end in start..100 {
                let mut bytes = vec![0; end - start];
                disk.read_at(&mut bytes, u64::try_from(start).unwrap()).unwrap();
                let expected: Vec<u8> = (start..end)
                    .map(|at| if (40..50).contains(&at) { 200 } else { u8::try_from(at).unwrap() })
                    .collect();
                assert_eq!(bytes, expected, "{start}..{end}");
            }
        }
    }
}
