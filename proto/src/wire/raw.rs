//! The bytes on the wire, named and not judged.
//!
//! Every layout is the deployed one: integers little-endian, except an IPv4 address, which is in
//! network byte order. Sizes are asserted at compile time. What is valid is decided in
//! [`super::message`].

use zerocopy::byteorder::little_endian::{I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::block_set::BITMAP_LEN;

/// In front of every message.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawHeader {
    pub(super) kind: I32,
    pub(super) subtype: I32,
    pub(super) datalen: U32,
    pub(super) srcip: [u8; 4],
}

/// JOIN: a client's id in a request, the number of blocks in a reply.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawJoin {
    pub(super) value: U32,
}

/// JOIN2, in front of its extensions.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawJoin2 {
    pub(super) client_id: U32,
    pub(super) blocks: I32,
    pub(super) blocks_per_chunk: I32,
    pub(super) block_size: I32,
    pub(super) bytes: U64,
}

/// LEAVE, and the start of LEAVE2.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawLeave {
    pub(super) client_id: U32,
    pub(super) elapsed: I32,
}

/// BLOCK, in front of its payload.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawBlock {
    pub(super) chunk: I32,
    pub(super) block: I32,
}

/// REQUEST.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawRequest {
    pub(super) chunk: I32,
    pub(super) first: I32,
    pub(super) count: I32,
}

/// PREQUEST.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawPartialRequest {
    pub(super) chunk: I32,
    pub(super) retries: I32,
    pub(super) wanted: [u8; BITMAP_LEN],
}

/// PROGRESS: the whole request, and the start of a report.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawProgress {
    pub(super) client_id: U32,
    pub(super) who: [u8; 4],
    pub(super) when: U32,
    pub(super) what: U16,
    pub(super) seq: U16,
}

/// The summary in a PROGRESS report.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawSummary {
    pub(super) chunks_in: U32,
    pub(super) chunks_out: U32,
    pub(super) bytes_out: U64,
}

/// Bytes after the last known statistic, to the fixed size of 1028.
pub(super) const STATISTICS_PADDING_LEN: usize = 900;

/// The statistics of LEAVE2 and of PROGRESS reports, without the padding.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawStatistics {
    pub(super) version: I32,
    pub(super) runsec: I32,
    pub(super) runmsec: I32,
    pub(super) delayms: I32,
    pub(super) bytes_written: U64,
    pub(super) bytes_expanded: U64,
    pub(super) chunkbufs: I32,
    pub(super) maxreadahead: I32,
    pub(super) maxinprogress: I32,
    pub(super) pkttimeout: I32,
    pub(super) startdelay: I32,
    pub(super) idletimer: I32,
    pub(super) idledelay: I32,
    pub(super) redodelay: I32,
    pub(super) randomize: I32,
    pub(super) nochunksready: U32,
    pub(super) nofreechunks: U32,
    pub(super) dupchunk: U32,
    pub(super) dupblock: U32,
    pub(super) prequests: U32,
    pub(super) recvidles: U32,
    pub(super) joinattempts: U32,
    pub(super) requests: U32,
    pub(super) decompblocks: U32,
    pub(super) writeridles: U32,
    pub(super) writebufmem: I32,
    pub(super) lostblocks: U32,
    pub(super) rerequests: U32,
    pub(super) partialdrops: U32,
    pub(super) fullrerequests: U32,
}

const _: () = assert!(size_of::<RawHeader>() == 16);
const _: () = assert!(size_of::<RawJoin>() == 4);
const _: () = assert!(size_of::<RawJoin2>() == 24);
const _: () = assert!(size_of::<RawLeave>() == 8);
const _: () = assert!(size_of::<RawBlock>() == 8);
const _: () = assert!(size_of::<RawRequest>() == 12);
const _: () = assert!(size_of::<RawPartialRequest>() == 136);
const _: () = assert!(size_of::<RawProgress>() == 16);
const _: () = assert!(size_of::<RawSummary>() == 16);
const _: () = assert!(size_of::<RawStatistics>() + STATISTICS_PADDING_LEN == 1028);
