//! The checksums of the superblock and of tree blocks.

use super::raw::CHECKSUM_LEN;
use blake2::Blake2b;
use blake2::digest::consts::U32;
use sha2::{Digest, Sha256};
use xxhash_rust::xxh64::xxh64;

/// Which checksum a filesystem uses (`csum_type`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Checksum {
    Crc32c,
    Xxhash64,
    Sha256,
    /// With 256 bits.
    Blake2b,
}

impl Checksum {
    pub(super) const fn of_type(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Crc32c),
            1 => Some(Self::Xxhash64),
            2 => Some(Self::Sha256),
            3 => Some(Self::Blake2b),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Crc32c => "crc32c",
            Self::Xxhash64 => "xxhash64",
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
        }
    }

    /// True when a block starts with the checksum of the rest of it.
    pub(super) fn matches(self, block: &[u8]) -> bool {
        let Some((stored, content)) = block.split_at_checked(CHECKSUM_LEN) else {
            return false;
        };
        match self {
            Self::Crc32c => stored.starts_with(&crc32c::crc32c(content).to_le_bytes()),
            Self::Xxhash64 => stored.starts_with(&xxh64(content, 0).to_le_bytes()),
            Self::Sha256 => stored == Sha256::digest(content).as_slice(),
            Self::Blake2b => stored == Blake2b::<U32>::digest(content).as_slice(),
        }
    }
}
