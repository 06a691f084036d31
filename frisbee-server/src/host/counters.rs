//! What an image host counts, besides what its sessions count.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// GETs answered with an image.
    pub(crate) rendezvous_gets: AtomicU64,
    /// PUTs answered with a port.
    pub(crate) rendezvous_puts: AtomicU64,
    /// Requests for images that are not there.
    pub(crate) rendezvous_no_image: AtomicU64,
    /// ... that the access rules forbid.
    pub(crate) rendezvous_no_access: AtomicU64,
    /// ... that are to come again.
    pub(crate) rendezvous_try_again: AtomicU64,
    /// ... that failed otherwise.
    pub(crate) rendezvous_failed: AtomicU64,
    /// Connections that brought no request, or not in time.
    pub(crate) rendezvous_bad: AtomicU64,
    /// Clients that reported that they hear nothing.
    pub(crate) troubles: AtomicU64,
    /// Uploads that were published.
    pub(crate) uploads_done: AtomicU64,
    /// ... and that were not.
    pub(crate) uploads_failed: AtomicU64,
    /// Bytes of uploads.
    pub(crate) upload_bytes: AtomicU64,
    /// Images fetched from the parent.
    pub(crate) parent_fetches: AtomicU64,
    /// ... and fetches that failed.
    pub(crate) parent_failures: AtomicU64,
}

/// Counts one.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What was counted.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
