//! The checkpoint: which of the two packs is the living one, and whether the filesystem is at rest.
//!
//! What it owns: the checks on both packs, the bitmap that says which copy of each block of the SIT
//! counts, and the journal of the SIT. What it never does: look at nodes.

use super::raw;
use super::superblock::{BLOCK_BYTES, Geometry, SEGMENT_BLOCKS};
use crate::disk::ReadDisk;
use crate::fs::areas::{crc32_le, part, read};
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

const UMOUNT: u32 = 0x1;
const COMPACT_SUMMARY: u32 = 0x4;
const LARGE_NAT_BITMAP: u32 = 0x400;
/// Flags that say nothing against the map: umount, orphans present, compact summary, fast boot, CRC
/// recovery, NAT bits, trimmed, no CRC recovery, large NAT bitmap, quota needs fsck.
const HARMLESS: u32 = 0x1 | 0x2 | 0x4 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800;
/// Error, fsck, checkpoint disabled (quickly), resize under way.
const BROKEN: u32 = 0x8 | 0x10 | 0x1000 | 0x2000 | 0x4000;
/// Byte offset of the checksum, unless there is a large NAT bitmap.
const CHECKSUM_OFFSET: u64 = BLOCK_BYTES - 4;
/// Summaries of current segments: three of data, three of nodes.
const SUMMARIES: u64 = 6;
/// The summary of cold data, whose journal is that of the SIT.
const COLD_DATA: u64 = 2;
/// The current segment of warm nodes.
const WARM_NODE: usize = 1;

/// The living checkpoint of a filesystem at rest.
pub(super) struct Checkpoint {
    /// Blocks in use in the main area.
    pub(super) valid_blocks: u64,
    /// The block in the main area at which a kernel looks for nodes written after the checkpoint.
    pub(super) next_node: u64,
    /// A bit for each block of the SIT, the highest bit of a byte first: 1 for the second copy.
    pub(super) sit_bitmap: Vec<u8>,
    /// Entries of the SIT that are newer than those on its blocks.
    pub(super) journal: Vec<raw::SitJournalEntry>,
}

/// A pack whose first and last block agree.
struct Pack {
    start: u64,
    raw: raw::Checkpoint,
    block: Vec<u8>,
}

/// The living checkpoint.
pub(super) fn read_living(disk: &dyn ReadDisk, g: &Geometry) -> Result<Checkpoint, Refusal> {
    let first = read_pack(disk, g, g.checkpoints)?;
    let second = read_pack(disk, g, g.checkpoints + SEGMENT_BLOCKS)?;
    let version = |pack: &Pack| pack.raw.checkpoint_ver.get();
    let pack = match (first, second) {
        // Versions may wrap around: the later one is less than half the circle ahead.
        (Some(a), Some(b)) if version(&b).wrapping_sub(version(&a)).cast_signed() > 0 => b,
        (Some(a), Some(_) | None) => a,
        (None, Some(b)) => b,
        (None, None) => {
            let at = g.checkpoints * BLOCK_BYTES;
            return Err(Refusal::corrupt("checkpoint packs", at, "a sound one", "none"));
        }
    };
    let flags = pack.raw.ckpt_flags.get();
    if flags & BROKEN != 0 {
        return Err(Refusal::unsupported(format!(
            "its checkpoint is marked as broken or unfinished (flags {flags:#x}): run fsck.f2fs on \
             it and save again"
        )));
    }
    if flags & !HARMLESS != 0 {
        return Err(Refusal::unsupported(format!("checkpoint flags {flags:#x} are not known")));
    }
    if flags & UMOUNT == 0 {
        return Err(Refusal::unsupported(
            "it is mounted, or was not unmounted cleanly, and its files may have parts that its \
             map does not show: mount and unmount it once and save again",
        ));
    }
    let next_node = next_node(g, &pack)?;
    let sit_bitmap = sit_bitmap(disk, g, &pack)?;
    let journal = journal(disk, &pack)?;
    let valid_blocks = pack.raw.valid_block_count.get();
    Ok(Checkpoint { valid_blocks, next_node, sit_bitmap, journal })
}

/// The pack that starts at this block; `None` when it is not sound, as after a crash.
fn read_pack(disk: &dyn ReadDisk, g: &Geometry, start: u64) -> Result<Option<Pack>, Refusal> {
    let Some((raw, block)) = read_block(disk, start)? else { return Ok(None) };
    let total = u64::from(raw.cp_pack_total_block_count.get());
    if total < 2 + g.payload || total > SEGMENT_BLOCKS {
        return Ok(None);
    }
    let Some((last, _)) = read_block(disk, start + total - 1)? else { return Ok(None) };
    let is_whole = last.checkpoint_ver == raw.checkpoint_ver;
    Ok(is_whole.then_some(Pack { start, raw, block }))
}

