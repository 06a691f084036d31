//! Parts of objects, kept on the local disk while they are served.
//!
//! What it owns: one sparse file for each object in use or used lately, and which of its chunks are
//! there. A chunk is fetched once, however many ask for it. The object is pinned by its ETag (and
//! its version, where the bucket keeps versions): bytes of two objects never get mixed. The files
//! have no name, so that nothing of them is left when the process ends, however it ends. What it
//! never does: take away what somebody reads; room is made by objects that nobody holds.

use super::work::{Pending, Work, wait};
use crate::{Entry, ImageName, StoreError};
use bytes::Bytes;
use imagezip::ndz::CHUNK_SIZE;
use imagezip::units::HumanBytes;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Most chunks in one request.
const RUN_CHUNKS_MAX: u64 = 8;

/// Most requests of one caller at a time.
const RUNS_MAX: usize = 4;

/// The local copies.
pub(super) struct Cache {
    dir: PathBuf,
    bytes_max: u64,
    /// The one used last stands last.
    objects: Mutex<VecDeque<Arc<Object>>>,
}

/// What pins an object.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    pub(super) path: Path,
    pub(super) e_tag: String,
    pub(super) version: Option<String>,
}

/// An object and its local copy.
pub(crate) struct Object {
    entry: Entry,
    pin: Pin,
    file: File,
    s3: Arc<AmazonS3>,
    work: Arc<Work>,
    /// One bit a chunk.
    here: Vec<AtomicU64>,
    /// Chunks that somebody is fetching.
    coming: Mutex<BTreeSet<u64>>,
    arrived: Condvar,
}

impl Cache {
    pub(super) fn new(dir: PathBuf, bytes_max: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        tempfile::tempfile_in(&dir)?; // better now than when somebody waits for an image
        Ok(Self { dir, bytes_max, objects: Mutex::default() })
    }

    /// The local copy of this object, perhaps still empty. The object's whole length is set
    /// aside for it.
    pub(super) fn open(
        &self,
        entry: Entry,
        pin: Pin,
        (s3, work): (&Arc<AmazonS3>, &Arc<Work>),
    ) -> Result<Arc<Object>, StoreError> {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |object: &Arc<Object>| {
            object.entry.name == entry.name && object.entry.version == entry.version
        };
        if let Some(object) = objects.iter().position(same).and_then(|at| objects.remove(at)) {
            objects.push_back(Arc::clone(&object));
            return Ok(object);
        }
        self.make_room(&mut objects, &entry.name, entry.bytes)?;
        let failed = |error| StoreError::writing(&entry.name, error);
        let file = tempfile::tempfile_in(&self.dir).map_err(failed)?;
        file.set_len(entry.bytes).map_err(failed)?;
        let words = entry.bytes.div_ceil(CHUNK_SIZE).div_ceil(64);
        let words = usize::try_from(words).unwrap_or(usize::MAX);
        let object = Arc::new(Object {
            entry,
            pin,
            file,
            s3: Arc::clone(s3),
            work: Arc::clone(work),
            here: std::iter::repeat_with(AtomicU64::default).take(words).collect(),
            coming: Mutex::default(),
            arrived: Condvar::new(),
        });
        objects.push_back(Arc::clone(&object));
        Ok(object)
    }

