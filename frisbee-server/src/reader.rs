//! The thread that reads the file, so that the network never waits for the disk.
//!
//! What it owns: one chunk buffer at a time of those that are handed to it. What it
//! never does: choose what to read, or keep a buffer.

use crate::source::Source;
use crossbeam_channel::{Receiver, Sender, bounded};
use mcast::Waker;
use proto::geometry::Geometry;
use rustix::fs::{Advice, fadvise};
use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;

/// What the thread is to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Read a chunk into a buffer, which has the size of a whole chunk.
    Read {
        /// The chunk.
        chunk: u32,
        /// Where its bytes go.
        buffer: Box<[u8]>,
    },
    /// Have the kernel read chunks into its page cache.
    Warm {
        /// The chunks, the most urgent first.
        chunks: Vec<u32>,
    },
}

/// A buffer that comes back.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) chunk: u32,
    pub(crate) buffer: Box<[u8]>,
    pub(crate) result: io::Result<()>,
}

/// The network thread's end of the reader. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Reader {
    jobs: Option<Sender<Job>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread. At most `jobs_max` jobs are under way at a time; `waker` is used after
    /// each.
    pub(crate) fn start(
        source: Arc<dyn Source>,
        geometry: Geometry,
        jobs_max: usize,
        waker: Waker,
    ) -> io::Result<Self> {
        let (jobs, to_do) = bounded(jobs_max);
        let (report, done) = bounded(jobs_max);
        let thread = std::thread::Builder::new()
            .name("reader".into())
            .spawn(move || read_all(&*source, &geometry, &to_do, &report, &waker))?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }

    /// Hands over a job; gives it back when there are too many.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Job> {
        let Some(jobs) = &self.jobs else { return Err(job) };
        jobs.try_send(job).map_err(crossbeam_channel::TrySendError::into_inner)
    }

    /// The next finished job, without waiting.
    pub(crate) fn finished(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A read that hangs in the disk must not hang the end of the program.
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

fn read_all(
    source: &dyn Source,
    geometry: &Geometry,
    jobs: &Receiver<Job>,
    done: &Sender<Done>,
    waker: &Waker,
) {
    let mut queue: VecDeque<(u32, Box<[u8]>)> = VecDeque::new();
    loop {
        let first = if queue.is_empty() {
            let Ok(job) = jobs.recv() else { return };
            Some(job)
        } else {
            None
        };
        // The disk works on all that are known while the first is copied.
        for job in first.into_iter().chain(jobs.try_iter()) {
            match job {
                Job::Warm { chunks } => {
                    chunks.iter().for_each(|chunk| advise(source, geometry, *chunk));
                }
                Job::Read { chunk, buffer } => {
                    advise(source, geometry, chunk);
                    queue.push_back((chunk, buffer));
                }
            }
        }
        let Some((chunk, mut buffer)) = queue.pop_front() else { continue };
        let result = read(source, geometry, chunk, &mut buffer);
        if done.send(Done { chunk, buffer, result }).is_err() {
            return;
        }
        waker.wake();
    }
}

/// The kernel cuts advice to the device's read-ahead; this is the least that devices have.
const ADVICE_LEN: u64 = 128 << 10;

fn advise(source: &dyn Source, geometry: &Geometry, chunk: u32) {
    let (mut at, mut left) = (geometry.offset(chunk, 0), geometry.bytes_in(chunk));
    if !source.is_here(at, left) {
        return source.prefetch(at, left);
    }
    while left > 0 {
        let len = left.min(ADVICE_LEN);
        // Only advice: the read that follows is right without it.
        let _ = fadvise(source.file(), at, NonZeroU64::new(len), Advice::WillNeed);
        (at, left) = (at + len, left - len);
    }
}

/// Reads a chunk; what lies beyond the end of the file is zero.
fn read(source: &dyn Source, geometry: &Geometry, chunk: u32, buffer: &mut [u8]) -> io::Result<()> {
    let len = usize::try_from(geometry.bytes_in(chunk)).unwrap_or(usize::MAX);
    let Some((filled, rest)) = buffer.split_at_mut_checked(len) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let at = geometry.offset(chunk, 0);
    source.fetch(at, geometry.bytes_in(chunk))?;
    source.file().read_exact_at(filled, at)?;
    rest.fill(0);
    Ok(())
}
