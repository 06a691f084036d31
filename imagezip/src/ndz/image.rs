//! A set of chunks as one whole image.
//!
//! What it owns: the rules that no single header can prove: every chunk is there once, all belong
//! to one image, their spans tile the disk, nothing overlaps. What it never does: hold more than a
//! few bytes a chunk.

use super::chain::{Chain, Span};
use super::error::{FormatError, Place};
use super::header::{ChunkHeader, NativeFields};
use super::relocation::Relocation;
use super::{CHUNK_SIZE, Codec, Version};
use crate::sector_set::{SectorSet, SectorSetBuilder};
use crate::units::{Sector, SectorCount};

/// Relocations remembered for listings; an image of a disk with LILO has a few dozen.
const RELOCATIONS_KEPT: usize = 4096;

/// What is known of an image when all its headers have been seen.
#[derive(Clone, Debug)]
pub struct ImageInfo {
    /// Format of all its chunks.
    pub version: Version,
    /// Chunks in it.
    pub chunks: u64,
    /// Its identity, when its writer gave one.
    pub image_id: Option<[u8; 16]>,
    /// Exact length of what it was made of, in bytes: disk, partition or file.
    pub source_bytes: u64,
    /// What native headers say of the whole image.
    pub native: Option<NativeFields>,
    /// How its payloads are compressed.
    pub codec: Codec,
    /// Sectors whose bytes are in the image.
    pub data: SectorCount,
    /// Sectors recorded as zero.
    pub zero: SectorCount,
    /// Regions of all chunks.
    pub regions: u64,
    /// Compressed bytes of all payloads.
    pub payload_bytes: u64,
    /// The first relocations (at most 4096) ...
    pub relocations: Vec<Relocation>,
    /// ... and how many there are.
    pub relocation_count: u64,
    /// All sectors that the image writes, data and zero. Coarser than the regions when there are
    /// over four million of them.
    pub allocated: SectorSet,
    /// Chunks that carry a digest which a reader can check.
    pub chunks_with_digest: u64,
}

impl ImageInfo {
    /// Bytes of the image itself.
    pub fn image_bytes(&self) -> u64 {
        self.chunks.saturating_mul(CHUNK_SIZE)
    }

    /// The end of the last sector that the image writes.
    pub fn last_written(&self) -> Sector {
        self.allocated.end()
    }

    /// The source's length in sectors, a last short sector counted as one.
    pub fn source_sectors(&self) -> SectorCount {
        SectorCount::holding_bytes(self.source_bytes).unwrap_or_default()
    }
}

/// Checks the headers of an image, given in the order of their chunk numbers.
#[derive(Debug, Default)]
pub struct ImageSet {
    first: Option<ChunkHeader>,
    chain: Chain,
    allocated: SectorSetBuilder,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    regions: u64,
    payload_bytes: u64,
    relocations: Vec<Relocation>,
    relocation_count: u64,
}

impl ImageSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The headers of chunk 0, once seen.
    pub fn first(&self) -> Option<&ChunkHeader> {
        self.first.as_ref()
    }

    /// Adds the next chunk's header.
    ///
    /// # Errors
    /// When it cannot be the next chunk of this image: the message says whether one is missing,
    /// doubled or foreign, or what contradicts.
    pub fn push(&mut self, header: &ChunkHeader) -> Result<(), FormatError> {
        if let Some(first) = &self.first {
            check_same_image(first, header, self.chain.chunks())?;
        }
        self.chain.push(&Span::of(header))?;
        for region in &header.regions {
            self.allocated.push(region.range);
        }
        let tally = &mut self.tally;
        tally.regions += u64::try_from(header.regions.len()).unwrap_or(0);
        tally.payload_bytes += u64::try_from(header.payload_len).unwrap_or(0);
        tally.relocation_count += u64::try_from(header.relocations.len()).unwrap_or(0);
        let room = RELOCATIONS_KEPT.saturating_sub(tally.relocations.len());
        tally.relocations.extend(header.relocations.iter().take(room));
        self.first.get_or_insert_with(|| header.clone());
        Ok(())
    }

    /// The whole image, when no chunk is left.
    ///
    /// # Errors
    /// When the image is not whole.
    pub fn finish(self) -> Result<ImageInfo, FormatError> {
        let sums = self.chain.finish(self.first.as_ref().and_then(|first| first.native))?;
        let Some(first) = self.first else {
            return Err(FormatError::corrupt(Place::IMAGE, "length", "1 chunk or more", "none"));
        };
        Ok(ImageInfo {
            version: first.version,
            chunks: sums.chunks,
            image_id: first.image_id,
            source_bytes: sums.source_bytes,
            native: first.native,
            codec: first.codec,
            data: sums.data,
            zero: sums.zero,
            regions: self.tally.regions,
            payload_bytes: self.tally.payload_bytes,
            relocations: self.tally.relocations,
            relocation_count: self.tally.relocation_count,
            allocated: self.allocated.finish(),
            chunks_with_digest: sums.chunks_with_digest,
        })
    }
}

