//! A model of a deployed client, as far as its specification tells: two chunks requested ahead,
//! eight in progress, 64 buffers, missing blocks asked for after 90 ms of silence with back-off, or
//! when a chunk completed and another one's last request is more than a second old. It joins as in
//! file mode, with JOIN2 and no extension, because JOIN describes only full-size chunks.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use proto::block_set::BlockSet;
use proto::geometry::Geometry;
use proto::random::Random;
use proto::time::{Duration, Instant};
use proto::wire::{self, Datagram, Extensions, Join2, Message, Statistics};

const AHEAD_MAX: usize = 2;
const IN_PROGRESS_MAX: usize = 8;
const JOIN_INTERVAL: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_millis(90);
const IDLE_MAX: Duration = Duration::from_millis(1440);
const REDO: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Progress {
    slot: Option<u32>,
    have: BlockSet,
    requested_at: Instant,
    retries: u32,
}

/// A deployed client.
#[derive(Debug)]
pub struct DeployedClient {
    id: u32,
    srcip: [u8; 4],
    geometry: Option<Geometry>,
    join_at: Instant,
    /// Chunks nobody has begun, in random order.
    order: Vec<u32>,
    progress: BTreeMap<u32, Progress>,
    complete: Vec<bool>,
    free: Vec<u32>,
    idle_at: Instant,
    idle_span: Duration,
    done: u32,
    outbox: VecDeque<Message<'static>>,
    random: Random,
    completed: Option<(u32, u32)>,
    /// Requests sent, of both kinds.
    pub requests: u64,
    finished: bool,
}

impl DeployedClient {
    /// A client that joins at its first timeout.
    pub fn new(id: u32, local: IpAddr, slots: u32, seed: u64) -> Self {
        Self {
            id,
            srcip: wire::source_ip_field(local),
            geometry: None,
            join_at: Instant::ZERO,
            order: Vec::new(),
            progress: BTreeMap::new(),
            complete: Vec::new(),
            free: (0..slots).rev().collect(),
            idle_at: Instant::FAR_FUTURE,
            idle_span: IDLE,
            done: 0,
            outbox: VecDeque::new(),
            random: Random::new(seed),
            completed: None,
            requests: 0,
            finished: false,
        }
    }

