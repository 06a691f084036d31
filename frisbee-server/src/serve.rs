//! The loop: receive, answer, send, sleep.
//!
//! What it owns: the one thread that talks to the network, and everything it needs, so that no
//! block costs a lock or an allocation. What it never does: wait for the disk or for whoever reads
//! its reports.
//!
//! One thread both receives and sends. Requests are few, and checking for them between two bursts
//! costs less than handing them from thread to thread. It sleeps in the wait for datagrams, so that
//! a request or a join never waits for the pace; only gaps too short for a sleep are spun through.

use crate::clock::Clock;
use crate::exit_rule::{ExitRule, Over};
use crate::gate::{Budget, Gate};
use crate::image::Image;
use crate::network::is_unicast;
use crate::outbox::Outbox;
use crate::page_cache::PageCache;
use crate::peers::{Heard, Peers};
use crate::read_ahead::ReadAhead;
use crate::reader::Reader;
use crate::report::{
    Ended, Joined, PROGRESS_INTERVAL, Progress, Report, Started, Summary, bits_per_sec,
};
use crate::settings::{SessionPlan, Settings};
use crossbeam_channel::Sender;
use imagezip::interrupt::Interrupt;
use mcast::{GroupSocket, ReceiveBatch, Received, SocketError, Waker};
use proto::server::{Event, RATE_MIN, RATE_START, RateConfig};
use proto::time::{Duration, Instant};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;

/// Gaps shorter than this are spun through: a sleep ends about 30 us late. A longer gap is slept
/// through whole; being late by that much is caught up, because deadlines are absolute.
const SLEEP_MIN: Duration = Duration::from_micros(50);

/// The longest sleep: a signal is noticed after this time.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// While blocks go out without a pause, requests are looked for this often.
const RECEIVE_INTERVAL: Duration = Duration::from_micros(250);

/// A complaint of one kind is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Why a server failed.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The system gives no thread or no file descriptor.
    #[error("cannot start a thread to read the image: {source}")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// The network failed for good.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// A server that is ready to run.
#[derive(Debug)]
pub struct Server {
    socket: GroupSocket,
    clock: Clock,
    peers: Peers,
    ahead: ReadAhead,
    outbox: Outbox,
    gate: Gate,
    rule: ExitRule,
    slots: usize,
    block_wire_bits: u64,
    started: Started,
    received: ReceiveBatch,
    last_receive: Instant,
    housekeeping_at: Instant,
    progress_at: Instant,
    reported: (Instant, u64),
    sending: Option<(Instant, Instant)>,
    complaints: Complaints,
}

/// What is logged at a limited rate.
#[derive(Debug, Default)]
struct Complaints {
    due: Instant,
    other_server: Option<SocketAddr>,
    unicast_refused: Option<SocketAddr>,
    too_many: Option<SocketAddr>,
    bad_reported: u64,
    read_error: Option<(u32, io::Error)>,
}

impl Server {
    /// Makes a server of an open file and open sockets.
    ///
    /// # Errors
    /// [`ServeError::Thread`].
    pub fn new(image: Image, socket: GroupSocket, settings: &Settings) -> Result<Self, ServeError> {
        let clock = Clock::start();
        let now = clock.now();
        let plan = SessionPlan::new(&image, &socket, settings);
        let config = plan.config;
        let (slots, unicast) = (plan.slots(settings), is_unicast(&socket));
        let srcip = proto::wire::source_ip_field(config.local);
        let block_size = config.geometry.block_size();
        let outbox = Outbox::new(block_size, settings.burst_blocks, srcip, socket.group_addr());
        let several = unicast || settings.unicast;
        let peers = Peers::new(now, plan, &socket, !unicast, several);
        let rate = settings.bits_per_sec;
        let own = rate.filter(|_| several).map(|rate| Arc::new(Budget::new(rate))).into_iter();
        let start_rate = match config.rate {
            RateConfig::Fixed(rate) => rate,
            RateConfig::Automatic { link } => link.unwrap_or(RATE_START).max(RATE_MIN),
        };
        let started = Started::new(&image, &socket, start_rate, rate.is_none());
        let failed = |source| ServeError::Thread { source };
        let cache = PageCache::new(Arc::clone(&image.source), config.geometry);
        let reader =
            Reader::start(image.source, config.geometry, slots, socket.waker()).map_err(failed)?;
        Ok(Self {
            clock,
            peers,
            ahead: ReadAhead::new(reader, cache, &config.geometry, slots),
            outbox,
            gate: Gate::new(own.chain(settings.total.clone())),
            rule: ExitRule::new(settings.idle_exit, now),
            slots,
            block_wire_bits: config.block_wire_bits(),
            started,
            received: ReceiveBatch::new(),
            last_receive: now,
            housekeeping_at: now,
            progress_at: now + PROGRESS_INTERVAL,
            reported: (now, 0),
            sending: None,
            complaints: Complaints::default(),
            socket,
        })
    }

