//! The journal: whether anything in it waits to be replayed.
//!
//! What it owns: its header, and the transaction that would come next. What it never does: replay.

use super::raw;
use super::superblock::Geometry;
use crate::disk::ReadDisk;
use crate::fs::areas::{part, read};
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Bytes of a journal without a flushed transaction that are read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Refuses a filesystem whose journal has a transaction that is not in its place yet.
pub(super) fn check_clean(disk: &dyn ReadDisk, g: &Geometry) -> Result<(), Refusal> {
    let at = (g.journal + g.journal_blocks) * g.block_bytes;
    let bytes = read(disk, at, g.block_bytes)?;
    let Ok((header, _)) = raw::JournalHeader::read_from_prefix(&bytes) else {
        return Err(Refusal::corrupt("journal", at, "a header", "none"));
    };
    let next = u64::from(header.j_first_unflushed_offset.get());
    if next >= g.journal_blocks {
        let expected = format!("below {}", g.journal_blocks);
        let what = "place of the next transaction in the journal";
        return Err(Refusal::corrupt(what, at, expected, next.to_string()));
    }
    let flushed = header.j_last_flush_trans_id.get();
    if flushed > 0 {
        // The kernel looks here, and nowhere else.
        let block = read(disk, (g.journal + next) * g.block_bytes, g.block_bytes)?;
        return check_block(&block, flushed);
    }
    // Nothing was ever flushed: any transaction counts.
    let blocks_max = PIECE_BYTES / g.block_bytes;
    let mut done = 0;
    while done < g.journal_blocks {
        let now = (g.journal_blocks - done).min(blocks_max);
        let bytes = read(disk, (g.journal + done) * g.block_bytes, now * g.block_bytes)?;
        let step = usize::try_from(g.block_bytes).unwrap_or(usize::MAX);
        bytes.chunks_exact(step).try_for_each(|block| check_block(block, 0))?;
        done += now;
    }
    Ok(())
}

/// Refuses when a block starts a transaction after the last that was flushed.
fn check_block(block: &[u8], flushed: u32) -> Result<(), Refusal> {
    let len = u64::try_from(block.len()).unwrap_or_default();
    if part(block, len.saturating_sub(12), 8) != raw::DESCRIPTOR_MAGIC {
        return Ok(());
    }
    match raw::Descriptor::read_from_prefix(block) {
        Ok((found, _)) if found.j_trans_id.get() > flushed => Err(Refusal::unsupported(format!(
            "its journal has transaction {}, and only those to {flushed} are in their place: mount \
             and unmount it once, or run reiserfsck on it, and save again",
            found.j_trans_id
        ))),
        _ => Ok(()),
    }
}
