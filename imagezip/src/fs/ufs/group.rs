//! One cylinder group: what its map of free fragments says.
//!
//! What it owns: the group block, the agreement of the map with every other count and map of the
//! same, and the sectors in use. What it never does: believe a free fragment that the filesystem
//! itself uses.

use super::geometry::Geometry;
use super::raw;
use super::superblock::check_hash;
use crate::disk::ReadDisk;
use crate::fs::bit_runs::{count_ones, for_each_run};
use crate::fs::refusal::Refusal;
use crate::sector_set::SectorSetBuilder;
use std::ops::Range;
use zerocopy::{ByteOrder, FromBytes};

/// Free space, as the group's head counts it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Free {
    /// Blocks that are free from end to end.
    pub(super) blocks: u64,
    /// Free fragments of other blocks.
    pub(super) fragments: u64,
    /// How many runs of 1 to 7 free fragments there are in other blocks.
    runs: [u64; 8],
}

/// The group block of one group.
struct Block<'a, O: ByteOrder> {
    geometry: &'a Geometry,
    group: u32,
    bytes: &'a [u8],
    head: raw::Group<O>,
}

/// Adds the sectors of `group` that are in use; returns what is free. `buffer` is for the group
/// block.
pub(super) fn add_allocated<O: ByteOrder>(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    group: u32,
    buffer: &mut Vec<u8>,
    builder: &mut SectorSetBuilder,
) -> Result<Free, Refusal> {
    let offset = geometry.group_block_offset(group);
    let own = geometry.own(group).ok_or_else(|| {
        let found = format!("{} fragments", geometry.fragments_in(group));
        let expected = "room for its inodes";
        Refusal::corrupt(format!("length of group {group}"), offset, expected, found)
    })?;
    buffer.resize(geometry.group_bytes, 0);
    disk.read_at(buffer, offset)?;
    let block = Block::<O>::parse(geometry, group, buffer)?;
    let fragments = geometry.fragments_in(group);
    let map = block.map(block.head.cg_freeoff.get(), fragments, geometry.group_fragments)?;
    for (range, what) in
        [(own, "its own fragments in use"), (geometry.summary_in(group), "summary area in use")]
    {
        let free = free_in(map, &range);
        if free != 0 {
            return Err(block.corrupt("map of free fragments", what, format!("{free} free")));
        }
    }
    let free = block.count(map)?;
    let mut reached = 0;
    for_each_run(map, fragments, |start, end| {
        builder.push(geometry.sectors(group, reached..start));
        reached = end;
    });
    builder.push(geometry.sectors(group, reached..fragments));
    Ok(free)
}

/// Free fragments among these.
fn free_in(map: &[u8], range: &Range<u64>) -> u64 {
    count_ones(map, range.end) - count_ones(map, range.start.min(range.end))
}

impl<'a, O: ByteOrder> Block<'a, O> {
    fn parse(geometry: &'a Geometry, group: u32, bytes: &'a [u8]) -> Result<Self, Refusal> {
        let Ok((head, _)) = raw::Group::<O>::read_from_prefix(bytes) else {
            let what = format!("group block {group}");
            let offset = geometry.group_block_offset(group);
            return Err(Refusal::corrupt(what, offset, "168 bytes", bytes.len().to_string()));
        };
        let block = Self { geometry, group, bytes, head };
        let head = &block.head;
        let check = |what: &str, expected: u32, found: u32| {
            if expected == found {
                return Ok(());
            }
            Err(block.corrupt(what, format!("{expected:#x}"), format!("{found:#x}")))
        };
        check("magic number", raw::GROUP_MAGIC, head.cg_magic.get())?;
        if geometry.has_group_checks {
            let expected = check_hash(bytes, raw::GROUP_CHECK_OFFSET);
            check("check hash", expected, head.cg_ckhash.get())?;
        }
        check("number", group, head.cg_cgx.get())?;
        let fragments = u32::try_from(geometry.fragments_in(group)).unwrap_or(u32::MAX);
        check("length", fragments, head.cg_ndblk.get())?;
        Ok(block)
    }

    fn corrupt(&self, what: &str, expected: impl Into<String>, found: String) -> Refusal {
        let what = format!("{what} of group {}", self.group);
        Refusal::corrupt(what, self.geometry.group_block_offset(self.group), expected, found)
    }

