//! What a server tells of its work.
//!
//! What it owns: the facts, in numbers that a program can read as they are (they serialise to
//! JSON). What it never does: print, or keep the network waiting for whoever prints.

use crate::image::Image;
use mcast::GroupSocket;
use proto::geometry::Geometry;
use proto::server::{Client, Counters, Stage};
use proto::time::{Duration, Instant};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Something to tell.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Report {
    /// The server is ready.
    Start(Started),
    /// A client joined, or came back.
    Joined(Joined),
    /// Each second: how it goes.
    Progress(Progress),
    /// A client left.
    Left(ClientStatus),
    /// The end.
    Summary(Box<Summary>),
}

/// A server that is ready.
#[derive(Clone, Debug, Serialize)]
pub struct Started {
    /// The file.
    pub image: PathBuf,
    /// Its format, when it is an image.
    pub format: Option<String>,
    /// Its size.
    pub image_bytes: u64,
    /// Its size in blocks.
    pub image_blocks: u64,
    /// Where clients meet.
    pub group: IpAddr,
    /// ... and the port.
    pub port: u16,
    /// `multicast`, `broadcast` or `unicast`.
    pub kind: String,
    /// The interface.
    pub interface: String,
    /// The address that blocks come from.
    pub address: IpAddr,
    /// Bits per second on the wire at the start.
    pub bits_per_sec: u64,
    /// True when the rate adapts to loss.
    pub automatic: bool,
    /// What works but not well.
    pub warnings: Vec<String>,
}

impl Started {
    pub(crate) fn new(
        image: &Image,
        socket: &GroupSocket,
        bits_per_sec: u64,
        automatic: bool,
    ) -> Self {
        Self {
            image: image.path().into(),
            format: image.version().map(|version| version.to_string()),
            image_bytes: image.geometry().bytes(),
            image_blocks: image.geometry().blocks(),
            group: socket.group().ip(),
            port: socket.group().port(),
            kind: socket.kind().to_string(),
            interface: socket.interface().name().to_owned(),
            address: socket.local_addr().ip(),
            bits_per_sec,
            automatic,
            warnings: socket.warnings().iter().map(ToString::to_string).collect(),
        }
    }
}

/// A client that joined.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Joined {
    /// Its address and port.
    pub address: SocketAddr,
    /// The number it gave itself.
    pub id: u32,
    /// True when it has a session of its own.
    pub unicast: bool,
}

/// What is known of one client. Clients on one host share what is counted by address.
#[derive(Clone, Debug, Serialize)]
pub struct ClientStatus {
    /// Its address and port.
    pub address: SocketAddr,
    /// The number it gave itself.
    pub id: u32,
    /// True when it has a session of its own.
    pub unicast: bool,
    /// False once it has left.
    pub present: bool,
    /// Milliseconds since it joined; for one that left, how long its load took.
    pub millis: u64,
    /// Chunks that it has written, where it reports them.
    pub chunks_done: Option<u32>,
    /// Chunks of the file.
    pub chunks: u32,
    /// Bits of the file per second, averaged over its time, where it reports.
    pub bits_per_sec: Option<u64>,
    /// Requests heard from its address.
    pub requests: u64,
    /// Blocks that its address asked for again after they had been sent.
    pub blocks_repeated: u64,
    /// Loss in the last half second, in millionths.
    pub loss_millionths: u64,
    /// What limits it: `network`, `disk`, `server`, or `unknown`.
    pub limited_by: &'static str,
    /// Too slow or too lossy to steer the rate; it catches up when the others are done.
    pub laggard: bool,
}

impl ClientStatus {
    pub(crate) fn new(now: Instant, client: &Client, geometry: &Geometry, unicast: bool) -> Self {
        let told = client.statistics.map_or(0, |statistics| {
            let millis = i64::from(statistics.run_secs) * 1000 + i64::from(statistics.run_millis);
            u64::try_from(millis).unwrap_or(0)
        });
        let millis = match client.left {
            Some(_) if told > 0 => told,
            Some(left) => left.since(client.joined).as_millis(),
            None => now.since(client.joined).as_millis(),
        };
        let received_bytes = match (client.left, client.summary) {
            (Some(_), _) => Some(geometry.bytes()),
            (None, Some(s)) => Some(u64::from(s.chunks_in).saturating_mul(geometry.chunk_bytes())),
            (None, None) => None,
        };
        Self {
            address: client.address,
            id: client.id,
            unicast,
            present: client.left.is_none(),
            millis,
            chunks_done: client.summary.map(|summary| summary.chunks_out.min(geometry.chunks())),
            chunks: geometry.chunks(),
            bits_per_sec: received_bytes.map(|bytes| bits_per_sec(bytes, millis)),
            requests: client.requests,
            blocks_repeated: client.blocks_lost,
            loss_millionths: client.loss,
            limited_by: match client.stage() {
                Stage::Network => "network",
                Stage::Disk => "disk",
                Stage::Server => "server",
                Stage::Unknown => "unknown",
            },
            laggard: client.is_laggard,
        }
    }
}

