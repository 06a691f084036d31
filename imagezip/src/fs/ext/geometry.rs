//! Where things stand in an ext filesystem: groups, clusters, copies of superblock and descriptors.
//!
//! What it owns: all arithmetic between groups, blocks, clusters and sectors. What it never does:
//! read the disk. Its numbers were checked when the superblock was parsed: the filesystem fits the
//! disk, so no block number times the block size overflows.

use crate::units::{Sector, SectorRange};

/// Which groups hold a copy of the superblock and of the group descriptors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Backups {
    /// All of them, as before `sparse_super`.
    EveryGroup,
    /// Groups 0, 1 and the powers of 3, 5 and 7 (`sparse_super`).
    Sparse,
    /// Group 0 and these; 0 means none (`sparse_super2`).
    Listed([u32; 2]),
}

/// The numbers that place everything.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    /// Bytes in a block: a power of two from 1 KiB to 64 KiB.
    pub(super) block_bytes: u64,
    /// Blocks of the filesystem, counted from the start of the partition.
    pub(super) blocks: u64,
    /// Where group 0 starts: 1 when the boot block is a block of its own, else 0.
    pub(super) first_data_block: u64,
    /// Blocks of every group but the last.
    pub(super) group_blocks: u64,
    /// Blocks in a cluster, the unit of the block bitmap: 1 without `bigalloc`.
    pub(super) cluster_blocks: u64,
    /// Number of groups; all their indexes fit a `u32`.
    pub(super) groups: u32,
    /// Inodes in a group.
    pub(super) group_inodes: u32,
    /// Bytes in an inode.
    pub(super) inode_bytes: u64,
    /// Blocks of the inode table of a group.
    pub(super) inode_table_blocks: u64,
    /// Bytes in a group descriptor.
    pub(super) descriptor_bytes: u64,
    /// Blocks kept after the descriptors for growing.
    pub(super) reserved_descriptor_blocks: u64,
    /// Descriptor blocks from this one on stand in their own groups (`meta_bg`).
    pub(super) first_meta_block: u64,
    /// Which groups hold copies.
    pub(super) backups: Backups,
}

impl Geometry {
    /// Group descriptors in a block.
    pub(super) fn descriptors_per_block(&self) -> u64 {
        (self.block_bytes / self.descriptor_bytes.max(1)).max(1)
    }

    /// Blocks that hold all group descriptors.
    pub(super) fn descriptor_blocks(&self) -> u64 {
        u64::from(self.groups).div_ceil(self.descriptors_per_block())
    }

    /// Clusters of every group but the last: bits of a block bitmap.
    pub(super) fn group_clusters(&self) -> u64 {
        self.group_blocks / self.cluster_blocks.max(1)
    }

    /// Clusters of this group.
    pub(super) fn clusters_in(&self, group: u32) -> u64 {
        let left = self.blocks.saturating_sub(self.group_start(group));
        left.div_ceil(self.cluster_blocks.max(1)).min(self.group_clusters())
    }

    /// The first block of a group.
    pub(super) fn group_start(&self, group: u32) -> u64 {
        u64::from(group).saturating_mul(self.group_blocks).saturating_add(self.first_data_block)
    }

    /// The group a block lies in; `None` for a block before the first group.
    pub(super) fn group_of(&self, block: u64) -> Option<u32> {
        let offset = block.checked_sub(self.first_data_block)?;
        u32::try_from(offset / self.group_blocks.max(1)).ok().filter(|group| *group < self.groups)
    }

    /// True when `count` blocks from `start` lie in the groups.
    pub(super) fn holds(&self, start: u64, count: u64) -> bool {
        start >= self.first_data_block
            && start.checked_add(count).is_some_and(|end| end <= self.blocks)
    }

    /// The byte where a block starts.
    pub(super) fn byte_offset(&self, block: u64) -> u64 {
        block.saturating_mul(self.block_bytes)
    }

    /// The sectors of blocks `start` to, not including, `end`, cut at the end of the filesystem.
    pub(super) fn sectors(&self, start: u64, end: u64) -> SectorRange {
        let sector = |block: u64| {
            Sector::containing_byte(self.byte_offset(block.min(self.blocks))).unwrap_or_default()
        };
        SectorRange::new(sector(start), sector(end)).unwrap_or_default()
    }

    /// The block that holds the primary superblock.
    fn superblock_block(&self) -> u64 {
        super::raw::SUPERBLOCK_OFFSET / self.block_bytes.max(1)
    }

