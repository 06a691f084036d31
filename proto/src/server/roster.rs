//! Who is there, as far as the server can tell.
//!
//! What it owns: a table of clients for people and programs to look at, and for each address an
//! account of the blocks it may cause to be sent. What it never does: decide what a client gets;
//! nothing here is needed for correctness, and both tables are bounded.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::time::Instant;
use crate::wire::{Statistics, Summary};

/// Clients in the table at most; the one not heard of for longest makes room.
pub const CLIENTS_MAX: usize = 4096;

/// Ids that one address may have in the table: clients that share a host.
const IDS_PER_ADDRESS_MAX: usize = 64;

/// An address earns one block for this many sent to all: even a stranger is served in the end.
const EARN_DIVISOR: u64 = 200;

/// What is known of a client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The id it joined with.
    pub id: u32,
    /// Where its datagrams come from.
    pub address: SocketAddr,
    /// True when its join carried extensions.
    pub is_new_peer: bool,
    /// When it joined.
    pub joined: Instant,
    /// When a datagram came from its address last.
    pub last_seen: Instant,
    /// Requests heard from its address, of both kinds.
    pub requests: u64,
    /// Blocks that its address asked for again after they had been sent.
    pub blocks_lost: u64,
    /// Loss in the last half second in millionths.
    pub loss: u64,
    /// True while it is too slow to steer the rate.
    pub is_laggard: bool,
    /// How far it is, from its last report.
    pub summary: Option<Summary>,
    /// Its counters, from its last report or its leave.
    pub statistics: Option<Statistics>,
    /// When it left.
    pub left: Option<Instant>,
}

/// What holds a client back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Nothing is known.
    Unknown,
    /// It loses datagrams.
    Network,
    /// It has no buffers free: decompression or the disk is slow.
    Disk,
    /// Nothing does; it takes what the server sends.
    Server,
}

impl Client {
    /// What holds it back, by its counters: lost blocks say the network, blocks that found no free
    /// buffer say the disk.
    pub fn stage(&self) -> Stage {
        match self.statistics {
            _ if self.is_laggard => Stage::Network,
            Some(s) if s.no_free_chunks > s.lost_blocks && s.no_free_chunks > 0 => Stage::Disk,
            Some(s) if s.lost_blocks > 0 => Stage::Network,
            Some(_) => Stage::Server,
            None if self.loss > 0 => Stage::Network,
            None => Stage::Unknown,
        }
    }
}

/// What one address may still cause.
#[derive(Clone, Copy, Debug)]
struct Account {
    blocks_left: u64,
    /// The session's count of blocks sent when the account was last credited.
    credited_at: u64,
    last_seen: Instant,
}

/// Clients and accounts.
#[derive(Debug)]
pub(super) struct Roster {
    image_blocks: u64,
    clients: BTreeMap<(IpAddr, u32), Client>,
    accounts: BTreeMap<IpAddr, Account>,
    joined_ever: bool,
    /// Clients that did not leave: asked for at every turn of the loop, so it is kept.
    present: usize,
}

impl Roster {
    pub(super) fn new(image_blocks: u64) -> Self {
        Self {
            image_blocks,
            clients: BTreeMap::new(),
            accounts: BTreeMap::new(),
            joined_ever: false,
            present: 0,
        }
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values()
    }

    /// True when somebody joined and nobody is left.
    pub(super) fn everybody_left(&self) -> bool {
        self.joined_ever && self.present == 0
    }

    /// Clients that joined and did not leave.
    pub(super) fn present(&self) -> usize {
        self.present
    }

    fn remove(&mut self, key: Option<(IpAddr, u32)>) {
        let removed = key.and_then(|key| self.clients.remove(&key));
        self.present -= usize::from(removed.is_some_and(|client| client.left.is_none()));
    }

