//! Extents: what is in use, by logical address, and where that is on the device.
//!
//! What it owns: the extent tree, and its agreement with the block groups. What it never does:
//! believe a block group in which the extents do not add up to what it says is used.

use super::chunk::ChunkMap;
use super::raw;
use super::superblock::Volume;
use super::tree::{Key, Reader, Tree};
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use crate::sector_set::{SectorSet, SectorSetBuilder};
use crate::units::{SECTOR_SIZE, Sector, SectorRange};
use zerocopy::FromBytes;

/// Bytes at the start of the device that hold nothing but boot loaders and the superblock, and are
/// never handed out by today's kernels (`BTRFS_DEVICE_RANGE_RESERVED`).
const RESERVED_BYTES: u64 = 1 << 20;

/// The sectors in use.
pub(super) fn allocated(
    disk: &dyn ReadDisk,
    volume: &Volume,
    chunks: &ChunkMap,
) -> Result<SectorSet, Refusal> {
    let reader = Reader { disk, volume, chunks };
    let mut usage = Usage::new(volume, chunks);
    let extents = find_tree(&reader, raw::EXTENT_TREE)?;
    reader.walk(extents, Key::MIN..=Key::MAX, &mut |key, item| usage.add(key, item))?;
    if volume.has_block_group_tree {
        let groups = find_tree(&reader, raw::BLOCK_GROUP_TREE)?;
        reader.walk(groups, Key::MIN..=Key::MAX, &mut |key, item| usage.add(key, item))?;
    }
    let logical = usage.finish()?;
    for root in [volume.roots, volume.chunks, extents] {
        let range = range(root.root, volume.node_bytes)?;
        if logical.within(range).next() != Some(range) {
            return Err(corrupt(root.root, "root of a tree", "in use", "free"));
        }
    }
    Ok(on_device(&logical, volume, chunks))
}

/// Where a tree is, as the tree of roots says.
fn find_tree(reader: &Reader<'_>, id: u64) -> Result<Tree, Refusal> {
    let mut found = None;
    let key = |offset| Key { object: id, kind: raw::ROOT_ITEM, offset };
    reader.walk(reader.volume.roots, key(0)..=key(u64::MAX), &mut |key, item| {
        let Ok((root, _)) = raw::RootItem::ref_from_prefix(item) else {
            return Err(corrupt(key.object, "root item", "239 bytes", item.len()));
        };
        found = Some(Tree {
            id,
            root: root.bytenr.get(),
            level: root.level,
            generation: root.generation.get(),
        });
        Ok(())
    })?;
    match found {
        Some(tree) if tree.level <= super::superblock::LEVEL_MAX => Ok(tree),
        Some(tree) => Err(corrupt(tree.root, "level of a root", "at most 7", tree.level)),
        None => Err(corrupt(id, "tree of roots", format!("an item for tree {id}"), "none")),
    }
}

/// What extents and block groups say of each chunk.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    /// Bytes in extents.
    extents: u64,
    /// Bytes its block group says are used; `None` until the group is met.
    group: Option<u64>,
}

struct Usage<'a> {
    volume: &'a Volume,
    chunks: &'a ChunkMap,
    /// One for each chunk.
    sums: Vec<Sum>,
    /// Logical address after the last extent.
    reached: u64,
    /// In logical addresses.
    builder: SectorSetBuilder,
}

impl<'a> Usage<'a> {
    fn new(volume: &'a Volume, chunks: &'a ChunkMap) -> Self {
        let sums = vec![Sum::default(); chunks.chunks().len()];
        Self { volume, chunks, sums, reached: 0, builder: SectorSetBuilder::new() }
    }

    fn add(&mut self, key: Key, item: &[u8]) -> Result<(), Refusal> {
        match key.kind {
            raw::EXTENT_ITEM => self.add_extent(key.object, key.offset, item),
            raw::METADATA_ITEM => self.add_extent(key.object, self.volume.node_bytes, item),
            raw::BLOCK_GROUP_ITEM => self.add_group(key, item),
            // References, which say who uses an extent.
            _ => Ok(()),
        }
    }

