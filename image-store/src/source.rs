//! An image held open.
//!
//! What it owns: the file that is read from. An image that is replaced or deleted meanwhile goes
//! on being served as it was. What it never does: read for the caller.

use crate::Entry;
use crate::object::Object;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// An image held open, to be read at any place. Cheap to share between threads.
#[derive(Debug)]
pub struct Source(Kind);

#[derive(Debug)]
enum Kind {
    /// The image itself.
    Local(Entry, File),
    /// A copy that is filled as needed.
    Object(Arc<Object>),
}

impl Source {
    pub(crate) fn local(entry: Entry, file: File) -> Self {
        Self(Kind::Local(entry, file))
    }

    pub(crate) fn object(object: Arc<Object>) -> Self {
        Self(Kind::Object(object))
    }

    /// True when it is read from where it lies.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.0, Kind::Local(..))
    }

    /// What it was listed as when it was opened.
    pub fn entry(&self) -> &Entry {
        match &self.0 {
            Kind::Local(entry, _) => entry,
            Kind::Object(object) => object.entry(),
        }
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.entry().bytes
    }

    /// The file to read from with positional reads: the image itself, or the local copy of an
    /// object, whose bytes are valid where [`Source::is_here`] says so.
    pub fn file(&self) -> &File {
        match &self.0 {
            Kind::Local(_, file) => file,
            Kind::Object(object) => object.file(),
        }
    }

    /// True when these bytes can be read from the file right away. Cheap, takes no lock for long.
    pub fn is_here(&self, offset: u64, len: u64) -> bool {
        match &self.0 {
            Kind::Local(..) => true,
            Kind::Object(object) => object.is_here(offset, len),
        }
    }

    /// Brings these bytes here, and waits for them. Other threads may fetch other parts meanwhile;
    /// what two of them want is fetched once.
    ///
    /// # Errors
    /// When the object store fails, or the object was replaced and its old version is gone.
    pub fn fetch(&self, offset: u64, len: u64) -> io::Result<()> {
        match &self.0 {
            Kind::Local(..) => Ok(()),
            Kind::Object(object) => object.fetch(offset, len),
        }
    }
}
