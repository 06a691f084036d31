//! The checksums of ext4 metadata.
//!
//! What it owns: which of the three schemes a filesystem uses, and the sums over superblock, group
//! descriptor and block bitmap. What it never does: decide what a wrong sum means.

use super::features::{CSUM_SEED, Features, GDT_CSUM, METADATA_CSUM};
use super::raw;
use crc::{CRC_16_MODBUS, Crc};

/// Byte offset of `bg_checksum` in a group descriptor.
const DESCRIPTOR_CHECKSUM_OFFSET: usize = 0x1E;

/// The kernel's `crc16` with its initial value `0xFFFF`.
const CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// The scheme a filesystem uses for its group descriptors and bitmaps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Checksums {
    /// Neither has one.
    None,
    /// `uninit_bg`: descriptors have a CRC-16 that starts with the UUID.
    Crc16 { uuid: [u8; 16] },
    /// `metadata_csum`: descriptors and bitmaps have a CRC-32C that starts from this seed.
    Crc32c { seed: u32 },
}

/// CRC-32C without the final inversion, as the kernel's `ext4_chksum`.
fn crc32c_raw(start: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!start, bytes)
}

/// The checksum a superblock should have; `checked` is all before its checksum field.
pub(super) fn superblock(checked: &[u8]) -> u32 {
    crc32c_raw(u32::MAX, checked)
}

impl Checksums {
    pub(super) fn of(raw: &raw::Superblock, features: Features) -> Self {
        if features.has(METADATA_CSUM) {
            let seed = if features.has(CSUM_SEED) {
                raw.s_checksum_seed.get()
            } else {
                crc32c_raw(u32::MAX, &raw.s_uuid)
            };
            Self::Crc32c { seed }
        } else if features.has(GDT_CSUM) {
            Self::Crc16 { uuid: raw.s_uuid }
        } else {
            Self::None
        }
    }

    /// True when flags in the group descriptors, such as "bitmap never written", have a meaning.
    pub(super) fn vouch_for_flags(self) -> bool {
        self != Self::None
    }

    /// The checksum the descriptor of `group` should have; `None` when there is none. `descriptor`
    /// is all of its bytes.
    pub(super) fn descriptor(self, group: u32, descriptor: &[u8]) -> Option<u16> {
        let (before, rest) = descriptor.split_at_checked(DESCRIPTOR_CHECKSUM_OFFSET)?;
        let after = rest.get(2..)?;
        match self {
            Self::None => None,
            Self::Crc16 { uuid } => {
                let mut digest = CRC16.digest();
                digest.update(&uuid);
                digest.update(&group.to_le_bytes());
                digest.update(before);
                digest.update(after);
                Some(digest.finalize())
            }
            Self::Crc32c { seed } => {
                let sum = crc32c_raw(seed, &group.to_le_bytes());
                let sum = crc32c_raw(crc32c_raw(sum, before), &[0, 0]);
                Some(low_half(crc32c_raw(sum, after)))
            }
        }
    }

    /// The checksum a block bitmap should have, of which old 32-byte descriptors store the lower
    /// half; `None` when there is none. `bitmap` is cut to whole bytes of the clusters of a group.
    pub(super) fn block_bitmap(self, bitmap: &[u8]) -> Option<u32> {
        match self {
            Self::None | Self::Crc16 { .. } => None,
            Self::Crc32c { seed } => Some(crc32c_raw(seed, bitmap)),
        }
    }
}

/// The lower 16 bits.
pub(super) fn low_half(sum: u32) -> u16 {
    let [a, b, _, _] = sum.to_le_bytes();
    u16::from_le_bytes([a, b])
}
