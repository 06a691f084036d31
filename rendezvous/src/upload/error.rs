//! Why an upload came to nothing.

use crate::ErrorCode;
use crate::ImageId;
use crate::client::{ClientError, Server};
use crate::frame::Digest;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// What somebody says a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Account {
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub digest: Digest,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes with BLAKE3 {}", self.bytes, self.digest)
    }
}

/// Why an upload came to nothing.
#[derive(Debug, Error)]
pub enum UploadError {
    /// The server cannot be asked, or said no: at the start, on the way, or at the end.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The connection broke and could not be had again.
    #[error(
        "{source}; gave up after {} s in which nothing could be handed in. Nothing was published",
        after.as_secs()
    )]
    GaveUp {
        /// How long it was tried.
        after: Duration,
        /// What happened the last time.
        source: ClientError,
    },
    /// The server wants bytes again that it had acknowledged, or says it has what was never sent.
    #[error(
        "{server}: the server goes on at byte {offset}, but this sender holds bytes {held_from} to \
         {held_to}: the server lost data it had acknowledged. Start again"
    )]
    CannotResume {
        /// The host.
        server: Server,
        /// Where it wants to go on.
        offset: u64,
        /// The first byte that is still here.
        held_from: u64,
        /// One past the last.
        held_to: u64,
    },
    /// Everything was sent, but whether it was published is not known.
    #[error(
        "{source}; all {bytes} bytes of {image} were sent, but the server's verdict did not come: \
         look whether the image is there before you start again"
    )]
    VerdictLost {
        /// The image.
        image: ImageId,
        /// Its length.
        bytes: u64,
        /// What happened.
        source: ClientError,
    },
    /// The server published something else.
    #[error(
        "{server}: the server published {}, but {} were sent: do not use {image}, and report this",
        accounts[1], accounts[0]
    )]
    Different {
        /// The host.
        server: Server,
        /// The image.
        image: ImageId,
        /// What was sent, and what was published.
        accounts: Box<[Account; 2]>,
    },
    /// Longer than the server said it takes.
    #[error("{server}: the image is longer than the {bytes_max} bytes that the server takes")]
    TooBig {
        /// The host.
        server: Server,
        /// What it takes.
        bytes_max: u64,
    },
    /// A deployed server does not show what was sent to it.
    #[error(
        "{server}: {bytes} bytes of {image} were sent by the deployed protocol, but the server \
         shows {shown}: the upload failed there; its log says why"
    )]
    NotShown {
        /// The host.
        server: Server,
        /// The image.
        image: ImageId,
        /// What was sent.
        bytes: u64,
        /// What it shows.
        shown: String,
    },
}

impl UploadError {
    /// The class, if the server said no.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Client(error) => error.code(),
            Self::TooBig { .. } => Some(ErrorCode::TooBig),
            _ => None,
        }
    }

    /// True when the caller wished to stop.
    pub fn is_stopped(&self) -> bool {
        let source = match self {
            Self::Client(error) => error,
            Self::GaveUp { source, .. } | Self::VerdictLost { source, .. } => source,
            _ => return false,
        };
        matches!(source, ClientError::Stopped)
    }
}
