//! Messages and the datagrams that carry them.
//!
//! What it owns: bytes to meaning and back, and the checks of the protocol's specification, to the
//! letter. What it never does: keep state, copy a payload, allocate, or panic on any input.
//!
//! [`decode`] accepts a datagram that is well formed; [`Message::check`] then asks whether it fits
//! a file's [`Geometry`](crate::geometry::Geometry), [`source_is_valid`] whether its sender is who
//! it says. [`encode`] is the inverse of [`decode`].

mod encode;
mod extension;
mod message;
mod raw;
mod source;
mod statistics;

pub use encode::{EncodeError, encode, encode_block_header};
pub use extension::{
    ANNOUNCEMENT_LEN_MAX, Announcement, EXTENSIONS_LEN_MAX, Extension, Extensions,
};
pub use message::{
    Datagram, DecodeError, Join2, Message, OutOfGeometry, Progress, ProgressReport, Summary, decode,
};
pub use source::{source_ip_field, source_is_valid};
pub use statistics::{STATISTICS_LEN, STATISTICS_VERSION, Statistics};

/// Bytes of the header in front of every message.
pub const HEADER_LEN: usize = 16;

/// Bytes in front of the payload of a BLOCK datagram.
pub const BLOCK_HEADER_LEN: usize = 24;

/// A buffer of this many bytes holds every datagram but a BLOCK: the largest is a PROGRESS report
/// with statistics.
pub const CONTROL_LEN_MAX: usize = 1076;

/// [`Progress::what`]: the report carries a summary.
pub const PROGRESS_SUMMARY: u16 = 1;

/// [`Progress::what`]: the report carries statistics.
pub const PROGRESS_STATISTICS: u16 = 2;

const KIND_REQUEST: i32 = 1;
const KIND_REPLY: i32 = 2;

const SUBTYPE_JOIN: i32 = 1;
const SUBTYPE_LEAVE: i32 = 2;
const SUBTYPE_BLOCK: i32 = 3;
const SUBTYPE_REQUEST: i32 = 4;
const SUBTYPE_LEAVE2: i32 = 5;
const SUBTYPE_PREQUEST: i32 = 6;
const SUBTYPE_JOIN2: i32 = 7;
const SUBTYPE_PROGRESS: i32 = 8;

#[cfg(test)]
mod tests;
