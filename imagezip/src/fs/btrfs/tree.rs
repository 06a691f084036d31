//! Trees: walking the items of a range of keys, verifying every block on the way.
//!
//! What it owns: tree blocks and their order. What it never does: walk in circles. Each level is
//! one below the one before, and keys must ascend through the whole tree, so a block met twice ends
//! the walk.

use super::chunk::ChunkMap;
use super::raw;
use super::superblock::Volume;
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use std::ops::RangeInclusive;
use zerocopy::FromBytes;

/// The key of an item, in the order of a tree.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    pub(super) const MIN: Self = Self { object: 0, kind: 0, offset: 0 };
    pub(super) const MAX: Self = Self { object: u64::MAX, kind: u8::MAX, offset: u64::MAX };

    pub(super) fn of(raw: &raw::Key) -> Self {
        Self { object: raw.objectid.get(), kind: raw.kind, offset: raw.offset.get() }
    }
}

/// Where a tree is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree {
    /// Its number, which all its blocks carry.
    pub(super) id: u64,
    /// Logical address of its root.
    pub(super) root: u64,
    /// Level of its root, 0 for a leaf.
    pub(super) level: u8,
    /// The transaction that wrote its root.
    pub(super) generation: u64,
}

/// What the walk does with an item.
pub(super) type Found<'a> = &'a mut dyn FnMut(Key, &[u8]) -> Result<(), Refusal>;

/// Reads trees.
pub(super) struct Reader<'a> {
    pub(super) disk: &'a dyn ReadDisk,
    pub(super) volume: &'a Volume,
    pub(super) chunks: &'a ChunkMap,
}

impl Reader<'_> {
    /// Calls `found` with every item whose key is in `range`, in ascending order.
    pub(super) fn walk(
        &self,
        tree: Tree,
        range: RangeInclusive<Key>,
        found: Found,
    ) -> Result<(), Refusal> {
        let mut walk = Walk { reader: self, tree, range, last: None, found };
        let root = Block {
            address: tree.root,
            level: tree.level,
            generation: tree.generation,
            first: None,
        };
        walk.visit(root)
    }
}

/// What is known of a block before it is read.
#[derive(Clone, Copy)]
struct Block {
    address: u64,
    level: u8,
    generation: u64,
    /// Its first key, unless it is the root.
    first: Option<Key>,
}

struct Walk<'a> {
    reader: &'a Reader<'a>,
    tree: Tree,
    range: RangeInclusive<Key>,
    /// The key before, of any leaf.
    last: Option<Key>,
    found: Found<'a>,
}

impl Walk<'_> {
    fn visit(&mut self, block: Block) -> Result<(), Refusal> {
        let (bytes, count) = self.read(block)?;
        let content = bytes.get(size_of::<raw::Header>()..).unwrap_or_default();
        if block.level == 0 {
            return self.leaf(block, content, count);
        }
        let pointers = content.chunks_exact(size_of::<raw::Pointer>()).take(count);
        let pointers: Vec<_> =
            pointers.filter_map(|bytes| raw::Pointer::ref_from_bytes(bytes).ok()).collect();
        self.check_first(block, pointers.first().map(|pointer| Key::of(&pointer.key)))?;
        if pointers.len() != count || count == 0 {
            return Err(self.corrupt(block, "number of pointers", "those that fit", count));
        }
        for (index, pointer) in pointers.iter().enumerate() {
            let key = Key::of(&pointer.key);
            let next = pointers.get(index + 1).map(|next| Key::of(&next.key));
            if next.is_some_and(|next| next <= key) {
                return Err(self.corrupt(block, "order of keys", "ascending", index));
            }
            if key > *self.range.end() {
                break;
            }
            if next.is_some_and(|next| next <= *self.range.start()) {
                continue;
            }
            self.visit(Block {
                address: pointer.blockptr.get(),
                level: block.level - 1,
                generation: pointer.generation.get(),
                first: Some(key),
            })?;
        }
        Ok(())
    }

    fn leaf(&mut self, block: Block, content: &[u8], count: usize) -> Result<(), Refusal> {
        let items: Vec<_> = content
            .chunks_exact(size_of::<raw::Item>())
            .take(count)
            .filter_map(|bytes| raw::Item::ref_from_bytes(bytes).ok())
            .collect();
        self.check_first(block, items.first().map(|item| Key::of(&item.key)))?;
        if items.len() != count {
            return Err(self.corrupt(block, "number of items", "those that fit", count));
        }
        for item in items {
            let key = Key::of(&item.key);
            if self.last.is_some_and(|last| last >= key) {
                return Err(self.corrupt(block, "order of keys", "ascending", format!("{key:?}")));
            }
            self.last = Some(key);
            let start = usize::try_from(item.offset.get()).unwrap_or(usize::MAX);
            let len = usize::try_from(item.size.get()).unwrap_or(usize::MAX);
            let Some(data) = content.get(start..).and_then(|rest| rest.get(..len)) else {
                return Err(self.corrupt(block, "place of an item", "inside it", start));
            };
            if self.range.contains(&key) {
                (self.found)(key, data)?;
            }
        }
        Ok(())
    }

    /// A block's first key must be the one that led to it.
    fn check_first(&self, block: Block, first: Option<Key>) -> Result<(), Refusal> {
        if block.first.is_some() && block.first != first {
            let expected = format!("{:?}", block.first);
            return Err(self.corrupt(block, "first key", &expected, format!("{first:?}")));
        }
        Ok(())
    }

    /// Reads and verifies a block. Returns its bytes and the number of its entries.
    fn read(&self, block: Block) -> Result<(Vec<u8>, usize), Refusal> {
        let Reader { disk, volume, chunks } = self.reader;
        let place = chunks.place(block.address, volume.node_bytes);
        let Some(place) = place.filter(|_| block.address.is_multiple_of(volume.sector_bytes))
        else {
            return Err(self.corrupt(block, "address", "inside a chunk", block.address));
        };
        let mut bytes = vec![0; usize::try_from(volume.node_bytes).unwrap_or_default()];
        disk.read_at(&mut bytes, place)?;
        if !volume.checksum.matches(&bytes) {
            let expected = format!("the {} of the rest", volume.checksum.name());
            return Err(self.corrupt(block, "checksum", &expected, "another"));
        }
        let Ok((header, _)) = raw::Header::read_from_prefix(&bytes) else {
            return Err(self.corrupt(block, "header", "101 bytes", bytes.len()));
        };
        let found =
            (header.bytenr.get(), header.owner.get(), header.generation.get(), header.level);
        let expected = (block.address, self.tree.id, block.generation, block.level);
        if found != expected || header.fsid != volume.uuid {
            let expected = format!("address, tree, generation, level {expected:?} and its UUID");
            return Err(self.corrupt(block, "identity", &expected, format!("{found:?}")));
        }
        let count = usize::try_from(header.nritems.get()).unwrap_or(usize::MAX);
        Ok((bytes, count))
    }

    fn corrupt(&self, block: Block, field: &str, expected: &str, found: impl ToString) -> Refusal {
        let place = self.reader.chunks.place(block.address, 0).unwrap_or(raw::SUPERBLOCK_OFFSET);
        let what = format!(
            "{field} of the block at logical address {} of tree {}",
            block.address, self.tree.id
        );
        Refusal::corrupt(what, place, expected, found.to_string())
    }
}
