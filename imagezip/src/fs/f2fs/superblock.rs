//! The superblock: recognised, verified against its copy, and turned into a geometry that fits the
//! disk.
//!
//! What it owns: every check on the superblocks. What it never does: let a number through that
//! later arithmetic or a later loop could trip over.

use super::raw;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::areas::{crc32_le, part};
use crate::fs::refusal::Refusal;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes in a block; others need a kernel with larger pages.
pub(super) const BLOCK_BYTES: u64 = 4096;
/// Blocks in a segment.
pub(super) const SEGMENT_BLOCKS: u64 = 512;
/// Byte offset of the superblock in its block.
const OFFSET: u64 = 1024;

/// Feature bits with their names in mkfs.f2fs, and whether we understand what they do to the map.
const FEATURES: &[(u32, &str, bool)] = &[
    (0x1, "encrypt", true),
    // Zoned devices: the order of writing belongs to the device.
    (0x2, "blkzoned", false),
    (0x4, "atomic_write", true),
    (0x8, "extra_attr", true),
    (0x10, "project_quota", true),
    (0x20, "inode_checksum", true),
    (0x40, "flexible_inline_xattr", true),
    (0x80, "quota", true),
    (0x100, "inode_crtime", true),
    (0x200, "lost_found", true),
    (0x400, "verity", true),
    (SB_CHECKSUM, "sb_checksum", true),
    (0x1000, "casefold", true),
    (0x2000, "compression", true),
    // Has other current segments, and no room for what the kernel would write.
    (0x4000, "ro", false),
    (0x8000, "device_alias", false),
];
const SB_CHECKSUM: u32 = 0x800;

/// A superblock with the right magic number; nothing else is known to be sound.
pub(super) struct Superblock {
    raw: raw::Superblock,
}

/// Areas in blocks that follow each other and fit the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Blocks of the filesystem.
    pub(super) blocks: u64,
    /// First block of the two checkpoint packs, a segment each.
    pub(super) checkpoints: u64,
    /// First block of the SIT.
    pub(super) sit: u64,
    /// Blocks of one of the two copies of the SIT.
    pub(super) sit_blocks: u64,
    /// First block of the main area.
    pub(super) main: u64,
    /// Segments of the main area.
    pub(super) main_segments: u64,
    /// Blocks behind the first of a checkpoint that hold the bitmap of the SIT.
    pub(super) payload: u64,
}

