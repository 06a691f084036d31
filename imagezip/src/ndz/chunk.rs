//! Whole chunks: sealing one, and proving one.
//!
//! What it owns: [`VerifiedChunk`], the only type that can be decompressed. Having one is the proof
//! that header and payload are those the writer made (as far as the format can prove that).

use super::encode::encode;
use super::error::FormatError;
use super::header::{ChunkHeader, Integrity};
use super::raw::{NATIVE_CHECK, NATIVE_DIGEST, NATIVE_SIGNATURE, V4_CHECKSUM, V6_CHECKSUM};
use super::{CHUNK_LEN, Version};
use std::ops::Range;

/// A chunk whose header is valid and whose digest, if it has one, is right.
#[derive(Clone, Debug)]
pub struct VerifiedChunk<'a> {
    header: ChunkHeader,
    payload: &'a [u8],
}

impl<'a> VerifiedChunk<'a> {
    /// Proves the chunk that stands at position `at` of an image.
    ///
    /// # Errors
    /// When it is not whole, not sound, or its digest is wrong.
    pub fn verify(chunk: &'a [u8], at: u64) -> Result<Self, FormatError> {
        let header = ChunkHeader::parse(chunk, at)?;
        if chunk.len() != CHUNK_LEN {
            let found = chunk.len();
            return Err(FormatError::corrupt(header.place(), "chunk length", CHUNK_LEN, found));
        }
        let end = header.header_area + header.payload_len;
        let whole = chunk.get(..end).unwrap_or_default();
        match header.integrity {
            Integrity::None | Integrity::Signed => {}
            Integrity::Blake3 => check_blake3(&header, whole)?,
            Integrity::Sha1 => check_sha1(&header, whole)?,
        }
        let payload = whole.get(header.header_area..).unwrap_or_default();
        Ok(Self { header, payload })
    }

    /// The header.
    pub fn header(&self) -> &ChunkHeader {
        &self.header
    }

    /// The compressed bytes.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// The digest of a native chunk: BLAKE3 over `bytes` (header area and payload) with the digest
/// and signature fields taken as zero.
fn native_digest(bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hash_with_hole(bytes, NATIVE_DIGEST.start..NATIVE_SIGNATURE.end, |part| {
        hasher.update(part);
    });
    hasher.finalize()
}

/// The check of a native header area: the first 8 bytes of BLAKE3 over it, with the check, digest
/// and signature fields taken as zero. It proves a header that is read ahead of its payload.
pub(super) fn native_header_check(header_area: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hash_with_hole(header_area, NATIVE_CHECK.start..NATIVE_SIGNATURE.end, |part| {
        hasher.update(part);
    });
    let mut check = [0; 8];
    hasher.finalize_xof().fill(&mut check);
    check
}

/// Feeds `bytes` with `hole` taken as zeros.
fn hash_with_hole(bytes: &[u8], hole: Range<usize>, mut feed: impl FnMut(&[u8])) {
    const ZEROS: [u8; 256] = [0; 256];
    feed(bytes.get(..hole.start).unwrap_or_default());
    feed(ZEROS.get(..hole.len()).unwrap_or_default());
    feed(bytes.get(hole.end..).unwrap_or_default());
}
const _: () = assert!(NATIVE_CHECK.end == NATIVE_DIGEST.start);
const _: () = assert!(NATIVE_DIGEST.end == NATIVE_SIGNATURE.start);
const _: () = assert!(V4_CHECKSUM.end - V4_CHECKSUM.start <= 256);

fn check_blake3(header: &ChunkHeader, bytes: &[u8]) -> Result<(), FormatError> {
    let stored: [u8; 32] =
        bytes.get(NATIVE_DIGEST).and_then(|d| d.try_into().ok()).unwrap_or_default();
    let computed = native_digest(bytes);
    if computed != stored {
        let found = blake3::Hash::from_bytes(stored);
        return Err(wrong_digest(header, computed.to_hex(), found.to_hex()));
    }
    Ok(())
}

fn check_sha1(header: &ChunkHeader, bytes: &[u8]) -> Result<(), FormatError> {
    use sha1::{Digest, Sha1};
    let hole = if header.version == Version::V4 { V4_CHECKSUM } else { V6_CHECKSUM };
    let stored = bytes.get(hole.clone()).and_then(|sum| sum.get(..20)).unwrap_or_default();
    let mut hasher = Sha1::new();
    hash_with_hole(bytes, hole, |part| hasher.update(part));
    let computed = hasher.finalize();
    if computed.as_slice() != stored {
        return Err(wrong_digest(header, hex(&computed), hex(stored)));
    }
    Ok(())
}

fn wrong_digest(
    header: &ChunkHeader,
    computed: impl ToString,
    stored: impl ToString,
) -> FormatError {
    FormatError::corrupt(
        header.place(),
        "digest (the chunk was damaged after it was written)",
        stored,
        computed,
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Finishes a chunk: writes `header` before the payload that already stands in `chunk` at
/// `header.header_area`, zeroes the padding, and adds the digest in the native format.
///
/// `chunk` is [`CHUNK_LEN`] bytes; what stands before and after the payload is overwritten.
///
/// # Errors
/// When a value does not fit the format.
pub fn seal(header: &ChunkHeader, chunk: &mut [u8]) -> Result<(), FormatError> {
    let end = header.header_area + header.payload_len;
    let wrong_len = chunk.len() != CHUNK_LEN || end > CHUNK_LEN;
    let (Some(area), false) = (chunk.get_mut(..header.header_area), wrong_len) else {
        return Err(FormatError::corrupt(header.place(), "chunk length", CHUNK_LEN, end));
    };
    area.fill(0);
    if let Some(padding) = chunk.get_mut(end..) {
        padding.fill(0);
    }
    encode(header, chunk)?;
    if header.version == Version::Native {
        let check = native_header_check(chunk.get(..header.header_area).unwrap_or_default());
        if let Some(field) = chunk.get_mut(NATIVE_CHECK) {
            field.copy_from_slice(&check);
        }
        let digest = native_digest(chunk.get(..end).unwrap_or_default());
        if let Some(field) = chunk.get_mut(NATIVE_DIGEST) {
            field.copy_from_slice(digest.as_bytes());
        }
    }
    Ok(())
}
