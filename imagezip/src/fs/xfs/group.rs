//! One allocation group: what its header and its trees of free space say.
//!
//! What it owns: the header (AGF), the agreement of header and trees, and the sectors in use. What
//! it never does: believe free space that covers something known to be in use.

use super::btree::{self, Order, Root};
use super::superblock::{Geometry, Log};
use super::{checksum, raw};
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use crate::sector_set::SectorSetBuilder;
use zerocopy::FromBytes;

/// `XFS_AGF_VERSION`.
const AGF_VERSION: u32 = 1;

/// A run of free blocks of a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Free {
    /// First block, from the start of the group.
    pub(super) start: u64,
    /// Blocks, at least one.
    pub(super) blocks: u64,
}

/// A digest of a list of free runs that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Totals {
    runs: u64,
    blocks: u64,
    longest: u64,
    mix: u64,
}

impl Totals {
    fn add(&mut self, free: Free) {
        self.runs += 1;
        self.blocks = self.blocks.saturating_add(free.blocks);
        self.longest = self.longest.max(free.blocks);
        let hash = (free.start << 32 | free.blocks).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.mix = self.mix.wrapping_add(hash ^ hash >> 29);
    }
}

/// Adds the sectors of `group` that are in use.
pub(super) fn add_allocated(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    group: u32,
    log: &Log,
    builder: &mut SectorSetBuilder,
) -> Result<(), Refusal> {
    let agf = read_agf(disk, geometry, group)?;
    let agf_offset = geometry.byte_offset(group, 0) + geometry.sector_bytes;
    let what = || format!("free space of group {group}");
    let by_block = Root { block: agf.agf_bno_root.get(), levels: agf.agf_bno_level.get() };
    let by_count = Root { block: agf.agf_cnt_root.get(), levels: agf.agf_cnt_level.get() };

    let mut totals = Totals::default();
    let mut reached = 0;
    let headers = geometry.header_blocks();
    let overlaps = |free: Free, start: u64, blocks: u64| {
        free.start < start.saturating_add(blocks) && start < free.start.saturating_add(free.blocks)
    };
    btree::walk(disk, geometry, group, by_block, Order::Block, &mut |free| {
        let is_own = overlaps(free, 0, headers)
            || overlaps(free, u64::from(by_block.block), 1)
            || overlaps(free, u64::from(by_count.block), 1)
            || (group == log.group && overlaps(free, log.start, log.blocks));
        if is_own {
            let expected = "headers, log and roots of trees in use";
            return Err(Refusal::corrupt(what(), agf_offset, expected, format!("{free:?}")));
        }
        totals.add(free);
        builder.push(geometry.sectors(group, reached, free.start));
        reached = free.start + free.blocks;
        Ok(())
    })?;
    builder.push(geometry.sectors(group, reached, geometry.blocks_in(group)));

    let said = (u64::from(agf.agf_freeblks.get()), u64::from(agf.agf_longest.get()));
    if (totals.blocks, totals.longest) != said {
        let expected = format!("{} blocks, {} in one run, as its header says", said.0, said.1);
        let found = format!("{} and {}", totals.blocks, totals.longest);
        return Err(Refusal::corrupt(what(), agf_offset, expected, found));
    }
    if !geometry.has_checksums {
        // Without checksums the second tree, which holds the same in another order, is the witness.
        let mut witness = Totals::default();
        btree::walk(disk, geometry, group, by_count, Order::Count, &mut |free| {
            witness.add(free);
            Ok(())
        })?;
        if witness != totals {
            let expected = format!("the {} runs that the tree by length lists", witness.runs);
            let found = format!("{} runs that are not the same", totals.runs);
            return Err(Refusal::corrupt(what(), agf_offset, expected, found));
        }
    }
    Ok(())
}

fn read_agf(disk: &dyn ReadDisk, geometry: &Geometry, group: u32) -> Result<raw::Agf, Refusal> {
    let offset = geometry.byte_offset(group, 0) + geometry.sector_bytes;
    let corrupt = |field: &str, expected: String, found: String| {
        Refusal::corrupt(format!("{field} in the AGF of group {group}"), offset, expected, found)
    };
    let mut bytes = vec![0; usize::try_from(geometry.sector_bytes).unwrap_or_default()];
    disk.read_at(&mut bytes, offset)?;
    let Ok((agf, _)) = raw::Agf::read_from_prefix(&bytes) else {
        return Err(corrupt("header", "a sector".into(), "less".into()));
    };
    let number = |field: &str, expected: u32, found: u32| {
        if found == expected {
            return Ok(());
        }
        Err(corrupt(field, format!("{expected:#x}"), format!("{found:#x}")))
    };
    number("magic number", raw::AGF_MAGIC, agf.agf_magicnum.get())?;
    number("version", AGF_VERSION, agf.agf_versionnum.get())?;
    if geometry.has_checksums {
        number("checksum", checksum::of(&bytes, raw::AGF_CRC_OFFSET), agf.agf_crc.get())?;
        if agf.agf_uuid != geometry.uuid {
            return Err(corrupt("UUID", "that of the superblock".into(), "another".into()));
        }
    }
    number("group number", group, agf.agf_seqno.get())?;
    let blocks = geometry.blocks_in(group);
    if u64::from(agf.agf_length.get()) != blocks {
        return Err(corrupt("length", blocks.to_string(), agf.agf_length.to_string()));
    }
    Ok(agf)
}
