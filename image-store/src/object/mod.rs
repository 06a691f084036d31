//! An S3-compatible object store.
//!
//! ```text
//! s3://bucket/prefix/project/image.ndz    images, named by their keys
//! s3://bucket/prefix/.aside/ID.txt        why an upload was not published
//! CACHE_DIR/                              unnamed copies of what is served
//! CACHE_DIR/uploads/ID.json               multipart uploads under way, to be aborted if we die
//! ```
//! What it owns: the mapping of names to keys, and what stands for a directory's guarantees: an
//! upload is a multipart upload, which appears whole or not at all; an open image is pinned by its
//! ETag. What it never does: rely on another image host of the same bucket being polite.

mod cache;
mod multipart;
mod settings;
mod work;

pub(crate) use cache::Object;
pub(crate) use settings::SCHEME;

use crate::intake::CheckPool;
use crate::ledger::Ledger;
use crate::{Entry, ImageName, Source, StoreError, StoreOptions};
use cache::{Cache, Pin};
use futures_util::TryStreamExt;
use multipart::Uploads;
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};
use settings::Location;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use work::Work;

/// Most images in a listing.
const ENTRIES_MAX: usize = 100_000;

/// A bucket, or a prefix in one.
pub(crate) struct BucketStore {
    location: String,
    prefix: String,
    options: StoreOptions,
    s3: Arc<AmazonS3>,
    work: Arc<Work>,
    cache: Cache,
    /// Where multipart uploads under way are written down.
    journals: PathBuf,
    pool: Arc<CheckPool>,
    ledger: Mutex<Ledger>,
    uploads: Mutex<Uploads>,
}

impl BucketStore {
    pub(crate) fn open(
        location: &str,
        options: StoreOptions,
        pool: Arc<CheckPool>,
    ) -> Result<Self, StoreError> {
        let wrong = |why: String| StoreError::Location { location: location.into(), why };
        let place = Location::parse(location)?;
        if options.keep_old {
            let why =
                "old images cannot be kept in an object store: turn on versions of the bucket";
            return Err(wrong(why.into()));
        }
        let Some(dir) = options.cache_dir.clone() else {
            return Err(wrong("an object store needs a folder for its cache".into()));
        };
        let failed = |error| StoreError::io(format!("use the cache {}", dir.display()), error);
        let cache = Cache::new(dir.clone(), options.cache_bytes).map_err(failed)?;
        let journals = dir.join("uploads");
        std::fs::create_dir_all(&journals).map_err(failed)?;
        let s3 = Arc::new(settings::connect(location, &place, &options)?);
        let work = Work::new()
            .map_err(|error| StoreError::io("start the threads of the object store", error))?;
        let store = Self {
            location: location.into(),
            prefix: place.prefix,
            options,
            s3,
            work: Arc::new(work),
            cache,
            journals,
            pool,
            ledger: Mutex::default(),
            uploads: Mutex::default(),
        };
        store.probe().map_err(|error| wrong(format!("cannot list the bucket: {error}")))?;
        store.abort_leftovers();
        Ok(store)
    }

    /// Finds out whether the bucket is there and ours to read.
    fn probe(&self) -> io::Result<()> {
        let (s3, prefix) = (Arc::clone(&self.s3), self.folder());
        self.work.run(async move {
            let options = PaginatedListOptions { max_keys: Some(1), ..Default::default() };
            s3.list_paginated(prefix.as_deref(), options).await
        })?;
        Ok(())
    }

