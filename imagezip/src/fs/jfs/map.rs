//! The allocation map: the pages of the block map.
//!
//! What it owns: finding, reading and verifying them, in pieces. What it never does: use the trees
//! that summarise them; they only help to find free space.

use super::map_file::MapFile;
use super::raw;
use super::superblock::{BLOCK_BYTES, Geometry};
use crate::disk::ReadDisk;
use crate::fs::areas::{blocks, read};
use crate::fs::bit_runs::{count_ones, for_each_run};
use crate::fs::refusal::Refusal;
use crate::sector_set::{SectorSet, SectorSetBuilder};
use zerocopy::FromBytes;

/// Blocks that a page covers.
const PAGE_COVERS: u64 = 8192;
/// Pages read at once, where they stand side by side.
const PIECE_PAGES: u64 = 256;
/// Superblocks, inode table and its map, and the copy of the superblock: blocks at the start.
const START_BLOCKS: u64 = 16;

/// The sectors in use.
pub(super) fn allocated(disk: &dyn ReadDisk, g: &Geometry) -> Result<SectorSet, Refusal> {
    let file = MapFile::read(disk, g)?;
    let at = file.place(0).map_or(0, |(at, _)| at);
    let header = read(disk, at, BLOCK_BYTES)?;
    let header = raw::MapHeader::read_from_prefix(&header).map(|(header, _)| header);
    let Ok(header) = header else {
        return Err(Refusal::corrupt("block map", at, "a header", "none"));
    };
    if header.dn_mapsize.get() != g.mapped || header.dn_l2nbperpage.get() != 0 {
        let expected = format!("{} blocks, one a page, as the superblock says", g.mapped);
        let found = format!("{}, 2^{} a page", header.dn_mapsize, header.dn_l2nbperpage);
        return Err(Refusal::corrupt("block map", at, expected, found));
    }
    let mut map = Map { g, builder: SectorSetBuilder::new(), free: 0 };
    let pages = g.mapped.div_ceil(PAGE_COVERS);
    let mut page = 0;
    while page < pages {
        // 1024 pages have a page of summary in front of them, as have 1024 of these.
        let in_file = page + (page >> 10) + (page >> 20) + 4;
        let Some((at, in_row)) = file.place(in_file) else {
            let expected = format!("page {in_file}");
            return Err(Refusal::corrupt("block map", at, expected, "its end"));
        };
        let most = (1024 - page % 1024).min(pages - page).min(PIECE_PAGES).min(in_row);
        let bytes = read(disk, at, most * BLOCK_BYTES)?;
        let step = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
        for (number, bytes) in (0..).zip(bytes.chunks_exact(step)) {
            map.add(page + number, at + number * BLOCK_BYTES, bytes)?;
        }
        page += most;
    }
    if map.free != header.dn_nfree.get() {
        let expected = format!("{} free, as its header says", header.dn_nfree);
        return Err(Refusal::corrupt("block map", at, expected, map.free.to_string()));
    }
    // Space for fsck, log.
    map.builder.push(blocks(BLOCK_BYTES, g.mapped, g.blocks));
    let set = map.builder.finish();
    let own = g.own.iter().map(|pxd| (pxd.start(), pxd.end()));
    for (from, to) in own.chain(file.runs()).chain([(0, START_BLOCKS)]) {
        let range = blocks(BLOCK_BYTES, from, to);
        if !range.is_empty() && set.within(range).next() != Some(range) {
            let found = format!("some of {from} to {to} free");
            let expected = "inode tables and the block map in use";
            return Err(Refusal::corrupt("block map", at, expected, found));
        }
    }
    Ok(set)
}

struct Map<'a> {
    g: &'a Geometry,
    builder: SectorSetBuilder,
    /// Free blocks so far.
    free: u64,
}

impl Map<'_> {
    fn add(&mut self, number: u64, at: u64, bytes: &[u8]) -> Result<(), Refusal> {
        let corrupt = |expected: String, found: String| {
            Refusal::corrupt(format!("page {number} of the block map"), at, expected, found)
        };
        let Ok(page) = raw::MapPage::read_from_bytes(bytes) else {
            return Err(corrupt("a page".into(), "less".into()));
        };
        let start = number * PAGE_COVERS;
        let covers = (self.g.mapped - start).min(PAGE_COVERS);
        if (page.start.get(), u64::from(page.nblocks.get())) != (start, covers) {
            let found = format!("{} blocks from {}", page.nblocks, page.start);
            return Err(corrupt(format!("{covers} blocks from {start}"), found));
        }
        if page.wmap != page.pmap {
            let expected = "working and permanent map the same, as after an unmount";
            return Err(corrupt(expected.into(), "a difference".into()));
        }
        let bits: Vec<u8> =
            page.wmap.iter().flat_map(|word| word.get().reverse_bits().to_le_bytes()).collect();
        let free = covers - count_ones(&bits, covers).min(covers);
        if free != u64::from(page.nfree.get()) {
            let expected = format!("{} free, as it says itself", page.nfree);
            return Err(corrupt(expected, free.to_string()));
        }
        self.free += free;
        for_each_run(&bits, covers, |from, to| {
            self.builder.push(blocks(BLOCK_BYTES, start + from, start + to));
        });
        Ok(())
    }
}
