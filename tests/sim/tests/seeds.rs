//! A fixed few hundred worlds, and what must hold in particular ones.

use proto::geometry::Geometry;
use proto::server::RateConfig;
use proto::time::{Duration, Instant};
use sim::client::Host;
use sim::network::{Link, Network};
use sim::setup::{Action, Outcome, Setup};
use sim::table::{self, Case};
use sim::world::World;
use sim::{rough, scenario};

#[test]
fn everybody_finishes_in_every_world() {
    for seed in 0..400 {
        if let Err(error) = scenario::run(scenario::draw(seed, false)) {
            panic!("{error}; replay with: cargo run -p sim -- --seed {seed}");
        }
    }
}

#[test]
fn a_minute_without_network_and_30_percent_loss_delay_a_load_and_no_more() {
    let (mut interrupted, seeds) = (0, 0..100);
    for seed in seeds.clone() {
        let setup = rough::draw(seed, false);
        let outage = setup.actions[0].0;
        match scenario::run(setup) {
            Ok(outcome) => interrupted += u64::from(outcome.end > outage + MINUTE),
            Err(e) => panic!("{e}; replay with: cargo run -p sim -- --rough --seed {seed}"),
        }
    }
    println!("{interrupted} loads lasted longer than the outage");
    assert!(interrupted * 10 > seeds.end * 9, "the outage is in mid-load: {interrupted}");
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_same_seed_gives_the_same_events() {
    for seed in [3, 77, 1234] {
        let [a, b] = [(); 2].map(|()| scenario::run(scenario::draw(seed, false)).unwrap());
        assert_eq!((a.hash, a.events), (b.hash, b.events));
    }
    let [a, b] = [3, 4].map(|seed| scenario::run(scenario::draw(seed, false)).unwrap());
    assert_ne!(a.hash, b.hash);
}

#[test]
fn staggered_starts_cost_few_duplicates() {
    for loss in [0, 10_000] {
        let case = Case { clients: 20, loss, staggered: true, deployed: false };
        let duplicates = table::duplicates(case, &table::run(case, 1).unwrap());
        assert!(duplicates < 0.10, "{duplicates} at loss {loss}");
    }
}

/// Ten clients on a clean network; what one bad neighbour does to the others.
fn ten(rate: RateConfig, actions: Vec<(Instant, Action)>, disk: [Duration; 10]) -> Outcome {
    let geometry = Geometry::new(16, 32, 16 * 32 * 1000).unwrap();
    let host = |disk_chunk_time| Host {
        deployed: false,
        slots: 64,
        disk_chunk_time,
        start: Instant::ZERO,
    };
    World::new(Setup {
        seed: 9,
        geometry,
        rate,
        overhead_bytes: 1114 * 32 - 40,
        deployed_server: false,
        hosts: disk.into_iter().map(host).collect(),
        network: Network { delay: Duration::from_micros(200), ..Network::default() },
        actions,
        limit: Instant::ZERO + Duration::from_secs(200),
        trace: false,
    })
    .run()
    .unwrap()
}

/// The time that the slowest of clients 1 to 9 took, in microseconds.
fn others(outcome: &Outcome) -> u64 {
    outcome.spans.iter().skip(1).flatten().map(|s| s.as_micros()).max().unwrap()
}

const GIGABIT: RateConfig = RateConfig::Fixed(1_000_000_000);
const FAST: Duration = Duration::from_millis(2);

#[test]
fn a_forger_delays_nobody_by_more_than_a_hundredth() {
    let quiet = others(&ten(GIGABIT, Vec::new(), [FAST; 10]));
    let forge = |i: u64| (Instant::ZERO + Duration::from_millis(10 * i), Action::Forge(50));
    let outcome = ten(GIGABIT, (1..1000).map(forge).collect(), [FAST; 10]);
    let forged = others(&outcome);
    assert!(forged * 100 <= quiet * 101, "{forged} us instead of {quiet}: {:?}", outcome.server);
}

#[test]
fn a_slow_disk_delays_only_its_owner() {
    let quiet = others(&ten(GIGABIT, Vec::new(), [FAST; 10]));
    let mut disk = [FAST; 10];
    disk[0] = Duration::from_millis(40);
    let outcome = ten(GIGABIT, Vec::new(), disk);
    let slow = others(&outcome);
    assert!(slow * 100 <= quiet * 103, "{slow} us instead of {quiet}");
    let own = outcome.spans[0].unwrap().as_micros();
    assert!(own < 40_000 * 1000 * 11 / 10, "its own disk is all that holds it back: {own}");
}

#[test]
fn one_deaf_ear_does_not_lower_the_automatic_rate() {
    let rate = RateConfig::Automatic { link: Some(1_000_000_000) };
    let quiet = others(&ten(rate, Vec::new(), [FAST; 10]));
    let bad = Link { loss: 400_000, ..Link::default() };
    let outcome = ten(rate, vec![(Instant::ZERO, Action::Link(0, bad))], [FAST; 10]);
    let with = others(&outcome);
    assert!(with * 100 <= quiet * 125, "{with} us instead of {quiet}: {:?}", outcome.server);
}
