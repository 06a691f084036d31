//! The thread that receives.
//!
//! What it owns: socket, session, chunk buffers and the clock. It copies each block once and hands
//! whole chunks over. What it never does: wait for a disk, a processor-bound thread or a terminal.

use crate::advice::Silence;
use crate::buffers::Buffers;
use crate::control::Control;
use crate::error::ClientError;
use crate::fallback::{Moment, Outcome, Watch, in_words};
use crate::host::{Found, Seen};
use crate::sockets::Sockets;
use crate::status::{Fallback, Joined, Status};
use crate::work::{Chunk, Verdict, Work};
use crossbeam_channel::{Receiver as Verdicts, Sender, TryRecvError};
use imagezip::cli::say;
use imagezip::interrupt::Interrupt;
use imagezip::load::LoadError;
use mcast::{ReceiveBatch, Received as Arrived};
use proto::client::{Config, Event, Received, Session};
use proto::geometry::Geometry;
use proto::time::{Duration, Instant};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

/// A signal is seen this late at most.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// A user is told of silence this often.
const WARN_AFTER: Duration = Duration::from_secs(15);

/// Chunks are at most this long: what the memory was divided for.
const CHUNK_BYTES_MAX: u64 = 1 << 20;

/// The receiving thread's state.
pub(crate) struct Receiver<'a> {
    sockets: Sockets,
    watch: Option<Watch>,
    session: Session,
    batch: ReceiveBatch,
    control: Control,
    buffers: Option<Buffers>,
    /// `None` once nothing more will be handed over.
    work: Option<Sender<Work>>,
    verdicts: Verdicts<Verdict>,
    status: &'a Status,
    interrupt: &'a Interrupt,
    start: std::time::Instant,
    server: Option<SocketAddr>,
    keep_alive: Option<Duration>,
    last_datagram: Instant,
    warned_at: Instant,
    /// How it ended, while the leave is being sent.
    ending: Option<Result<(), ClientError>>,
}

/// What the network half knows at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) counters: proto::client::Counters,
    pub(crate) kernel_drops: u64,
}

impl<'a> Receiver<'a> {
    pub(crate) fn new(
        sockets: Sockets,
        config: Config,
        work: Sender<Work>,
        verdicts: Verdicts<Verdict>,
        status: &'a Status,
        interrupt: &'a Interrupt,
    ) -> Self {
        Self {
            sockets,
            watch: None,
            session: Session::new(config),
            batch: ReceiveBatch::new(),
            control: Control::new(),
            buffers: None,
            work: Some(work),
            verdicts,
            status,
            interrupt,
            start: std::time::Instant::now(),
            server: None,
            keep_alive: None,
            last_datagram: Instant::ZERO,
            warned_at: Instant::ZERO,
            ending: None,
        }
    }

    /// Joins the group anew after silence of this length.
    pub(crate) fn with_keep_alive(self, keep_alive: Option<Duration>) -> Self {
        Self { keep_alive, ..self }
    }

    /// Tells an image host of trouble, and goes where it says.
    pub(crate) fn with_watch(self, watch: Option<Watch>) -> Self {
        Self { watch, ..self }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed().into()
    }

    /// Receives until the load is over, one way or another, and the server was told.
    pub(crate) fn run(mut self) -> (Result<(), ClientError>, Network) {
        let result = self.receive_all();
        let counters = *self.session.counters();
        (result, Network { counters, kernel_drops: self.sockets.kernel_drops() })
    }

    fn receive_all(&mut self) -> Result<(), ClientError> {
        loop {
            let now = self.now();
            if self.interrupt.is_set() && self.ending.is_none() {
                self.end(now, Err(LoadError::Interrupted.into()));
            }
            self.take_verdicts(now);
            self.session.handle_timeout(now);
            self.control.send(now, &mut self.session, self.sockets.current())?;
            while let Some(event) = self.session.poll_event() {
                if event == Event::Left {
                    return self.ending.take().unwrap_or(Ok(()));
                }
                self.take_event(now, event);
            }
            self.look_after_silence(now);
            self.look_for_trouble(now);
            let wait = match self.session.poll_timeout() {
                Some(at) => at.since(now).min(WAIT_MAX),
                None => WAIT_MAX,
            };
            let socket = self.sockets.current();
            if let Arrived::Datagrams(_) = socket.receive(&mut self.batch, Some(wait.into()))? {
                self.take_datagrams();
            }
        }
    }

