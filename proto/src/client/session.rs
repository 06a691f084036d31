//! The client session: what each datagram and each deadline does.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::asking::{Ask, Asking};
use super::config::{Config, JoinKind};
use super::delay::Delay;
use super::join::JoinTimer;
use super::marks::{ChunkState, Marks, Slot};
use super::report::ReportTimer;
use crate::block_set::BlockSet;
use crate::geometry::{BLOCK_SIZE, Geometry};
use crate::random::Random;
use crate::time::{Duration, Instant};
use crate::wire::{
    self, ANNOUNCEMENT_LEN_MAX, Announcement, Datagram, Join2, Message, PROGRESS_STATISTICS,
    PROGRESS_SUMMARY, Progress, ProgressReport, STATISTICS_VERSION, Statistics, Summary,
};

/// A new server is told of the leave three times, this far apart: a lost leave would keep it
/// waiting. Old servers, which count leaves, are told once.
const LEAVE_REPEAT: Duration = Duration::from_millis(50);

/// See [`LEAVE_REPEAT`].
const LEAVE_TIMES: u32 = 3;

/// Replies that describe another image before a client believes it.
const DOUBTS_MAX: u32 = 2;

/// What became of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received<'a> {
    /// Nothing for the caller to do.
    Nothing,
    /// A block that was missing: copy the payload to `block` x block size in the buffer of `slot`
    /// before the next call. The file's last block is padded with zeros.
    Block {
        /// The chunk.
        chunk: u32,
        /// The block in the chunk.
        block: u32,
        /// The buffer, below [`Config::slots`].
        slot: u32,
        /// One block, borrowed from the datagram.
        payload: &'a [u8],
    },
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Destination {
    /// To the group and port.
    Group,
    /// To one address.
    Address(SocketAddr),
}

/// A datagram in the caller's buffer, to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// Where it goes.
    pub to: Destination,
    /// Its length in bytes.
    pub len: usize,
}

/// Something the caller must know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The server answered; the load begins.
    Joined {
        /// The file.
        geometry: Geometry,
        /// The server.
        server: SocketAddr,
        /// Identity of the image, if the server is new enough to say.
        image_id: Option<[u8; 16]>,
    },
    /// All blocks of a chunk are in its buffer. Say [`Session::chunk_done`] or
    /// [`Session::chunk_rejected`] when through with it.
    ChunkComplete {
        /// The chunk.
        chunk: u32,
        /// Its buffer.
        slot: u32,
        /// Who sent its first block.
        sender: SocketAddr,
    },
    /// All chunks are done. Say [`Session::leave`].
    Finished,
    /// The server was restarted; the load goes on.
    ServerRestarted,
    /// The server now serves something else: what is on the disk and what would come do not
    /// belong together. The session is over.
    ImageChanged {
        /// The file that was being loaded.
        geometry: Geometry,
        /// The file that is served now; `None` when only its identity differs.
        now: Option<Geometry>,
    },
    /// The server described a file that this client cannot take. The session is over.
    Refused(crate::geometry::GeometryError),
    /// Nothing new came for [`Config::give_up_after`]. The session is over.
    GaveUp(Seen),
    /// The leave was sent as often as it will be.
    Left,
}

/// How far a client got that gave up; tells what to check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// No datagram at all: interface, group, IGMP, firewall, or no server.
    Nothing,
    /// Datagrams, but no reply to a join.
    NoReply,
    /// A reply, but no block since: requests do not arrive, or the server is gone.
    NoData,
    /// Blocks, but none that was missing.
    NoProgress,
}

/// What the session counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Datagrams received, good and bad.
    pub datagrams: u64,
    /// Datagrams that are not messages, or of an unknown subtype.
    pub undecodable: u64,
    /// Messages whose sender is not who it says.
    pub bad_source: u64,
    /// Messages about what the file does not have.
    pub out_of_geometry: u64,
    /// Blocks from an address that is not the server's.
    pub foreign_blocks: u64,
    /// Blocks received from the server.
    pub blocks: u64,
    /// ... of them taken.
    pub blocks_taken: u64,
    /// ... of chunks already complete.
    pub duplicate_chunk_blocks: u64,
    /// ... already there.
    pub duplicate_blocks: u64,
    /// ... for which no buffer was free.
    pub blocks_without_slot: u64,
    /// Requests sent for whole chunks, repeated ones too.
    pub requests: u64,
    /// ... of them repeated.
    pub requests_again: u64,
    /// Partial requests sent.
    pub partial_requests: u64,
    /// ... of them repeated.
    pub partial_requests_again: u64,
    /// Blocks that were sent and did not arrive.
    pub blocks_lost: u64,
    /// Chunks that failed the caller's verification.
    pub chunks_rejected: u64,
}

