//! What to tell a user to whom nothing comes.
//!
//! What it owns: the words for each stage at which a load can be stuck. What it never does: decide
//! that it is stuck.

use mcast::{GroupKind, GroupSocket};
use proto::client::{Counters, Seen, Session};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// A silence, and what was and was not seen before and during it.
#[derive(Clone, Debug)]
pub struct Silence {
    seen: Seen,
    span: Duration,
    group: SocketAddr,
    kind: GroupKind,
    interface: String,
    local: SocketAddr,
    counters: Counters,
    joins: u32,
    chunks: Option<(u32, u32)>,
    server: Option<SocketAddr>,
    kernel_drops: u64,
}

impl Silence {
    /// Describes a session to which nothing new has come for `span`.
    pub(crate) fn new(
        seen: Seen,
        span: Duration,
        session: &Session,
        socket: &GroupSocket,
        server: Option<SocketAddr>,
    ) -> Self {
        Self {
            seen,
            span,
            group: socket.group_addr(),
            kind: socket.kind(),
            interface: socket.interface().name().to_owned(),
            local: socket.local_addr(),
            counters: *session.counters(),
            joins: session.join_attempts(),
            chunks: session.geometry().map(|g| (session.chunks_complete(), g.chunks())),
            server,
            kernel_drops: socket.kernel_drops().unwrap_or(0),
        }
    }

    /// How far the client got.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// Things to look at for a network that brings nothing.
    fn network(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (interface, port) = (&self.interface, self.group.port());
        write!(
            f,
            "\n  - is {interface} the right interface? (-i NAME or ADDRESS; `ip route get {}`)",
            self.group.ip()
        )?;
        if self.kind == GroupKind::Multicast {
            write!(
                f,
                "\n  - does the switch forward the group? IGMP snooping needs a querier on the \
                 network; -K 60 renews the membership, -b tries broadcast"
            )?;
        }
        write!(f, "\n  - does a firewall drop UDP port {port}, here or on the server?")
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (span, group, c) = (self.span.as_secs(), self.group, &self.counters);
        let local = self.local.ip();
        let on = format!("on interface {} ({local})", self.interface);
        let server = self.server.map_or_else(|| "the server".into(), |s| format!("server {s}"));
        let (complete, chunks) = self.chunks.unwrap_or_default();
        match self.seen {
            Seen::Nothing => {
                write!(
                    f,
                    "nothing at all was received from group {group} {on} for {span} s; {} join \
                     requests were sent. Check:\n  - does a server run, with the same group and \
                     port?",
                    self.joins
                )?;
                self.network(f)
            }
            Seen::NoReply => {
                write!(
                    f,
                    "no server answered {} join requests to group {group} {on} for {span} s; {} \
                     datagrams were received ({} not of this protocol, {} from an address or port \
                     that is not what they say). Check:\n  - does a server run, with the same \
                     group and port? What came may be other clients that wait too\n  - for a file \
                     that is no image, use -N",
                    self.joins,
                    c.datagrams - c.own,
                    c.undecodable,
                    c.bad_source
                )?;
                self.network(f)
            }
            Seen::NoData => {
                write!(
                    f,
                    "{server} answered, but no block came for {span} s ({complete} of {chunks} \
                     chunks are here, {} requests were sent {on}). Check:\n  - is the server still \
                     running and reachable? (`ping`)\n  - if blocks came for some minutes and then \
                     stopped, the switch forgot the membership",
                    c.requests + c.partial_requests
                )?;
                self.network(f)
            }
            Seen::NoProgress => write!(
                f,
                "blocks arrive from {server}, but for {span} s none that was missing ({complete} \
                 of {chunks} chunks are here; {} blocks came twice, {} without a free buffer, {} \
                 from another sender, {} were dropped by this machine's kernel). Check:\n  - do \
                 two servers use group {group}?\n  - does the server serve other clients first? \
                 Its status shows it\n  - does this client's disk keep up?",
                c.duplicate_blocks + c.duplicate_chunk_blocks,
                c.blocks_without_slot,
                c.foreign_blocks,
                self.kernel_drops
            ),
        }
    }
}
