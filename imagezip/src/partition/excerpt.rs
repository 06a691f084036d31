//! Pieces of a disk held in memory, and changes to them.
//!
//! What it owns: [`Patch`], bytes to be written at an offset, and [`Excerpt`], a disk of which only
//! some pieces are known: the first sectors of an image while it is being loaded. What it never
//! does: invent data. What is not known reads as zeros, which no table reader accepts as a table.

use crate::disk::{DiskError, ReadDisk};

/// Bytes to be written at a byte offset from the start of the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Patch {
    /// Byte offset from the start of the disk.
    pub offset: u64,
    /// What to write there.
    pub bytes: Vec<u8>,
}

/// A disk of which only some pieces are known; the rest reads as zeros.
#[derive(Clone, Debug)]
pub struct Excerpt {
    size_bytes: u64,
    logical_sector_bytes: u32,
    /// In the order they came: a later piece covers an earlier one.
    pieces: Vec<Patch>,
}

impl Excerpt {
    /// A disk of this size in bytes of which nothing is known yet.
    pub fn new(size_bytes: u64, logical_sector_bytes: u32) -> Self {
        Self { size_bytes, logical_sector_bytes, pieces: Vec::new() }
    }

    /// The same pieces as a disk with logical sectors of this size in bytes.
    pub fn with_logical_sector_bytes(self, logical_sector_bytes: u32) -> Self {
        Self { logical_sector_bytes, ..self }
    }

    /// Adds a piece; it covers what was known there before.
    pub fn add(&mut self, piece: Patch) {
        self.pieces.push(piece);
    }

    /// The same excerpt with one more piece.
    pub fn with(mut self, offset: u64, bytes: &[u8]) -> Self {
        self.add(Patch { offset, bytes: bytes.to_vec() });
        self
    }
}

impl ReadDisk for Excerpt {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.logical_sector_bytes
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        let past_end = || DiskError::past_end(offset, buf.len(), self.size_bytes);
        let len = u64::try_from(buf.len()).map_err(|_| past_end())?;
        let end = offset.checked_add(len).filter(|end| *end <= self.size_bytes);
        if end.is_none() {
            return Err(past_end());
        }
        buf.fill(0);
        for piece in &self.pieces {
            copy_common(buf, offset, &piece.bytes, piece.offset);
        }
        Ok(())
    }
}

/// Copies what two runs of bytes, given with their offsets, have in common.
fn copy_common(into: &mut [u8], into_offset: u64, from: &[u8], from_offset: u64) {
    let skip = |of: u64, to: u64| usize::try_from(to.saturating_sub(of)).unwrap_or(usize::MAX);
    let into = into.get_mut(skip(into_offset, from_offset)..).unwrap_or_default();
    let from = from.get(skip(from_offset, into_offset)..).unwrap_or_default();
    into.iter_mut().zip(from).for_each(|(to, byte)| *to = *byte);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_zeros_and_each_other() {
        let disk = Excerpt::new(16, 512).with(2, &[1, 2, 3, 4]).with(4, &[9]).with(14, &[7, 7, 7]);
        let mut buf = [0xFF; 16];
        disk.read_at(&mut buf, 0).unwrap();
        assert_eq!(buf, [0, 0, 1, 2, 9, 4, 0, 0, 0, 0, 0, 0, 0, 0, 7, 7]);
        let mut buf = [0xFF; 3];
        disk.read_at(&mut buf, 3).unwrap();
        assert_eq!(buf, [2, 9, 4]);
        assert!(disk.read_at(&mut buf, 14).is_err());
        assert!(disk.read_at(&mut buf, u64::MAX).is_err());
    }
}
