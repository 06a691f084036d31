//! The volume header: recognised, verified against its copy, and turned into a geometry that fits
//! the disk.
//!
//! What it owns: every check on the headers, and recognising plain HFS. What it never does: let a
//! number through that later arithmetic or a later loop could trip over.

use super::raw;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Byte offset of the header; its copy has its start as far from the end.
pub(super) const OFFSET: u64 = 1024;
/// Bytes of a header.
pub(super) const LEN: u64 = 512;

/// Attributes of a volume, with their names.
const UNMOUNTED: u32 = 1 << 8;
const INCONSISTENT: u32 = 1 << 11;
const JOURNALED: u32 = 1 << 13;
const ATTRIBUTES: &[(u32, &str)] = &[
    (1 << 7, "hardware lock"),
    (UNMOUNTED, "unmounted"),
    (1 << 9, "spared blocks"),
    (1 << 10, "no cache"),
    (INCONSISTENT, "inconsistent"),
    (1 << 12, "node ids reused"),
    (JOURNALED, "journaled"),
    (1 << 15, "software lock"),
    // The content is encrypted by CoreStorage when this is set on an inner volume.
    (1 << 30, "content protection"),
    (1 << 31, "unused node fix"),
];

/// A volume header with the right signature; nothing else is known to be sound.
pub(super) struct Header {
    raw: raw::VolumeHeader,
}

/// Sizes that fit together and fit the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Bytes in an allocation block: a power of two, 512 or more.
    pub(super) block_bytes: u64,
    /// Allocation blocks.
    pub(super) blocks: u64,
    /// Free blocks, as the header says.
    pub(super) free: u64,
    /// Byte offset of the copy of the header.
    pub(super) copy: u64,
    /// Where the volume ends, behind the copy: in whole sectors.
    pub(super) end: u64,
}

impl Header {
    /// The volume header of the disk; `None` when there is none.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        // The signature is short, and other filesystems have numbers there: what else is always so
        // must be as well.
        let is_header = |raw: &raw::VolumeHeader| {
            is_signature(raw.signature)
                && (4..=5).contains(&raw.version.get())
                && raw.block_size.get().is_power_of_two()
        };
        Ok(read_at(disk, OFFSET)?.filter(is_header).map(|raw| Self { raw }))
    }

    /// The fields as they stand.
    pub(super) fn raw(&self) -> &raw::VolumeHeader {
        &self.raw
    }

    /// True for the variant with case-sensitive names.
    pub(super) fn is_x(&self) -> bool {
        self.raw.signature == *b"HX"
    }

    /// True when there is a journal.
    pub(super) fn is_journaled(&self) -> bool {
        self.raw.attributes.get() & JOURNALED != 0
    }

    /// The attributes that are set, an unknown one as `bit 19`.
    pub(super) fn features(&self) -> Vec<String> {
        let bits = (0..32).filter(|number| self.raw.attributes.get() >> number & 1 == 1);
        bits.map(|number| {
            let known = ATTRIBUTES.iter().find(|(bit, _)| *bit == 1 << number);
            known.map_or_else(|| format!("bit {number}"), |(_, name)| (*name).into())
        })
        .collect()
    }

    /// Bytes of all allocation blocks.
    pub(super) fn claimed_bytes(&self) -> u64 {
        u64::from(self.raw.total_blocks.get()) * u64::from(self.raw.block_size.get())
    }

    /// Where the copy of the header is: before the end of the partition, else before that of the
    /// last block; and where the volume ends with it.
    pub(super) fn copy_place(&self, disk: &dyn ReadDisk) -> Result<Option<(u64, u64)>, DiskError> {
        let disk_bytes = disk.size_bytes() / 512 * 512;
        for end in [disk_bytes, self.claimed_bytes()] {
            let at = end.saturating_sub(OFFSET);
            let copy = if at > OFFSET { read_at(disk, at)? } else { None };
            let Some(copy) = copy.filter(|copy| copy.signature == self.raw.signature) else {
                continue;
            };
            if copy.block_size == self.raw.block_size && copy.total_blocks == self.raw.total_blocks
            {
                return Ok(Some((at, end.max(self.claimed_bytes()))));
            }
        }
        Ok(None)
    }

    /// Refuses versions and states whose map cannot be trusted.
    pub(super) fn check_state(&self) -> Result<(), Refusal> {
        let raw = &self.raw;
        let wanted = if self.is_x() { 5 } else { 4 };
        if raw.version.get() != wanted {
            let version = raw.version;
            return Err(Refusal::unsupported(format!("version {version} is not known")));
        }
        let attributes = raw.attributes.get();
        if attributes & INCONSISTENT != 0 || attributes & UNMOUNTED == 0 {
            return Err(Refusal::unsupported(
                "it is mounted, or was not unmounted cleanly: run fsck_hfs (fsck.hfsplus) on it, \
                 or mount and unmount it once on macOS, and save again",
            ));
        }
        Ok(())
    }

    /// The geometry, verified against the copy, in which every number fits the disk.
    pub(super) fn geometry(&self, disk: &dyn ReadDisk) -> Result<Geometry, Refusal> {
        let raw = &self.raw;
        let block_bytes = u64::from(raw.block_size.get());
        if block_bytes < 512 || !block_bytes.is_power_of_two() {
            return Err(corrupt("block size", "a power of two from 512 on", block_bytes));
        }
        let blocks = u64::from(raw.total_blocks.get());
        if blocks * block_bytes < 2 * OFFSET + LEN || blocks * block_bytes > disk.size_bytes() {
            let expected = format!("at most the {} of the partition", disk.size_bytes());
            return Err(corrupt("number of blocks", &expected, blocks));
        }
        let Some((copy, end)) = self.copy_place(disk)? else {
            let at = disk.size_bytes().saturating_sub(OFFSET);
            let expected = "a header with the same sizes as the first";
            return Err(Refusal::corrupt("copy of the volume header", at, expected, "none"));
        };
        let free = u64::from(raw.free_blocks.get());
        Ok(Geometry { block_bytes, blocks, free, copy, end })
    }
}

