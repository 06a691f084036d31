//! The clock, the event queue, and the rules by which things happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use proto::client;
use proto::client::Destination;
use proto::random::Random;
use proto::server;
use proto::server::Transmit;
use proto::time::{Duration, Instant};
use proto::wire::{self, CONTROL_LEN_MAX};

use crate::client::Client;
use crate::network::{Link, Network};
use crate::server::Server;
use crate::setup::{Action, Outcome, Setup};

pub(crate) const PORT: u16 = 7000;
pub(crate) const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 1, 1));

#[derive(Debug)]
pub(crate) enum Happening {
    /// Blocks reach everybody, unless lost.
    Burst {
        chunk: u32,
        first: u32,
        count: u32,
    },
    /// A block reaches one client; with one bit flipped if `flip` is not 0.
    Block {
        to: usize,
        chunk: u32,
        block: u32,
        flip: u64,
    },
    /// A message reaches one node or everybody but its sender.
    Message {
        from: SocketAddr,
        to: Target,
        bytes: Rc<[u8]>,
    },
    ServerWakes,
    ClientWakes(usize),
    ClientStarts(usize, u32),
    DiskDone(usize, u32),
    Action(usize),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Everybody,
    Server,
    Client(usize),
}

struct Entry(Instant, u64, Happening);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// A run in progress.
pub struct World {
    pub(crate) setup: Setup,
    pub(crate) now: Instant,
    sequence: u64,
    heap: BinaryHeap<Reverse<Entry>>,
    pub(crate) random: Random,
    pub(crate) network: Network,
    pub(crate) image: Rc<[u8]>,
    pub(crate) server: Option<Server>,
    pub(crate) server_timer: Option<Instant>,
    pub(crate) server_runs: u64,
    pub(crate) server_address: SocketAddr,
    pub(crate) clients: Vec<Client>,
    outcome: Outcome,
    pub(crate) last_start: Instant,
}

impl World {
    /// A world in which nothing has happened.
    pub fn new(setup: Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let len = setup.geometry.blocks() * u64::from(setup.geometry.block_size());
        // Data is a function of its offset; the padding of the last block is zero.
        let image: Rc<[u8]> =
            (0..len).map(|at| if at < setup.geometry.bytes() { byte_at(at) } else { 0 }).collect();
        let may_reject = setup.network.flip > 0
            || setup.actions.iter().any(|(_, a)| matches!(a, Action::Noise(_)));
        let mut clients = Vec::new();
        for (i, host) in setup.hosts.iter().enumerate() {
            let n = u16::try_from(i).unwrap_or(u16::MAX) + 256;
            let [hi, lo] = n.to_be_bytes();
            let address = SocketAddr::from(([10, 0, hi, lo], PORT));
            let id = u32::from(n);
            let config = client::Config::new(GROUP, PORT, address.ip(), id, random.next_u64());
            let mut client = Client::new(*host, config, address, setup.geometry);
            client.may_reject = may_reject;
            clients.push(client);
        }
        let last_start = setup.hosts.iter().map(|h| h.start).max().unwrap_or_default();
        let mut world = Self {
            now: Instant::ZERO,
            sequence: 0,
            heap: BinaryHeap::new(),
            random,
            network: setup.network,
            image,
            server: None,
            server_timer: None,
            server_runs: 0,
            server_address: SocketAddr::from(([10, 0, 0, 1], PORT)),
            clients,
            outcome: Outcome { hash: 0xcbf2_9ce4_8422_2325, ..Outcome::default() },
            last_start,
            setup,
        };
        world.start_server();
        for i in 0..world.clients.len() {
            let start = world.setup.hosts.get(i).map_or(Instant::ZERO, |h| h.start);
            world.plan(start, Happening::ClientStarts(i, 1));
        }
        for i in 0..world.setup.actions.len() {
            let at = world.setup.actions.get(i).map_or(Instant::ZERO, |a| a.0);
            world.plan(at, Happening::Action(i));
        }
        world
    }

    pub(crate) fn start_server(&mut self) {
        self.server_runs += 1;
        let mut config =
            server::Config::new(self.setup.geometry, GROUP, PORT, self.server_address.ip());
        config.rate = self.setup.rate;
        config.overhead_bytes = self.setup.overhead_bytes;
        config.server_run = self.server_runs;
        config.image_id = Some([7; 16]);
        self.server = Some(Server::new(config, self.setup.deployed_server));
    }

