//! The client session: what each datagram and each deadline does.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::asking::Asking;
use super::config::{Config, JoinKind};
use super::delay::{Delay, Kind};
use super::event::{Counters, Destination, Event, Received, Seen, Transmit};
use super::join::JoinTimer;
use super::marks::{ChunkState, Marks, Slot};
use super::outgoing::{Outbox, Outgoing};
use super::report::ReportTimer;
use crate::block_set::BlockSet;
use crate::geometry::Geometry;
use crate::random::Random;
use crate::time::{Duration, Instant};
use crate::wire::{
    self, ANNOUNCEMENT_LEN_MAX, Announcement, Datagram, Message, STATISTICS_VERSION, Statistics,
};

/// A new server is told of the leave three times, this far apart: a lost leave would keep it
/// waiting. Old servers, which count leaves, are told once.
const LEAVE_REPEAT: Duration = Duration::from_millis(50);

/// See [`LEAVE_REPEAT`].
const LEAVE_TIMES: u32 = 3;

/// While buffers are scarce, a chunk asked for by somebody else is taken only when its first block
/// lies in this part of it: the rest would have to be caught up, and hold a buffer until then.
const LATE_DIVISOR: u32 = 8;

/// The load, once the server has answered.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) geometry: Geometry,
    pub(super) marks: Marks,
    pub(super) asking: Asking,
    /// The chunk of the last block.
    pub(super) sweeping: Option<u32>,
}

/// A client session. See the module's documentation.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Config,
    pub(super) srcip: [u8; 4],
    pub(super) random: Random,
    pub(super) started: Option<Instant>,
    pub(super) over: bool,
    pub(super) finished: bool,
    pub(super) load: Option<Load>,
    pub(super) join: JoinTimer,
    /// Replies in a row that describe another image.
    pub(super) doubts: u32,
    pub(super) server: Option<SocketAddr>,
    pub(super) announced: Option<Announcement>,
    pub(super) delay: Delay,
    pub(super) report: ReportTimer,
    pub(super) outbox: VecDeque<Outgoing>,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
    pub(super) statistics: Statistics,
    pub(super) last_heard: Instant,
    pub(super) last_progress: Instant,
    pub(super) leave_due: Option<Instant>,
    pub(super) leaves_left: u32,
}

