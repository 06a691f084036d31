//! F01, our own protocol on the rendezvous port: frames of a version, a type, a length and a body.
//!
//! What it owns: bytes to meaning and back, and the limits. What it never does: IO. Bodies are JSON
//! objects of which unknown fields are ignored, but for [`Kind::Data`], which is raw.
//! docs/rendezvous.md describes who sends what when.
//!
//! A reader takes [`HEADER_LEN`] bytes, parses a [`Header`] (which refuses bodies beyond the limit
//! of their kind before anything is allocated), reads the body and, unless it is data, decodes a
//! [`Message`].

mod message;
mod network;
mod upload;

pub use message::{Failure, Message};
pub use network::{Test, TestDone, TestReply, TestStart, Trouble, TroubleReply, What};
pub use upload::{Abort, Ack, Digest, End, Token, Upload, UploadReply, UploadStart, Verdict};

use crate::OPENING_LEN;
use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version in front of every frame.
pub const VERSION: [u8; 4] = *b"F01\0";

/// Bytes of a frame's header: version, type, length of the body.
pub const HEADER_LEN: usize = 12;

/// Bytes of a JSON body at most.
pub const JSON_LEN_MAX: u32 = 64 << 10;

/// Bytes of data in one frame at most.
pub const DATA_LEN_MAX: u32 = 1 << 20;

/// A server acknowledges at least once in this many bytes.
pub const ACK_EVERY_BYTES: u64 = 16 << 20;

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// 1, to the server: may I upload this?
    Upload,
    /// 2, to the sender: yes, from there on; or no.
    UploadReply,
    /// 3, to the server: bytes of the file.
    Data,
    /// 4, to the sender: so much is safe.
    Ack,
    /// 5, to the server: that was all.
    End,
    /// 6, to the sender: published, or why not.
    Verdict,
    /// 7, to the server: a session does not work for me.
    Trouble,
    /// 8, to the client: noted.
    TroubleReply,
    /// 9, to the server: please send test datagrams.
    Test,
    /// 10, to the client: what will be sent.
    TestReply,
    /// 11, to the client: what was sent.
    TestDone,
    /// 12, to the server: the upload is given up; nobody will resume it.
    Abort,
}

impl Kind {
    /// The type as it travels.
    pub fn to_wire(self) -> u32 {
        match self {
            Self::Upload => 1,
            Self::UploadReply => 2,
            Self::Data => 3,
            Self::Ack => 4,
            Self::End => 5,
            Self::Verdict => 6,
            Self::Trouble => 7,
            Self::TroubleReply => 8,
            Self::Test => 9,
            Self::TestReply => 10,
            Self::TestDone => 11,
            Self::Abort => 12,
        }
    }

    /// `None`: there is no such type.
    pub fn from_wire(kind: u32) -> Option<Self> {
        Some(match kind {
            1 => Self::Upload,
            2 => Self::UploadReply,
            3 => Self::Data,
            4 => Self::Ack,
            5 => Self::End,
            6 => Self::Verdict,
            7 => Self::Trouble,
            8 => Self::TroubleReply,
            9 => Self::Test,
            10 => Self::TestReply,
            11 => Self::TestDone,
            12 => Self::Abort,
            _ => return None,
        })
    }

    /// Bytes of its body at most.
    pub fn body_len_max(self) -> u32 {
        if self == Self::Data { DATA_LEN_MAX } else { JSON_LEN_MAX }
    }
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Another protocol.
    #[error("expected a frame of version F01, found \"{}\"", .0.escape_ascii())]
    Version([u8; 4]),
    /// No such type.
    #[error("there are no F01 frames of type {0}")]
    Kind(u32),
    /// Longer than a body of its kind may be.
    #[error("a {kind:?} frame says it has {len} bytes; {} are the most", kind.body_len_max())]
    TooLong {
        /// The frame.
        kind: Kind,
        /// What its header says.
        len: u32,
    },
    /// The body is not the JSON object that belongs to the type.
    #[error("the body of a {kind:?} frame is not understood: {source}")]
    Body {
        /// The frame.
        kind: Kind,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// Data where a message was expected.
    #[error("expected a message, found data")]
    Data,
}

/// A header of the bytes that [`opening`](crate::opening) took and those behind them.
pub fn joined_header(
    head: [u8; OPENING_LEN],
    len: [u8; HEADER_LEN - OPENING_LEN],
) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    for (to, from) in header.iter_mut().zip(head.iter().chain(&len)) {
        *to = *from;
    }
    header
}

/// The bytes of a header, named and not judged.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    version: [u8; 4],
    kind: U32,
    len: U32,
}

const _: () = assert!(size_of::<RawHeader>() == HEADER_LEN);

/// What is in front of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    kind: Kind,
    body_len: u32,
}

impl Header {
    /// A header for a body of this length; none if a body of its kind may not be as long.
    pub fn new(kind: Kind, body_len: usize) -> Option<Self> {
        let body_len = u32::try_from(body_len).ok().filter(|len| *len <= kind.body_len_max())?;
        Some(Self { kind, body_len })
    }

    /// Checks version, type and length.
    pub fn parse(bytes: [u8; HEADER_LEN]) -> Result<Self, FrameError> {
        let raw = RawHeader::read_from_bytes(&bytes).map_err(|_| FrameError::Version([0; 4]))?;
        if raw.version != VERSION {
            return Err(FrameError::Version(raw.version));
        }
        let kind = Kind::from_wire(raw.kind.get()).ok_or(FrameError::Kind(raw.kind.get()))?;
        let len = raw.len.get();
        if len > kind.body_len_max() {
            return Err(FrameError::TooLong { kind, len });
        }
        Ok(Self { kind, body_len: len })
    }

    /// As it travels.
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let (kind, len) = (U32::new(self.kind.to_wire()), U32::new(self.body_len));
        zerocopy::transmute!(RawHeader { version: VERSION, kind, len })
    }

    /// What follows.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// Bytes that follow: at most [`Kind::body_len_max`].
    pub fn body_len(self) -> usize {
        // At most a MiB: fits everywhere.
        usize::try_from(self.body_len).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
