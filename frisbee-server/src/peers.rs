//! All sessions of a server: the group's, and one for each client that is served by itself.
//!
//! What it owns: which session a datagram is for, making and forgetting the sessions of single
//! clients, and the sums over all of them. What it never does: send.

use crate::exit_rule::Activity;
use crate::peer::Peer;
use crate::report::{ClientStatus, GONE_MAX, Totals};
use crate::settings::SessionPlan;
use mcast::{Datagram, GroupSocket};
use proto::time::{Duration, Instant};
use proto::wire::{self, Message};
use std::net::{IpAddr, SocketAddr};

/// Clients served by themselves at a time.
const UNICAST_MAX: usize = 64;

/// A session whose client was silent for this long and waits for nothing makes room.
const SILENT_MAX: Duration = Duration::from_secs(10 * 60);

/// What a datagram turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// Something for a session, or nothing of interest.
    Ordinary,
    /// Another server sends on this group.
    OtherServer,
    /// A client asks this machine alone, which is not allowed.
    UnicastRefused,
    /// There are too many clients that ask this machine alone.
    TooMany,
}

/// The sessions.
#[derive(Debug)]
pub(crate) struct Peers {
    plan: SessionPlan,
    own: SocketAddr,
    accepts_unicast: bool,
    has_group: bool,
    /// The group's first, if there is one.
    all: Vec<Peer>,
    /// Whose turn it is to send first.
    turn: usize,
    gone: Totals,
    clients_gone: Vec<ClientStatus>,
    bad: u64,
}

impl Peers {
    pub(crate) fn new(
        now: Instant,
        plan: SessionPlan,
        socket: &GroupSocket,
        has_group: bool,
        accepts_unicast: bool,
    ) -> Self {
        let group = has_group.then(|| Peer::new(now, plan.config, socket.group_addr(), None));
        Self {
            plan,
            own: socket.local_addr(),
            accepts_unicast,
            has_group,
            all: group.into_iter().collect(),
            turn: 0,
            gone: Totals::default(),
            clients_gone: Vec::new(),
            bad: 0,
        }
    }

    /// Gives a datagram to the session it is for.
    pub(crate) fn handle(&mut self, now: Instant, datagram: &Datagram<'_>) -> Heard {
        let from = datagram.source;
        let ip = from.ip().to_canonical();
        let decoded = wire::decode(datagram.bytes).ok();
        let asks = match decoded.map(|decoded| decoded.message) {
            // What servers send: our own, looped back, or another server's.
            Some(
                Message::JoinReply { .. }
                | Message::Join2Reply(_)
                | Message::Block { .. }
                | Message::ProgressRequest(_),
            ) if from.ip() == self.own.ip() => return Heard::Ordinary,
            Some(Message::JoinReply { .. } | Message::Join2Reply(_) | Message::Block { .. }) => {
                return Heard::OtherServer;
            }
            Some(
                Message::JoinRequest { .. }
                | Message::Join2Request(_)
                | Message::Request { .. }
                | Message::PartialRequest { .. },
            ) => true,
            _ => false,
        };
        let own = self.own.ip().to_canonical();
        let direct =
            !self.has_group || datagram.destination.is_some_and(|to| to.to_canonical() == own);
        if direct {
            if let Some(peer) = self.all.iter_mut().find(|peer| peer.client == Some(ip)) {
                peer.handle(now, from, datagram.bytes);
                return Heard::Ordinary;
            }
            if asks && !self.accepts_unicast {
                return Heard::UnicastRefused;
            }
            // Made only for a datagram that the new session will take.
            let srcip = decoded.map(|decoded| decoded.srcip).unwrap_or_default();
            if asks && wire::source_is_valid(srcip, from, ip, self.plan.config.port) {
                if self.all.len() > UNICAST_MAX {
                    return Heard::TooMany;
                }
                let mut peer = Peer::new(now, self.plan.unicast(ip), from, Some(ip));
                peer.handle(now, from, datagram.bytes);
                self.all.push(peer);
                return Heard::Ordinary;
            }
        }
        match self.all.first_mut().filter(|peer| peer.client.is_none()) {
            Some(group) => group.handle(now, from, datagram.bytes),
            None => self.bad += 1,
        }
        Heard::Ordinary
    }

