//! Whether the log is clean.
//!
//! What it owns: finding the end of the log and the last record before it. XFS has no mark in its
//! superblock for "unmounted cleanly": a filesystem is at rest when the last record in its log says
//! that it was unmounted. What it never does: replay the log, or call it clean on the word of a
//! record that might not be the last.
//!
//! The log is a ring of 512-byte blocks. In the first word of each is the number of the cycle in
//! which it was written (in the second, where the first is a record's magic number). So the log
//! ends where the number drops by one. Several records may have been on their way to the disk when
//! a machine crashed and may have arrived in any order; they span at most eight buffers of 256 KiB.
//! So the numbers are checked, one by one, for [`WINDOW_BLOCKS`] on both sides of the end.
//!
//! xfs_repair and xfs_admin write a new log with a cycle number above that of the metadata: a
//! record that says "unmounted" in blocks 0 and 1, zeros to the end of the first 256 KiB, then
//! records of the cycle before. The first mount for writing removes the zeros.

use super::raw;
use super::superblock::Log;
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Bytes in a block of the log, whatever the filesystem's block size is.
const BLOCK_BYTES: u64 = 512;

/// Blocks checked on both sides of the end: 4 MiB, twice what can be on its way at once.
const WINDOW_BLOCKS: u64 = 8192;

/// A record's header is a block for each started 32 KiB of its buffer.
const HEADER_COVERS_BYTES: u64 = 32 << 10;

/// Largest buffer, in bytes: `XLOG_MAX_RECORD_BSIZE`.
const BUFFER_BYTES_MAX: u64 = 256 << 10;

/// What to do about a log that is not clean.
const ADVICE: &str = "mount and unmount it once (or run xfs_repair on it) and save again";

/// Refuses a filesystem whose log is not certain to be clean.
pub(super) fn check_clean(disk: &dyn ReadDisk, log: &Log) -> Result<(), Refusal> {
    let ring = Ring { disk, start: log.byte_offset, blocks: log.bytes / BLOCK_BYTES };
    let (first, last) = (ring.cycle(0)?, ring.cycle(ring.blocks.saturating_sub(1))?);
    // A log is written from cycle 1 on, so a cycle 0 stands for "never written".
    let head = if first == 0 {
        return Err(uncertain("it is empty"));
    } else if first == last {
        0
    } else if last == first - 1 {
        ring.first_of_cycle(last)?
    } else {
        return Err(uncertain("its cycle numbers contradict each other"));
    };
    let Near { newest, blank_from } = ring.check_window(head, first, last)?;
    let Some(newest) = newest else {
        return Err(uncertain("it has no record near its end"));
    };
    if blank_from.is_some() && newest != 0 {
        return Err(uncertain("records are missing near its end"));
    }
    if ring.is_unmount_record(newest, blank_from.unwrap_or(head), log.uuid)? {
        return Ok(());
    }
    Err(Refusal::unsupported(format!(
        "its log is not clean, what is free on the disk is out of date (it is mounted, or was not \
         unmounted cleanly): {ADVICE}"
    )))
}

fn uncertain(why: &str) -> Refusal {
    Refusal::unsupported(format!("nothing tells whether its log is clean, {why}: {ADVICE}"))
}

/// What stands around the end of the log.
struct Near {
    /// The last block before the end that starts a record.
    newest: Option<u64>,
    /// The first of the blocks of zeros before the end, all of them in a row.
    blank_from: Option<u64>,
}

struct Ring<'a> {
    disk: &'a dyn ReadDisk,
    /// Byte offset from the start of the filesystem.
    start: u64,
    /// At least one.
    blocks: u64,
}

