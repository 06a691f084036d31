//! The server session: what each datagram and each deadline does.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::config::{Config, IDLE_DEFAULT, IdleExit, RateConfig};
use super::event::{Counters, Event, FinishReason, Transmit};
use super::pacer::Pacer;
use super::queue::{Class, WorkQueue};
use super::rate::RateControl;
use super::recent::Recent;
use super::roster::{Client, Roster};
use crate::block_set::BlockSet;
use crate::time::{Duration, Instant};
use crate::wire::{
    self, ANNOUNCEMENT_LEN_MAX, Announcement, Datagram, DecodeError, Extensions, Join2, Message,
    PROGRESS_SUMMARY, Progress, ProgressReport, Statistics,
};

/// Answers that wait to be sent at most; what is more is asked for again.
const ANSWERS_MAX: usize = 256;

/// Events that wait to be polled at most; the oldest are dropped.
const EVENTS_MAX: usize = 1024;

/// A repair waits this long for the same chunk's requests of other clients.
const COALESCE: Duration = Duration::from_millis(1);

/// Progress is asked for again at this interval, in case the request or a reporter's memory of it
/// was lost. Old clients log a line for each, so it is long.
const PROGRESS_REPEAT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    Join,
    Join2 { client_id: u32, is_new_peer: bool },
    AskProgress { client_id: u32 },
}

/// A server session. See the module's documentation.
#[derive(Debug)]
pub struct Session {
    config: Config,
    srcip: [u8; 4],
    started: Option<Instant>,
    queue: WorkQueue,
    recent: Recent,
    pacer: Pacer,
    rate: RateControl,
    roster: Roster,
    answers: VecDeque<Answer>,
    events: VecDeque<Event>,
    counters: Counters,
    last_work: Instant,
    last_heard: Instant,
    progress_due: Instant,
    progress_seq: u16,
    finished: bool,
}

