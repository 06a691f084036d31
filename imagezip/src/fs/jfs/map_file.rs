//! The block map as a file: from a page of it to its place on the disk.
//!
//! What it owns: the inode of the map and its tree of extents. What it never does: believe a tree
//! that is deeper than the kernel's, or extents that do not follow each other.

use super::raw;
use super::superblock::{BLOCK_BYTES, Geometry};
use crate::disk::ReadDisk;
use crate::fs::areas::{part, read};
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Byte offset of the table of aggregate inodes.
const TABLE_OFFSET: u64 = 0xB000;
/// The inode of the block map.
const MAP_INODE: u64 = 2;
/// Bytes of an inode.
const INODE_BYTES: u64 = 512;
/// Most extents of the map, far above what one gets by growing: an extent has up to 2^24 blocks.
const EXTENTS_MAX: usize = 1 << 20;
/// Deepest tree that we follow. Twice 254 entries each already cover any file.
const LEVELS_MAX: u32 = 4;

/// The extents of the block map, in order and without holes.
pub(super) struct MapFile {
    /// First page of the file, first block of the disk, blocks.
    extents: Vec<(u64, u64, u64)>,
    pages: u64,
}

impl MapFile {
    /// Reads the inode and its tree.
    pub(super) fn read(disk: &dyn ReadDisk, g: &Geometry) -> Result<Self, Refusal> {
        let at = TABLE_OFFSET + MAP_INODE * INODE_BYTES;
        let bytes = read(disk, at, INODE_BYTES)?;
        let inode = raw::Inode::read_from_bytes(&bytes)
            .ok()
            .filter(|i| u64::from(i.di_number.get()) == MAP_INODE && i.di_fileset.get() == 1);
        let Some(inode) = inode else {
            return Err(Refusal::corrupt("inode of the block map", at, "number 2", "another"));
        };
        let mut file = Self { extents: Vec::new(), pages: 0 };
        file.add(disk, g, &inode.di_xtroot, at, LEVELS_MAX)?;
        let pages = inode.di_size.get() / BLOCK_BYTES;
        if pages > file.pages {
            let found = format!("{} of them", file.pages);
            return Err(Refusal::corrupt("block map", at, format!("{pages} pages"), found));
        }
        Ok(file)
    }

    /// Adds what a page of the tree, at a byte offset, holds.
    fn add(
        &mut self,
        disk: &dyn ReadDisk,
        g: &Geometry,
        page: &[u8],
        at: u64,
        levels: u32,
    ) -> Result<(), Refusal> {
        let corrupt = |expected: &str, found: String| {
            Refusal::corrupt("tree of the block map", at, expected, found)
        };
        let Ok((header, _)) = raw::TreeHeader::read_from_prefix(page) else {
            return Err(corrupt("a page", "less".into()));
        };
        let room = u64::try_from(page.len()).unwrap_or_default() / 16;
        let next = u64::from(header.nextindex.get());
        if !(2..=room).contains(&next) {
            return Err(corrupt("entries in its room", format!("{next} of {room}")));
        }
        for index in 2..next {
            let Ok(entry) = raw::Extent::read_from_bytes(part(page, index * 16, 16)) else {
                return Err(corrupt("an entry", "less".into()));
            };
            let offset = u64::from(entry.off1) << 32 | u64::from(entry.off2.get());
            let (start, blocks) = (entry.loc.start(), entry.loc.blocks());
            if blocks == 0 || entry.loc.end() > g.mapped {
                let found = format!("{blocks} blocks at {start}");
                return Err(corrupt("blocks of the filesystem", found));
            }
            if header.flag & raw::LEAF != 0 {
                if offset != self.pages || self.extents.len() >= EXTENTS_MAX {
                    let expected = format!("page {} next", self.pages);
                    return Err(corrupt(&expected, offset.to_string()));
                }
                self.extents.push((offset, start, blocks));
                self.pages += blocks;
            } else if header.flag & raw::INTERNAL != 0 && levels > 0 {
                let below = start * BLOCK_BYTES;
                let page = read(disk, below, BLOCK_BYTES)?;
                self.add(disk, g, &page, below, levels - 1)?;
            } else {
                return Err(corrupt("a leaf or a node", format!("flags {:#x}", header.flag)));
            }
        }
        Ok(())
    }

    /// Byte offset of a page, and how many pages stand there in a row; `None` behind the end.
    pub(super) fn place(&self, page: u64) -> Option<(u64, u64)> {
        let after = self.extents.partition_point(|(first, ..)| *first <= page);
        let (first, start, blocks) = self.extents.get(after.checked_sub(1)?)?;
        let skipped = page - first;
        let left = blocks.checked_sub(skipped).filter(|left| *left > 0)?;
        Some(((start + skipped) * BLOCK_BYTES, left))
    }

    /// The runs of blocks that the map itself takes.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.extents.iter().map(|(_, start, blocks)| (*start, start + blocks))
    }
}
