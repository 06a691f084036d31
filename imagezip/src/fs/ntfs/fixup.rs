//! Update sequences: how NTFS tells a record that was written in part.
//!
//! What it owns: verifying a record and putting back the words that the sequence number replaced.
//! What it never does: accept a record in which one does not match.

use super::raw;
use zerocopy::FromBytes;

/// Each this many bytes end in the sequence number, whatever the size of a sector.
const STRIDE: usize = 512;

/// Verifies a record with one of these magic numbers and restores its words; why not, otherwise.
pub(super) fn restore(record: &mut [u8], magics: &[[u8; 4]]) -> Result<(), String> {
    let Ok((header, _)) = raw::ProtectedHeader::read_from_prefix(record) else {
        return Err("less than a header".into());
    };
    if !magics.contains(&header.magic) {
        return Err(format!("the mark {:?}", String::from_utf8_lossy(&header.magic)));
    }
    let start = usize::from(header.usa_offset.get());
    let words = usize::from(header.usa_count.get());
    let blocks = record.len() / STRIDE;
    // The array lies in the first block, before the word that it replaces there.
    if words != blocks + 1 || start % 2 != 0 || start + words * 2 > STRIDE - 2 {
        return Err(format!("an update sequence of {words} words at {start}"));
    }
    let array = record.get(start..start + words * 2).unwrap_or_default().to_vec();
    let Some((number, rest)) = array.as_chunks::<2>().0.split_first() else {
        return Err("no update sequence".into());
    };
    for (i, (block, word)) in record.chunks_exact_mut(STRIDE).zip(rest).enumerate() {
        match block.last_chunk_mut::<2>() {
            Some(end) if end == number => *end = *word,
            _ => return Err(format!("an old block {i} (its update sequence number differs)")),
        }
    }
    Ok(())
}