impl Session {
    /// A session in which nothing has happened yet.
    pub fn new(config: Config) -> Self {
        let rate = match config.rate {
            RateConfig::Fixed(rate) => RateControl::fixed(rate),
            RateConfig::Automatic { link } => RateControl::automatic(link),
        };
        let start_rate = match config.rate {
            RateConfig::Fixed(rate) => rate,
            RateConfig::Automatic { .. } => rate.rate(),
        };
        Self {
            srcip: wire::source_ip_field(config.local),
            started: None,
            queue: WorkQueue::new(),
            recent: Recent::new(config.delivery_time),
            pacer: Pacer::new(config.block_wire_bits(), config.burst_blocks_max, start_rate),
            rate,
            roster: Roster::new(config.geometry.blocks()),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            last_work: Instant::ZERO,
            last_heard: Instant::ZERO,
            progress_due: Instant::FAR_FUTURE,
            progress_seq: 0,
            finished: false,
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

    /// The clients, those that left too.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.roster.clients()
    }

    /// Clients that joined and did not leave.
    pub fn clients_present(&self) -> usize {
        self.roster.present()
    }

    /// The rate in bits per second on the wire.
    pub fn rate(&self) -> u64 {
        self.pacer.rate()
    }

    /// Blocks asked for and not sent.
    pub fn blocks_waiting(&self) -> u64 {
        self.queue.blocks()
    }

    /// The header's `srcip` of everything this server sends.
    pub fn srcip(&self) -> [u8; 4] {
        self.srcip
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn event(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn start(&mut self, now: Instant) -> Instant {
        if let Some(started) = self.started {
            return started;
        }
        self.started = Some(now);
        self.last_work = now;
        self.last_heard = now;
        now
    }

    /// Takes a datagram that the socket received from `from`.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.start(now);
        self.counters.datagrams += 1;
        let Datagram { srcip, message } = match wire::decode(bytes) {
            Ok(datagram) => datagram,
            Err(error) => {
                self.counters.undecodable += 1;
                self.counters.unknown += u64::from(matches!(error, DecodeError::Unknown { .. }));
                return;
            }
        };
        if !wire::source_is_valid(srcip, from, self.config.group, self.config.port) {
            self.counters.bad_source += 1;
            return;
        }
        if message.check(&self.config.geometry).is_err() {
            self.counters.out_of_geometry += 1;
            return;
        }
        self.last_heard = now;
        let ip = from.ip();
        for client in self.roster.at_address(ip) {
            client.last_seen = now;
        }
        match message {
            Message::JoinRequest { client_id } => self.join(now, from, client_id, None),
            Message::Join2Request(body) => self.join(now, from, body.client_id, Some(body)),
            Message::Leave { client_id, .. } => self.leave(now, from, client_id, None),
            Message::Leave2 { client_id, statistics, .. } => {
                self.leave(now, from, client_id, Some(statistics));
            }
            Message::Request { chunk, first, count } => {
                self.counters.requests += 1;
                self.request(now, from, chunk, &BlockSet::run(first, count), 0);
            }
            Message::PartialRequest { chunk, retries, wanted } => {
                self.counters.partial_requests += 1;
                self.request(now, from, chunk, &wanted, retries);
            }
            Message::ProgressReport(report) => self.report(from, &report),
            // What servers send; another server on this group is not ours to talk to.
            Message::JoinReply { .. }
            | Message::Join2Reply(_)
            | Message::Block { .. }
            | Message::ProgressRequest(_) => {}
        }
    }

    fn join(&mut self, now: Instant, from: SocketAddr, client_id: u32, body: Option<Join2<'_>>) {
        self.counters.joins += 1;
        self.last_work = now;
        let is_new_peer = body.is_some_and(|b| !b.extensions.bytes().is_empty());
        let sent = self.counters.blocks_sent;
        if self.roster.join(now, client_id, from, is_new_peer, sent) {
            self.event(Event::Joined { client_id, address: from });
        }
        self.rate.seen(now, from.ip());
        let geometry = &self.config.geometry;
        let answer = match body {
            Some(_) => Answer::Join2 { client_id, is_new_peer },
            // JOIN has no room for any other file; the client is told by silence, as deployed.
            None if !geometry.is_whole_chunks() || !geometry.is_deployed() => return,
            None if u32::try_from(geometry.blocks()).is_err() => return,
            None => Answer::Join,
        };
        self.answer(answer);
        if let Some(secs) = self.config.progress_secs {
            self.answer(Answer::AskProgress { client_id });
            self.progress_due = now + PROGRESS_REPEAT.max(Duration::from_secs(u64::from(secs)));
        }
    }

    fn answer(&mut self, answer: Answer) {
        if self.answers.len() < ANSWERS_MAX && !self.answers.contains(&answer) {
            self.answers.push_back(answer);
        }
    }

    fn leave(
        &mut self,
        now: Instant,
        from: SocketAddr,
        client_id: u32,
        statistics: Option<Statistics>,
    ) {
        if !self.roster.leave(now, client_id, from.ip(), statistics) {
            return;
        }
        self.event(Event::Left { client_id, address: from, statistics });
        if self.roster.at_address(from.ip()).next().is_none() {
            self.rate.gone(from.ip());
        }
        if self.config.idle_exit == IdleExit::WhenEmpty && self.roster.everybody_left() {
            self.finish(FinishReason::Empty);
        }
    }

    fn report(&mut self, from: SocketAddr, report: &ProgressReport) {
        if let Some(client) = self.roster.client_mut(from.ip(), report.head.client_id) {
            client.summary = report.summary.or(client.summary);
            // Deployed clients send the room for statistics without filling it.
            let filled = report.statistics.filter(|s| s.version == wire::STATISTICS_VERSION);
            client.statistics = filled.or(client.statistics);
        }
    }

    fn request(
        &mut self,
        now: Instant,
        from: SocketAddr,
        chunk: u32,
        wanted: &BlockSet,
        retries: u32,
    ) {
        self.last_work = now;
        let ip = from.ip();
        let all = self.config.geometry.all_blocks(chunk);
        let wanted = wanted.intersection(&all);
        let underway = self.recent.on_their_way(now, chunk);
        let crossed = wanted.intersection(&underway).count();
        self.counters.blocks_on_their_way += u64::from(crossed);
        let wanted = wanted.difference(&underway);
        let joined = self.roster.at_address(ip).map(|c| c.joined).max().unwrap_or_default();
        let passed = self.recent.sent_since(chunk, &wanted, joined);
        let lost = if retries > 0 { passed } else { 0 };
        self.counters.blocks_lost += u64::from(lost);
        self.rate.lost(now, ip, lost);
        let (loss, is_laggard) = self.rate.state(ip);
        for client in self.roster.at_address(ip) {
            client.requests += 1;
            client.blocks_lost += u64::from(lost);
            (client.loss, client.is_laggard) = (loss, is_laggard);
        }
        if wanted.is_empty() {
            return;
        }
        let sent = self.counters.blocks_sent;
        let repair = wanted.count() * 2 < all.count();
        // Who missed most of a chunk that was sent to all, or part of one without calling it a
        // loss, had no buffer for it: it catches up when the others need nothing.
        let unclaimed = retries == 0 && passed * 2 >= wanted.count();
        let missed = passed * 4 >= all.count() * 3 || unclaimed;
        let (class, ready) = match repair {
            _ if missed || is_laggard => (Class::Low, now),
            true => (Class::Repair, now + COALESCE),
            false => (Class::Main, now),
        };
        // Asking again for what waits costs next to nothing, but not nothing: it may make it urgent.
        let fresh = self.queue.new_of(chunk, &wanted);
        let (class, ready) = if self.roster.charge(now, ip, fresh.max(1), sent) {
            (class, ready)
        } else {
            self.counters.requests_over_share += 1;
            (Class::Low, now)
        };
        if self.queue.is_empty() {
            self.pacer.begin(now);
        }
        self.queue.add(chunk, &wanted, class, ready);
        self.counters.blocks_merged += u64::from(wanted.count() - fresh);
    }

    /// Does what is due. Call it when [`Self::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.start(now);
        if self.rate.tick(now) {
            let bits_per_sec = self.rate.rate();
            self.pacer.set_rate(bits_per_sec);
            self.event(Event::Rate { bits_per_sec });
        }
        if now >= self.progress_due {
            self.progress_due = now + PROGRESS_REPEAT;
            if self.roster.present() > 0 {
                self.answer(Answer::AskProgress { client_id: 0 });
            }
        }
        if let Some(span) = self.config.keep_alive
            && now >= self.last_heard + span
        {
            self.last_heard = now;
            self.event(Event::KeepAlive);
        }
        if self.idle_at().is_some_and(|at| now >= at) {
            self.finish(FinishReason::Idle);
        }
    }

    fn idle_at(&self) -> Option<Instant> {
        match self.config.idle_exit {
            _ if self.finished => None,
            IdleExit::Never => None,
            IdleExit::After(span) => Some(self.last_work + span),
            IdleExit::WhenEmpty => Some(self.last_work + IDLE_DEFAULT),
        }
    }

    fn finish(&mut self, reason: FinishReason) {
        if !std::mem::replace(&mut self.finished, true) {
            self.event(Event::Finished(reason));
        }
    }

    /// The next thing to send now, or `None` until [`Self::poll_timeout`]. `buffer` is for control
    /// datagrams and must have [`CONTROL_LEN_MAX`](crate::wire::CONTROL_LEN_MAX) bytes.
    ///
    /// Poll until `None`: what comes in one go is one burst and belongs in one batch.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        self.start(now);
        if let Some(len) = self.poll_control(buffer) {
            return Some(Transmit::Control { len });
        }
        if self.queue.is_empty() {
            self.rate.idle();
            return None;
        }
        let allowance = self.pacer.allowance(now);
        if allowance == 0 {
            return None;
        }
        let run = self.queue.take(now, allowance)?;
        self.pacer.spend(run.count);
        self.rate.sent(run.count);
        self.recent.sent(now, run.chunk, run.first, run.count);
        self.counters.blocks_sent += u64::from(run.count);
        self.last_work = now;
        Some(Transmit::Blocks { chunk: run.chunk, first: run.first, count: run.count })
    }

