//! What a server is told beyond its file and its network.

use crate::exit_rule::IdleExit;
use crate::gate::Budget;
use crate::image::Image;
use crate::network::{link_speed, overhead_bytes};
use mcast::GroupSocket;
use proto::server::{Config, IDLE_DEFAULT, RateConfig};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a server, all with a default.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bits per second on the wire, everything that Ethernet adds included; all clients together.
    /// `None` adapts to evidence of loss, from the link's speed downwards.
    pub bits_per_sec: Option<u64>,
    /// Blocks sent back to back at most.
    pub burst_blocks: u32,
    /// When to end.
    pub idle_exit: IdleExit,
    /// Renew the group's membership after this long without a datagram.
    pub keep_alive: Option<Duration>,
    /// Also serve clients that ask this machine alone, each at its own pace. Always on when the
    /// group's address is a machine's. Whoever can forge a source address can make a server that
    /// allows it send up to one file and a quarter to a victim.
    pub unicast: bool,
    /// A bandwidth that this server shares with others of this process.
    pub total: Option<Arc<Budget>>,
    /// Memory for chunks that were read ahead, in bytes.
    pub cache_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bits_per_sec: None,
            burst_blocks: BURST_DEFAULT,
            idle_exit: IdleExit::After(IDLE_DEFAULT),
            keep_alive: None,
            unicast: false,
            total: None,
            cache_bytes: 32 << 20,
        }
    }
}

/// Blocks in a burst unless told otherwise: what one system call sends with little latency.
pub const BURST_DEFAULT: u32 = 44;

/// Most blocks in a burst.
pub const BURST_MAX: u32 = 1024;

/// Seconds between the reports that clients are asked for.
const PROGRESS_SECS: u32 = 1;

/// What all sessions of a server have in common.
#[derive(Debug)]
pub(crate) struct SessionPlan {
    /// The session of the group; others differ in the group's address only.
    pub(crate) config: Config,
}

impl SessionPlan {
    pub(crate) fn new(image: &Image, socket: &GroupSocket, settings: &Settings) -> Self {
        let (group, local) = (socket.group(), socket.local_addr().ip());
        let rate = match settings.bits_per_sec {
            Some(rate) => RateConfig::Fixed(rate),
            None => RateConfig::Automatic { link: link_speed(socket) },
        };
        let defaults = Config::new(image.geometry(), group.ip(), group.port(), local);
        let config = Config {
            image_id: image.image_id(),
            server_run: random_number(),
            rate,
            overhead_bytes: overhead_bytes(socket),
            burst_blocks_max: settings.burst_blocks.clamp(1, BURST_MAX),
            // One rule for all sessions together; see `exit_rule`.
            idle_exit: IdleExit::Never,
            progress_secs: Some(PROGRESS_SECS),
            keep_alive: settings.keep_alive.map(Into::into),
            ..defaults
        };
        Self { config }
    }

    /// The configuration for one client's session.
    pub(crate) fn unicast(&self, client: IpAddr) -> Config {
        Config { group: client, keep_alive: None, ..self.config }
    }

    /// Chunks that the memory for reading ahead holds.
    pub(crate) fn slots(&self, settings: &Settings) -> usize {
        let chunks = settings.cache_bytes / self.config.geometry.chunk_bytes().max(1);
        let chunks = chunks.min(u64::from(self.config.geometry.chunks()));
        usize::try_from(chunks).unwrap_or(usize::MAX).max(2)
    }
}

/// A number that another run of this program does not have.
pub(crate) fn random_number() -> u64 {
    // The standard library keys its hash maps with random numbers.
    RandomState::new().build_hasher().finish()
}
