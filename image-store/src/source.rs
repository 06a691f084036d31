//! An image held open.
//!
//! What it owns: the file that is read from. An image that is replaced or deleted meanwhile goes
//! on being served as it was. What it never does: read for the caller.

use crate::Entry;
use std::fs::File;
use std::io;

/// An image held open, to be read at any place. Cheap to share between threads.
#[derive(Debug)]
pub struct Source {
    entry: Entry,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The image itself.
    Local(File),
}

impl Source {
    pub(crate) fn local(entry: Entry, file: File) -> Self {
        Self { entry, kind: Kind::Local(file) }
    }

    /// What it was listed as when it was opened.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.entry.bytes
    }

    /// The file to read from with positional reads: the image itself, or the local copy of an
    /// object, whose bytes are valid where [`Source::is_here`] says so.
    pub fn file(&self) -> &File {
        match &self.kind {
            Kind::Local(file) => file,
        }
    }

    /// True when these bytes can be read from the file right away. Cheap, takes no lock for long.
    pub fn is_here(&self, _offset: u64, _len: u64) -> bool {
        match &self.kind {
            Kind::Local(_) => true,
        }
    }

    /// Brings these bytes here, and waits for them. Other threads may fetch other parts meanwhile;
    /// what two of them want is fetched once.
    ///
    /// # Errors
    /// When the object store fails, or the object was replaced and its old version is gone.
    pub fn fetch(&self, _offset: u64, _len: u64) -> io::Result<()> {
        match &self.kind {
            Kind::Local(_) => Ok(()),
        }
    }
}
