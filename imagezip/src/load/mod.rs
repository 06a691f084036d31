//! Loading: from chunks to a disk.
//!
//! ```text
//! image ─► header check ─► fit check ─► chunks ─► verify, decompress, write ×N ─► flush ─► head
//! ```
//! What it owns: the order of checks and writes, and the workers. Everything that can be known to
//! be wrong is found before the first write. What it never does: open or name a target; and it
//! knows no network: a frisbee client hands its chunks to [`Target`] itself.

mod error;
pub mod fit;
mod growing;
mod head;
mod input;
pub mod place;
mod read_back;
mod stream;
mod target;

pub use error::{LoadError, Refusal};
pub use fit::{Fit, ImageFacts, TargetFacts};
pub use head::HEAD;
pub use input::ImageInput;
pub use place::{Place, PlaceOptions, Wishes};
pub use stream::{StreamError, load_stream};
pub use target::{FreeSpace, Target, TargetOptions};

use crate::interrupt::Interrupt;
use crate::ndz::decode::{DecodeError, SliceTarget};
use crate::ndz::{
    CHUNK_LEN, CHUNK_SIZE, ChunkHeader, Decoder, FormatError, ImageInfo, VerifiedChunk,
};
use crate::partition::{Excerpt, LbaSize, detect_sector_size};
use crate::progress::{Progress, Stage};
use crate::units::{SECTOR_SIZE, SECTORS_MAX, Sector, SectorRange};
use fit::Capture;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Bytes of memory a worker needs: a chunk and the decoder's buffers.
pub const MEMORY_PER_WORKER: u64 = 12 << 20;

/// An image whose headers have been checked as far as they can be before the first write.
pub struct Prepared {
    /// What all headers tell; `None` for a stream.
    pub info: Option<ImageInfo>,
    /// What is known for the comparison with a target.
    pub facts: ImageFacts,
    /// The image's first and, if it can be reached, last sectors.
    pub tables: Excerpt,
    /// Chunk 0.
    first: Vec<u8>,
}

/// What a load did.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the image's headers told.
    pub info: ImageInfo,
    /// Relocations that were not applied, one sentence each.
    pub not_applied: Vec<String>,
}

/// Checks what can be checked before a target is touched.
///
/// # Errors
/// When the image cannot be read, or is not whole.
pub fn prepare(input: &ImageInput) -> Result<Prepared, LoadError> {
    let info = input.check_headers()?;
    let mut first = vec![0; CHUNK_LEN];
    if input.next_chunk(&mut first)?.is_none() {
        // An empty stream: let the set of no headers say it.
        input.finish_stream()?;
        return Err(LoadError::EndedEarly);
    }
    let chunk = VerifiedChunk::verify(&first, 0)?;
    let mut facts = facts(chunk.header(), info.as_ref());
    let mut tables = capture_tables(input, &chunk, info.as_ref(), &facts)?;
    if facts.logical_sector_bytes.is_none() {
        // Formats that do not tell it: the size at which there is a GPT.
        facts.logical_sector_bytes = detect_sector_size(&tables)?.map(LbaSize::bytes);
        let bytes = facts.logical_sector_bytes.unwrap_or(512);
        tables = tables.with_logical_sector_bytes(bytes);
    }
    Ok(Prepared { info, facts, tables, first })
}

/// What one chunk tells of its image before the others are there, and what it holds of the first
/// sectors, where partition tables stand.
///
/// # Errors
/// When its payload is damaged.
pub fn preview(chunk: &VerifiedChunk<'_>) -> Result<(ImageFacts, Excerpt), FormatError> {
    let facts = facts(chunk.header(), None);
    let head = capture_head(&mut Decoder::default(), chunk, &facts)?;
    Ok((facts, head))
}

/// What is known from chunk 0, and from all headers if they have been seen.
fn facts(first: &ChunkHeader, info: Option<&ImageInfo>) -> ImageFacts {
    ImageFacts {
        source_bytes: match info {
            Some(info) => Some(info.source_bytes),
            None => first.native.map(|native| native.source_bytes),
        },
        logical_sector_bytes: first.native.map(|native| native.logical_sector_bytes),
        slice: first.native.map(|native| native.slice),
        allocated: info.map(|info| info.allocated.clone()),
    }
}

/// Collects the sectors where partition tables stand.
fn capture_tables(
    input: &ImageInput,
    first: &VerifiedChunk<'_>,
    info: Option<&ImageInfo>,
    facts: &ImageFacts,
) -> Result<Excerpt, LoadError> {
    let mut decoder = Decoder::default();
    let head = capture_head(&mut decoder, first, facts)?;
    let Some(info) = info.filter(|info| info.chunks > 1) else { return Ok(head) };
    // The backup GPT, in case the primary is broken.
    let end = SectorRange::whole(info.source_sectors());
    let tail = end.end().checked_sub(HEAD).unwrap_or(Sector::ZERO);
    let mut capture = Capture::new(end.after(tail), head);
    let last = info.chunks - 1;
    if capture.wants(&input.header(last)?.regions) {
        let mut bytes = vec![0; CHUNK_LEN];
        input.read_at(&mut bytes, last)?;
        decode_into(&mut decoder, &VerifiedChunk::verify(&bytes, last)?, &mut capture)?;
    }
    Ok(capture.into_excerpt())
}

