//! How the payload of a chunk is compressed.

use std::fmt;

/// How the payload of a chunk is compressed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Codec {
    /// Not at all.
    Stored,
    /// One zlib stream (RFC 1950): what versions 1 to 6 always use.
    Zlib,
    /// Zstandard frames (RFC 8878), one after another, each independent.
    #[default]
    Zstd,
}

impl Codec {
    /// The number in a native header.
    pub const fn number(self) -> u32 {
        match self {
            Self::Stored => 0,
            Self::Zlib => 1,
            Self::Zstd => 2,
        }
    }

    /// The codec with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Stored),
            1 => Some(Self::Zlib),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored => "stored",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        })
    }
}
