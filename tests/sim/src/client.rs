//! A client host: a session, its chunk buffers, its disk. Checks every byte it is given.

use std::collections::VecDeque;
use std::net::SocketAddr;

use proto::client::{Config, Destination, Event, Received, Session};
use proto::geometry::Geometry;
use proto::time::{Duration, Instant};

use crate::deployed_client::DeployedClient;
use crate::network::Link;

/// What a byte of a buffer is before a block is written there.
const POISON: u8 = 0xee;

#[derive(Debug)]
enum Kind {
    New(Box<Session>),
    Deployed(Box<DeployedClient>),
}

/// How a client host is built.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// True for the model of a deployed client.
    pub deployed: bool,
    /// Chunk buffers.
    pub slots: u32,
    /// Time the disk takes for a chunk.
    pub disk_chunk_time: Duration,
    /// When it starts.
    pub start: Instant,
}

/// A client host.
#[derive(Debug)]
pub struct Client {
    kind: Kind,
    /// What it is.
    pub host: Host,
    /// Its address.
    pub address: SocketAddr,
    /// Its connection.
    pub link: Link,
    geometry: Geometry,
    buffers: Vec<Vec<u8>>,
    disk: VecDeque<(u32, u32)>,
    /// A chunk is being written.
    pub disk_busy: bool,
    written: Vec<bool>,
    written_count: u32,
    /// True from its start to its end or crash.
    pub alive: bool,
    /// Counts starts, so that what belongs to an earlier life is ignored.
    pub life: u32,
    /// When all was written.
    pub finished: Option<Instant>,
    /// When its next wake-up is due.
    pub timer: Option<Instant>,
    /// Chunks that failed verification.
    pub rejected: u64,
    /// What ended the session badly.
    pub failed: Option<Event>,
    /// The server was heard to have restarted.
    pub restarts_noticed: u32,
    /// Verification may fail: the network flips bits or strangers send blocks.
    pub may_reject: bool,
}

impl Client {
    /// A host that has not started.
    pub fn new(host: Host, config: Config, address: SocketAddr, geometry: Geometry) -> Self {
        let config = Config { slots: host.slots, ..config };
        let kind = match host.deployed {
            true => Kind::Deployed(Box::new(DeployedClient::new(
                config.client_id,
                config.local,
                host.slots,
                config.seed,
            ))),
            false => Kind::New(Box::new(Session::new(config))),
        };
        let chunk_bytes = usize::try_from(geometry.chunk_bytes()).unwrap_or(0);
        let slots = usize::try_from(host.slots).unwrap_or(0);
        let chunks = usize::try_from(geometry.chunks()).unwrap_or(0);
        Self {
            kind,
            host,
            address,
            link: Link::default(),
            geometry,
            buffers: vec![vec![POISON; chunk_bytes]; slots],
            disk: VecDeque::new(),
            disk_busy: false,
            written: vec![false; chunks],
            written_count: 0,
            alive: false,
            life: 0,
            finished: None,
            timer: None,
            rejected: 0,
            failed: None,
            restarts_noticed: 0,
            may_reject: false,
        }
    }

    /// Chunks written.
    pub fn written_count(&self) -> u32 {
        self.written_count
    }

    /// Requests sent, of both kinds.
    pub fn requests(&self) -> u64 {
        match &self.kind {
            Kind::New(s) => s.counters().requests + s.counters().partial_requests,
            Kind::Deployed(s) => s.requests,
        }
    }

    /// Our session.
    pub fn session(&self) -> Option<&Session> {
        match &self.kind {
            Kind::New(s) => Some(s),
            Kind::Deployed(_) => None,
        }
    }

