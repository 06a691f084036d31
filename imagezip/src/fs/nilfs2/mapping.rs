//! Blocks of metadata files: from an offset in the file to a place on the disk.
//!
//! What it owns: direct maps, btrees, and the DAT, which says where the virtual blocks are that
//! other files speak of. What it never does: follow a tree deeper than its levels.

use super::raw;
use super::superblock::Geometry;
use crate::disk::ReadDisk;
use crate::fs::areas::{part, read};
use crate::fs::refusal::Refusal;
use std::cell::RefCell;
use std::rc::Rc;
use zerocopy::FromBytes;

/// Flag of a map that is a btree: `NILFS_BMAP_LARGE`.
const LARGE: u8 = 1;
/// Most levels of a btree: `NILFS_BTREE_LEVEL_MAX` is 14, with that of the data.
const LEVELS_MAX: u8 = 13;
/// Bytes before the keys of the root of a btree.
const ROOT_KEYS: u64 = 8;
/// Most children of the root.
const ROOT_CHILDREN: u64 = 3;
/// Bytes before the keys of other nodes.
const NODE_KEYS: u64 = 16;
/// Blocks remembered, each in the place its number tells.
const CACHED: u64 = 64;

/// Metadata files by their inodes.
pub(super) struct Files<'a> {
    disk: &'a dyn ReadDisk,
    g: &'a Geometry,
    dat: raw::Inode,
    cache: RefCell<Vec<Option<Cached>>>,
}

/// A block and its number.
type Cached = (u64, Rc<Vec<u8>>);

/// What the pointers of a file mean.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pointers {
    /// Blocks of the disk: the DAT itself.
    Physical,
    /// Virtual blocks, to be looked up in the DAT.
    Virtual,
}

impl<'a> Files<'a> {
    /// Files of this filesystem, whose DAT has this inode.
    pub(super) fn new(disk: &'a dyn ReadDisk, g: &'a Geometry, dat: raw::Inode) -> Self {
        let cache = RefCell::new((0..CACHED).map(|_| None).collect());
        Self { disk, g, dat, cache }
    }

    /// A block of a file other than the DAT; `None` for a hole.
    pub(super) fn block(
        &self,
        inode: &raw::Inode,
        offset: u64,
    ) -> Result<Option<Rc<Vec<u8>>>, Refusal> {
        self.lookup(inode, offset, Pointers::Virtual)
    }

    fn lookup(
        &self,
        inode: &raw::Inode,
        offset: u64,
        pointers: Pointers,
    ) -> Result<Option<Rc<Vec<u8>>>, Refusal> {
        let map = &inode.i_bmap;
        let [flags, ..] = map;
        if flags & LARGE == 0 {
            // Behind the header stand the pointers of the first six blocks.
            let pointer = if offset < 6 { word(map, 8 + offset * 8) } else { 0 };
            return self.follow(pointer, pointers);
        }
        let mut node = Rc::new(map.to_vec());
        let mut place = NodePlace { keys: ROOT_KEYS, children_max: ROOT_CHILDREN, level: None };
        loop {
            let Some((level, pointer)) = self.child(&node, offset, place)? else {
                return Ok(None);
            };
            let below = self.follow(pointer, pointers)?;
            if level <= 1 {
                return Ok(below);
            }
            node = below.ok_or_else(|| self.corrupt("node of a btree", "a pointer", "none"))?;
            let children_max = (self.g.block_bytes - NODE_KEYS) / 16;
            place = NodePlace { keys: NODE_KEYS, children_max, level: Some(level - 1) };
        }
    }