    fn add_extent(&mut self, start: u64, bytes: u64, item: &[u8]) -> Result<(), Refusal> {
        let what = "extent";
        let Ok((extent, _)) = raw::Extent::ref_from_prefix(item) else {
            return Err(corrupt(start, what, "at least 24 bytes", item.len()));
        };
        let is_tree = extent.flags.get() & raw::EXTENT_TREE_BLOCK != 0;
        let unit = self.volume.sector_bytes;
        let is_odd = bytes == 0 || !bytes.is_multiple_of(unit) || !start.is_multiple_of(unit);
        if is_odd || (is_tree && bytes != self.volume.node_bytes) {
            return Err(corrupt(start, what, "whole sectors", bytes));
        }
        if start < self.reached {
            return Err(corrupt(start, what, format!("after {}", self.reached), start));
        }
        let index = self.chunks.find(start, bytes);
        let Some(sum) = index.and_then(|index| self.sums.get_mut(index)) else {
            return Err(corrupt(start, what, "inside a chunk", format!("{bytes} bytes outside")));
        };
        sum.extents = sum.extents.saturating_add(bytes);
        self.reached = start.saturating_add(bytes);
        self.builder.push(range(start, bytes)?);
        Ok(())
    }

    fn add_group(&mut self, key: Key, item: &[u8]) -> Result<(), Refusal> {
        let (start, bytes) = (key.object, key.offset);
        let what = "block group";
        let Ok((group, _)) = raw::BlockGroup::ref_from_prefix(item) else {
            return Err(corrupt(start, what, "24 bytes", item.len()));
        };
        let index = self.chunks.find(start, bytes);
        let chunk = index.and_then(|index| self.chunks.chunks().get(index));
        let is_same = chunk.is_some_and(|chunk| {
            (chunk.start, chunk.bytes, chunk.kind) == (start, bytes, group.flags.get())
        });
        let Some(sum) = index.filter(|_| is_same).and_then(|index| self.sums.get_mut(index)) else {
            return Err(corrupt(start, what, "the length and type of its chunk", bytes));
        };
        if sum.group.replace(group.used.get()).is_some() {
            return Err(corrupt(start, what, "one", "two"));
        }
        Ok(())
    }

    fn finish(self) -> Result<SectorSet, Refusal> {
        for (chunk, sum) in self.chunks.chunks().iter().zip(&self.sums) {
            let Some(used) = sum.group else {
                return Err(corrupt(chunk.start, "chunk", "a block group", "none"));
            };
            if used != sum.extents {
                let expected = format!("{used} bytes in extents, as it says");
                return Err(corrupt(chunk.start, "block group", expected, sum.extents));
            }
        }
        Ok(self.builder.finish())
    }
}

/// The sectors on the device of a set of logical addresses, and what the format reserves.
fn on_device(logical: &SectorSet, volume: &Volume, chunks: &ChunkMap) -> SectorSet {
    let mut places: Vec<_> = Vec::new();
    for chunk in chunks.chunks() {
        places.extend(chunk.places.iter().map(|place| (*place, chunk)));
    }
    places.sort_unstable_by_key(|(place, _)| *place);
    let mut builder = SectorSetBuilder::new();
    for (place, chunk) in places {
        // Chunks fit the device and are aligned, so no conversion fails.
        let Ok(span) = range(chunk.start, chunk.bytes) else { continue };
        for used in logical.within(span) {
            let offset = place.saturating_add(used.byte_offset() - span.byte_offset());
            builder.push(range(offset, used.byte_len()).unwrap_or_default());
        }
    }
    let copy_bytes = u64::try_from(raw::SUPERBLOCK_LEN).unwrap_or_default();
    let copies = raw::SUPERBLOCK_COPIES.map(|offset| (offset, copy_bytes));
    let reserved: SectorSet = [(0, RESERVED_BYTES)]
        .into_iter()
        .chain(copies)
        .filter(|(offset, _)| *offset < volume.device_bytes)
        .filter_map(|(offset, bytes)| range(offset, bytes.min(volume.device_bytes - offset)).ok())
        .collect();
    builder.finish().union(&reserved)
}

/// The sectors of a run of bytes.
fn range(start: u64, bytes: u64) -> Result<SectorRange, Refusal> {
    let end = start.checked_add(bytes).map(|end| end.div_ceil(SECTOR_SIZE));
    Sector::containing_byte(start)
        .zip(end.and_then(Sector::new))
        .and_then(|(start, end)| SectorRange::new(start, end))
        .ok_or_else(|| corrupt(start, "address", "below 2^62", start))
}

/// A contradiction about a logical address.
fn corrupt(address: u64, what: &str, expected: impl Into<String>, found: impl ToString) -> Refusal {
    let what = format!("{what} at logical address {address}");
    Refusal::corrupt(what, raw::SUPERBLOCK_OFFSET, expected, found.to_string())
}
