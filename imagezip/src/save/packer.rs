//! Packing compressed pieces into chunks.
//!
//! What it owns: where chunks end, and every header field that needs the chunks in order. What it
//! never does: wait, or write. It runs in one thread; the work that takes time (compression) has
//! been done before, but for the piece that straddles the end of a chunk.

use super::compress::{CompressError, Compressor, Packed};
use crate::ndz::header::Integrity;
use crate::ndz::relocation::RelocationKind;
use crate::ndz::{
    CHUNK_LEN, ChunkHeader, Codec, LEGACY_HEADER_AREA, NATIVE_DATA_SECTORS_MAX,
    NATIVE_HEADER_AREA_MAX, NATIVE_HEADER_AREA_STEP, NativeFields, Region, RegionKind, Relocation,
    Version,
};
use crate::units::{SECTOR_LEN, SECTOR_SIZE, Sector, SectorCount, SectorRange};
use std::collections::VecDeque;

/// Start of a zlib stream: deflate, 32 KiB window, default compression (RFC 1950).
const ZLIB_START: [u8; 2] = [0x78, 0x9c];
/// An empty last deflate block (RFC 1951): ends a stream whose other blocks are not last.
const DEFLATE_END: [u8; 2] = [0x03, 0x00];
/// Bytes behind the last block: [`DEFLATE_END`] and the Adler-32.
const ZLIB_END_LEN: usize = 6;

/// A chunk is closed when less than this is left and the next piece does not fit.
const ROOM_MIN: usize = 2 << 10;

/// Most data sectors of a chunk with bytes to be adjusted: 8 MiB, what this project's loader holds.
const ADJUSTED_DATA_SECTORS_MAX: u64 = (8 << 20) / SECTOR_SIZE;

/// What all chunks of the image have in common.
#[derive(Clone, Debug)]
pub struct ImageFields {
    /// Format; V4 and V6 are not written.
    pub version: Version,
    /// Compression; always zlib but in the native format.
    pub codec: Codec,
    /// Identity of the image.
    pub image_id: Option<[u8; 16]>,
    /// Exact length of the source: disk, partition or file.
    pub source_bytes: u64,
    /// Bytes of the source's logical sector.
    pub logical_sector_bytes: u32,
    /// Sectors of all regions.
    pub allocated: SectorCount,
    /// True when the image holds one partition.
    pub slice: bool,
    /// Each goes into the chunk that holds its sector; that of a short last sector into the last.
    pub relocations: Vec<Relocation>,
}

/// A chunk that is complete but for sealing.
#[derive(Debug)]
pub(super) struct ChunkDraft {
    /// Its header, final.
    pub header: ChunkHeader,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Packs pieces, in order, into chunks.
pub(super) struct Packer {
    image: ImageFields,
    compressor: Compressor,
    open: Open,
    /// Complete, but for the end of its bounds: that is where the next region starts.
    closed: Option<Open>,
    chunks: u32,
    ready: VecDeque<ChunkDraft>,
}

/// The chunk being filled.
#[derive(Default)]
struct Open {
    regions: Vec<Region>,
    data_sectors: u64,
    payload: Vec<u8>,
    adler: simd_adler32::Adler32,
}

impl Open {
    fn data_len(&self) -> usize {
        usize::try_from(self.data_sectors).unwrap_or(usize::MAX).saturating_mul(SECTOR_LEN)
    }
}

impl Packer {
    /// A packer of an image; `compressor` must be of the image's codec.
    pub(super) fn new(image: ImageFields, compressor: Compressor) -> Self {
        let closed = None;
        let mut packer = Self {
            image,
            compressor,
            open: Open::default(),
            closed,
            chunks: 0,
            ready: VecDeque::new(),
        };
        packer.open = packer.fresh();
        packer
    }

