//! The table of docs/simulation.md: how close the protocol comes to sending everything once.

use proto::geometry::Geometry;
use proto::server::RateConfig;
use proto::time::{Duration, Instant};

use crate::client::Host;
use crate::network::Network;
use crate::setup::{Outcome, Setup};
use crate::world::World;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Clients.
    pub clients: u32,
    /// Independent loss of each receiver, in millionths.
    pub loss: u32,
    /// Starts spread over the time that sending the image once takes, instead of together.
    pub staggered: bool,
    /// Models of deployed peers instead of ours.
    pub deployed: bool,
}

const CHUNKS: u64 = 512;
const BLOCKS_PER_CHUNK: u32 = 32;
const BLOCK_SIZE: u32 = 16;
/// One block stands for 32 of 1024 bytes, so that a chunk takes as long as a real one.
const OVERHEAD: u32 = 1114 * 32 - 24 - BLOCK_SIZE;
const RATE: u64 = 1_000_000_000;

/// Time to send the image once.
pub fn image_time() -> Duration {
    let bits = CHUNKS * u64::from(BLOCKS_PER_CHUNK) * 1114 * 32 * 8;
    Duration::from_nanos(bits * (1_000_000_000 / RATE))
}

/// Blocks of the image.
pub fn image_blocks() -> u64 {
    CHUNKS * u64::from(BLOCKS_PER_CHUNK)
}

/// Runs one line.
pub fn run(case: Case, seed: u64) -> Result<Outcome, String> {
    let bytes = CHUNKS * u64::from(BLOCKS_PER_CHUNK) * u64::from(BLOCK_SIZE);
    let geometry = Geometry::new(BLOCK_SIZE, BLOCKS_PER_CHUNK, bytes).map_err(|e| e.to_string())?;
    let spread = if case.staggered { image_time() } else { Duration::ZERO };
    let hosts = (0..case.clients)
        .map(|i| Host {
            deployed: case.deployed,
            slots: 64,
            // Disks are a little faster than the network.
            disk_chunk_time: Duration::from_millis(7),
            start: Instant::ZERO
                + Duration::from_nanos(
                    spread.as_nanos() * u64::from(i) / u64::from(case.clients.max(1)),
                ),
        })
        .collect();
    World::new(Setup {
        seed,
        geometry,
        rate: RateConfig::Fixed(RATE),
        overhead_bytes: OVERHEAD,
        deployed_server: case.deployed,
        hosts,
        network: Network {
            delay: Duration::from_micros(200),
            loss: case.loss,
            ..Network::default()
        },
        actions: Vec::new(),
        limit: Instant::ZERO + Duration::from_secs(600),
        trace: false,
    })
    .run()
}

/// Transmissions of a block until `clients` receivers, each losing it with a chance of `loss`
/// millionths, all have it: the mean, and so the least that any schedule of whole blocks needs.
pub fn least_factor(clients: u32, loss: u32) -> f64 {
    let p = f64::from(loss) / 1e6;
    let n = i32::try_from(clients).unwrap_or(i32::MAX);
    let (mut sum, mut lost) = (0.0, 1.0);
    for _ in 0..40 {
        sum += 1.0 - (1.0f64 - lost).powi(n);
        lost *= p;
    }
    sum
}

/// Prints the table.
pub fn print(clients: &[u32], deployed: bool, seed: u64) {
    println!(
        "| peers | clients | loss | starts | sent/image | least | duplicates | time/ideal | requests/client |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for &clients in clients {
        for loss in [0, 1_000, 10_000, 50_000] {
            for staggered in [false, true] {
                let case = Case { clients, loss, staggered, deployed };
                match run(case, seed) {
                    Ok(outcome) => println!("{}", line(case, &outcome)),
                    Err(error) => println!("| {case:?} | {error} |"),
                }
            }
        }
    }
}

/// Blocks sent beyond the least possible, as a fraction of that. The least: what had been sent
/// when the last client started, and the image as often as losses make necessary.
pub fn duplicates(case: Case, outcome: &Outcome) -> f64 {
    let sent = to_f64(outcome.blocks_sent) / to_f64(image_blocks());
    sent / least(case, outcome) - 1.0
}

fn least(case: Case, outcome: &Outcome) -> f64 {
    let before = to_f64(outcome.blocks_sent_before_last_start) / to_f64(image_blocks());
    before + least_factor(case.clients, case.loss)
}

/// One line as text.
pub fn line(case: Case, outcome: &Outcome) -> String {
    let sent = to_f64(outcome.blocks_sent) / to_f64(image_blocks());
    let least = least(case, outcome);
    let time = to_f64(outcome.end.as_nanos()) / to_f64(image_time().as_nanos());
    let requests: u64 = outcome.requests.iter().sum();
    let most = outcome.requests.iter().max().copied().unwrap_or(0);
    format!(
        "| {} | {} | {:.1} % | {} | {sent:.3} | {least:.3} | {:.1} % | {:.2} | {:.0} (most {most}) |",
        if case.deployed { "deployed" } else { "ours" },
        case.clients,
        f64::from(case.loss) / 10_000.0,
        if case.staggered { "staggered" } else { "together" },
        duplicates(case, outcome) * 100.0,
        time / least,
        to_f64(requests) / f64::from(case.clients.max(1)),
    )
}

fn to_f64(n: u64) -> f64 {
    // Counts in a simulation are far below 2^32; more would only be printed wrong.
    f64::from(u32::try_from(n / 1000).unwrap_or(u32::MAX)) * 1000.0
        + f64::from(u32::try_from(n % 1000).unwrap_or(0))
}
