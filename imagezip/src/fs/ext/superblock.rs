//! The superblock: recognised, verified, and turned into a geometry that fits the disk.
//!
//! What it owns: every check that can be made on the superblock alone. What it never does: let a
//! number through that later arithmetic or a later loop could trip over.

use super::checksum::{self, Checksums};
use super::features::{
    BIGALLOC, Features, META_BG, METADATA_CSUM, SIXTY_FOUR_BIT, SPARSE_SUPER, SPARSE_SUPER2,
};
use super::geometry::{Backups, Geometry};
use super::raw;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::Refusal;
use zerocopy::{FromBytes, IntoBytes};

/// Largest `s_log_block_size`: 64 KiB blocks, the most Linux knows.
const BLOCK_LOG_MAX: u32 = 6;

/// Largest `s_log_cluster_size`: 1 GiB (`EXT4_MAX_CLUSTER_LOG_SIZE` is 30).
const CLUSTER_LOG_MAX: u32 = 20;

/// `s_checksum_type` of CRC-32C, the only one there is.
const CHECKSUM_TYPE_CRC32C: u8 = 1;

/// A superblock with the right magic number; nothing else is known to be sound.
pub(super) struct Superblock {
    bytes: [u8; 1024],
    raw: raw::Superblock,
    /// The feature bits.
    pub(super) features: Features,
}

