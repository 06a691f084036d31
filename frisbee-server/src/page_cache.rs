//! Blocks read straight out of the kernel's page cache.
//!
//! What it owns: the question whether the kernel and the filesystem can read
//! without waiting. What it never does: wait for the disk. What is not in memory is for the
//! reader's thread.
//!
//! Nearly all blocks are sent this way. Reading a batch's worth at a time and copying that, while it is
//! in the processor's cache, to its places between the headers costs half as much as reading each
//! block to its place.

use crate::source::Source;
use proto::geometry::Geometry;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::io::IoSliceMut;
use std::sync::Arc;

/// The file's pages in memory.
#[derive(Debug)]
pub(crate) struct PageCache {
    source: Arc<dyn Source>,
    geometry: Geometry,
    block_len: usize,
    /// What was read last. As small as a batch, so that it stays in the processor's cache.
    buffer: Vec<u8>,
    supported: bool,
}

impl PageCache {
    /// The pages of the file that `source` has.
    pub(crate) fn new(source: Arc<dyn Source>, geometry: Geometry) -> Self {
        let block_len = usize::try_from(geometry.block_size()).unwrap_or(usize::MAX);
        Self { source, geometry, block_len, buffer: Vec::new(), supported: true }
    }

    /// False once the kernel or the filesystem has said that it cannot read without waiting.
    pub(crate) fn is_supported(&self) -> bool {
        self.supported
    }

    /// `count` blocks of `chunk` from `first` on; `None` when not all of them are in memory, or they
    /// reach beyond the end of the file.
    pub(crate) fn read(&mut self, chunk: u32, first: u32, count: u32) -> Option<&[u8]> {
        if !self.supported {
            return None;
        }
        let len = usize::try_from(count).ok()?.checked_mul(self.block_len)?;
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        let buffer = self.buffer.get_mut(..len)?;
        let offset = self.geometry.offset(chunk, first);
        if !self.source.is_here(offset, u64::from(count) * u64::from(self.geometry.block_size())) {
            return None;
        }
        match preadv2(
            self.source.file(),
            &mut [IoSliceMut::new(buffer)],
            offset,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(read) if read == len => Some(buffer),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => {
                tracing::debug!("this file cannot be read without waiting; a thread reads it");
                self.supported = false;
                None
            }
            // AGAIN: not in memory. Anything else the reader's thread meets again, and reports.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_just_written_is_read_and_what_is_beyond_the_end_is_not() {
        let geometry = Geometry::new(4, 4, 30).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&(0..30).collect::<Vec<u8>>()).unwrap();
        let mut cache = PageCache::new(Arc::new(file), geometry);
        let bytes = cache.read(1, 0, 3).map(<[u8]>::to_vec);
        if !cache.is_supported() {
            eprintln!("SKIPPED: this filesystem cannot read without waiting");
            return;
        }
        assert_eq!(bytes.unwrap(), (16..28).collect::<Vec<u8>>());
        assert!(cache.read(1, 1, 3).is_none(), "the last block is short");
    }
}