    /// Where it serves and what.
    pub const fn started(&self) -> &Started {
        &self.started
    }

    /// Makes a running server look at its interrupt at once.
    pub fn waker(&self) -> Waker {
        self.socket.waker()
    }

    /// Serves until the exit rule or `interrupt` says that it is over. Reports that `reports` has
    /// no room for are lost; the summary is also returned.
    ///
    /// # Errors
    /// [`ServeError::Socket`].
    pub fn run(
        mut self,
        interrupt: &Interrupt,
        reports: &Sender<Report>,
    ) -> Result<Summary, ServeError> {
        if let Err(error) = mcast::clock::tighten_timer_slack() {
            tracing::debug!("sleeps will be late: {error}");
        }
        let tell = |report| drop(reports.try_send(report));
        tell(Report::Start(self.started.clone()));
        let mut timeout = Duration::ZERO;
        let ended = loop {
            if interrupt.is_set() {
                break Ended::Interrupted;
            }
            self.receive(timeout)?;
            let now = self.clock.now();
            if let Some(error) = self.ahead.collect(now) {
                self.complaints.read_error = Some(error);
            }
            self.handle_timeouts(now, &tell);
            if now >= self.housekeeping_at {
                self.housekeeping_at = now + SLEEP_MAX;
                self.peers.forget(now);
                self.complain(now);
                match self.rule.look(now, self.peers.activity()) {
                    Some(Over::Idle) => break Ended::Idle,
                    Some(Over::Empty) => break Ended::Empty,
                    None => {}
                }
            }
            if now >= self.progress_at {
                tell(Report::Progress(self.progress(now)));
            }
            self.transmit(now)?;
            timeout = self.time_to_sleep();
        };
        let summary = self.summary(ended);
        tell(Report::Summary(Box::new(summary.clone())));
        Ok(summary)
    }

    fn receive(&mut self, timeout: Duration) -> Result<(), ServeError> {
        let now = self.clock.now();
        if timeout == Duration::ZERO && now.since(self.last_receive) < RECEIVE_INTERVAL {
            return Ok(());
        }
        self.last_receive = now;
        let received = self.socket.receive(&mut self.received, Some(timeout.into()))?;
        if let Received::Datagrams(_) = received {
            // What has come may not be all.
            self.last_receive = Instant::ZERO;
            let now = self.clock.now();
            for datagram in self.received.datagrams() {
                let place = match self.peers.handle(now, &datagram) {
                    Heard::Ordinary => continue,
                    Heard::OtherServer => &mut self.complaints.other_server,
                    Heard::UnicastRefused => &mut self.complaints.unicast_refused,
                    Heard::TooMany => &mut self.complaints.too_many,
                };
                *place = Some(datagram.source);
            }
        }
        Ok(())
    }

    fn handle_timeouts(&mut self, now: Instant, tell: &impl Fn(Report)) {
        let mut left = Vec::new();
        let mut renew = false;
        for peer in self.peers.all_mut() {
            peer.session.handle_timeout(now);
            while let Some(event) = peer.poll_event() {
                match event {
                    Event::Joined { client_id: id, address } => {
                        let unicast = peer.client.is_some();
                        tell(Report::Joined(Joined { address, id, unicast }));
                    }
                    Event::Left { client_id, address, .. } => left.push((address, client_id)),
                    Event::KeepAlive => renew = true,
                    Event::Rate { bits_per_sec } => tracing::debug!(bits_per_sec, "new rate"),
                    Event::Finished(_) => {}
                }
            }
        }
        for (address, id) in left {
            if let Some(status) = self.peers.client(now, address.ip(), id) {
                tell(Report::Left(status));
            }
        }
        if renew && let Err(error) = self.socket.rejoin() {
            tracing::warn!("{error}");
        }
    }