#[derive(Clone, Copy, Debug)]
enum Outgoing {
    Join,
    Join2,
    Ask(Ask),
    Report { to: SocketAddr, seq: u16 },
    Leave,
}

/// The load, once the server has answered.
#[derive(Debug)]
struct Load {
    geometry: Geometry,
    marks: Marks,
    asking: Asking,
    /// The chunk of the last block.
    sweeping: Option<u32>,
}

/// A client session. See the module's documentation.
#[derive(Debug)]
pub struct Session {
    config: Config,
    srcip: [u8; 4],
    random: Random,
    started: Option<Instant>,
    over: bool,
    finished: bool,
    load: Option<Load>,
    join: JoinTimer,
    /// Replies in a row that describe another image.
    doubts: u32,
    server: Option<SocketAddr>,
    announced: Option<Announcement>,
    delay: Delay,
    report: ReportTimer,
    outbox: VecDeque<Outgoing>,
    events: VecDeque<Event>,
    counters: Counters,
    statistics: Statistics,
    last_heard: Instant,
    last_progress: Instant,
    leave_due: Option<Instant>,
    leaves_left: u32,
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

    /// A JOIN reply carries no id: it may answer another client's join, and says as much.
    fn join_reply(&mut self, now: Instant, from: SocketAddr, blocks: u32) {
        let bytes = u64::from(blocks) * u64::from(BLOCK_SIZE);
        match Geometry::deployed(bytes) {
            Ok(geometry) => {
                let asked = self.join.attempts() > 1;
                self.joined(now, from, geometry, None, asked);
            }
            // A client that waits for a JOIN2 reply need not fail because of a forged JOIN reply.
            Err(_) => self.counters.out_of_geometry += 1,
        }
    }

    /// A reply to another client describes the same file: the load can begin at once. This
    /// client's own join goes on until it is answered, so that the server knows of it.
    fn join2_reply(&mut self, now: Instant, from: SocketAddr, body: &Join2<'_>) {
        let asked = body.client_id == self.config.client_id;
        let announced = match body.extensions.bytes() {
            [] => None,
            _ => Some(body.extensions.announcement()),
        };
        match body.geometry() {
            Ok(geometry) => self.joined(now, from, geometry, announced, asked),
            Err(error) if self.load.is_none() && asked => self.stop(Event::Refused(error)),
            Err(_) => self.counters.out_of_geometry += 1,
        }
    }

    fn joined(
        &mut self,
        now: Instant,
        from: SocketAddr,
        geometry: Geometry,
        announced: Option<Announcement>,
        asked: bool,
    ) {
        self.last_heard = now;
        let Some(load) = &mut self.load else {
            self.load = Some(Load {
                geometry,
                marks: Marks::new(&geometry, self.config.slots),
                asking: Asking::new(geometry.chunks()),
                sweeping: None,
            });
            self.server = Some(from);
            self.announced = announced;
            self.last_progress = now;
            if asked {
                self.join.stop();
            }
            let image_id = announced.and_then(|a| a.image_id);
            self.events.push_back(Event::Joined { geometry, server: from, image_id });
            return;
        };
        let was = load.geometry;
        if geometry != was {
            self.changed(now, asked, was, Some(geometry));
            return;
        }
        if !self.join.is_running() {
            return;
        }
        let (old, new) = (self.announced.unwrap_or_default(), announced.unwrap_or_default());
        if old.image_id.is_some() && new.image_id.is_some() && old.image_id != new.image_id {
            self.changed(now, asked, was, None);
            return;
        }
        if asked {
            self.doubts = 0;
            self.join.stop();
        }
        let restarted = old.server_run.is_some()
            && new.server_run.is_some()
            && old.server_run != new.server_run;
        if restarted || self.server != Some(from) {
            load.asking.forget(&mut load.marks);
            self.events.push_back(Event::ServerRestarted);
        }
        self.server = Some(from);
        self.announced = announced.or(self.announced);
    }

    /// A reply describes another image. Believed when this client asked for it and was told so
    /// more than once: a load of an hour does not end because of one bad datagram.
    fn changed(&mut self, now: Instant, asked: bool, was: Geometry, geometry: Option<Geometry>) {
        if asked && self.join.is_running() {
            self.doubts += 1;
        }
        self.join.start(now);
        if self.doubts >= DOUBTS_MAX {
            self.stop(Event::ImageChanged { geometry: was, now: geometry });
        }
    }

