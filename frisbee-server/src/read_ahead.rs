//! Chunks in memory before they are due.
//!
//! What it owns: what the kernel is told to read ahead into its page cache, from where nearly all
//! blocks are sent; and, for chunks that are not there when they are due, a fixed number of chunk
//! buffers, which chunk each holds, and the choice of the one to give up: the one not used for
//! longest. What it never does: wait for the disk.

use crate::page_cache::PageCache;
use crate::reader::{Job, Reader};
use proto::geometry::Geometry;
use proto::time::{Duration, Instant};
use std::collections::{BTreeMap, VecDeque};
use std::io;

/// A chunk that could not be read is tried again after this long; clients ask again meanwhile.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Chunks that failed to be read and are remembered.
const FAILED_MAX: usize = 1024;

/// After a chunk was not in memory when it was due, so many are read ahead before it is tried again
/// without: advice about what is in memory costs as much as copying it.
const COLD_CHUNKS: usize = 64;

/// What is known of a chunk that is wanted now.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    /// Its bytes, those beyond the end of the file zero.
    Ready(&'a [u8]),
    /// It is being read; the socket's waker is used when it is there.
    Coming,
    /// It could not be read; ask again later.
    Failed,
}

#[derive(Debug)]
enum Slot {
    Reading,
    Ready { bytes: Box<[u8]>, used: u64 },
}

/// The chunks in memory.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    reader: Reader,
    cache: PageCache,
    /// Chunks the kernel was told of last, the oldest first: once is enough.
    warmed: VecDeque<u32>,
    /// Chunks that are still to be read ahead.
    cold: usize,
    chunk_len: usize,
    slots: BTreeMap<u32, Slot>,
    slots_max: usize,
    /// Buffers of reads that failed.
    spare: Vec<Box<[u8]>>,
    failed: BTreeMap<u32, Instant>,
    /// Counts uses, to tell which is the oldest.
    tick: u64,
    read_errors: u64,
}

impl ReadAhead {
    /// With room for `slots_max` chunks, at least 2.
    pub(crate) fn new(
        reader: Reader,
        cache: PageCache,
        geometry: &Geometry,
        slots_max: usize,
    ) -> Self {
        Self {
            reader,
            cache,
            warmed: VecDeque::new(),
            cold: 0,
            chunk_len: usize::try_from(geometry.chunk_bytes()).unwrap_or(usize::MAX),
            slots: BTreeMap::new(),
            slots_max: slots_max.max(2),
            spare: Vec::new(),
            failed: BTreeMap::new(),
            tick: 0,
            read_errors: 0,
        }
    }

    /// Where to look for blocks first.
    pub(crate) fn cache(&mut self) -> &mut PageCache {
        &mut self.cache
    }

    /// Reads that failed so far.
    pub(crate) fn read_errors(&self) -> u64 {
        self.read_errors
    }

    /// Takes what the reader has finished. The first error in a while is returned for the log.
    pub(crate) fn collect(&mut self, now: Instant) -> Option<(u32, io::Error)> {
        let mut first_error = None;
        while let Some(done) = self.reader.finished() {
            match done.result {
                Ok(()) => {
                    self.failed.remove(&done.chunk);
                    let used = self.tick;
                    self.slots.insert(done.chunk, Slot::Ready { bytes: done.buffer, used });
                }
                Err(error) => {
                    self.read_errors += 1;
                    self.slots.remove(&done.chunk);
                    self.spare.push(done.buffer);
                    if self.failed.len() < FAILED_MAX {
                        self.failed.insert(done.chunk, now + RETRY_AFTER);
                    }
                    first_error = first_error.or(Some((done.chunk, error)));
                }
            }
        }
        first_error
    }

