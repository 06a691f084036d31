//! Sockets to test a network with: one datagram at a time, with what the kernel tells about each.
//!
//! What it is: the two ends of a test of a group or of one address. What it owns: the sockets. What
//! it never does: batches (a test is slow), or look inside a datagram.
//!
//! A [`ProbeReceiver`] hears a group on exactly one interface, so that several of them tell on which
//! interface a group arrives.

use crate::buffers::{Direction, enlarge};
use crate::error::OpenError;
use crate::group::{GroupAddress, GroupKind, scoped};
use crate::interface::Interface;
use crate::open::join;
use crate::sys;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Bytes that the kernel may queue for a receiver: a tenth of a second of 100 Mb/s, as headers and
/// bookkeeping count it, and more than most systems grant to others than root anyway.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// One datagram that arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// Its length; the buffer may hold less of it.
    pub len: usize,
    /// Who sent it.
    pub source: Option<SocketAddr>,
    /// Routers that it could still have crossed, plus one, where the kernel tells.
    pub ttl: Option<u8>,
}

/// An ear for a group on one interface, or for what is sent to one of our addresses.
#[derive(Debug)]
pub struct ProbeReceiver {
    socket: Socket,
}

impl ProbeReceiver {
    /// Joins a multicast group on an interface. The group's port may be open elsewhere too, as long
    /// as those sockets share it.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when the port is taken by a program that does not share it; else says
    /// which step failed.
    pub fn join(group: GroupAddress, interface: &Interface) -> Result<Self, OpenError> {
        let step = |step, source| OpenError::Step { group, step, source };
        let receiver = Self::open(group.socket_addr(interface.index()), true)?;
        if group.kind() == GroupKind::Multicast {
            join(&receiver.socket, &group, interface)
                .map_err(|source| step("joining the group", source))?;
        }
        Ok(receiver)
    }

    /// Listens at one of our addresses, on a port of the kernel's choice.
    ///
    /// # Errors
    /// Says which step failed.
    pub fn at(local: IpAddr) -> Result<Self, OpenError> {
        Self::open(SocketAddr::new(local, 0), false)
    }

