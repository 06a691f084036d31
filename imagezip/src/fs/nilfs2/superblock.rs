//! The superblock: recognised, verified against its copy, and turned into a geometry that fits the
//! disk.
//!
//! What it owns: every check on both superblocks. What it never does: let a number through that
//! later arithmetic or a later loop could trip over.

use super::raw;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::areas::{crc32_le, part};
use crate::fs::refusal::Refusal;
use zerocopy::{FromBytes, IntoBytes};

/// Byte offset of the first superblock.
const OFFSET: u64 = 1024;
/// Grid on which the second stands: at the start of the last whole cell of the device.
const SECOND_GRID: u64 = 4096;
/// Bytes of a superblock.
const LEN: u64 = 1024;
/// Smallest and largest block, in bytes.
const BLOCK_BYTES: std::ops::RangeInclusive<u64> = 1024..=65536;
/// Fewest blocks in a segment: `NILFS_SEG_MIN_BLOCKS`.
const SEGMENT_BLOCKS_MIN: u64 = 16;
/// Most bytes in a segment that we read at once or know from mkfs.
const SEGMENT_BYTES_MAX: u64 = 1 << 32;

const VALID: u16 = 1;
const ERROR: u16 = 2;
const RESIZE: u16 = 4;
/// `NILFS_FEATURE_COMPAT_RO_BLOCK_COUNT`.
const BLOCK_COUNT: u64 = 1;

/// The newer of the superblocks; nothing is known to be sound but the magic number of the first.
pub(super) struct Superblock {
    first: raw::Superblock,
}

/// Sizes that fit together and fit the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Bytes in a block: a power of two, 1024 to 65536.
    pub(super) block_bytes: u64,
    /// Bytes of the filesystem.
    pub(super) bytes: u64,
    /// Segments, at least one.
    pub(super) segments: u64,
    /// Blocks in a segment, at least 16.
    pub(super) segment_blocks: u64,
    /// Blocks before the first data of segment 0.
    pub(super) first_data_block: u64,
    /// Start value of all checksums.
    pub(super) seed: u32,
    /// Bytes of an inode, at least 128.
    pub(super) inode_bytes: u64,
    /// Bytes of an entry of the DAT, at least 32.
    pub(super) dat_entry_bytes: u64,
    /// Bytes of an entry of the segment usage file, at least 16.
    pub(super) usage_bytes: u64,
    /// First block of the last log, in some segment.
    pub(super) last_log: u64,
    /// Its sequence number.
    pub(super) last_sequence: u64,
}

impl Superblock {
    /// The first superblock of the disk; `None` when there is none.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        let first = read_at(disk, OFFSET)?;
        // The magic number is short: what else is always the same counts, too.
        let is_nilfs = |raw: &raw::Superblock| {
            raw.s_magic.get() == raw::MAGIC
                && raw.s_rev_level.get() <= 0xFF
                && (32..=1024).contains(&raw.s_bytes.get())
                && raw.s_log_block_size.get() <= 0xFF
        };
        Ok(first.filter(is_nilfs).map(|first| Self { first }))
    }

    /// The fields as they stand.
    pub(super) fn raw(&self) -> &raw::Superblock {
        &self.first
    }

    /// The version and the names of features.
    pub(super) fn features(&self) -> Vec<String> {
        let raw = &self.first;
        let mut names = vec![format!("revision {}.{}", raw.s_rev_level, raw.s_minor_rev_level)];
        if raw.s_feature_compat_ro.get() & BLOCK_COUNT != 0 {
            names.push("block_count".into());
        }
        names
    }

    /// Verifies both superblocks and gives the geometry by the newer one.
    pub(super) fn geometry(&self, disk: &dyn ReadDisk) -> Result<Geometry, Refusal> {
        let first = &self.first;
        verify(first, OFFSET)?;
        if first.s_rev_level.get() != 2 {
            let level = first.s_rev_level;
            return Err(Refusal::unsupported(format!("revision {level} is not known (2 is)")));
        }
        let bytes = first.s_dev_size.get();
        if bytes > disk.size_bytes() || bytes < 4 * SECOND_GRID {
            let expected = format!("at most the {} of the partition", disk.size_bytes());
            return Err(corrupt("size", OFFSET, expected, bytes));
        }
        let second_at = second_offset(bytes);
        let second = read_at(disk, second_at)?;
        let second = second.filter(|raw| raw.s_magic.get() == raw::MAGIC);
        let Some(second) = second else {
            return Err(corrupt("copy", second_at, "a superblock", "none"));
        };
        verify(&second, second_at)?;
        if shape(first) != shape(&second) {
            return Err(corrupt("copy", second_at, "the same sizes as in the first", "others"));
        }
        let newer = if second.s_last_cno.get() > first.s_last_cno.get() { &second } else { first };
        check_state(newer)?;
        geometry(newer, bytes)
    }
}

/// Byte offset of the second superblock: `NILFS_SB2_OFFSET_BYTES`.
pub(super) fn second_offset(bytes: u64) -> u64 {
    (bytes / SECOND_GRID).saturating_sub(1) * SECOND_GRID
}

/// What both superblocks must agree on.
fn shape(raw: &raw::Superblock) -> impl Eq {
    let sizes = [raw.s_inode_size, raw.s_dat_entry_size, raw.s_segment_usage_size];
    let numbers = [raw.s_nsegments, raw.s_dev_size, raw.s_first_data_block];
    let features = [raw.s_feature_compat_ro, raw.s_feature_incompat];
    let words = [raw.s_crc_seed, raw.s_log_block_size, raw.s_blocks_per_segment, raw.s_rev_level];
    (sizes, numbers, features, words, raw.s_uuid)
}

