//! The superblock: recognised, verified, and turned into a geometry that fits the disk.
//!
//! What it owns: every check that can be made on the primary superblock alone. Its copies in the
//! other allocation groups are not kept up to date by the kernel and not looked at. What it never
//! does: let a number through that later arithmetic or a later loop could trip over.

use super::features::{Features, META_UUID, NEEDSREPAIR};
use super::{checksum, raw};
use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::Refusal;
use crate::units::{SECTOR_SIZE, Sector, SectorRange};
use zerocopy::FromBytes;

/// Smallest sector, in bytes; the superblock's fields end well before.
const SECTOR_BYTES_MIN: u64 = 512;
/// Largest sector, in bytes: `XFS_MAX_SECTORSIZE`.
const SECTOR_BYTES_MAX: u64 = 32 << 10;
/// Largest block, in bytes: `XFS_MAX_BLOCKSIZE`. The smallest is a sector.
const BLOCK_BYTES_MAX: u64 = 64 << 10;
/// Fewest blocks in an allocation group: `XFS_MIN_AG_BLOCKS`.
const GROUP_BLOCKS_MIN: u64 = 64;
/// Largest log, in bytes: `XFS_MAX_LOG_BYTES`.
const LOG_BYTES_MAX: u64 = 1 << 31;

/// A superblock with the right magic number; nothing else is known to be sound.
pub(super) struct Superblock {
    raw: raw::Superblock,
}

/// Sizes that fit together and fit the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Bytes in a block: a power of two, 512 to 64 KiB.
    pub(super) block_bytes: u64,
    /// Bytes in a sector of the filesystem: a power of two, at most a block.
    pub(super) sector_bytes: u64,
    /// Blocks in the filesystem.
    pub(super) blocks: u64,
    /// Blocks in every allocation group but the last.
    pub(super) group_blocks: u64,
    /// Allocation groups, at least one.
    pub(super) groups: u32,
    /// True for version 5.
    pub(super) has_checksums: bool,
    /// The UUID in all structures but the superblock.
    pub(super) uuid: [u8; 16],
}

/// The internal log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    /// The allocation group that holds it.
    pub(super) group: u32,
    /// Its first block in that group.
    pub(super) start: u64,
    /// Its blocks.
    pub(super) blocks: u64,
    /// Byte offset from the start of the filesystem.
    pub(super) byte_offset: u64,
    /// Bytes; at most 2 GiB.
    pub(super) bytes: u64,
    /// The UUID its records carry.
    pub(super) uuid: [u8; 16],
}

