//! The table of group descriptors.
//!
//! What it owns: finding, reading and verifying descriptors, many at a time. What it never does:
//! hold the whole table, which is 50 MB on a 100 TB filesystem.

use super::checksum::{Checksums, low_half};
use super::geometry::Geometry;
use super::raw;
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Bytes of the table read in one go, at least a block: 8192 groups of 64 bytes, 1 TiB of disk.
const BATCH_BYTES: u64 = 512 << 10;

/// `EXT4_BG_BLOCK_UNINIT`: the group's block bitmap was never written.
const BLOCK_UNINIT: u16 = 0x2;

/// A run of blocks that must be in use: a structure of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnBlocks {
    /// What it is, for messages.
    pub(super) name: &'static str,
    /// First block.
    pub(super) start: u64,
    /// Blocks.
    pub(super) count: u64,
}

/// A descriptor whose checksum is right and whose blocks lie inside the filesystem.
#[derive(Clone, Debug)]
pub(super) struct GroupDescriptor {
    /// Index of the group.
    pub(super) group: u32,
    /// Block of the block bitmap.
    pub(super) block_bitmap: u64,
    inode_bitmap: u64,
    /// First block of the inode table.
    pub(super) inode_table: u64,
    inode_table_blocks: u64,
    /// Free clusters.
    pub(super) free_clusters: u64,
    /// The block bitmap was never written; all but the group's own structures is free.
    pub(super) bitmap_unwritten: bool,
    bitmap_checksum_low: u16,
    /// Only descriptors of 64 bytes have it.
    bitmap_checksum_high: Option<u16>,
}

impl GroupDescriptor {
    /// The blocks of the group's own structures, wherever they stand.
    pub(super) fn own_blocks(&self) -> [OwnBlocks; 3] {
        [
            OwnBlocks { name: "block bitmap", start: self.block_bitmap, count: 1 },
            OwnBlocks { name: "inode bitmap", start: self.inode_bitmap, count: 1 },
            OwnBlocks {
                name: "inode table",
                start: self.inode_table,
                count: self.inode_table_blocks,
            },
        ]
    }

    /// True when this can be the checksum of the group's block bitmap.
    pub(super) fn matches_bitmap_checksum(&self, sum: u32) -> bool {
        let high = low_half(sum >> 16);
        low_half(sum) == self.bitmap_checksum_low
            && self.bitmap_checksum_high.is_none_or(|found| found == high)
    }
}

/// Reads descriptors.
#[derive(Clone, Copy)]
pub(super) struct DescriptorTable<'a> {
    disk: &'a dyn ReadDisk,
    geometry: &'a Geometry,
    checksums: Checksums,
}

impl<'a> DescriptorTable<'a> {
    pub(super) fn new(
        disk: &'a dyn ReadDisk,
        geometry: &'a Geometry,
        checksums: Checksums,
    ) -> Self {
        Self { disk, geometry, checksums }
    }

    /// Calls `each` with all descriptors in the order of their groups, many at a time.
    pub(super) fn for_each_batch(
        &self,
        mut each: impl FnMut(&[GroupDescriptor]) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let total = self.geometry.descriptor_blocks();
        let batch_blocks = (BATCH_BYTES / self.geometry.block_bytes.max(1)).max(1);
        let mut index = 0;
        while index < total {
            let first = self.geometry.descriptor_block(index);
            let mut count = 1;
            while count < batch_blocks
                && index + count < total
                && self.geometry.descriptor_block(index + count) == first.saturating_add(count)
            {
                count += 1;
            }
            each(&self.read_blocks(index, first, count)?)?;
            index += count;
        }
        Ok(())
    }

    /// The descriptor of one group.
    pub(super) fn get(&self, group: u32) -> Result<GroupDescriptor, Refusal> {
        let index = u64::from(group) / self.geometry.descriptors_per_block();
        let block = self.geometry.descriptor_block(index);
        let found = self.read_blocks(index, block, 1)?;
        found.into_iter().find(|d| d.group == group).ok_or_else(|| {
            let at = self.geometry.byte_offset(block);
            let expected = format!("below {}", self.geometry.groups);
            Refusal::corrupt("number of a group", at, expected, group.to_string())
        })
    }

