//! Why an image host does not do what it was asked.
//!
//! What it owns: the classes, and what each is in the rendezvous protocol.

use crate::{ImageError, NetworkError, ServeError};
use image_store::{ImageName, NameError, StoreError};
use rendezvous::ErrorCode;
use std::io;
use thiserror::Error;

/// Why not.
#[derive(Debug, Error)]
pub enum HostError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no such image.
    #[error("there is no image {0}")]
    NoSuchImage(ImageName),
    /// The access rules do not allow it.
    #[error("{0}")]
    NoAccess(String),
    /// It is being uploaded, or fetched from the parent.
    #[error("{0} is on its way here; ask again in a few seconds")]
    OnItsWay(ImageName),
    /// The client can only receive in ways that this host does not send.
    #[error("this host does not send in the way that was asked for")]
    NoMethod,
    /// The image cannot be stored or served.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The image is too large for the protocol, or empty.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Too many sessions.
    #[error(
        "{0} sessions are running, which is the most that is allowed; one ends when its clients are \
         done, or raise sessions_max"
    )]
    TooManySessions(usize),
    /// Too many uploads.
    #[error("{0} uploads are running, which is the most that is allowed; try again later")]
    TooManyUploads(usize),
    /// There is nothing to go on with.
    #[error("'{0}' names no upload; send the image again from the start")]
    NoUpload(String),
    /// The sender gave up.
    #[error("the sender gave up {name}: {why}")]
    GivenUp {
        /// The image.
        name: ImageName,
        /// Its reason.
        why: String,
    },
    /// An upload took too long.
    #[error("{name} took longer than the {secs} s that an upload may take (uploads.total_secs)")]
    TooSlow {
        /// The image.
        name: ImageName,
        /// The limit.
        secs: u64,
    },
    /// Not all of an image came.
    #[error("{name} did not come whole: {why}")]
    NotWhole {
        /// The image.
        name: ImageName,
        /// What is missing.
        why: String,
    },
    /// Something else than an image came.
    #[error("what came does not begin as an image does")]
    NoImage,
    /// A connection failed.
    #[error("the connection failed: {0}")]
    Connection(io::Error),
    /// All groups or ports are taken.
    #[error("all groups or all ports of the configured ranges are in use")]
    NoAddress,
    /// No socket.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The server failed to start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The host is being stopped.
    #[error("this server is being stopped")]
    Closing,
    /// The parent cannot be asked, or fails.
    #[error("{0}")]
    Parent(String),
}

impl HostError {
    /// What it is in the rendezvous protocol.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Name(_) => ErrorCode::Invalid,
            Self::NoSuchImage(_) => ErrorCode::NoSuchImage,
            Self::NoMethod => ErrorCode::NoMethod,
            Self::NoAccess(_) => ErrorCode::NoAccess,
            Self::OnItsWay(_) | Self::TooManySessions(_) | Self::TooManyUploads(_) => {
                ErrorCode::TryAgain
            }
            Self::Store(error) => match error {
                StoreError::NoSuchImage { .. } => ErrorCode::NoSuchImage,
                StoreError::Busy { .. } => ErrorCode::TryAgain,
                StoreError::TooBig { .. } | StoreError::Quota { .. } => ErrorCode::TooBig,
                _ => ErrorCode::Failed,
            },
            _ => ErrorCode::Failed,
        }
    }
}
