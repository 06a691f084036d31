//! How a file is cut into chunks and blocks.
//!
//! What it owns: the arithmetic between bytes, blocks and chunks of one file. All of it is runtime
//! data, so that a simulator can use chunks of a few tiny blocks. What it never does: overflow; the
//! limits are checked when a geometry is made.

use crate::block_set::{BLOCKS_MAX, BlockSet};

/// Bytes in a block of the deployed protocol.
pub const BLOCK_SIZE: u32 = 1024;

/// Blocks in a chunk of the deployed protocol.
pub const BLOCKS_PER_CHUNK: u32 = 1024;

/// The largest block that a geometry may have: one that still fits a jumbo frame of 9000 bytes.
pub const BLOCK_SIZE_MAX: u32 = 8192;

/// Chunks that a file may have at most: 16 Mi, 16 TiB in chunks of 1 MiB. Sessions keep a few
/// bytes for each chunk; the limit bounds what a forged join reply can make a client allocate.
pub const CHUNKS_MAX: u32 = 1 << 24;

/// Why numbers are not a geometry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GeometryError {
    /// The block size is 0 or above [`BLOCK_SIZE_MAX`].
    #[error("block size {found}: must be 1 to {BLOCK_SIZE_MAX} bytes")]
    BlockSize {
        /// What was given.
        found: u32,
    },
    /// The number of blocks in a chunk is 0 or above [`BLOCKS_MAX`].
    #[error("{found} blocks in a chunk: must be 1 to {BLOCKS_MAX}")]
    BlocksPerChunk {
        /// What was given.
        found: u32,
    },
    /// The file is empty.
    #[error("the file is empty: there is nothing to transfer")]
    Empty,
    /// The file has more than [`CHUNKS_MAX`] chunks.
    #[error("{bytes} bytes are more than {CHUNKS_MAX} chunks: use larger blocks or a smaller file")]
    TooLarge {
        /// Size of the file.
        bytes: u64,
    },
}

/// Block size, blocks in a chunk, and the size of one file.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Geometry {
    block_size: u32,
    blocks_per_chunk: u32,
    bytes: u64,
    chunks: u32,
}

impl Geometry {
    /// The deployed geometry: 1024 blocks of 1024 bytes.
    pub fn deployed(bytes: u64) -> Result<Self, GeometryError> {
        Self::new(BLOCK_SIZE, BLOCKS_PER_CHUNK, bytes)
    }

    /// Any geometry within the limits of this module; `bytes` is the size of the file.
    pub fn new(block_size: u32, blocks_per_chunk: u32, bytes: u64) -> Result<Self, GeometryError> {
        if block_size == 0 || block_size > BLOCK_SIZE_MAX {
            return Err(GeometryError::BlockSize { found: block_size });
        }
        if blocks_per_chunk == 0 || blocks_per_chunk > BLOCKS_MAX {
            return Err(GeometryError::BlocksPerChunk { found: blocks_per_chunk });
        }
        if bytes == 0 {
            return Err(GeometryError::Empty);
        }
        let chunk_bytes = u64::from(block_size) * u64::from(blocks_per_chunk);
        let chunks = u32::try_from(bytes.div_ceil(chunk_bytes))
            .ok()
            .filter(|c| *c <= CHUNKS_MAX)
            .ok_or(GeometryError::TooLarge { bytes })?;
        Ok(Self { block_size, blocks_per_chunk, bytes, chunks })
    }

    /// Bytes in a block on the wire; the file's last block is padded with zeros to this.
    pub const fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Blocks in every chunk but perhaps the last.
    pub const fn blocks_per_chunk(&self) -> u32 {
        self.blocks_per_chunk
    }

    /// Bytes in the file.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Chunks in the file, at least 1.
    pub const fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Blocks in the file, the last one perhaps padded.
    pub fn blocks(&self) -> u64 {
        self.bytes.div_ceil(u64::from(self.block_size))
    }

    /// Bytes in every chunk but perhaps the last.
    pub fn chunk_bytes(&self) -> u64 {
        u64::from(self.block_size) * u64::from(self.blocks_per_chunk)
    }

    /// True when the file is a whole number of chunks: only then does JOIN describe it.
    pub fn is_whole_chunks(&self) -> bool {
        self.bytes.is_multiple_of(self.chunk_bytes())
    }

    /// True for blocks and chunks of the deployed size, which JOIN takes for granted.
    pub const fn is_deployed(&self) -> bool {
        self.block_size == BLOCK_SIZE && self.blocks_per_chunk == BLOCKS_PER_CHUNK
    }

    /// Blocks in this chunk; 0 for a chunk that is not in the file.
    pub fn blocks_in(&self, chunk: u32) -> u32 {
        let before = u64::from(chunk) * u64::from(self.blocks_per_chunk);
        let left = self.blocks().saturating_sub(before);
        u32::try_from(left).unwrap_or(u32::MAX).min(self.blocks_per_chunk)
    }

    /// All blocks of this chunk.
    pub fn all_blocks(&self, chunk: u32) -> BlockSet {
        BlockSet::first(self.blocks_in(chunk))
    }

    /// Bytes of the file in this chunk, without padding; 0 for a chunk that is not in the file.
    pub fn bytes_in(&self, chunk: u32) -> u64 {
        self.bytes.saturating_sub(u64::from(chunk) * self.chunk_bytes()).min(self.chunk_bytes())
    }

    /// Offset in the file of a block's first byte.
    pub fn offset(&self, chunk: u32, block: u32) -> u64 {
        u64::from(chunk) * self.chunk_bytes() + u64::from(block) * u64::from(self.block_size)
    }

    /// True when the file has this block.
    pub fn has_block(&self, chunk: u32, block: u32) -> bool {
        block < self.blocks_in(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_ends_inside_a_block() {
        let g = Geometry::deployed(1_300_007).unwrap();
        assert_eq!((g.chunks(), g.blocks()), (2, 1270));
        assert_eq!((g.blocks_in(0), g.blocks_in(1), g.blocks_in(2)), (1024, 246, 0));
        assert_eq!(g.bytes_in(0), 1 << 20);
        assert_eq!(g.bytes_in(1), 1_300_007 - (1 << 20));
        assert_eq!((g.bytes_in(2), g.bytes_in(u32::MAX)), (0, 0));
        assert!(!g.is_whole_chunks() && g.is_deployed());
        assert!(g.has_block(1, 245) && !g.has_block(1, 246) && !g.has_block(u32::MAX, 0));
    }

    #[test]
    fn limits_are_checked_once() {
        use GeometryError as E;
        assert_eq!(Geometry::new(0, 1, 1), Err(E::BlockSize { found: 0 }));
        assert_eq!(Geometry::new(9000, 1, 1), Err(E::BlockSize { found: 9000 }));
        assert_eq!(Geometry::new(1, 0, 1), Err(E::BlocksPerChunk { found: 0 }));
        assert_eq!(Geometry::new(1, 1025, 1), Err(E::BlocksPerChunk { found: 1025 }));
        assert_eq!(Geometry::deployed(0), Err(E::Empty));
        assert_eq!(Geometry::deployed(u64::MAX), Err(E::TooLarge { bytes: u64::MAX }));
        assert_eq!(Geometry::deployed(1 << 44).unwrap().chunks(), CHUNKS_MAX);
    }
}
