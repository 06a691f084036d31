//! The two trees of free space of a group: by block and by length.
//!
//! What it owns: walking a tree from its root, verifying every block of it. What it never does:
//! walk in circles. Each level is one below the one before, and the records of the leaves must
//! ascend through the whole tree, so a block met twice ends the walk.

use super::group::Free;
use super::superblock::Geometry;
use super::{checksum, raw};
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use zerocopy::{FromBytes, big_endian as be};

/// More levels than the largest group can need (`XFS_BTREE_MAXLEVELS`).
const LEVELS_MAX: u32 = 9;

/// The order of a tree's records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    /// By first block: the tree that defines what is free.
    Block,
    /// By length, then by first block.
    Count,
}

/// Where a tree starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    /// Block in the group.
    pub(super) block: u32,
    /// Levels, 1 for a leaf only.
    pub(super) levels: u32,
}

/// Calls `found` with every run of free blocks, in the tree's order.
pub(super) fn walk(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    group: u32,
    root: Root,
    order: Order,
    found: &mut dyn FnMut(Free) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if root.levels == 0 || root.levels > LEVELS_MAX {
        return Err(Refusal::corrupt(
            format!("levels of a tree of free space in the AGF of group {group}"),
            geometry.byte_offset(group, 0) + geometry.sector_bytes,
            format!("1 to {LEVELS_MAX}"),
            root.levels.to_string(),
        ));
    }
    let mut walk =
        Walk { disk, geometry, group, order, last: None, last_leaf: raw::NO_BLOCK, found };
    let next = walk.visit(root.block, root.levels - 1, true)?;
    if next != raw::NO_BLOCK {
        return Err(walk.corrupt(walk.last_leaf, "right neighbour", "none", next));
    }
    Ok(())
}

struct Walk<'a> {
    disk: &'a dyn ReadDisk,
    geometry: &'a Geometry,
    group: u32,
    order: Order,
    /// The record before, of any leaf.
    last: Option<Free>,
    /// The leaf before.
    last_leaf: u32,
    found: &'a mut dyn FnMut(Free) -> Result<(), Refusal>,
}