fn verify(raw: &raw::Superblock, offset: u64) -> Result<(), Refusal> {
    let len = u64::from(raw.s_bytes.get());
    if !(280..=LEN).contains(&len) {
        return Err(corrupt("bytes under the checksum", offset, "280 to 1024", len));
    }
    let seed = raw.s_crc_seed.get();
    let bytes = part(raw.as_bytes(), 0, len);
    let sum = crc32_le(seed, part(bytes, 0, raw::SUPERBLOCK_SUM_OFFSET));
    let sum = crc32_le(crc32_le(sum, &[0; 4]), part(bytes, raw::SUPERBLOCK_SUM_OFFSET + 4, len));
    if sum != raw.s_sum.get() {
        let found = format!("{:#010x}", raw.s_sum.get());
        return Err(corrupt("own checksum", offset, format!("{sum:#010x}"), found));
    }
    Ok(())
}

fn check_state(raw: &raw::Superblock) -> Result<(), Refusal> {
    let (incompat, ro) = (raw.s_feature_incompat.get(), raw.s_feature_compat_ro.get());
    if incompat != 0 || ro & !BLOCK_COUNT != 0 {
        return Err(Refusal::unsupported(format!(
            "features {incompat:#x} (incompatible) and {ro:#x} (read-only) are not known"
        )));
    }
    let state = raw.s_state.get();
    if state & ERROR != 0 {
        return Err(Refusal::unsupported("the kernel has found errors in it and marked it so"));
    }
    if state & RESIZE != 0 {
        return Err(Refusal::unsupported("it is being resized"));
    }
    if state != VALID {
        return Err(Refusal::unsupported(
            "it is mounted, or was not unmounted cleanly, and may have logs behind its last \
             checkpoint: mount and unmount it once and save again",
        ));
    }
    Ok(())
}

fn geometry(raw: &raw::Superblock, bytes: u64) -> Result<Geometry, Refusal> {
    let block_bytes =
        10u32.checked_add(raw.s_log_block_size.get()).and_then(|log| 1u64.checked_shl(log));
    let Some(block_bytes) = block_bytes.filter(|bytes| BLOCK_BYTES.contains(bytes)) else {
        return Err(corrupt("block size", OFFSET, "2^0 to 2^6 KiB", raw.s_log_block_size));
    };
    let segment_blocks = u64::from(raw.s_blocks_per_segment.get());
    let segment_bytes = segment_blocks.saturating_mul(block_bytes);
    if segment_blocks < SEGMENT_BLOCKS_MIN || segment_bytes > SEGMENT_BYTES_MAX {
        return Err(corrupt("blocks in a segment", OFFSET, "16 or more, to 4 GiB", segment_blocks));
    }
    let segments = raw.s_nsegments.get();
    let end = segments.checked_mul(segment_bytes);
    if segments == 0 || end.is_none_or(|end| end > bytes) {
        let expected = format!("segments of {segment_bytes} bytes in {bytes}");
        return Err(corrupt("number of segments", OFFSET, expected, segments));
    }
    let first_data_block = raw.s_first_data_block.get();
    if first_data_block >= segment_blocks || first_data_block * block_bytes + block_bytes < 2048 {
        return Err(corrupt("first data block", OFFSET, "in segment 0", first_data_block));
    }
    let last_log = raw.s_last_pseg.get();
    if last_log < first_data_block || last_log / segment_blocks >= segments {
        return Err(corrupt("place of the last log", OFFSET, "in a segment", last_log));
    }
    let entry = |name: &str, size: zerocopy::little_endian::U16, least: u64| {
        let size = u64::from(size.get());
        let is_usable = size >= least && size <= 1024 && size <= block_bytes;
        if is_usable && size.is_multiple_of(8) {
            return Ok(size);
        }
        Err(corrupt(name, OFFSET, format!("{least} to 1024"), size))
    };
    Ok(Geometry {
        block_bytes,
        bytes,
        segments,
        segment_blocks,
        first_data_block,
        seed: raw.s_crc_seed.get(),
        inode_bytes: entry("bytes of an inode", raw.s_inode_size, 128)?,
        dat_entry_bytes: entry("bytes of an entry of the DAT", raw.s_dat_entry_size, 32)?,
        usage_bytes: entry("bytes of a segment usage", raw.s_segment_usage_size, 16)?,
        last_log,
        last_sequence: raw.s_last_seq.get(),
    })
}

impl Geometry {
    /// First block behind the last segment.
    pub(super) fn end_block(&self) -> u64 {
        self.segments * self.segment_blocks
    }

    /// The blocks of a segment, up to, not including, the second.
    pub(super) fn segment(&self, number: u64) -> (u64, u64) {
        let start = number * self.segment_blocks;
        (start.max(self.first_data_block), start + self.segment_blocks)
    }
}

fn read_at(disk: &dyn ReadDisk, offset: u64) -> Result<Option<raw::Superblock>, DiskError> {
    let mut bytes = [0; size_of::<raw::Superblock>()];
    if disk.size_bytes() < offset.saturating_add(LEN) {
        return Ok(None);
    }
    disk.read_at(&mut bytes, offset)?;
    Ok(raw::Superblock::read_from_bytes(&bytes).ok())
}

/// A field of a superblock that contradicts the rest or the disk.
fn corrupt(field: &str, at: u64, expected: impl Into<String>, found: impl ToString) -> Refusal {
    Refusal::corrupt(format!("{field} in the superblock"), at, expected, found.to_string())
}
