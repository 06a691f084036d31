//! The group socket: what programs hold.
//!
//! What it owns: the one or two kernel sockets of a group member, its waker, its counters and the
//! rate of its complaints. What it never does: look inside a datagram.

use crate::buffers::BufferSize;
use crate::counters::{AtomicCounters, Counters, add, widen};
use crate::endpoint::Endpoint;
use crate::error::{OpenError, SetupError, SocketError};
use crate::group::{GroupAddress, GroupKind, needs_scope, scoped};
use crate::interface::{Interface, InterfaceSelector};
use crate::open::{Opened, Plan, join, leave};
use crate::options::Options;
use crate::receive::{ReceiveBatch, Received};
use crate::report::LimitedLog;
use crate::send::{SendBatch, SendCalls, Sent, Stop, send_batch};
use crate::sys;
use crate::waker::Waker;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Errors that pass by themselves in one receive before it gives up.
const SOFT_ERRORS_MAX: u32 = 64;

/// Which end of a group a socket is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Sends to the group from its own address; hears the group and what is sent to it alone.
    Server,
    /// Hears the group, next to other clients on the machine; sends to the group or to one address.
    Client,
}

/// Something that works but not well. The text form says what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Warning {
    /// A kernel buffer is smaller than wanted.
    SmallBuffer(BufferSize),
    /// Switches flood the group to every port; see [`GroupAddress::flood_warning`].
    Flooded(String),
    /// The interface does not carry multicast.
    NoMulticast {
        /// The interface.
        interface: String,
    },
    /// The interface is down or has no carrier.
    NotRunning {
        /// The interface.
        interface: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmallBuffer(size) => size.fmt(f),
            Self::Flooded(text) => f.write_str(text),
            Self::NoMulticast { interface } => write!(
                f,
                "interface {interface} does not carry multicast; choose another, or `ip link set \
                 {interface} multicast on`"
            ),
            Self::NotRunning { interface } => {
                write!(
                    f,
                    "interface {interface} is down or has no carrier; see `ip link show \
                     {interface}`"
                )
            }
        }
    }
}

/// A member of a group: its sockets, ready to send and receive.
///
/// All methods take `&self`; one thread may send while another receives.
#[derive(Debug)]
pub struct GroupSocket {
    role: Role,
    group: GroupAddress,
    kind: GroupKind,
    interface: Interface,
    source: IpAddr,
    /// Given with each datagram when the socket's own address does not decide it.
    from: Option<IpAddr>,
    /// The socket that sends.
    primary: Endpoint,
    /// A server's second socket, bound to the group.
    listener: Option<Endpoint>,
    buffers: Vec<BufferSize>,
    waker: Waker,
    counters: AtomicCounters,
    send_log: LimitedLog,
    receive_log: LimitedLog,
}

impl GroupSocket {
    /// Opens the server's end: exclusive on the interface's address and the group's port, and a
    /// listener to the group.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another server has the port; else says which step failed.
    pub fn open_server(
        group: GroupAddress,
        interface: &Interface,
        options: &Options,
    ) -> Result<Self, OpenError> {
        Self::open(Role::Server, group, interface, options)
    }

    /// Opens a client's end. In a multicast or broadcast group several clients may share a machine;
    /// a client whose "group" is its server's unicast address has the port for itself.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when the port is taken by a program that does not share it; else says
    /// which step failed.
    pub fn open_client(
        group: GroupAddress,
        interface: &Interface,
        options: &Options,
    ) -> Result<Self, OpenError> {
        Self::open(Role::Client, group, interface, options)
    }

    /// Opens an end of the group at `ip` and `port`, on the interface that `selector` chooses.
    ///
    /// # Errors
    /// When the address is no group's, there is no such interface, or the socket cannot be opened.
    pub fn set_up(
        role: Role,
        ip: IpAddr,
        port: u16,
        selector: &InterfaceSelector,
        options: &Options,
    ) -> Result<Self, SetupError> {
        let group = GroupAddress::new(ip, port)?;
        let interface = Interface::select(selector, &group)?;
        Ok(Self::open(role, group, &interface, options)?)
    }

