//! Buffers that start on a page, as IO past the page cache wants them.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Alignment of memory, offset and length that every kernel and filesystem accepts for `O_DIRECT`
/// and that also keeps direct and cached writes off each other's pages.
pub const ALIGNMENT: usize = 4096;

/// Zeroed bytes that start at a multiple of [`ALIGNMENT`].
pub struct AlignedBuf {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let bytes = vec![0; len.saturating_add(ALIGNMENT - 1)];
        // The heap block never moves, so the start stays aligned.
        let past = bytes.as_ptr().addr() % ALIGNMENT;
        Self { bytes, start: (ALIGNMENT - past) % ALIGNMENT, len }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.len).finish()
    }
}

/// True when memory starts on [`ALIGNMENT`].
pub(super) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_on_a_page() {
        for len in [0, 1, 512, 4096, 70_000] {
            let mut buf = AlignedBuf::zeroed(len);
            assert_eq!(buf.len(), len);
            assert!(is_aligned(&buf));
            buf.fill(7);
            assert!(buf.iter().all(|b| *b == 7));
        }
    }
}
