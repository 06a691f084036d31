//! Threads that check chunks, shared by all uploads of a store.
//!
//! What it owns: the threads and their queue. What it never does: keep a chunk.

use crossbeam_channel::{Receiver, Sender, bounded};
use imagezip::ndz::{ChunkHeader, Decoder, VerifiedChunk};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// Most threads.
const THREADS_MAX: usize = 8;

/// A chunk to be checked.
pub(super) struct Job {
    pub(super) chunk: Vec<u8>,
    pub(super) at: u64,
    pub(super) reply: Sender<Checked>,
}

/// A chunk that was checked.
pub(super) struct Checked {
    /// Its buffer, to be used again.
    pub(super) chunk: Vec<u8>,
    pub(super) at: u64,
    /// Its header, or what is wrong with it.
    pub(super) header: Result<ChunkHeader, String>,
}

/// The threads. They start with the first chunk and end with the store.
#[derive(Debug)]
pub(crate) struct CheckPool {
    threads: usize,
    jobs: OnceLock<Sender<Job>>,
}

impl CheckPool {
    /// As many threads as there are cores, when they are needed.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads: cores.min(THREADS_MAX), jobs: OnceLock::new() }
    }

    /// Most chunks of one upload that are under way: enough to go on with while the sender's
    /// thread waits for the disk.
    pub(super) fn depth(&self) -> usize {
        self.threads * 2 + 4
    }

    /// Hands in a chunk; waits while the queue is full.
    pub(super) fn check(&self, job: Job) -> io::Result<()> {
        let jobs = match self.jobs.get() {
            Some(jobs) => jobs,
            None => {
                let started = self.start()?;
                self.jobs.get_or_init(|| started) // of two who start at once, one's threads end
            }
        };
        jobs.send(job).map_err(|_| io::Error::other("the threads that check chunks have ended"))
    }

    fn start(&self) -> io::Result<Sender<Job>> {
        let (jobs, queue) = bounded(self.depth());
        for number in 0..self.threads {
            let queue: Receiver<Job> = queue.clone();
            std::thread::Builder::new().name(format!("check-{number}")).spawn(move || {
                let mut decoder = Decoder::default();
                for job in queue {
                    // A fault in a decoder must neither stop the host nor pass for a good chunk.
                    let checked = catch_unwind(AssertUnwindSafe(|| check(&mut decoder, &job)));
                    let header = checked.unwrap_or_else(|_| {
                        decoder = Decoder::default();
                        Err(format!("chunk {}: the check failed (this is a fault of ours)", job.at))
                    });
                    // The upload may have ended meanwhile.
                    let _ = job.reply.send(Checked { chunk: job.chunk, at: job.at, header });
                }
            })?;
        }
        Ok(jobs)
    }
}

fn check(decoder: &mut Decoder, job: &Job) -> Result<ChunkHeader, String> {
    let text = |error: imagezip::ndz::FormatError| error.to_string();
    let chunk = VerifiedChunk::verify(&job.chunk, job.at).map_err(text)?;
    decoder.check(&chunk).map_err(text)?;
    Ok(chunk.header().clone())
}
