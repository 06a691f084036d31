//! Byte ranges as sectors, numbers at a place of some bytes, and reading in buffers made for it.
//!
//! What it owns: the small steps that readers share between "the bytes from here to there" and a
//! [`SectorRange`]. What it never does: fail; what does not fit is cut, and a range that is none is
//! empty.

use super::refusal::Refusal;
use crate::disk::ReadDisk;
use crate::units::{SECTOR_SIZE, Sector, SectorRange};

/// The sectors that hold the bytes from `from` up to, not including, `to`.
pub(crate) fn sectors(from: u64, to: u64) -> SectorRange {
    let start = Sector::new(from / SECTOR_SIZE);
    let end = Sector::new(to.div_ceil(SECTOR_SIZE));
    start.zip(end).and_then(|(start, end)| SectorRange::new(start, end)).unwrap_or_default()
}

/// The sectors of the blocks from `from` up to, not including, `to`.
pub(crate) fn blocks(block_bytes: u64, from: u64, to: u64) -> SectorRange {
    sectors(from.saturating_mul(block_bytes), to.saturating_mul(block_bytes))
}

/// `len` bytes from byte `offset`; the caller has checked `len` against a limit.
///
/// # Errors
/// When the disk cannot be read.
pub(crate) fn read(disk: &dyn ReadDisk, offset: u64, len: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    disk.read_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// The part of `bytes` of this length at this offset; shorter when they end before.
pub(crate) fn part(bytes: &[u8], offset: u64, len: u64) -> &[u8] {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = bytes.get(from..).unwrap_or_default();
    rest.get(..usize::try_from(len).unwrap_or(usize::MAX)).unwrap_or(rest)
}

/// CRC-32 (IEEE, reflected) from this start value, without the inversions at both ends: `crc32_le`
/// of the Linux kernel.
pub(crate) fn crc32_le(start: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!start);
    hasher.update(bytes);
    !hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_hold_all_bytes() {
        assert_eq!((sectors(0, 1).start().get(), sectors(0, 1).end().get()), (0, 1));
        assert_eq!((sectors(1023, 1025).start().get(), sectors(1023, 1025).end().get()), (1, 3));
        assert!(sectors(9000, 10).is_empty());
        assert!(sectors(u64::MAX - 1, u64::MAX).is_empty());
        assert_eq!(part(b"abcdef", 2, 3), b"cde");
        assert_eq!(part(b"abcdef", 5, 3), b"f");
        assert_eq!(part(b"abcdef", 9, 3), b"");
    }

    /// The check value of CRC-32 with its inversions is that of "123456789".
    #[test]
    fn checksum_is_the_kernels() {
        assert_eq!(!crc32_le(!0, b"123456789"), 0xCBF4_3926);
        let halves = crc32_le(crc32_le(7, b"1234"), b"56789");
        assert_eq!(halves, crc32_le(7, b"123456789"));
    }
}
