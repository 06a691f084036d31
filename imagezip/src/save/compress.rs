//! Compressing one piece, and cutting a compressed piece in two.
//!
//! What it owns: the three codecs on the writing side. A chunk's payload is made of pieces that
//! were compressed apart, and the piece that straddles the end of a chunk is cut: what fits goes
//! into this chunk, the rest begins the next one and must be decodable without the first part.
//! - zstd: a piece is one frame; both halves of a cut piece are compressed again.
//! - zlib: a piece is a run of deflate blocks with a sync flush each 64 KiB of input. Deflate looks
//!   back 32 KiB at most, so after a cut only the blocks that begin less than that behind it are
//!   compressed again.
//! - stored: cut anywhere.

use super::piece::Piece;
use crate::ndz::Codec;
use flate2::{Compress, Compression, FlushCompress};
use thiserror::Error;

/// How far deflate looks back (RFC 1951).
const DEFLATE_WINDOW: usize = 32 << 10;

/// Input bytes between two places where a deflated piece can be cut without more ado.
const DEFLATE_STEP: usize = 64 << 10;

/// A zstd piece is not cut for less room than this; it is left to the padding (1 % of a chunk).
const ZSTD_ROOM_MIN: usize = 10 << 10;

/// A cut lands on a multiple of this many bytes of input, so that a region ends on a page.
const CUT_GRID: usize = 4096;

/// The compression library failed; that is not the data's fault.
#[derive(Debug, Error)]
#[error("compression with {codec} failed: {why} (out of memory?)")]
pub struct CompressError {
    codec: Codec,
    why: String,
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
}

/// Compresses pieces with one codec at one level; keeps its tables from one to the next.
pub(super) enum Compressor {
    /// No compression.
    Stored,
    /// Deflate blocks, to be framed as a zlib stream.
    Zlib(Compress),
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
            Codec::Zlib => {
                let level = u32::try_from(level).unwrap_or(0).min(9);
                Self::Zlib(Compress::new(Compression::new(level), false))
            }
            Codec::Zstd => {
                let mut context = zstd_safe::CCtx::create();
                let level = zstd_safe::CParameter::CompressionLevel(level);
                context.set_parameter(level).map_err(zstd_error)?;
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
        let marks = self.append(&piece.data, &mut out)?;
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

    /// Takes the blocks that fit into `room` bytes, and a part of the next one, compressed anew.
    fn zlib_head(&mut self, packed: &Packed, room: usize) -> Result<Option<Head>, CompressError> {
        let fitting = packed.marks.iter().rev().find(|(_, end)| *end <= room);
        let (mut data_len, end) = fitting.copied().unwrap_or((0, 0));
        let mut bytes = packed.bytes.get(..end).unwrap_or_default().to_vec();
        if let Some((next_data, next_end)) = packed.marks.iter().find(|(len, _)| *len > data_len) {
            // What should fit if the block compressed evenly, less a little.
            let left = room - end;
            let even = (next_data - data_len).saturating_mul(left) / (next_end - end).max(1);
            let part = even / 16 * 15 / CUT_GRID * CUT_GRID;
            let data = packed.data().get(data_len..data_len + part).unwrap_or_default();
            let mut more = Vec::new();
            self.append(data, &mut more)?;
            if more.len() <= left {
                bytes.append(&mut more);
                data_len += data.len();
            }
        }
        Ok((data_len > 0).then_some(Head { data_len, bytes }))
    }

    /// Removes the first `data_len` bytes of data and makes the rest stand alone.
    fn take_off(&mut self, packed: &mut Packed, data_len: usize) -> Result<(), CompressError> {
        packed.start += data_len;
        if matches!(self, Self::Zlib(_)) {
            let marks = std::mem::take(&mut packed.marks);
            let kept = marks.iter().find(|(from, _)| *from >= data_len + DEFLATE_WINDOW);
            if let Some((from, at)) = kept {
                // Blocks that looked back over the cut are compressed again, the others kept.
                let first = packed.data().get(..from - data_len).unwrap_or_default();
                let mut bytes = Vec::with_capacity(packed.bytes.len());
                let mut new_marks = self.append(first, &mut bytes)?;
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
        packed.marks = self.append(packed.data(), &mut bytes)?;
        packed.bytes = bytes;
        Ok(())
    }

    /// Puts the compressed form of `data` into `out`, which is empty; returns deflate's marks.
    fn append(
        &mut self,
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
                deflate.reset();
                let mut done = 0;
                for step in data.chunks(DEFLATE_STEP) {
                    deflate_step(deflate, step, out)?;
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
        deflate
            .compress_vec(step, out, FlushCompress::Sync)
            .map_err(|error| CompressError { codec: Codec::Zlib, why: error.to_string() })?;
        let used = usize::try_from(deflate.total_in() - before).unwrap_or(usize::MAX);
        step = step.get(used..).unwrap_or_default();
        // Room left means that the flush was completed.
        if step.is_empty() && out.len() < out.capacity() {
            return Ok(());
        }
    }
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
