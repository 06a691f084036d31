//! What a client session is told when it is made.

use std::net::IpAddr;

use crate::time::Duration;

/// Settings of a client session.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The group's address: multicast, broadcast, or the server's.
    pub group: IpAddr,
    /// The port of everybody.
    pub port: u16,
    /// The address of the interface that the client sends from; it becomes `srcip`.
    pub local: IpAddr,
    /// A number drawn at random for this load.
    pub client_id: u32,
    /// Decides everything that is random in the session.
    pub seed: u64,
    /// What to ask for at the join.
    pub join: JoinKind,
    /// Chunk buffers: slots 0 up to this. A chunk is taken only when one is free.
    pub slots: u32,
    /// The last free slot is kept for chunk 0 until something of it has arrived: for a caller that
    /// holds complete chunks back until it has seen chunk 0. Needs two slots or more.
    pub keep_slot_for_first: bool,
    /// Give up after this long without a new block; `None` never does.
    pub give_up_after: Option<Duration>,
}

/// What to ask for at the join.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JoinKind {
    /// An image: JOIN2 and JOIN in turn, either reply will do. Old servers answer both as a rule,
    /// the oldest only JOIN.
    Image,
    /// A file of any size: JOIN2 only.
    File,
}

impl Config {
    /// The defaults: an image, 64 buffers as deployed, never giving up.
    pub fn new(group: IpAddr, port: u16, local: IpAddr, client_id: u32, seed: u64) -> Self {
        Self {
            group,
            port,
            local,
            client_id,
            seed,
            join: JoinKind::Image,
            slots: 64,
            keep_slot_for_first: false,
            give_up_after: None,
        }
    }
}