    fn open(
        role: Role,
        group: GroupAddress,
        interface: &Interface,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let kind = group.kind_on(interface);
        let source = interface.source_for(&group)?;
        let plan = Plan { group, kind, interface, source, options };
        let (primary, listener): (Opened, Option<Opened>) = match (role, kind) {
            (_, GroupKind::Unicast) => (plan.open_own()?, None),
            (Role::Server, _) => (plan.open_own()?, Some(plan.open_shared()?)),
            (Role::Client, _) => (plan.open_shared()?, None),
        };
        let mut buffers: Vec<BufferSize> = primary.buffers.to_vec();
        buffers.extend(listener.iter().flat_map(|opened| opened.buffers.iter().take(1)));
        let primary = primary.endpoint;
        if role == Role::Server {
            primary
                .enable_errors()
                .map_err(|source| plan.step("asking for ICMP errors", source))?;
        }
        let shared = role == Role::Client && kind != GroupKind::Unicast;
        // A link-local IPv6 address cannot be given without its interface; the kernel chooses it by
        // itself for a link-local destination.
        let from =
            Some(source).filter(|ip| shared && !matches!(ip, IpAddr::V6(ip) if needs_scope(*ip)));
        let waker = Waker::new().map_err(|source| plan.step("making its waker", source))?;
        Ok(Self {
            role,
            group,
            kind,
            interface: interface.clone(),
            source,
            from,
            primary,
            listener: listener.map(|opened| opened.endpoint),
            buffers,
            waker,
            counters: AtomicCounters::default(),
            send_log: LimitedLog::new("sending"),
            receive_log: LimitedLog::new("receiving"),
        })
    }

    /// Server or client.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The group.
    pub const fn group(&self) -> GroupAddress {
        self.group
    }

    /// What the group's address means on this interface.
    pub const fn kind(&self) -> GroupKind {
        self.kind
    }

    /// The interface.
    pub const fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The address and port that our datagrams come from, as their receivers see them. Datagrams
    /// received from here are a server's own, looped back (or those of a client that shares the
    /// address).
    pub fn local_addr(&self) -> SocketAddr {
        scoped(self.source, self.group.port(), self.interface.index())
    }

    /// The group as a destination.
    pub fn group_addr(&self) -> SocketAddr {
        self.group.socket_addr(self.interface.index())
    }

    /// Sizes of the kernel's buffers.
    pub fn buffers(&self) -> &[BufferSize] {
        &self.buffers
    }

    /// What works but not well, for the user to read.
    pub fn warnings(&self) -> Vec<Warning> {
        let name = || self.interface.name().to_owned();
        let mut warnings: Vec<Warning> = self
            .buffers
            .iter()
            .filter(|size| size.is_small())
            .copied()
            .map(Warning::SmallBuffer)
            .collect();
        // A server has two receive buffers of the same size.
        warnings.dedup();
        warnings.extend(self.group.flood_warning().map(Warning::Flooded));
        if self.kind == GroupKind::Multicast && !self.interface.carries_multicast() {
            warnings.push(Warning::NoMulticast { interface: name() });
        }
        if !self.interface.is_running() {
            warnings.push(Warning::NotRunning { interface: name() });
        }
        warnings
    }

    /// Most datagrams of this length that one system call sends at the moment: 1 when the kernel
    /// or the device cannot segment.
    pub fn segments_max(&self, datagram_len: usize) -> usize {
        self.primary.segments_max(datagram_len)
    }

    /// Something to interrupt [`GroupSocket::receive`] with, from any thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The same socket, woken by the waker of another one that it takes the place of.
    #[must_use]
    pub fn with_waker(mut self, waker: Waker) -> Self {
        self.waker = waker;
        self
    }