impl Ring<'_> {
    fn read(&self, block: u64, buf: &mut [u8]) -> Result<(), Refusal> {
        Ok(self.disk.read_at(buf, self.start.saturating_add(block.saturating_mul(BLOCK_BYTES)))?)
    }

    fn cycle(&self, block: u64) -> Result<u32, Refusal> {
        let mut bytes = [0; 8];
        self.read(block, &mut bytes)?;
        Ok(cycle_of(&bytes))
    }

    /// The first block of this cycle, which the last block is of and block 0 is not.
    fn first_of_cycle(&self, cycle: u32) -> Result<u64, Refusal> {
        let (mut before, mut inside) = (0, self.blocks.saturating_sub(1));
        while before + 1 < inside {
            let middle = before + (inside - before) / 2;
            if self.cycle(middle)? == cycle {
                inside = middle;
            } else {
                before = middle;
            }
        }
        Ok(inside)
    }

    /// Checks the cycle numbers around the end of the log, `first` before and `last` after it.
    fn check_window(&self, head: u64, first: u32, last: u32) -> Result<Near, Refusal> {
        let reach = WINDOW_BLOCKS.min(self.blocks);
        let from = (head + self.blocks - reach) % self.blocks;
        let count = (2 * WINDOW_BLOCKS).min(self.blocks);
        let mut near = Near { newest: None, blank_from: None };
        let mut piece = vec![0; usize::try_from(WINDOW_BLOCKS * BLOCK_BYTES).unwrap_or_default()];
        let mut done = 0;
        while done < count {
            let block = (from + done) % self.blocks;
            let now = (count - done).min(self.blocks - block).min(WINDOW_BLOCKS);
            let len = usize::try_from(now * BLOCK_BYTES).unwrap_or_default();
            let bytes = piece.get_mut(..len).unwrap_or_default();
            self.read(block, bytes)?;
            let step = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
            for (number, bytes) in (block..).zip(bytes.chunks_exact(step)) {
                let is_blank = number < head && bytes.iter().all(|byte| *byte == 0);
                let expected = if number < head { first } else { last };
                let is_in_order =
                    cycle_of(bytes) == expected && (near.blank_from.is_none() || number >= head);
                if !is_blank && !is_in_order {
                    return Err(uncertain("records are missing near its end"));
                }
                if is_blank {
                    near.blank_from.get_or_insert(number);
                }
                let is_before = (number + self.blocks - from) % self.blocks < reach;
                if is_before && word(bytes, 0) == raw::LOG_MAGIC {
                    near.newest = Some(number);
                }
            }
            done += now;
        }
        Ok(near)
    }

    /// True when the record at `block` says "unmounted" and ends at `head`.
    fn is_unmount_record(&self, block: u64, head: u64, uuid: [u8; 16]) -> Result<bool, Refusal> {
        let mut bytes = [0; size_of::<raw::LogRecord>()];
        self.read(block, &mut bytes)?;
        let Ok(record) = raw::LogRecord::read_from_bytes(&bytes) else {
            return Ok(false);
        };
        if record.h_fs_uuid != uuid {
            return Err(uncertain("it carries the UUID of another filesystem"));
        }
        let lsn = u64::from(record.h_cycle.get()) << 32 | block;
        let buffer_bytes = u64::from(record.h_size.get());
        let header_blocks = match record.h_version.get() {
            1 => 1,
            2 if buffer_bytes <= BUFFER_BYTES_MAX => {
                buffer_bytes.div_ceil(HEADER_COVERS_BYTES).max(1)
            }
            _ => return Err(uncertain("its records are of a version not known")),
        };
        let content_blocks = u64::from(record.h_len.get()).div_ceil(BLOCK_BYTES);
        let end = block + header_blocks + content_blocks;
        if record.h_lsn.get() != lsn
            || record.h_num_logops.get() != 1
            || content_blocks == 0
            || end % self.blocks != head
        {
            return Ok(false);
        }
        let mut bytes = [0; size_of::<raw::LogOperation>()];
        self.read((block + header_blocks) % self.blocks, &mut bytes)?;
        let operation = raw::LogOperation::read_from_bytes(&bytes);
        Ok(operation
            .is_ok_and(|op| op.oh_clientid == raw::LOG_CLIENT && op.oh_flags == raw::LOG_UNMOUNT))
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_be_bytes(*word))
}

fn cycle_of(block: &[u8]) -> u32 {
    match word(block, 0) {
        raw::LOG_MAGIC => word(block, 4),
        cycle => cycle,
    }
}