impl Superblock {
    /// The first superblock of the disk; `None` when there is none.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        Ok(read_at(disk, OFFSET)?
            .filter(|raw| raw.magic.get() == raw::MAGIC)
            .map(|raw| Self { raw }))
    }

    /// The fields as they stand.
    pub(super) fn raw(&self) -> &raw::Superblock {
        &self.raw
    }

    /// Bytes the filesystem says it has; `None` when that is nonsense.
    pub(super) fn claimed_bytes(&self) -> Option<u64> {
        self.raw.shape.block_count.get().checked_mul(BLOCK_BYTES)
    }

    /// Names of the features, an unknown one as `bit 19`.
    pub(super) fn features(&self) -> Vec<String> {
        self.bits().map(|(name, _)| name).collect()
    }

    fn bits(&self) -> impl Iterator<Item = (String, bool)> + '_ {
        (0..32).filter(|number| self.raw.feature.get() >> number & 1 == 1).map(|number| {
            let known = FEATURES.iter().find(|(bit, ..)| *bit == 1 << number);
            known.map_or((format!("bit {number}"), false), |(_, name, ok)| ((*name).into(), *ok))
        })
    }

    /// Verifies the checksum and that the second superblock says the same.
    pub(super) fn verify(&self, disk: &dyn ReadDisk) -> Result<(), Refusal> {
        let Some(copy) = read_at(disk, BLOCK_BYTES + OFFSET)? else {
            return Err(corrupt("size of the disk", "two superblocks", "one"));
        };
        for (raw, name) in [(&self.raw, "first"), (&copy, "second")] {
            if raw.feature.get() & SB_CHECKSUM == 0 {
                continue;
            }
            let at = raw.shape.checksum_offset.get();
            let sum = crc32_le(raw::MAGIC, part(raw.as_bytes(), 0, at.into()));
            if at != 3068 || sum != raw.crc.get() {
                let found = format!("{:#010x} at byte {at}", raw.crc.get());
                let expected = format!("{sum:#010x} at byte 3068");
                return Err(corrupt(&format!("checksum of the {name}"), &expected, &found));
            }
        }
        let same = copy.magic == self.raw.magic
            && copy.shape == self.raw.shape
            && copy.uuid == self.raw.uuid
            && copy.cp_payload == self.raw.cp_payload
            && copy.feature == self.raw.feature
            && copy.devs == self.raw.devs;
        if !same {
            return Err(corrupt("copy", "the same in the second block", "another"));
        }
        Ok(())
    }

    /// Refuses features that this reader does not know and filesystems on several devices.
    pub(super) fn check_features(&self) -> Result<(), Refusal> {
        let refused: Vec<_> = self.bits().filter(|(_, ok)| !ok).map(|(name, _)| name).collect();
        if !refused.is_empty() {
            return Err(Refusal::unsupported(format!(
                "the map of a filesystem with its features {} is not known",
                refused.join(", ")
            )));
        }
        if self.raw.devs.iter().any(|device| device.path.iter().any(|byte| *byte != 0)) {
            return Err(Refusal::unsupported(
                "it is on several devices, which belong together and must be saved and restored \
                 together",
            ));
        }
        Ok(())
    }

    /// The geometry, in which every number fits a disk of `disk_bytes`.
    pub(super) fn geometry(&self, disk_bytes: u64) -> Result<Geometry, Refusal> {
        let shape = &self.raw.shape;
        let logs = (shape.log_blocksize.get(), shape.log_blocks_per_seg.get());
        if logs != (12, 9) {
            return Err(Refusal::unsupported(format!(
                "blocks of 2^{} bytes, 2^{} in a segment, are not known (4096 bytes, 512 are)",
                logs.0, logs.1
            )));
        }
        let blocks = shape.block_count.get();
        if blocks > disk_bytes / BLOCK_BYTES {
            let expected = format!("at most the {} of the partition", disk_bytes / BLOCK_BYTES);
            return Err(corrupt("number of blocks", &expected, &blocks.to_string()));
        }
        let number = |field: &zerocopy::little_endian::U32| u64::from(field.get());
        let areas = [
            ("checkpoints", &shape.cp_blkaddr, &shape.segment_count_ckpt),
            ("SIT", &shape.sit_blkaddr, &shape.segment_count_sit),
            ("NAT", &shape.nat_blkaddr, &shape.segment_count_nat),
            ("SSA", &shape.ssa_blkaddr, &shape.segment_count_ssa),
            ("main area", &shape.main_blkaddr, &shape.segment_count_main),
        ];
        let mut next = number(&shape.segment0_blkaddr);
        if next < 2 {
            return Err(corrupt("start of the checkpoints", "block 2 or later", "before"));
        }
        for (name, start, segments) in areas {
            let start = number(start);
            if start != next || number(segments) == 0 {
                let expected = format!("block {next}, where the one before ends, and a length");
                let found = format!("block {start}, {} segments", segments.get());
                return Err(corrupt(&format!("place of the {name}"), &expected, &found));
            }
            next = start + number(segments) * SEGMENT_BLOCKS;
        }
        if next > blocks {
            let expected = format!("at most the {blocks} blocks of the filesystem");
            return Err(corrupt("end of the main area", &expected, &next.to_string()));
        }
        let sit_segments = number(&shape.segment_count_sit);
        let geometry = Geometry {
            blocks,
            checkpoints: number(&shape.cp_blkaddr),
            sit: number(&shape.sit_blkaddr),
            sit_blocks: sit_segments / 2 * SEGMENT_BLOCKS,
            main: number(&shape.main_blkaddr),
            main_segments: number(&shape.segment_count_main),
            payload: number(&self.raw.cp_payload),
        };
        let wanted = geometry.main_segments.div_ceil(super::sit::ENTRIES_PER_BLOCK);
        if shape.segment_count_ckpt.get() != 2
            || !sit_segments.is_multiple_of(2)
            || geometry.sit_blocks < wanted
        {
            let expected = format!("2 and two times {wanted} blocks or more");
            let found = format!("{} and {sit_segments} segments", shape.segment_count_ckpt.get());
            return Err(corrupt("size of checkpoints and SIT", &expected, &found));
        }
        Ok(geometry)
    }
}

fn read_at(disk: &dyn ReadDisk, offset: u64) -> Result<Option<raw::Superblock>, DiskError> {
    let mut bytes = [0; size_of::<raw::Superblock>()];
    if disk.size_bytes() < offset + 3072 {
        return Ok(None);
    }
    disk.read_at(&mut bytes, offset)?;
    Ok(raw::Superblock::read_from_bytes(&bytes).ok())
}

/// A field of the superblock that contradicts the rest or the disk.
fn corrupt(field: &str, expected: &str, found: &str) -> Refusal {
    Refusal::corrupt(format!("{field} in the superblock"), OFFSET, expected, found)
}
