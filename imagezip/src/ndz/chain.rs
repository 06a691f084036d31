//! Chunks that follow each other: what each answers for, and the proof that nothing lies between.
//!
//! What it owns: the rules that bind a chunk to its neighbours and to the whole. What it never
//! does: hold a region table.

use super::error::{FormatError, Place};
use super::header::{ChunkHeader, Integrity, NativeFields};
use crate::units::{Sector, SectorCount, SectorRange};

/// What the neighbours of a chunk need to know of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    index: u32,
    bounds: Option<SectorRange>,
    /// From its first region to its last one.
    hull: Option<SectorRange>,
    /// The length of the source as far as this chunk tells.
    end_bytes: u64,
    /// Marked as the last chunk.
    is_last: bool,
    data: u64,
    zero: u64,
    has_digest: bool,
}

impl Span {
    /// What a header tells its neighbours.
    pub(super) fn of(header: &ChunkHeader) -> Self {
        let hull = match (header.regions.first(), header.regions.last()) {
            (Some(first), Some(last)) => SectorRange::new(first.range.start(), last.range.end()),
            _ => None,
        };
        Self {
            index: header.index,
            bounds: header.bounds,
            hull,
            end_bytes: header.end_bytes(),
            is_last: header.native.is_some_and(|native| native.last),
            data: header.data_sectors().get(),
            zero: header.zero_sectors().get(),
            has_digest: matches!(header.integrity, Integrity::Blake3 | Integrity::Sha1),
        }
    }

    /// What the chunk answers for: its bounds, or in V1 the hull of its regions.
    pub(super) fn extent(&self) -> Option<SectorRange> {
        self.bounds.or(self.hull)
    }

    /// Where it is, for messages.
    pub(super) fn place(&self) -> Place {
        Place { chunk: Some(u64::from(self.index)), sectors: self.hull.or(self.bounds) }
    }
}

/// What is kept of the previous chunk.
#[derive(Debug)]
struct Seen {
    bounds_end: Sector,
    regions_end: Sector,
    end_bytes: u64,
    is_last: bool,
}

/// Chunks in the order of their numbers, from 0.
#[derive(Debug, Default)]
pub(super) struct Chain {
    last: Option<Seen>,
    chunks: u64,
    data: u64,
    zero: u64,
    chunks_with_digest: u64,
}

/// What a whole chain adds up to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    pub(super) chunks: u64,
    pub(super) source_bytes: u64,
    pub(super) data: SectorCount,
    pub(super) zero: SectorCount,
    pub(super) chunks_with_digest: u64,
}

impl Chain {
    /// Chunks so far.
    pub(super) fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Adds the next chunk.
    ///
    /// # Errors
    /// When it cannot be the next one.
    pub(super) fn push(&mut self, span: &Span) -> Result<(), FormatError> {
        let (place, position) = (span.place(), self.chunks);
        if u64::from(span.index) != position {
            let what = if u64::from(span.index) < position {
                "chunk number (a chunk is doubled)"
            } else {
                "chunk number (a chunk is missing)"
            };
            return Err(FormatError::corrupt(place, what, position, span.index));
        }
        self.check_continues(span)?;
        self.chunks += 1;
        self.data = self.data.saturating_add(span.data);
        self.zero = self.zero.saturating_add(span.zero);
        self.chunks_with_digest += u64::from(span.has_digest);
        let before = self.last.as_ref();
        let regions_end = span.hull.map(SectorRange::end);
        self.last = Some(Seen {
            bounds_end: span.bounds.map(SectorRange::end).unwrap_or_default(),
            regions_end: regions_end.or(before.map(|seen| seen.regions_end)).unwrap_or_default(),
            end_bytes: match span.extent() {
                None => before.map_or(0, |seen| seen.end_bytes),
                Some(_) => span.end_bytes,
            },
            is_last: span.is_last,
        });
        Ok(())
    }

    fn check_continues(&self, span: &Span) -> Result<(), FormatError> {
        let place = span.place();
        let expected_start = self.last.as_ref().map(|seen| seen.bounds_end).unwrap_or_default();
        if let Some(bounds) = span.bounds
            && bounds.start() != expected_start
        {
            let what = "first sector of the bounds (chunks must follow each other)";
            return Err(FormatError::corrupt(place, what, expected_start, bounds.start()));
        }
        let Some(seen) = &self.last else { return Ok(()) };
        if let Some(hull) = span.hull
            && hull.start() < seen.regions_end
        {
            let expected = format!("sector {} or later", seen.regions_end);
            return Err(FormatError::corrupt(place, "region", expected, hull));
        }
        if seen.is_last {
            let expected = "nothing after the chunk marked as last";
            return Err(FormatError::corrupt(place, "image", expected, "another chunk"));
        }
        Ok(())
    }

    /// The sums, when no chunk is left; `native` is what the first chunk's native header says.
    ///
    /// # Errors
    /// When the image is not whole.
    pub(super) fn finish(self, native: Option<NativeFields>) -> Result<Sums, FormatError> {
        let Some(last) = self.last else {
            return Err(FormatError::corrupt(Place::IMAGE, "length", "1 chunk or more", "none"));
        };
        let Self { chunks, data, zero, chunks_with_digest, .. } = self;
        let source_bytes = native.map_or(last.end_bytes, |native| native.source_bytes);
        if let Some(native) = native {
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
        Ok(Sums {
            chunks,
            source_bytes,
            data: SectorCount::new(data).unwrap_or_default(),
            zero: SectorCount::new(zero).unwrap_or_default(),
            chunks_with_digest,
        })
    }
}
