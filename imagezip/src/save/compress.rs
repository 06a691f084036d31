//! Compressing one piece, and cutting a compressed piece in two.
//!
//! What it owns: the three codecs on the writing side. A chunk's payload is made of pieces that
//! were compressed apart, and the piece that straddles the end of a chunk is cut: what fits goes
//! into this chunk, the rest begins the next one and must be decodable without the first part.
//! - zstd: a piece is one frame; both halves of a cut piece are compressed again.
//! - zlib: a piece is a run of deflate blocks with a sync flush each 32 KiB of input, that may refer
//!   to the data before the piece. Deflate looks back 32 KiB at most, so where a chunk begins only
//!   the blocks that begin less than that behind it are compressed again.
//! - stored: cut anywhere.

use super::piece::{PIECE_LEN, Piece};
use crate::ndz::Codec;
use flate2::{Compress, Compression, FlushCompress};
use thiserror::Error;

/// How far deflate looks back (RFC 1951).
const DEFLATE_WINDOW: usize = 32 << 10;

/// Input bytes between two places where a deflated piece can be cut without more ado.
const DEFLATE_STEP: usize = 32 << 10;

/// The library's levels for each level asked for; pieces take them in turns.
const DEFLATE_LEVELS: [&[u32]; 10] =
    [&[0], &[1], &[2], &[3], &[4, 4, 4, 5], &[5], &[6], &[7], &[8], &[9]];

/// How often a part of a deflate block is compressed to fill a chunk.
const ZLIB_FILL_TRIES: u32 = 6;

/// A zstd piece is not cut for less room than this; it is left to the padding (1 % of a chunk).
const ZSTD_ROOM_MIN: usize = 10 << 10;

/// The level at which [`ZSTD_MIN_MATCH`] holds.
const ZSTD_DEFAULT_LEVEL: i32 = 3;

/// Shortest match zstd looks for at level 3, in bytes. It takes 5 by itself for inputs above 256 KiB,
/// but 4 for ours: that wins 1 % of size and costs 14 % of the speed (docs/performance.md).
const ZSTD_MIN_MATCH: u32 = 5;

/// A cut lands on a multiple of this many bytes of input, so that a region ends on a page.
const CUT_GRID: usize = 4096;

/// The compression library failed; that is not the data's fault.
#[derive(Debug, Error)]
#[error("compression with {codec} failed: {why} (out of memory?)")]
pub struct CompressError {
    codec: Codec,
    why: String,
}

/// Bytes of the data before a piece that its compressed form may refer to.
pub(super) fn look_back(codec: Codec) -> usize {
    if codec == Codec::Zlib { DEFLATE_WINDOW } else { 0 }
}

/// A piece and its compressed form.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// The piece; its first `start` data bytes have been cut off already.
    pub piece: Piece,
    /// Data bytes that an earlier chunk took.
    pub start: usize,
    /// The compressed data from `start` on.
    pub bytes: Vec<u8>,
    /// For deflate: ends of its blocks, as (input bytes from `start`, compressed bytes).
    marks: Vec<(usize, usize)>,
}

/// The part of a piece that was cut off to fill a chunk.
#[derive(Debug)]
pub(super) struct Head {
    /// Data bytes it stands for. A multiple of the sector.
    pub data_len: usize,
    /// Its compressed form.
    pub bytes: Vec<u8>,
}

impl Packed {
    /// The data that `bytes` stands for.
    pub(super) fn data(&self) -> &[u8] {
        self.piece.data.get(self.start..).unwrap_or_default()
    }

    /// Bytes of the data before it that `bytes` may refer to.
    pub(super) fn look_back(&self) -> usize {
        self.piece.before.len()
    }

    /// What stands before byte `at` of [`Self::data`] and may be referred to there.
    fn before(&self, at: usize) -> &[u8] {
        match self.data().get(at.saturating_sub(DEFLATE_WINDOW)..at) {
            Some(data) if !data.is_empty() => data,
            _ => &self.piece.before,
        }
    }
}

/// Deflate at one level, or at several in turns.
///
/// At level 4, which the deployed tools use and so do we, this library is half again as fast as
/// the C zlib, and its output is 1.6 % larger; at level 5 it is as small and 8 % slower than at 4. Every
/// fourth piece at level 5 keeps images about as small as those of the deployed tools
/// (docs/performance.md).
pub(super) struct Deflate {
    levels: &'static [u32],
    chosen: u32,
}

impl Deflate {
    fn new(level: u32) -> Self {
        let level = level.min(9);
        let turns = usize::try_from(level).ok().and_then(|level| DEFLATE_LEVELS.get(level));
        Self { levels: turns.copied().unwrap_or(&[]), chosen: level }
    }