    /// True when a group starts with a copy of the superblock.
    pub(super) fn has_superblock(&self, group: u32) -> bool {
        match self.backups {
            _ if group == 0 => true,
            Backups::EveryGroup => true,
            Backups::Listed(groups) => groups.contains(&group),
            Backups::Sparse => group == 1 || [3, 5, 7].iter().any(|base| is_power(group, *base)),
        }
    }

    /// Where a block of group descriptors stands.
    pub(super) fn descriptor_block(&self, index: u64) -> u64 {
        if index < self.first_meta_block {
            return self.superblock_block().saturating_add(1).saturating_add(index);
        }
        let group = u32::try_from(index.saturating_mul(self.descriptors_per_block()));
        let group = group.unwrap_or(u32::MAX);
        self.group_start(group)
            .saturating_add(u64::from(self.has_superblock(group)))
            .saturating_add(self.shift_of_group(group))
    }

    /// Group 0 with 1 KiB blocks and larger clusters starts with the boot block.
    fn shift_of_group(&self, group: u32) -> u64 {
        if group == 0 { self.superblock_block().saturating_sub(self.first_data_block) } else { 0 }
    }

    /// Blocks at the start of a group that hold copies of superblock and descriptors, and the room
    /// kept for the descriptors to grow.
    pub(super) fn base_blocks(&self, group: u32) -> u64 {
        let superblock = u64::from(self.has_superblock(group));
        let per_block = self.descriptors_per_block();
        let index = u64::from(group) / per_block;
        let descriptors = if index < self.first_meta_block {
            let in_one_run = self.descriptor_blocks().min(self.first_meta_block);
            superblock * in_one_run.saturating_add(self.reserved_descriptor_blocks)
        } else {
            // The first, second and last group of those it describes hold a copy.
            let place = u64::from(group) % per_block;
            u64::from(place <= 1 || place == per_block - 1)
        };
        if superblock + descriptors == 0 {
            return 0;
        }
        superblock.saturating_add(descriptors).saturating_add(self.shift_of_group(group))
    }
}

fn is_power(mut n: u32, base: u32) -> bool {
    while n > 1 && n.is_multiple_of(base) {
        n /= base;
    }
    n == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(backups: Backups) -> Geometry {
        Geometry {
            block_bytes: 4096,
            blocks: 32768 * 300 + 1000,
            first_data_block: 0,
            group_blocks: 32768,
            cluster_blocks: 1,
            groups: 301,
            group_inodes: 8192,
            inode_bytes: 256,
            inode_table_blocks: 512,
            descriptor_bytes: 64,
            reserved_descriptor_blocks: 100,
            first_meta_block: u64::MAX,
            backups,
        }
    }

    #[test]
    fn copies_of_the_superblock() {
        let with = |backups| {
            let g = geometry(backups);
            (0..g.groups).filter(|i| g.has_superblock(*i)).collect::<Vec<_>>()
        };
        assert_eq!(with(Backups::Sparse), [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243]);
        assert_eq!(with(Backups::Listed([1, 300])), [0, 1, 300]);
        assert_eq!(with(Backups::Listed([0, 0])), [0]);
        assert_eq!(with(Backups::EveryGroup).len(), 301);
    }

    #[test]
    fn the_last_group_is_short() {
        let g = geometry(Backups::Sparse);
        assert_eq!((g.clusters_in(299), g.clusters_in(300)), (32768, 1000));
        assert_eq!(g.group_of(g.blocks - 1), Some(300));
        assert!(g.holds(g.blocks - 1, 1) && !g.holds(g.blocks - 1, 2) && !g.holds(u64::MAX, 2));
        assert_eq!(g.sectors(g.blocks - 1, g.blocks + 5).count().get(), 8);
    }

    #[test]
    fn descriptors_in_one_run_or_in_their_groups() {
        let mut g = geometry(Backups::Sparse);
        assert_eq!(g.descriptor_blocks(), 5);
        assert_eq!((g.descriptor_block(0), g.descriptor_block(4)), (1, 5));
        assert_eq!((g.base_blocks(0), g.base_blocks(2), g.base_blocks(3)), (106, 0, 106));
        g.first_meta_block = 1;
        assert_eq!(g.descriptor_block(0), 1);
        assert_eq!(g.descriptor_block(1), 64 * 32768);
        assert_eq!((g.base_blocks(3), g.base_blocks(64)), (102, 1));
        assert_eq!((g.base_blocks(65), g.base_blocks(66), g.base_blocks(127)), (1, 0, 1));
        assert_eq!(g.base_blocks(81), 1); // a copy of the superblock only
    }
}
