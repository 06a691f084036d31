//! The chunks of an image that arrive in any order, as from a network.
//!
//! What it owns: the proof, when all have come, that they are one whole image; and before that,
//! the refusal of what cannot be a part of it. What it never does: hold a region table, but of
//! version 1, whose chunks have no bounds.

use super::Version;
use super::chain::{Chain, Span};
use super::error::{FormatError, Place};
use super::header::ChunkHeader;
use super::image::check_same_image;
use crate::sector_set::SectorSet;
use crate::units::{SectorCount, SectorRange};
use std::collections::BTreeMap;

/// What is known of an image whose chunks came in any order, when all have come.
#[derive(Clone, Debug)]
pub struct Whole {
    /// Format of all its chunks.
    pub version: Version,
    /// Chunks in it.
    pub chunks: u64,
    /// Its identity, when its writer gave one.
    pub image_id: Option<[u8; 16]>,
    /// Exact length of what it was made of, in bytes: disk, partition or file.
    pub source_bytes: u64,
    /// Sectors whose bytes are in the image.
    pub data: SectorCount,
    /// Sectors recorded as zero.
    pub zero: SectorCount,
    /// Chunks that carry a digest which a reader can check.
    pub chunks_with_digest: u64,
    /// All sectors that an image of version 1 writes; `None` in later versions, whose chunks have
    /// bounds.
    pub unbounded: Option<SectorSet>,
}

impl Whole {
    /// The source's length in sectors, a last short sector counted as one.
    pub fn source_sectors(&self) -> SectorCount {
        SectorCount::holding_bytes(self.source_bytes).unwrap_or_default()
    }
}

/// Checks the headers of chunks in the order in which they come. Each costs under 100 bytes.
#[derive(Debug, Default)]
pub struct AnyOrder {
    first_seen: Option<ChunkHeader>,
    spans: BTreeMap<u32, Span>,
    /// Regions of chunks without bounds (version 1).
    unbounded: BTreeMap<u32, Vec<SectorRange>>,
}

impl AnyOrder {
    /// Adds the chunk that arrived for position `at`; one that is there already is replaced.
    ///
    /// # Errors
    /// When it belongs to another image, another position, or overlaps one that was seen; nothing
    /// is changed then.
    pub fn push(&mut self, header: &ChunkHeader, at: u32) -> Result<(), FormatError> {
        if header.index != at {
            return Err(FormatError::corrupt(header.place(), "chunk number", at, header.index));
        }
        if let Some(first) = &self.first_seen {
            check_same_image(first, header, u64::from(at))?;
        }
        let span = Span::of(header);
        if let Some(extent) = span.extent() {
            self.check_neighbours(header, at, extent)?;
        }
        self.spans.insert(at, span);
        if header.bounds.is_none() {
            let regions = header.regions.iter().map(|region| region.range).collect();
            self.unbounded.insert(at, regions);
        }
        self.first_seen.get_or_insert_with(|| header.clone());
        Ok(())
    }

    fn check_neighbours(
        &self,
        header: &ChunkHeader,
        at: u32,
        extent: SectorRange,
    ) -> Result<(), FormatError> {
        let overlap = |expected: String| {
            Err(FormatError::corrupt(header.place(), "bounds", expected, extent))
        };
        let extents = |(_, span): (&u32, &Span)| span.extent();
        if let Some(earlier) = self.spans.range(..at).rev().find_map(extents)
            && earlier.end() > extent.start()
        {
            return overlap(format!("a start of {} or later", earlier.end()));
        }
        if let Some(later) = self.spans.range(at..).skip_while(|(i, _)| **i == at).find_map(extents)
            && extent.end() > later.start()
        {
            return overlap(format!("an end of {} or before", later.start()));
        }
        Ok(())
    }

    /// Takes a chunk out again whose payload turned out to be damaged.
    pub fn remove(&mut self, at: u32) {
        self.spans.remove(&at);
        self.unbounded.remove(&at);
        if self.spans.is_empty() {
            self.first_seen = None; // it may have been damaged too
        }
    }

