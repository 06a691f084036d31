//! Reading allocated sectors as pieces of a fixed size.
//!
//! What it owns: where pieces end and which regions are zero. Both depend on nothing but the disk's
//! content and the ranges asked for: not on threads, not on timing, and not on whether a run of
//! zeros is a hole of a sparse file or was written. What it never does: compress.

use super::SaveError;
use crate::buffer_pool::BufferPool;
use crate::disk::{ReadDisk, rescue_read};
use crate::interrupt::Interrupt;
use crate::ndz::{Region, RegionKind};
use crate::progress::{Progress, Stage};
use crate::units::{SectorCount, SectorRange};
use std::sync::atomic::Ordering::Relaxed;

/// Most data bytes of a piece: large enough that compressing pieces apart costs about 2 %, small
/// enough that cutting one at the end of a chunk costs little (docs/performance.md).
pub const PIECE_LEN: usize = 256 << 10;

/// Zeros are looked for in cells of this many sectors (64 KiB), on a grid that starts at sector 0:
/// a shorter run compresses to next to nothing and is not worth a write of its own on a load.
pub const ZERO_CELL: SectorCount = SectorCount::from_u32(128);

/// A piece ends when it has this many regions, so that a chunk's region table fills up evenly.
const PIECE_REGIONS_MAX: usize = 32;

/// Bytes read from the disk at a time. A multiple of [`ZERO_CELL`].
const READ_LEN: u32 = 1 << 20;

/// Some allocated sectors, in ascending order.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Which sectors, and whether their bytes stand in `data`.
    pub regions: Vec<Region>,
    /// The bytes of the data regions, one after another.
    pub data: Vec<u8>,
    /// The end of the data before: what a compressor may look back at. At most
    /// [`PieceReader::look_back`] bytes.
    pub before: Vec<u8>,
}

/// Takes full pieces; returns an error to stop the reader.
pub(super) type EmitPiece<'a> = dyn FnMut(Piece) -> Result<(), SaveError> + 'a;

/// Reads ranges of a disk and cuts them in pieces.
pub(super) struct PieceReader<'a> {
    /// What is read.
    pub disk: &'a dyn ReadDisk,
    /// Where the pieces' buffers come from.
    pub pool: &'a BufferPool,
    /// Told of every byte read or skipped.
    pub progress: &'a Progress,
    /// Record zero cells as zero regions instead of data.
    pub find_zeros: bool,
    /// Read unreadable sectors as zeros instead of failing.
    pub rescue: bool,
    /// Ends the reading, also where nothing but zeros is read and no piece is full for long.
    pub interrupt: &'a Interrupt,
    /// Bytes that pieces are told of the data before them.
    pub look_back: usize,
}

/// The piece being filled, and what was lost so far.
#[derive(Default)]
struct State {
    piece: Piece,
    scratch: Vec<u8>,
    lost: Vec<SectorRange>,
}

