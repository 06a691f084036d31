//! Saving: from allocated sectors to sealed chunks.
//!
//! ```text
//! disk ─► reader ─► pieces ─► compressors ×N ─► packer ─► drafts ─► seal and write (caller's thread)
//! ```
//! What it owns: the threads and queues of a save, all bounded. The output does not depend on the
//! number of threads: pieces are cut before they are dealt out and packed in order. What it never
//! does: decide what is saved ([`crate::plan`] does), or open and name files.

mod compress;
mod estimate;
mod packer;
mod piece;
mod slice_label;

pub use compress::CompressError;
pub use estimate::estimate;
pub use packer::ImageFields;
pub use piece::{PIECE_LEN, ZERO_CELL};
pub use slice_label::{LabelForm, SliceLabel, label_form};

use crate::buffer_pool::BufferPool;
use crate::disk::{DiskError, ReadDisk};
use crate::interrupt::Interrupt;
use crate::ndz::{CHUNK_LEN, FormatError, Version, seal};
use crate::ordered_pool::{self, JobSender, OrderedResults};
use crate::output::OutputError;
use crate::progress::{Progress, Stage};
use crate::units::SectorRange;
use compress::{Compressor, Packed};
use crossbeam_channel::{Receiver, Sender, bounded};
use packer::{ChunkDraft, Packer};
use piece::{Piece, PieceReader};
use std::sync::atomic::Ordering::Relaxed;
use thiserror::Error;

/// Why a save ended without an image.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The source could not be read.
    #[error(
        "{0}; if the disk is failing, --rescue saves all that can be read, with zeros for the rest, \
         and lists what was lost"
    )]
    Disk(#[from] DiskError),
    /// The image could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A number does not fit the chosen format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The compression library failed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// A signal asked to stop.
    #[error("interrupted; nothing was left behind")]
    Interrupted,
    /// `--memory` is too small for the number of threads.
    #[error(
        "{given_mib} MiB of memory is too little for {threads} threads at this level; give at least {needed_mib} MiB or fewer threads"
    )]
    Memory {
        /// What was allowed.
        given_mib: u64,
        /// What is needed.
        needed_mib: u64,
        /// For so many threads.
        threads: usize,
    },
    /// The disk ends where the format's numbers end.
    #[error(
        "the {version} format cannot hold sector {sector} (its limit is {max}); use --format v5 or native"
    )]
    TooLarge {
        /// The format.
        version: Version,
        /// The number that does not fit.
        sector: u64,
        /// The largest that does.
        max: u64,
    },
    /// A thread of the pipeline ended without a word. An error in this program.
    #[error("internal error: the pipeline ended early")]
    EndedEarly,
}

/// How to save.
#[derive(Clone, Copy, Debug)]
pub struct SaveOptions {
    /// Compression level, as the codec counts them.
    pub level: i32,
    /// Compressing threads, at least 1.
    pub threads: usize,
    /// Most memory that the pipeline may use, in bytes; `None` for a little over 16 MiB a thread.
    pub memory: Option<u64>,
    /// Read unreadable sectors as zeros instead of failing.
    pub rescue: bool,
}

/// What a save made.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// Chunks in the image.
    pub chunks: u64,
    /// Sectors with data in the image.
    pub data_sectors: u64,
    /// Sectors recorded as zero.
    pub zero_sectors: u64,
    /// Compressed bytes of all payloads.
    pub payload_bytes: u64,
    /// Sectors that could not be read and are zero in the image; only with `rescue`.
    pub lost: Vec<SectorRange>,
}

/// Bytes of memory the pipeline needs beside its threads and the pieces under way: chunks being
/// packed, sealed and written.
const MEMORY_FIXED: u64 = 12 << 20;
/// Bytes of memory for a piece under way: data and compressed data.
const MEMORY_PIECE: u64 = (PIECE_LEN as u64) * 9 / 4;

