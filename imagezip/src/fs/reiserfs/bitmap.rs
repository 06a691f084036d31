//! The allocation map: the bitmap blocks.
//!
//! What it owns: finding, reading and verifying them. What it never does: hold more than one.

use super::superblock::{Geometry, OFFSET};
use crate::disk::ReadDisk;
use crate::fs::areas::{blocks, read};
use crate::fs::bit_runs::{count_ones, for_each_run};
use crate::fs::refusal::Refusal;
use crate::sector_set::{SectorSet, SectorSetBuilder};

/// The sectors in use.
pub(super) fn allocated(disk: &dyn ReadDisk, g: &Geometry) -> Result<SectorSet, Refusal> {
    let covers = g.block_bytes * 8;
    let mut builder = SectorSetBuilder::new();
    let mut used = 0;
    for number in 0..g.blocks.div_ceil(covers) {
        let start = number * covers;
        let place = place(g, number);
        let bitmap = read(disk, place * g.block_bytes, g.block_bytes)?;
        let bits = (g.blocks - start).min(covers);
        used += count_ones(&bitmap, bits);
        let mut own = place < start || place >= start + bits;
        for_each_run(&bitmap, bits, |from, to| {
            own |= (start + from..start + to).contains(&place);
            builder.push(blocks(g.block_bytes, start + from, start + to));
        });
        if !own {
            let (what, at) = (format!("bitmap {number}"), place * g.block_bytes);
            return Err(Refusal::corrupt(what, at, "its own block in use", "it is free"));
        }
    }
    if used + g.free != g.blocks {
        let expected = format!("{} blocks free, as the superblock says", g.free);
        let found = (g.blocks - used).to_string();
        return Err(Refusal::corrupt("bitmaps", OFFSET, expected, found));
    }
    let set = builder.finish();
    let own = [
        ("superblock and what is before it", 0, place(g, 0) + 1),
        ("journal", g.journal, g.journal + g.journal_blocks + 1),
        ("root of the tree", g.root, g.root + 1),
    ];
    for (name, from, to) in own {
        let range = blocks(g.block_bytes, from, to);
        if set.within(range).next() != Some(range) {
            let at = from * g.block_bytes;
            return Err(Refusal::corrupt(name, at, "all of it in use", "some of it free"));
        }
    }
    Ok(set)
}

/// The block of a bitmap: the first stands behind the superblock, the others where what they cover
/// begins.
fn place(g: &Geometry, number: u64) -> u64 {
    if number == 0 { OFFSET / g.block_bytes + 1 } else { number * g.block_bytes * 8 }
}