    /// Adds the next piece. Afterwards [`Self::next_ready`] may yield chunks. Gives the piece back,
    /// for its buffers.
    ///
    /// # Errors
    /// When the compression library fails.
    pub(super) fn push(&mut self, mut packed: Packed) -> Result<Packed, CompressError> {
        let mut regions = std::mem::take(&mut packed.piece.regions);
        loop {
            if packed.look_back() > self.open.data_len() {
                self.compressor.detach(&mut packed)?;
            }
            if self.fits(&regions, packed.bytes.len()) {
                self.take(&regions, packed.data(), &packed.bytes);
                return Ok(packed);
            }
            let head = match self.room_for(entries(&regions)) {
                Some(room) if room >= ROOM_MIN && self.data_room() >= data_sectors(&regions) => {
                    self.compressor.cut(&mut packed, room)?
                }
                _ => None,
            };
            if let Some(head) = head {
                let from = packed.start.saturating_sub(head.data_len);
                let data = packed.piece.data.get(from..packed.start).unwrap_or_default();
                let (now, later) = split_regions(&regions, head.data_len);
                self.take(&now, data, &head.bytes);
                regions = later;
            }
            self.close();
        }
    }

    /// Ends the image: the chunk in hand becomes the last one.
    pub(super) fn finish(&mut self) {
        let end = SectorCount::holding_bytes(self.image.source_bytes).unwrap_or_default();
        let end = SectorRange::whole(end).end();
        if !self.open.regions.is_empty() || (self.closed.is_none() && self.chunks == 0) {
            self.close();
        }
        self.emit_closed(end, true);
    }

    /// A chunk that is complete, in order of chunk numbers.
    pub(super) fn next_ready(&mut self) -> Option<ChunkDraft> {
        self.ready.pop_front()
    }

    fn fresh(&self) -> Open {
        let mut open = Open::default();
        if self.image.codec == Codec::Zlib {
            open.payload.extend_from_slice(&ZLIB_START);
        }
        open
    }

    /// Bytes of header area for a chunk with this many regions; `None` when they do not fit.
    fn header_area(&self, regions: usize) -> Option<usize> {
        let version = self.image.version;
        let tables = version.header_len()
            + regions * version.region_len()
            + self.image.relocations.len() * version.relocation_len();
        match version {
            Version::Native => {
                let area = tables.next_multiple_of(NATIVE_HEADER_AREA_STEP);
                (area <= NATIVE_HEADER_AREA_MAX).then_some(area)
            }
            _ => (tables <= LEGACY_HEADER_AREA).then_some(LEGACY_HEADER_AREA),
        }
    }

    /// Payload bytes that the open chunk has room for when it gets `more` regions.
    fn room_for(&self, more: usize) -> Option<usize> {
        let end = if self.image.codec == Codec::Zlib { ZLIB_END_LEN } else { 0 };
        let area = self.header_area(self.open.regions.len() + more)?;
        CHUNK_LEN.checked_sub(area + self.open.payload.len() + end)
    }

    /// Data sectors that the open chunk has room for.
    fn data_room(&self) -> u64 {
        let most = match self.image.version {
            // A loader adjusts bytes of a chunk only when it can hold all of it.
            _ if self.before_relocations() => ADJUSTED_DATA_SECTORS_MAX,
            Version::Native => NATIVE_DATA_SECTORS_MAX,
            _ => u64::MAX,
        };
        most.saturating_sub(self.open.data_sectors)
    }

    /// True when bytes to be adjusted may be in the open chunk.
    fn before_relocations(&self) -> bool {
        let start = self.open.regions.first().map_or(Sector::ZERO, |first| first.range.start());
        let relocations = self.image.relocations.iter();
        let mut adjusted = relocations.filter(|r| r.kind != RelocationKind::SHORT_SECTOR);
        adjusted.any(|r| r.sector >= start)
    }

    fn fits(&self, regions: &[Region], bytes: usize) -> bool {
        self.room_for(entries(regions)).is_some_and(|room| bytes <= room)
            && data_sectors(regions) <= self.data_room()
    }

    /// Puts regions and their compressed data into the open chunk.
    fn take(&mut self, regions: &[Region], data: &[u8], bytes: &[u8]) {
        if let Some(first) = regions.first() {
            self.emit_closed(first.range.start(), false);
        }
        for region in regions {
            let last = self.open.regions.last_mut();
            match last {
                Some(last) if joins(last, region, self.image.version) => {
                    last.range = last.range.extended_to(region.range.end());
                }
                _ => push_region(&mut self.open.regions, *region, self.image.version),
            }
        }
        self.open.data_sectors += data_sectors(regions);
        self.open.payload.extend_from_slice(bytes);
        if self.image.codec == Codec::Zlib {
            self.open.adler.write(data);
        }
    }