    /// The whole image, when `chunks` chunks have come.
    ///
    /// # Errors
    /// When one is missing, or they are not one whole image.
    pub fn finish(&self, chunks: u32) -> Result<Whole, FormatError> {
        let Some(first) = &self.first_seen else {
            return Err(FormatError::corrupt(Place::IMAGE, "length", "1 chunk or more", "none"));
        };
        let mut chain = Chain::default();
        self.spans.values().try_for_each(|span| chain.push(span))?;
        if chain.chunks() != u64::from(chunks) {
            let what = "number of chunks";
            return Err(FormatError::corrupt(Place::IMAGE, what, chunks, chain.chunks()));
        }
        let sums = chain.finish(first.native)?;
        let all = self.unbounded.values().flatten().copied();
        Ok(Whole {
            version: first.version,
            chunks: sums.chunks,
            image_id: first.image_id,
            source_bytes: sums.source_bytes,
            data: sums.data,
            zero: sums.zero,
            chunks_with_digest: sums.chunks_with_digest,
            unbounded: (!first.version.has_bounds()).then(|| all.collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::{Integrity, Region, RegionKind};
    use super::super::{Codec, ImageSet};
    use super::*;
    use crate::units::Sector;
    use proptest::prelude::*;

    fn range(start: u32, end: u32) -> SectorRange {
        SectorRange::new(Sector::from_u32(start), Sector::from_u32(end)).unwrap()
    }

    fn chunk(index: u32, bounds: Option<SectorRange>, regions: &[SectorRange]) -> ChunkHeader {
        ChunkHeader {
            version: if bounds.is_some() { Version::V5 } else { Version::V1 },
            index,
            header_area: 4096,
            payload_len: 100,
            codec: Codec::Zlib,
            bounds,
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

    fn three() -> [ChunkHeader; 3] {
        [
            chunk(0, Some(range(0, 100)), &[range(0, 10)]),
            chunk(1, Some(range(100, 200)), &[range(100, 110)]),
            chunk(2, Some(range(200, 300)), &[range(200, 210)]),
        ]
    }

    #[test]
    fn overlaps_foreigners_and_wrong_places_are_refused_and_change_nothing() {
        let [a, b, c] = three();
        let mut set = AnyOrder::default();
        set.push(&c, 2).unwrap();
        let wide = chunk(1, Some(range(100, 250)), &[range(100, 110)]);
        let foreign = ChunkHeader { image_id: Some([1; 16]), ..b.clone() };
        assert!(set.push(&wide, 1).is_err());
        assert!(set.push(&a, 1).is_err());
        assert!(set.push(&foreign, 1).unwrap_err().to_string().contains("another image"));
        set.push(&b, 1).unwrap();
        set.push(&a, 0).unwrap();
        assert_eq!(set.finish(3).unwrap().source_bytes, 300 * 512);
    }

    #[test]
    fn a_missing_chunk_and_a_gap_are_seen_at_the_end() {
        let [a, b, c] = three();
        let mut set = AnyOrder::default();
        set.push(&a, 0).unwrap();
        set.push(&c, 2).unwrap();
        assert!(set.finish(3).unwrap_err().to_string().contains("missing"));
        let short = chunk(1, Some(range(100, 190)), &[]);
        set.push(&short, 1).unwrap();
        assert!(set.finish(3).unwrap_err().to_string().contains("follow each other"));
        set.push(&b, 1).unwrap();
        assert!(set.finish(4).unwrap_err().to_string().contains("number of chunks"));
        assert_eq!(set.finish(3).unwrap().chunks, 3);
    }

    #[test]
    fn a_damaged_first_chunk_can_be_taken_out() {
        let [a, b, c] = three();
        let mut set = AnyOrder::default();
        set.push(&ChunkHeader { image_id: Some([1; 16]), ..b.clone() }, 1).unwrap();
        assert!(set.push(&a, 0).is_err());
        set.remove(1);
        for (header, at) in [(&a, 0), (&c, 2), (&b, 1)] {
            set.push(header, at).unwrap();
        }
        assert_eq!(set.finish(3).unwrap().image_id, None);
    }

    #[test]
    fn version_1_keeps_what_it_writes_and_allows_empty_chunks() {
        let headers = [
            chunk(0, None, &[range(0, 10), range(50, 60)]),
            chunk(1, None, &[]),
            chunk(2, None, &[range(60, 70)]),
        ];
        let mut set = AnyOrder::default();
        for at in [2, 1, 0] {
            set.push(&headers[at], u32::try_from(at).unwrap()).unwrap();
        }
        let whole = set.finish(3).unwrap();
        assert_eq!(whole.source_bytes, 70 * 512);
        assert_eq!(whole.unbounded.unwrap().ranges(), [range(0, 10), range(50, 70)]);
    }

    proptest! {
        /// Whatever the order of arrival, the verdict is that of the ordered check.
        #[test]
        fn the_order_does_not_matter(
            cuts in prop::collection::btree_set(1_u32..1000, 1..20),
            holes in prop::collection::vec(any::<bool>(), 20),
            order in Just((0..20_usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let cuts: Vec<u32> = [0].into_iter().chain(cuts).collect();
            let chunks: Vec<_> = cuts
                .windows(2)
                .zip(0..)
                .map(|(ends, index)| {
                    // Every fourth or so ends too early: a gap.
                    let end = if holes[index] && index % 4 == 0 { ends[1] - 1 } else { ends[1] };
                    let bounds = range(ends[0], end.max(ends[0]));
                    let regions: &[_] = if bounds.is_empty() { &[] } else { &[bounds] };
                    chunk(u32::try_from(index).unwrap(), Some(bounds), regions)
                })
                .collect();
            let mut ordered = ImageSet::new();
            let expected = chunks.iter().try_for_each(|c| ordered.push(c)).and_then(|()| ordered.finish());
            let mut any = AnyOrder::default();
            for at in order.into_iter().filter(|at| *at < chunks.len()) {
                any.push(&chunks[at], u32::try_from(at).unwrap()).unwrap();
            }
            let found = any.finish(u32::try_from(chunks.len()).unwrap());
            match (expected, found) {
                (Ok(info), Ok(whole)) => {
                    prop_assert_eq!(info.source_bytes, whole.source_bytes);
                    prop_assert_eq!(info.data, whole.data);
                }
                (Err(a), Err(b)) => prop_assert_eq!(a, b),
                (a, b) => prop_assert!(false, "{:?} {:?}", a, b),
            }
        }
    }
}