    /// All sessions.
    pub(crate) fn all_mut(&mut self) -> &mut [Peer] {
        &mut self.all
    }

    /// Sessions in the order of this turn; the next turn begins with the next one.
    pub(crate) fn in_turn(&mut self) -> impl Iterator<Item = &mut Peer> {
        let at = self.turn.checked_rem(self.all.len()).unwrap_or(0);
        self.turn = at + 1;
        let (before, after) = self.all.split_at_mut(at);
        after.iter_mut().chain(before)
    }

    /// Chunks that each session may have read ahead, when there is room for this many in all.
    pub(crate) fn share_of(&self, slots: usize) -> usize {
        (slots / 2).checked_div(self.all.len()).unwrap_or(slots).max(1)
    }

    /// Forgets sessions of single clients that left or fell silent; keeps their numbers.
    pub(crate) fn forget(&mut self, now: Instant) {
        let Self { all, gone, clients_gone, plan, .. } = self;
        all.retain(|peer| {
            let session = &peer.session;
            let left = session.counters().joins > 0 && session.clients_present() == 0;
            let silent = now.since(peer.last_heard) > SILENT_MAX && session.blocks_waiting() == 0;
            let ends = peer.client.is_some() && (left || silent);
            if ends {
                gone.add(session.counters());
                let room = GONE_MAX.saturating_sub(clients_gone.len());
                let clients = session.clients().take(room);
                let status = |c| ClientStatus::new(now, c, &plan.config.geometry, true);
                clients_gone.extend(clients.map(status));
            }
            !ends
        });
    }

    /// The sums of what was counted.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.gone;
        totals.datagrams_bad += self.bad;
        for peer in &self.all {
            totals.add(peer.session.counters());
        }
        totals
    }

    /// What the exit rule wants to know.
    pub(crate) fn activity(&self) -> Activity {
        let totals = self.totals();
        Activity {
            present: self.present(),
            work: totals.joins + totals.requests + totals.blocks_sent,
            joined_ever: totals.joins > 0,
        }
    }

    /// Clients that are loading.
    pub(crate) fn present(&self) -> usize {
        self.all.iter().map(|peer| peer.session.clients_present()).sum()
    }

    /// Blocks asked for and not sent.
    pub(crate) fn blocks_waiting(&self) -> u64 {
        self.all.iter().map(|peer| peer.session.blocks_waiting()).sum()
    }

    /// The sum of all rates; without any session, the rate of the first client to come.
    pub(crate) fn rate(&self) -> u64 {
        self.all.iter().map(|peer| peer.session.rate()).fold(0, u64::saturating_add)
    }

    /// All clients: those that are there, and with `gone` those that left.
    pub(crate) fn clients(&self, now: Instant, gone: bool) -> Vec<ClientStatus> {
        let geometry = &self.plan.config.geometry;
        let here = self.all.iter().flat_map(|peer| {
            let unicast = peer.client.is_some();
            let clients = peer.session.clients().filter(|client| gone || client.left.is_none());
            clients.map(move |client| ClientStatus::new(now, client, geometry, unicast))
        });
        let gone = if gone { self.clients_gone.as_slice() } else { &[] };
        gone.iter().cloned().chain(here).collect()
    }

    /// What is known of one client, for its farewell.
    pub(crate) fn client(&self, now: Instant, ip: IpAddr, id: u32) -> Option<ClientStatus> {
        let geometry = &self.plan.config.geometry;
        self.all.iter().find_map(|peer| {
            let mut clients = peer.session.clients();
            let client = clients.find(|c| c.id == id && c.address.ip() == ip)?;
            Some(ClientStatus::new(now, client, geometry, peer.client.is_some()))
        })
    }
}
