//! An image of the store as a source of blocks.
//!
//! What it owns: how many parts of an object's image are fetched ahead at a time. What it never
//! does: fetch what nobody wants.

use crate::source::Source;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Parts that are fetched ahead at a time: enough to fill a fast line to a store that is far away.
const AHEAD_MAX: usize = 16;

/// An image of the store.
#[derive(Debug)]
pub(crate) struct Stored {
    source: Arc<image_store::Source>,
    ahead: Arc<AtomicUsize>,
}

impl Stored {
    pub(crate) fn new(source: Arc<image_store::Source>) -> Self {
        Self { source, ahead: Arc::default() }
    }
}

impl Source for Stored {
    fn file(&self) -> &File {
        self.source.file()
    }

    fn is_here(&self, offset: u64, len: u64) -> bool {
        self.source.is_here(offset, len)
    }

    fn prefetch(&self, offset: u64, len: u64) {
        if self.ahead.fetch_add(1, Ordering::Relaxed) >= AHEAD_MAX {
            self.ahead.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (source, ahead) = (Arc::clone(&self.source), Arc::clone(&self.ahead));
        let fetch = move || {
            // Whoever needs it fetches it again, and reports what is wrong.
            let _ = source.fetch(offset, len);
            ahead.fetch_sub(1, Ordering::Relaxed);
        };
        if std::thread::Builder::new().name("prefetch".into()).spawn(fetch).is_err() {
            self.ahead.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn fetch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.source.fetch(offset, len)
    }
}
