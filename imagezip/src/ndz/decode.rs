//! From a proven chunk to the sectors it holds.
//!
//! What it owns: decompression within bounded memory. A chunk's data are handed on only when the
//! payload has turned out to inflate to exactly what the regions say: a chunk that inflates to
//! more than the buffer holds is inflated twice, first to check it, then to use it. What it never
//! does: write, or allocate what a header asks for.

use super::chunk::VerifiedChunk;
use super::error::FormatError;
use super::header::{ChunkHeader, RegionKind};
use super::{Codec, relocation};
use crate::units::{Sector, SectorCount, SectorRange};
use flate2::{Decompress, FlushDecompress, Status};

/// Bytes that a [`Decoder`] keeps for inflated data: 8 MiB. Most chunks inflate to less; those
/// that do not take a second pass.
pub const BUFFER_LEN: usize = 8 << 20;

/// Bytes handled at a time in a second pass. A multiple of the sector.
const WINDOW_LEN: usize = 1 << 20;

/// Log2 of the most memory a zstd frame may ask for in a second pass: 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Takes what a chunk holds, in ascending order.
pub trait RegionSink {
    /// Why it stopped.
    type Error;

    /// Sectors with their content. `bytes` is a whole number of sectors.
    ///
    /// # Errors
    /// Whatever stops the sink; decoding stops too.
    fn data(&mut self, start: Sector, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Sectors that are zero.
    ///
    /// # Errors
    /// Whatever stops the sink; decoding stops too.
    fn zero(&mut self, range: SectorRange) -> Result<(), Self::Error>;
}

/// Why decoding stopped.
#[derive(Debug)]
pub enum DecodeError<E> {
    /// The payload is not what the header says.
    Format(FormatError),
    /// The sink stopped.
    Sink(E),
}

impl<E> From<FormatError> for DecodeError<E> {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

/// Where a slice image is being loaded: its relocations are applied for this partition.
#[derive(Clone, Copy, Debug)]
pub struct SliceTarget {
    /// The partition on the target disk.
    pub partition: SectorRange,
}

/// Decompresses chunks; keeps its buffers from one to the next.
pub struct Decoder {
    buffer: Vec<u8>,
    inflate: Decompress,
    zstd: zstd_safe::DCtx<'static>,
    slice: Option<SliceTarget>,
    not_applied: Vec<String>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Decoder {
    /// A decoder; with `slice`, disklabels of a slice image are adjusted to their new place.
    pub fn new(slice: Option<SliceTarget>) -> Self {
        Self {
            buffer: Vec::new(),
            inflate: Decompress::new(true),
            zstd: zstd_safe::DCtx::create(),
            slice,
            not_applied: Vec::new(),
        }
    }

    /// Relocations that were left unapplied so far, one sentence each.
    pub fn relocations_not_applied(&self) -> &[String] {
        &self.not_applied
    }

    /// Checks that the chunk's payload is sound, and hands its sectors to `sink`.
    ///
    /// # Errors
    /// When the payload does not inflate to exactly what the regions hold (then the sink has seen
    /// nothing of it), or when the sink stops.
    pub fn decode<S: RegionSink>(
        &mut self,
        chunk: &VerifiedChunk<'_>,
        sink: &mut S,
    ) -> Result<(), DecodeError<S::Error>> {
        let header = chunk.header();
        let wanted = header.data_sectors().bytes();
        let fits = usize::try_from(wanted).ok().filter(|len| *len <= BUFFER_LEN);
        match fits {
            Some(len) => {
                self.inflate_whole(header, chunk.payload(), len)?;
                self.relocate(header);
                let data = self.buffer.get(..len).unwrap_or_default();
                emit_regions(header, data, sink)
            }
            None => {
                if header.codec == Codec::Stored {
                    check_len(header, chunk.payload().len(), wanted)?;
                }
                self.stream_check(chunk)?;
                for r in &header.relocations {
                    self.skip_relocation(r.name(), header, "the chunk inflates to over 8 MiB");
                }
                self.stream(chunk, sink)
            }
        }
    }

    /// Checks a chunk's payload without using its data.
    ///
    /// # Errors
    /// When the payload does not inflate to exactly what the regions hold.
    pub fn check(&mut self, chunk: &VerifiedChunk<'_>) -> Result<(), FormatError> {
        match self.decode(chunk, &mut Check) {
            Ok(()) => Ok(()),
            Err(DecodeError::Format(error)) => Err(error),
            Err(DecodeError::Sink(never)) => match never {},
        }
    }

    fn stream_check<E>(&mut self, chunk: &VerifiedChunk<'_>) -> Result<(), DecodeError<E>> {
        match self.stream(chunk, &mut Check) {
            Ok(()) => Ok(()),
            Err(DecodeError::Format(error)) => Err(DecodeError::Format(error)),
            Err(DecodeError::Sink(never)) => match never {},
        }
    }

    fn inflate_whole(
        &mut self,
        header: &ChunkHeader,
        payload: &[u8],
        len: usize,
    ) -> Result<(), FormatError> {
        // One byte more than wanted: room to notice a payload that inflates to too much.
        if self.buffer.len() <= len {
            self.buffer.resize(len + 1, 0);
        }
        let room = self.buffer.get_mut(..=len).unwrap_or_default();
        let found = match header.codec {
            _ if payload.is_empty() => 0,
            Codec::Stored => {
                if let Some(room) = room.get_mut(..payload.len()) {
                    room.copy_from_slice(payload);
                }
                payload.len()
            }
            Codec::Zstd => self
                .zstd
                .decompress(room, payload)
                .map_err(|code| damaged(header, zstd_safe::get_error_name(code)))?,
            Codec::Zlib => {
                self.inflate.reset(true);
                let status = self
                    .inflate
                    .decompress(payload, room, FlushDecompress::Finish)
                    .map_err(|error| damaged(header, error))?;
                if status != Status::StreamEnd && self.inflate.total_out() <= to_u64(len) {
                    return Err(damaged(header, "the end of the chunk inside the zlib stream"));
                }
                check_consumed(header, self.inflate.total_in())?;
                usize::try_from(self.inflate.total_out()).unwrap_or(usize::MAX)
            }
        };
        check_len(header, found, to_u64(len))
    }

    /// Applies the relocations of a slice image to the inflated data.
    fn relocate(&mut self, header: &ChunkHeader) {
        let Some(slice) = self.slice else { return };
        for r in &header.relocations {
            let size = usize::try_from(r.size).unwrap_or(usize::MAX);
            let done = match position_in_data(header, r.byte_offset())
                .and_then(|at| self.buffer.get_mut(at..at.checked_add(size)?))
            {
                Some(bytes) => {
                    let partition = slice.partition;
                    relocation::apply(r.kind, bytes, partition.start(), partition.count())
                }
                None => Err("it points at bytes that are not in the chunk"),
            };
            if let Err(why) = done {
                self.skip_relocation(r.name(), header, why);
            }
        }
    }

    fn skip_relocation(&mut self, name: String, header: &ChunkHeader, why: &str) {
        // Without a slice target nothing was to be done.
        if self.slice.is_some() && self.not_applied.len() < 16 {
            self.not_applied.push(format!("{name} in {} not adjusted: {why}", header.place()));
        }
    }

    /// Inflates a chunk piece by piece into `sink`.
    fn stream<S: RegionSink>(
        &mut self,
        chunk: &VerifiedChunk<'_>,
        sink: &mut S,
    ) -> Result<(), DecodeError<S::Error>> {
        let header = chunk.header();
        self.buffer.resize(self.buffer.len().max(WINDOW_LEN), 0);
        self.inflate.reset(true);
        self.zstd
            .reset(zstd_safe::ResetDirective::SessionAndParameters)
            .and_then(|_| {
                let limit = zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
                self.zstd.set_parameter(limit)
            })
            .map_err(|code| damaged(header, zstd_safe::get_error_name(code)))?;
        let mut regions = RegionWriter::new(header);
        let mut input = chunk.payload();
        let mut done = false;
        while !done {
            // Fill the window, then hand on its whole sectors: all of it but at the very end.
            let mut filled = 0;
            while filled < WINDOW_LEN && !done {
                let room = self.buffer.get_mut(filled..WINDOW_LEN).unwrap_or_default();
                let (used, made, ended) = match header.codec {
                    Codec::Zstd => zstd_step(&mut self.zstd, input, room)
                        .map_err(|code| damaged(header, zstd_safe::get_error_name(code)))?,
                    _ => zlib_step(&mut self.inflate, input, room)
                        .map_err(|error| damaged(header, error))?,
                };
                input = input.get(used..).unwrap_or_default();
                filled += made;
                done = ended || (used == 0 && made == 0);
                if done && !ended {
                    return Err(damaged(header, "the end of the chunk inside a stream").into());
                }
            }
            let data = self.buffer.get(..filled).unwrap_or_default();
            regions.write(data, sink)?;
        }
        if !input.is_empty() {
            check_consumed(header, to_u64(chunk.payload().len() - input.len()))?;
        }
        regions.finish(sink)
    }
}

type Step = (usize, usize, bool);

fn zlib_step(
    inflate: &mut Decompress,
    input: &[u8],
    room: &mut [u8],
) -> Result<Step, flate2::DecompressError> {
    let (in_before, out_before) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, room, FlushDecompress::None)?;
    let used = usize::try_from(inflate.total_in() - in_before).unwrap_or(usize::MAX);
    let made = usize::try_from(inflate.total_out() - out_before).unwrap_or(usize::MAX);
    Ok((used, made, status == Status::StreamEnd))
}

fn zstd_step(
    zstd: &mut zstd_safe::DCtx<'_>,
    input: &[u8],
    room: &mut [u8],
) -> Result<Step, zstd_safe::ErrorCode> {
    let mut from = zstd_safe::InBuffer::around(input);
    let mut to = zstd_safe::OutBuffer::around(room);
    let hint = zstd.decompress_stream(&mut to, &mut from)?;
    // A hint of 0 means the end of a frame; the stream ends with the last one.
    Ok((from.pos(), to.pos(), hint == 0 && from.pos() == input.len()))
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn damaged(header: &ChunkHeader, found: impl ToString) -> FormatError {
    FormatError::corrupt(header.place(), "payload", format!("{} data", header.codec), found)
}

fn check_len(header: &ChunkHeader, found: usize, wanted: u64) -> Result<(), FormatError> {
    if to_u64(found) == wanted {
        return Ok(());
    }
    let found = if to_u64(found) > wanted { "more".to_owned() } else { format!("{found} bytes") };
    let expected = format!("{wanted} bytes, the length of the chunk's regions");
    Err(FormatError::corrupt(header.place(), "inflated payload", expected, found))
}

fn check_consumed(header: &ChunkHeader, consumed: u64) -> Result<(), FormatError> {
    if consumed == to_u64(header.payload_len) {
        return Ok(());
    }
    let expected = format!("a zlib stream of {} bytes", header.payload_len);
    Err(FormatError::corrupt(header.place(), "payload length", expected, consumed))
}

/// Where the byte of the disk at `offset` stands in the inflated payload.
fn position_in_data(header: &ChunkHeader, offset: u64) -> Option<usize> {
    let mut before = 0;
    for region in header.regions.iter().filter(|r| r.kind == RegionKind::Data) {
        if (region.range.byte_offset()..region.range.byte_end()).contains(&offset) {
            return usize::try_from(before + (offset - region.range.byte_offset())).ok();
        }
        before += region.range.byte_len();
    }
    None
}

fn emit_regions<S: RegionSink>(
    header: &ChunkHeader,
    data: &[u8],
    sink: &mut S,
) -> Result<(), DecodeError<S::Error>> {
    let mut regions = RegionWriter::new(header);
    regions.write(data, sink)?;
    regions.finish(sink)
}

/// Deals inflated bytes out to the regions they belong to.
struct RegionWriter<'a> {
    header: &'a ChunkHeader,
    /// The region in hand, and the sectors of it that were dealt.
    next: usize,
    dealt: SectorCount,
}

impl<'a> RegionWriter<'a> {
    fn new(header: &'a ChunkHeader) -> Self {
        Self { header, next: 0, dealt: SectorCount::ZERO }
    }