impl Superblock {
    /// The superblock of the disk; `None` when there is none.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        let mut bytes = [0; size_of::<raw::Superblock>()];
        if disk.size_bytes() < SECTOR_BYTES_MIN {
            return Ok(None);
        }
        disk.read_at(&mut bytes, 0)?;
        let raw = raw::Superblock::read_from_bytes(&bytes).ok();
        let raw = raw.filter(|raw| raw.sb_magicnum.get() == raw::SUPERBLOCK_MAGIC);
        Ok(raw.map(|raw| Self { raw }))
    }

    /// The fields as they stand.
    pub(super) fn raw(&self) -> &raw::Superblock {
        &self.raw
    }

    /// Version and feature bits.
    pub(super) fn features(&self) -> Features {
        Features::of(&self.raw)
    }

    /// Bytes the filesystem says it has; `None` when that is nonsense.
    pub(super) fn claimed_bytes(&self) -> Option<u64> {
        self.raw.sb_dblocks.get().checked_mul(u64::from(self.raw.sb_blocksize.get()))
    }

    fn sector_bytes(&self) -> Result<u64, Refusal> {
        let bytes = u64::from(self.raw.sb_sectsize.get());
        let log = u32::from(self.raw.sb_sectlog);
        if !(SECTOR_BYTES_MIN..=SECTOR_BYTES_MAX).contains(&bytes)
            || 1u64.checked_shl(log) != Some(bytes)
        {
            let found = format!("{bytes} (2^{log})");
            return Err(corrupt("sector size", "a power of two from 512 to 32768", found));
        }
        Ok(bytes)
    }

    /// Verifies the superblock's own checksum, when it has one.
    pub(super) fn verify(&self, disk: &dyn ReadDisk) -> Result<(), Refusal> {
        let sector_bytes = self.sector_bytes()?;
        if !self.features().has_checksums() {
            return Ok(());
        }
        if sector_bytes > disk.size_bytes() {
            return Err(corrupt("sector size", "less than the partition", sector_bytes));
        }
        let mut bytes = vec![0; usize::try_from(sector_bytes).unwrap_or_default()];
        disk.read_at(&mut bytes, 0)?;
        let sum = checksum::of(&bytes, raw::SUPERBLOCK_CRC_OFFSET);
        let found = self.raw.sb_crc.get();
        if sum != found {
            let expected = format!("{sum:#010x}");
            return Err(corrupt("own checksum", expected, format!("{found:#010x}")));
        }
        Ok(())
    }

    /// Refuses versions and features that this reader does not know.
    pub(super) fn check_features(&self) -> Result<(), Refusal> {
        let features = self.features();
        if !matches!(features.version(), 4 | 5) {
            return Err(Refusal::unsupported(format!(
                "version {} of the format is not known (4 and 5 are)",
                features.version()
            )));
        }
        let refused = features.refused();
        if !refused.is_empty() || self.raw.sb_shared_vn != 0 {
            let names = if refused.is_empty() { "shared".into() } else { refused.join(", ") };
            return Err(Refusal::unsupported(format!(
                "this version does not know its features {names}"
            )));
        }
        Ok(())
    }

    /// Refuses a filesystem whose superblock says that it is unfinished, broken, or half of
    /// something.
    pub(super) fn check_state(&self) -> Result<(), Refusal> {
        if self.raw.sb_inprogress != 0 {
            return Err(Refusal::unsupported(
                "mkfs.xfs or xfs_copy did not finish making it, or is still at work",
            ));
        }
        if self.features().has(NEEDSREPAIR) {
            return Err(Refusal::unsupported(
                "it is marked as in need of repair: run xfs_repair on it and save again",
            ));
        }
        if self.raw.sb_rblocks.get() != 0 || self.raw.sb_rextents.get() != 0 {
            return Err(Refusal::unsupported(
                "part of its files are on a realtime device, which belongs to it and must be saved \
                 and restored with it",
            ));
        }
        if self.raw.sb_logstart.get() == 0 {
            return Err(Refusal::unsupported(
                "its log is on another device, where nobody can see from here whether it is clean",
            ));
        }
        Ok(())
    }

    /// The geometry, in which every number fits a disk of `disk_bytes`.
    pub(super) fn geometry(&self, disk_bytes: u64) -> Result<Geometry, Refusal> {
        let raw = &self.raw;
        let sector_bytes = self.sector_bytes()?;
        let block_bytes = u64::from(raw.sb_blocksize.get());
        let log = u32::from(raw.sb_blocklog);
        if !(sector_bytes..=BLOCK_BYTES_MAX).contains(&block_bytes)
            || 1u64.checked_shl(log) != Some(block_bytes)
        {
            let found = format!("{block_bytes} (2^{log})");
            return Err(corrupt("block size", "a power of two from a sector to 65536", found));
        }
        let blocks = raw.sb_dblocks.get();
        if blocks.checked_mul(block_bytes).is_none_or(|bytes| bytes > disk_bytes) {
            let expected = format!("at most the {} of the partition", disk_bytes / block_bytes);
            return Err(corrupt("number of blocks", expected, blocks));
        }
        let group_blocks = u64::from(raw.sb_agblocks.get());
        if group_blocks < GROUP_BLOCKS_MIN || group_blocks.saturating_mul(block_bytes) > 1 << 40 {
            return Err(corrupt("size of a group", "64 blocks to 1 TiB", group_blocks));
        }
        let group_log = u32::from(raw.sb_agblklog);
        if 1u64.checked_shl(group_log) != Some(group_blocks.next_power_of_two()) {
            let expected = format!("that of {group_blocks} blocks");
            return Err(corrupt("logarithm of a group's size", expected, group_log));
        }
        let groups = raw.sb_agcount.get();
        if u64::from(groups) != blocks.div_ceil(group_blocks) || groups == 0 {
            let expected = format!("{blocks} blocks in groups of {group_blocks}");
            return Err(corrupt("number of groups", expected, groups));
        }
        let features = self.features();
        let uuid = if features.has(META_UUID) { raw.sb_meta_uuid } else { raw.sb_uuid };
        let geometry = Geometry {
            block_bytes,
            sector_bytes,
            blocks,
            group_blocks,
            groups,
            has_checksums: features.has_checksums(),
            uuid,
        };
        let last = geometry.blocks_in(groups - 1);
        if last < GROUP_BLOCKS_MIN {
            return Err(corrupt("last group", "at least 64 blocks", last));
        }
        Ok(geometry)
    }

    /// Where the internal log is.
    pub(super) fn log(&self, geometry: &Geometry) -> Result<Log, Refusal> {
        let raw = &self.raw;
        let address = raw.sb_logstart.get();
        // An address has the group in its upper bits. The logarithm was checked above.
        let group_log = u32::from(raw.sb_agblklog).min(63);
        let (group, start) = (address >> group_log, address & ((1 << group_log) - 1));
        let blocks = u64::from(raw.sb_logblocks.get());
        let group = u32::try_from(group).ok().filter(|group| *group < geometry.groups);
        let bytes = blocks.saturating_mul(geometry.block_bytes);
        let end = start.saturating_add(blocks);
        match group {
            Some(group)
                if blocks > 0
                    && bytes <= LOG_BYTES_MAX
                    && start >= geometry.header_blocks()
                    && end <= geometry.blocks_in(group) =>
            {
                let byte_offset = geometry.byte_offset(group, start);
                Ok(Log { group, start, blocks, byte_offset, bytes, uuid: raw.sb_uuid })
            }
            _ => Err(corrupt(
                "place of the log",
                "1 to 2^31 bytes inside one group",
                format!("{blocks} blocks at {address:#x}"),
            )),
        }
    }
}