    fn take_datagrams(&mut self) {
        let now = self.now();
        self.last_datagram = now;
        for datagram in self.batch.datagrams() {
            let received = self.session.handle_datagram(now, datagram.source, datagram.bytes);
            if let Received::Block { block, slot, payload, .. } = received
                && let Some(buffers) = &mut self.buffers
            {
                buffers.put(slot, block, payload);
            }
            if self.buffers.is_none()
                && let Some(geometry) = self.session.geometry().copied()
            {
                // Blocks may follow the reply in the same batch.
                self.buffers = buffers_for(&geometry, self.session.config().slots);
            }
        }
    }

    fn take_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Joined { geometry, server, .. } => self.joined(now, geometry, server),
            Event::ChunkComplete { chunk, slot, sender } => {
                self.status.received.store(self.session.chunks_complete(), Relaxed);
                let bytes = self.buffers.as_mut().and_then(|buffers| buffers.take(slot, chunk));
                match bytes {
                    Some(bytes) => {
                        self.hand_over(Work::Chunk(Chunk { number: chunk, bytes, sender }))
                    }
                    None => self.session.chunk_rejected(now, chunk),
                }
            }
            // No more work: the workers come to their end, flush, and say that it is over.
            Event::Finished => self.work = None,
            Event::ServerRestarted => {
                tracing::info!("the server was restarted; the load goes on");
            }
            Event::ImageChanged { .. } => {
                let server = self.server.unwrap_or_else(|| self.sockets.current().group_addr());
                self.end(now, Err(ClientError::ImageChanged { server }));
            }
            Event::Refused(error) => self.end(now, Err(error.into())),
            Event::GaveUp(seen) => {
                let span = self.session.config().give_up_after.unwrap_or_default();
                let socket = self.sockets.current();
                let silence = Silence::new(seen, span.into(), &self.session, socket, self.server);
                self.end(now, Err(ClientError::GaveUp(Box::new(silence))));
            }
            Event::Left => {}
        }
    }

    fn joined(&mut self, now: Instant, geometry: Geometry, server: SocketAddr) {
        tracing::info!(%server, bytes = geometry.bytes(), "joined");
        self.server = Some(server);
        if self.buffers.is_none() {
            self.buffers = buffers_for(&geometry, self.session.config().slots);
        }
        if self.buffers.is_none() {
            let chunk_bytes = geometry.chunk_bytes();
            self.end(now, Err(ClientError::ChunkSize { chunk_bytes }));
            return;
        }
        let (bytes, chunks) = (geometry.bytes(), geometry.chunks());
        self.status.set_joined(Joined { server, bytes, chunks });
        self.hand_over(Work::Joined(geometry));
    }

    /// Never waits: there is room for every buffer. Whoever does not take work any more has said,
    /// or will say, that it is over.
    fn hand_over(&mut self, work: Work) {
        if let Some(queue) = &self.work {
            let _ = queue.try_send(work);
        }
    }

    fn take_verdicts(&mut self, now: Instant) {
        loop {
            match self.verdicts.try_recv() {
                Ok(Verdict::Done(chunk)) => {
                    self.put_back(chunk.number, chunk.bytes);
                    self.session.chunk_done(now, chunk.number);
                }
                Ok(Verdict::Rejected(chunk)) => {
                    self.put_back(chunk.number, chunk.bytes);
                    self.session.chunk_rejected(now, chunk.number);
                    self.status.received.store(self.session.chunks_complete(), Relaxed);
                }
                Ok(Verdict::NeedFirst) => self.session.ask_first(now),
                Ok(Verdict::Over) | Err(TryRecvError::Disconnected) => {
                    if self.ending.is_none() {
                        self.end(now, Ok(()));
                    }
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn put_back(&mut self, chunk: u32, bytes: Box<[u8]>) {
        if let Some(buffers) = &mut self.buffers {
            buffers.put_back(chunk, bytes);
        }
    }

    /// Tells the server; [`Event::Left`] follows.
    fn end(&mut self, now: Instant, result: Result<(), ClientError>) {
        self.work = None;
        self.ending = Some(result);
        let small = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
        let written = self.status.progress.done_bytes.load(Relaxed);
        let expanded = self.status.expanded_bytes.load(Relaxed);
        let idle_waits = self.status.idle_waits.load(Relaxed);
        let statistics = self.session.statistics_mut();
        statistics.bytes_written = written;
        statistics.bytes_expanded = expanded;
        statistics.no_chunks_ready = idle_waits;
        statistics.packet_timeout_micros = small(WAIT_MAX.as_micros());
        self.session.leave(now);
    }

    fn look_after_silence(&mut self, now: Instant) {
        if let Some(span) = self.keep_alive
            && now.since(self.last_datagram) >= span
        {
            self.last_datagram = now;
            if let Err(error) = self.sockets.current().rejoin() {
                tracing::warn!("{error}");
            }
        }
        let (is_busy, is_over) = (self.is_busy(), self.work.is_none());
        let since = self.session.last_progress().max(self.warned_at);
        if !is_busy && !is_over && now.since(since) >= WARN_AFTER {
            self.warned_at = now;
            let span = now.since(self.session.last_progress());
            let seen = self.session.seen();
            let socket = self.sockets.current();
            let silence = Silence::new(seen, span.into(), &self.session, socket, self.server);
            tracing::warn!("{silence}");
        }
    }
}

/// For the case that nothing comes: see [`Watch`].
impl Receiver<'_> {
    /// Chunks wait for the disk.
    fn is_busy(&self) -> bool {
        self.session.chunks_complete() > self.session.chunks_done()
    }

    fn look_for_trouble(&mut self, now: Instant) {
        let moment = Moment {
            blocks: self.session.counters().blocks,
            has_joined: self.session.geometry().is_some(),
            is_busy: self.is_busy() || self.work.is_none(),
        };
        let group = self.sockets.current().group_addr();
        let Some(watch) = &mut self.watch else { return };
        let Some((seen, outcome)) = watch.look(now, moment, group) else { return };
        let (what, span) = (in_words(seen.what), seen.silent.as_secs());
        let trouble = format!("{what} for {span} s on {group}");
        let server = watch.host().server();
        match outcome {
            Outcome::Renew => {
                if let Err(error) = self.sockets.current().rejoin() {
                    tracing::warn!("{error}");
                }
            }
            Outcome::Told => say(format_args!("frisbee-client: {trouble}; {server} was told")),
            Outcome::Stay => say(format_args!(
                "frisbee-client: {trouble}; {server} was told, and names no other way"
            )),
            Outcome::Failed(error) => say(format_args!(
                "frisbee-client: {trouble}; asking for unicast in its place failed: {error}"
            )),
            Outcome::GoTo(found) => self.go_to(now, &found, &seen, &trouble),
        }
    }

    /// Leaves a group that brings nothing for a session of its own.
    fn go_to(&mut self, now: Instant, found: &Found, seen: &Seen, trouble: &str) {
        let to = found.group;
        if let Err(error) = self.sockets.move_to(to) {
            say(format_args!("frisbee-client: {trouble}; cannot go on by unicast: {error}"));
            return;
        }
        say(format_args!("frisbee-client: {trouble}; going on by unicast from {to}"));
        let socket = self.sockets.current();
        let group = socket.group();
        self.session.redirect(now, group.ip(), group.port(), socket.local_addr().ip());
        self.server = None;
        (self.last_datagram, self.warned_at) = (now, now);
        let (what, silent, from) = (seen.what, seen.silent, seen.group);
        self.status.add_fallback(Fallback { what, silent, from, to });
    }
}

/// `None` when chunks are too long.
fn buffers_for(geometry: &Geometry, slots: u32) -> Option<Buffers> {
    let len = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let chunk_bytes = geometry.chunk_bytes();
    let block_len = len(u64::from(geometry.block_size()));
    (chunk_bytes <= CHUNK_BYTES_MAX).then(|| Buffers::new(slots, len(chunk_bytes), block_len))
}