    /// Chooses the level for a piece by where on the disk it stands, so that the image depends on
    /// nothing but the disk.
    fn choose(&mut self, piece: &Piece) {
        let start = piece.regions.first().map_or(0, |region| region.range.start().byte_offset());
        let place = usize::try_from(start / u64::try_from(PIECE_LEN).unwrap_or(1)).unwrap_or(0);
        let turn = place.checked_rem(self.levels.len()).and_then(|turn| self.levels.get(turn));
        self.chosen = turn.copied().unwrap_or(self.chosen);
    }

    /// A compressor that may refer to `before`. A new one each time, which costs 20 microseconds:
    /// what this library makes after a reset and a dictionary can depend on what it did before.
    fn start(&self, before: &[u8]) -> Result<Compress, CompressError> {
        let mut deflate = Compress::new(Compression::new(self.chosen), false);
        if !before.is_empty() {
            deflate.set_dictionary(before).map_err(zlib_error)?;
        }
        Ok(deflate)
    }
}

/// Compresses pieces with one codec at one level; keeps its tables from one to the next.
pub(super) enum Compressor {
    /// No compression.
    Stored,
    /// Deflate blocks, to be framed as a zlib stream.
    Zlib(Deflate),
    /// Zstandard frames.
    Zstd(zstd_safe::CCtx<'static>),
}

impl Compressor {
    /// A compressor. Levels as the codec counts them: 0 to 9 for zlib, 1 to 22 for zstd.
    ///
    /// # Errors
    /// When the codec does not know the level.
    pub(super) fn new(codec: Codec, level: i32) -> Result<Self, CompressError> {
        Ok(match codec {
            Codec::Stored => Self::Stored,
            Codec::Zlib => Self::Zlib(Deflate::new(u32::try_from(level).unwrap_or(0))),
            Codec::Zstd => {
                let mut context = zstd_safe::CCtx::create();
                let set = zstd_safe::CParameter::CompressionLevel(level);
                context.set_parameter(set).map_err(zstd_error)?;
                if level == ZSTD_DEFAULT_LEVEL {
                    let set = zstd_safe::CParameter::MinMatch(ZSTD_MIN_MATCH);
                    context.set_parameter(set).map_err(zstd_error)?;
                }
                Self::Zstd(context)
            }
        })
    }

    /// Compresses a piece, using `out` as the buffer.
    ///
    /// # Errors
    /// When the library fails.
    pub(super) fn compress(
        &mut self,
        piece: Piece,
        mut out: Vec<u8>,
    ) -> Result<Packed, CompressError> {
        out.clear();
        if let Self::Zlib(deflate) = self {
            deflate.choose(&piece);
        }
        let marks = self.append(&piece.before, &piece.data, &mut out)?;
        Ok(Packed { piece, start: 0, bytes: out, marks })
    }

    /// Cuts `packed` so that its first part fits into `room` bytes. Returns that part and leaves
    /// the rest, compressed anew; `None`, with nothing changed, when it is not worth it.
    ///
    /// # Errors
    /// When the library fails.
    pub(super) fn cut(
        &mut self,
        packed: &mut Packed,
        room: usize,
    ) -> Result<Option<Head>, CompressError> {
        let head = match self {
            Self::Stored => {
                let data_len = (room - room % CUT_GRID).min(packed.data().len());
                let bytes = packed.data().get(..data_len).unwrap_or_default().to_vec();
                (data_len > 0).then_some(Head { data_len, bytes })
            }
            Self::Zlib(_) => self.zlib_head(packed, room)?,
            Self::Zstd(context) => zstd_head(context, packed, room)?,
        };
        if let Some(head) = &head {
            self.take_off(packed, head.data_len)?;
        }
        Ok(head)
    }

    /// Makes `packed` decodable without the data before it, for the start of a chunk.
    ///
    /// # Errors
    /// When the library fails.
    pub(super) fn detach(&mut self, packed: &mut Packed) -> Result<(), CompressError> {
        self.take_off(packed, 0)
    }

    /// Takes the blocks that fit into `room` bytes, and a part of the next one, compressed anew.
    fn zlib_head(&mut self, packed: &Packed, room: usize) -> Result<Option<Head>, CompressError> {
        let fitting = packed.marks.iter().rev().find(|(_, end)| *end <= room);
        let (mut data_len, end) = fitting.copied().unwrap_or((0, 0));
        let mut bytes = packed.bytes.get(..end).unwrap_or_default().to_vec();
        let next = packed.marks.iter().find(|(len, _)| *len > data_len);
        let Some((next_len, next_end)) = next.copied() else {
            return Ok((data_len > 0).then_some(Head { data_len, bytes }));
        };
        // What should fit if the block compressed evenly, less a little; then a part of what is left.
        let mut share = (next_len - data_len, (next_end - end).max(1));
        for _ in 0..ZLIB_FILL_TRIES {
            let left = room - bytes.len();
            let part = left.saturating_mul(share.0) / share.1 / 32 * 31 / CUT_GRID * CUT_GRID;
            let part = part.min(next_len - data_len);
            if part == 0 {
                break;
            }
            let data = packed.data().get(data_len..data_len + part).unwrap_or_default();
            let mut more = Vec::new();
            self.append(packed.before(data_len), data, &mut more)?;
            share = (part, more.len().max(1));
            if more.len() <= left {
                bytes.append(&mut more);
                data_len += part;
            }
        }
        Ok((data_len > 0).then_some(Head { data_len, bytes }))
    }

