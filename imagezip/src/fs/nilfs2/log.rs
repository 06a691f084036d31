//! The last log: its summary and its super root.
//!
//! What it owns: verifying the log that the superblock names, and the inodes of the DAT and the
//! segment usage file in it. What it never does: roll forward. The kernel does not do that either
//! to a filesystem that was unmounted cleanly.

use super::raw;
use super::superblock::Geometry;
use crate::disk::ReadDisk;
use crate::fs::areas::{crc32_le, part, read};
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Bytes of a log read at once.
const PIECE_BYTES: u64 = 1 << 20;
/// Position of the inodes in the super root: DAT, checkpoint file, segment usage file.
const DAT: u64 = 0;
const SUFILE: u64 = 2;

/// What the last log says.
pub(super) struct LastLog {
    /// Its segment, and the one that follows it: both may be written to without being asked.
    pub(super) segments: [u64; 2],
    /// The inode of the DAT.
    pub(super) dat: raw::Inode,
    /// The inode of the segment usage file.
    pub(super) sufile: raw::Inode,
}

/// Reads and verifies the last log.
pub(super) fn read_last(disk: &dyn ReadDisk, g: &Geometry) -> Result<LastLog, Refusal> {
    let at = g.last_log * g.block_bytes;
    let corrupt = |what: &str, expected: String, found: String| {
        Refusal::corrupt(format!("{what} of the last log"), at, expected, found)
    };
    let first = read(disk, at, g.block_bytes)?;
    let Ok((summary, _)) = raw::SegmentSummary::read_from_prefix(&first) else {
        return Err(corrupt("summary", "a block".into(), "less".into()));
    };
    let number = |what: &str, expected: u64, found: u64| {
        let text = (format!("{expected:#x}"), format!("{found:#x}"));
        if expected == found { Ok(()) } else { Err(corrupt(what, text.0, text.1)) }
    };
    number("magic number", raw::SUMMARY_MAGIC.into(), summary.ss_magic.get().into())?;
    number("sequence number", g.last_sequence, summary.ss_seq.get())?;
    if summary.ss_flags.get() & raw::HAS_SUPER_ROOT == 0 {
        let flags = format!("flags {:#x}", summary.ss_flags);
        return Err(corrupt("kind", "one with a super root".into(), flags));
    }
    let segment = g.last_log / g.segment_blocks;
    let (_, segment_end) = g.segment(segment);
    let blocks = u64::from(summary.ss_nblocks.get());
    let summary_bytes = u64::from(summary.ss_sumbytes.get());
    if blocks < 2 || g.last_log + blocks > segment_end {
        let expected = format!("2 blocks or more, to block {segment_end}");
        return Err(corrupt("length", expected, blocks.to_string()));
    }
    if summary_bytes < 64 || summary_bytes > (blocks - 1) * g.block_bytes {
        let expected = format!("64 bytes or more in {blocks} blocks");
        return Err(corrupt("summary", expected, summary_bytes.to_string()));
    }
    // The sums leave out themselves and what stands before them.
    let sum = sum(disk, g.seed, at + 8, at + summary_bytes)?;
    number("checksum of the summary", sum.into(), summary.ss_sumsum.get().into())?;
    let sum = self::sum(disk, g.seed, at + 4, at + blocks * g.block_bytes)?;
    number("checksum", sum.into(), summary.ss_datasum.get().into())?;

    let next = summary.ss_next.get() / g.segment_blocks;
    if next >= g.segments {
        let expected = format!("below {}", g.segments);
        return Err(corrupt("next segment", expected, next.to_string()));
    }
    let root = read(disk, at + (blocks - 1) * g.block_bytes, g.block_bytes)?;
    let Ok((header, _)) = raw::SuperRoot::read_from_prefix(&root) else {
        return Err(corrupt("super root", "a block".into(), "less".into()));
    };
    let root_bytes = u64::from(header.sr_bytes.get());
    if root_bytes < 16 + 3 * g.inode_bytes || root_bytes > g.block_bytes {
        return Err(corrupt("super root", "three inodes".into(), format!("{root_bytes} bytes")));
    }
    let sum = crc32_le(g.seed, part(part(&root, 0, root_bytes), 4, root_bytes));
    number("checksum of the super root", sum.into(), header.sr_sum.get().into())?;
    let inode = |number: u64| {
        let bytes = part(&root, 16 + number * g.inode_bytes, 128);
        raw::Inode::read_from_bytes(bytes)
            .map_err(|_| corrupt("super root", "three inodes".into(), "less".into()))
    };
    Ok(LastLog { segments: [segment, next], dat: inode(DAT)?, sufile: inode(SUFILE)? })
}

/// The checksum of the bytes from `from` up to, not including, `to`.
fn sum(disk: &dyn ReadDisk, seed: u32, from: u64, to: u64) -> Result<u32, Refusal> {
    let (mut at, mut sum) = (from, seed);
    while at < to {
        let bytes = read(disk, at, (to - at).min(PIECE_BYTES))?;
        at += (to - at).min(PIECE_BYTES);
        sum = crc32_le(sum, &bytes);
    }
    Ok(sum)
}