    /// The map of `bits` bits at byte `offset` of the group block, which has room for `room` bits.
    fn map(&self, offset: u32, bits: u64, room: u64) -> Result<&'a [u8], Refusal> {
        let end = self.head.cg_nextfreeoff.get();
        let len = |bits: u64| usize::try_from(bits.div_ceil(8)).ok();
        let at = usize::try_from(offset).ok().filter(|at| *at >= size_of::<raw::Group<O>>());
        let used = usize::try_from(end).ok().and_then(|end| self.bytes.get(..end));
        let map = at
            .zip(used)
            .and_then(|(at, used)| used.get(at..at.checked_add(len(room)?)?)?.get(..len(bits)?));
        map.ok_or_else(|| {
            let expected = format!("{room} bits inside {} bytes", self.bytes.len());
            self.corrupt("place of a map", expected, format!("{offset}, all end at {end}"))
        })
    }

    /// Counts what is free, and compares it with everything that counts the same.
    fn count(&self, map: &[u8]) -> Result<Free, Refusal> {
        let block_fragments = self.geometry.block_fragments;
        let fragments = self.geometry.fragments_in(self.group);
        let whole = fragments / block_fragments;
        let free_blocks = tally(map, fragments, block_fragments);
        let free = free_blocks.free;
        let said = self.said();
        if said != Some(free) {
            let expected = said.map_or_else(|| "counts of 0 or more".into(), |s| format!("{s:?}"));
            return Err(self.corrupt("free fragments", expected, format!("{free:?}")));
        }
        if self.geometry.has_clusters {
            let said = u64::from(self.head.cg_nclusterblks.get());
            if said != whole {
                return Err(self.corrupt("blocks", whole.to_string(), said.to_string()));
            }
            let clusters = self.map(self.head.cg_clusteroff.get(), whole, whole)?;
            let same = clusters.iter().zip(&free_blocks.map).all(|(a, b)| a == b)
                && count_ones(clusters, whole) == free.blocks;
            if !same {
                let expected = format!("the {} of the map of fragments", free.blocks);
                let found = format!("{}, not all the same", count_ones(clusters, whole));
                return Err(self.corrupt("map of free blocks", expected, found));
            }
        }
        Ok(free)
    }

    /// What the head says is free; `None` for nonsense.
    fn said(&self) -> Option<Free> {
        let count = |value: zerocopy::I32<O>| u64::try_from(value.get()).ok();
        let mut runs = [0; 8];
        for (run, said) in runs.iter_mut().zip(self.head.cg_frsum) {
            *run = count(said)?;
        }
        let cs = self.head.cg_cs;
        Some(Free { blocks: count(cs.cs_nbfree)?, fragments: count(cs.cs_nffree)?, runs })
    }
}

/// Free blocks: how many, and which.
struct Tally {
    free: Free,
    /// A bit for each whole block.
    map: Vec<u8>,
}

/// Counts a map of `fragments` bits in blocks of `block_fragments`. A cut block at the end cannot
/// be a free block.
fn tally(map: &[u8], fragments: u64, block_fragments: u64) -> Tally {
    let full: u8 = match block_fragments {
        8 => 0xFF,
        4 => 0x0F,
        2 => 0x03,
        _ => 0x01,
    };
    let mut free = Free::default();
    let mut blocks = Vec::with_capacity(map.len());
    let (mut bits, mut bit) = (0u8, 0u32);
    let mut left = fragments;
    for byte in map {
        let mut at = 0;
        while at < 8 && left > 0 {
            let there = left.min(block_fragments);
            let known = full >> (block_fragments - there);
            let block = byte >> at & known;
            if block == full {
                free.blocks += 1;
                bits |= 1 << bit;
            } else if block != 0 {
                free.fragments += u64::from(block.count_ones());
                add_runs(block, &mut free.runs);
            }
            if there == block_fragments {
                bit += 1;
                if bit == 8 {
                    blocks.push(bits);
                    (bits, bit) = (0, 0);
                }
            }
            left -= there;
            at += block_fragments;
        }
    }
    if bit > 0 {
        blocks.push(bits);
    }
    Tally { free, map: blocks }
}

fn add_runs(block: u8, runs: &mut [u64; 8]) {
    let mut rest = block;
    while rest != 0 {
        rest >>= rest.trailing_zeros();
        let run = rest.trailing_ones();
        if let Some(count) = usize::try_from(run).ok().and_then(|run| runs.get_mut(run)) {
            *count += 1;
        }
        rest = rest.checked_shr(run).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_fragments_are_counted() {
        let found = tally(&[0xFF, 0b0110_1101, 0x0F], 20, 8);
        assert_eq!((found.free.blocks, found.free.fragments), (1, 9));
        assert_eq!(found.free.runs, [0, 1, 2, 0, 1, 0, 0, 0], "the cut block counts as fragments");
        assert_eq!(found.map, [1]);
        let found = tally(&[0xFF, 0b0110_1101, 0x0F], 20, 4);
        assert_eq!((found.free.blocks, found.free.fragments), (3, 5));
        assert_eq!(found.map, [0b1_0011]);
        let found = tally(&[0b1011], 4, 1);
        assert_eq!((found.free.blocks, found.free.fragments), (3, 0));
        assert_eq!(free_in(&[0xF0, 0xFF], &(2..9)), 5);
    }
}