    /// Deals `data`, whole sectors, to the next regions.
    fn write<S: RegionSink>(
        &mut self,
        mut data: &[u8],
        sink: &mut S,
    ) -> Result<(), DecodeError<S::Error>> {
        while !data.is_empty() {
            self.zeros(sink)?;
            let Some(region) = self.header.regions.get(self.next) else {
                return Err(check_too_long(self.header).into());
            };
            let rest = region.range.split_at(self.dealt).1;
            let take = usize::try_from(rest.byte_len()).unwrap_or(usize::MAX).min(data.len());
            let (now, later) = data.split_at(take);
            let count = SectorCount::whole_in_bytes(to_u64(take)).unwrap_or_default();
            if count.is_zero() || count.bytes() != to_u64(take) {
                return Err(damaged(self.header, "a length that is not whole sectors").into());
            }
            sink.data(rest.start(), now).map_err(DecodeError::Sink)?;
            data = later;
            if count == rest.count() {
                self.next += 1;
                self.dealt = SectorCount::ZERO;
            } else {
                self.dealt = self.dealt.checked_add(count).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Hands on the zero regions that come next.
    fn zeros<S: RegionSink>(&mut self, sink: &mut S) -> Result<(), DecodeError<S::Error>> {
        while let Some(region) = self.header.regions.get(self.next) {
            if region.kind == RegionKind::Data {
                break;
            }
            sink.zero(region.range).map_err(DecodeError::Sink)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Checks that every region was served.
    fn finish<S: RegionSink>(mut self, sink: &mut S) -> Result<(), DecodeError<S::Error>> {
        self.zeros(sink)?;
        match self.header.regions.get(self.next) {
            None => Ok(()),
            Some(region) => {
                let place = self.header.place();
                let expected = format!("data up to sector {}", self.header.place_end());
                let found = format!("an end in {}", region.range);
                Err(FormatError::corrupt(place, "inflated payload", expected, found).into())
            }
        }
    }
}

fn check_too_long(header: &ChunkHeader) -> FormatError {
    let expected = format!("{} bytes", header.data_sectors().bytes());
    FormatError::corrupt(header.place(), "inflated payload", expected, "more")
}

impl ChunkHeader {
    fn place_end(&self) -> Sector {
        self.regions.last().map(|r| r.range.end()).unwrap_or_default()
    }
}

/// A sink that only lets the decoder check.
struct Check;

impl RegionSink for Check {
    type Error = std::convert::Infallible;

    fn data(&mut self, _: Sector, _: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn zero(&mut self, _: SectorRange) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndz::header::{Integrity, Region};
    use crate::ndz::{CHUNK_LEN, Version, seal};
    use std::convert::Infallible;

    /// A chunk whose regions claim `sectors` and whose payload inflates to `bytes` zeros.
    fn bomb(sectors: u64, bytes: usize) -> Vec<u8> {
        let mut deflate = flate2::Compress::new(flate2::Compression::new(1), true);
        let mut payload = Vec::with_capacity(CHUNK_LEN);
        let zeros = vec![0; bytes];
        deflate.compress_vec(&zeros, &mut payload, flate2::FlushCompress::Finish).unwrap();
        let range = SectorRange::whole(SectorCount::new(sectors).unwrap());
        let header = ChunkHeader {
            version: Version::V3,
            index: 0,
            header_area: 4096,
            payload_len: payload.len(),
            codec: Codec::Zlib,
            bounds: Some(range),
            image_id: None,
            regions: vec![Region { range, kind: RegionKind::Data }],
            relocations: vec![],
            integrity: Integrity::None,
            native: None,
        };
        let mut chunk = vec![0; CHUNK_LEN];
        chunk[4096..4096 + payload.len()].copy_from_slice(&payload);
        seal(&header, &mut chunk).unwrap();
        chunk
    }

    /// Counts what it is given.
    #[derive(Default)]
    struct Count(u64);

    impl RegionSink for Count {
        type Error = Infallible;

        fn data(&mut self, _: Sector, bytes: &[u8]) -> Result<(), Infallible> {
            self.0 += to_u64(bytes.len());
            Ok(())
        }

        fn zero(&mut self, range: SectorRange) -> Result<(), Infallible> {
            self.0 += range.byte_len();
            Ok(())
        }
    }

    #[test]
    fn what_inflates_a_thousandfold_takes_no_more_memory_and_is_used_only_when_it_is_right() {
        let sectors = 96 << 11; // 96 MiB
        let mut decoder = Decoder::default();
        let mut decode = |chunk: &[u8]| {
            let chunk = VerifiedChunk::verify(chunk, 0).unwrap();
            let mut count = Count::default();
            let result = decoder.decode(&chunk, &mut count);
            assert!(decoder.buffer.capacity() <= BUFFER_LEN + 1);
            (result.is_ok(), count.0)
        };
        let bytes = 96 << 20;
        assert_eq!(decode(&bomb(sectors, bytes)), (true, 96 << 20));
        // Too much for the regions, too little for them, and no whole sectors: nothing is used.
        assert_eq!(decode(&bomb(sectors - 1, bytes)), (false, 0));
        assert_eq!(decode(&bomb(sectors + 1, bytes)), (false, 0));
        assert_eq!(decode(&bomb(sectors, bytes - 1)), (false, 0));
        assert_eq!(decode(&bomb(8, bytes)), (false, 0));
        assert_eq!(decode(&bomb(0xffff_ffff, bytes)), (false, 0));
    }
}
