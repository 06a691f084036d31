//! A set of chunks as one whole image.
//!
//! What it owns: the rules that no single header can prove: every chunk is there once, all belong
//! to one image, their spans tile the disk, nothing overlaps. What it never does: hold more than a
//! few bytes a chunk.

use super::error::{FormatError, Place};
use super::header::{ChunkHeader, NativeFields};
use super::relocation::Relocation;
use super::{CHUNK_SIZE, Codec, Version};
use crate::sector_set::{SectorSet, SectorSetBuilder};
use crate::units::{Sector, SectorCount, SectorRange};
use std::collections::BTreeSet;

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
    last: Option<Seen>,
    allocated: SectorSetBuilder,
    tally: Tally,
}

/// What is kept of the previous chunk.
#[derive(Debug)]
struct Seen {
    bounds_end: Sector,
    regions_end: Sector,
    end_bytes: u64,
    is_last: bool,
}

#[derive(Debug, Default)]
struct Tally {
    chunks: u64,
    data: u64,
    zero: u64,
    regions: u64,
    payload_bytes: u64,
    relocations: Vec<Relocation>,
    relocation_count: u64,
    chunks_with_digest: u64,
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
        let position = self.tally.chunks;
        if let Some(first) = &self.first {
            check_same_image(first, header, position)?;
        }
        if u64::from(header.index) != position {
            let what = if u64::from(header.index) < position {
                "chunk number (a chunk is doubled)"
            } else {
                "chunk number (a chunk is missing)"
            };
            return Err(FormatError::corrupt(header.place(), what, position, header.index));
        }
        self.check_continues(header)?;