impl Superblock {
    /// The superblock of the disk; `None` when there is none.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        let mut bytes = [0; 1024];
        if disk.size_bytes() < raw::SUPERBLOCK_OFFSET + 1024 {
            return Ok(None);
        }
        disk.read_at(&mut bytes, raw::SUPERBLOCK_OFFSET)?;
        let Ok(raw) = raw::Superblock::read_from_bytes(bytes.as_bytes()) else {
            return Ok(None);
        };
        if raw.s_magic.get() != raw::SUPERBLOCK_MAGIC {
            return Ok(None);
        }
        let features = Features::of(&raw);
        Ok(Some(Self { bytes, raw, features }))
    }

    /// The fields as they stand.
    pub(super) fn raw(&self) -> &raw::Superblock {
        &self.raw
    }

    /// Bytes in a block, when that is a size we know.
    fn block_bytes(&self) -> Option<u64> {
        let log = self.raw.s_log_block_size.get();
        (log <= BLOCK_LOG_MAX).then(|| 1024 << log)
    }

    /// Blocks the filesystem says it has.
    fn blocks(&self) -> u64 {
        let low = u64::from(self.raw.s_blocks_count_lo.get());
        if self.features.has(SIXTY_FOUR_BIT) {
            u64::from(self.raw.s_blocks_count_hi.get()) << 32 | low
        } else {
            low
        }
    }

    /// Bytes the filesystem says it has; `None` when that is nonsense.
    pub(super) fn claimed_bytes(&self) -> Option<u64> {
        self.blocks().checked_mul(self.block_bytes()?)
    }

    /// The scheme of the group descriptors' and bitmaps' checksums.
    pub(super) fn checksums(&self) -> Checksums {
        Checksums::of(&self.raw, self.features)
    }

    /// Verifies the superblock's own checksum, when it has one.
    pub(super) fn verify(&self) -> Result<(), Refusal> {
        if !self.features.has(METADATA_CSUM) {
            return Ok(());
        }
        let kind = self.raw.s_checksum_type;
        if kind != CHECKSUM_TYPE_CRC32C {
            return Err(corrupt("type of its checksums", "1 (crc32c)", kind));
        }
        let checked = self.bytes.get(..raw::SUPERBLOCK_CHECKED).unwrap_or_default();
        let (expected, found) = (checksum::superblock(checked), self.raw.s_checksum.get());
        if expected != found {
            let expected = format!("checksum {expected:#010x}");
            return Err(corrupt("own checksum", expected, format!("{found:#010x}")));
        }
        Ok(())
    }

    /// The geometry, in which every number fits a disk of `disk_bytes`.
    pub(super) fn geometry(&self, disk_bytes: u64) -> Result<Geometry, Refusal> {
        let raw = &self.raw;
        let block_bytes = self.block_bytes().ok_or_else(|| {
            corrupt("block size", "at most 2^16 bytes", format!("2^(10+{})", raw.s_log_block_size))
        })?;
        let blocks = self.blocks();
        if self.claimed_bytes().is_none_or(|bytes| bytes > disk_bytes) {
            let expected = format!("at most the {} of the partition", disk_bytes / block_bytes);
            return Err(corrupt("number of blocks", expected, blocks));
        }
        let cluster_blocks = self.cluster_blocks()?;

        // The boot block is a block of its own only where blocks, and clusters, are 1 KiB.
        let first_data_block = u64::from(raw.s_first_data_block.get());
        let expected = u64::from(block_bytes.saturating_mul(cluster_blocks) == 1024);
        if first_data_block != expected {
            return Err(corrupt("first data block", expected.to_string(), first_data_block));
        }
        if blocks <= first_data_block {
            return Err(corrupt("number of blocks", "at least one group", blocks));
        }

        let group_blocks = u64::from(raw.s_blocks_per_group.get());
        let group_clusters = group_blocks / cluster_blocks;
        if group_clusters == 0
            || group_clusters % 8 != 0
            || group_clusters > 8 * block_bytes
            || group_blocks % cluster_blocks != 0
        {
            let expected = format!("whole bytes of a bitmap of {block_bytes} bytes");
            return Err(corrupt("blocks per group", expected, group_blocks));
        }
        let clusters_said = u64::from(raw.s_clusters_per_group.get());
        if self.features.has(BIGALLOC) && clusters_said != group_clusters {
            return Err(corrupt("clusters per group", group_clusters.to_string(), clusters_said));
        }

        let inode_bytes = self.inode_bytes(block_bytes)?;
        let group_inodes = raw.s_inodes_per_group.get();
        if group_inodes == 0 || u64::from(group_inodes) > 8 * block_bytes {
            return Err(corrupt("inodes per group", "1 to the bits of a block", group_inodes));
        }
        let inode_table_blocks = (u64::from(group_inodes) * inode_bytes).div_ceil(block_bytes);

        let groups = (blocks - first_data_block).div_ceil(group_blocks);
        let inodes = u64::from(raw.s_inodes_count.get());
        let groups = match u32::try_from(groups) {
            Ok(groups) if u64::from(groups) * u64::from(group_inodes) == inodes => groups,
            _ => {
                let expected = format!("{groups} groups of {group_inodes}");
                return Err(corrupt("number of inodes", expected, inodes));
            }
        };

        let descriptor_bytes = self.descriptor_bytes(block_bytes)?;
        let geometry = Geometry {
            block_bytes,
            blocks,
            first_data_block,
            group_blocks,
            cluster_blocks,
            groups,
            group_inodes,
            inode_bytes,
            inode_table_blocks,
            descriptor_bytes,
            reserved_descriptor_blocks: u64::from(raw.s_reserved_gdt_blocks.get()),
            first_meta_block: if self.features.has(META_BG) {
                u64::from(raw.s_first_meta_bg.get())
            } else {
                u64::MAX
            },
            backups: self.backups(),
        };
        let run = geometry.descriptor_blocks().min(geometry.first_meta_block);
        if !geometry.holds(geometry.descriptor_block(0), run.max(1)) {
            let expected = "room for its group descriptors";
            return Err(corrupt("number of blocks", expected, blocks));
        }
        Ok(geometry)
    }

    fn cluster_blocks(&self) -> Result<u64, Refusal> {
        let (block, cluster) = (self.raw.s_log_block_size.get(), self.raw.s_log_cluster_size.get());
        if !self.features.has(BIGALLOC) {
            // Long ago the field was the size of fragments, which were never implemented.
            return if cluster == block || self.is_old() {
                Ok(1)
            } else {
                Err(corrupt("cluster size", "that of a block", format!("2^(10+{cluster})")))
            };
        }
        match cluster.checked_sub(block) {
            Some(log) if cluster <= CLUSTER_LOG_MAX => Ok(1 << log),
            _ => {
                let expected = "that of a block to 2^30";
                Err(corrupt("cluster size", expected, format!("2^(10+{cluster})")))
            }
        }
    }

    /// Revision 0: fixed sizes and no features.
    fn is_old(&self) -> bool {
        self.raw.s_rev_level.get() == 0
    }

    fn inode_bytes(&self, block_bytes: u64) -> Result<u64, Refusal> {
        if self.is_old() {
            return Ok(128);
        }
        let bytes = u64::from(self.raw.s_inode_size.get());
        if bytes < 128 || bytes > block_bytes || !bytes.is_power_of_two() {
            return Err(corrupt("inode size", "a power of two from 128 to a block", bytes));
        }
        Ok(bytes)
    }

    fn descriptor_bytes(&self, block_bytes: u64) -> Result<u64, Refusal> {
        if !self.features.has(SIXTY_FOUR_BIT) {
            return Ok(32);
        }
        let bytes = u64::from(self.raw.s_desc_size.get());
        if bytes < 64 || bytes > block_bytes.min(1024) || !bytes.is_power_of_two() {
            return Err(corrupt("descriptor size", "a power of two from 64 to 1024", bytes));
        }
        Ok(bytes)
    }

    fn backups(&self) -> Backups {
        if self.features.has(SPARSE_SUPER2) {
            Backups::Listed(self.raw.s_backup_bgs.map(|group| group.get()))
        } else if self.features.has(SPARSE_SUPER) {
            Backups::Sparse
        } else {
            Backups::EveryGroup
        }
    }
}

/// A field of the superblock that contradicts the rest or the disk.
fn corrupt(field: &str, expected: impl Into<String>, found: impl ToString) -> Refusal {
    let what = format!("{field} in the superblock");
    Refusal::corrupt(what, raw::SUPERBLOCK_OFFSET, expected, found.to_string())
}