    fn close(&mut self) {
        let fresh = self.fresh();
        let mut open = std::mem::replace(&mut self.open, fresh);
        if self.image.codec == Codec::Zlib {
            open.payload.extend_from_slice(&DEFLATE_END);
            open.payload.extend_from_slice(&open.adler.finish().to_be_bytes());
        }
        // Its start is the end of the one closed before, which take() has emitted by now.
        self.closed = Some(open);
    }

    /// Emits the closed chunk, if there is one; its bounds end at `end`.
    fn emit_closed(&mut self, end: Sector, last: bool) {
        let Some(closed) = self.closed.take() else { return };
        let start = match (self.chunks, closed.regions.first()) {
            (0, _) | (_, None) => Sector::ZERO,
            (_, Some(first)) => first.range.start(),
        };
        let image = &self.image;
        let here = |r: &&Relocation| match r.kind {
            RelocationKind::SHORT_SECTOR => last,
            _ => closed.regions.iter().any(|region| region.range.contains(r.sector)),
        };
        let relocations = image.relocations.iter().filter(here).copied().collect();
        let native = image.version == Version::Native;
        let header = ChunkHeader {
            version: image.version,
            index: self.chunks,
            header_area: self.header_area(closed.regions.len()).unwrap_or(LEGACY_HEADER_AREA),
            payload_len: closed.payload.len(),
            codec: image.codec,
            bounds: SectorRange::new(start, end).filter(|_| image.version.has_bounds()),
            image_id: image.image_id,
            regions: closed.regions,
            relocations,
            integrity: if native { Integrity::Blake3 } else { Integrity::None },
            native: native.then_some(NativeFields {
                last,
                slice: image.slice,
                source_bytes: image.source_bytes,
                logical_sector_bytes: image.logical_sector_bytes,
                allocated: image.allocated,
            }),
        };
        self.chunks += 1;
        self.ready.push_back(ChunkDraft { header, payload: closed.payload });
    }
}

/// Longest region a native header can record.
const NATIVE_REGION_MAX: SectorCount = SectorCount::from_u32(u32::MAX);

fn joins(last: &Region, next: &Region, version: Version) -> bool {
    let joined = last.range.extended_to(next.range.end()).count();
    last.kind == next.kind
        && last.range.end() == next.range.start()
        && (version != Version::Native || joined <= NATIVE_REGION_MAX)
}

fn push_region(regions: &mut Vec<Region>, region: Region, version: Version) {
    let mut rest = region.range;
    while version == Version::Native && rest.count() > NATIVE_REGION_MAX {
        let (now, later) = rest.split_at(NATIVE_REGION_MAX);
        regions.push(Region { range: now, kind: region.kind });
        rest = later;
    }
    regions.push(Region { range: rest, kind: region.kind });
}

/// Table entries that regions may take: a native header cuts very long ones.
fn entries(regions: &[Region]) -> usize {
    let parts = regions.iter().map(|r| r.range.count().get() / NATIVE_REGION_MAX.get() + 1);
    usize::try_from(parts.sum::<u64>()).unwrap_or(usize::MAX)
}

fn data_sectors(regions: &[Region]) -> u64 {
    let data = regions.iter().filter(|r| r.kind == RegionKind::Data);
    data.map(|r| r.range.count().get()).sum()
}

/// Splits regions after `data_len` bytes of data; zero regions there go to the second part.
fn split_regions(regions: &[Region], data_len: usize) -> (Vec<Region>, Vec<Region>) {
    let (mut now, mut later) = (Vec::new(), Vec::new());
    let mut left = u64::try_from(data_len / SECTOR_LEN).unwrap_or(u64::MAX);
    for region in regions {
        match region.kind {
            RegionKind::Zero if left > 0 => now.push(*region),
            RegionKind::Data if left > 0 => {
                let count = SectorCount::new(left.min(region.range.count().get()));
                let (head, tail) = region.range.split_at(count.unwrap_or_default());
                now.push(Region { range: head, kind: region.kind });
                if !tail.is_empty() {
                    later.push(Region { range: tail, kind: region.kind });
                }
                left -= head.count().get();
            }
            _ => later.push(*region),
        }
    }
    (now, later)
}
