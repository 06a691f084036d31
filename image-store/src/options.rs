//! How a store is kept.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a store is kept. [`StoreOptions::default`] suits a directory of images.
#[derive(Clone)]
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

/// Settings may be secrets: only their names are shown.
impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<_> = self.settings.iter().map(|(name, _)| name).collect();
        f.debug_struct("StoreOptions")
            .field("cache_dir", &self.cache_dir)
            .field("cache_bytes", &self.cache_bytes)
            .field("quota_bytes", &self.quota_bytes)
            .field("keep_old", &self.keep_old)
            .field("unfinished_for", &self.unfinished_for)
            .field("aside_files_max", &self.aside_files_max)
            .field("aside_bytes_max", &self.aside_bytes_max)
            .field("settings", &settings)
            .finish()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let settings = vec![("AWS_SECRET_ACCESS_KEY".into(), "hush".into())];
        let shown = format!("{:?}", StoreOptions { settings, ..StoreOptions::default() });
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("hush"), "{shown}");
    }
}
