//! What a run is made from, and what came of it.

use proto::geometry::Geometry;
use proto::server;
use proto::time::{Duration, Instant};

use crate::client::Host;
use crate::network::{Link, Network};

/// Something that is planned to happen to the world at a time.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// A client loses everything and starts anew after this long.
    Crash(usize, Duration),
    /// The server stops.
    ServerStops,
    /// A server starts, knowing nothing.
    ServerStarts,
    /// A client is told to join anew, as one that falls back to another group.
    Redirect(usize),
    /// A client's connection changes.
    Link(usize, Link),
    /// A stranger asks for blocks at random, this many times.
    Forge(u32),
    /// A stranger sends noise, this many datagrams.
    Noise(u32),
    /// The network becomes perfect but for its delay, connections too.
    Kind,
}

/// Everything a run is made from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Decides everything random.
    pub seed: u64,
    /// The file.
    pub geometry: Geometry,
    /// The server's settings; addresses are filled in.
    pub rate: server::RateConfig,
    /// Bytes that the network adds to a datagram; stands for large blocks.
    pub overhead_bytes: u32,
    /// True for the model of a deployed server.
    pub deployed_server: bool,
    /// The clients.
    pub hosts: Vec<Host>,
    /// The network.
    pub network: Network,
    /// What happens.
    pub actions: Vec<(Instant, Action)>,
    /// A run that takes longer has failed.
    pub limit: Instant,
    /// Print every event.
    pub trace: bool,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Hash of all events.
    pub hash: u64,
    /// Events.
    pub events: u64,
    /// Blocks the server sent.
    pub blocks_sent: u64,
    /// ... before the last client started.
    pub blocks_sent_before_last_start: u64,
    /// When the last client finished.
    pub end: Instant,
    /// For each client how long it took; `None` for one that did not finish.
    pub spans: Vec<Option<Duration>>,
    /// Requests of each client.
    pub requests: Vec<u64>,
    /// Blocks that arrived at our clients and were of no use, and those for which no buffer was
    /// free.
    pub useless: (u64, u64),
    /// Why clients ended badly.
    pub failures: Vec<String>,
    /// The server's counters, if ours.
    pub server: Option<server::Counters>,
}
