//! One interface to both kinds of store.

use crate::details::Remembered;
use crate::intake::CheckPool;
use crate::local::LocalStore;
use crate::object::{BucketStore, SCHEME};
use crate::{Details, Entry, ImageName, Source, StoreError, StoreOptions, Upload, UploadOptions};
use imagezip::ndz::CHUNK_SIZE;
use std::path::Path;
use std::sync::Arc;

/// A store of images. Cheap to clone; all clones are one store. All calls block.
#[derive(Clone)]
pub struct Store {
    location: Arc<str>,
    kind: Kind,
    details: Arc<Remembered>,
}

#[derive(Clone)]
enum Kind {
    Local(Arc<LocalStore>),
    Bucket(Arc<BucketStore>),
}

impl Store {
    /// Opens the store at `location`: the path of a directory, which must be there, or
    /// `s3://bucket/prefix`. What a server that was killed left behind is cleaned up, except
    /// uploads that can be gone on with.
    ///
    /// # Errors
    /// When there is no store at that location, or it cannot be reached.
    pub fn open(location: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let pool = Arc::new(CheckPool::new());
        let kind = if location.starts_with(SCHEME) {
            Kind::Bucket(Arc::new(BucketStore::open(location, options, pool)?))
        } else {
            Kind::Local(Arc::new(LocalStore::open(Path::new(location), options, pool)?))
        };
        Ok(Self { location: location.into(), kind, details: Arc::default() })
    }

    /// Where it is.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// All images, sorted by name. At most 100 000 are listed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        match &self.kind {
            Kind::Local(store) => store.list(),
            Kind::Bucket(store) => store.list(),
        }
    }

    /// The image of this name, if there is one.
    ///
    /// # Errors
    /// When the store cannot be read, or the name leads out of it.
    pub fn find(&self, name: &ImageName) -> Result<Option<Entry>, StoreError> {
        match &self.kind {
            Kind::Local(store) => store.find(name),
            Kind::Bucket(store) => store.find(name),
        }
    }

    /// Opens an image, which stays as it is now while it is held.
    ///
    /// # Errors
    /// `NoSuchImage`; or as [`Store::find`].
    pub fn open_image(&self, name: &ImageName) -> Result<Arc<Source>, StoreError> {
        match &self.kind {
            Kind::Local(store) => store.open_image(name).map(Arc::new),
            Kind::Bucket(store) => store.open_image(name).map(Arc::new),
        }
    }

    /// What an image holds, as its headers tell. Of an image in a directory all headers are read
    /// (one small read a MiB) when it is first asked for; then it is known until the image changes.
    ///
    /// # Errors
    /// `NoSuchImage`; `Broken` when it is not a whole image.
    pub fn describe(&self, name: &ImageName) -> Result<Arc<Details>, StoreError> {
        let entry =
            self.find(name)?.ok_or_else(|| StoreError::NoSuchImage { name: name.clone() })?;
        match self.details.get(&entry) {
            Some(known) => known,
            None => self.details.look(&*self.open_image(name)?),
        }
    }

    /// Removes an image. Who holds it open goes on with it.
    ///
    /// # Errors
    /// `NoSuchImage`; or when it cannot be removed.
    pub fn delete(&self, name: &ImageName) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Local(store) => store.delete(name),
            Kind::Bucket(store) => store.delete(name),
        }
    }

    /// Begins an upload, or goes on with one.
    ///
    /// # Errors
    /// `Busy` while somebody else uploads an image of that name; `NoSuchUpload` when there is
    /// nothing to go on with; `TooBig`, `Full` and `Quota` when the announced length is too much;
    /// `Refused` when the name is that of a folder or lies below an image; `Broken` when no image
    /// has that length.
    pub fn begin_upload(
        &self,
        name: &ImageName,
        options: UploadOptions,
    ) -> Result<Upload, StoreError> {
        if let Some(bytes) = options.bytes.filter(|bytes| *bytes > options.bytes_max) {
            let (name, bytes_max) = (name.clone(), options.bytes_max);
            return Err(StoreError::TooBig { name, bytes, bytes_max });
        }
        if options.image
            && let Some(bytes) = options.bytes
            && (bytes == 0 || !bytes.is_multiple_of(CHUNK_SIZE))
        {
            let why = format!("{bytes} bytes cannot be an image, which is whole chunks of 1 MiB");
            return Err(StoreError::broken(name, why));
        }
        let bytes_max = options.bytes_max;
        let upload = match &self.kind {
            Kind::Local(store) => LocalStore::begin_upload(store, name, options),
            Kind::Bucket(store) => BucketStore::begin_upload(store, name, options),
        }?;
        if upload.offset() > bytes_max {
            let (name, bytes) = (name.clone(), upload.offset());
            return Err(StoreError::TooBig { name, bytes, bytes_max }); // suspended as it was
        }
        Ok(upload.remembered_by(Arc::clone(&self.details)))
    }

    /// Removes unfinished uploads that nobody went on with in time, and other leftovers. Done at
    /// opening and at every upload, too.
    pub fn sweep(&self) {
        match &self.kind {
            Kind::Local(store) => store.sweep(),
            Kind::Bucket(store) => store.sweep(),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.location)
    }
}
