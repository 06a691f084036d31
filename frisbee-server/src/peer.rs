//! One session and where its datagrams go: the group's, or one client's.
//!
//! What it owns: the run of blocks that the session handed out last and that is not sent whole yet.

use crate::outbox::{Outbox, Run};
use crate::read_ahead::{Lookup, ReadAhead};
use mcast::{GroupSocket, SocketError};
use proto::server::{Config, Event, Session, Transmit};
use proto::time::Instant;
use proto::wire::CONTROL_LEN_MAX;
use std::net::{IpAddr, SocketAddr};

/// A session and its destination.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) session: Session,
    to: SocketAddr,
    /// The client's address; `None` for the group.
    pub(crate) client: Option<IpAddr>,
    run: Option<Run>,
    /// True while the run waits for the disk.
    stalled: bool,
    /// The chunk for which reading ahead was planned last.
    planned: Option<u32>,
    pub(crate) last_heard: Instant,
}

/// What a turn of a peer came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Turn {
    /// Blocks that went out.
    pub(crate) blocks: u32,
    /// False when the system took no more.
    pub(crate) open: bool,
}

impl Peer {
    pub(crate) fn new(
        now: Instant,
        config: Config,
        to: SocketAddr,
        client: Option<IpAddr>,
    ) -> Self {
        Self {
            session: Session::new(config),
            to,
            client,
            run: None,
            stalled: false,
            planned: None,
            last_heard: now,
        }
    }

    /// Takes a datagram from a client.
    pub(crate) fn handle(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.last_heard = now;
        // Requests may change what comes next.
        self.planned = None;
        self.session.handle_datagram(now, from, bytes);
    }

    /// Answers joins. These never wait for blocks.
    pub(crate) fn answer(
        &mut self,
        outbox: &mut Outbox,
        socket: &GroupSocket,
    ) -> Result<(), SocketError> {
        let mut buffer = [0; CONTROL_LEN_MAX];
        while let Some(len) = self.session.poll_control(&mut buffer) {
            outbox.control(socket, buffer.get(..len).unwrap_or_default(), self.to)?;
        }
        Ok(())
    }

    /// Sends what the session allows now. The outbox must be empty.
    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        ahead: &mut ReadAhead,
        ahead_max: usize,
        outbox: &mut Outbox,
        socket: &GroupSocket,
    ) -> Result<Turn, SocketError> {
        outbox.address(self.to, self.client.is_none());
        self.stalled = false;
        let mut blocks = 0;
        while let Some(run) = self.next_run(now, outbox, socket)? {
            let mut rest = run;
            let count = run.left.min(outbox.room());
            if let Some(bytes) = ahead.cache().read(run.chunk, run.next, count) {
                outbox.put(&mut rest, bytes);
            } else {
                match ahead.lookup(now, run.chunk) {
                    Lookup::Ready(bytes) => {
                        let from = self.session.config().geometry.offset(0, run.next);
                        let from = usize::try_from(from).unwrap_or(usize::MAX);
                        outbox.put(&mut rest, bytes.get(from..).unwrap_or_default());
                    }
                    Lookup::Coming => self.stalled = true,
                    // Clients will ask again.
                    Lookup::Failed => rest.left = 0,
                }
            }
            // After the chunk itself: what is asked of the disk first comes first.
            self.plan(now, run.chunk, ahead, ahead_max);
            blocks += rest.next - run.next;
            self.run = Some(rest).filter(|rest| rest.left > 0);
            if self.stalled {
                break;
            }
            if outbox.is_full() && !outbox.flush(socket, now)? {
                return Ok(Turn { blocks, open: false });
            }
        }
        let open = outbox.flush(socket, now)?;
        Ok(Turn { blocks, open })
    }

    fn next_run(
        &mut self,
        now: Instant,
        outbox: &mut Outbox,
        socket: &GroupSocket,
    ) -> Result<Option<Run>, SocketError> {
        let mut buffer = [0; CONTROL_LEN_MAX];
        while self.run.is_none() {
            match self.session.poll_transmit(now, &mut buffer) {
                None => return Ok(None),
                Some(Transmit::Control { len }) => {
                    outbox.control(socket, buffer.get(..len).unwrap_or_default(), self.to)?;
                }
                Some(Transmit::Blocks { chunk, first, count }) => {
                    self.run = Some(Run { chunk, next: first, left: count });
                }
            }
        }
        Ok(self.run)
    }

    /// Has the chunks read that come next, once for each chunk that is begun.
    fn plan(&mut self, now: Instant, chunk: u32, ahead: &mut ReadAhead, ahead_max: usize) {
        if self.planned != Some(chunk) {
            self.planned = Some(chunk);
            ahead.expect(now, self.session.upcoming().take(ahead_max));
        }
    }

    /// When something is due that is not a reaction to a datagram or to the disk.
    pub(crate) fn next_timeout(&self) -> Instant {
        if self.stalled {
            return Instant::FAR_FUTURE;
        }
        match self.run {
            Some(_) => Instant::ZERO,
            None => self.session.poll_timeout().unwrap_or(Instant::FAR_FUTURE),
        }
    }

    /// The session's next event.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.session.poll_event()
    }
}