        for region in &header.regions {
            self.allocated.push(region.range);
        }
        let tally = &mut self.tally;
        tally.chunks += 1;
        tally.data = tally.data.saturating_add(header.data_sectors().get());
        tally.zero = tally.zero.saturating_add(header.zero_sectors().get());
        tally.regions += u64::try_from(header.regions.len()).unwrap_or(0);
        tally.payload_bytes += u64::try_from(header.payload_len).unwrap_or(0);
        tally.relocation_count += u64::try_from(header.relocations.len()).unwrap_or(0);
        let room = RELOCATIONS_KEPT.saturating_sub(tally.relocations.len());
        tally.relocations.extend(header.relocations.iter().take(room));
        tally.chunks_with_digest += match header.integrity {
            super::header::Integrity::Blake3 | super::header::Integrity::Sha1 => 1,
            _ => 0,
        };
        let regions_end = header.regions.last().map(|r| r.range.end());
        let before = self.last.as_ref();
        self.last = Some(Seen {
            bounds_end: header.bounds.map(SectorRange::end).unwrap_or_default(),
            regions_end: regions_end.or(before.map(|seen| seen.regions_end)).unwrap_or_default(),
            end_bytes: match header.regions.is_empty() && header.bounds.is_none() {
                true => before.map_or(0, |seen| seen.end_bytes),
                false => header.end_bytes(),
            },
            is_last: header.native.is_some_and(|native| native.last),
        });
        self.first.get_or_insert_with(|| header.clone());
        Ok(())
    }

    fn check_continues(&self, header: &ChunkHeader) -> Result<(), FormatError> {
        let place = header.place();
        let expected_start = self.last.as_ref().map(|seen| seen.bounds_end).unwrap_or_default();
        if let Some(bounds) = header.bounds
            && bounds.start() != expected_start
        {
            let what = "first sector of the bounds (chunks must follow each other)";
            return Err(FormatError::corrupt(place, what, expected_start, bounds.start()));
        }
        let Some(seen) = &self.last else { return Ok(()) };
        if let Some(region) = header.regions.first()
            && region.range.start() < seen.regions_end
        {
            let expected = format!("sector {} or later", seen.regions_end);
            return Err(FormatError::corrupt(place, "region", expected, region.range));
        }
        if seen.is_last {
            let expected = "nothing after the chunk marked as last";
            return Err(FormatError::corrupt(place, "image", expected, "another chunk"));
        }
        Ok(())
    }

    /// The whole image, when no chunk is left.
    ///
    /// # Errors
    /// When the image is not whole.
    pub fn finish(self) -> Result<ImageInfo, FormatError> {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return Err(FormatError::corrupt(Place::IMAGE, "length", "1 chunk or more", "none"));
        };
        let Tally { chunks, data, zero, .. } = self.tally;
        let source_bytes = first.native.map_or(last.end_bytes, |native| native.source_bytes);
        if let Some(native) = first.native {
            if !last.is_last {
                let expected = "a chunk marked as last (the image is cut off)";
                let found = format!("{chunks} chunks without it");
                return Err(FormatError::corrupt(Place::IMAGE, "end", expected, found));
            }
            if data.saturating_add(zero) != native.allocated.get() {
                let what = "sectors of all regions";
                let found = data.saturating_add(zero);
                return Err(FormatError::corrupt(Place::IMAGE, what, native.allocated, found));
            }
            let end = SectorCount::holding_bytes(source_bytes).unwrap_or_default();
            if last.bounds_end.get() != end.get() {
                let what = "last sector of the last chunk's bounds";
                return Err(FormatError::corrupt(Place::IMAGE, what, end, last.bounds_end));
            }
        }
        Ok(ImageInfo {
            version: first.version,
            chunks,
            image_id: first.image_id,
            source_bytes,
            native: first.native,
            codec: first.codec,
            data: SectorCount::new(data).unwrap_or_default(),
            zero: SectorCount::new(zero).unwrap_or_default(),
            regions: self.tally.regions,
            payload_bytes: self.tally.payload_bytes,
            relocations: self.tally.relocations,
            relocation_count: self.tally.relocation_count,
            allocated: self.allocated.finish(),
            chunks_with_digest: self.tally.chunks_with_digest,
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

/// Checks the headers of an image whose chunks arrive in any order: collects the spans and, when
/// all are there, proves that they are whole.
#[derive(Debug, Default)]
pub struct AnyOrder {
    first_seen: Option<ChunkHeader>,
    spans: BTreeSet<(u32, SectorRange, SectorRange)>,
}

impl AnyOrder {
    /// Adds a chunk that arrived for position `at`.
    ///
    /// # Errors
    /// When it belongs to another image, another position, or overlaps one that was seen.
    pub fn push(&mut self, header: &ChunkHeader, at: u32) -> Result<(), FormatError> {
        if header.index != at {
            return Err(FormatError::corrupt(header.place(), "chunk number", at, header.index));
        }
        if let Some(first) = &self.first_seen {
            check_same_image(first, header, u64::from(at))?;
        }
        let hull = match (header.regions.first(), header.regions.last()) {
            (Some(a), Some(b)) => SectorRange::new(a.range.start(), b.range.end()),
            _ => None,
        };
        let bounds = header.bounds.or(hull).unwrap_or_default();
        let entry = (at, bounds, hull.unwrap_or_default());
        let before = self.spans.range(..entry).next_back();
        let after = self.spans.range(entry..).next();
        if let Some((_, earlier, _)) = before.filter(|(i, ..)| *i != at)
            && earlier.end() > bounds.start()
        {
            let expected = format!("a start of {} or later", earlier.end());
            return Err(FormatError::corrupt(header.place(), "bounds", expected, bounds));
        }
        if let Some((_, later, _)) = after.filter(|(i, ..)| *i != at)
            && bounds.end() > later.start()
        {
            let expected = format!("an end of {} or before", later.start());
            return Err(FormatError::corrupt(header.place(), "bounds", expected, bounds));
        }
        self.spans.insert(entry);
        self.first_seen.get_or_insert_with(|| header.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndz::header::{Integrity, Region, RegionKind};

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

    #[test]
    fn any_order_finds_overlaps_and_foreigners() {
        let a = chunk(0, range(0, 100), &[range(0, 10)]);
        let b = chunk(1, range(100, 200), &[range(100, 110)]);
        let c = chunk(2, range(200, 300), &[range(200, 210)]);
        let mut set = AnyOrder::default();
        for (header, at) in [(&c, 2), (&a, 0), (&b, 1), (&b, 1)] {
            set.push(header, at).unwrap();
        }
        let mut set = AnyOrder::default();
        set.push(&c, 2).unwrap();
        let wide = chunk(1, range(100, 250), &[range(100, 110)]);
        assert!(set.push(&wide, 1).is_err());
        assert!(set.push(&a, 1).is_err());
    }
}