/// What a chunk holds of the first sectors.
fn capture_head(
    decoder: &mut Decoder,
    chunk: &VerifiedChunk<'_>,
    facts: &ImageFacts,
) -> Result<Excerpt, FormatError> {
    let size = facts.source_bytes.unwrap_or(SECTORS_MAX * SECTOR_SIZE);
    let excerpt = Excerpt::new(size, facts.logical_sector_bytes.unwrap_or(512));
    let mut capture = Capture::new(SectorRange::whole(HEAD), excerpt);
    decode_into(decoder, chunk, &mut capture)?;
    Ok(capture.into_excerpt())
}

fn decode_into(
    decoder: &mut Decoder,
    chunk: &VerifiedChunk<'_>,
    capture: &mut Capture,
) -> Result<(), FormatError> {
    match decoder.decode(chunk, capture) {
        Ok(()) => Ok(()),
        Err(DecodeError::Format(error)) => Err(error),
        Err(DecodeError::Sink(never)) => match never {},
    }
}

/// Loads a prepared image onto `target` with `threads` workers and puts it on stable storage.
///
/// # Errors
/// When a chunk is damaged, the disk fails, or a signal came. The target has no partition table
/// then.
pub fn load(
    input: &ImageInput,
    prepared: &Prepared,
    target: &Target<'_>,
    threads: usize,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Loaded, LoadError> {
    if let Some(info) = &prepared.info {
        let sectors = info.data.get().saturating_add(info.zero.get());
        progress.total_bytes.store(sectors.saturating_mul(SECTOR_SIZE), Relaxed);
    }
    for stage in Stage::ALL {
        progress.set_threads(stage, threads);
    }
    let slice = target.partition().map(|partition| SliceTarget { partition });
    target.begin()?;
    let not_applied = Mutex::new(Vec::new());
    let mut decoder = Decoder::new(slice);
    target.write_chunk(&mut decoder, &VerifiedChunk::verify(&prepared.first, 0)?)?;
    progress.image_bytes.fetch_add(CHUNK_SIZE, Relaxed);
    not_applied
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend_from_slice(decoder.relocations_not_applied());

    for_all_chunks(input, threads, progress, interrupt, || {
        let mut decoder = Decoder::new(slice);
        let not_applied = &not_applied;
        move |chunk: &VerifiedChunk<'_>| {
            let known = decoder.relocations_not_applied().len();
            target.write_chunk(&mut decoder, chunk)?;
            let new = decoder.relocations_not_applied().get(known..).unwrap_or_default();
            if !new.is_empty() {
                not_applied.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(new);
            }
            Ok(())
        }
    })?;
    let info = match input.finish_stream()? {
        Some(info) => info,
        None => prepared.info.clone().ok_or(LoadError::EndedEarly)?,
    };
    let unbounded = (!info.version.has_bounds()).then_some(&info.allocated);
    target.fill_rest(info.source_sectors(), unbounded)?;
    target.finish()?;
    let not_applied = not_applied.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Loaded { info, not_applied })
}

/// Checks every chunk of an image without a target: headers, digests, payloads.
///
/// # Errors
/// When the image is damaged or not whole.
pub fn check(
    input: &ImageInput,
    threads: usize,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<ImageInfo, LoadError> {
    let info = input.check_headers()?;
    if let Some(info) = &info {
        progress.total_bytes.store(info.data.bytes().saturating_add(info.zero.bytes()), Relaxed);
    }
    progress.set_threads(Stage::Compute, threads);
    progress.set_threads(Stage::Input, threads);
    for_all_chunks(input, threads, progress, interrupt, || {
        let mut decoder = Decoder::default();
        move |chunk: &VerifiedChunk<'_>| {
            progress.time(Stage::Compute, || decoder.check(chunk))?;
            let header = chunk.header();
            let sectors = header.data_sectors().get() + header.zero_sectors().get();
            progress.done_bytes.fetch_add(sectors * SECTOR_SIZE, Relaxed);
            Ok(())
        }
    })?;
    match input.finish_stream()? {
        Some(info) => Ok(info),
        None => info.ok_or(LoadError::EndedEarly),
    }
}

/// Runs `threads` workers that take chunks from `input`, verify them, and hand them to the closure
/// that `make_work` made for each; the first error stops all.
fn for_all_chunks<W>(
    input: &ImageInput,
    threads: usize,
    progress: &Progress,
    interrupt: &Interrupt,
    mut make_work: impl FnMut() -> W,
) -> Result<(), LoadError>
where
    W: FnMut(&VerifiedChunk<'_>) -> Result<(), LoadError> + Send,
{
    let stop = AtomicBool::new(false);
    let run = |mut work: W| -> Result<(), LoadError> {
        let mut bytes = vec![0; CHUNK_LEN];
        while !stop.load(Relaxed) {
            if interrupt.is_set() {
                return Err(LoadError::Interrupted);
            }
            let next = progress.time(Stage::Input, || input.next_chunk(&mut bytes))?;
            let Some(at) = next else { break };
            work(&VerifiedChunk::verify(&bytes, at)?)?;
            progress.image_bytes.fetch_add(CHUNK_SIZE, Relaxed);
        }
        Ok(())
    };
    let stopping = |work: W| run(work).inspect_err(|_| stop.store(true, Relaxed));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1))
            .map(|_| {
                let work = make_work();
                scope.spawn(|| stopping(work))
            })
            .collect();
        let mut result = Ok(());
        for worker in workers {
            let ended = worker.join().unwrap_or(Err(LoadError::EndedEarly));
            result = result.and(ended);
        }
        result
    })
}
