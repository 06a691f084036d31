//! An image as a row of chunks: a file that can be read at any place, or a stream.
//!
//! What it owns: where chunks come from, and the check of the whole set of headers before the
//! first one is used, where that is possible. What it never does: decode.

use super::LoadError;
use crate::ndz::error::Place;
use crate::ndz::{
    CHUNK_LEN, CHUNK_SIZE, ChunkHeader, FormatError, ImageInfo, ImageSet, LEGACY_HEADER_AREA,
    NATIVE_HEADER_AREA_MAX,
};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// An image to be read from.
pub struct ImageInput {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    /// Chunks can be read in any order; the number of whole chunks is known.
    Seekable { file: File, chunks: u64, next: Mutex<u64> },
    /// Chunks come one after another; headers are checked as they come.
    Stream(Box<Mutex<Stream>>),
}

struct Stream {
    reader: Box<dyn Read + Send>,
    position: u64,
    set: Option<ImageSet>,
}

impl ImageInput {
    /// Opens an image; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be read, or its length is not that of whole chunks.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        if path.as_os_str() == "-" {
            return Ok(Self::stream(Box::new(io::stdin())));
        }
        let failed = |source| LoadError::Image { path: path.into(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if !metadata.is_file() {
            return Ok(Self { path: path.into(), ..Self::stream(Box::new(file)) });
        }
        let (len, rest) = (metadata.len(), metadata.len() % CHUNK_SIZE);
        if rest != 0 || len == 0 {
            let found = format!("{len} bytes ({} whole chunks and {rest} bytes)", len / CHUNK_SIZE);
            let expected = "a multiple of 1048576 bytes (the image is cut off, or is no image)";
            return Err(FormatError::corrupt(Place::IMAGE, "length", expected, found).into());
        }
        let next = Mutex::new(0);
        let kind = Kind::Seekable { file, chunks: len / CHUNK_SIZE, next };
        Ok(Self { path: path.into(), kind })
    }

    /// An image that arrives as a stream.
    pub fn stream(reader: Box<dyn Read + Send>) -> Self {
        let set = Some(ImageSet::new());
        let stream = Stream { reader, position: 0, set };
        Self { path: "-".into(), kind: Kind::Stream(Box::new(Mutex::new(stream))) }
    }

    /// Chunks in it, when that is known before reading it all.
    pub fn chunks(&self) -> Option<u64> {
        match &self.kind {
            Kind::Seekable { chunks, .. } => Some(*chunks),
            Kind::Stream(_) => None,
        }
    }

    /// Checks the headers of all chunks; `None` for a stream, whose headers are checked as they
    /// come.
    ///
    /// # Errors
    /// When the image is not whole, or cannot be read.
    pub fn check_headers(&self) -> Result<Option<ImageInfo>, LoadError> {
        let Kind::Seekable { chunks, .. } = &self.kind else { return Ok(None) };
        let mut set = ImageSet::new();
        for index in 0..*chunks {
            set.push(&self.header(index)?)?;
        }
        Ok(Some(set.finish()?))
    }

    /// The header of a chunk of a seekable image.
    ///
    /// # Errors
    /// When it cannot be read or is not sound.
    pub fn header(&self, index: u64) -> Result<ChunkHeader, LoadError> {
        let mut area = vec![0; LEGACY_HEADER_AREA];
        self.read_at(&mut area, index)?;
        match ChunkHeader::parse(&area, index) {
            Err(_) if area.starts_with(b"NDZ2") => {
                // A larger header area, perhaps: only fragmented disks have one.
                area.resize(NATIVE_HEADER_AREA_MAX, 0);
                self.read_at(&mut area, index)?;
                Ok(ChunkHeader::parse(&area, index)?)
            }
            other => Ok(other?),
        }
    }

    /// Fills `buf` with the start of a chunk of a seekable image.
    ///
    /// # Errors
    /// When it cannot be read, or the image is a stream.
    pub fn read_at(&self, buf: &mut [u8], index: u64) -> Result<(), LoadError> {
        match &self.kind {
            Kind::Seekable { file, .. } => {
                file.read_exact_at(buf, index * CHUNK_SIZE).map_err(|source| self.failed(source))
            }
            Kind::Stream(_) => Err(self.failed(io::ErrorKind::NotSeekable.into())),
        }
    }

    /// Reads the next chunk that no other caller has taken into `chunk` ([`CHUNK_LEN`] bytes) and
    /// returns its position; `None` after the last one. Called by many threads.
    ///
    /// # Errors
    /// When it cannot be read, or a stream ends inside a chunk or is not one whole image.
    pub fn next_chunk(&self, chunk: &mut [u8]) -> Result<Option<u64>, LoadError> {
        match &self.kind {
            Kind::Seekable { chunks, next, .. } => {
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                let index = *next;
                if index == *chunks {
                    return Ok(None);
                }
                *next += 1;
                drop(next);
                self.read_at(chunk, index)?;
                Ok(Some(index))
            }
            Kind::Stream(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                self.next_of_stream(&mut stream, chunk)
            }
        }
    }

    /// What the headers of a stream told, when all of it has been read.
    ///
    /// # Errors
    /// When the image is not whole.
    pub fn finish_stream(&self) -> Result<Option<ImageInfo>, LoadError> {
        let Kind::Stream(stream) = &self.kind else { return Ok(None) };
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(stream.set.take().map(ImageSet::finish).transpose()?)
    }

    fn next_of_stream(
        &self,
        stream: &mut Stream,
        chunk: &mut [u8],
    ) -> Result<Option<u64>, LoadError> {
        let position = stream.position;
        let mut filled = 0;
        while let Some(room) = chunk.get_mut(filled..).filter(|room| !room.is_empty()) {
            match stream.reader.read(room) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => {
                    let expected = format!("{CHUNK_LEN} bytes (the image is cut off)");
                    let place = Place::chunk(position);
                    return Err(FormatError::corrupt(place, "length", expected, filled).into());
                }
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        let header = ChunkHeader::parse(chunk, position)?;
        if let Some(set) = &mut stream.set {
            set.push(&header)?;
        }
        stream.position += 1;
        Ok(Some(position))
    }

    fn failed(&self, source: io::Error) -> LoadError {
        LoadError::Image { path: self.path.clone(), source }
    }
}