    /// Takes a datagram; where a block goes: chunk, block, slot, payload.
    pub fn handle_datagram<'a>(
        &mut self,
        now: Instant,
        bytes: &'a [u8],
        geometry: &Geometry,
    ) -> Option<(u32, u32, u32, &'a [u8])> {
        let Ok(Datagram { message, .. }) = wire::decode(bytes) else { return None };
        if message.check(geometry).is_err() {
            return None;
        }
        match message {
            Message::Join2Reply(body) if body.client_id == self.id && self.geometry.is_none() => {
                assert_eq!(body.geometry(), Ok(*geometry), "joined another file");
                self.geometry = Some(*geometry);
                self.order = (0..geometry.chunks()).collect();
                self.random.shuffle(&mut self.order);
                self.complete = vec![false; self.order.len()];
                self.idle_at = now + self.idle_span;
                self.request_more(now);
                None
            }
            Message::Block { chunk, block, payload } => self.block(now, chunk, block, payload),
            Message::Request { chunk, first, count } => {
                self.overheard(now, chunk, &BlockSet::run(first, count));
                None
            }
            Message::PartialRequest { chunk, wanted, .. } => {
                self.overheard(now, chunk, &wanted);
                None
            }
            _ => None,
        }
    }

    fn is_complete(&self, chunk: u32) -> bool {
        let i = usize::try_from(chunk).unwrap_or(usize::MAX);
        self.complete.get(i).copied().unwrap_or(true)
    }

    fn overheard(&mut self, now: Instant, chunk: u32, wanted: &BlockSet) {
        let Some(geometry) = self.geometry else { return };
        if let Some(p) = self.progress.get_mut(&chunk)
            && wanted.contains_all(&geometry.all_blocks(chunk).difference(&p.have))
        {
            p.requested_at = now;
        }
    }

    fn block<'a>(
        &mut self,
        now: Instant,
        chunk: u32,
        block: u32,
        payload: &'a [u8],
    ) -> Option<(u32, u32, u32, &'a [u8])> {
        let geometry = self.geometry?;
        if self.is_complete(chunk) {
            return None;
        }
        if !self.progress.contains_key(&chunk) && self.free.is_empty() {
            return None;
        }
        let p = self.progress.entry(chunk).or_insert(Progress {
            slot: None,
            have: BlockSet::EMPTY,
            requested_at: now,
            retries: 0,
        });
        if p.slot.is_none() {
            p.slot = self.free.pop();
            self.order.retain(|c| *c != chunk);
        }
        let slot = p.slot?;
        if !p.have.insert(block) {
            return None;
        }
        p.requested_at = now;
        self.idle_span = IDLE;
        self.idle_at = now + self.idle_span;
        let whole = p.have.count() == geometry.blocks_in(chunk);
        if whole {
            self.progress.remove(&chunk);
            let i = usize::try_from(chunk).unwrap_or(usize::MAX);
            if let Some(c) = self.complete.get_mut(i) {
                *c = true;
            }
            self.completed = Some((chunk, slot));
            self.ask_again(now, false);
            self.request_more(now);
        }
        let len = usize::try_from(geometry.block_size()).unwrap_or(0);
        Some((chunk, block, slot, payload.get(..len)?))
    }

    /// The chunk that the last datagram completed, and its slot.
    pub fn take_completed(&mut self) -> Option<(u32, u32)> {
        self.completed.take()
    }

    /// A chunk was written.
    pub fn chunk_done(&mut self, now: Instant, slot: u32) {
        self.free.push(slot);
        self.done += 1;
        if self.geometry.is_some_and(|g| g.chunks() == self.done) {
            self.finished = true;
            self.outbox.push_back(Message::Leave2 {
                client_id: self.id,
                elapsed: 0,
                statistics: Statistics { version: 1, ..Statistics::default() },
            });
        } else {
            self.request_more(now);
        }
    }

    fn ask_again(&mut self, now: Instant, all: bool) {
        let Some(geometry) = self.geometry else { return };
        for (chunk, p) in &mut self.progress {
            if !all && now.since(p.requested_at) < REDO {
                continue;
            }
            p.requested_at = now;
            p.retries += 1;
            let wanted = geometry.all_blocks(*chunk).difference(&p.have);
            self.requests += 1;
            let (chunk, retries) = (*chunk, p.retries);
            self.outbox.push_back(Message::PartialRequest { chunk, retries, wanted });
        }
    }

    fn request_more(&mut self, now: Instant) {
        let Some(geometry) = self.geometry else { return };
        loop {
            let ahead = self.progress.values().filter(|p| p.slot.is_none()).count();
            let room = self.free.len() > ahead && self.progress.len() < IN_PROGRESS_MAX;
            if ahead >= AHEAD_MAX || !room {
                return;
            }
            let Some(chunk) = self.order.pop() else { return };
            let p = Progress { slot: None, have: BlockSet::EMPTY, requested_at: now, retries: 0 };
            self.progress.insert(chunk, p);
            self.requests += 1;
            let count = geometry.blocks_in(chunk);
            self.outbox.push_back(Message::Request { chunk, first: 0, count });
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.finished {
            return;
        }
        if self.geometry.is_none() && now >= self.join_at {
            self.join_at = now + JOIN_INTERVAL;
            self.outbox.push_back(Message::Join2Request(Join2 {
                client_id: self.id,
                blocks: 0,
                blocks_per_chunk: 1024,
                block_size: 1024,
                bytes: 0,
                extensions: Extensions::default(),
            }));
        }
        if now >= self.idle_at {
            self.idle_span = self.idle_span.times(2).min(IDLE_MAX);
            self.idle_at = now + self.idle_span;
            self.ask_again(now, true);
            self.request_more(now);
        }
    }

    /// The next datagram to the group.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let message = self.outbox.pop_front()?;
        wire::encode(&Datagram { srcip: self.srcip, message }, buffer).ok()
    }

    /// When to poll next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.outbox.is_empty() {
            return Some(Instant::ZERO);
        }
        if self.finished {
            return None;
        }
        Some(if self.geometry.is_none() { self.join_at } else { self.idle_at })
    }
}