/// Bytes in a time as bits per second.
pub(crate) fn bits_per_sec(bytes: u64, millis: u64) -> u64 {
    let bits = u128::from(bytes) * 8000 / u128::from(millis.max(1));
    u64::try_from(bits).unwrap_or(u64::MAX)
}

/// What all sessions counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Totals {
    /// Blocks sent.
    pub blocks_sent: u64,
    /// Joins heard, repeated ones too.
    pub joins: u64,
    /// Requests heard, of both kinds.
    pub requests: u64,
    /// ... of them for single blocks of a chunk.
    pub partial_requests: u64,
    /// Blocks asked for again after they had been sent.
    pub blocks_repeated: u64,
    /// Blocks asked for that waited in the queue already.
    pub blocks_merged: u64,
    /// Blocks asked for that were on their way.
    pub blocks_on_their_way: u64,
    /// Requests served late because their address had used up its share.
    pub requests_over_share: u64,
    /// Datagrams that are no messages, not from whom they say, or beyond the file.
    pub datagrams_bad: u64,
}

impl Totals {
    /// Adds what others counted.
    pub(crate) fn add_all(&mut self, other: &Self) {
        self.blocks_sent += other.blocks_sent;
        self.joins += other.joins;
        self.requests += other.requests;
        self.partial_requests += other.partial_requests;
        self.blocks_repeated += other.blocks_repeated;
        self.blocks_merged += other.blocks_merged;
        self.blocks_on_their_way += other.blocks_on_their_way;
        self.requests_over_share += other.requests_over_share;
        self.datagrams_bad += other.datagrams_bad;
    }

    pub(crate) fn add(&mut self, counters: &Counters) {
        self.blocks_sent += counters.blocks_sent;
        self.joins += counters.joins;
        self.requests += counters.requests + counters.partial_requests;
        self.partial_requests += counters.partial_requests;
        self.blocks_repeated += counters.blocks_lost;
        self.blocks_merged += counters.blocks_merged;
        self.blocks_on_their_way += counters.blocks_on_their_way;
        self.requests_over_share += counters.requests_over_share;
        self.datagrams_bad += counters.undecodable + counters.bad_source + counters.out_of_geometry;
    }
}

/// How it goes.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    /// Milliseconds since the start.
    pub millis: u64,
    /// Bits per second allowed on the wire; the sum for unicast clients.
    pub rate_bits_per_sec: u64,
    /// Bits per second on the wire since the last report.
    pub sent_bits_per_sec: u64,
    /// Blocks of the file.
    pub image_blocks: u64,
    /// Blocks asked for and not sent.
    pub blocks_waiting: u64,
    /// Counters.
    #[serde(flatten)]
    pub totals: Totals,
    /// Datagrams that the kernel dropped before this program read them.
    pub kernel_drops: u64,
    /// Reads of the file that failed.
    pub read_errors: u64,
    /// Clients that are loading.
    pub clients: Vec<ClientStatus>,
}

/// Why a server ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Nobody asked for anything for the idle time.
    Idle,
    /// The last client left.
    Empty,
    /// Told to, by a signal.
    Interrupted,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Why it ended.
    pub ended: Ended,
    /// Clients that were loading at the end.
    pub loading: usize,
    /// Milliseconds since the start.
    pub millis: u64,
    /// Milliseconds from the first block sent to the last.
    pub sending_millis: u64,
    /// Bytes of the file.
    pub image_bytes: u64,
    /// Blocks of the file.
    pub image_blocks: u64,
    /// Counters.
    #[serde(flatten)]
    pub totals: Totals,
    /// Datagrams that the kernel dropped before this program read them.
    pub kernel_drops: u64,
    /// Reads of the file that failed.
    pub read_errors: u64,
    /// All clients, those that left too.
    pub clients: Vec<ClientStatus>,
}

/// Time between two reports of progress.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Clients remembered after their session ended.
pub(crate) const GONE_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_flat_json_objects() {
        let joined = Report::Joined(Joined {
            address: "10.0.0.7:64494".parse().unwrap(),
            id: 5,
            unicast: false,
        });
        let text = serde_json::to_string(&joined).unwrap();
        assert_eq!(text, r#"{"event":"joined","address":"10.0.0.7:64494","id":5,"unicast":false}"#);
        let progress = Report::Progress(Progress {
            millis: 1,
            rate_bits_per_sec: 2,
            sent_bits_per_sec: 3,
            image_blocks: 4,
            blocks_waiting: 5,
            totals: Totals { blocks_sent: 6, ..Totals::default() },
            kernel_drops: 0,
            read_errors: 0,
            clients: Vec::new(),
        });
        let value = serde_json::to_value(&progress).unwrap();
        assert_eq!((&value["event"], &value["blocks_sent"]), (&"progress".into(), &6.into()));
    }

    #[test]
    fn rates_do_not_overflow() {
        assert_eq!(bits_per_sec(1_000_000, 1000), 8_000_000);
        assert_eq!(bits_per_sec(u64::MAX, 0), u64::MAX);
    }
}