impl Session {
    /// A session in which nothing has happened yet; its first timeout is at once.
    pub fn new(config: Config) -> Self {
        let mut random = Random::new(config.seed);
        Self {
            srcip: wire::source_ip_field(config.local),
            delay: Delay::new(&mut random),
            random,
            started: None,
            over: false,
            finished: false,
            load: None,
            join: JoinTimer::default(),
            doubts: 0,
            server: None,
            announced: None,
            report: ReportTimer::default(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            statistics: Statistics { version: STATISTICS_VERSION, ..Statistics::default() },
            last_heard: Instant::ZERO,
            last_progress: Instant::ZERO,
            leave_due: None,
            leaves_left: 0,
            config,
        }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The file, once the server has answered.
    pub fn geometry(&self) -> Option<&Geometry> {
        self.load.as_ref().map(|l| &l.geometry)
    }

    /// Chunks done.
    pub fn chunks_done(&self) -> u32 {
        self.load.as_ref().map_or(0, |l| l.marks.done())
    }

    /// Chunks received whole, done or not.
    pub fn chunks_complete(&self) -> u32 {
        self.load.as_ref().map_or(0, |l| l.marks.complete_ever())
    }

    /// Join requests sent so far.
    pub fn join_attempts(&self) -> u32 {
        self.join.attempts()
    }

    /// When something new came last, or a chunk was done.
    pub fn last_progress(&self) -> Instant {
        self.last_progress
    }

    /// How far this client got that makes no progress.
    pub fn seen(&self) -> Seen {
        match () {
            () if self.counters.datagrams == self.counters.own => Seen::Nothing,
            () if self.load.is_none() => Seen::NoReply,
            () if self.delay.last_block().is_none_or(|t| t <= self.last_progress) => Seen::NoData,
            () => Seen::NoProgress,
        }
    }

    /// The statistics for reports and the leave. Fields that only the caller can know (bytes
    /// written and expanded, what decompression and the disk waited for) are the caller's to keep
    /// up to date; the session fills in the others when it sends them.
    pub fn statistics_mut(&mut self) -> &mut Statistics {
        &mut self.statistics
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn start(&mut self, now: Instant) -> Instant {
        if let Some(started) = self.started {
            return started;
        }
        self.started = Some(now);
        self.last_heard = now;
        self.last_progress = now;
        self.join.start(now);
        now
    }

    /// Takes a datagram that the socket received from `from`.
    pub fn handle_datagram<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &'a [u8],
    ) -> Received<'a> {
        self.start(now);
        self.counters.datagrams += 1;
        if self.over {
            return Received::Nothing;
        }
        let Ok(Datagram { srcip, message }) = wire::decode(bytes) else {
            self.counters.undecodable += 1;
            return Received::Nothing;
        };
        if !wire::source_is_valid(srcip, from, self.config.group, self.config.port) {
            self.counters.bad_source += 1;
            return Received::Nothing;
        }
        if from.ip() == self.config.local && message.is_clients() {
            self.counters.own += 1;
        }
        if let Some(load) = &self.load
            && message.check(&load.geometry).is_err()
        {
            self.counters.out_of_geometry += 1;
            return Received::Nothing;
        }
        match message {
            Message::Block { chunk, block, payload } => {
                return self.block(now, from, chunk, block, payload);
            }
            Message::Request { chunk, first, count } => {
                self.overheard(now, chunk, &BlockSet::run(first, count));
            }
            Message::PartialRequest { chunk, wanted, .. } => self.overheard(now, chunk, &wanted),
            Message::JoinReply { blocks } if self.config.join == JoinKind::Image => {
                self.join_reply(now, from, blocks);
            }
            Message::Join2Reply(body) => self.join2_reply(now, from, &body),
            Message::ProgressRequest(head) => {
                self.report.ask(now, from, head.when, &mut self.random);
            }
            // For servers, or for another client.
            Message::JoinRequest { .. }
            | Message::Join2Request(_)
            | Message::JoinReply { .. }
            | Message::Leave { .. }
            | Message::Leave2 { .. }
            | Message::ProgressReport(_) => {}
        }
        Received::Nothing
    }

    pub(super) fn stop(&mut self, event: Event) {
        self.over = true;
        self.outbox.clear();
        self.events.push_back(event);
    }

    fn overheard(&mut self, now: Instant, chunk: u32, wanted: &BlockSet) {
        if let Some(load) = &mut self.load {
            load.asking.overheard(now, chunk, wanted, &mut load.marks, &self.delay);
        }
    }

    fn block<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        chunk: u32,
        block: u32,
        payload: &'a [u8],
    ) -> Received<'a> {
        let Some(load) = &mut self.load else { return Received::Nothing };
        let server: Option<IpAddr> = self.server.map(|s| s.ip());
        if server != Some(from.ip()) {
            self.counters.foreign_blocks += 1;
            return Received::Nothing;
        }
        let len = usize::try_from(load.geometry.block_size()).unwrap_or(usize::MAX);
        let Some(payload) = payload.get(..len) else { return Received::Nothing };
        self.counters.blocks += 1;
        self.last_heard = now;
        self.delay.block(now, chunk, block);
        load.move_on(now, chunk, &self.delay, &mut self.random);
        let number = match load.marks.state(chunk) {
            Some(ChunkState::Open(number)) => number,
            Some(ChunkState::Wanted) => {
                let blocks = load.geometry.blocks_in(chunk);
                let is_late = block > blocks / LATE_DIVISOR && !load.asking.is_mine(chunk);
                if is_late && load.marks.are_slots_scarce() {
                    self.counters.blocks_without_slot += 1;
                    return Received::Nothing;
                }
                let asked = load.asking.opened(chunk);
                let slot = Slot {
                    chunk,
                    have: BlockSet::EMPTY,
                    blocks,
                    last_block: block,
                    last_at: now,
                    ask_at: now,
                    expected: BlockSet::EMPTY,
                    expected_until: now,
                    asked_at: None,
                    last_ask: now,
                    retries: 0,
                    lossy: false,
                    sender: from,
                };
                let Some(number) = load.marks.open_slot(slot) else {
                    self.counters.blocks_without_slot += 1;
                    return Received::Nothing;
                };
                if let Some(asked) = asked.filter(|a| a.mine) {
                    self.delay.answered(Kind::Whole, now.since(asked.first_at), asked.retries);
                }
                number
            }
            _ => {
                self.counters.duplicate_chunk_blocks += 1;
                return Received::Nothing;
            }
        };
        let Some(slot) = load.marks.slot_mut(number) else { return Received::Nothing };
        if !slot.have.insert(block) {
            self.counters.duplicate_blocks += 1;
            return Received::Nothing;
        }
        (slot.last_block, slot.last_at) = (block, now);
        if slot.expected.contains(block) {
            let repeats = std::mem::take(&mut slot.retries).saturating_sub(1);
            if let Some(asked_at) = slot.asked_at.take() {
                self.delay.answered(Kind::Some, now.since(asked_at), repeats);
            }
        }
        slot.ask_at = now + self.delay.pause();
        let complete = slot.have.count() == slot.blocks;
        let ask_at = slot.ask_at;
        self.counters.blocks_taken += 1;
        self.last_progress = now;
        if complete {
            let sender = slot.sender;
            load.marks.complete(number);
            load.asking.completed();
            self.events.push_back(Event::ChunkComplete { chunk, slot: number, sender });
        } else {
            load.asking.decide_by(ask_at);
        }
        Received::Block { chunk, block, slot: number, payload }
    }

    /// The caller wrote a complete chunk; its buffer is free.
    pub fn chunk_done(&mut self, now: Instant, chunk: u32) {
        self.last_progress = now;
        let Some(load) = &mut self.load else { return };
        if load.marks.release(chunk, true).is_none() {
            return;
        }
        load.asking.decide_by(now);
        if load.marks.done() == load.geometry.chunks() && !self.finished {
            self.finished = true;
            self.join.stop();
            self.events.push_back(Event::Finished);
        }
    }

    /// A complete chunk failed verification: it is thrown away and asked for again.
    pub fn chunk_rejected(&mut self, now: Instant, chunk: u32) {
        let Some(load) = &mut self.load else { return };
        if load.marks.release(chunk, false).is_some() {
            self.counters.chunks_rejected += 1;
            load.asking.wanted_again(chunk);
            load.asking.decide_by(now);
        }
    }

    /// The caller can do nothing without chunk 0: it is asked for before any other. See
    /// [`Config::keep_slot_for_first`].
    pub fn ask_first(&mut self, now: Instant) {
        if let Some(load) = &mut self.load {
            load.asking.ask_first(now);
        }
    }

    /// Tells the server that this client goes; [`Event::Left`] follows when that is sent.
    pub fn leave(&mut self, now: Instant) {
        self.over = true;
        self.outbox.clear();
        self.leaves_left = if self.announced.is_some() { LEAVE_TIMES } else { 1 };
        self.leave_due = Some(now);
    }

    /// Does what is due. Call it when [`Self::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.start(now);
        if self.leave_due.is_some_and(|due| due <= now) {
            self.outbox.push_back(Outgoing::Leave);
            self.leaves_left = self.leaves_left.saturating_sub(1);
            self.leave_due = (self.leaves_left > 0).then_some(now + LEAVE_REPEAT);
        }
        if self.over {
            return;
        }
        if !self.finished && self.load.is_some() && now >= JoinTimer::rejoin_at(self.last_heard) {
            self.join.start(now);
        }
        if let Some(round) = self.join.fire(now) {
            let join = match self.config.join {
                JoinKind::Image if round % 2 == 1 => Outgoing::Join,
                _ => Outgoing::Join2,
            };
            self.outbox.push_back(join);
        }
        if let Some((to, seq)) = self.report.fire(now) {
            self.outbox.push_back(Outgoing::Report { to, seq });
        }
        if self.give_up_at().is_some_and(|at| now >= at) {
            self.stop(Event::GaveUp(self.seen()));
        }
    }

    /// While the caller is busy with complete chunks, nothing can be missing; but one that waits
    /// for chunk 0 is not busy.
    fn give_up_at(&self) -> Option<Instant> {
        let busy = self.load.as_ref().is_some_and(|l| {
            l.marks.complete_ever() > l.marks.done() && !l.asking.awaits_first(&l.marks)
        });
        let span = self.config.give_up_after.filter(|_| !busy && !self.finished)?;
        Some(self.last_progress + span)
    }

    /// The next datagram to send now, written to `buffer`, which must have
    /// [`CONTROL_LEN_MAX`](crate::wire::CONTROL_LEN_MAX) bytes; or `None` until
    /// [`Self::poll_timeout`].
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        self.start(now);
        if !self.over && self.outbox.is_empty() {
            self.decide(now);
        }
        while let Some(outgoing) = self.outbox.pop_front() {
            let last_leave = matches!(outgoing, Outgoing::Leave) && self.leaves_left == 0;
            if last_leave {
                self.events.push_back(Event::Left);
            }
            let to = match outgoing {
                Outgoing::Report { to, .. } => Destination::Address(to),
                _ => Destination::Group,
            };
            let mut extensions = [0; ANNOUNCEMENT_LEN_MAX];
            let message = self.message(now, outgoing, &mut extensions);
            if let Ok(len) = wire::encode(&Datagram { srcip: self.srcip, message }, buffer) {
                return Some(Transmit { to, len });
            }
        }
        None
    }

    fn decide(&mut self, now: Instant) {
        let Some(load) = &mut self.load else { return };
        if now < load.asking.due() {
            return;
        }
        let mut sink = Outbox { outbox: &mut self.outbox, counters: &mut self.counters };
        load.asking.decide(now, &mut load.marks, &self.delay, &mut self.random, &mut sink);
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_transmit`] next if nothing arrives;
    /// `None`: never. A time in the past means now.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.started.is_none() || !self.outbox.is_empty() {
            return Some(Instant::ZERO);
        }
        if self.over {
            return self.leave_due;
        }
        let rejoin = self.load.as_ref().filter(|_| !self.finished && !self.join.is_running());
        let rejoin = rejoin.map(|_| JoinTimer::rejoin_at(self.last_heard));
        let decide = self.load.as_ref().map(|l| l.asking.due());
        [decide, self.join.due(), self.report.due(), self.give_up_at(), rejoin]
            .into_iter()
            .flatten()
            .filter(|at| *at < Instant::FAR_FUTURE)
            .min()
    }
}

impl Load {
    /// A block of `chunk` arrived: if it is another chunk than before, the sweep of that one is
    /// over.
    fn move_on(&mut self, now: Instant, chunk: u32, delay: &Delay, random: &mut Random) {
        let Some(before) = self.sweeping.replace(chunk).filter(|c| *c != chunk) else { return };
        if let Some(ChunkState::Open(number)) = self.marks.state(before)
            && let Some(slot) = self.marks.slot_mut(number)
        {
            self.asking.moved_on(now, slot, delay, random);
        }
    }
}
