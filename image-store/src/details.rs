//! What an image holds, as imagedump tells it.
//!
//! What it owns: reading the headers of a stored image, and remembering what they told as long as
//! the image stays the same. What it never does: inflate a payload; that was done when the image
//! arrived, if it came through this server.

use crate::{Entry, ImageName, Published, Source, StoreError};
use imagezip::ndz::image::id_text;
use imagezip::ndz::{
    CHUNK_LEN, CHUNK_SIZE, ChunkHeader, FormatError, ImageInfo, ImageSet, LEGACY_HEADER_AREA,
    NATIVE_HEADER_AREA_MAX,
};
use serde::Serialize;
use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Images remembered.
const REMEMBERED_MAX: usize = 4096;

/// What an image holds. The names are those of `imagedump --json`. What cannot be told without
/// reading every header is missing for an object that lies in an object store.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Details {
    /// Version of the format: `v1` to `v6` or `native`.
    pub format: String,
    /// How payloads are compressed.
    pub codec: String,
    /// The image's UUID, if it has one.
    pub image_id: Option<String>,
    /// Its own length.
    pub image_bytes: u64,
    /// Chunks of 1 MiB.
    pub chunks: u64,
    /// Length of the disk, partition or file that it was made of.
    pub source_bytes: u64,
    /// True for one partition; only native images say so.
    pub slice: Option<bool>,
    /// Logical sector of the source; only native images say so.
    pub logical_sector_bytes: Option<u32>,
    /// Bytes of the source that are in the image.
    pub data_bytes: Option<u64>,
    /// Bytes recorded as zero.
    pub zero_bytes: Option<u64>,
    /// Runs of sectors.
    pub regions: Option<u64>,
    /// Records that tell a loader to adjust something.
    pub relocations: Option<u64>,
    /// Compressed bytes.
    pub payload_bytes: Option<u64>,
    /// Chunks whose damage would be noticed for certain.
    pub chunks_with_digest: Option<u64>,
    /// Every header was read, and they are those of one whole image.
    pub headers_checked: bool,
}

impl From<&ImageInfo> for Details {
    fn from(info: &ImageInfo) -> Self {
        Self {
            format: info.version.to_string(),
            codec: info.codec.to_string(),
            image_id: info.image_id.map(|id| id_text(Some(id))),
            image_bytes: info.image_bytes(),
            chunks: info.chunks,
            source_bytes: info.source_bytes,
            slice: info.native.map(|native| native.slice),
            logical_sector_bytes: info.native.map(|native| native.logical_sector_bytes),
            data_bytes: Some(info.data.bytes()),
            zero_bytes: Some(info.zero.bytes()),
            regions: Some(info.regions),
            relocations: Some(info.relocation_count),
            payload_bytes: Some(info.payload_bytes),
            chunks_with_digest: Some(info.chunks_with_digest),
            headers_checked: true,
        }
    }
}

/// What is known of images, by name. A file that is no image is remembered, too.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<HashMap<ImageName, Known>>);

/// What is known of one image.
#[derive(Debug)]
struct Known {
    entry: Entry,
    details: Result<Arc<Details>, String>,
}

impl Remembered {
    /// What `source` holds, if it was looked at before.
    pub(crate) fn get(&self, entry: &Entry) -> Option<Result<Arc<Details>, StoreError>> {
        let images = self.lock();
        let known = images.get(&entry.name).filter(|known| known.entry == *entry)?;
        Some(known.details.clone().map_err(|why| StoreError::broken(&entry.name, why)))
    }

    /// Remembers what an image holds.
    fn put(&self, entry: &Entry, details: Result<Arc<Details>, String>) {
        let mut images = self.lock();
        if images.len() >= REMEMBERED_MAX && !images.contains_key(&entry.name) {
            images.clear(); // simple, and rare
        }
        images.insert(entry.name.clone(), Known { entry: entry.clone(), details });
    }

    /// Remembers what was found out while an image arrived.
    pub(crate) fn published(&self, published: &Published) {
        if let Some(info) = &published.info {
            self.put(&published.entry, Ok(Arc::new(Details::from(info))));
        }
    }

    /// Looks at an image.
    pub(crate) fn look(&self, source: &Source) -> Result<Arc<Details>, StoreError> {
        let entry = source.entry();
        let details = if source.is_local() { all_headers(source) } else { two_headers(source) };
        match details {
            Ok(details) => {
                let details = Arc::new(details);
                self.put(entry, Ok(Arc::clone(&details)));
                Ok(details)
            }
            Err(Trouble::Format(why)) => {
                self.put(entry, Err(why.clone()));
                Err(StoreError::broken(&entry.name, why))
            }
            Err(Trouble::Io(error)) => Err(StoreError::io(format!("read {}", entry.name), error)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ImageName, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing can be told.
enum Trouble {
    Format(String),
    Io(std::io::Error),
}

impl From<FormatError> for Trouble {
    fn from(error: FormatError) -> Self {
        Self::Format(error.to_string())
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whole chunks in a file.
fn chunks(source: &Source) -> Result<u64, Trouble> {
    let bytes = source.bytes();
    if bytes == 0 || !bytes.is_multiple_of(CHUNK_SIZE) {
        let why = format!("{bytes} bytes are no whole number of chunks of {CHUNK_LEN} bytes");
        return Err(Trouble::Format(why));
    }
    Ok(bytes / CHUNK_SIZE)
}

fn all_headers(source: &Source) -> Result<Details, Trouble> {
    let mut set = ImageSet::new();
    for chunk in 0..chunks(source)? {
        set.push(&header(source, chunk)?)?;
    }
    Ok(Details::from(&set.finish()?))
}

/// The headers between would each cost a request.
fn two_headers(source: &Source) -> Result<Details, Trouble> {
    let count = chunks(source)?;
    let first = header(source, 0)?;
    let last = header(source, count - 1)?;
    if last.version != first.version || last.image_id != first.image_id {
        return Err(Trouble::Format("the last chunk belongs to another image".into()));
    }
    let native = first.native;
    if native.is_some() && !last.native.is_some_and(|native| native.last) {
        return Err(Trouble::Format("the image is cut off: its last chunk is not there".into()));
    }
    Ok(Details {
        format: first.version.to_string(),
        codec: first.codec.to_string(),
        image_id: first.image_id.map(|id| id_text(Some(id))),
        image_bytes: source.bytes(),
        chunks: count,
        source_bytes: native.map_or_else(|| last.end_bytes(), |native| native.source_bytes),
        slice: native.map(|native| native.slice),
        logical_sector_bytes: native.map(|native| native.logical_sector_bytes),
        data_bytes: None,
        zero_bytes: None,
        regions: None,
        relocations: None,
        payload_bytes: None,
        chunks_with_digest: None,
        headers_checked: false,
    })
}

fn header(source: &Source, chunk: u64) -> Result<ChunkHeader, Trouble> {
    let at = chunk.saturating_mul(CHUNK_SIZE);
    source.fetch(at, CHUNK_SIZE)?;
    let mut area = vec![0; LEGACY_HEADER_AREA];
    source.file().read_exact_at(&mut area, at)?;
    match ChunkHeader::parse(&area, chunk) {
        Err(_) if area.starts_with(b"NDZ2") => {
            // A larger header area, perhaps: only fragmented disks have one.
            area.resize(NATIVE_HEADER_AREA_MAX, 0);
            source.file().read_exact_at(&mut area, at)?;
            Ok(ChunkHeader::parse(&area, chunk)?)
        }
        other => Ok(other?),
    }
}
