//! Runs the simulator: one seed with a trace, many seeds, or the table.

use std::process::ExitCode;
use std::time::Instant;

use sim::setup::Setup;
use sim::{rough, scenario, table};

const USAGE: &str = "usage: sim [--rough] --seed N [--quiet] | [--rough] --seeds A..B
       | --table [CLIENTS...] [--deployed]

  --seed N      replay one seed and print every event
  --seeds A..B  run the seeds from A up to, not including, B; print those that fail
  --rough       ... in worlds of 30 % loss and an outage of a minute
  --table       print the table of docs/simulation.md
  --deployed    ... with models of deployed peers on both sides";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (draw, words): (Draw, &[&str]) = match words.as_slice() {
        ["--rough", rest @ ..] => (rough::draw, rest),
        all => (scenario::draw, all),
    };
    match words {
        ["--seed", seed, rest @ ..] => match seed.parse() {
            Ok(seed) => one(draw(seed, !rest.contains(&"--quiet"))),
            Err(_) => usage(),
        },
        ["--seeds", range] => match range.split_once("..") {
            Some((a, b)) => match (a.parse(), b.parse()) {
                (Ok(a), Ok(b)) => many(draw, a, b),
                _ => usage(),
            },
            None => usage(),
        },
        ["--table", rest @ ..] => {
            let deployed = rest.contains(&"--deployed");
            let mut clients: Vec<u32> = rest.iter().filter_map(|w| w.parse().ok()).collect();
            if clients.is_empty() {
                clients = vec![1, 10, 100, 400];
            }
            table::print(&clients, deployed, 1);
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

/// Makes a world from a seed; the flag asks for a trace.
type Draw = fn(u64, bool) -> Setup;

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn one(setup: Setup) -> ExitCode {
    if !setup.trace {
        println!("{setup:#?}");
    }
    match scenario::run(setup) {
        Ok(outcome) => {
            println!("{outcome:#?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn many(draw: Draw, from: u64, to: u64) -> ExitCode {
    let start = Instant::now();
    let (mut failed, mut events) = (0u64, 0u64);
    // A panic is one line here; the seed replayed alone shows its backtrace.
    std::panic::set_hook(Box::new(|panic| println!("{panic}")));
    for seed in from..to {
        let result = std::panic::catch_unwind(|| scenario::run(draw(seed, false)));
        match result {
            Ok(Ok(outcome)) => events += outcome.events,
            Ok(Err(error)) => {
                failed += 1;
                println!("FAILED: {error}; replay with --seed {seed}");
            }
            Err(_) => {
                failed += 1;
                println!("FAILED: seed {seed} panicked; replay with --seed {seed}");
            }
        }
    }
    println!("{} seeds, {failed} failed, {events} events, {:?}", to - from, start.elapsed());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