    /// Sends as much of a batch as goes without waiting, to the group or to one address. What did
    /// not go out stays in the batch: send it again, or clear it.
    ///
    /// Nothing is fragmented and nothing allocated.
    ///
    /// # Errors
    /// [`SocketError::TooLarge`] and [`SocketError::Send`]; whatever passes by itself is a
    /// [`Stop`] in the result, counted, and logged at a limited rate.
    pub fn send(&self, batch: &mut SendBatch, to: SocketAddr) -> Result<Sent, SocketError> {
        let mut numbers = SendCalls::default();
        let outcome = send_batch(&self.primary, batch, to, self.from, &mut numbers);
        add(&self.counters.send_calls, numbers.calls);
        add(&self.counters.icmp_errors, numbers.icmp_errors);
        let (sent, error) = outcome?;
        add(&self.counters.datagrams_sent, widen(sent.datagrams));
        match sent.stopped {
            None => {}
            Some(Stop::SocketFull) => add(&self.counters.socket_full, 1),
            Some(Stop::DeviceFull) => add(&self.counters.device_full, 1),
            Some(Stop::Refused { .. }) => {
                add(&self.counters.refused, 1);
                if let Some(error) = error {
                    self.send_log.failed(&to, &error);
                }
            }
        }
        Ok(sent)
    }

