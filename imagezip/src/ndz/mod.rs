//! The ndz image formats: versions 1 to 6 of the deployed tools, and the native one.
//!
//! What it owns: the bytes of a chunk, both ways. `raw` names the bytes and judges nothing,
//! [`header`] holds only valid values, [`chunk`] proves a chunk, [`decode`] yields its sectors,
//! [`image`] checks that a set of chunks is one whole image, [`AnyOrder`] the same of chunks that
//! come in any order. `docs/ndz-format.md` is the
//! specification. What it never does: read or write a disk.

mod any_order;
mod chain;
pub mod chunk;
mod codec;
pub mod decode;
mod encode;
pub mod error;
pub mod header;
pub mod image;
mod raw;
pub mod relocation;

pub use any_order::{AnyOrder, Whole};
pub use chunk::{VerifiedChunk, seal};
pub use codec::Codec;
pub use decode::{Decoder, RegionSink};
pub use error::FormatError;
pub use header::{ChunkHeader, NativeFields, Region, RegionKind};
pub use image::{ImageInfo, ImageSet};
pub use relocation::Relocation;

use std::fmt;

/// Bytes of every chunk, the last one included.
pub const CHUNK_LEN: usize = 1 << 20;

/// [`CHUNK_LEN`] for file offsets.
pub const CHUNK_SIZE: u64 = 1 << 20;

/// Bytes before the payload in versions 1 to 6. Deployed tools never use another value.
pub const LEGACY_HEADER_AREA: usize = 4096;

/// Most bytes before the payload that the native format allows.
pub const NATIVE_HEADER_AREA_MAX: usize = 64 << 10;

/// A native header area is a multiple of this many bytes.
pub const NATIVE_HEADER_AREA_STEP: usize = 512;

/// Most sectors that the data regions of one native chunk may hold together (64 MiB), so that no
/// chunk takes a reader much longer than another.
pub const NATIVE_DATA_SECTORS_MAX: u64 = (64 << 20) / 512;

/// Which of the formats a chunk is written in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// No bounds, no relocations.
    V1,
    /// Bounds; no LILO relocations.
    V2,
    /// What deployed tools write when every number fits 32 bits.
    V3,
    /// V3 with image id and digest; never widely released.
    V4,
    /// 64-bit sectors and an image id.
    V5,
    /// V5 with digest and cipher; no released tool writes it.
    V6,
    /// Ours: zstd, zero regions, BLAKE3.
    Native,
}

impl Version {
    /// All versions, in the order of their age.
    pub const ALL: [Self; 7] =
        [Self::V1, Self::V2, Self::V3, Self::V4, Self::V5, Self::V6, Self::Native];

    /// The first four bytes of a chunk, as a little-endian number.
    pub const fn magic(self) -> u32 {
        match self {
            Self::V1 => 0x6969_6969,
            Self::V2 => 0x6969_696a,
            Self::V3 => 0x6969_696b,
            Self::V4 => 0x6969_696c,
            Self::V5 => 0x6969_696d,
            Self::V6 => 0x6969_696e,
            Self::Native => u32::from_le_bytes(*b"NDZ2"),
        }
    }

    /// The version of an image that begins with these bytes; `None` when no image does.
    pub fn of_image(start: &[u8]) -> Option<Self> {
        start.first_chunk().and_then(|magic| Self::from_magic(u32::from_le_bytes(*magic)))
    }

    /// The version with this magic.
    pub fn from_magic(magic: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.magic() == magic)
    }

    /// Bytes of the fixed header: where the region table starts.
    pub const fn header_len(self) -> usize {
        match self {
            Self::V1 => 24,
            Self::V2 | Self::V3 => 36,
            Self::V4 => 344,
            Self::V5 => 72,
            Self::V6 => 368,
            Self::Native => 256,
        }
    }

    /// Bytes of one region descriptor.
    pub const fn region_len(self) -> usize {
        match self {
            Self::V1 | Self::V2 | Self::V3 | Self::V4 => 8,
            Self::V5 | Self::V6 | Self::Native => 16,
        }
    }

    /// Bytes of one relocation record.
    pub const fn relocation_len(self) -> usize {
        match self {
            Self::V1 => 0,
            Self::V2 | Self::V3 | Self::V4 => 16,
            Self::V5 | Self::V6 | Self::Native => 24,
        }
    }

    /// The largest sector number the format can hold.
    pub const fn sector_max(self) -> u64 {
        match self {
            Self::V1 | Self::V2 | Self::V3 | Self::V4 => 0xffff_ffff,
            Self::V5 | Self::V6 | Self::Native => crate::units::SECTORS_MAX,
        }
    }

    /// True when chunks say which span of the disk they answer for.
    pub const fn has_bounds(self) -> bool {
        !matches!(self, Self::V1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
            Self::V5 => "v5",
            Self::V6 => "v6",
            Self::Native => "native",
        })
    }
}
