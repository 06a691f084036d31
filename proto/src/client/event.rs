//! What a client session says to its caller.

use std::net::SocketAddr;

use crate::geometry::{Geometry, GeometryError};

/// What became of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received<'a> {
    /// Nothing for the caller to do.
    Nothing,
    /// A block that was missing: copy the payload to `block` x block size in the buffer of `slot`
    /// before the next call. The file's last block is padded with zeros.
    Block {
        /// The chunk.
        chunk: u32,
        /// The block in the chunk.
        block: u32,
        /// The buffer, below [`Config::slots`](super::Config::slots).
        slot: u32,
        /// One block, borrowed from the datagram.
        payload: &'a [u8],
    },
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Destination {
    /// To the group and port.
    Group,
    /// To one address.
    Address(SocketAddr),
}

/// A datagram in the caller's buffer, to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// Where it goes.
    pub to: Destination,
    /// Its length in bytes.
    pub len: usize,
}

/// Something the caller must know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The server answered; the load begins.
    Joined {
        /// The file.
        geometry: Geometry,
        /// The server.
        server: SocketAddr,
        /// Identity of the image, if the server is new enough to say.
        image_id: Option<[u8; 16]>,
    },
    /// All blocks of a chunk are in its buffer. Say [`Session::chunk_done`](super::Session::chunk_done) or
    /// [`Session::chunk_rejected`](super::Session::chunk_rejected) when through with it.
    ChunkComplete {
        /// The chunk.
        chunk: u32,
        /// Its buffer.
        slot: u32,
        /// Who sent its first block.
        sender: SocketAddr,
    },
    /// All chunks are done. Say [`Session::leave`](super::Session::leave).
    Finished,
    /// The server was restarted; the load goes on.
    ServerRestarted,
    /// The server now serves something else: what is on the disk and what would come do not
    /// belong together. The session is over.
    ImageChanged {
        /// The file that was being loaded.
        geometry: Geometry,
        /// The file that is served now; `None` when only its identity differs.
        now: Option<Geometry>,
    },
    /// The server described a file that this client cannot take. The session is over.
    Refused(GeometryError),
    /// Nothing new came for [`Config::give_up_after`](super::Config::give_up_after). The session is over.
    GaveUp(Seen),
    /// The leave was sent as often as it will be.
    Left,
}

/// How far a client got that gave up; tells what to check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// No datagram at all: interface, group, IGMP, firewall, or no server.
    Nothing,
    /// Datagrams, but no reply to a join.
    NoReply,
    /// A reply, but no block since: requests do not arrive, or the server is gone.
    NoData,
    /// Blocks, but none that was missing.
    NoProgress,
}

/// What the session counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Datagrams received, good and bad.
    pub datagrams: u64,
    /// ... from this client's own address and of the kinds that clients send: its own, come back.
    pub own: u64,
    /// Datagrams that are not messages, or of an unknown subtype.
    pub undecodable: u64,
    /// Messages whose sender is not who it says.
    pub bad_source: u64,
    /// Messages about what the file does not have.
    pub out_of_geometry: u64,
    /// Blocks from an address that is not the server's.
    pub foreign_blocks: u64,
    /// Blocks received from the server.
    pub blocks: u64,
    /// ... of them taken.
    pub blocks_taken: u64,
    /// ... of chunks already complete.
    pub duplicate_chunk_blocks: u64,
    /// ... already there.
    pub duplicate_blocks: u64,
    /// ... for which no buffer was free.
    pub blocks_without_slot: u64,
    /// Requests sent for whole chunks, repeated ones too.
    pub requests: u64,
    /// ... of them repeated.
    pub requests_again: u64,
    /// Partial requests sent.
    pub partial_requests: u64,
    /// ... of them repeated.
    pub partial_requests_again: u64,
    /// Blocks that were sent and did not arrive.
    pub blocks_lost: u64,
    /// Chunks that failed the caller's verification.
    pub chunks_rejected: u64,
}