impl Geometry {
    /// Blocks in this group.
    pub(super) fn blocks_in(&self, group: u32) -> u64 {
        self.group_blocks.min(self.blocks.saturating_sub(self.group_start(group)))
    }

    /// First block of this group.
    fn group_start(&self, group: u32) -> u64 {
        u64::from(group).saturating_mul(self.group_blocks)
    }

    /// Byte offset of a block of a group from the start of the filesystem.
    pub(super) fn byte_offset(&self, group: u32, block: u64) -> u64 {
        self.group_start(group).saturating_add(block).saturating_mul(self.block_bytes)
    }

    /// Blocks at the start of each group that hold its four headers, a sector each.
    pub(super) fn header_blocks(&self) -> u64 {
        (4 * self.sector_bytes).div_ceil(self.block_bytes)
    }

    /// The sectors of the blocks of a group from `start` up to, not including, `end`.
    pub(super) fn sectors(&self, group: u32, start: u64, end: u64) -> SectorRange {
        let sector = |block| Sector::new(self.byte_offset(group, block) / SECTOR_SIZE);
        // The geometry fits the disk, so neither conversion fails.
        sector(start)
            .zip(sector(end))
            .and_then(|(start, end)| SectorRange::new(start, end))
            .unwrap_or_default()
    }
}

/// A field of the superblock that contradicts the rest or the disk.
fn corrupt(field: &str, expected: impl Into<String>, found: impl ToString) -> Refusal {
    Refusal::corrupt(format!("{field} in the superblock"), 0, expected, found.to_string())
}
