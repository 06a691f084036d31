//! A world drawn from a seed.
//!
//! What it owns: which faults a seed has, and how bad they are. Every world becomes kind in the
//! end, and must then finish within a bound.

use proto::geometry::Geometry;
use proto::random::Random;
use proto::server::RateConfig;
use proto::time::{Duration, Instant};

use crate::client::Host;
use crate::network::{Link, Network};
use crate::setup::{Action, Outcome, Setup};
use crate::world::World;

/// Faults stop at this time.
const KIND_AT: Duration = Duration::from_secs(20);

/// Everybody must be done this long after faults stopped, plus what the disks need.
const GRACE: Duration = Duration::from_secs(40);

/// The world of a seed.
pub fn draw(seed: u64, trace: bool) -> Setup {
    let mut r = Random::new(seed ^ 0x5eed);
    let block_size = 1 + small(&mut r, 24);
    let blocks_per_chunk = 1 + small(&mut r, 32);
    let chunk_bytes = u64::from(block_size * blocks_per_chunk);
    let bytes = 1 + r.below(chunk_bytes * 40);
    let mixed = r.chance(300_000);
    let geometry = Geometry::new(block_size, blocks_per_chunk, bytes);
    let geometry = geometry.expect("drawn within the limits");
    let clients = 1 + small(&mut r, 20);
    let chunk_wire = u64::from(geometry.blocks_per_chunk()) * 1114 * 8;
    let rate = match r.below(3) {
        0 => RateConfig::Automatic { link: None },
        1 => RateConfig::Automatic { link: Some(100_000_000) },
        _ => RateConfig::Fixed(chunk_wire * (20 + r.below(400))),
    };
    let lossy = r.chance(700_000);
    let wild = r.chance(400_000);
    let bursts = wild && r.chance(500_000);
    let network = Network {
        delay: Duration::from_micros(
            20 + if r.chance(100_000) { r.below(500_000) } else { r.below(2_000) },
        ),
        jitter: if wild { Duration::from_micros(r.below(20_000)) } else { Duration::ZERO },
        loss: if lossy { small(&mut r, 300_000) } else { 0 },
        common_loss: if r.chance(200_000) { small(&mut r, 100_000) } else { 0 },
        burst_start: if bursts { 1_000 } else { 0 },
        burst_end: if bursts { 20_000 } else { 0 },
        duplicate: if wild { small(&mut r, 100_000) } else { 0 },
        flip: if wild && !mixed && r.chance(300_000) { small(&mut r, 5_000) } else { 0 },
    };
    let staggered = r.chance(500_000);
    let hosts: Vec<Host> = (0..clients)
        .map(|_| Host {
            deployed: mixed && r.chance(500_000),
            slots: if r.chance(300_000) { 1 + small(&mut r, 4) } else { 1 + small(&mut r, 64) },
            disk_chunk_time: Duration::from_micros(match r.below(5) {
                0 => r.below(300_000),
                _ => r.below(5_000),
            }),
            start: Instant::ZERO
                + Duration::from_micros(if staggered { r.below(3_000_000) } else { 0 }),
        })
        .collect();
    let mut actions = Vec::new();
    if r.chance(600_000) {
        for _ in 0..1 + r.below(6) {
            faults(&mut r, u64::from(clients), mixed, &mut actions);
        }
    }
    redirections(seed, u64::from(clients), &mut actions);
    let kind_at = Instant::ZERO + KIND_AT;
    actions.push((kind_at, Action::Kind));
    let slowest = hosts.iter().map(|h| h.disk_chunk_time).max().unwrap_or_default();
    let limit = kind_at + GRACE + slowest.times(u64::from(geometry.chunks()));
    Setup {
        seed,
        geometry,
        rate,
        overhead_bytes: 66,
        deployed_server: mixed && r.chance(300_000),
        hosts,
        network,
        actions,
        limit,
        trace,
    }
}

/// Drawn by themselves, so that what else a seed means stays as it was.
fn redirections(seed: u64, clients: u64, actions: &mut Vec<(Instant, Action)>) {
    let mut r = Random::new(seed ^ 0xfa11);
    if !r.chance(300_000) {
        return;
    }
    for _ in 0..1 + r.below(6) {
        let at = Instant::ZERO + Duration::from_micros(r.below(6_000_000));
        let client = usize::try_from(r.below(clients)).unwrap_or(0);
        actions.push((at, Action::Redirect(client)));
    }
}

fn faults(r: &mut Random, clients: u64, mixed: bool, actions: &mut Vec<(Instant, Action)>) {
    let at = Instant::ZERO + Duration::from_micros(r.below(6_000_000));
    let client = usize::try_from(r.below(clients)).unwrap_or(0);
    let span = Duration::from_micros(r.below(6_000_000));
    match r.below(7) {
        0 => actions.push((at, Action::Crash(client, Duration::from_micros(r.below(2_000_000))))),
        1 => {
            actions.push((at, Action::ServerStops));
            actions.push((at + span, Action::ServerStarts));
        }
        2 => {
            let loss = u32::try_from(r.below(900_000)).unwrap_or(0);
            actions.push((at, Action::Link(client, Link { loss, ..Link::default() })));
            actions.push((at + span, Action::Link(client, Link::default())));
        }
        3 => {
            actions.push((at, Action::Link(client, Link { deaf: true, ..Link::default() })));
            actions.push((at + span, Action::Link(client, Link::default())));
        }
        4 => {
            actions.push((at, Action::Link(client, Link { mute: true, ..Link::default() })));
            actions.push((at + span, Action::Link(client, Link::default())));
        }
        5 => {
            for i in 0..20 {
                actions.push((at + Duration::from_millis(50 * i), Action::Forge(1 + small(r, 20))));
            }
        }
        _ if !mixed => actions.push((at, Action::Noise(1 + small(r, 50)))),
        _ => {}
    }
}

/// Runs a world and checks what must hold in all of them.
pub fn run(setup: Setup) -> Result<Outcome, String> {
    let seed = setup.seed;
    let outcome = World::new(setup).run()?;
    match outcome.failures.first() {
        None => Ok(outcome),
        Some(failure) => Err(format!("seed {seed}: {failure}")),
    }
}

/// A number below `bound`, small ones more often.
fn small(r: &mut Random, bound: u32) -> u32 {
    let below = r.below(u64::from(bound)).min(r.below(u64::from(bound)));
    u32::try_from(below).unwrap_or(0)
}
