//! Loading into a pipe: the whole disk, free space as zeros, from the first byte to the last.
//!
//! What it owns: the order of bytes. Chunks are decoded in parallel and written in their order.
//! What it never does: hold a chunk that inflates to much; such a chunk is decoded while it is
//! written.

use super::{ImageInput, LoadError, Prepared};
use crate::interrupt::Interrupt;
use crate::ndz::decode::{BUFFER_LEN, DecodeError};
use crate::ndz::{CHUNK_LEN, CHUNK_SIZE, Decoder, ImageInfo, RegionSink, VerifiedChunk};
use crate::ordered_pool;
use crate::output::{Output, OutputError};
use crate::progress::{Progress, Stage};
use crate::units::{SECTOR_SIZE, Sector, SectorRange};
use std::sync::atomic::Ordering::Relaxed;
use thiserror::Error;

/// Why a load into a pipe ended.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The image failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The pipe failed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Zeros written at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Writes all of the image's source to `out`.
///
/// # Errors
/// When the image is damaged, or `out` fails.
pub fn load_stream(
    input: &ImageInput,
    prepared: &Prepared,
    out: &mut Output,
    threads: usize,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<ImageInfo, StreamError> {
    if let Some(info) = &prepared.info {
        progress.total_bytes.store(info.source_bytes, Relaxed);
    }
    let mut writer = Writer { out, position: 0, limit: u64::MAX, progress };
    std::thread::scope(|scope| {
        let (jobs, results) = ordered_pool::start(scope, threads, threads * 2, || {
            let mut decoder = Decoder::default();
            move |job: Result<(Vec<u8>, u64), LoadError>| {
                let (chunk, at) = job?;
                decode(&mut decoder, chunk, at)
            }
        });
        let first = prepared.first.clone();
        scope.spawn(move || {
            let mut next = Some(Ok((first, 0)));
            while let Some(job) = next.take() {
                let failed = job.is_err();
                if jobs.send(job).is_err() || failed {
                    break;
                }
                let mut chunk = vec![0; CHUNK_LEN];
                next = match input.next_chunk(&mut chunk) {
                    Ok(Some(at)) => Some(Ok((chunk, at))),
                    Ok(None) => None,
                    Err(error) => Some(Err(error)),
                };
            }
        });
        let mut decoder = Decoder::default();
        for result in results {
            if interrupt.is_set() {
                return Err(StreamError::from(LoadError::Interrupted));
            }
            writer.write(result?, &mut decoder)?;
            progress.image_bytes.fetch_add(CHUNK_SIZE, Relaxed);
        }
        Ok(())
    })?;
    let info = match input.finish_stream()? {
        Some(info) => info,
        None => prepared.info.clone().ok_or(LoadError::EndedEarly)?,
    };
    writer.limit = u64::MAX;
    writer.zeros_up_to(info.source_bytes)?;
    Ok(info)
}

/// A chunk on its way to the pipe.
enum Decoded {
    /// Its data, inflated, with their places.
    Pieces { pieces: Vec<(Sector, Vec<u8>)>, end_bytes: u64 },
    /// A sound chunk that inflates to more than should be held.
    Large { chunk: Vec<u8>, at: u64 },
}

fn decode(decoder: &mut Decoder, chunk: Vec<u8>, at: u64) -> Result<Decoded, LoadError> {
    let verified = VerifiedChunk::verify(&chunk, at)?;
    let len = usize::try_from(verified.header().data_sectors().bytes()).unwrap_or(usize::MAX);
    if len > BUFFER_LEN {
        drop(verified);
        return Ok(Decoded::Large { chunk, at });
    }
    let mut collect = Collect(Vec::new());
    match decoder.decode(&verified, &mut collect) {
        Ok(()) => {}
        Err(DecodeError::Format(error)) => return Err(error.into()),
        Err(DecodeError::Sink(never)) => match never {},
    }
    Ok(Decoded::Pieces { pieces: collect.0, end_bytes: verified.header().end_bytes() })
}

struct Collect(Vec<(Sector, Vec<u8>)>);

impl RegionSink for Collect {
    type Error = std::convert::Infallible;

    fn data(&mut self, start: Sector, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.push((start, bytes.to_vec()));
        Ok(())
    }

    fn zero(&mut self, _: SectorRange) -> Result<(), Self::Error> {
        Ok(()) // everything that is not data is written as zeros
    }
}

struct Writer<'a> {
    out: &'a mut Output,
    /// Bytes written so far.
    position: u64,
    /// Nothing is written beyond: where a file ends inside its last sector.
    limit: u64,
    progress: &'a Progress,
}

impl Writer<'_> {
    fn write(&mut self, decoded: Decoded, decoder: &mut Decoder) -> Result<(), StreamError> {
        match decoded {
            Decoded::Pieces { pieces, end_bytes } => {
                self.set_limit(end_bytes);
                pieces.iter().try_for_each(|(start, bytes)| self.put(*start, bytes))?;
            }
            Decoded::Large { chunk, at } => {
                let verified = VerifiedChunk::verify(&chunk, at).map_err(LoadError::from)?;
                self.set_limit(verified.header().end_bytes());
                decoder.decode(&verified, self).map_err(|error| match error {
                    DecodeError::Format(error) => LoadError::from(error).into(),
                    DecodeError::Sink(error) => StreamError::from(error),
                })?;
            }
        }
        Ok(())
    }

    fn set_limit(&mut self, end_bytes: u64) {
        // Only a file that ends inside a sector has such an end.
        self.limit = if end_bytes.is_multiple_of(SECTOR_SIZE) { u64::MAX } else { end_bytes };
    }

    fn put(&mut self, start: Sector, bytes: &[u8]) -> Result<(), OutputError> {
        self.zeros_up_to(start.byte_offset())?;
        self.append(bytes)
    }

    fn zeros_up_to(&mut self, offset: u64) -> Result<(), OutputError> {
        while self.position < offset {
            let len = usize::try_from(offset - self.position).unwrap_or(usize::MAX);
            self.append(ZEROS.get(..len).unwrap_or(&ZEROS))?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        let room = usize::try_from(self.limit.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let real = bytes.get(..room).unwrap_or(bytes);
        self.progress.time(Stage::Output, || self.out.append(real))?;
        self.position += u64::try_from(bytes.len()).unwrap_or(0);
        self.progress.done_bytes.store(self.position, Relaxed);
        Ok(())
    }
}

impl RegionSink for Writer<'_> {
    type Error = OutputError;

    fn data(&mut self, start: Sector, bytes: &[u8]) -> Result<(), OutputError> {
        self.put(start, bytes)
    }

    fn zero(&mut self, _: SectorRange) -> Result<(), OutputError> {
        Ok(())
    }
}
