//! Loading an image: from chunks to a disk.
//!
//! What it owns: the order of checks, writes and flushes, and the proof that all chunks together
//! are one whole image. What it never does: receive.

use crate::args::{Args, Shares};
use crate::error::ClientError;
use crate::gate::{self, Opened};
use crate::report::Written;
use crate::work::{Chunk, Work};
use crate::workers::{Failure, Workers};
use crossbeam_channel::Receiver;
use imagezip::interrupt::Interrupt;
use imagezip::load::{LoadError, Place, Target, Wishes};
use imagezip::ndz::decode::SliceTarget;
use imagezip::ndz::{AnyOrder, CHUNK_SIZE, Decoder, VerifiedChunk, Whole};
use imagezip::progress::Stage;
use imagezip::units::SECTOR_SIZE;
use proto::geometry::Geometry;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Loads the image that the receiver hands over onto `place`.
///
/// # Errors
/// When the image does not suit the target, is not whole, or the target fails.
pub(crate) fn load_image(
    args: &Args,
    shares: Shares,
    mut place: Place,
    work: &Receiver<Work>,
    workers: &Workers<'_>,
    interrupt: &Interrupt,
) -> Result<Written, ClientError> {
    let geometry = joined(work)?;
    if !geometry.is_whole_chunks() || geometry.chunk_bytes() != CHUNK_SIZE {
        let (bytes, chunk_bytes) = (geometry.bytes(), geometry.chunk_bytes());
        return Err(ClientError::NotAnImage { bytes, chunk_bytes });
    }
    let opened = gate::open(work, workers, &place)?;
    if args.check_only {
        return Ok(Written::Nothing { source_bytes: opened.facts.source_bytes });
    }
    if let Some(bytes) = opened.facts.source_bytes {
        place.set_source_bytes(bytes).map_err(LoadError::from)?;
    }
    let status = workers.status();
    status.set_touched(!place.is_new());
    let progress = &status.progress;
    for stage in Stage::ALL {
        progress.set_threads(stage, shares.threads);
    }
    let Opened { fit, held, .. } = opened;
    let wishes = Wishes { free: args.free_space(), read_back: args.verify };
    let (whole, not_applied, verified) = place.with_target(fit, wishes, progress, |target| {
        write(args, shares, &geometry, held, (&place, target), work, workers, interrupt)
    })?;
    status.set_touched(false);
    let warning = place.commit()?;
    Ok(Written::Image {
        whole,
        not_applied,
        verified,
        warning: warning.map(|warning| warning.to_string()),
    })
}

/// Waits for the server's answer.
pub(crate) fn joined(work: &Receiver<Work>) -> Result<Geometry, ClientError> {
    match work.recv() {
        Ok(Work::Joined(geometry)) => Ok(geometry),
        _ => Err(LoadError::EndedEarly.into()),
    }
}

#[allow(clippy::too_many_arguments)] // each is a different thing, and there is one caller
fn write(
    args: &Args,
    shares: Shares,
    geometry: &Geometry,
    held: Vec<Chunk>,
    (place, target): (&Place, Target<'_>),
    work: &Receiver<Work>,
    workers: &Workers<'_>,
    interrupt: &Interrupt,
) -> Result<(Whole, Vec<String>, Option<u64>), ClientError> {
    target.begin()?;
    let image = Image { target: &target, set: Mutex::default(), not_applied: Mutex::default() };
    let slice = place.partition().map(|partition| SliceTarget { partition });
    workers.run(shares.threads, held, work, || {
        let mut decoder = Decoder::new(slice);
        let (image, status) = (&image, workers.status());
        move |chunk| {
            let expanded = image.write_chunk(&mut decoder, chunk)?;
            status.expanded_bytes.fetch_add(expanded, Relaxed);
            Ok(())
        }
    })?;
    let whole = lock(&image.set).finish(geometry.chunks()).map_err(LoadError::from)?;
    let not_applied = std::mem::take(&mut *lock(&image.not_applied));
    target.fill_rest(whole.source_sectors(), whole.unbounded.as_ref())?;
    target.finish()?;
    place.end_at(whole.source_bytes).map_err(LoadError::from)?;
    let verified = match args.verify {
        true => Some(place.read_back(target, shares.threads, interrupt)?),
        false => None,
    };
    Ok((whole, not_applied, verified))
}

/// What the workers share.
struct Image<'t, 'a> {
    target: &'t Target<'a>,
    set: Mutex<AnyOrder>,
    not_applied: Mutex<Vec<String>>,
}

impl Image<'_, '_> {
    /// Proves, decodes and writes a chunk; returns the bytes of the disk it answers for.
    fn write_chunk(&self, decoder: &mut Decoder, chunk: &Chunk) -> Result<u64, Failure> {
        let verified = VerifiedChunk::verify(&chunk.bytes, u64::from(chunk.number))?;
        lock(&self.set).push(verified.header(), chunk.number)?;
        let known = decoder.relocations_not_applied().len();
        let written = self.target.write_chunk(decoder, &verified);
        if let Err(LoadError::Format(_)) = written {
            lock(&self.set).remove(chunk.number);
        }
        written?;
        let new = decoder.relocations_not_applied().get(known..).unwrap_or_default();
        if !new.is_empty() {
            lock(&self.not_applied).extend_from_slice(new);
        }
        let header = verified.header();
        let regions = header.data_sectors().get().saturating_add(header.zero_sectors().get());
        Ok(header.bounds.map_or(regions.saturating_mul(SECTOR_SIZE), |b| b.byte_len()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
