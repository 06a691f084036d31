//! The threads that take chunks, and what they say of them.
//!
//! What it owns: the queue's end, the count of rejections, and the first error, which stops all.
//! What it never does: know what is done with a chunk; a closure does that.

use crate::error::ClientError;
use crate::status::Status;
use crate::work::{Chunk, Verdict, Work};
use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use imagezip::interrupt::Interrupt;
use imagezip::load::LoadError;
use imagezip::ndz::FormatError;
use mcast::Waker;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A chunk that is wrong this often is not asked for again: the server sends it so.
const REJECTIONS_MAX: u32 = 5;

/// Why a chunk was not written.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is damaged: another copy may be whole.
    Chunk(FormatError),
    /// Another copy would not help.
    Fatal(ClientError),
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Format(error) => Self::Chunk(error),
            error => Self::Fatal(error.into()),
        }
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        Self::Chunk(error)
    }
}

/// What all workers share.
pub(crate) struct Workers<'a> {
    verdicts: Sender<Verdict>,
    waker: Waker,
    status: &'a Status,
    interrupt: &'a Interrupt,
    rejections: Mutex<BTreeMap<u32, u32>>,
    stop: AtomicBool,
}

impl<'a> Workers<'a> {
    /// Workers that report to the receiver that `waker` wakes.
    pub(crate) fn new(
        verdicts: Sender<Verdict>,
        waker: Waker,
        status: &'a Status,
        interrupt: &'a Interrupt,
    ) -> Self {
        Self {
            verdicts,
            waker,
            status,
            interrupt,
            rejections: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// The counters.
    pub(crate) fn status(&self) -> &'a Status {
        self.status
    }

    /// Says something to the receiver; one that is gone needs to know nothing.
    pub(crate) fn tell(&self, verdict: Verdict) {
        let _ = self.verdicts.send(verdict);
        self.waker.wake();
    }

    /// Gives a damaged chunk back, to be asked for again.
    ///
    /// # Errors
    /// When that was in vain too often.
    pub(crate) fn reject(&self, chunk: Chunk, source: FormatError) -> Result<(), ClientError> {
        let (number, sender) = (chunk.number, chunk.sender);
        let mut rejections = self.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        let times = rejections.entry(number).or_default();
        *times += 1;
        if *times >= REJECTIONS_MAX {
            let source = Box::new(source);
            return Err(ClientError::Rejected { chunk: number, times: *times, sender, source });
        }
        tracing::warn!(%sender, "a chunk was thrown away and is asked for again: {source}");
        self.tell(Verdict::Rejected(chunk));
        Ok(())
    }

    /// Runs `threads` workers, each with the closure that `make_work` made for it, on the chunks
    /// in `held` and all that come until the queue is closed; the first error stops all.
    ///
    /// # Errors
    /// The first error.
    pub(crate) fn run<W>(
        &self,
        threads: usize,
        held: Vec<Chunk>,
        work: &Receiver<Work>,
        mut make_work: impl FnMut() -> W,
    ) -> Result<(), ClientError>
    where
        W: FnMut(&Chunk) -> Result<(), Failure> + Send,
    {
        let (put, held_chunks) = unbounded();
        for chunk in held {
            let _ = put.send(chunk); // its other end is here
        }
        drop(put);
        let held = &held_chunks;
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1))
                .map(|_| {
                    let one = make_work();
                    scope.spawn(move || {
                        self.work(held, work, one).inspect_err(|_| {
                            self.stop.store(true, Relaxed);
                            // The receiver closes the queue then, which ends the others.
                            self.tell(Verdict::Over);
                        })
                    })
                })
                .collect();
            let mut result = Ok(());
            for worker in workers {
                let ended = worker.join().unwrap_or(Err(LoadError::EndedEarly.into()));
                result = result.and(ended);
            }
            result
        })
    }

    fn work<W>(
        &self,
        held: &Receiver<Chunk>,
        work: &Receiver<Work>,
        mut one: W,
    ) -> Result<(), ClientError>
    where
        W: FnMut(&Chunk) -> Result<(), Failure>,
    {
        while let Some(chunk) = self.next(held, work) {
            if self.interrupt.is_set() {
                return Err(LoadError::Interrupted.into());
            }
            if self.stop.load(Relaxed) {
                break;
            }
            match one(&chunk) {
                Ok(()) => {
                    self.status.done.fetch_add(1, Relaxed);
                    self.tell(Verdict::Done(chunk));
                }
                Err(Failure::Chunk(error)) => self.reject(chunk, error)?,
                Err(Failure::Fatal(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn next(&self, held: &Receiver<Chunk>, work: &Receiver<Work>) -> Option<Chunk> {
        if let Ok(chunk) = held.try_recv() {
            return Some(chunk);
        }
        loop {
            let next = match work.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.status.idle_waits.fetch_add(1, Relaxed);
                    work.recv().ok()?
                }
                Err(TryRecvError::Disconnected) => return None,
                Ok(next) => next,
            };
            if let Work::Chunk(chunk) = next {
                return Some(chunk);
            }
        }
    }
}