    /// Waits until the socket's send buffer has room, at most this long; says whether it has.
    ///
    /// # Errors
    /// [`SocketError::Wait`].
    pub fn wait_writable(&self, timeout: Duration) -> Result<bool, SocketError> {
        let mut fds = [self.primary.poll_fd(PollFlags::POLLOUT)];
        let ready = wait(&mut fds, Some(timeout))?;
        Ok(ready
            && fds
                .iter()
                .any(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLOUT))))
    }

    /// Waits for datagrams, at most `timeout` (`None`: for ever; zero: not at all), and reads as
    /// many as one system call gives.
    ///
    /// # Errors
    /// [`SocketError::Receive`] and [`SocketError::Wait`].
    pub fn receive(
        &self,
        batch: &mut ReceiveBatch,
        timeout: Option<Duration>,
    ) -> Result<Received, SocketError> {
        batch.clear();
        let mut deadline = None;
        let mut soft_errors = 0;
        loop {
            if self.waker.take() {
                return Ok(Received::Woken);
            }
            if let Some(datagrams) = self.receive_ready(batch, &mut soft_errors)? {
                return Ok(Received::Datagrams(datagrams));
            }
            // The clock is only asked when there is nothing to do.
            let left = match timeout {
                None => None,
                Some(Duration::ZERO) => return Ok(Received::TimedOut),
                Some(timeout) => {
                    let now = Instant::now();
                    let deadline = *deadline.get_or_insert_with(|| now.checked_add(timeout));
                    deadline.map(|deadline| deadline.saturating_duration_since(now))
                }
            };
            if left == Some(Duration::ZERO) || !self.wait_readable(left)? {
                return Ok(Received::TimedOut);
            }
        }
    }

    /// Reads from the first socket that has something; the other one has the next turn.
    fn receive_ready(
        &self,
        batch: &mut ReceiveBatch,
        soft_errors: &mut u32,
    ) -> Result<Option<usize>, SocketError> {
        let listener = self.listener.as_ref();
        let endpoints = if batch.turn {
            [listener, Some(&self.primary)]
        } else {
            [Some(&self.primary), listener]
        };
        for (place, endpoint) in endpoints.into_iter().flatten().enumerate() {
            match batch.fill(endpoint) {
                Ok(datagrams) => {
                    if place == 0 {
                        batch.turn = !batch.turn;
                    }
                    add(&self.counters.datagrams_received, widen(datagrams));
                    add(&self.counters.receive_calls, 1);
                    return Ok(Some(datagrams));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.receive_failed(endpoint, error, soft_errors)?,
            }
        }
        Ok(None)
    }

    /// Tells errors that pass from those that do not.
    fn receive_failed(
        &self,
        endpoint: &Endpoint,
        error: io::Error,
        soft_errors: &mut u32,
    ) -> Result<(), SocketError> {
        let drained = endpoint.drain_errors();
        add(&self.counters.icmp_errors, drained);
        *soft_errors += 1;
        let soft = drained > 0
            || matches!(
                error.raw_os_error(),
                Some(
                    libc::ECONNREFUSED
                        | libc::EHOSTDOWN
                        | libc::EHOSTUNREACH
                        | libc::EMSGSIZE
                        | libc::ENETDOWN
                        | libc::ENETUNREACH
                        | libc::ENOBUFS
                        | libc::ENOMEM
                        | libc::ENOPROTOOPT
                        | libc::EPROTO
                )
            );
        if !soft || *soft_errors > SOFT_ERRORS_MAX {
            return Err(SocketError::Receive { source: error });
        }
        if drained == 0 {
            self.receive_log.failed(&self.group, &error);
        }
        Ok(())
    }

    /// Waits for a socket or the waker; false when the time is over.
    fn wait_readable(&self, timeout: Option<Duration>) -> Result<bool, SocketError> {
        let primary = self.primary.poll_fd(PollFlags::POLLIN);
        // Without a listener the primary socket stands in twice.
        let listener = self.listener.as_ref().unwrap_or(&self.primary).poll_fd(PollFlags::POLLIN);
        let mut fds = [self.waker.poll_fd(), primary, listener];
        let ready = wait(&mut fds, timeout)?;
        let events =
            |at: usize| fds.get(at).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        if events(0).contains(PollFlags::POLLIN) {
            self.waker.raise_again();
        }
        if events(1).contains(PollFlags::POLLERR) {
            add(&self.counters.icmp_errors, self.primary.drain_errors());
        }
        Ok(ready)
    }

    /// Datagrams that the kernel dropped because nobody read them in time, on all our sockets. The
    /// kernel counts each socket's in 32 bits and wraps around.
    ///
    /// # Errors
    /// [`SocketError::Drops`].
    pub fn kernel_drops(&self) -> Result<u64, SocketError> {
        let endpoints = [Some(&self.primary), self.listener.as_ref()];
        endpoints.into_iter().flatten().try_fold(0, |sum: u64, endpoint| {
            let drops = sys::receive_drops(endpoint.socket())
                .map_err(|source| SocketError::Drops { source })?;
            Ok(sum + u64::from(drops))
        })
    }

    /// What happened since the socket was opened.
    pub fn counters(&self) -> Counters {
        self.counters.snapshot()
    }

    /// Leaves the group and joins it again, which makes the kernel send a fresh membership report:
    /// for switches that forget members. Datagrams that arrive in between are lost. Nothing happens
    /// in a broadcast or unicast group.
    ///
    /// # Errors
    /// [`SocketError::Rejoin`]; try again later, the membership is gone until then.
    pub fn rejoin(&self) -> Result<(), SocketError> {
        if self.kind != GroupKind::Multicast {
            return Ok(());
        }
        let member = self.listener.as_ref().unwrap_or(&self.primary).socket();
        let failed = |source| SocketError::Rejoin { group: self.group, source };
        match leave(member, &self.group, &self.interface) {
            Ok(()) => {}
            // The membership is gone already, as after an attempt that failed here.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => return Err(failed(error)),
        }
        join(member, &self.group, &self.interface).map_err(failed)
    }
}

/// Waits until a descriptor is ready; false when the time is over. A signal ends the wait early,
/// which counts as ready: the caller looks and waits again.
fn wait(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<bool, SocketError> {
    match ppoll(fds, timeout.map(TimeSpec::from_duration), None) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(true),
        Err(errno) => Err(SocketError::Wait { source: errno.into() }),
    }
}
