//! The querier at work: a thread with its socket, until its handle is dropped.
//!
//! What it owns: the thread, and what others may know of it. What it never does: end because the
//! network is down for a while.

use crate::igmp::querier::{Config, Querier};
use crate::igmp::socket::{Arrived, IgmpError, IgmpSocket};
use crate::interface::Interface;
use crate::report::LimitedLog;
use crate::waker::Waker;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a querier does at the moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct QuerierStatus {
    /// The querier that asks instead of us, because its address is lower; `None` while we ask.
    pub other: Option<Ipv4Addr>,
    /// Queries that went out.
    pub queries: u64,
    /// Why it ended by itself; `None` while it runs.
    pub failed: Option<String>,
}

/// A querier that runs until this value is dropped.
#[derive(Debug)]
pub struct QuerierThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    waker: Waker,
    status: Mutex<QuerierStatus>,
}

impl QuerierThread {
    /// Starts a querier of version 2 on an interface that asks at this interval (125 s is usual).
    ///
    /// # Errors
    /// [`IgmpError`]: not root, no IPv4 address, or no socket.
    pub fn start(interface: &Interface, interval: Duration) -> Result<Self, IgmpError> {
        Self::start_with(interface, Config::with_interval(interval))
    }

    /// Starts a querier with settings of its own.
    ///
    /// # Errors
    /// As [`QuerierThread::start`].
    pub fn start_with(interface: &Interface, config: Config) -> Result<Self, IgmpError> {
        let step = |step, source: io::Error| IgmpError::Step {
            interface: interface.name().to_owned(),
            step,
            source,
        };
        let socket = IgmpSocket::open(interface)?;
        let waker = Waker::new().map_err(|source| step("making a waker", source))?;
        let shared = Arc::new(Shared { waker, status: Mutex::default() });
        let (theirs, name) = (Arc::clone(&shared), interface.name().to_owned());
        let run = move || {
            if let Err(error) = run(&socket, config, &theirs) {
                tracing::warn!("the IGMP querier ends: {error}");
                theirs.change(|status| status.failed = Some(error.to_string()));
            }
        };
        let thread = thread::Builder::new()
            .name(format!("igmp {name}"))
            .spawn(run)
            .map_err(|source| step("starting a thread", source))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What it does at the moment.
    pub fn status(&self) -> QuerierStatus {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for QuerierThread {
    fn drop(&mut self) {
        self.shared.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut QuerierStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn run(socket: &IgmpSocket, config: Config, shared: &Shared) -> Result<(), IgmpError> {
    let log = LimitedLog::new("sending an IGMP query");
    let mut querier = Querier::new(socket.own_address(), config, Instant::now());
    loop {
        let now = Instant::now();
        querier.handle_timeout(now);
        while let Some(packet) = querier.poll_transmit(now) {
            match socket.send(&packet) {
                Ok(()) => shared.change(|status| status.queries += 1),
                // The network may be down for a while; the next query has its turn.
                Err(IgmpError::Step { source, .. }) => log.failed(&packet.destination, &source),
                Err(error) => return Err(error),
            }
        }
        match socket.receive(querier.poll_timeout(), &shared.waker)? {
            Arrived::Packet(packet) => querier.handle_packet(Instant::now(), &packet),
            Arrived::TimedOut => {}
            Arrived::Woken => return Ok(()),
        }
        tell(&querier, shared);
    }
}

/// Says who asks when that changed.
fn tell(querier: &Querier, shared: &Shared) {
    shared.change(|status| {
        if status.other == querier.other() {
            return;
        }
        match querier.other() {
            Some(other) => tracing::info!(%other, "another IGMP querier asks, we stop"),
            None => tracing::info!("no other IGMP querier is left, we ask"),
        }
        status.other = querier.other();
    });
}