fn read_block(
    disk: &dyn ReadDisk,
    block: u64,
) -> Result<Option<(raw::Checkpoint, Vec<u8>)>, Refusal> {
    let bytes = read(disk, block * BLOCK_BYTES, BLOCK_BYTES)?;
    let Ok((raw, _)) = raw::Checkpoint::read_from_prefix(&bytes) else { return Ok(None) };
    let at = u64::from(raw.checksum_offset.get());
    if !(raw::BITMAPS_OFFSET..=CHECKSUM_OFFSET).contains(&at) {
        return Ok(None);
    }
    let mut sum = crc32_le(raw::MAGIC, part(&bytes, 0, at));
    if at < CHECKSUM_OFFSET {
        sum = crc32_le(sum, part(&bytes, at + 4, BLOCK_BYTES));
    }
    let is_sound = part(&bytes, at, 4) == sum.to_le_bytes();
    Ok(is_sound.then_some((raw, bytes)))
}

fn next_node(g: &Geometry, pack: &Pack) -> Result<u64, Refusal> {
    let segment = pack.raw.cur_node_segno.get(WARM_NODE).map_or(0, |n| u64::from(n.get()));
    let offset = pack.raw.cur_node_blkoff.get(WARM_NODE).map_or(0, |n| u64::from(n.get()));
    if segment >= g.main_segments || offset > SEGMENT_BLOCKS {
        let found = format!("block {offset} of segment {segment}");
        return Err(corrupt(pack, "current segment of nodes", "one of the main area", &found));
    }
    // A full segment is followed by nothing.
    Ok(g.main + segment * SEGMENT_BLOCKS + offset.min(SEGMENT_BLOCKS - 1))
}

/// The bitmap of the SIT: before or behind that of the NAT, or in blocks of its own.
fn sit_bitmap(disk: &dyn ReadDisk, g: &Geometry, pack: &Pack) -> Result<Vec<u8>, Refusal> {
    let len = u64::from(pack.raw.sit_ver_bitmap_bytesize.get());
    let nat_len = u64::from(pack.raw.nat_ver_bitmap_bytesize.get());
    let wanted = g.sit_blocks.div_ceil(8);
    let is_large = pack.raw.ckpt_flags.get() & LARGE_NAT_BITMAP != 0;
    let bytes = if is_large {
        part(&pack.block, raw::BITMAPS_OFFSET + 4 + nat_len, len).to_vec()
    } else if g.payload > 0 {
        let room = g.payload.min(SEGMENT_BLOCKS) * BLOCK_BYTES;
        read(disk, (pack.start + 1) * BLOCK_BYTES, len.min(room))?
    } else {
        let room = CHECKSUM_OFFSET - raw::BITMAPS_OFFSET;
        part(&pack.block, raw::BITMAPS_OFFSET, len.min(room)).to_vec()
    };
    if len != wanted || u64::try_from(bytes.len()) != Ok(wanted) {
        let found = format!("{len}, {} of them there", bytes.len());
        return Err(corrupt(pack, "bytes of the bitmap of the SIT", &wanted.to_string(), &found));
    }
    Ok(bytes)
}

/// The journal of the SIT, in the summary of the current segment of cold data.
fn journal(disk: &dyn ReadDisk, pack: &Pack) -> Result<Vec<raw::SitJournalEntry>, Refusal> {
    let total = u64::from(pack.raw.cp_pack_total_block_count.get());
    let (block, offset) = if pack.raw.ckpt_flags.get() & COMPACT_SUMMARY != 0 {
        // Both journals and the summaries in a row: first that of the NAT.
        (u64::from(pack.raw.cp_pack_start_sum.get()), raw::JOURNAL_BYTES)
    } else {
        let first = total.checked_sub(SUMMARIES + 1).unwrap_or(total);
        (first + COLD_DATA, raw::SUMMARY_JOURNAL_OFFSET)
    };
    if block == 0 || block >= total.saturating_sub(1) {
        let expected = format!("one of {total}");
        return Err(corrupt(
            pack,
            "block with the journal of the SIT",
            &expected,
            &block.to_string(),
        ));
    }
    let bytes = read(disk, (pack.start + block) * BLOCK_BYTES, BLOCK_BYTES)?;
    let bytes = part(&bytes, offset, raw::JOURNAL_BYTES);
    let (count, mut rest) = bytes
        .split_first_chunk()
        .map_or((0, bytes), |(count, rest)| (usize::from(u16::from_le_bytes(*count)), rest));
    if count > raw::SIT_JOURNAL_ENTRIES_MAX {
        let expected = format!("at most {}", raw::SIT_JOURNAL_ENTRIES_MAX);
        return Err(corrupt(
            pack,
            "entries in the journal of the SIT",
            &expected,
            &count.to_string(),
        ));
    }
    let mut entries = Vec::new();
    while entries.len() < count
        && let Ok((entry, after)) = raw::SitJournalEntry::read_from_prefix(rest)
    {
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

fn corrupt(pack: &Pack, what: &str, expected: &str, found: &str) -> Refusal {
    Refusal::corrupt(format!("{what} in the checkpoint"), pack.start * BLOCK_BYTES, expected, found)
}