    /// Removes the first `data_len` bytes of data and makes the rest stand alone.
    fn take_off(&mut self, packed: &mut Packed, data_len: usize) -> Result<(), CompressError> {
        packed.start += data_len;
        packed.piece.before.clear();
        if matches!(self, Self::Zlib(_)) {
            let marks = std::mem::take(&mut packed.marks);
            let kept = marks.iter().find(|(from, _)| *from >= data_len + DEFLATE_WINDOW);
            if let Some((from, at)) = kept {
                // Blocks that looked back over the cut are compressed again, the others kept.
                let first = packed.data().get(..from - data_len).unwrap_or_default();
                let mut bytes = Vec::with_capacity(packed.bytes.len());
                let mut new_marks = self.append(&[], first, &mut bytes)?;
                let base = bytes.len();
                bytes.extend_from_slice(packed.bytes.get(*at..).unwrap_or_default());
                let later = marks.iter().filter(|(end, _)| end > from);
                new_marks.extend(later.map(|(end, to)| (end - data_len, to - at + base)));
                packed.bytes = bytes;
                packed.marks = new_marks;
                return Ok(());
            }
        }
        let mut bytes = std::mem::take(&mut packed.bytes);
        bytes.clear();
        packed.marks = self.append(&[], packed.data(), &mut bytes)?;
        packed.bytes = bytes;
        Ok(())
    }

    /// Puts the compressed form of `data` into `out`, which is empty; it may refer to `before` when
    /// the codec is zlib. Returns deflate's marks.
    ///
    /// # Errors
    /// When the library fails.
    pub(super) fn append(
        &mut self,
        before: &[u8],
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Vec<(usize, usize)>, CompressError> {
        let mut marks = Vec::new();
        if data.is_empty() {
            return Ok(marks);
        }
        match self {
            Self::Stored => out.extend_from_slice(data),
            Self::Zstd(context) => {
                out.reserve(zstd_safe::compress_bound(data.len()));
                context.compress2(out, data).map_err(zstd_error)?;
            }
            Self::Zlib(deflate) => {
                let mut deflate = deflate.start(before)?;
                let mut done = 0;
                for step in data.chunks(DEFLATE_STEP) {
                    deflate_step(&mut deflate, step, out)?;
                    done += step.len();
                    marks.push((done, out.len()));
                }
            }
        }
        Ok(marks)
    }
}

/// Deflates `step` and flushes, so that the output ends on a byte and a block.
fn deflate_step(
    deflate: &mut Compress,
    mut step: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    loop {
        // More than the worst case, 9 bits a byte: a call that fills its room ends a flush with a
        // second marker, and the image would depend on how large the buffer happened to be.
        out.reserve(step.len() + step.len() / 4 + 1024);
        let before = deflate.total_in();
        deflate.compress_vec(step, out, FlushCompress::Sync).map_err(zlib_error)?;
        let used = usize::try_from(deflate.total_in() - before).unwrap_or(usize::MAX);
        step = step.get(used..).unwrap_or_default();
        // Room left means that the flush was completed.
        if step.is_empty() && out.len() < out.capacity() {
            return Ok(());
        }
    }
}

fn zlib_error(error: flate2::CompressError) -> CompressError {
    CompressError { codec: Codec::Zlib, why: error.to_string() }
}

/// Compresses as much of the piece as fits into `room`.
fn zstd_head(
    context: &mut zstd_safe::CCtx<'_>,
    packed: &Packed,
    room: usize,
) -> Result<Option<Head>, CompressError> {
    let data = packed.data();
    if room < ZSTD_ROOM_MIN || packed.bytes.is_empty() {
        return Ok(None);
    }
    // What should fit if the piece compressed evenly, less a little.
    let mut data_len = data.len().saturating_mul(room) / packed.bytes.len() / 32 * 31;
    let mut bytes = Vec::new();
    for _ in 0..4 {
        data_len = data_len.min(data.len()) / CUT_GRID * CUT_GRID;
        if data_len == 0 {
            return Ok(None);
        }
        let part = data.get(..data_len).unwrap_or_default();
        bytes.reserve(zstd_safe::compress_bound(data_len));
        if context.compress2(&mut bytes, part).map_err(zstd_error)? <= room {
            return Ok(Some(Head { data_len, bytes }));
        }
        data_len = data_len / 8 * 7;
    }
    Ok(None)
}

fn zstd_error(code: zstd_safe::ErrorCode) -> CompressError {
    CompressError { codec: Codec::Zstd, why: zstd_safe::get_error_name(code).to_owned() }
}
