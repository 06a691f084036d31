//! Every target over its seeds and some thousands of mutations of them.
//!
//! `FUZZ_SEED=n` repeats a run, `FUZZ_SECONDS=n` makes it longer (per target).

use fuzz::mutate::Mutator;
use fuzz::{TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

/// Mutations of a target in a run that is not asked to take longer.
const ROUNDS: u64 = 3_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs one input; on a panic says how to get it again.
fn run(target: &Target, input: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let path = std::env::temp_dir().join(format!("fuzz-{}.bin", target.name));
        std::fs::write(&path, input).expect("the temporary folder can be written");
        panic!("target {} failed on {what}; its input is {}", target.name, path.display());
    }
}

#[test]
fn targets_survive_seeds_and_mutations() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let seed = number("FUZZ_SEED").unwrap_or(now);
    let asked = number("FUZZ_SECONDS").map(Duration::from_secs);
    println!("FUZZ_SEED={seed}");
    for target in TARGETS {
        let seeds = (target.seeds)();
        for (i, input) in seeds.iter().enumerate() {
            run(target, input, &format!("seed file {i}"));
        }
        let empty = vec![Vec::new()];
        let seeds = if seeds.is_empty() { &empty } else { &seeds };
        let (start, limit) = (Instant::now(), asked.unwrap_or(Duration::from_millis(1_500)));
        let mut rounds = 0;
        while start.elapsed() < limit && (asked.is_some() || rounds < ROUNDS) {
            // Each input by itself, so that one can be repeated without those before.
            let mut mutator = Mutator::new(seed.wrapping_add(rounds));
            let mut input = seeds[mutator.below(seeds.len())].clone();
            mutator.mutate(&mut input);
            run(target, &input, &format!("round {rounds} of FUZZ_SEED={seed}"));
            rounds += 1;
        }
        println!("{}: {} seeds, {rounds} mutations", target.name, seeds.len());
    }
}

#[test]
fn names_are_unique() {
    let names: std::collections::BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len());
}