    pub(crate) fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let (s3, prefix) = (Arc::clone(&self.s3), self.prefix.clone());
        let found: Vec<ObjectMeta> = self
            .work
            .run(async move {
                let prefix = Path::parse(prefix)?;
                let prefix = (!prefix.as_ref().is_empty()).then_some(&prefix);
                // One more, to tell that there are more.
                let mut found = Vec::new();
                let mut objects = s3.list(prefix);
                while let Some(object) = objects.try_next().await? {
                    if found.len() == ENTRIES_MAX {
                        break;
                    }
                    found.push(object);
                }
                Ok::<_, Error>(found)
            })
            .map_err(|error| StoreError::io(format!("list {}", self.location), error))?;
        if found.len() == ENTRIES_MAX {
            tracing::warn!("{}: only {ENTRIES_MAX} objects are listed", self.location);
        }
        let mut entries: Vec<_> = found.iter().filter_map(|object| self.entry(object)).collect();
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub(crate) fn find(&self, name: &ImageName) -> Result<Option<Entry>, StoreError> {
        Ok(self.head(name)?.map(|meta| entry(name.clone(), &meta)))
    }

    pub(crate) fn open_image(&self, name: &ImageName) -> Result<Source, StoreError> {
        let missing = || StoreError::NoSuchImage { name: name.clone() };
        let meta = self.head(name)?.ok_or_else(missing)?;
        let Some(e_tag) = meta.e_tag.clone() else {
            let why = "the object store tells no ETag, so that a replaced image would go unnoticed";
            return Err(StoreError::refused(name, why));
        };
        let entry = entry(name.clone(), &meta);
        let pin = Pin { path: meta.location, e_tag, version: meta.version };
        let object = self.cache.open(entry, pin, (&self.s3, &self.work))?;
        Ok(Source::object(object))
    }

    pub(crate) fn delete(&self, name: &ImageName) -> Result<(), StoreError> {
        if self.head(name)?.is_none() {
            return Err(StoreError::NoSuchImage { name: name.clone() });
        }
        let (s3, path) = (Arc::clone(&self.s3), self.path(name)?);
        self.work
            .run(async move { s3.delete(&path).await })
            .map_err(|error| StoreError::io(format!("delete {name}"), error))?;
        self.recount();
        Ok(())
    }

    /// What the object store tells of an image, without reading it.
    fn head(&self, name: &ImageName) -> Result<Option<ObjectMeta>, StoreError> {
        let (s3, path) = (Arc::clone(&self.s3), self.path(name)?);
        self.work
            .run(async move {
                match s3.head(&path).await {
                    Ok(meta) => Ok(Some(meta)),
                    Err(Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .map_err(|error| StoreError::io(format!("look for {name}"), error))
    }

    /// The key of an image.
    fn path(&self, name: &ImageName) -> Result<Path, StoreError> {
        self.key(name.as_str()).map_err(|why| StoreError::refused(name, why))
    }

    /// The key of something below the prefix.
    fn key(&self, below: &str) -> Result<Path, String> {
        let folder = self.folder().unwrap_or_default();
        Path::parse(format!("{folder}{below}")).map_err(|error| error.to_string())
    }

    /// The prefix with its slash.
    fn folder(&self) -> Option<String> {
        (!self.prefix.is_empty()).then(|| format!("{}/", self.prefix))
    }

    /// An object as an image, if its key is a name. Empty objects stand for folders.
    fn entry(&self, object: &ObjectMeta) -> Option<Entry> {
        let folder = self.folder().unwrap_or_default();
        let name = object.location.as_ref().strip_prefix(folder.as_str())?;
        let name = ImageName::parse(name).ok()?;
        (object.size > 0).then(|| entry(name, object))
    }

    /// Counts again what the bucket holds, if that matters.
    fn recount(&self) {
        if self.options.quota_bytes.is_none() {
            return;
        }
        match self.list() {
            Ok(entries) => {
                let kept = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes));
                self.ledger().set(kept, &HashMap::new());
            }
            Err(error) => tracing::warn!("the quota is judged by an old count: {error}"),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(name: ImageName, meta: &ObjectMeta) -> Entry {
    let version = meta.version.clone().unwrap_or_default();
    Entry {
        name,
        bytes: meta.size,
        modified: u64::try_from(meta.last_modified.timestamp()).unwrap_or(0),
        version: format!("{} {version}", meta.e_tag.as_deref().unwrap_or("?")).trim_end().into(),
    }
}
