//! Uploads into an object store.
//!
//! What it owns: the parts of a multipart upload, sent while the bytes arrive, and its two ends:
//! completed, when the whole image has arrived and proved sound, or aborted. Until it is completed
//! nothing can be seen of it. A small file that says which multipart uploads are under way is kept
//! in the cache folder: what a killed process leaves is aborted by the next one. What it never
//! does: keep a broken upload; only the reason is kept.

use super::work::{Pending, wait};
use super::{BucketStore, entry};
use crate::intake::Intake;
use crate::upload::Destination;
use crate::{Entry, ImageName, StoreError, Upload, UploadId, UploadOptions};
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartId, ObjectStoreExt, PutPayload};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Smallest part, in bytes. Object stores want 5 MiB or more.
const PART_LEN_MIN: usize = 8 << 20;

/// After this many parts they get twice as long, so that 10 000 parts, the most that there may be,
/// hold the largest object there may be.
const PARTS_PER_LENGTH: usize = 1000;

/// Most bytes on their way, unless that is less than two parts.
const UNDER_WAY_MAX: usize = 64 << 20;

/// Suspended uploads kept. There is one of each name at most.
const PARKED_MAX: usize = 16;

/// Longest journal that is read.
const JOURNAL_LEN_MAX: u64 = 16 << 10;

/// Who uploads what.
#[derive(Default)]
pub(super) struct Uploads {
    active: HashMap<ImageName, UploadId>,
    parked: HashMap<UploadId, Parked>,
}

/// A suspended upload.
struct Parked {
    state: State,
    intake: Intake,
    options: UploadOptions,
    since: Instant,
}

/// What has been sent of an upload.
struct State {
    id: UploadId,
    name: ImageName,
    path: Path,
    /// The multipart upload, once there is one, and its journal.
    multipart: Option<(MultipartId, Journal)>,
    sent: Vec<PartId>,
    under_way: VecDeque<Pending<Result<PartId, Error>>>,
    /// The next part.
    buffer: Vec<u8>,
}

/// A multipart upload under way, in the cache folder. The lock on the file is held as long as the
/// upload can go on.
struct Journal {
    path: PathBuf,
    file: File,
}

/// What the file says.
#[derive(Deserialize, Serialize)]
struct JournalBody {
    key: String,
    multipart: String,
}

/// An upload into an object store.
struct Parts {
    store: Arc<BucketStore>,
    options: UploadOptions,
    /// Gone when the upload is parked or has ended.
    state: Option<State>,
}

impl BucketStore {
    pub(crate) fn begin_upload(
        store: &Arc<Self>,
        name: &ImageName,
        options: UploadOptions,
    ) -> Result<Upload, StoreError> {
        let path = store.path(name)?;
        let replaces = store.find(name)?.map_or(0, |old| old.bytes);
        store.sweep();
        let id = options.resume.unwrap_or_else(UploadId::random);
        let mut uploads = store.uploads();
        if uploads.active.contains_key(name) {
            return Err(StoreError::Busy { name: name.clone() });
        }
        let (state, intake, options) = if options.resume.is_some() {
            let missing = || StoreError::NoSuchUpload { name: name.clone(), id };
            let parked = uploads.parked.get(&id).ok_or_else(missing)?;
            let old = &parked.options;
            let other = matches!((old.bytes, options.bytes), (Some(a), Some(b)) if a != b);
            if parked.state.name != *name || old.image != options.image || other {
                return Err(missing());
            }
            let parked = uploads.parked.remove(&id).ok_or_else(missing)?;
            let bytes = options.bytes.or(parked.options.bytes);
            (parked.state, parked.intake, UploadOptions { bytes, ..options })
        } else {
            let state = State {
                id,
                name: name.clone(),
                path,
                multipart: None,
                sent: Vec::new(),
                under_way: VecDeque::new(),
                buffer: Vec::new(),
            };
            let pool = options.image.then(|| Arc::clone(&store.pool));
            (state, Intake::new(name.clone(), pool), options)
        };
        uploads.active.insert(name.clone(), id);
        drop(uploads);
        store.ledger().enter(id, replaces);
        store.recount();
        let known = options.bytes.unwrap_or(0).max(intake.position());
        let parts =
            Parts { store: Arc::clone(store), options: options.clone(), state: Some(state) };
        let room = store.ledger().grow(id, name, known, store.options.quota_bytes);
        if let Err(error) = room {
            let resumed = options.resume.is_some();
            Box::new(parts).suspend(resumed.then_some(intake));
            return Err(error);
        }
        Ok(Upload::new(id, &options, name.clone(), intake, Box::new(parts)))
    }

