//! How far the load has come, for whoever wants to show it.
//!
//! What it owns: counters that the threads advance and a display reads at any time. What it never
//! does: print.

use crate::host::Found;
use imagezip::progress::Progress;
use rendezvous::frame::What;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What the server said.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// The server.
    pub server: SocketAddr,
    /// Bytes of the image or file as it is sent.
    pub bytes: u64,
    /// Chunks in it.
    pub chunks: u32,
}

/// A session that brought nothing was left for another one.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// What was wrong with the old one.
    pub what: What,
    /// For how long nothing had come.
    pub silent: Duration,
    /// The old one.
    pub from: SocketAddr,
    /// The new one.
    pub to: SocketAddr,
}

/// Shared by all threads of a load.
#[derive(Debug)]
pub struct Status {
    start: Instant,
    found: OnceLock<Found>,
    joined: OnceLock<Joined>,
    fallbacks: Mutex<Vec<Fallback>>,
    /// Chunks whose blocks are all there.
    pub received: AtomicU32,
    /// Chunks written.
    pub done: AtomicU32,
    /// Bytes written, and which stage of the workers limits.
    pub progress: Progress,
    /// Bytes of the disk that the chunks written answer for, free space included.
    pub expanded_bytes: AtomicU64,
    /// Times a worker found no chunk to work on.
    pub idle_waits: AtomicU32,
    touched: AtomicBool,
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

impl Status {
    /// The clock starts now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            found: OnceLock::new(),
            joined: OnceLock::new(),
            fallbacks: Mutex::default(),
            received: AtomicU32::new(0),
            done: AtomicU32::new(0),
            progress: Progress::new(),
            expanded_bytes: AtomicU64::new(0),
            idle_waits: AtomicU32::new(0),
            touched: AtomicBool::new(false),
        }
    }

    /// What the image host said; `None` when it was not asked, or has not answered.
    pub fn found(&self) -> Option<&Found> {
        self.found.get()
    }

    pub(crate) fn set_found(&self, found: Found) {
        let _ = self.found.set(found);
    }

    /// Every fallback so far, but for the first `known`.
    pub fn fallbacks_after(&self, known: usize) -> Vec<Fallback> {
        let all = self.fallbacks.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(known..).unwrap_or_default().to_vec()
    }

    pub(crate) fn add_fallback(&self, fallback: Fallback) {
        self.fallbacks.lock().unwrap_or_else(PoisonError::into_inner).push(fallback);
    }

    /// What the server said; `None` before it answered.
    pub fn joined(&self) -> Option<&Joined> {
        self.joined.get()
    }

    pub(crate) fn set_joined(&self, joined: Joined) {
        // A server that was restarted says the same again.
        let _ = self.joined.set(joined);
    }

    /// True once something was written to a target that existed before, and until it is whole.
    pub fn is_touched(&self) -> bool {
        self.touched.load(Relaxed)
    }

    pub(crate) fn set_touched(&self, touched: bool) {
        self.touched.store(touched, Relaxed);
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Chunks not written yet; 0 before the server answered.
    pub fn chunks_left(&self) -> u32 {
        let chunks = self.joined().map_or(0, |joined| joined.chunks);
        chunks.saturating_sub(self.done.load(Relaxed))
    }

    /// Chunks written, in percent of all; 100 only when all are.
    pub fn percent(&self) -> u32 {
        let Some(joined) = self.joined() else { return 0 };
        let done = u64::from(self.done.load(Relaxed)) * 100 / u64::from(joined.chunks.max(1));
        u32::try_from(done).unwrap_or(100).min(100)
    }
}
