//! Why a host could not be asked, or said no.

use super::Server;
use crate::frame::FrameError;
use crate::record::RecordError;
use crate::{ErrorCode, OpeningError};
use std::io;
use std::time::Duration;
use thiserror::Error;

/// Why a host could not be asked, or said no.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The name of the host leads nowhere.
    #[error(
        "{server}: cannot find the host's address: {source}; check the name, or give an address"
    )]
    Resolve {
        /// The host.
        server: Server,
        /// What the system said.
        source: io::Error,
    },
    /// None of its addresses answers.
    #[error(
        "{server}: cannot connect ({tried}); is the host up, does its server run, and does a \
         firewall let TCP through?"
    )]
    Connect {
        /// The host.
        server: Server,
        /// Each address, and what the system said.
        tried: String,
    },
    /// The connection broke.
    #[error("{server}: {doing}: {source}")]
    Io {
        /// The host.
        server: Server,
        /// What went on.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing came or went for too long.
    #[error("{server}: {doing}: nothing moved for {} s; the server may be overloaded", waited.as_secs())]
    Silent {
        /// The host.
        server: Server,
        /// What went on.
        doing: &'static str,
        /// How long.
        waited: Duration,
    },
    /// The host closed the connection where an answer was due.
    #[error("{server}: {doing}: the server closed the connection")]
    Closed {
        /// The host.
        server: Server,
        /// What went on.
        doing: &'static str,
    },
    /// What answers there is no image host.
    #[error("{server}: this is no image host: {source}")]
    NotAHost {
        /// The host.
        server: Server,
        /// What came.
        source: OpeningError,
    },
    /// The answer is not what belongs to the question.
    #[error("{server}: the answer makes no sense: expected {expected}, found {found}")]
    Unexpected {
        /// The host.
        server: Server,
        /// What belongs there.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// The answer is damaged.
    #[error("{server}: the answer makes no sense: {source}")]
    Record {
        /// The host.
        server: Server,
        /// What is wrong.
        source: RecordError,
    },
    /// The answer is damaged.
    #[error("{server}: the answer makes no sense: {source}")]
    Frame {
        /// The host.
        server: Server,
        /// What is wrong.
        source: FrameError,
    },
    /// The server is older than what it was asked for.
    #[error("{server}: the server does not speak F01: it is a deployed one, or too old")]
    Old {
        /// The host.
        server: Server,
    },
    /// The host said no.
    #[error("{server}: {what}: {message}")]
    Denied {
        /// The host.
        server: Server,
        /// What was asked, as in "image a/b".
        what: String,
        /// The class.
        code: ErrorCode,
        /// Why.
        message: String,
    },
    /// The caller wants no more.
    #[error("stopped")]
    Stopped,
}

impl ClientError {
    /// True if asking again later may help: the host is busy with the image, or cannot be reached
    /// now.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Denied { code, .. } => *code == ErrorCode::TryAgain,
            Self::Connect { .. } | Self::Io { .. } | Self::Silent { .. } | Self::Closed { .. } => {
                true
            }
            Self::Resolve { .. }
            | Self::NotAHost { .. }
            | Self::Unexpected { .. }
            | Self::Record { .. }
            | Self::Frame { .. }
            | Self::Old { .. }
            | Self::Stopped => false,
        }
    }

    /// What the host said, if it said no.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Denied { code, .. } => Some(*code),
            _ => None,
        }
    }
}
