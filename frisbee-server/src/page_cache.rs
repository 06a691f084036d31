//! Blocks read straight out of the kernel's page cache.
//!
//! What it owns: a handle of the file, and the question whether the kernel and the filesystem can
//! read without waiting. What it never does: wait for the disk. What is not in memory is for the
//! reader's thread.
//!
//! Nearly all blocks are sent this way: a block is copied once, from the page cache to the batch.

use proto::geometry::Geometry;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::File;
use std::io::IoSliceMut;

/// The file's pages in memory.
#[derive(Debug)]
pub(crate) struct PageCache {
    file: File,
    geometry: Geometry,
    supported: bool,
}

impl PageCache {
    /// The pages of `file`.
    pub(crate) fn new(file: File, geometry: Geometry) -> Self {
        Self { file, geometry, supported: true }
    }

    /// False once the kernel or the filesystem has said that it cannot read without waiting.
    pub(crate) fn is_supported(&self) -> bool {
        self.supported
    }

    /// Fills `blocks` with the blocks of `chunk` from `first` on. False, with any content in them,
    /// when not all of it is in memory or inside the file.
    pub(crate) fn read(&mut self, chunk: u32, first: u32, blocks: &mut [IoSliceMut<'_>]) -> bool {
        let wanted: usize = blocks.iter().map(|block| block.len()).sum();
        if !self.supported {
            return false;
        }
        let offset = self.geometry.offset(chunk, first);
        match preadv2(&self.file, blocks, offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => read == wanted,
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => {
                tracing::debug!("this file cannot be read without waiting; a thread reads it");
                self.supported = false;
                false
            }
            // AGAIN: not in memory. Anything else the reader's thread meets again, and reports.
            Err(_) => false,
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
        let mut cache = PageCache::new(file, geometry);
        let mut bytes = [0; 12];
        let mut blocks: Vec<_> = bytes.chunks_mut(4).map(IoSliceMut::new).collect();
        let read = cache.read(1, 0, &mut blocks);
        if !cache.is_supported() {
            eprintln!("SKIPPED: this filesystem cannot read without waiting");
            return;
        }
        assert!(read);
        drop(blocks);
        assert_eq!(bytes, [16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27]);
        let mut blocks: Vec<_> = bytes.chunks_mut(4).map(IoSliceMut::new).collect();
        assert!(!cache.read(1, 1, &mut blocks), "the last block is short");
    }
}
