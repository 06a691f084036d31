//! Worlds at the end of what a load must survive, drawn from a seed.
//!
//! What it owns: 30 % loss, independent or in bursts, and an outage of more than a minute in
//! mid-load. Independent loss stays to the end. Bursts end some time after the outage: they are
//! counted in datagrams, and a last client that asks once a second could be in one for a minute.

use proto::geometry::Geometry;
use proto::random::Random;
use proto::server::RateConfig;
use proto::time::{Duration, Instant};

use crate::client::Host;
use crate::network::{Link, Network};
use crate::setup::{Action, Setup};

/// Loss of each receiver, in millionths.
const LOSS: u32 = 300_000;

/// Chunks in a file; at [`CHUNKS_PER_SEC`] the outage comes in mid-load.
const CHUNKS: u64 = 80;

/// What the server sends.
const CHUNKS_PER_SEC: u64 = 20;

/// Everybody must be done this long after the outage: sixteen times what the file
/// takes alone without loss.
const GRACE: Duration = Duration::from_secs(64);

/// Bursts of loss end this long after the outage.
const BURSTS: Duration = Duration::from_secs(16);

/// The world of a seed.
pub fn draw(seed: u64, trace: bool) -> Setup {
    let mut r = Random::new(seed ^ 0x0dd5_ea50);
    let blocks_per_chunk = number(&mut r, 4, 32);
    let geometry = Geometry::new(16, blocks_per_chunk, u64::from(16 * blocks_per_chunk) * CHUNKS);
    let geometry = geometry.expect("drawn within the limits");
    let clients = number(&mut r, 1, 8);
    let wild = r.chance(300_000);
    let calm = Network {
        delay: Duration::from_micros(20 + r.below(2_000)),
        jitter: if wild { Duration::from_micros(r.below(5_000)) } else { Duration::ZERO },
        duplicate: if wild { 20_000 } else { 0 },
        ..Network::default()
    };
    let network = match r.chance(500_000) {
        true => Network { loss: LOSS, ..calm },
        false => in_bursts(calm, number(&mut r, 2, 200)),
    };
    let hosts = (0..clients).map(|_| Host {
        deployed: false,
        slots: number(&mut r, 4, 64),
        disk_chunk_time: Duration::from_micros(r.below(5_000)),
        start: Instant::ZERO + Duration::from_micros(r.below(1_000_000)),
    });
    let hosts: Vec<Host> = hosts.collect();
    let is_bursty = network.burst_start > 0;
    let from = Instant::ZERO + Duration::from_micros(500_000 + r.below(2_000_000));
    let until = from + Duration::from_millis(60_000 + r.below(30_000));
    let mut actions = outage(&mut r, clients, from, until);
    if is_bursty {
        actions.push((until + BURSTS, Action::Kind));
    }
    Setup {
        seed,
        geometry,
        rate: RateConfig::Fixed(u64::from(blocks_per_chunk) * 98 * 8 * CHUNKS_PER_SEC),
        overhead_bytes: 58,
        deployed_server: false,
        actions,
        hosts,
        network,
        limit: until + GRACE,
        trace,
    }
}

/// Bursts of this many datagrams on average, that take [`LOSS`] of all.
fn in_bursts(calm: Network, len: u32) -> Network {
    let burst_end = 1_000_000 / len;
    let burst_start = u32::try_from(u64::from(burst_end) * 3 / 7).unwrap_or(0);
    Network { burst_start, burst_end, ..calm }
}

/// One client, all clients, or the server are cut off, in one direction or both.
fn outage(r: &mut Random, clients: u32, from: Instant, until: Instant) -> Vec<(Instant, Action)> {
    let link = match r.below(4) {
        0 => Link { deaf: true, ..Link::default() },
        1 => Link { mute: true, ..Link::default() },
        _ => Link { deaf: true, mute: true, ..Link::default() },
    };
    let cut = |client: u32| {
        let client = usize::try_from(client).unwrap_or(0);
        let back = Action::Link(client, Link::default());
        [(from, Action::Link(client, link)), (until, back)]
    };
    match r.below(3) {
        0 => vec![(from, Action::ServerStops), (until, Action::ServerStarts)],
        1 => (0..clients).flat_map(cut).collect(),
        _ => cut(number(r, 0, clients - 1)).into(),
    }
}

/// A number from `least` to `most`.
fn number(r: &mut Random, least: u32, most: u32) -> u32 {
    let above = r.below(u64::from(most - least) + 1);
    least + u32::try_from(above).unwrap_or(0)
}