    fn stop(&mut self, event: Event) {
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
                let asked = load.asking.opened(chunk);
                let slot = Slot {
                    chunk,
                    have: BlockSet::EMPTY,
                    blocks: load.geometry.blocks_in(chunk),
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
                if let Some(asked) = asked.filter(|a| a.retries == 0) {
                    self.delay.answered(now.since(asked.at));
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
            slot.retries = 0;
            if let Some(asked_at) = slot.asked_at.take() {
                self.delay.answered(now.since(asked_at));
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
            let seen = match () {
                () if self.counters.datagrams == 0 => Seen::Nothing,
                () if self.load.is_none() => Seen::NoReply,
                () if self.delay.last_block().is_none_or(|t| t <= self.last_progress) => {
                    Seen::NoData
                }
                () => Seen::NoProgress,
            };
            self.stop(Event::GaveUp(seen));
        }
    }

    /// While the caller is busy with complete chunks, nothing can be missing.
    fn give_up_at(&self) -> Option<Instant> {
        let busy = self.load.as_ref().is_some_and(|l| l.marks.complete_ever() > l.marks.done());
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

    fn message<'a>(
        &self,
        now: Instant,
        outgoing: Outgoing,
        extensions: &'a mut [u8; ANNOUNCEMENT_LEN_MAX],
    ) -> Message<'a> {
        let client_id = self.config.client_id;
        let elapsed = now.since(self.started.unwrap_or(now));
        match outgoing {
            Outgoing::Join => Message::JoinRequest { client_id },
            Outgoing::Join2 => Message::Join2Request(Join2 {
                client_id,
                blocks: 0,
                blocks_per_chunk: 1024,
                block_size: 1024,
                bytes: 0,
                extensions: Announcement { features: Some(0), ..Announcement::default() }
                    .encode(extensions),
            }),
            Outgoing::Ask(Ask::Whole { chunk, .. }) => {
                let count = self.geometry().map_or(0, |g| g.blocks_in(chunk));
                Message::Request { chunk, first: 0, count }
            }
            Outgoing::Ask(Ask::Some { chunk, retries, wanted }) => {
                Message::PartialRequest { chunk, retries, wanted }
            }
            Outgoing::Report { seq, .. } => Message::ProgressReport(ProgressReport {
                head: Progress {
                    client_id,
                    who: self.srcip,
                    when: u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX),
                    what: PROGRESS_SUMMARY | PROGRESS_STATISTICS,
                    seq,
                },
                summary: Some(Summary {
                    chunks_in: self.chunks_complete(),
                    chunks_out: self.chunks_done(),
                    bytes_out: self.statistics.bytes_written,
                }),
                statistics: Some(self.statistics(elapsed)),
            }),
            Outgoing::Leave => Message::Leave2 {
                client_id,
                elapsed: i32::try_from(elapsed.as_secs()).unwrap_or(i32::MAX),
                statistics: self.statistics(elapsed),
            },
        }
    }

    fn statistics(&self, elapsed: Duration) -> Statistics {
        let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let c = &self.counters;
        let secs = elapsed.as_secs();
        Statistics {
            run_secs: i32::try_from(secs).unwrap_or(i32::MAX),
            run_millis: i32::try_from(elapsed.as_millis() % 1000).unwrap_or(0),
            chunk_buffers: i32::try_from(self.config.slots).unwrap_or(i32::MAX),
            randomize: 1,
            no_free_chunks: count(c.blocks_without_slot),
            duplicate_chunks: count(c.duplicate_chunk_blocks),
            duplicate_blocks: count(c.duplicate_blocks),
            partial_requests: count(c.partial_requests),
            join_attempts: self.join.attempts(),
            requests: count(c.requests + c.partial_requests),
            lost_blocks: count(c.blocks_lost),
            re_requests: count(c.partial_requests_again),
            full_re_requests: count(c.requests_again),
            ..self.statistics
        }
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

/// Turns decisions into datagrams to be, and counts them.
struct Outbox<'a> {
    outbox: &'a mut VecDeque<Outgoing>,
    counters: &'a mut Counters,
}

impl Extend<Ask> for Outbox<'_> {
    fn extend<I: IntoIterator<Item = Ask>>(&mut self, asks: I) {
        for ask in asks {
            match ask {
                Ask::Whole { again, .. } => {
                    self.counters.requests += 1;
                    self.counters.requests_again += u64::from(again);
                }
                Ask::Some { retries, wanted, .. } => {
                    self.counters.partial_requests += 1;
                    self.counters.partial_requests_again += u64::from(retries > 1);
                    self.counters.blocks_lost +=
                        if retries > 0 { u64::from(wanted.count()) } else { 0 };
                }
            }
            self.outbox.push_back(Outgoing::Ask(ask));
        }
    }
}
