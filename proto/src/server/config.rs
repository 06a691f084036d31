//! What a server session is told when it is made.

use std::net::IpAddr;

use crate::geometry::Geometry;
use crate::time::Duration;

/// Settings of a server session.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The file.
    pub geometry: Geometry,
    /// The group's address: multicast, broadcast, or one client's.
    pub group: IpAddr,
    /// The port of everybody.
    pub port: u16,
    /// The address of the interface that the server sends from; it becomes `srcip`.
    pub local: IpAddr,
    /// Identity of the image, told to new clients so that they notice a changed file.
    pub image_id: Option<[u8; 16]>,
    /// A number drawn at random when the server starts; tells clients of a restart.
    pub server_run: u64,
    /// How fast blocks go out.
    pub rate: RateConfig,
    /// Bytes that the network adds to a datagram: 66 over Ethernet and IPv4 (preamble, frame,
    /// check sequence, gap, IP and UDP headers), as deployed servers count.
    pub overhead_bytes: u32,
    /// Blocks sent back to back at most, one batch of system calls. Below 2.5 Gb/s never more
    /// than 16, for switches with shallow buffers.
    pub burst_blocks_max: u32,
    /// A block asked for again this soon after it was sent is on its way and not sent twice. Should
    /// be a little more than a round trip with the clients' reaction time: 4 ms suits a local
    /// network. New clients do not repeat a request sooner than 25 ms.
    pub delivery_time: Duration,
    /// When the session ends by itself.
    pub idle_exit: IdleExit,
    /// Seconds between the reports that clients are asked for; `None` asks for none.
    pub progress_secs: Option<u32>,
    /// An event is due after this long without a datagram, to renew the group's membership.
    pub keep_alive: Option<Duration>,
}

/// How fast blocks go out, in bits per second on the wire ([`Config::overhead_bytes`] included).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RateConfig {
    /// Always this.
    Fixed(u64),
    /// Adapts to evidence of loss.
    Automatic {
        /// Speed of the link where the kernel tells it: the start and the ceiling. Without it the
        /// rate starts at 100 Mb/s and doubles until the first loss.
        link: Option<u64>,
    },
}

/// When a session ends by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdleExit {
    /// Never.
    Never,
    /// After this long without a request or a join.
    After(Duration),
    /// When the last client that joined has left, or after 30 minutes without a request, because a
    /// client that crashed never leaves.
    WhenEmpty,
}

/// Silence after which a server exits by default, and with [`IdleExit::WhenEmpty`] at the latest:
/// the deployed 30 minutes.
pub const IDLE_DEFAULT: Duration = Duration::from_secs(30 * 60);

impl Config {
    /// The defaults for a file on a group.
    pub fn new(geometry: Geometry, group: IpAddr, port: u16, local: IpAddr) -> Self {
        Self {
            geometry,
            group,
            port,
            local,
            image_id: None,
            server_run: 0,
            rate: RateConfig::Automatic { link: None },
            overhead_bytes: 66,
            burst_blocks_max: 44,
            delivery_time: Duration::from_millis(4),
            idle_exit: IdleExit::After(IDLE_DEFAULT),
            progress_secs: Some(5),
            keep_alive: None,
        }
    }

    /// Bits of one block on the wire.
    pub fn block_wire_bits(&self) -> u64 {
        let header = 24;
        (u64::from(self.geometry.block_size()) + header + u64::from(self.overhead_bytes)) * 8
    }
}