    pub(crate) fn plan(&mut self, at: Instant, what: Happening) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry(at.max(self.now), self.sequence, what)));
    }

    /// Runs to the end; an error says what went wrong.
    pub fn run(mut self) -> Result<Outcome, String> {
        while let Some(Reverse(Entry(at, _, what))) = self.heap.pop() {
            if at > self.setup.limit {
                break;
            }
            self.now = at;
            self.record(&what);
            self.happen(what);
            if self.clients.iter().all(|c| c.finished.is_some() || c.failed.is_some()) {
                break;
            }
        }
        self.finish()
    }

    fn record(&mut self, what: &Happening) {
        self.outcome.events += 1;
        let words: [u64; 3] = match what {
            Happening::Burst { chunk, first, count } => {
                [1, u64::from(*chunk) << 32 | u64::from(*first), u64::from(*count)]
            }
            Happening::Block { to, chunk, block, .. } => {
                let to = u64::try_from(*to).unwrap_or(0);
                [2, u64::from(*chunk) << 32 | u64::from(*block), to]
            }
            Happening::Message { bytes, .. } => [
                3,
                u64::try_from(bytes.len()).unwrap_or(0),
                bytes.iter().map(|b| u64::from(*b)).sum(),
            ],
            Happening::ServerWakes => [4, 0, 0],
            Happening::ClientWakes(i) => [5, u64::try_from(*i).unwrap_or(0), 0],
            Happening::ClientStarts(i, _) => [6, u64::try_from(*i).unwrap_or(0), 0],
            Happening::DiskDone(i, _) => [7, u64::try_from(*i).unwrap_or(0), 0],
            Happening::Action(i) => [8, u64::try_from(*i).unwrap_or(0), 0],
        };
        for word in [self.now.as_nanos()].into_iter().chain(words) {
            self.outcome.hash = (self.outcome.hash ^ word).wrapping_mul(0x0100_0000_01b3);
        }
        if self.setup.trace {
            let line = match what {
                Happening::Message { from, to, bytes } => {
                    let text = match wire::decode(bytes) {
                        Ok(d) => format!("{:?}", d.message),
                        Err(e) => e.to_string(),
                    };
                    let text: String = text.chars().take(160).collect();
                    format!("{from} to {to:?}: {text}")
                }
                other => format!("{other:?}"),
            };
            println!("{} {line}", self.now);
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Burst { chunk, first, count } => self.burst(chunk, first, count),
            Happening::Block { to, chunk, block, flip } => {
                let mut bytes = self.block(chunk, block);
                flip_bit(&mut bytes, flip);
                self.deliver(to, self.server_address, &bytes);
                self.pump_client(to);
            }
            Happening::Message { from, to, bytes } => self.message(from, to, &bytes),
            Happening::ServerWakes => {
                if self.server_timer == Some(self.now) {
                    self.server_timer = None;
                    self.pump_server();
                }
            }
            Happening::ClientWakes(i) => {
                let due = self.clients.get(i).is_some_and(|c| c.timer == Some(self.now));
                if due {
                    if let Some(client) = self.clients.get_mut(i) {
                        client.timer = None;
                    }
                    self.pump_client(i);
                }
            }
            Happening::ClientStarts(i, life) => {
                if let Some(client) = self.clients.get_mut(i) {
                    client.life = life;
                    client.alive = true;
                }
                self.pump_client(i);
            }
            Happening::DiskDone(i, life) => {
                let now = self.now;
                if let Some(client) = self.clients.get_mut(i).filter(|c| c.life == life) {
                    client.disk_done(now);
                    self.pump_client(i);
                }
            }
            Happening::Action(i) => {
                if let Some((_, action)) = self.setup.actions.get(i).copied() {
                    self.act(action);
                }
            }
        }
    }

    pub(crate) fn block(&self, chunk: u32, block: u32) -> Vec<u8> {
        let g = &self.setup.geometry;
        let srcip = wire::source_ip_field(self.server_address.ip());
        let header = wire::encode_block_header(srcip, chunk, block, g.block_size());
        let mut bytes = header.expect("a block of the file").to_vec();
        let from = usize::try_from(g.offset(chunk, block)).unwrap_or(usize::MAX);
        let len = usize::try_from(g.block_size()).unwrap_or(0);
        bytes.extend(self.image.get(from..from + len).expect("a block of the file"));
        bytes
    }

    fn burst(&mut self, chunk: u32, first: u32, count: u32) {
        let blocks: Vec<Vec<u8>> = (first..first + count).map(|b| self.block(chunk, b)).collect();
        let network = self.network;
        let lost_by_all: Vec<bool> = blocks
            .iter()
            .map(|_| network.common_loss > 0 && self.random.chance(network.common_loss))
            .collect();
        for i in 0..self.clients.len() {
            let (now, from, image) = (self.now, self.server_address, Rc::clone(&self.image));
            let Some(client) = self.clients.get_mut(i).filter(|c| c.alive) else { continue };
            for (bytes, lost) in blocks.iter().zip(&lost_by_all) {
                if network.arrives(&mut client.link, &mut self.random) && !lost {
                    client.handle_datagram(now, from, bytes, &image);
                }
            }
            self.pump_client(i);
        }
    }

    fn deliver(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        let image = Rc::clone(&self.image);
        if let Some(client) = self.clients.get_mut(to) {
            client.handle_datagram(self.now, from, bytes, &image);
        }
    }

    fn message(&mut self, from: SocketAddr, to: Target, bytes: &[u8]) {
        if matches!(to, Target::Everybody | Target::Server) && from != self.server_address {
            let now = self.now;
            if let Some(server) = &mut self.server {
                server.handle_datagram(now, from, bytes);
            }
            self.pump_server();
        }
        match to {
            Target::Server => {}
            Target::Client(i) => {
                self.deliver(i, from, bytes);
                self.pump_client(i);
            }
            Target::Everybody => {
                for i in 0..self.clients.len() {
                    let network = self.network;
                    let Some(client) = self.clients.get_mut(i).filter(|c| c.alive) else {
                        continue;
                    };
                    if client.address == from
                        || !network.arrives(&mut client.link, &mut self.random)
                    {
                        continue;
                    }
                    self.deliver(i, from, bytes);
                    self.pump_client(i);
                }
            }
        }
    }

    /// Sends a message to the group or one address; a lossy way to the server is drawn here.
    pub(crate) fn send(&mut self, from: SocketAddr, to: Target, bytes: &[u8]) {
        let network = self.network;
        if network.is_plain() {
            if to == Target::Everybody && from != self.server_address {
                // The server's copy has its own luck.
                let lost = network.loss > 0 && self.random.chance(network.loss);
                if lost {
                    for i in 0..self.clients.len() {
                        self.plan_message(from, Target::Client(i), bytes, network.delay);
                    }
                    return;
                }
            }
            self.plan_message(from, to, bytes, network.delay);
            return;
        }
        let targets: Vec<Target> = match to {
            Target::Everybody => std::iter::once(Target::Server)
                .chain((0..self.clients.len()).map(Target::Client))
                .collect(),
            one => vec![one],
        };
        for target in targets {
            let mut link = match target {
                Target::Client(i) => self.clients.get(i).map(|c| c.link).unwrap_or_default(),
                _ => Link::default(),
            };
            if !network.arrives(&mut link, &mut self.random) {
                continue;
            }
            let copies = 1 + u32::from(self.random.chance(network.duplicate));
            for _ in 0..copies {
                let delay = network.delay + self.random.span_below(network.jitter);
                self.plan_message(from, target, bytes, delay);
            }
        }
    }

    fn plan_message(&mut self, from: SocketAddr, to: Target, bytes: &[u8], delay: Duration) {
        if let Target::Client(i) = to
            && self.clients.get(i).is_some_and(|c| c.address == from)
        {
            return;
        }
        let bytes: Rc<[u8]> = bytes.into();
        self.plan(self.now + delay, Happening::Message { from, to, bytes });
    }

    fn send_blocks(&mut self, chunk: u32, first: u32, count: u32) {
        let geometry = self.setup.geometry;
        assert!(count > 0 && geometry.has_block(chunk, first + count - 1), "no such blocks");
        self.outcome.blocks_sent += u64::from(count);
        if self.now <= self.last_start {
            self.outcome.blocks_sent_before_last_start += u64::from(count);
        }
        let network = self.network;
        if network.is_plain() {
            self.plan(self.now + network.delay, Happening::Burst { chunk, first, count });
            return;
        }
        for block in first..first + count {
            if self.random.chance(network.common_loss) {
                continue;
            }
            for to in 0..self.clients.len() {
                let Some(client) = self.clients.get_mut(to).filter(|c| c.alive) else { continue };
                if !network.arrives(&mut client.link, &mut self.random) {
                    continue;
                }
                let copies = 1 + u32::from(self.random.chance(network.duplicate));
                for _ in 0..copies {
                    let delay = network.delay + self.random.span_below(network.jitter);
                    let flip = match self.random.chance(network.flip) {
                        true => self.random.next_u64() | 1,
                        false => 0,
                    };
                    self.plan(self.now + delay, Happening::Block { to, chunk, block, flip });
                }
            }
        }
    }

    fn pump_server(&mut self) {
        let now = self.now;
        let mut buffer = [0; CONTROL_LEN_MAX];
        let Some(mut server) = self.server.take() else { return };
        server.handle_timeout(now);
        while let Some(transmit) = server.poll_transmit(now, &mut buffer) {
            match transmit {
                Transmit::Control { len } => {
                    let bytes = buffer.get(..len).unwrap_or(&[]).to_vec();
                    self.send(self.server_address, Target::Everybody, &bytes);
                }
                Transmit::Blocks { chunk, first, count } => self.send_blocks(chunk, first, count),
            }
        }
        // A host takes a moment to wake up; it also keeps the clock moving.
        let next = server.poll_timeout().map(|t| t.max(now + Duration::from_micros(1)));
        self.server = Some(server);
        if let Some(next) = next.filter(|n| self.server_timer.is_none_or(|t| *n < t)) {
            self.server_timer = Some(next);
            self.plan(next, Happening::ServerWakes);
        }
    }

    pub(crate) fn pump_client(&mut self, i: usize) {
        let now = self.now;
        let image = Rc::clone(&self.image);
        let mut buffer = [0; CONTROL_LEN_MAX];
        let mut out = Vec::new();
        let Some(client) = self.clients.get_mut(i).filter(|c| c.alive) else { return };
        if client.poll_timeout().is_some_and(|t| t <= now) {
            client.handle_timeout(now, &image);
            while let Some((to, len)) = client.poll_transmit(now, &mut buffer) {
                out.push((to, buffer.get(..len).unwrap_or(&[]).to_vec()));
            }
        }
        let (address, mute, life) = (client.address, client.link.mute, client.life);
        let disk = client.disk_starts().then_some(client.host.disk_chunk_time);
        if let Some(time) = disk {
            self.plan(now + time, Happening::DiskDone(i, life));
        }
        for (to, bytes) in out {
            let to = match to {
                Destination::Group => Target::Everybody,
                Destination::Address(_) => Target::Server,
            };
            if !mute {
                self.send(address, to, &bytes);
            }
        }
        let Some(client) = self.clients.get_mut(i) else { return };
        let next = client.poll_timeout().map(|t| t.max(now + Duration::from_micros(1)));
        if let Some(next) = next.filter(|n| client.timer.is_none_or(|t| *n < t)) {
            client.timer = Some(next);
            self.plan(next, Happening::ClientWakes(i));
        }
    }

    fn finish(mut self) -> Result<Outcome, String> {
        self.outcome.end = self.now;
        for client in &self.clients {
            let span = client.finished.map(|f| f.since(client.host.start));
            self.outcome.spans.push(span);
            self.outcome.requests.push(client.requests());
            if let Some(c) = client.session().map(|s| *s.counters()) {
                self.outcome.useless.0 += c.duplicate_blocks + c.duplicate_chunk_blocks;
                self.outcome.useless.1 += c.blocks_without_slot;
            }
            if let Some(event) = client.failed {
                self.outcome.failures.push(format!("{}: {event:?}", client.address));
            } else if span.is_none() {
                return Err(format!(
                    "seed {}: {} wrote {} of {} chunks by {}: {:?}",
                    self.setup.seed,
                    client.address,
                    client.written_count(),
                    self.setup.geometry.chunks(),
                    self.now,
                    client.session().map(|s| *s.counters()),
                ));
            }
        }
        if let Some(Server::New(session)) = &self.server {
            self.outcome.server = Some(*session.counters());
        }
        Ok(self.outcome)
    }
}

/// The image is a function of the offset.
fn byte_at(offset: u64) -> u8 {
    let [byte, ..] = Random::new(offset).next_u64().to_le_bytes();
    byte
}

/// Flips the bit that `flip` chooses; none for 0.
pub(crate) fn flip_bit(bytes: &mut [u8], flip: u64) {
    let len = u64::try_from(bytes.len()).unwrap_or(1).max(1);
    let at = usize::try_from((flip >> 3) % len).unwrap_or(0);
    if flip != 0
        && let Some(byte) = bytes.get_mut(at)
    {
        *byte ^= 1 << (flip & 7);
    }
}