    /// The level of a node and the pointer that leads to this key; `None` when it has none.
    fn child(&self, node: &[u8], key: u64, place: NodePlace) -> Result<Option<(u8, u64)>, Refusal> {
        let Ok((header, _)) = raw::BtreeNode::read_from_prefix(node) else {
            return Err(self.corrupt("node of a btree", "a header", "less"));
        };
        let (level, children) = (header.bn_level, u64::from(header.bn_nchildren.get()));
        let is_level = place.level.is_none_or(|wanted| wanted == level);
        if !(1..=LEVELS_MAX).contains(&level) || !is_level || children > place.children_max {
            let found = format!("level {level}, {children} children");
            let expected = format!("level {:?}, at most {}", place.level, place.children_max);
            return Err(self.corrupt("node of a btree", &expected, &found));
        }
        let key_at = |index: u64| word(node, place.keys + index * 8);
        // The last child whose key is not above.
        let (mut low, mut high) = (0, children);
        while low < high {
            let middle = low + (high - low) / 2;
            if key_at(middle) <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(index) = low.checked_sub(1) else { return Ok(None) };
        if level == 1 && key_at(index) != key {
            return Ok(None);
        }
        Ok(Some((level, word(node, place.keys + (place.children_max + index) * 8))))
    }

    fn follow(&self, pointer: u64, pointers: Pointers) -> Result<Option<Rc<Vec<u8>>>, Refusal> {
        if pointer == 0 {
            return Ok(None);
        }
        match pointers {
            Pointers::Physical => self.read_block(pointer).map(Some),
            Pointers::Virtual => self.read_block(self.place_of(pointer)?).map(Some),
        }
    }

    /// Where the DAT says a virtual block is.
    fn place_of(&self, number: u64) -> Result<u64, Refusal> {
        // A group is a block of bits and the entries for them; some groups share a block of
        // descriptors in front of them.
        let per_group = self.g.block_bytes * 8;
        let per_block = self.g.block_bytes / self.g.dat_entry_bytes;
        let group_blocks = per_group.div_ceil(per_block) + 1;
        let per_descriptors = self.g.block_bytes / 4;
        let (group, entry) = (number / per_group, number % per_group);
        let in_front = group / per_descriptors + 1;
        let offset = group
            .checked_mul(group_blocks)
            .and_then(|blocks| blocks.checked_add(in_front + 1 + entry / per_block));
        let block = match offset {
            Some(offset) => self.lookup(&self.dat, offset, Pointers::Physical)?,
            None => None,
        };
        let entry_at = entry % per_block * self.g.dat_entry_bytes;
        let bytes = block.as_ref().map(|block| part(block, entry_at, 32)).unwrap_or_default();
        match raw::DatEntry::read_from_bytes(bytes) {
            Ok(entry) if entry.de_blocknr.get() != 0 => Ok(entry.de_blocknr.get()),
            _ => Err(self.corrupt("DAT", &format!("virtual block {number}"), "nothing")),
        }
    }

    fn read_block(&self, number: u64) -> Result<Rc<Vec<u8>>, Refusal> {
        let slot = usize::try_from(number % CACHED).unwrap_or_default();
        if let Some(Some((_, block))) =
            self.cache.borrow().get(slot).filter(|c| c.as_ref().is_some_and(|c| c.0 == number))
        {
            return Ok(Rc::clone(block));
        }
        if number < self.g.first_data_block || number >= self.g.end_block() {
            let expected = format!("below block {}", self.g.end_block());
            return Err(self.corrupt("pointer in metadata", &expected, &number.to_string()));
        }
        let bytes = read(self.disk, number * self.g.block_bytes, self.g.block_bytes)?;
        let block = Rc::new(bytes);
        if let Some(cached) = self.cache.borrow_mut().get_mut(slot) {
            *cached = Some((number, Rc::clone(&block)));
        }
        Ok(block)
    }

    fn corrupt(&self, what: &str, expected: &str, found: &str) -> Refusal {
        Refusal::corrupt(what, self.g.last_log * self.g.block_bytes, expected, found)
    }
}

/// Where the keys of a node are, and what its level must be.
#[derive(Clone, Copy, Debug)]
struct NodePlace {
    keys: u64,
    children_max: u64,
    level: Option<u8>,
}

fn word(bytes: &[u8], at: u64) -> u64 {
    part(bytes, at, 8).first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