impl PieceReader<'_> {
    /// Reads `ranges` (ascending) and hands each full piece to `emit`. Returns the sectors that
    /// were lost, which is none unless `rescue` is set.
    ///
    /// # Errors
    /// When the disk cannot be read, or whatever `emit` returns.
    pub(super) fn read(
        &self,
        ranges: &[SectorRange],
        emit: &mut EmitPiece<'_>,
    ) -> Result<Vec<SectorRange>, SaveError> {
        let mut state = State::default();
        for range in ranges {
            self.read_range(*range, &mut state, emit)?;
        }
        self.flush(&mut state, emit)?;
        Ok(state.lost)
    }

    fn read_range(
        &self,
        range: SectorRange,
        state: &mut State,
        emit: &mut EmitPiece<'_>,
    ) -> Result<(), SaveError> {
        let mut rest = range;
        while !rest.is_empty() {
            let data = self.disk.next_data(rest)?;
            let hole = rest.until(data.map_or(rest.end(), SectorRange::start));
            // Only whole cells of a hole are skipped: then a dense copy gives the same pieces.
            let (read, skip) = match (hole.whole_cells(ZERO_CELL), data) {
                (Some(cells), _) => (rest.until(cells.start()), cells),
                (None, None) => (rest, rest.after(rest.end())),
                (None, Some(data)) => {
                    let end = data.widen_to_grid(ZERO_CELL, rest.end()).end();
                    (rest.until(end), rest.after(end).until(end))
                }
            };
            self.read_part(read, range, state, emit)?;
            self.skip(skip, state, emit)?;
            rest = rest.after(skip.end());
        }
        Ok(())
    }

    /// Reads sectors that may hold data; `range` is the allocated range they belong to.
    fn read_part(
        &self,
        mut part: SectorRange,
        range: SectorRange,
        state: &mut State,
        emit: &mut EmitPiece<'_>,
    ) -> Result<(), SaveError> {
        while !part.is_empty() {
            if self.interrupt.is_set() {
                return Err(SaveError::Interrupted);
            }
            let step = SectorCount::from_u32(READ_LEN / 512);
            let (now, later) = part.split_at(part.up_to_grid(step).count());
            let mut scratch = std::mem::take(&mut state.scratch);
            self.fill(now, &mut scratch, &mut state.lost)?;
            let (mut cells, mut bytes) = (now, scratch.as_slice());
            while !cells.is_empty() {
                let cell = cells.up_to_grid(ZERO_CELL);
                let (content, behind) = bytes.split_at(byte_len(cell).min(bytes.len()));
                let whole = cell.count() == ZERO_CELL && range.contains_range(cell);
                if self.find_zeros && whole && is_zero(content) {
                    self.push(cell, None, state, emit)?;
                } else {
                    self.push(cell, Some(content), state, emit)?;
                }
                (cells, bytes) = (cells.after(cell.end()), behind);
            }
            state.scratch = scratch;
            part = later;
        }
        Ok(())
    }

    /// Passes over whole cells of a hole.
    fn skip(
        &self,
        mut hole: SectorRange,
        state: &mut State,
        emit: &mut EmitPiece<'_>,
    ) -> Result<(), SaveError> {
        if self.find_zeros && !hole.is_empty() {
            return self.push(hole, None, state, emit);
        }
        let zeros = vec![0; if hole.is_empty() { 0 } else { PIECE_LEN / 4 }];
        while !hole.is_empty() {
            let (now, later) = hole.split_at(ZERO_CELL);
            self.push(now, Some(zeros.get(..byte_len(now)).unwrap_or(&zeros)), state, emit)?;
            hole = later;
        }
        Ok(())
    }

    fn fill(
        &self,
        range: SectorRange,
        scratch: &mut Vec<u8>,
        lost: &mut Vec<SectorRange>,
    ) -> Result<(), SaveError> {
        // Every byte is overwritten by the read, but for what a short last sector lacks.
        scratch.resize(byte_len(range), 0);
        let there = self.disk.size_bytes().saturating_sub(range.byte_offset());
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(scratch.len());
        let (buf, missing) = scratch.split_at_mut(there);
        missing.fill(0);
        self.progress.time(Stage::Input, || {
            if self.rescue {
                lost.extend(rescue_read(self.disk, buf, range.byte_offset())?);
                Ok(())
            } else {
                Ok(self.disk.read_at(buf, range.byte_offset())?)
            }
        })
    }

    /// Adds sectors to the piece: with their content, or as zeros.
    fn push(
        &self,
        range: SectorRange,
        content: Option<&[u8]>,
        state: &mut State,
        emit: &mut EmitPiece<'_>,
    ) -> Result<(), SaveError> {
        let kind = if content.is_some() { RegionKind::Data } else { RegionKind::Zero };
        let bytes = content.unwrap_or_default();
        if state.piece.data.len() + bytes.len() > PIECE_LEN {
            self.flush(state, emit)?;
        }
        let continues = |last: &Region| last.kind == kind && last.range.end() == range.start();
        if state.piece.regions.len() == PIECE_REGIONS_MAX
            && !state.piece.regions.last().is_some_and(continues)
        {
            self.flush(state, emit)?;
        }
        let piece = &mut state.piece;
        match piece.regions.last_mut() {
            Some(last) if continues(last) => last.range = last.range.extended_to(range.end()),
            _ => piece.regions.push(Region { range, kind }),
        }
        if piece.data.capacity() == 0 && !bytes.is_empty() {
            piece.data = self.pool.take();
            piece.data.reserve_exact(PIECE_LEN);
        }
        piece.data.extend_from_slice(bytes);
        self.progress.done_bytes.fetch_add(range.byte_len(), Relaxed);
        Ok(())
    }

    fn flush(&self, state: &mut State, emit: &mut EmitPiece<'_>) -> Result<(), SaveError> {
        let piece = std::mem::take(&mut state.piece);
        if piece.regions.is_empty() {
            return Ok(());
        }
        state.piece.before = tail(&piece, self.look_back);
        emit(piece)
    }
}

/// The last `len` bytes up to the end of a piece, or as many as it knows.
fn tail(piece: &Piece, len: usize) -> Vec<u8> {
    let from_data = piece.data.len().saturating_sub(len);
    let from_before = piece.before.len().saturating_sub(len.saturating_sub(piece.data.len()));
    let before = piece.before.get(from_before..).unwrap_or_default();
    [before, piece.data.get(from_data..).unwrap_or_default()].concat()
}

fn byte_len(range: SectorRange) -> usize {
    usize::try_from(range.byte_len()).unwrap_or(usize::MAX)
}

/// True when every byte is zero. Steps of 64 bytes become vector instructions, and most data end
/// the search in the first.
fn is_zero(bytes: &[u8]) -> bool {
    let mut steps = bytes.chunks_exact(64);
    steps.all(|step| step.iter().fold(0, |all, byte| all | byte) == 0)
        && bytes.chunks_exact(64).remainder().iter().all(|byte| *byte == 0)
}
