//! The journal: whether anything in it waits to be replayed.
//!
//! What it owns: the journal info block and the journal's header. What it never does: replay.

use super::header::{Geometry, OFFSET};
use super::raw;
use crate::disk::ReadDisk;
use crate::fs::areas::{part, read};
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// The journal is in a file of the volume.
const IN_VOLUME: u32 = 1;
/// Nobody has written to it yet.
const NEEDS_INIT: u32 = 4;

/// Byte offset of the checksum in the journal's header, after two words and three of 64 bits and
/// the size of a block header.
const CHECKSUM_OFFSET: u64 = 36;

/// Refuses a volume whose journal, named by its info block, is not empty or not here.
pub(super) fn check_clean(disk: &dyn ReadDisk, g: &Geometry, block: u64) -> Result<(), Refusal> {
    if block == 0 || block >= g.blocks {
        let expected = format!("1 to {}", g.blocks);
        let what = "journal info block in the volume header";
        return Err(Refusal::corrupt(what, OFFSET, expected, block.to_string()));
    }
    let at = block * g.block_bytes;
    let bytes = read(disk, at, 52)?;
    let Ok(info) = raw::JournalInfo::read_from_bytes(&bytes) else {
        return Err(Refusal::corrupt("journal info block", at, "52 bytes", "less"));
    };
    let flags = info.flags.get();
    if flags & IN_VOLUME == 0 || flags & !(IN_VOLUME | NEEDS_INIT) != 0 {
        return Err(Refusal::unsupported(format!(
            "its journal is on another device, or of an unknown kind (flags {flags:#x}); nobody \
             can see from here whether it is clean"
        )));
    }
    if flags & NEEDS_INIT != 0 {
        return Ok(());
    }
    let (start, size) = (info.offset.get(), info.size.get());
    let end = g.blocks * g.block_bytes;
    if size < 512 || start.checked_add(size).is_none_or(|to| to > end) {
        let found = format!("{size} bytes at {start}");
        return Err(Refusal::corrupt("place of the journal", at, "in the volume", found));
    }
    check_header(&read(disk, start, raw::JOURNAL_HEADER_BYTES)?, start)
}

fn check_header(bytes: &[u8], at: u64) -> Result<(), Refusal> {
    let word = |at: u64| part(bytes, at, 4).first_chunk().copied().unwrap_or_default();
    let marks = |number: fn([u8; 4]) -> u32| (number(word(0)), number(word(4)));
    let wanted = (raw::JOURNAL_MAGIC, raw::JOURNAL_ENDIAN);
    let found = if marks(u32::from_be_bytes) == wanted {
        u32::from_be_bytes(word(CHECKSUM_OFFSET))
    } else if marks(u32::from_le_bytes) == wanted {
        u32::from_le_bytes(word(CHECKSUM_OFFSET))
    } else {
        return Err(Refusal::corrupt("header of the journal", at, "JNLx", "something else"));
    };
    let sum = checksum(bytes);
    if found != sum {
        let (sum, found) = (format!("{sum:#010x}"), format!("{found:#010x}"));
        return Err(Refusal::corrupt("checksum of the journal's header", at, sum, found));
    }
    // Where it starts and ends, in whichever order.
    if part(bytes, 8, 8) != part(bytes, 16, 8) {
        return Err(Refusal::unsupported(
            "its journal is not empty: mount and unmount it once on macOS, or run fsck_hfs on it, \
             and save again",
        ));
    }
    Ok(())
}

/// The checksum of the header, with its own field taken as zero.
fn checksum(bytes: &[u8]) -> u32 {
    let field = usize::try_from(CHECKSUM_OFFSET).unwrap_or_default();
    let sum = bytes.iter().enumerate().fold(0u32, |sum, (at, byte)| {
        let byte = if (field..field + 4).contains(&at) { 0 } else { *byte };
        (sum << 8) ^ sum.wrapping_add(byte.into())
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(start: u64, end: u64, little: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let order = |number: &[u8]| {
            let mut number = number.to_vec();
            if little {
                number.reverse();
            }
            number
        };
        bytes.extend(order(&raw::JOURNAL_MAGIC.to_be_bytes()));
        bytes.extend(order(&raw::JOURNAL_ENDIAN.to_be_bytes()));
        bytes.extend(order(&start.to_be_bytes()));
        bytes.extend(order(&end.to_be_bytes()));
        bytes.extend(order(&(8u64 << 20).to_be_bytes()));
        bytes.resize(44, 0);
        bytes[40..44].copy_from_slice(&order(&512u32.to_be_bytes()));
        let mut sum = 0u32;
        for byte in &bytes {
            sum = (sum << 8) ^ sum.wrapping_add(u32::from(*byte));
        }
        bytes.splice(36..40, order(&(!sum).to_be_bytes()));
        bytes
    }

    #[test]
    fn an_empty_journal_of_either_order_is_clean() {
        for little in [false, true] {
            assert!(check_header(&header(512, 512, little), 0).is_ok());
            let full = check_header(&header(512, 1024, little), 0);
            assert!(matches!(full, Err(Refusal::Unsupported(why)) if why.contains("not empty")));
            for at in 0..44 {
                let mut bytes = header(512, 512, little);
                bytes[at] ^= 4;
                assert!(matches!(check_header(&bytes, 0), Err(Refusal::Corrupt(_))), "{at}");
            }
        }
    }
}
