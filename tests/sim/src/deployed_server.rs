//! A model of a deployed server, as far as its specification tells: a FIFO of chunks with block
//! sets, requests merged per chunk, bursts of 16 blocks, joins answered first, a fixed rate.

use std::collections::VecDeque;
use std::net::IpAddr;

use proto::block_set::BlockSet;
use proto::geometry::Geometry;
use proto::server::Transmit;
use proto::time::{Duration, Instant};
use proto::wire::{self, Datagram, Extensions, Join2, Message};

const BURST_BLOCKS: u32 = 16;

/// A deployed server.
#[derive(Debug)]
pub struct DeployedServer {
    geometry: Geometry,
    srcip: [u8; 4],
    block_time: Duration,
    queue: VecDeque<(u32, BlockSet)>,
    sending: Option<(u32, BlockSet)>,
    answers: VecDeque<Option<u32>>,
    due: Instant,
    burst_left: u32,
}

impl DeployedServer {
    /// A server of this file at this rate (bits per second on the wire).
    pub fn new(geometry: Geometry, local: IpAddr, block_wire_bits: u64, rate: u64) -> Self {
        let nanos = block_wire_bits.saturating_mul(1_000_000_000) / rate.max(1);
        Self {
            geometry,
            srcip: wire::source_ip_field(local),
            block_time: Duration::from_nanos(nanos),
            queue: VecDeque::new(),
            sending: None,
            answers: VecDeque::new(),
            due: Instant::ZERO,
            burst_left: 0,
        }
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        let Ok(Datagram { message, .. }) = wire::decode(bytes) else { return };
        if message.check(&self.geometry).is_err() {
            return;
        }
        if self.queue.is_empty() && self.sending.is_none() {
            self.due = self.due.max(now);
        }
        match message {
            Message::JoinRequest { .. }
                if self.geometry.is_deployed() && self.geometry.is_whole_chunks() =>
            {
                self.answers.push_back(None);
            }
            Message::Join2Request(body) => self.answers.push_back(Some(body.client_id)),
            Message::Request { chunk, first, count } => {
                let whole = first == 0 && count >= self.geometry.blocks_in(chunk);
                if whole && self.sending.as_ref().is_some_and(|(c, _)| *c == chunk) {
                    return;
                }
                self.enqueue(chunk, BlockSet::run(first, count));
            }
            Message::PartialRequest { chunk, wanted, .. } => self.enqueue(chunk, wanted),
            _ => {}
        }
    }

    fn enqueue(&mut self, chunk: u32, wanted: BlockSet) {
        let wanted = wanted.intersection(&self.geometry.all_blocks(chunk));
        if wanted.is_empty() {
            return;
        }
        match self.queue.iter_mut().find(|(c, _)| *c == chunk) {
            Some((_, queued)) => *queued = queued.union(&wanted),
            None => self.queue.push_back((chunk, wanted)),
        }
    }

    /// The next thing to send.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        if let Some(answer) = self.answers.pop_front() {
            let message = match answer {
                None => Message::JoinReply { blocks: u32::try_from(self.geometry.blocks()).ok()? },
                Some(client_id) => Message::Join2Reply(Join2 {
                    client_id,
                    blocks: 0,
                    blocks_per_chunk: i32::try_from(self.geometry.blocks_per_chunk()).ok()?,
                    block_size: i32::try_from(self.geometry.block_size()).ok()?,
                    bytes: self.geometry.bytes(),
                    extensions: Extensions::default(),
                }),
            };
            let len = wire::encode(&Datagram { srcip: self.srcip, message }, buffer).ok()?;
            return Some(Transmit::Control { len });
        }
        if self.sending.is_none() {
            self.sending = self.queue.pop_front();
        }
        let (chunk, wanted) = self.sending.as_mut()?;
        if self.burst_left == 0 {
            if now < self.due {
                return None;
            }
            self.due = self.due.max(now - self.block_time.times(16));
            self.burst_left = BURST_BLOCKS;
        }
        let (first, count) = wanted.next_run(0, self.burst_left)?;
        wanted.remove_run(first, count);
        let chunk = *chunk;
        if wanted.is_empty() {
            self.sending = None;
        }
        self.burst_left -= count;
        self.due = self.due + self.block_time.times(u64::from(count));
        Some(Transmit::Blocks { chunk, first, count })
    }

    /// When to poll next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.answers.is_empty() || self.burst_left > 0 && !self.is_idle() {
            return Some(Instant::ZERO);
        }
        (!self.is_idle()).then_some(self.due)
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.sending.is_none()
    }
}
