//! What a server session says to its caller.

use std::net::SocketAddr;

use crate::wire::Statistics;

/// What to send next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transmit {
    /// A datagram of `len` bytes is in the caller's buffer; it goes to the group.
    Control {
        /// Bytes of the datagram.
        len: usize,
    },
    /// Consecutive blocks for the caller to read, put behind
    /// [`encode_block_header`](crate::wire::encode_block_header)s, and send to the group.
    Blocks {
        /// The chunk.
        chunk: u32,
        /// The first block.
        first: u32,
        /// The number of blocks, at least 1.
        count: u32,
    },
}

/// Something the caller may want to know or must do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A client joined, or came back.
    Joined {
        /// Its id.
        client_id: u32,
        /// Its address.
        address: SocketAddr,
    },
    /// A client left.
    Left {
        /// Its id.
        client_id: u32,
        /// Its address.
        address: SocketAddr,
        /// What it counted; `None` from the oldest clients.
        statistics: Option<Statistics>,
    },
    /// The automatic rate changed.
    Rate {
        /// Bits per second on the wire.
        bits_per_sec: u64,
    },
    /// Nothing was heard for the keep-alive time: renew the group's membership.
    KeepAlive,
    /// The session is over; said once.
    Finished(FinishReason),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FinishReason {
    /// Nobody asked for anything for the idle time.
    Idle,
    /// The last client left.
    Empty,
}

/// What the session counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Blocks handed out to be sent.
    pub blocks_sent: u64,
    /// Datagrams received, good and bad.
    pub datagrams: u64,
    /// Datagrams that are not messages.
    pub undecodable: u64,
    /// ... of them of an unknown type or subtype.
    pub unknown: u64,
    /// Messages whose sender is not who it says.
    pub bad_source: u64,
    /// Requests for what the file does not have.
    pub out_of_geometry: u64,
    /// Joins, repeated ones too.
    pub joins: u64,
    /// Requests for runs of blocks.
    pub requests: u64,
    /// Partial requests.
    pub partial_requests: u64,
    /// Blocks asked for that waited in the queue already.
    pub blocks_merged: u64,
    /// Blocks asked for that were on their way.
    pub blocks_on_their_way: u64,
    /// Blocks asked for again after they had been sent.
    pub blocks_lost: u64,
    /// Requests served late because their address had used up its share.
    pub requests_over_share: u64,
}