    /// Sends what may go out now.
    fn transmit(&mut self, now: Instant) -> Result<(), ServeError> {
        let Self { socket, peers, ahead, outbox, gate, .. } = self;
        for peer in peers.all_mut() {
            peer.answer(outbox, socket)?;
        }
        if !outbox.flush(socket, now)? {
            return Ok(());
        }
        let ahead_max = peers.share_of(self.slots);
        let mut sent = 0;
        for peer in peers.in_turn() {
            if now < gate.opens_at() {
                break;
            }
            let turn = peer.transmit(now, ahead, ahead_max, outbox, socket)?;
            sent += turn.blocks;
            gate.pass(now, u64::from(turn.blocks) * self.block_wire_bits);
            if !turn.open {
                break;
            }
        }
        if sent > 0 {
            let first = self.sending.map_or(now, |(first, _)| first);
            self.sending = Some((first, now));
        }
        Ok(())
    }

    /// How long nothing is due; zero to come back at once.
    fn time_to_sleep(&mut self) -> Duration {
        let next = match self.outbox.retry_at() {
            Some(at) => at,
            None => {
                let peers = self.peers.all_mut().iter();
                let next = peers.map(|peer| peer.next_timeout()).min();
                next.unwrap_or(Instant::FAR_FUTURE).max(self.gate.opens_at())
            }
        };
        let gap = next.since(self.clock.now());
        if gap < SLEEP_MIN { Duration::ZERO } else { gap.min(SLEEP_MAX) }
    }

    fn progress(&mut self, now: Instant) -> Progress {
        self.progress_at = now + PROGRESS_INTERVAL;
        let totals = self.peers.totals();
        let (then, blocks) = std::mem::replace(&mut self.reported, (now, totals.blocks_sent));
        let bytes = (totals.blocks_sent - blocks).saturating_mul(self.block_wire_bits / 8);
        Progress {
            millis: millis(self.clock.elapsed()),
            rate_bits_per_sec: self.peers.rate(),
            sent_bits_per_sec: bits_per_sec(bytes, now.since(then).as_millis()),
            image_blocks: self.started.image_blocks,
            blocks_waiting: self.peers.blocks_waiting(),
            totals,
            kernel_drops: self.socket.kernel_drops().unwrap_or(0),
            read_errors: self.ahead.read_errors(),
            clients: self.peers.clients(now, false),
        }
    }

    fn summary(&self, ended: Ended) -> Summary {
        Summary {
            ended,
            loading: self.peers.present(),
            millis: millis(self.clock.elapsed()),
            sending_millis: self.sending.map_or(0, |(first, last)| last.since(first).as_millis()),
            image_bytes: self.started.image_bytes,
            image_blocks: self.started.image_blocks,
            totals: self.peers.totals(),
            kernel_drops: self.socket.kernel_drops().unwrap_or(0),
            read_errors: self.ahead.read_errors(),
            clients: self.peers.clients(self.clock.now(), true),
        }
    }

    /// Says what is wrong around here, but not all the time.
    fn complain(&mut self, now: Instant) {
        let all = &mut self.complaints;
        if now < all.due {
            return;
        }
        all.due = now + LOG_INTERVAL;
        let group = self.socket.group();
        if let Some(from) = all.other_server.take() {
            tracing::warn!(
                "another server, {from}, sends to group {group}: clients may mix up two files; give \
                 one of the servers another group (-m) or port (-p)"
            );
        }
        if let Some(from) = all.unicast_refused.take() {
            tracing::warn!(
                "{from} asks this machine alone instead of group {group}; --unicast would serve it"
            );
        }
        if let Some(from) = all.too_many.take() {
            tracing::warn!("{from} is not served: too many clients ask this machine alone");
        }
        if let Some((chunk, error)) = all.read_error.take() {
            tracing::error!(
                "{}: cannot read chunk {chunk}: {error}; clients wait for it",
                self.started.image.display()
            );
        }
        let bad = self.peers.totals().datagrams_bad;
        if bad > all.bad_reported {
            let new = bad - std::mem::replace(&mut all.bad_reported, bad);
            tracing::info!("{new} bad datagrams were ignored");
        }
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