/// Bytes of memory a compressor's tables take; measured, rounded up.
fn memory_of_compressor(level: i32) -> u64 {
    match level {
        ..=4 => 2 << 20,
        5..=12 => 4 << 20,
        _ => 10 << 20,
    }
}

/// Pieces that may be under way at once.
fn depth(options: &SaveOptions) -> Result<usize, SaveError> {
    let threads = u64::try_from(options.threads).unwrap_or(1).max(1);
    let wanted = threads * 4 + 8;
    let Some(memory) = options.memory else {
        return Ok(usize::try_from(wanted).unwrap_or(8));
    };
    let base = MEMORY_FIXED + threads * memory_of_compressor(options.level);
    let needed = base + (threads + 2) * MEMORY_PIECE;
    if memory < needed {
        return Err(SaveError::Memory {
            given_mib: memory >> 20,
            needed_mib: needed.div_ceil(1 << 20),
            threads: options.threads,
        });
    }
    Ok(usize::try_from(((memory - base) / MEMORY_PIECE).min(wanted)).unwrap_or(8))
}

/// What travels from the reader to the packer, in order.
enum Item<T> {
    Piece(T),
    Failed(SaveError),
    /// Everything has been read: without it the image is not whole.
    End,
}

/// Saves `ranges` of `disk` as an image: hands every sealed chunk, [`CHUNK_LEN`] bytes, to `write`
/// in order. `image.allocated` is set from the ranges.
///
/// # Errors
/// When something cannot be read, written or fitted in the format; then `write` has not seen a
/// last chunk.
pub fn save(
    disk: &dyn ReadDisk,
    ranges: &[SectorRange],
    image: ImageFields,
    options: &SaveOptions,
    progress: &Progress,
    interrupt: &Interrupt,
    write: &mut dyn FnMut(&[u8]) -> Result<(), SaveError>,
) -> Result<Saved, SaveError> {
    check_limits(ranges, &image)?;
    let depth = depth(options)?;
    let total: u64 = ranges.iter().map(|range| range.byte_len()).sum();
    progress.total_bytes.store(total, Relaxed);
    progress.set_threads(Stage::Compute, options.threads);
    let allocated = crate::units::SectorCount::whole_in_bytes(total).unwrap_or_default();
    let (codec, find_zeros) = (image.codec, image.version == Version::Native);
    let mut compressors = Vec::new();
    for _ in 0..options.threads.max(1) {
        compressors.push(Compressor::new(codec, options.level)?);
    }
    let packer =
        Packer::new(ImageFields { allocated, ..image }, Compressor::new(codec, options.level)?);
    let pieces = BufferPool::new(depth + 4);
    let packed_bytes = BufferPool::new(depth + 4);
    let reader = PieceReader {
        disk,
        pool: &pieces,
        progress,
        find_zeros,
        rescue: options.rescue,
        interrupt,
        look_back: compress::look_back(codec),
    };

    std::thread::scope(|scope| {
        let (jobs, results) = ordered_pool::start(scope, options.threads, depth, || {
            let mut compressor = compressors.pop();
            let buffers = packed_bytes.clone();
            move |item| compress_item(item, compressor.as_mut(), &buffers, progress)
        });
        let lost = scope.spawn(move || read_all(&reader, ranges, &jobs));
        let (drafts, sealed) = bounded(2);
        let (pieces, packed_bytes) = (pieces.clone(), packed_bytes.clone());
        scope.spawn(move || pack_all(results, packer, &pieces, &packed_bytes, &drafts));
        let mut saved = write_all(&sealed, interrupt, progress, write)?;
        drop(sealed);
        saved.lost = lost.join().map_err(|_| SaveError::EndedEarly)?;
        Ok(saved)
    })
}

