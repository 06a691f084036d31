//! What the client's doctor has seen.
//!
//! What it owns: the facts that [`crate::client::conclude`] turns into sentences, and what a test's numbers mean.
//! What it never does: gather them, or say anything.

use crate::firewall::Suspicion;
use crate::tally::Stretch;
use mcast::igmp::HeardQuerier;
use rendezvous::frame::TestStart;
use std::net::IpAddr;
use std::time::Duration;

/// One test and what arrived of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Measured {
    /// What the server said it would send, in the last round.
    pub start: TestStart,
    /// What arrived, all rounds together.
    pub stretch: Stretch,
    /// As many datagrams as were sent in half a second: fewer missing in a row mean nothing.
    pub half_second: u64,
    /// Packets of whatever kind that the interface received meanwhile.
    pub packets: u64,
    /// Packets that the reverse path filter dropped meanwhile.
    pub reverse_path: u64,
}

impl Measured {
    pub(super) fn nothing_came(&self) -> bool {
        self.stretch.received == 0
    }

    /// It came, and stopped before the end or in between.
    pub(super) fn stopped(&self) -> bool {
        let stretch = &self.stretch;
        // What this machine's kernel dropped is no interruption of the network.
        let interrupted = stretch.missing_in_gaps > stretch.kernel_drops;
        !self.nothing_came() && (stretch.missing_after > self.half_second || interrupted)
    }

    /// The interface received about as many packets as were sent, most of the lost ones included:
    /// they are lost inside this machine. Many more prove nothing: those are of something else.
    pub(super) fn reached_the_interface(&self) -> bool {
        let (sent, lost) =
            (self.stretch.sent, self.stretch.sent - self.stretch.received.min(self.stretch.sent));
        let others_max = sent / 5 + 200;
        lost > 0 && self.packets + lost / 4 >= sent && self.packets <= sent + others_max
    }

    pub(super) fn group(&self) -> String {
        format!("{} port {}", self.start.group, self.start.port)
    }
}

/// What the client's doctor has seen.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The server.
    pub server: Option<IpAddr>,
    /// The interface through which it is reached.
    pub toward: Option<String>,
    /// The interface that the group was joined on.
    pub interface: String,
    /// It was chosen by the routing table.
    pub by_route: bool,
    /// It is up and has a carrier.
    pub running: bool,
    /// It carries multicast.
    pub carries_multicast: bool,
    /// The test of the group; `None` when the server refused it.
    pub multicast: Option<Measured>,
    /// Why it refused.
    pub multicast_refused: Option<String>,
    /// What arrived of it on other interfaces.
    pub elsewhere: Vec<(String, Stretch)>,
    /// The test to this machine alone; `None` when the server refused it.
    pub unicast: Option<Measured>,
    /// Why it refused.
    pub unicast_refused: Option<String>,
    /// Queriers heard meanwhile; `None` when we may not listen.
    pub queriers: Option<Vec<HeardQuerier>>,
    /// For how long.
    pub listened: Duration,
    /// The kernel remembers a querier of version 1 or 2 from the last minutes.
    pub older_querier: bool,
    /// Firewall rules of this machine that may drop the datagrams; `None` when they cannot be read.
    pub suspicions: Option<Vec<Suspicion>>,
}

impl Evidence {
    /// True when the test went to an IPv4 group, about which IGMP has a say.
    pub(super) fn is_ipv4(&self) -> bool {
        self.multicast.as_ref().is_none_or(|measured| matches!(measured.start.group, IpAddr::V4(_)))
    }
}
