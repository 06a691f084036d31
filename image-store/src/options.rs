//! How a store is kept.

use std::path::PathBuf;
use std::time::Duration;

/// How a store is kept. [`StoreOptions::default`] suits a directory of images.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where parts of objects are kept while they are in use. Needed by an object store only.
    pub cache_dir: Option<PathBuf>,
    /// Most bytes in `cache_dir`.
    pub cache_bytes: u64,
    /// Most bytes that the store may hold: images, old images, and what is still arriving.
    pub quota_bytes: Option<u64>,
    /// Keep the image that an upload replaces, in the hidden folder `.old`. One is kept of each
    /// name.
    pub keep_old: bool,
    /// How long an unfinished upload that nobody goes on with is kept.
    pub unfinished_for: Duration,
    /// Most broken uploads kept in the hidden folder `.aside`, for somebody to look at.
    pub aside_files_max: usize,
    /// Most bytes of broken uploads kept.
    pub aside_bytes_max: u64,
    /// Settings of an object store, by their `AWS_*` names. They count more than the environment.
    pub settings: Vec<(String, String)>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_dir: None,
            cache_bytes: 64 << 30,
            quota_bytes: None,
            keep_old: false,
            unfinished_for: Duration::from_secs(24 * 3600),
            aside_files_max: 16,
            aside_bytes_max: 64 << 30,
            settings: Vec::new(),
        }
    }
}
