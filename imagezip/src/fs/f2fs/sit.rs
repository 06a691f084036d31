//! The allocation map: the segment information table.
//!
//! What it owns: reading it in pieces, the living copy of each block, with the entries of the
//! journal in place. What it never does: hold more than a piece of it.

use super::checkpoint::Checkpoint;
use super::raw;
use super::superblock::{BLOCK_BYTES, Geometry, SEGMENT_BLOCKS};
use crate::disk::ReadDisk;
use crate::fs::areas::{blocks, read};
use crate::fs::bit_runs::{count_ones, for_each_run};
use crate::fs::refusal::Refusal;
use crate::sector_set::{SectorSet, SectorSetBuilder};
use zerocopy::FromBytes;

/// Entries in a block of the SIT.
pub(super) const ENTRIES_PER_BLOCK: u64 = 55;

/// Blocks of the SIT read at once, where they stand side by side.
const PIECE_BLOCKS: u64 = 256;

/// The sectors in use.
pub(super) fn allocated(
    disk: &dyn ReadDisk,
    g: &Geometry,
    checkpoint: &Checkpoint,
) -> Result<SectorSet, Refusal> {
    let mut map = Map { g, builder: SectorSetBuilder::new(), valid: 0 };
    map.builder.push(blocks(BLOCK_BYTES, 0, g.main));
    for entry in &checkpoint.journal {
        if u64::from(entry.segno.get()) >= g.main_segments {
            let expected = format!("segments below {}", g.main_segments);
            let found = entry.segno.to_string();
            let at = g.checkpoints * BLOCK_BYTES;
            return Err(Refusal::corrupt("journal of the SIT", at, expected, found));
        }
    }
    let count = g.main_segments.div_ceil(ENTRIES_PER_BLOCK);
    let mut first = 0;
    while first < count {
        let copy = is_second_copy(checkpoint, first);
        let most = (count - first).min(PIECE_BLOCKS);
        let run = (1..most).take_while(|n| is_second_copy(checkpoint, first + n) == copy).count();
        let run = u64::try_from(run).unwrap_or(0) + 1;
        let start = g.sit + first + if copy { g.sit_blocks } else { 0 };
        let bytes = read(disk, start * BLOCK_BYTES, run * BLOCK_BYTES)?;
        let step = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
        for (number, block) in (first..).zip(bytes.chunks_exact(step)) {
            map.add_block(number, (start + number - first) * BLOCK_BYTES, block, checkpoint)?;
        }
        first += run;
    }
    if map.valid != checkpoint.valid_blocks {
        return Err(Refusal::corrupt(
            "segment information table",
            g.sit * BLOCK_BYTES,
            format!("{} blocks in use, as the checkpoint says", checkpoint.valid_blocks),
            map.valid.to_string(),
        ));
    }
    map.builder.push(blocks(BLOCK_BYTES, g.main + g.main_segments * SEGMENT_BLOCKS, g.blocks));
    let next_node =
        SectorSet::from_range(blocks(BLOCK_BYTES, checkpoint.next_node, checkpoint.next_node + 1));
    Ok(map.builder.finish().union(&next_node))
}

fn is_second_copy(checkpoint: &Checkpoint, block: u64) -> bool {
    let byte = usize::try_from(block / 8).ok().and_then(|at| checkpoint.sit_bitmap.get(at));
    byte.is_some_and(|byte| byte >> (7 - block % 8) & 1 == 1)
}

struct Map<'a> {
    g: &'a Geometry,
    builder: SectorSetBuilder,
    /// Blocks in use so far.
    valid: u64,
}

impl Map<'_> {
    fn add_block(
        &mut self,
        number: u64,
        offset: u64,
        block: &[u8],
        checkpoint: &Checkpoint,
    ) -> Result<(), Refusal> {
        let first = number * ENTRIES_PER_BLOCK;
        let last = (first + ENTRIES_PER_BLOCK).min(self.g.main_segments);
        for (segment, bytes) in (first..last).zip(block.chunks_exact(size_of::<raw::SitEntry>())) {
            let journal = checkpoint.journal.iter().rev();
            let newer = journal.clone().find(|entry| u64::from(entry.segno.get()) == segment);
            match newer {
                Some(entry) => self.add(segment, offset, &entry.se)?,
                None => {
                    if let Ok(entry) = raw::SitEntry::read_from_bytes(bytes) {
                        self.add(segment, offset, &entry)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, segment: u64, offset: u64, entry: &raw::SitEntry) -> Result<(), Refusal> {
        let map = entry.valid_map.map(u8::reverse_bits);
        let valid = count_ones(&map, SEGMENT_BLOCKS);
        let said = u64::from(entry.vblocks.get() & 0x3FF);
        if valid != said {
            return Err(Refusal::corrupt(
                format!("segment {segment} in the segment information table"),
                offset,
                format!("{said} blocks in use, as it says itself"),
                valid.to_string(),
            ));
        }
        self.valid += valid;
        let start = self.g.main + segment * SEGMENT_BLOCKS;
        for_each_run(&map, SEGMENT_BLOCKS, |from, to| {
            self.builder.push(blocks(BLOCK_BYTES, start + from, start + to));
        });
        Ok(())
    }
}
