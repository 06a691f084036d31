//! Opening the sockets of a group.
//!
//! What it owns: which addresses are bound, which options set, and in what order. What it never
//! does: send or receive.
//!
//! Two kinds of socket are bound to a group's port:
//!
//! - *Bound to our own address*, exclusively: a second server on the same port and address is
//!   refused (EADDRINUSE). The server sends from it, so every datagram carries the address that
//!   its header claims, and hears what is sent to it alone (progress reports).
//! - *Bound to the group's address*, shared (SO_REUSEADDR): every socket bound so gets its own copy
//!   of every datagram for the group, and none for other groups. A server listens on it; for a
//!   client it is the only one. SO_REUSEPORT is not needed for copies and would tie the sharers to
//!   one user.
//!
//! A client needs no socket of the first kind: bound to a group's address, a socket still *sends*
//! from an address of its own, which we give with each datagram (IP_PKTINFO), to the group as well
//! as to the server alone. It just hears nothing that is sent to that address; replies go to the
//! group. Several clients on one machine could not share such a socket anyway: the kernel hands
//! unicast to one of them only.

use crate::buffers::{BufferSize, Direction, enlarge};
use crate::endpoint::Endpoint;
use crate::error::OpenError;
use crate::group::{GroupAddress, GroupKind, scoped};
use crate::interface::Interface;
use crate::options::Options;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Everything that decides how a socket is made.
pub(crate) struct Plan<'a> {
    pub(crate) group: GroupAddress,
    pub(crate) kind: GroupKind,
    pub(crate) interface: &'a Interface,
    pub(crate) source: IpAddr,
    pub(crate) options: &'a Options,
}

/// A socket that is ready, and the sizes of its buffers: receive, send.
pub(crate) struct Opened {
    pub(crate) endpoint: Endpoint,
    pub(crate) buffers: [BufferSize; 2],
}

impl Plan<'_> {
    /// The socket bound to our own address, for nobody else.
    pub(crate) fn open_own(&self) -> Result<Opened, OpenError> {
        self.open(scoped(self.source, self.group.port(), self.interface.index()), false)
    }

    /// The socket bound to the group's address, shared, and a member of the group.
    pub(crate) fn open_shared(&self) -> Result<Opened, OpenError> {
        let opened = self.open(self.group.socket_addr(self.interface.index()), true)?;
        if self.kind == GroupKind::Multicast {
            join(opened.endpoint.socket(), &self.group, self.interface)
                .map_err(|source| self.step("joining the group", source))?;
        }
        Ok(opened)
    }

    fn open(&self, address: SocketAddr, shared: bool) -> Result<Opened, OpenError> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
            .map_err(|source| self.step("making a UDP socket", source))?;
        let buffers = self
            .set_options(&socket, shared)
            .map_err(|source| self.step("setting its options", source))?;
        socket.bind(&address.into()).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => OpenError::InUse { address },
            _ => self.step("binding it", source),
        })?;
        let endpoint = Endpoint::new(socket, self.options.segmentation)
            .map_err(|source| self.step("turning on batches", source))?;
        Ok(Opened { endpoint, buffers })
    }

    fn set_options(&self, socket: &Socket, shared: bool) -> io::Result<[BufferSize; 2]> {
        socket.set_reuse_address(shared)?;
        if self.kind == GroupKind::Broadcast {
            socket.set_broadcast(true)?;
        }
        let multicast = self.kind == GroupKind::Multicast;
        let ttl = u32::from(self.options.ttl);
        let looped = self.options.multicast_loop || self.interface.is_loopback();
        match self.source {
            IpAddr::V4(source) if multicast => {
                socket.set_multicast_all_v4(false)?;
                socket.set_multicast_if_v4(&source)?;
                socket.set_multicast_ttl_v4(ttl)?;
                socket.set_multicast_loop_v4(looped)?;
            }
            IpAddr::V6(_) => {
                socket.set_only_v6(true)?;
                if multicast {
                    socket.set_multicast_all_v6(false)?;
                    socket.set_multicast_if_v6(self.interface.index())?;
                    socket.set_multicast_hops_v6(ttl)?;
                    socket.set_multicast_loop_v6(looped)?;
                }
            }
            IpAddr::V4(_) => {}
        }
        Ok([
            enlarge(socket, Direction::Receive, self.options.receive_buffer_bytes)?,
            enlarge(socket, Direction::Send, self.options.send_buffer_bytes)?,
        ])
    }

    pub(crate) fn step(&self, step: &'static str, source: io::Error) -> OpenError {
        OpenError::Step { group: self.group, step, source }
    }
}

/// Makes a socket a member of a multicast group on an interface.
pub(crate) fn join(socket: &Socket, group: &GroupAddress, interface: &Interface) -> io::Result<()> {
    match group.ip() {
        IpAddr::V4(ip) => {
            socket.join_multicast_v4_n(&ip, &InterfaceIndexOrAddress::Index(interface.index()))
        }
        IpAddr::V6(ip) => socket.join_multicast_v6(&ip, interface.index()),
    }
}

/// Ends a membership.
pub(crate) fn leave(
    socket: &Socket,
    group: &GroupAddress,
    interface: &Interface,
) -> io::Result<()> {
    match group.ip() {
        IpAddr::V4(ip) => {
            socket.leave_multicast_v4_n(&ip, &InterfaceIndexOrAddress::Index(interface.index()))
        }
        IpAddr::V6(ip) => socket.leave_multicast_v6(&ip, interface.index()),
    }
}
