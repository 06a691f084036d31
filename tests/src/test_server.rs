//! A frisbee server for tests: it serves a vector of bytes, and does to its blocks what a test wants.
//!
//! What it is: the server session of `proto` in a plain loop on a real socket. What it owns: a
//! thread, and its end. What it never does: read ahead, measure, or adapt: the rate is fixed.

use mcast::{GroupAddress, GroupSocket, Interface, Options, ReceiveBatch, Received, SendBatch};
use proto::geometry::Geometry;
use proto::server::{Config, Event, RateConfig, Session, Transmit};
use proto::time::{Duration, Instant};
use proto::wire::{CONTROL_LEN_MAX, Statistics, encode_block_header};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

/// Bytes of a BLOCK datagram.
const BLOCK_LEN: usize = 24 + 1024;

/// Tells one run of a server from the next.
static RUNS: AtomicU64 = AtomicU64::new(1);

/// What a test does to a block on its way out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It goes out.
    Send,
    /// It is lost.
    Lose,
    /// It goes out twice.
    Double,
}

/// Looks at and changes each block: its chunk, its number in the chunk, and its bytes.
pub type Tamper = Box<dyn FnMut(u32, u32, &mut [u8]) -> Fate + Send>;

/// What is served, and where.
pub struct Setup {
    /// The group's address.
    pub group: IpAddr,
    /// The group's port.
    pub port: u16,
    /// The server's own address; it decides the interface.
    pub local: IpAddr,
    /// The file.
    pub file: Arc<Vec<u8>>,
    /// What is announced to new clients.
    pub image_id: Option<[u8; 16]>,
    /// Bits per second on the wire.
    pub rate: u64,
    /// What happens to blocks.
    pub tamper: Tamper,
}

/// What a server saw.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Blocks sent, before they were tampered with.
    pub blocks_sent: u64,
    /// Joins, repeated ones too.
    pub joins: u64,
    /// The statistics of every leave.
    pub leaves: Vec<Option<Statistics>>,
}

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct TestServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome>>,
}

impl TestServer {
    /// Starts to serve.
    ///
    /// # Panics
    /// When the socket cannot be opened.
    pub fn start(setup: Setup) -> Self {
        let group = GroupAddress::new(setup.group, setup.port).unwrap();
        let interface = Interface::by_address(setup.local).unwrap();
        let socket = GroupSocket::open_server(group, &interface, &Options::default()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || serve(setup, &socket, &stopped));
        Self { stop, thread: Some(thread) }
    }

    /// Stops and tells.
    ///
    /// # Panics
    /// When the server did.
    pub fn stop(mut self) -> Outcome {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(setup: Setup, socket: &GroupSocket, stop: &AtomicBool) -> Outcome {
    let Setup { group, port, local, file, image_id, rate, mut tamper } = setup;
    let geometry = Geometry::deployed(u64::try_from(file.len()).unwrap()).unwrap();
    let start = std::time::Instant::now();
    let server_run = RUNS.fetch_add(1, Relaxed);
    let config = Config {
        image_id,
        server_run,
        rate: RateConfig::Fixed(rate),
        ..Config::new(geometry, group, port, local)
    };
    let mut session = Session::new(config);
    let mut arrived = ReceiveBatch::new();
    let mut blocks = SendBatch::new(BLOCK_LEN, 64);
    let mut control = [0; CONTROL_LEN_MAX];
    let mut outcome = Outcome::default();
    while !stop.load(Relaxed) {
        let now = Instant::ZERO + start.elapsed().into();
        session.handle_timeout(now);
        while let Some(transmit) = session.poll_transmit(now, &mut control) {
            match transmit {
                Transmit::Control { len } => {
                    let mut batch = SendBatch::new(len, 1);
                    batch.push().unwrap().copy_from_slice(&control[..len]);
                    send(socket, &mut batch);
                }
                Transmit::Blocks { chunk, first, count } => {
                    for block in first..first + count {
                        let bytes = datagram(&session, &file, &geometry, chunk, block);
                        put(socket, &mut blocks, bytes, |b| tamper(chunk, block, b));
                    }
                    send(socket, &mut blocks);
                }
            }
        }
        while let Some(event) = session.poll_event() {
            if let Event::Left { statistics, .. } = event {
                outcome.leaves.push(statistics);
            }
        }
        let idle = Duration::from_millis(20);
        let wait = session.poll_timeout().map_or(idle, |at| at.since(now).min(idle));
        if let Received::Datagrams(_) = socket.receive(&mut arrived, Some(wait.into())).unwrap() {
            let now = Instant::ZERO + start.elapsed().into();
            for one in arrived.datagrams() {
                session.handle_datagram(now, one.source, one.bytes);
            }
        }
    }
    outcome.blocks_sent = session.counters().blocks_sent;
    outcome.joins = session.counters().joins;
    outcome
}

fn datagram(
    session: &Session,
    file: &[u8],
    geometry: &Geometry,
    chunk: u32,
    block: u32,
) -> [u8; BLOCK_LEN] {
    let mut bytes = [0; BLOCK_LEN];
    bytes[..24].copy_from_slice(&encode_block_header(session.srcip(), chunk, block, 1024).unwrap());
    let from = usize::try_from(geometry.offset(chunk, block)).unwrap();
    let payload = &file[from..file.len().min(from + 1024)];
    bytes[24..24 + payload.len()].copy_from_slice(payload);
    bytes
}

fn put(
    socket: &GroupSocket,
    batch: &mut SendBatch,
    mut bytes: [u8; BLOCK_LEN],
    tamper: impl FnOnce(&mut [u8]) -> Fate,
) {
    let copies = match tamper(&mut bytes[24..]) {
        Fate::Send => 1,
        Fate::Lose => 0,
        Fate::Double => 2,
    };
    for _ in 0..copies {
        if batch.is_full() {
            send(socket, batch);
        }
        batch.push().unwrap().copy_from_slice(&bytes);
    }
}

fn send(socket: &GroupSocket, batch: &mut SendBatch) {
    while !batch.is_empty() {
        if socket.send(batch, socket.group_addr()).unwrap().stopped.is_some() {
            // What does not go out is lost, as on any network; but not for want of patience.
            let _ = socket.wait_writable(std::time::Duration::from_millis(10)).unwrap();
        }
    }
}
