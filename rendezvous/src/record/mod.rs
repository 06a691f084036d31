//! V01, the protocol of the deployed master server: fixed-size records, one request and one reply
//! a connection.
//!
//! What it owns: bytes to meaning and back. What it never does: IO, or judge whether a name may be
//! asked for. docs/rendezvous.md describes the records.
//!
//! A reader takes [`HEADER_LEN`](crate::OPENING_LEN) bytes, asks [`opening`](crate::opening) what
//! follows, reads [`Kind::body_len`] bytes and decodes them. `encode` includes the header.

mod get;
mod put;
mod raw;
mod signature;

pub use get::{GetAnswer, GetReply, GetRequest, Methods, SessionAddress};
pub use put::{Existing, PutAnswer, PutReply, PutRequest};
pub use signature::Signature;

use crate::image_id::{ImageId, ImageIdError};
use raw::{IMAGE_ID_FIELD, RawGetReply, RawGetRequest, RawHeader, RawPutReply, RawPutRequest};
use std::net::Ipv4Addr;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version in front of every record.
pub const VERSION: [u8; 4] = *b"V01\0";

/// What a record is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Type 1.
    GetRequest,
    /// Type 2.
    GetReply,
    /// Type 3.
    PutRequest,
    /// Type 4.
    PutReply,
}

impl Kind {
    /// The type as it travels.
    pub fn to_wire(self) -> u32 {
        match self {
            Self::GetRequest => 1,
            Self::GetReply => 2,
            Self::PutRequest => 3,
            Self::PutReply => 4,
        }
    }

    /// `None`: there is no such type.
    pub fn from_wire(kind: u32) -> Option<Self> {
        match kind {
            1 => Some(Self::GetRequest),
            2 => Some(Self::GetReply),
            3 => Some(Self::PutRequest),
            4 => Some(Self::PutReply),
            _ => None,
        }
    }

    /// Bytes behind the header.
    pub fn body_len(self) -> usize {
        match self {
            Self::GetRequest => size_of::<RawGetRequest>(),
            Self::GetReply => size_of::<RawGetReply>(),
            Self::PutRequest => size_of::<RawPutRequest>(),
            Self::PutReply => size_of::<RawPutReply>(),
        }
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecordError {
    /// Too few or too many bytes.
    #[error("a {kind:?} record has {expected} bytes behind its header, not {found}")]
    Length {
        /// What was to be decoded.
        kind: Kind,
        /// Its length.
        expected: usize,
        /// The length of what was given.
        found: usize,
    },
    /// The name.
    #[error(transparent)]
    ImageId(#[from] ImageIdError),
    /// A request for none of the known methods.
    #[error("a GET request must want unicast (1), multicast (2) or broadcast (4), not {0:#x}")]
    Methods(u8),
}

/// The bytes of a record that has exactly the right length.
fn read<T: FromBytes + Immutable + KnownLayout + Unaligned>(
    kind: Kind,
    body: &[u8],
) -> Result<&T, RecordError> {
    let (expected, found) = (size_of::<T>(), body.len());
    T::ref_from_bytes(body).map_err(|_| RecordError::Length { kind, expected, found })
}

/// Header and body.
fn write<T: IntoBytes + Immutable>(kind: Kind, body: &T) -> Vec<u8> {
    let header = RawHeader { version: VERSION, kind: U32::new(kind.to_wire()) };
    [header.as_bytes(), body.as_bytes()].concat()
}

fn image_id(field: &[u8; IMAGE_ID_FIELD], len: U16) -> Result<ImageId, RecordError> {
    let len = usize::from(len.get());
    let name = field.get(..len).ok_or(ImageIdError::TooLong(len))?;
    Ok(ImageId::new(name)?)
}

fn image_id_field(id: &ImageId) -> ([u8; IMAGE_ID_FIELD], U16) {
    let mut field = [0; IMAGE_ID_FIELD];
    for (to, from) in field.iter_mut().zip(id.as_bytes()) {
        *to = *from;
    }
    (field, U16::new(u16::try_from(id.as_bytes().len()).unwrap_or(0)))
}

/// The host that a request is for; none: the one that sends it.
fn host(field: [u8; 4]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(field)).filter(|address| !address.is_unspecified())
}

fn host_field(host: Option<Ipv4Addr>) -> [u8; 4] {
    host.unwrap_or(Ipv4Addr::UNSPECIFIED).octets()
}

fn joined(high: U32, low: U32) -> u64 {
    u64::from(high.get()) << 32 | u64::from(low.get())
}

/// High and low half.
fn split(bytes: u64) -> (U32, U32) {
    let [a, b, c, d, e, f, g, h] = bytes.to_be_bytes();
    (U32::from_bytes([a, b, c, d]), U32::from_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests;