    /// A join; returns true for a client that was not there.
    pub(super) fn join(
        &mut self,
        now: Instant,
        id: u32,
        address: SocketAddr,
        is_new_peer: bool,
        blocks_sent: u64,
    ) -> bool {
        let ip = address.ip();
        self.joined_ever = true;
        if let Some(client) = self.clients.get_mut(&(ip, id)) {
            client.last_seen = now;
            client.is_new_peer |= is_new_peer;
            let was_gone = client.left.take().is_some();
            self.present += usize::from(was_gone);
            return was_gone;
        }
        let same_host = self.clients.range((ip, 0)..=(ip, u32::MAX));
        if same_host.clone().count() >= IDS_PER_ADDRESS_MAX {
            let oldest = same_host.min_by_key(|(_, c)| c.last_seen).map(|(key, _)| *key);
            self.remove(oldest);
        } else if self.clients.len() >= CLIENTS_MAX {
            let oldest = self.clients.iter().min_by_key(|(_, c)| c.last_seen).map(|(key, _)| *key);
            self.remove(oldest);
        }
        self.present += 1;
        self.clients.insert(
            (ip, id),
            Client {
                id,
                address,
                is_new_peer,
                joined: now,
                last_seen: now,
                requests: 0,
                blocks_lost: 0,
                loss: 0,
                is_laggard: false,
                summary: None,
                statistics: None,
                left: None,
            },
        );
        // A client needs the file once; a quarter more for losses. Joining again and again does
        // not add up to more than four files.
        let grant = self.image_blocks.saturating_add(self.image_blocks / 4);
        let account = self.account(now, ip, blocks_sent);
        let limit = grant.saturating_mul(4);
        account.blocks_left = account.blocks_left.saturating_add(grant).min(limit);
        true
    }

    /// A leave; the client's counters if it sent any. False for one that was not there.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        id: u32,
        ip: IpAddr,
        statistics: Option<Statistics>,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&(ip, id)) else { return false };
        client.last_seen = now;
        client.statistics = statistics.or(client.statistics);
        let was_there = client.left.replace(now).is_none();
        self.present -= usize::from(was_there);
        was_there
    }

    /// Something of this id and address to look at or change.
    pub(super) fn client_mut(&mut self, ip: IpAddr, id: u32) -> Option<&mut Client> {
        self.clients.get_mut(&(ip, id))
    }

    /// The clients at an address that are still there; requests do not say whose they are.
    pub(super) fn at_address(&mut self, ip: IpAddr) -> impl Iterator<Item = &mut Client> {
        let range = self.clients.range_mut((ip, 0)..=(ip, u32::MAX));
        range.map(|(_, c)| c).filter(|c| c.left.is_none())
    }

    /// Charges an address for blocks it asks for; false when it has used up its share.
    pub(super) fn charge(
        &mut self,
        now: Instant,
        ip: IpAddr,
        blocks: u32,
        blocks_sent: u64,
    ) -> bool {
        let account = self.account(now, ip, blocks_sent);
        match account.blocks_left.checked_sub(u64::from(blocks)) {
            Some(left) => {
                account.blocks_left = left;
                true
            }
            None => false,
        }
    }

    fn account(&mut self, now: Instant, ip: IpAddr, blocks_sent: u64) -> &mut Account {
        if !self.accounts.contains_key(&ip) && self.accounts.len() >= CLIENTS_MAX {
            let oldest = self.accounts.iter().min_by_key(|(_, a)| a.last_seen).map(|(ip, _)| *ip);
            oldest.map(|ip| self.accounts.remove(&ip));
        }
        let account = self.accounts.entry(ip).or_insert(Account {
            blocks_left: 0,
            credited_at: blocks_sent,
            last_seen: now,
        });
        let earned = blocks_sent.saturating_sub(account.credited_at) / EARN_DIVISOR;
        if earned > 0 {
            account.blocks_left = account.blocks_left.saturating_add(earned);
            account.credited_at = blocks_sent;
        }
        account.last_seen = now;
        account
    }
}