    /// A datagram arrives.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], image: &[u8]) {
        if !self.alive {
            return;
        }
        let place = match &mut self.kind {
            Kind::New(session) => match session.handle_datagram(now, from, bytes) {
                Received::Block { chunk, block, slot, payload } => {
                    Some((chunk, block, slot, payload))
                }
                Received::Nothing => None,
            },
            Kind::Deployed(model) => model.handle_datagram(now, bytes, &self.geometry),
        };
        if let Some((_, block, slot, payload)) = place {
            let size = self.geometry.block_size();
            let at = usize::try_from(block * size).unwrap_or(usize::MAX);
            let slot = usize::try_from(slot).unwrap_or(usize::MAX);
            let buffer = self.buffers.get_mut(slot).expect("slot within the pool");
            let room = buffer.get_mut(at..at + payload.len()).expect("block within the chunk");
            room.copy_from_slice(payload);
        }
        let completed = match &mut self.kind {
            Kind::Deployed(model) => model.take_completed(),
            Kind::New(_) => None,
        };
        if let Some((chunk, slot)) = completed {
            self.chunk_complete(now, chunk, slot, image);
        }
        self.poll_events(now, image);
    }

    fn poll_events(&mut self, now: Instant, image: &[u8]) {
        while let Kind::New(session) = &mut self.kind {
            let Some(event) = session.poll_event() else { break };
            match event {
                Event::ChunkComplete { chunk, slot, .. } => {
                    self.chunk_complete(now, chunk, slot, image);
                }
                Event::Joined { geometry, .. } => {
                    assert_eq!(geometry, self.geometry, "joined another file");
                }
                Event::ServerRestarted => self.restarts_noticed += 1,
                Event::Finished => {}
                Event::Left => self.alive = false,
                Event::GaveUp(_) | Event::ImageChanged { .. } | Event::Refused(_) => {
                    self.failed = Some(event);
                    self.alive = false;
                }
            }
        }
    }

    /// Safety: what is called complete is the image, byte for byte.
    fn chunk_complete(&mut self, now: Instant, chunk: u32, slot: u32, image: &[u8]) {
        let index = usize::try_from(slot).unwrap_or(usize::MAX);
        let buffer = self.buffers.get_mut(index).expect("slot within the pool");
        let from = usize::try_from(self.geometry.offset(chunk, 0)).unwrap_or(usize::MAX);
        let blocks = self.geometry.blocks_in(chunk) * self.geometry.block_size();
        let len = usize::try_from(blocks).unwrap_or(usize::MAX);
        let right = buffer.get(..len) == image.get(from..from + len);
        buffer.fill(POISON);
        if right {
            self.disk.push_back((chunk, slot));
            return;
        }
        assert!(self.may_reject, "wrong bytes in chunk {chunk} of {}", self.address);
        self.rejected += 1;
        if let Kind::New(session) = &mut self.kind {
            session.chunk_rejected(now, chunk);
        }
    }

    /// The session is redirected: here, to where it is.
    pub(crate) fn redirect(&mut self, now: Instant) {
        if let Kind::New(session) = &mut self.kind {
            let Config { group, port, local, .. } = *session.config();
            session.redirect(now, group, port, local);
        }
    }

    /// A chunk waits and the disk is free; takes the disk.
    pub fn disk_starts(&mut self) -> bool {
        let starts = self.alive && !self.disk_busy && !self.disk.is_empty();
        self.disk_busy |= starts;
        starts
    }

    /// The disk wrote a chunk.
    pub fn disk_done(&mut self, now: Instant) {
        self.disk_busy = false;
        let Some((chunk, slot)) = self.disk.pop_front() else { return };
        let index = usize::try_from(chunk).unwrap_or(usize::MAX);
        let written = self.written.get_mut(index).expect("chunk within the file");
        assert!(!*written, "chunk {chunk} of {} is written twice", self.address);
        *written = true;
        self.written_count += 1;
        if self.written_count == self.geometry.chunks() {
            self.finished = Some(now);
        }
        match &mut self.kind {
            Kind::New(session) => {
                session.chunk_done(now, chunk);
                if self.finished.is_some() {
                    session.leave(now);
                }
            }
            Kind::Deployed(model) => model.chunk_done(now, slot),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, image: &[u8]) {
        match &mut self.kind {
            Kind::New(session) => session.handle_timeout(now),
            Kind::Deployed(model) => model.handle_timeout(now),
        }
        self.poll_events(now, image);
    }

    /// The next datagram to send.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
    ) -> Option<(Destination, usize)> {
        match &mut self.kind {
            Kind::New(session) => session.poll_transmit(now, buffer).map(|t| (t.to, t.len)),
            Kind::Deployed(model) => {
                model.poll_transmit(buffer).map(|len| (Destination::Group, len))
            }
        }
    }

    /// When to poll next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.alive {
            return None;
        }
        match &self.kind {
            Kind::New(session) => session.poll_timeout(),
            Kind::Deployed(model) => model.poll_timeout(),
        }
    }
}