    /// The chunk to be sent now, when the page cache lacks it; starts reading it if need be.
    pub(crate) fn lookup(&mut self, now: Instant, chunk: u32) -> Lookup<'_> {
        if self.failed.get(&chunk).is_some_and(|until| now < *until) {
            return Lookup::Failed;
        }
        self.cold = COLD_CHUNKS;
        self.prepare(chunk);
        match self.slots.get(&chunk) {
            Some(Slot::Ready { bytes, .. }) => Lookup::Ready(bytes),
            _ => Lookup::Coming,
        }
    }

    /// Has chunks read that will be sent soon, the nearest first; gives them up last.
    pub(crate) fn expect(&mut self, now: Instant, upcoming: impl Iterator<Item = u32>) {
        if self.cache.is_supported() {
            return self.warm(upcoming);
        }
        // At most half, so that what was sent just now stays for repairs.
        for chunk in upcoming.take(self.slots_max / 2) {
            if self.failed.get(&chunk).is_none_or(|until| now >= *until) {
                self.prepare(chunk);
            }
        }
    }

    /// Has the kernel read the chunks that will be sent soon, while the disk is cold.
    fn warm(&mut self, upcoming: impl Iterator<Item = u32>) {
        if self.cold == 0 {
            return;
        }
        let upcoming = upcoming.take(self.slots_max / 2);
        let new: Vec<u32> = upcoming.filter(|chunk| !self.warmed.contains(chunk)).collect();
        if new.is_empty() {
            return;
        }
        if self.reader.submit(Job::Warm { chunks: new.clone() }).is_ok() {
            self.cold = self.cold.saturating_sub(new.len());
            self.warmed.extend(new);
            let surplus = self.warmed.len().saturating_sub(self.slots_max);
            self.warmed.drain(..surplus);
        }
    }

    fn prepare(&mut self, chunk: u32) {
        self.tick += 1;
        match self.slots.get_mut(&chunk) {
            Some(Slot::Ready { used, .. }) => *used = self.tick,
            Some(Slot::Reading) => {}
            None => {
                let Some(buffer) = self.free_buffer() else { return };
                match self.reader.submit(Job::Read { chunk, buffer }) {
                    Err(Job::Read { buffer, .. }) => self.spare.push(buffer),
                    _ => drop(self.slots.insert(chunk, Slot::Reading)),
                }
            }
        }
    }

    /// A buffer: spare, new, or taken from the chunk not used for longest; `None` when all are
    /// being read into.
    fn free_buffer(&mut self) -> Option<Box<[u8]>> {
        if let Some(buffer) = self.spare.pop() {
            return Some(buffer);
        }
        if self.slots.len() < self.slots_max {
            return Some(vec![0; self.chunk_len].into_boxed_slice());
        }
        let used = |slot: &Slot| match slot {
            Slot::Ready { used, .. } => Some(*used),
            Slot::Reading => None,
        };
        let ready = self.slots.iter().filter_map(|(chunk, slot)| Some((used(slot)?, *chunk)));
        let (_, oldest) = ready.min()?;
        match self.slots.remove(&oldest) {
            Some(Slot::Ready { bytes, .. }) => Some(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcast::{GroupAddress, GroupSocket, Interface, Options, ReceiveBatch, Received};
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::time::Duration as StdDuration;

    /// A file of chunks of 4 bytes, chunk N full of N, and a socket to be woken on.
    fn setup(len: u8, slots: usize) -> (ReadAhead, GroupSocket, File) {
        let geometry = Geometry::new(2, 2, u64::from(len)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&(0..len).map(|at| at / 4).collect::<Vec<_>>()).unwrap();
        let lo = Interface::by_name("lo").unwrap();
        let group = GroupAddress::parse("239.192.70.83", 61234).unwrap();
        let socket = GroupSocket::open_client(group, &lo, &Options::default()).unwrap();
        let copy = file.try_clone().unwrap();
        let reader = Reader::start(Arc::new(copy), geometry, slots, socket.waker()).unwrap();
        // A pipe has no page cache.
        let pipe = OwnedFd::from(io::pipe().unwrap().0);
        let mut unsupported = PageCache::new(Arc::new(File::from(pipe)), geometry);
        assert!(unsupported.read(0, 0, 1).is_none() && !unsupported.is_supported());
        (ReadAhead::new(reader, unsupported, &geometry, slots), socket, file)
    }

    fn wait(ahead: &mut ReadAhead, socket: &GroupSocket) -> Option<(u32, io::Error)> {
        let patience = Some(StdDuration::from_secs(10));
        let received = socket.receive(&mut ReceiveBatch::new(), patience).unwrap();
        assert_eq!(received, Received::Woken);
        ahead.collect(Instant::ZERO)
    }

    fn bytes(ahead: &mut ReadAhead, socket: &GroupSocket, chunk: u32) -> Vec<u8> {
        loop {
            match ahead.lookup(Instant::ZERO, chunk) {
                Lookup::Ready(bytes) => return bytes.to_vec(),
                Lookup::Coming => assert!(wait(ahead, socket).is_none()),
                Lookup::Failed => panic!("chunk {chunk} failed"),
            }
        }
    }

    #[test]
    fn chunks_come_and_the_oldest_goes() {
        let (mut ahead, socket, _file) = setup(29, 3);
        for chunk in [0, 1, 2, 0, 5, 6, 0, 7] {
            let byte = u8::try_from(chunk).unwrap();
            let whole = if chunk == 7 { vec![7, 0, 0, 0] } else { vec![byte; 4] };
            assert_eq!(bytes(&mut ahead, &socket, chunk), whole);
            assert!(ahead.slots.len() <= 3);
        }
        assert!(ahead.slots.contains_key(&0) && ahead.slots.contains_key(&6), "used last");
    }

    #[test]
    fn what_is_expected_is_there_when_it_is_due() {
        let (mut ahead, socket, _file) = setup(40, 8);
        ahead.expect(Instant::ZERO, 0..10);
        while ahead.slots.values().any(|slot| matches!(slot, Slot::Reading)) {
            wait(&mut ahead, &socket);
        }
        assert_eq!(ahead.slots.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(matches!(ahead.lookup(Instant::ZERO, 3), Lookup::Ready([3, 3, 3, 3])));
    }

    #[test]
    fn a_failed_read_is_told_and_tried_again_later() {
        let (mut ahead, socket, file) = setup(12, 2);
        file.set_len(6).unwrap();
        assert!(matches!(ahead.lookup(Instant::ZERO, 1), Lookup::Coming));
        let (chunk, error) = wait(&mut ahead, &socket).unwrap();
        assert_eq!((chunk, error.kind()), (1, io::ErrorKind::UnexpectedEof));
        assert!(matches!(ahead.lookup(Instant::ZERO, 1), Lookup::Failed));
        file.set_len(12).unwrap();
        let later = Instant::ZERO + RETRY_AFTER;
        assert!(matches!(ahead.lookup(later, 1), Lookup::Coming));
        assert!(wait(&mut ahead, &socket).is_none());
        assert!(matches!(ahead.lookup(later, 1), Lookup::Ready([1, 1, 0, 0])));
        assert_eq!(ahead.read_errors(), 1);
    }
}