    /// The next control datagram alone, for a caller that is not ready for more blocks: its bytes
    /// are in `buffer`, its length is returned. [`Self::poll_transmit`] hands these out too.
    pub fn poll_control(&mut self, buffer: &mut [u8]) -> Option<usize> {
        while let Some(answer) = self.answers.pop_front() {
            if let Some(len) = self.encode(answer, buffer) {
                return Some(len);
            }
        }
        None
    }

    /// The chunks that [`Self::poll_transmit`] will come to, the nearest first, as things stand:
    /// what to read ahead.
    pub fn upcoming(&self) -> impl Iterator<Item = u32> {
        self.queue.upcoming()
    }

    fn encode(&mut self, answer: Answer, buffer: &mut [u8]) -> Option<usize> {
        let geometry = &self.config.geometry;
        let mut extensions = [0; ANNOUNCEMENT_LEN_MAX];
        let message = match answer {
            Answer::Join => Message::JoinReply { blocks: u32::try_from(geometry.blocks()).ok()? },
            Answer::Join2 { client_id, is_new_peer } => {
                let announcement = Announcement {
                    features: Some(0),
                    image_id: self.config.image_id,
                    server_run: Some(self.config.server_run),
                };
                Message::Join2Reply(Join2 {
                    client_id,
                    blocks: 0, // as deployed servers do
                    blocks_per_chunk: i32::try_from(geometry.blocks_per_chunk()).ok()?,
                    block_size: i32::try_from(geometry.block_size()).ok()?,
                    bytes: geometry.bytes(),
                    extensions: match is_new_peer {
                        true => announcement.encode(&mut extensions),
                        false => Extensions::default(),
                    },
                })
            }
            Answer::AskProgress { client_id } => {
                self.progress_seq = self.progress_seq.wrapping_add(1);
                Message::ProgressRequest(Progress {
                    client_id,
                    who: [0; 4],
                    when: self.config.progress_secs?,
                    // As deployed servers ask; new clients add statistics unasked.
                    what: PROGRESS_SUMMARY,
                    seq: self.progress_seq,
                })
            }
        };
        wire::encode(&Datagram { srcip: self.srcip, message }, buffer).ok()
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_transmit`] next if nothing arrives;
    /// `None`: never. A time in the past means now.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mut next = self.idle_at().unwrap_or(Instant::FAR_FUTURE);
        if !self.answers.is_empty() {
            return Some(Instant::ZERO);
        }
        if let Some(ready) = self.queue.ready_at() {
            next = next.min(ready.max(self.pacer.next()));
        }
        if self.roster.present() > 0 {
            next = next.min(self.progress_due);
        }
        if let Some(span) = self.config.keep_alive {
            next = next.min(self.last_heard + span);
        }
        (next < Instant::FAR_FUTURE).then_some(next)
    }
}
