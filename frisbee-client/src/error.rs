//! Why a load ended.

use crate::advice::Silence;
use imagezip::cli::{Class, Exit};
use imagezip::disk::OpenError;
use imagezip::load::LoadError;
use imagezip::ndz::FormatError;
use mcast::{SetupError, SocketError};
use proto::geometry::GeometryError;
use rendezvous::ErrorCode;
use std::net::SocketAddr;
use thiserror::Error;

/// Why a load ended, or was not begun.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is no socket to receive on.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The image host cannot be asked, or said no.
    #[error(transparent)]
    Host(#[from] rendezvous::client::ClientError),
    /// The network failed for good.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The target or the image.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Nothing new came for the time of `-T`.
    #[error("{0}")]
    GaveUp(Box<Silence>),
    /// The server describes a file that no client can take.
    #[error("the server describes a file that cannot be loaded: {0}")]
    Geometry(#[from] GeometryError),
    /// The file is no row of chunks of 1 MiB.
    #[error(
        "the server sends a file of {bytes} bytes in chunks of {chunk_bytes}, which is no image \
         (a multiple of 1048576 bytes); to take it as it is, use -N"
    )]
    NotAnImage {
        /// Its length.
        bytes: u64,
        /// Bytes of a chunk.
        chunk_bytes: u64,
    },
    /// Chunks are larger than the buffers.
    #[error("the server sends chunks of {chunk_bytes} bytes; this client takes 1048576 at most")]
    ChunkSize {
        /// Bytes of a chunk.
        chunk_bytes: u64,
    },
    /// The server serves something else than before.
    #[error(
        "the server at {server} now sends another image than the one that was being loaded; start \
         again, and check that only one server uses the group"
    )]
    ImageChanged {
        /// The server.
        server: SocketAddr,
    },
    /// A chunk was damaged each time it came.
    #[error(
        "chunk {chunk} was received {times} times from {sender} and is wrong each time: {source}"
    )]
    Rejected {
        /// The chunk.
        chunk: u32,
        /// How often.
        times: u32,
        /// Who sent its first block the last time.
        sender: SocketAddr,
        /// What is wrong with it.
        source: Box<FormatError>,
    },
}

impl ClientError {
    /// The exit status; `is_touched` when the target has been written to.
    pub fn exit(&self, is_touched: bool) -> Exit {
        let is_refusal = match self {
            Self::Load(error) => error.is_refusal(),
            Self::Host(error) => matches!(
                error.code(),
                Some(
                    ErrorCode::NoSuchHost
                        | ErrorCode::NoSuchImage
                        | ErrorCode::NoAccess
                        | ErrorCode::NoMethod
                        | ErrorCode::Invalid
                )
            ),
            Self::NotAnImage { .. } | Self::ChunkSize { .. } | Self::Geometry(_) => true,
            _ => false,
        };
        if is_refusal && !is_touched { Exit::Refused } else { Exit::Failed }
    }

    /// What kind of failure it is, for programs; `is_touched` as in [`Self::exit`].
    pub fn class(&self, is_touched: bool) -> Class {
        match self {
            _ if self.is_interruption() => Class::Interrupted,
            Self::Host(_) => Class::Server,
            Self::Setup(_) | Self::Socket(_) | Self::GaveUp(_) => Class::Network,
            Self::Load(LoadError::Format(FormatError::Corrupt { .. })) => Class::Damaged,
            Self::Rejected { source, .. } if matches!(**source, FormatError::Corrupt { .. }) => {
                Class::Damaged
            }
            _ if self.exit(is_touched) == Exit::Refused => Class::Refused,
            Self::Load(LoadError::Open(OpenError::SectorSize { .. })) => Class::Refused,
            Self::Load(LoadError::EndedEarly) => Class::Failed,
            Self::Load(LoadError::Format(_) | LoadError::Image { .. }) => Class::Damaged,
            Self::Load(_) => Class::Disk,
            _ => Class::Failed,
        }
    }

    /// True when a signal ended the load.
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Load(LoadError::Interrupted)
                | Self::Host(rendezvous::client::ClientError::Stopped)
        )
    }
}
