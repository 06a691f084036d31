//! A raw socket that sends and hears IGMP on one interface.
//!
//! What it owns: the socket, its options, and its errors in words. What it never does: decide what
//! to send.
//!
//! The IPv4 header is our own (IP_HDRINCL), because TTL 1 and router alert must be in it; the kernel
//! fills in its checksum again. Reports of version 2 go to their group, so they are heard only for
//! groups that this machine is a member of, or that a switch floods.

use crate::error::InterfaceError;
use crate::group::GroupAddress;
use crate::igmp::packet::{
    ALL_REPORTS, ALL_ROUTERS, ALL_SYSTEMS, PACKET_LEN_MAX, PROTOCOL, Packet,
};
use crate::interface::Interface;
use crate::waker::Waker;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use thiserror::Error;

/// A socket for IGMP that cannot be had or used.
#[derive(Debug, Error)]
pub enum IgmpError {
    /// Not root.
    #[error(
        "IGMP on {interface} needs root: run as root, or give the program CAP_NET_RAW (`setcap \
         cap_net_raw+ep PROGRAM`)"
    )]
    NotPermitted {
        /// The interface wanted.
        interface: String,
    },
    /// The interface has no IPv4 address.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A step failed.
    #[error("IGMP on {interface}: {step}: {source}")]
    Step {
        /// The interface wanted.
        interface: String,
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What waiting for a packet brought.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Arrived {
    /// A packet that somebody else sent.
    Packet(Packet),
    /// None in time.
    TimedOut,
    /// Somebody used the waker.
    Woken,
}

/// A raw socket bound to one interface.
#[derive(Debug)]
pub struct IgmpSocket {
    socket: Socket,
    interface: Interface,
    own: Ipv4Addr,
}

impl IgmpSocket {
    /// Opens it, and listens where version 3 reports and version 2 leaves go.
    ///
    /// # Errors
    /// [`IgmpError::NotPermitted`] without CAP_NET_RAW; else says which step failed.
    pub fn open(interface: &Interface) -> Result<Self, IgmpError> {
        let opened = Self { own: own_address(interface)?, ..Self::open_deaf(interface)? };
        for group in [ALL_ROUTERS, ALL_REPORTS] {
            opened.join(group)?;
        }
        Ok(opened)
    }

    fn open_deaf(interface: &Interface) -> Result<Self, IgmpError> {
        let failed = |step, source: io::Error| {
            let interface = interface.name().to_owned();
            match source.kind() {
                io::ErrorKind::PermissionDenied => IgmpError::NotPermitted { interface },
                _ => IgmpError::Step { interface, step, source },
            }
        };
        let protocol = Protocol::from(i32::from(PROTOCOL));
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(protocol))
            .map_err(|source| failed("making a raw socket", source))?;
        let set = || -> io::Result<()> {
            socket.set_nonblocking(true)?;
            socket.set_header_included_v4(true)?;
            // Our own kernel has to hear our queries too, or this machine's memberships would be the
            // only ones that nobody reports any more.
            socket.set_multicast_loop_v4(true)?;
            socket.bind_device(Some(interface.name().as_bytes()))
        };
        set().map_err(|source| failed("setting its options", source))?;
        Ok(Self { socket, interface: interface.clone(), own: Ipv4Addr::UNSPECIFIED })
    }

    fn join(&self, group: Ipv4Addr) -> Result<(), IgmpError> {
        let on = InterfaceIndexOrAddress::Index(self.interface.index());
        self.socket
            .join_multicast_v4_n(&group, &on)
            .map_err(|source| self.failed("joining a group of routers", source))
    }

    /// Our address on the interface.
    pub const fn own_address(&self) -> Ipv4Addr {
        self.own
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// Says what the system said, such as a network that is down; trying again later may help.
    pub fn send(&self, packet: &Packet) -> Result<(), IgmpError> {
        let to = SocketAddrV4::new(packet.destination, 0);
        let sent = self.socket.send_to(&packet.encode(), &to.into());
        sent.map(drop).map_err(|source| self.failed("sending", source))
    }

    /// Waits for the next packet that others sent, until `deadline` or until somebody uses the
    /// waker. What is no IGMP packet is passed over.
    ///
    /// # Errors
    /// Says what the system said; the socket is of no use then.
    pub fn receive(&self, deadline: Instant, waker: &Waker) -> Result<Arrived, IgmpError> {
        let mut buffer = [0; PACKET_LEN_MAX];
        loop {
            if waker.take() {
                return Ok(Arrived::Woken);
            }
            match (&self.socket).read(&mut buffer) {
                Ok(len) => {
                    let parsed = Packet::parse(buffer.get(..len).unwrap_or_default());
                    match parsed {
                        Ok(packet) if packet.source != self.own => {
                            return Ok(Arrived::Packet(packet));
                        }
                        Ok(_) => {}
                        Err(error) => tracing::debug!(%error, "not IGMP"),
                    }
                    if Instant::now() >= deadline {
                        return Ok(Arrived::TimedOut);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(Arrived::TimedOut);
                    }
                    self.wait(left, waker)?;
                }
                // The interface went down; it may come back.
                Err(error) if error.kind() == io::ErrorKind::NetworkDown => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed("receiving", source)),
            }
        }
    }

    fn wait(&self, left: Duration, waker: &Waker) -> Result<(), IgmpError> {
        let mut fds = [waker.poll_fd(), PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(self.failed("waiting", errno.into())),
        }
        let [event, _] = fds;
        if event.revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
            waker.raise_again();
        }
        Ok(())
    }

    fn failed(&self, step: &'static str, source: io::Error) -> IgmpError {
        IgmpError::Step { interface: self.interface.name().to_owned(), step, source }
    }
}

/// The address that an interface sends IGMP from: the first, which other queriers compare.
fn own_address(interface: &Interface) -> Result<Ipv4Addr, IgmpError> {
    let all = GroupAddress::new(IpAddr::V4(ALL_SYSTEMS), 1).map_err(|error| IgmpError::Step {
        interface: interface.name().to_owned(),
        step: "choosing its address",
        source: io::Error::other(error),
    })?;
    match interface.source_for(&all)? {
        IpAddr::V4(own) => Ok(own),
        // An IPv4 group has an IPv4 source.
        IpAddr::V6(_) => Ok(Ipv4Addr::UNSPECIFIED),
    }
}