/// Plain HFS: bytes of the volume, and whether HFS+ is embedded in it.
pub(super) fn plain_hfs(disk: &dyn ReadDisk) -> Result<Option<(u64, bool)>, DiskError> {
    let mut bytes = [0; size_of::<raw::MasterDirectoryBlock>()];
    if disk.size_bytes() < OFFSET + LEN {
        return Ok(None);
    }
    disk.read_at(&mut bytes, OFFSET)?;
    let Ok(raw) = raw::MasterDirectoryBlock::read_from_bytes(&bytes) else { return Ok(None) };
    let block_bytes = u64::from(raw.block_size.get());
    // The signature is short: the size of a block and of the name must be right as well.
    let is_size = block_bytes > 0 && block_bytes.is_multiple_of(512);
    if raw.signature != *b"BD" || !is_size || !(1..=27).contains(&raw.name_len) {
        return Ok(None);
    }
    let blocks = u64::from(raw.allocation_blocks.get()) * block_bytes;
    // Behind the blocks stands the copy of the header, and a sector.
    let bytes = u64::from(raw.first_block.get()) * 512 + blocks + OFFSET;
    Ok(Some((bytes, is_signature(raw.embedded))))
}

fn is_signature(signature: [u8; 2]) -> bool {
    signature == *b"H+" || signature == *b"HX"
}

fn read_at(disk: &dyn ReadDisk, offset: u64) -> Result<Option<raw::VolumeHeader>, DiskError> {
    let mut bytes = [0; size_of::<raw::VolumeHeader>()];
    if disk.size_bytes() < offset.saturating_add(LEN) {
        return Ok(None);
    }
    disk.read_at(&mut bytes, offset)?;
    Ok(raw::VolumeHeader::read_from_bytes(&bytes).ok())
}

/// A field of the volume header that contradicts the rest or the disk.
fn corrupt(field: &str, expected: &str, found: u64) -> Refusal {
    Refusal::corrupt(format!("{field} in the volume header"), OFFSET, expected, found.to_string())
}