    fn open(address: SocketAddr, shared: bool) -> Result<Self, OpenError> {
        let step = |step, source| {
            let group = GroupAddress::new(address.ip(), address.port().max(1));
            match group {
                Ok(group) => OpenError::Step { group, step, source },
                Err(_) => OpenError::InUse { address },
            }
        };
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
            .map_err(|source| step("making a UDP socket", source))?;
        let set = || -> io::Result<()> {
            socket.set_nonblocking(true)?;
            socket.set_reuse_address(shared)?;
            if address.is_ipv4() {
                socket.set_multicast_all_v4(false)?;
                setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            } else {
                socket.set_multicast_all_v6(false)?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            }
            enlarge(&socket, Direction::Receive, RECEIVE_BUFFER_BYTES).map(drop)
        };
        set().map_err(|source| step("setting its options", source))?;
        socket.bind(&address.into()).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => OpenError::InUse { address },
            _ => step("binding it", source),
        })?;
        Ok(Self { socket })
    }

    /// The address and port it listens at.
    ///
    /// # Errors
    /// What the system said.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let local = self.socket.local_addr()?.as_socket();
        local.ok_or_else(|| io::Error::other("the socket has no IP address"))
    }

    /// The next datagram, without waiting; `None` when there is none.
    ///
    /// # Errors
    /// What the system said.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        let mut control = cmsg_space!(i32);
        let mut parts = [IoSliceMut::new(buffer)];
        // The true length also of a datagram that is longer than the buffer.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let fd = self.socket.as_raw_fd();
        let got = match recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags) {
            Ok(got) => got,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let hops = |message| match message {
            ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                u8::try_from(hops).ok()
            }
            _ => None,
        };
        let ttl = got.cmsgs().ok().and_then(|mut messages| messages.find_map(hops));
        let source = got.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
            v4.or_else(|| {
                address.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port())))
            })
        });
        Ok(Some(Arrival { len: got.bytes, source, ttl }))
    }

    /// Datagrams that the kernel dropped because nobody read them in time.
    ///
    /// # Errors
    /// What the system said.
    pub fn kernel_drops(&self) -> io::Result<u32> {
        sys::receive_drops(&self.socket)
    }

    /// Waits until one of several receivers has something, at most this long.
    ///
    /// # Errors
    /// What the system said.
    pub fn wait_any<'a>(
        receivers: impl IntoIterator<Item = &'a Self>,
        timeout: Duration,
    ) -> io::Result<()> {
        let fd = |receiver: &'a Self| PollFd::new(receiver.socket.as_fd(), PollFlags::POLLIN);
        let mut fds: Vec<_> = receivers.into_iter().map(fd).collect();
        match ppoll(&mut fds, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Sends the datagrams of a test to one destination.
#[derive(Debug)]
pub struct ProbeSender {
    socket: Socket,
    to: SockAddr,
}

impl ProbeSender {
    /// A sender from `source` and, if that is free, the destination's own port, as an image server
    /// sends. To a group it sends on `interface`, heard on this machine too, with this TTL; `None`
    /// leaves both to the system (unicast).
    ///
    /// # Errors
    /// What the system said.
    pub fn open(
        to: GroupAddress,
        source: IpAddr,
        multicast: Option<(&Interface, u8)>,
    ) -> io::Result<Self> {
        let index = multicast.map_or(0, |(interface, _)| interface.index());
        let to_address = to.socket_addr(index);
        let socket =
            Socket::new(Domain::for_address(to_address), Type::DGRAM, Some(Protocol::UDP))?;
        if let Some((interface, ttl)) = multicast {
            if let IpAddr::V4(source) = source {
                socket.set_multicast_if_v4(&source)?;
                socket.set_multicast_ttl_v4(u32::from(ttl))?;
                socket.set_multicast_loop_v4(true)?;
            } else {
                socket.set_multicast_if_v6(interface.index())?;
                socket.set_multicast_hops_v6(u32::from(ttl))?;
                socket.set_multicast_loop_v6(true)?;
            }
        }
        if socket.bind(&scoped(source, to.port(), index).into()).is_err() {
            socket.bind(&scoped(source, 0, index).into())?;
        }
        Ok(Self { socket, to: to_address.into() })
    }

    /// Sends one datagram, waiting for room in the buffer if need be.
    ///
    /// # Errors
    /// What the system said, such as a firewall that refuses it.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self.socket.send_to(datagram, &self.to) {
            // An answer to an earlier one; this one was not sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.socket.send_to(datagram, &self.to).map(drop)
            }
            sent => sent.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lo() -> Interface {
        Interface::by_name("lo").unwrap()
    }

    fn next(receiver: &ProbeReceiver, buffer: &mut [u8]) -> Arrival {
        let give_up = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(arrival) = receiver.receive(buffer).unwrap() {
                return arrival;
            }
            assert!(std::time::Instant::now() < give_up, "nothing arrives");
            ProbeReceiver::wait_any([receiver], Duration::from_secs(1)).unwrap();
        }
    }

    #[test]
    fn a_datagram_to_an_address_arrives_with_length_source_and_ttl() {
        let source = IpAddr::from([127, 0, 0, 1]);
        let receiver = ProbeReceiver::at(source).unwrap();
        let to = receiver.local_addr().unwrap();
        let to = GroupAddress::new(to.ip(), to.port()).unwrap();
        let sender = ProbeSender::open(to, source, None).unwrap();
        sender.send(&[7; 100]).unwrap();
        let mut buffer = [0; 10];
        let arrival = next(&receiver, &mut buffer);
        assert_eq!((arrival.len, arrival.ttl, buffer), (100, Some(64), [7; 10]));
        assert_eq!(arrival.source.map(|source| source.ip()), Some(source));
        assert_eq!(receiver.receive(&mut buffer).unwrap(), None);
        assert_eq!(receiver.kernel_drops().unwrap(), 0);
    }

    #[test]
    fn a_group_is_heard_on_the_same_machine_with_the_ttl_it_was_sent_with() {
        // The kernel's choice of a port that is free at this moment.
        let free = ProbeReceiver::at([127, 0, 0, 1].into()).unwrap().local_addr().unwrap().port();
        let group = GroupAddress::parse("239.192.70.83", free).unwrap();
        let receiver = ProbeReceiver::join(group, &lo()).unwrap();
        let sender = ProbeSender::open(group, [127, 0, 0, 1].into(), Some((&lo(), 5))).unwrap();
        sender.send(b"hello").unwrap();
        let mut buffer = [0; 10];
        let arrival = next(&receiver, &mut buffer);
        assert_eq!((arrival.len, arrival.ttl), (5, Some(5)));
        assert_eq!(arrival.source.map(|source| source.port()), Some(free));
    }
}