    /// Aborts suspended uploads that nobody went on with in time.
    pub(crate) fn sweep(&self) {
        let mut uploads = self.uploads();
        let late = |parked: &Parked| parked.since.elapsed() >= self.options.unfinished_for;
        let late: Vec<UploadId> =
            uploads.parked.iter().filter(|(_, p)| late(p)).map(|(id, _)| *id).collect();
        let late: Vec<Parked> = late.iter().filter_map(|id| uploads.parked.remove(id)).collect();
        drop(uploads);
        for parked in late {
            let name = parked.state.name.clone();
            tracing::info!("an upload of {name} left unfinished is given up");
            if let Err(error) = self.abort(parked.state) {
                tracing::warn!("the parts of an upload of {name} stay in the bucket: {error}");
            }
        }
    }

    /// Aborts what a process that was killed left under way.
    pub(super) fn abort_leftovers(&self) {
        let Ok(items) = fs::read_dir(&self.journals) else { return };
        for path in items.flatten().map(|item| item.path()) {
            if let Err(error) = self.abort_leftover(&path) {
                tracing::warn!("cannot abort the upload of {}: {error}", path.display());
            }
        }
    }

    fn abort_leftover(&self, path: &PathBuf) -> io::Result<()> {
        let file = File::open(path)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(()); // its process lives
        }
        let mut text = String::new();
        file.take(JOURNAL_LEN_MAX).read_to_string(&mut text)?;
        if let Ok(body) = serde_json::from_str::<JournalBody>(&text)
            && let Ok(key) = Path::parse(&body.key)
        {
            self.abort_multipart(key, body.multipart)?;
        }
        fs::remove_file(path)
    }

    /// Aborts a multipart upload; one that is not there any more is as good.
    fn abort_multipart(&self, path: Path, id: MultipartId) -> io::Result<()> {
        let s3 = Arc::clone(&self.s3);
        self.work.run(async move {
            match s3.abort_multipart(&path, &id).await {
                Err(Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        })
    }

    /// Forgets an upload.
    fn abort(&self, state: State) -> io::Result<()> {
        // Parts under way would be left over if they ended after the abort.
        for pending in &state.under_way {
            let _ = wait(pending);
        }
        if let Some((id, journal)) = state.multipart {
            self.abort_multipart(state.path, id)?;
            fs::remove_file(&journal.path)?;
        }
        Ok(())
    }
}

impl Drop for BucketStore {
    fn drop(&mut self) {
        let parked: Vec<Parked> = self.uploads().parked.drain().map(|(_, parked)| parked).collect();
        for parked in parked {
            // What fails here is done by the next process.
            let _ = self.abort(parked.state);
        }
    }
}

/// The length of a part, by its number.
fn part_len(number: usize) -> usize {
    let doublings = u32::try_from(number / PARTS_PER_LENGTH).unwrap_or(u32::MAX).min(9);
    PART_LEN_MIN << doublings
}

impl State {
    /// Sends the buffer as the next part.
    fn send(&mut self, store: &BucketStore) -> Result<(), StoreError> {
        let failed = |name: &ImageName, error| StoreError::io(format!("send {name}"), error);
        if self.multipart.is_none() {
            let (s3, path) = (Arc::clone(&store.s3), self.path.clone());
            let made = Journal::create(store, self.id).and_then(|mut journal| {
                let id = store.work.run(async move { s3.create_multipart(&path).await })?;
                journal.write(&self.path, &id)?;
                Ok((id, journal))
            });
            self.multipart = Some(made.map_err(|error| failed(&self.name, error))?);
        }
        let Some((id, _)) = &self.multipart else { return Ok(()) };
        let number = self.sent.len() + self.under_way.len();
        let len = part_len(number);
        while self.under_way.len() >= 2 && (self.under_way.len() + 1) * len > UNDER_WAY_MAX {
            // The oldest first: parts stay in order.
            let Some(pending) = self.under_way.pop_front() else { break };
            self.sent.push(wait(&pending).map_err(|error| failed(&self.name, error))?);
        }
        let bytes = std::mem::take(&mut self.buffer);
        let (s3, path, id): (Arc<AmazonS3>, _, _) =
            (Arc::clone(&store.s3), self.path.clone(), id.clone());
        let number = self.sent.len() + self.under_way.len();
        self.under_way.push_back(
            store.work.start(async move {
                s3.put_part(&path, &id, number, PutPayload::from(bytes)).await
            }),
        );
        Ok(())
    }

    /// Sends the rest and puts it all in its place, in one step.
    fn complete(&mut self, store: &BucketStore) -> Result<(), StoreError> {
        let failed = |name: &ImageName, error| StoreError::io(format!("send {name}"), error);
        let s3 = Arc::clone(&store.s3);
        if self.multipart.is_none() {
            let (path, bytes) = (self.path.clone(), std::mem::take(&mut self.buffer));
            let put = async move { s3.put(&path, PutPayload::from(bytes)).await };
            store.work.run(put).map_err(|error| failed(&self.name, error))?;
            return Ok(());
        }
        if !self.buffer.is_empty() {
            self.send(store)?;
        }
        while let Some(pending) = self.under_way.pop_front() {
            self.sent.push(wait(&pending).map_err(|error| failed(&self.name, error))?);
        }
        let Some((id, _)) = &self.multipart else { return Ok(()) };
        let (path, id, parts) = (self.path.clone(), id.clone(), self.sent.clone());
        store
            .work
            .run(async move { s3.complete_multipart(&path, &id, parts).await })
            .map_err(|error| failed(&self.name, error))?;
        if let Some((_, journal)) = self.multipart.take() {
            let _ = fs::remove_file(&journal.path); // aborting what is complete does no harm
        }
        Ok(())
    }
}

impl Journal {
    fn create(store: &BucketStore, id: UploadId) -> io::Result<Self> {
        let path = store.journals.join(format!("{id}.json"));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, file })
    }

    fn write(&mut self, key: &Path, id: &MultipartId) -> io::Result<()> {
        let body = JournalBody { key: key.to_string(), multipart: id.clone() };
        self.file.write_all(&serde_json::to_vec(&body)?)?;
        self.file.sync_all()
    }
}