/// Checks that two chunks belong to one image.
///
/// # Errors
/// When they differ in format, identity, or what native headers say of the whole image.
pub fn check_same_image(
    first: &ChunkHeader,
    header: &ChunkHeader,
    position: u64,
) -> Result<(), FormatError> {
    let place = Place { chunk: Some(position), ..header.place() };
    let foreign = |what, expected: String, found: String| {
        Err(FormatError::corrupt(place, what, expected, found))
    };
    if header.version != first.version {
        let what = "format (the chunk belongs to another image)";
        return foreign(what, first.version.to_string(), header.version.to_string());
    }
    if header.image_id != first.image_id {
        let what = "image id (the chunk belongs to another image)";
        return foreign(what, id_text(first.image_id), id_text(header.image_id));
    }
    let of_image = |native: NativeFields| NativeFields { last: false, ..native };
    if header.native.map(of_image) != first.native.map(of_image) {
        let what = "whole-image fields (the chunk belongs to another image)";
        return foreign(what, format!("{:?}", first.native), format!("{:?}", header.native));
    }
    Ok(())
}

/// An image id as people write it.
pub fn id_text(id: Option<[u8; 16]>) -> String {
    id.map_or_else(|| "none".to_owned(), |id| uuid::Uuid::from_bytes(id).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndz::header::{Integrity, Region, RegionKind};
    use crate::units::SectorRange;

    fn range(start: u32, end: u32) -> SectorRange {
        SectorRange::new(Sector::from_u32(start), Sector::from_u32(end)).unwrap()
    }

    fn chunk(index: u32, bounds: SectorRange, regions: &[SectorRange]) -> ChunkHeader {
        ChunkHeader {
            version: Version::V5,
            index,
            header_area: 4096,
            payload_len: 100,
            codec: Codec::Zlib,
            bounds: Some(bounds),
            image_id: None,
            regions: regions
                .iter()
                .map(|range| Region { range: *range, kind: RegionKind::Data })
                .collect(),
            relocations: vec![],
            integrity: Integrity::None,
            native: None,
        }
    }

    fn check(chunks: &[ChunkHeader]) -> Result<ImageInfo, FormatError> {
        let mut set = ImageSet::new();
        chunks.iter().try_for_each(|c| set.push(c))?;
        set.finish()
    }

    #[test]
    fn a_whole_image_is_accepted() {
        let info = check(&[
            chunk(0, range(0, 100), &[range(0, 10)]),
            chunk(1, range(100, 200), &[range(100, 110), range(150, 151)]),
        ])
        .unwrap();
        assert_eq!((info.chunks, info.data.get(), info.source_bytes), (2, 21, 200 * 512));
    }

    #[test]
    fn missing_doubled_and_foreign_chunks_are_named() {
        let a = chunk(0, range(0, 100), &[range(0, 10)]);
        let b = chunk(1, range(100, 200), &[range(100, 110)]);
        let c = chunk(2, range(200, 300), &[range(200, 210)]);
        let message = |chunks: &[ChunkHeader]| check(chunks).unwrap_err().to_string();
        assert!(message(&[a.clone(), c.clone()]).contains("missing"));
        assert!(message(&[a.clone(), b.clone(), b.clone()]).contains("doubled"));
        let foreign = ChunkHeader { image_id: Some([1; 16]), ..b.clone() };
        assert!(message(&[a.clone(), foreign]).contains("another image"));
        let gap = ChunkHeader { bounds: Some(range(120, 200)), regions: vec![], ..b };
        assert!(message(&[a, gap]).contains("follow each other"));
        assert!(message(&[]).contains("1 chunk or more"));
    }
}