fn check_limits(ranges: &[SectorRange], image: &ImageFields) -> Result<(), SaveError> {
    let end = ranges.last().map_or(0, |range| range.end().get());
    let sector = end.max(image.source_bytes.div_ceil(crate::units::SECTOR_SIZE));
    let max = image.version.sector_max();
    if sector > max {
        return Err(SaveError::TooLarge { version: image.version, sector, max });
    }
    Ok(())
}

/// The reader's thread.
fn read_all(
    reader: &PieceReader<'_>,
    ranges: &[SectorRange],
    jobs: &JobSender<Item<Piece>, Item<Packed>>,
) -> Vec<SectorRange> {
    let result = reader.read(ranges, &mut |piece| {
        // Closed: the packer has stopped and the reason is known at the other end.
        jobs.send(Item::Piece(piece)).map_err(|_| SaveError::EndedEarly)
    });
    let (item, lost) = match result {
        Ok(lost) => (Item::End, lost),
        Err(error) => (Item::Failed(error), Vec::new()),
    };
    let _ = jobs.send(item);
    lost
}

/// A worker's step.
fn compress_item(
    item: Item<Piece>,
    compressor: Option<&mut Compressor>,
    buffers: &BufferPool,
    progress: &Progress,
) -> Item<Packed> {
    match (item, compressor) {
        (Item::Piece(piece), Some(compressor)) => {
            let out = buffers.take();
            match progress.time(Stage::Compute, || compressor.compress(piece, out)) {
                Ok(packed) => Item::Piece(packed),
                Err(error) => Item::Failed(error.into()),
            }
        }
        (Item::Piece(_), None) => Item::Failed(SaveError::EndedEarly),
        (Item::Failed(error), _) => Item::Failed(error),
        (Item::End, _) => Item::End,
    }
}

/// The packer's thread.
fn pack_all(
    results: OrderedResults<Item<Packed>>,
    mut packer: Packer,
    pieces: &BufferPool,
    packed_bytes: &BufferPool,
    drafts: &Sender<Item<ChunkDraft>>,
) {
    for item in results {
        let ended = match item {
            Item::Piece(packed) => match packer.push(packed) {
                Ok(used) => {
                    pieces.put(used.piece.data);
                    packed_bytes.put(used.bytes);
                    None
                }
                Err(error) => Some(Item::Failed(error.into())),
            },
            Item::Failed(error) => Some(Item::Failed(error)),
            Item::End => {
                packer.finish();
                Some(Item::End)
            }
        };
        while let Some(draft) = packer.next_ready() {
            if drafts.send(Item::Piece(draft)).is_err() {
                return;
            }
        }
        if let Some(end) = ended {
            let _ = drafts.send(end);
            return;
        }
    }
}

/// The caller's thread: seals and writes.
fn write_all(
    drafts: &Receiver<Item<ChunkDraft>>,
    interrupt: &Interrupt,
    progress: &Progress,
    write: &mut dyn FnMut(&[u8]) -> Result<(), SaveError>,
) -> Result<Saved, SaveError> {
    let mut saved = Saved::default();
    let mut chunk = vec![0; CHUNK_LEN];
    for item in drafts {
        let ChunkDraft { header, payload } = match item {
            Item::Piece(draft) => draft,
            Item::Failed(error) => return Err(error),
            Item::End => return Ok(saved),
        };
        if interrupt.is_set() {
            return Err(SaveError::Interrupted);
        }
        let at = header.header_area..header.header_area + payload.len();
        if let Some(room) = chunk.get_mut(at) {
            room.copy_from_slice(&payload);
        }
        seal(&header, &mut chunk)?;
        progress.time(Stage::Output, || write(&chunk))?;
        saved.chunks += 1;
        saved.data_sectors += header.data_sectors().get();
        saved.zero_sectors += header.zero_sectors().get();
        saved.payload_bytes += u64::try_from(payload.len()).unwrap_or(0);
        progress.image_bytes.store(saved.chunks * crate::ndz::CHUNK_SIZE, Relaxed);
    }
    Err(SaveError::EndedEarly)
}
