//! Where a served file's bytes come from.
//!
//! What it is: a file on this machine whose parts may still be elsewhere: an object store's image
//! is a sparse local file that fills while it is served. What it never does: know where elsewhere
//! is.

use std::fmt;
use std::fs::File;
use std::io;

/// A file to serve. Shared by the thread that sends and the one that reads.
pub trait Source: fmt::Debug + Send + Sync {
    /// The local file. Only what [`Source::is_here`] says may be read from it.
    fn file(&self) -> &File;

    /// True when these bytes of the file can be read now. Asked for every batch: must be cheap and
    /// must not wait.
    fn is_here(&self, offset: u64, len: u64) -> bool {
        let _ = (offset, len);
        true
    }

    /// Begins to bring these bytes here, without waiting.
    fn prefetch(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// Waits until these bytes are here.
    ///
    /// # Errors
    /// When they cannot be had now; another try may succeed.
    fn fetch(&self, offset: u64, len: u64) -> io::Result<()> {
        let _ = (offset, len);
        Ok(())
    }
}

impl Source for File {
    fn file(&self) -> &File {
        self
    }
}
