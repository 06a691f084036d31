//! Why the store could not do what it was asked.

use crate::{ImageName, UploadId};
use std::io;
use thiserror::Error;

/// What a store refuses or fails at. Each variant is a class that a caller can act on.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The location is not one that can be a store.
    #[error("{location}: {why}")]
    Location {
        /// What was given.
        location: String,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// There is no image of this name.
    #[error("no image {name}")]
    NoSuchImage {
        /// The name asked for.
        name: ImageName,
    },
    /// There is nothing to go on with; the sender starts again from the first byte.
    #[error("no unfinished upload {id} of {name}: send the image again from the start")]
    NoSuchUpload {
        /// The name asked for.
        name: ImageName,
        /// The upload asked for.
        id: UploadId,
    },
    /// What was asked is not allowed.
    #[error("{name}: {why}")]
    Refused {
        /// The name asked for.
        name: ImageName,
        /// Why, and what to do.
        why: String,
    },
    /// Somebody else is writing this image.
    #[error("{name} is being uploaded by another sender: try again when that has ended")]
    Busy {
        /// The name asked for.
        name: ImageName,
    },
    /// The disk (or the cache) has no room.
    #[error("no room for {name}: {why}")]
    Full {
        /// The image.
        name: ImageName,
        /// What is needed and what is there.
        why: String,
    },
    /// The store would hold more than its quota.
    #[error(
        "{name} would exceed the store's quota: {needed_bytes} bytes needed, {used_bytes} of \
         {quota_bytes} bytes used"
    )]
    Quota {
        /// The image.
        name: ImageName,
        /// Bytes of the upload as far as known.
        needed_bytes: u64,
        /// Bytes that everything else in the store takes.
        used_bytes: u64,
        /// The limit.
        quota_bytes: u64,
    },
    /// The image is longer than this sender may send.
    #[error("{name} is too big: {bytes} bytes or more, at most {bytes_max} bytes are allowed")]
    TooBig {
        /// The image.
        name: ImageName,
        /// Its length as far as known.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// What arrived (or lies there) is not a whole image, or not what its sender sent.
    #[error("{name}: {why}")]
    Broken {
        /// The image.
        name: ImageName,
        /// What is wrong, and with which chunk.
        why: String,
    },
    /// The disk or the object store failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// A failure of the system while `doing` something, as in "cannot {doing}".
    pub(crate) fn io(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { doing: doing.into(), source: source.into() }
    }

    /// A failure to write `name`: a disk that is full is told apart.
    pub(crate) fn writing(name: &ImageName, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::StorageFull => {
                Self::Full { name: name.clone(), why: "the disk is full".into() }
            }
            io::ErrorKind::QuotaExceeded => Self::Full {
                name: name.clone(),
                why: "the disk quota of the server's user is used up".into(),
            },
            _ => Self::io(format!("write {name}"), source),
        }
    }

    /// Bytes that are not a whole image.
    pub(crate) fn broken(name: &ImageName, why: impl ToString) -> Self {
        Self::Broken { name: name.clone(), why: why.to_string() }
    }

    /// Something that is not allowed.
    pub(crate) fn refused(name: &ImageName, why: impl Into<String>) -> Self {
        Self::Refused { name: name.clone(), why: why.into() }
    }
}