impl Destination for Parts {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(state) = &mut self.state else { return Ok(()) };
        let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let quota = self.store.options.quota_bytes;
        self.store.ledger().grow(state.id, &state.name, end, quota)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = part_len(state.sent.len() + state.under_way.len());
            let (now, later) =
                rest.split_at(rest.len().min(len.saturating_sub(state.buffer.len())));
            state.buffer.extend_from_slice(now);
            rest = later;
            if state.buffer.len() >= len {
                state.send(&self.store)?;
            }
        }
        Ok(())
    }

    fn make_durable(&mut self, bytes: u64) -> Result<u64, StoreError> {
        Ok(bytes) // in our memory or theirs
    }

    fn publish(&mut self, bytes: u64) -> Result<Entry, StoreError> {
        let Some(state) = &mut self.state else {
            return Err(StoreError::io("publish", io::Error::other("the upload has ended")));
        };
        state.complete(&self.store)?;
        let name = state.name.clone();
        self.release();
        let missing = || StoreError::NoSuchImage { name: name.clone() };
        let meta = self.store.head(&name)?.ok_or_else(missing)?;
        if meta.size != bytes {
            let why = format!("{bytes} bytes were sent, but the store has {}", meta.size);
            return Err(StoreError::io(format!("publish {name}"), io::Error::other(why)));
        }
        Ok(entry(name, &meta))
    }

    fn suspend(mut self: Box<Self>, intake: Option<Intake>) {
        let Some(state) = self.state.take() else { return };
        let (id, name) = (state.id, state.name.clone());
        let mut uploads = self.store.uploads();
        uploads.active.remove(&name);
        let same = |parked: &Parked| parked.state.name == name;
        // The earlier one of the same name has no future.
        let earlier = uploads.parked.iter().find(|(_, p)| same(p)).map(|(id, _)| *id);
        let mut dropped: Vec<_> = earlier
            .and_then(|id| uploads.parked.remove(&id))
            .into_iter()
            .map(|p| p.state)
            .collect();
        match intake {
            Some(intake) if uploads.parked.len() < PARKED_MAX => {
                let (options, since) = (self.options.clone(), Instant::now());
                uploads.parked.insert(id, Parked { state, intake, options, since });
            }
            _ => dropped.push(state),
        }
        drop(uploads);
        self.store.ledger().end(id);
        for state in dropped {
            if let Err(error) = self.store.abort(state) {
                tracing::warn!("the parts of an upload of {name} stay in the bucket: {error}");
            }
        }
    }

    fn set_aside(mut self: Box<Self>, reason: &str) -> Result<(), StoreError> {
        let Some(state) = self.state.take() else { return Ok(()) };
        let (id, name) = (state.id, state.name.clone());
        self.forget(id, &name);
        let text = format!(
            "name:   {name}\nreason: {reason}\n\
             This upload was not published, and its bytes are not kept.\n"
        );
        tracing::warn!("upload of {name} not published: {reason}");
        let aborted = self.store.abort(state);
        let s3 = Arc::clone(&self.store.s3);
        let failed = |error| StoreError::io(format!("set aside {name}"), error);
        let key = self.store.key(&format!(".aside/{id}.txt")).map_err(io::Error::other);
        let key = key.map_err(failed)?;
        self.store
            .work
            .run(async move { s3.put(&key, PutPayload::from(text.into_bytes())).await })
            .map_err(failed)?;
        aborted.map_err(failed)
    }

    fn discard(mut self: Box<Self>) -> Result<(), StoreError> {
        let Some(state) = self.state.take() else { return Ok(()) };
        let (id, name) = (state.id, state.name.clone());
        self.forget(id, &name);
        self.store
            .abort(state)
            .map_err(|error| StoreError::io(format!("remove an upload of {name}"), error))
    }
}

impl Parts {
    /// The upload has ended: the image can be written by others, and what was begun before is out
    /// of date.
    fn release(&mut self) {
        let Some(state) = self.state.take() else { return };
        let mut uploads = self.store.uploads();
        let older: Vec<UploadId> = uploads
            .parked
            .iter()
            .filter(|(_, parked)| parked.state.name == state.name)
            .map(|(id, _)| *id)
            .collect();
        let older: Vec<Parked> = older.iter().filter_map(|id| uploads.parked.remove(id)).collect();
        drop(uploads);
        self.forget(state.id, &state.name);
        for parked in older {
            if let Err(error) = self.store.abort(parked.state) {
                tracing::warn!("parts of an older upload stay in the bucket: {error}");
            }
        }
    }

    fn forget(&self, id: UploadId, name: &ImageName) {
        self.store.uploads().active.remove(name);
        self.store.ledger().end(id);
        self.store.recount();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_the_largest_object() {
        let total: u64 = (0..10_000).map(|n| u64::try_from(part_len(n)).unwrap()).sum();
        assert!(total > 5 << 40, "{total}");
        assert_eq!(part_len(0), 8 << 20);
        // Never much of the whole is in memory.
        assert_eq!(part_len(usize::MAX), 4 << 30);
    }
}
