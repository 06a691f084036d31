//! The allocation map: the allocation file.
//!
//! What it owns: reading it through its extents in pieces, and verifying what must be in use. What
//! it never does: hold more than a piece of it.

use super::header::{Geometry, LEN, OFFSET};
use super::raw::{Fork, VolumeHeader};
use crate::disk::ReadDisk;
use crate::fs::areas::{blocks, read, sectors};
use crate::fs::bit_runs::{count_ones, for_each_run};
use crate::fs::refusal::Refusal;
use crate::sector_set::{SectorSet, SectorSetBuilder};

/// Bytes of the map read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// The sectors in use.
pub(super) fn allocated(
    disk: &dyn ReadDisk,
    g: &Geometry,
    header: &VolumeHeader,
) -> Result<SectorSet, Refusal> {
    let file = &header.allocation_file;
    let wanted = g.blocks.div_ceil(8);
    let (runs, covered) = runs(g, file, "allocation file")?;
    if covered < u64::from(file.total_blocks.get()) {
        return Err(Refusal::unsupported(
            "its allocation file is in more than eight pieces, which this version does not follow",
        ));
    }
    if covered * g.block_bytes < wanted || file.logical_size.get() < wanted {
        let found = format!("{} bytes", file.logical_size);
        let expected = format!("{wanted} bytes or more");
        return Err(Refusal::corrupt("allocation file", OFFSET, expected, found));
    }
    let mut map = Map { g, builder: SectorSetBuilder::new(), used: 0 };
    let mut block = 0;
    for (from, to) in &runs {
        let (mut at, end) = (from * g.block_bytes, to * g.block_bytes);
        while at < end && block < g.blocks {
            let len = (end - at).min(PIECE_BYTES).min((g.blocks - block).div_ceil(8));
            map.add(block, &mut read(disk, at, len)?);
            at += len;
            block += len * 8;
        }
    }
    if map.used + g.free != g.blocks {
        let expected = format!("{} blocks free, as the volume header says", g.free);
        let found = (g.blocks - map.used).to_string();
        return Err(Refusal::corrupt("allocation file", OFFSET, expected, found));
    }
    // Boot blocks and header; the copy, and a rest behind the last block.
    let front = SectorSet::from_range(sectors(0, OFFSET + LEN));
    let copy = SectorSet::from_range(sectors(g.copy, g.copy + OFFSET));
    let rest = SectorSet::from_range(sectors(g.blocks * g.block_bytes, g.end));
    let set = map.builder.finish();
    check_own(&set, g, header)?;
    Ok(set.union(&front).union(&copy).union(&rest))
}

/// Verifies that the special files are in use, as far as the header has their extents.
fn check_own(set: &SectorSet, g: &Geometry, header: &VolumeHeader) -> Result<(), Refusal> {
    let files = [
        ("allocation file", &header.allocation_file),
        ("extents overflow file", &header.extents_file),
        ("catalog file", &header.catalog_file),
        ("attributes file", &header.attributes_file),
        ("startup file", &header.startup_file),
    ];
    for (name, file) in files {
        for (from, to) in runs(g, file, name)?.0 {
            let range = blocks(g.block_bytes, from, to);
            if !range.is_empty() && set.within(range).next() != Some(range) {
                let found = format!("some of blocks {from} to {to} free");
                let at = from * g.block_bytes;
                return Err(Refusal::corrupt(name, at, "all of it in use", found));
            }
        }
    }
    Ok(())
}

/// First and one-past-last block of the pieces of a file that the header lists, and their sum.
fn runs(g: &Geometry, file: &Fork, name: &str) -> Result<(Vec<(u64, u64)>, u64), Refusal> {
    let (mut runs, mut sum) = (Vec::new(), 0);
    for extent in &file.extents {
        let (start, count) =
            (u64::from(extent.start_block.get()), u64::from(extent.block_count.get()));
        if count == 0 {
            break;
        }
        if start + count > g.blocks {
            let what = format!("{name} in the volume header");
            let found = format!("{count} blocks at {start}");
            let expected = format!("below {}", g.blocks);
            return Err(Refusal::corrupt(what, OFFSET, expected, found));
        }
        runs.push((start, start + count));
        sum += count;
    }
    Ok((runs, sum))
}

struct Map<'a> {
    g: &'a Geometry,
    builder: SectorSetBuilder,
    /// Blocks in use so far.
    used: u64,
}

impl Map<'_> {
    /// Adds a piece of the map, the highest bit of a byte first, that starts with this block.
    fn add(&mut self, first: u64, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        let bits = u64::try_from(bytes.len()).unwrap_or_default().saturating_mul(8);
        let bits = bits.min(self.g.blocks - first);
        self.used += count_ones(bytes, bits);
        for_each_run(bytes, bits, |from, to| {
            self.builder.push(blocks(self.g.block_bytes, first + from, first + to));
        });
    }
}