    /// Forgets objects that nobody holds, the longest unused first, until `bytes` more have room.
    fn make_room(
        &self,
        objects: &mut VecDeque<Arc<Object>>,
        name: &ImageName,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let limit = self.bytes_max;
        let used = |objects: &VecDeque<Arc<Object>>| {
            objects.iter().fold(0_u64, |sum, object| sum.saturating_add(object.entry.bytes))
        };
        while used(objects).saturating_add(bytes) > limit {
            // Clones are made under the lock that we hold: what has none gets none.
            let unused = objects.iter().position(|object| Arc::strong_count(object) == 1);
            if unused.and_then(|at| objects.remove(at)).is_none() {
                let why = format!(
                    "the image is {} long, and {} of the cache's {} are in use; make the cache larger",
                    HumanBytes(bytes),
                    HumanBytes(used(objects)),
                    HumanBytes(limit)
                );
                return Err(StoreError::Full { name: name.clone(), why });
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Object({:?})", self.entry)
    }
}

impl Object {
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// True when all of these bytes are in the file.
    pub(crate) fn is_here(&self, offset: u64, len: u64) -> bool {
        self.chunks(offset, len).all(|chunk| self.has(chunk))
    }

    /// Fetches what is missing of these bytes, in whole chunks.
    pub(crate) fn fetch(&self, offset: u64, len: u64) -> io::Result<()> {
        let wanted = self.chunks(offset, len);
        loop {
            let mut coming = self.coming();
            let missing: Vec<u64> = wanted.clone().filter(|chunk| !self.has(*chunk)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            let mine: Vec<u64> =
                missing.into_iter().filter(|chunk| !coming.contains(chunk)).collect();
            if mine.is_empty() {
                // Others are fetching them. If they fail, it is our turn.
                drop(self.arrived.wait(coming).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            coming.extend(&mine);
            drop(coming);
            let fetched = self.fetch_runs(&runs(&mine));
            let mut coming = self.coming();
            coming.retain(|chunk| !mine.contains(chunk));
            drop(coming);
            self.arrived.notify_all();
            fetched?;
        }
    }

    /// Fetches runs of chunks, several at a time, each as soon as there is a free place.
    fn fetch_runs(&self, runs: &[Range<u64>]) -> io::Result<()> {
        let mut waiting = runs.iter();
        let mut under_way: VecDeque<(Range<u64>, Pending<_>)> = VecDeque::new();
        loop {
            while under_way.len() < RUNS_MAX
                && let Some(run) = waiting.next()
            {
                under_way.push_back((run.clone(), self.request(run)));
            }
            let Some((run, pending)) = under_way.pop_front() else { return Ok(()) };
            let bytes = wait(&pending).map_err(|error| self.explain(error))?;
            self.keep(&run, &bytes)?;
        }
    }

    /// Asks for a run of chunks.
    fn request(&self, run: &Range<u64>) -> Pending<Result<Bytes, object_store::Error>> {
        let range = self.byte_range(run);
        let (s3, pin, size) = (Arc::clone(&self.s3), self.pin.clone(), self.entry.bytes);
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: Some(pin.e_tag.clone()),
            version: pin.version.clone(),
            ..GetOptions::default()
        };
        self.work.start(async move {
            let found = s3.get_opts(&pin.path, options).await?;
            // Not every server minds what the request demands.
            let is_other = found.meta.e_tag.as_ref() != Some(&pin.e_tag) || found.meta.size != size;
            if is_other {
                let (path, source) = (pin.path.to_string(), "another object answers".into());
                return Err(object_store::Error::Precondition { path, source });
            }
            found.bytes().await
        })
    }

    /// Puts a run of chunks into the file.
    fn keep(&self, run: &Range<u64>, bytes: &[u8]) -> io::Result<()> {
        let range = self.byte_range(run);
        let expected = range.end - range.start;
        if u64::try_from(bytes.len()).ok() != Some(expected) {
            let found = bytes.len();
            let what = format!("the object store sent {found} of {expected} bytes asked for");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        self.file.write_all_at(bytes, range.start)?;
        for chunk in run.clone() {
            if let Some((word, bit)) = self.word(chunk) {
                // What was written is there before the bit says so.
                word.fetch_or(bit, Ordering::Release);
            }
        }
        let mut coming = self.coming();
        coming.retain(|chunk| !run.contains(chunk));
        drop(coming);
        self.arrived.notify_all();
        Ok(())
    }

    /// A replaced object is told apart from a store that fails.
    fn explain(&self, error: io::Error) -> io::Error {
        let inner = error.get_ref().and_then(|e| e.downcast_ref::<object_store::Error>());
        let name = &self.entry.name;
        match inner {
            Some(
                object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. },
            ) => {
                let what = format!(
                    "{name} was replaced or deleted in the object store while it was in use; \
                     open it again"
                );
                io::Error::new(io::ErrorKind::StaleNetworkFileHandle, what)
            }
            _ => io::Error::new(error.kind(), format!("cannot read {name}: {error}")),
        }
    }

    fn byte_range(&self, run: &Range<u64>) -> Range<u64> {
        let end = run.end.saturating_mul(CHUNK_SIZE).min(self.entry.bytes);
        run.start.saturating_mul(CHUNK_SIZE)..end
    }

    /// The chunks that hold these bytes, as far as the object goes.
    fn chunks(&self, offset: u64, len: u64) -> Range<u64> {
        let end = offset.saturating_add(len).min(self.entry.bytes);
        offset / CHUNK_SIZE..end.div_ceil(CHUNK_SIZE)
    }

    fn has(&self, chunk: u64) -> bool {
        self.word(chunk).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    fn word(&self, chunk: u64) -> Option<(&AtomicU64, u64)> {
        let word = usize::try_from(chunk / 64).ok()?;
        Some((self.here.get(word)?, 1 << (chunk % 64)))
    }

    fn coming(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Neighbours are fetched together.
fn runs(chunks: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for chunk in chunks {
        match runs.last_mut() {
            Some(run) if run.end == *chunk && run.end - run.start < RUN_CHUNKS_MAX => run.end += 1,
            _ => runs.push(*chunk..*chunk + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_fetched_together() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[3, 4, 6, 7, 8, 10]), [3..5, 6..9, 10..11]);
        let many: Vec<u64> = (0..20).collect();
        assert_eq!(runs(&many), [0..8, 8..16, 16..20]);
    }
}
