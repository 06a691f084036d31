//! Bytes of an upload on their way in.
//!
//! ```text
//! sender's bytes ─► chunk buffer ─► landing (disk, object store)
//!                                ├► digest of the whole file
//!                                └► checkers: verify, inflate ×N ─► headers, in order ─► image set
//! ```
//! What it owns: the cut into chunks, the digest, and the proof that what arrives is an image. A
//! chunk that is broken is noticed a few chunks later at most. What it never does: write to a disk.

mod pool;

pub(crate) use pool::CheckPool;

use crate::{ImageName, StoreError};
use crossbeam_channel::{Receiver, Sender, unbounded};
use imagezip::ndz::{CHUNK_LEN, ChunkHeader, ImageInfo, ImageSet};
use pool::{Checked, Job};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Takes what arrives, in order: bytes, and where in the file they stand.
pub(crate) type Landing<'a> = dyn FnMut(u64, &[u8]) -> Result<(), StoreError> + 'a;

/// What is known when all bytes are there.
pub(crate) struct Taken {
    /// BLAKE3 of all bytes.
    pub(crate) blake3: [u8; 32],
    /// What the headers tell, of an image.
    pub(crate) info: Option<ImageInfo>,
}

/// The state of an upload in memory.
pub(crate) struct Intake {
    name: ImageName,
    hasher: blake3::Hasher,
    checks: Option<Checks>,
    /// The chunk under way, from its start.
    buffer: Vec<u8>,
    /// Bytes of the chunks before it.
    whole: u64,
    /// Bytes handed to the landing.
    landed: u64,
}

impl Intake {
    /// Nothing yet. With `pool`, every chunk is checked.
    pub(crate) fn new(name: ImageName, pool: Option<Arc<CheckPool>>) -> Self {
        Self {
            name,
            hasher: blake3::Hasher::new(),
            checks: pool.map(Checks::new),
            buffer: Vec::with_capacity(CHUNK_LEN),
            whole: 0,
            landed: 0,
        }
    }

    /// Bytes taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.whole.saturating_add(to_u64(self.buffer.len()))
    }

    /// Bytes handed on so far.
    pub(crate) fn landed(&self) -> u64 {
        self.landed
    }

    /// Takes bytes that are already where they belong: an upload that is gone on with.
    pub(crate) fn take_again(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.take(bytes, &mut |_, _| Ok(()))?;
        self.landed = self.position();
        Ok(())
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8], to: &mut Landing<'_>) -> Result<(), StoreError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = CHUNK_LEN.saturating_sub(self.buffer.len());
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.buffer.extend_from_slice(now);
            rest = later;
            if self.buffer.len() == CHUNK_LEN {
                self.land(to)?;
                self.hasher.update(&self.buffer);
                let next = match &mut self.checks {
                    Some(checks) => checks.check(std::mem::take(&mut self.buffer), &self.name)?,
                    None => std::mem::take(&mut self.buffer),
                };
                self.buffer = next;
                self.buffer.clear();
                self.whole = self.whole.saturating_add(imagezip::ndz::CHUNK_SIZE);
            }
        }
        match &mut self.checks {
            Some(checks) => checks.collect(&self.name),
            None => Ok(()),
        }
    }

    /// Hands on what has not been handed on yet.
    pub(crate) fn land(&mut self, to: &mut Landing<'_>) -> Result<(), StoreError> {
        let done = usize::try_from(self.landed.saturating_sub(self.whole)).unwrap_or(usize::MAX);
        if let Some(new) = self.buffer.get(done..).filter(|new| !new.is_empty()) {
            to(self.landed, new)?;
            self.landed = self.position();
        }
        Ok(())
    }

    /// Waits for every chunk's verdict.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        match &mut self.checks {
            Some(checks) => checks.settle(&self.name),
            None => Ok(()),
        }
    }

    /// The end of the file: what is known of it now.
    pub(crate) fn finish(&mut self) -> Result<Taken, StoreError> {
        self.settle()?;
        let info = match self.checks.take() {
            None => None,
            Some(_) if !self.buffer.is_empty() => {
                let chunk = self.whole / imagezip::ndz::CHUNK_SIZE;
                let found = self.buffer.len();
                let why = format!("chunk {chunk}: cut off after {found} of {CHUNK_LEN} bytes");
                return Err(StoreError::broken(&self.name, why));
            }
            Some(checks) => {
                Some(checks.set.finish().map_err(|error| StoreError::broken(&self.name, error))?)
            }
        };
        self.hasher.update(&self.buffer);
        Ok(Taken { blake3: *self.hasher.finalize().as_bytes(), info })
    }
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Intake({} at {})", self.name, self.position())
    }
}

/// The chunks of an image on their way through the checkers.
struct Checks {
    pool: Arc<CheckPool>,
    set: ImageSet,
    /// Number of the next chunk to be handed in.
    next: u64,
    /// Handed in and not back.
    under_way: usize,
    /// Back before those before it.
    early: BTreeMap<u64, ChunkHeader>,
    /// Number of the next chunk for the set.
    wanted: u64,
    /// Buffers to be used again.
    free: Vec<Vec<u8>>,
    reply: Sender<Checked>,
    replies: Receiver<Checked>,
}

impl Checks {
    fn new(pool: Arc<CheckPool>) -> Self {
        let (reply, replies) = unbounded();
        Self {
            pool,
            set: ImageSet::new(),
            next: 0,
            under_way: 0,
            early: BTreeMap::new(),
            wanted: 0,
            free: Vec::new(),
            reply,
            replies,
        }
    }

    /// Hands in the next chunk; returns an empty buffer for the one after it.
    fn check(&mut self, chunk: Vec<u8>, name: &ImageName) -> Result<Vec<u8>, StoreError> {
        let job = Job { chunk, at: self.next, reply: self.reply.clone() };
        self.pool.check(job).map_err(|why| StoreError::io("check chunks", why))?;
        self.next += 1;
        self.under_way += 1;
        while self.under_way >= self.pool.depth() {
            self.collect_one(name)?;
        }
        Ok(self.free.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_LEN)))
    }

    /// Takes what has come back.
    fn collect(&mut self, name: &ImageName) -> Result<(), StoreError> {
        while let Ok(checked) = self.replies.try_recv() {
            self.accept(checked, name)?;
        }
        Ok(())
    }

    /// Waits until everything has come back.
    fn settle(&mut self, name: &ImageName) -> Result<(), StoreError> {
        while self.under_way > 0 {
            self.collect_one(name)?;
        }
        Ok(())
    }

    fn collect_one(&mut self, name: &ImageName) -> Result<(), StoreError> {
        // Cannot fail: we hold a sender ourselves, and a checker answers whatever happens.
        match self.replies.recv() {
            Ok(checked) => self.accept(checked, name),
            Err(error) => Err(StoreError::io("check chunks", std::io::Error::other(error))),
        }
    }

    fn accept(&mut self, checked: Checked, name: &ImageName) -> Result<(), StoreError> {
        self.under_way -= 1;
        let header = checked.header.map_err(|why| StoreError::broken(name, why))?;
        self.free.push(checked.chunk);
        self.early.insert(checked.at, header);
        while let Some(header) = self.early.remove(&self.wanted) {
            self.set.push(&header).map_err(|error| StoreError::broken(name, error))?;
            self.wanted += 1;
        }
        Ok(())
    }
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