    /// The descriptors in `count` consecutive blocks of the disk, the first of them block `index`
    /// of the table.
    fn read_blocks(
        &self,
        index: u64,
        first: u64,
        count: u64,
    ) -> Result<Vec<GroupDescriptor>, Refusal> {
        let geometry = self.geometry;
        let offset = geometry.byte_offset(first);
        if !geometry.holds(first, count) {
            let expected = format!("below block {}", geometry.blocks);
            let what = format!("block {index} of the group descriptors");
            return Err(Refusal::corrupt(what, offset, expected, first.to_string()));
        }
        // At most BATCH_BYTES, or one block.
        let len = usize::try_from(geometry.byte_offset(count)).unwrap_or_default();
        let mut bytes = vec![0; len];
        self.disk.read_at(&mut bytes, offset)?;

        let group = index.saturating_mul(geometry.descriptors_per_block());
        let size = usize::try_from(geometry.descriptor_bytes).unwrap_or(usize::MAX).max(1);
        let groups = u32::try_from(group).unwrap_or(u32::MAX)..geometry.groups;
        let mut offset = offset;
        let mut found = Vec::with_capacity((len / size).min(groups.len()));
        for (group, bytes) in groups.zip(bytes.chunks_exact(size)) {
            found.push(self.parse(group, offset, bytes)?);
            offset = offset.saturating_add(geometry.descriptor_bytes);
        }
        Ok(found)
    }

    fn parse(&self, group: u32, offset: u64, bytes: &[u8]) -> Result<GroupDescriptor, Refusal> {
        let corrupt = |expected: String, found: String| {
            Refusal::corrupt(format!("descriptor of group {group}"), offset, expected, found)
        };
        let Ok((low, rest)) = raw::GroupDescriptor::ref_from_prefix(bytes) else {
            return Err(corrupt("32 bytes".into(), bytes.len().to_string()));
        };
        let high = raw::GroupDescriptorHigh::ref_from_prefix(rest).ok().map(|(high, _)| high);
        let found = low.bg_checksum.get();
        if let Some(sum) = self.checksums.descriptor(group, bytes)
            && sum != found
        {
            return Err(corrupt(format!("checksum {sum:#06x}"), format!("{found:#06x}")));
        }
        let wide = |low: u32, high: Option<u32>| {
            u64::from(low) | u64::from(high.unwrap_or_default()) << 32
        };
        let flags = low.bg_flags.get();
        let free_high = high.map_or(0, |h| h.bg_free_blocks_count_hi.get());
        let descriptor = GroupDescriptor {
            group,
            block_bitmap: wide(
                low.bg_block_bitmap_lo.get(),
                high.map(|h| h.bg_block_bitmap_hi.get()),
            ),
            inode_bitmap: wide(
                low.bg_inode_bitmap_lo.get(),
                high.map(|h| h.bg_inode_bitmap_hi.get()),
            ),
            inode_table: wide(low.bg_inode_table_lo.get(), high.map(|h| h.bg_inode_table_hi.get())),
            inode_table_blocks: self.geometry.inode_table_blocks,
            free_clusters: u64::from(free_high) << 16
                | u64::from(low.bg_free_blocks_count_lo.get()),
            // Without checksums nobody vouches for the flag, and the kernel ignores it.
            bitmap_unwritten: self.checksums.vouch_for_flags() && flags & BLOCK_UNINIT != 0,
            bitmap_checksum_low: low.bg_block_bitmap_csum_lo.get(),
            bitmap_checksum_high: high.map(|h| h.bg_block_bitmap_csum_hi.get()),
        };
        for own in descriptor.own_blocks() {
            if !self.geometry.holds(own.start, own.count) {
                let end = self.geometry.blocks;
                let expected = format!("{} below block {end}", own.name);
                return Err(corrupt(expected, format!("block {}", own.start)));
            }
        }
        Ok(descriptor)
    }
}