impl Walk<'_> {
    /// Visits a block of this level (0 for a leaf) and all below it. Returns the right neighbour
    /// of its last leaf.
    fn visit(&mut self, block: u32, level: u32, is_root: bool) -> Result<u32, Refusal> {
        let (header, bytes) = self.read(block, level)?;
        let content = bytes.get(self.header_len()..).unwrap_or_default();
        let count = usize::from(header.bb_numrecs.get());
        // A node holds keys of eight bytes and, after room for as many as fit, pointers of four.
        let room = if level == 0 { content.len() / 8 } else { content.len() / 12 };
        if count > room || (count == 0 && !(is_root && level == 0)) {
            return Err(self.corrupt(block, "number of records", &format!("1 to {room}"), count));
        }
        if level == 0 {
            self.leaf(block, &header, content, count)?;
            return Ok(header.bb_rightsib.get());
        }
        let pointers = content.get(room * 8..).unwrap_or_default();
        let mut next = raw::NO_BLOCK;
        for index in 0..count {
            let pointer = be::U32::read_from_prefix(pointers.get(index * 4..).unwrap_or_default());
            let Ok((pointer, _)) = pointer else {
                return Err(self.corrupt(block, "pointers", "room for them", index));
            };
            if index > 0 && level == 1 && next != pointer.get() {
                let expected = pointer.to_string();
                return Err(self.corrupt(self.last_leaf, "right neighbour", &expected, next));
            }
            next = self.visit(pointer.get(), level - 1, false)?;
        }
        Ok(next)
    }

    fn leaf(
        &mut self,
        block: u32,
        header: &raw::BtreeHeader,
        content: &[u8],
        count: usize,
    ) -> Result<(), Refusal> {
        if header.bb_leftsib.get() != self.last_leaf {
            let expected = self.last_leaf.to_string();
            return Err(self.corrupt(block, "left neighbour", &expected, header.bb_leftsib));
        }
        self.last_leaf = block;
        let end = self.geometry.blocks_in(self.group);
        for record in content.chunks_exact(size_of::<raw::FreeExtent>()).take(count) {
            let Ok(record) = raw::FreeExtent::ref_from_bytes(record) else {
                return Err(self.corrupt(block, "records", "eight bytes each", record.len()));
            };
            let free = Free {
                start: record.ar_startblock.get().into(),
                blocks: record.ar_blockcount.get().into(),
            };
            if free.blocks == 0 || free.start.saturating_add(free.blocks) > end {
                let expected = format!("blocks below {end}");
                return Err(self.corrupt(block, "record", &expected, format!("{free:?}")));
            }
            let ascends = self.last.is_none_or(|last| match self.order {
                Order::Block => last.start + last.blocks <= free.start,
                Order::Count => (last.blocks, last.start) < (free.blocks, free.start),
            });
            if !ascends {
                let expected = format!("one after {:?}", self.last);
                return Err(self.corrupt(block, "record", &expected, format!("{free:?}")));
            }
            self.last = Some(free);
            (self.found)(free)?;
        }
        Ok(())
    }

    fn header_len(&self) -> usize {
        let v5 = if self.geometry.has_checksums { size_of::<raw::BtreeHeaderV5>() } else { 0 };
        size_of::<raw::BtreeHeader>() + v5
    }

    /// `ABTB` and `ABTC`; `AB3B` and `AB3C` with checksums.
    fn magic(&self) -> u32 {
        u32::from_be_bytes(match (self.order, self.geometry.has_checksums) {
            (Order::Block, false) => *b"ABTB",
            (Order::Count, false) => *b"ABTC",
            (Order::Block, true) => *b"AB3B",
            (Order::Count, true) => *b"AB3C",
        })
    }

    fn read(&self, block: u32, level: u32) -> Result<(raw::BtreeHeader, Vec<u8>), Refusal> {
        let geometry = self.geometry;
        let (low, high) = (geometry.header_blocks(), geometry.blocks_in(self.group));
        if !(low..high).contains(&u64::from(block)) {
            let expected = format!("a block from {low} to {}", high.saturating_sub(1));
            return Err(self.corrupt(block, "place", &expected, block));
        }
        let offset = geometry.byte_offset(self.group, u64::from(block));
        let mut bytes = vec![0; usize::try_from(geometry.block_bytes).unwrap_or_default()];
        self.disk.read_at(&mut bytes, offset)?;
        let Ok((header, rest)) = raw::BtreeHeader::read_from_prefix(&bytes) else {
            return Err(self.corrupt(block, "header", "a block", bytes.len()));
        };
        if header.bb_magic.get() != self.magic() {
            let expected = format!("{:#010x}", self.magic());
            let found = format!("{:#010x}", header.bb_magic);
            return Err(self.corrupt(block, "magic number", &expected, found));
        }
        if geometry.has_checksums {
            self.verify(block, offset, rest, &bytes)?;
        }
        if u32::from(header.bb_level.get()) != level {
            return Err(self.corrupt(block, "level", &level.to_string(), header.bb_level));
        }
        Ok((header, bytes))
    }

    fn verify(&self, block: u32, offset: u64, rest: &[u8], bytes: &[u8]) -> Result<(), Refusal> {
        let Ok((v5, _)) = raw::BtreeHeaderV5::read_from_prefix(rest) else {
            return Err(self.corrupt(block, "header", "a block", bytes.len()));
        };
        let sum = checksum::of(bytes, raw::BTREE_CRC_OFFSET);
        if sum != v5.bb_crc.get() {
            let found = format!("{:#010x}", v5.bb_crc);
            return Err(self.corrupt(block, "checksum", &format!("{sum:#010x}"), found));
        }
        let is_ours = v5.bb_uuid == self.geometry.uuid
            && v5.bb_owner.get() == self.group
            && v5.bb_blkno.get() == offset / 512;
        if !is_ours {
            let expected = "its own UUID, group and place";
            return Err(self.corrupt(block, "owner", expected, "those of another"));
        }
        Ok(())
    }

    fn corrupt(&self, block: u32, field: &str, expected: &str, found: impl ToString) -> Refusal {
        let tree = match self.order {
            Order::Block => "bnobt",
            Order::Count => "cntbt",
        };
        let group = self.group;
        Refusal::corrupt(
            format!("{field} in block {block} of the {tree} of group {group}"),
            self.geometry.byte_offset(group, u64::from(block)),
            expected,
            found.to_string(),
        )
    }
}
