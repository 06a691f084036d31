//! What can go wrong, in words that say what to do about it.
//!
//! One enum per boundary: an address as typed, an interface as chosen, a socket being opened, all
//! three together, a socket in use.

use crate::group::GroupAddress;
use std::io;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// An address that cannot be a group's.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum GroupError {
    /// Not an IP address.
    #[error(
        "`{text}` is not an IP address; give numbers, such as 239.192.1.1 (multicast), \
         255.255.255.255 (broadcast), \
         192.0.2.7 (one machine) or ff15::f15b (IPv6 multicast)"
    )]
    Syntax {
        /// What was given, at most 80 characters of it.
        text: String,
    },
    /// 0.0.0.0 or ::.
    #[error(
        "{ip} is no group: nobody can be reached there; give a multicast, broadcast or unicast \
         address"
    )]
    Unspecified {
        /// What was given.
        ip: IpAddr,
    },
    /// Port 0.
    #[error("port 0 cannot be shared; give a port from 1 to 65535")]
    PortZero,
}

/// No interface for the purpose.
#[derive(Debug, Error)]
pub enum InterfaceError {
    /// The system does not list its interfaces.
    #[error("the system does not list its network interfaces: {source}")]
    List {
        /// What the system said.
        source: io::Error,
    },
    /// No interface of this name.
    #[error("no interface is called `{name}`; there are: {known}")]
    NoSuchName {
        /// The name wanted.
        name: String,
        /// Names and addresses of the interfaces there are.
        known: String,
    },
    /// No interface with this address.
    #[error("no interface has the address {ip}; there are: {known}")]
    NoSuchAddress {
        /// The address wanted.
        ip: IpAddr,
        /// Names and addresses of the interfaces there are.
        known: String,
    },
    /// The routing table has no way to the group.
    #[error(
        "no route leads to group {group} ({source}); name the interface, or add a route: `ip \
         route add {} dev IFACE`",
        prefix(group)
    )]
    NoRoute {
        /// The group wanted.
        group: GroupAddress,
        /// What the system said.
        source: io::Error,
    },
    /// The interface is there but has no address of the group's family.
    #[error("interface {name} has no {family} address, and group {group} needs one to send from")]
    NoAddress {
        /// The interface.
        name: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The group wanted.
        group: GroupAddress,
    },
}

fn prefix(group: &GroupAddress) -> String {
    match group.ip() {
        IpAddr::V4(ip) if ip.is_multicast() => "224.0.0.0/4".to_owned(),
        IpAddr::V6(ip) if ip.is_multicast() => "ff00::/8".to_owned(),
        ip => ip.to_string(),
    }
}

/// A group socket that could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The interface cannot serve the group.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// Somebody else has the port.
    #[error(
        "{address} is in use by another program; stop it (`ss -ulpn sport = :{}` names it) or \
         choose another port",
        address.port()
    )]
    InUse {
        /// The address that was to be bound.
        address: SocketAddr,
    },
    /// A step of the set-up failed.
    #[error("cannot open the socket of group {group}: {step}: {source}")]
    Step {
        /// The group wanted.
        group: GroupAddress,
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A group socket that could not be had, from address and interface as a user chose them.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The address is no group's.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The interface cannot be used.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The socket cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A group socket that failed for good; what passes by itself is not reported this way.
#[derive(Debug, Error)]
pub enum SocketError {
    /// A datagram is larger than the path takes in one piece; nothing is fragmented.
    #[error(
        "a datagram of {len} bytes to {to} does not fit the network's frames; use smaller blocks, \
         or raise the MTU \
         of the interface (`ip link set IFACE mtu N`) and of every switch on the way"
    )]
    TooLarge {
        /// Bytes in the datagram.
        len: usize,
        /// Where it was to go.
        to: SocketAddr,
    },
    /// Sending failed in a way that repeating cannot mend.
    #[error("cannot send to {to}: {source}")]
    Send {
        /// Where it was to go.
        to: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Receiving failed in a way that repeating cannot mend.
    #[error("cannot receive: {source}")]
    Receive {
        /// What the system said.
        source: io::Error,
    },
    /// Waiting for the socket failed.
    #[error("cannot wait for the socket: {source}")]
    Wait {
        /// What the system said.
        source: io::Error,
    },
    /// A membership could not be renewed.
    #[error("cannot join group {group} again: {source}")]
    Rejoin {
        /// The group.
        group: GroupAddress,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel does not tell how many datagrams it dropped.
    #[error("the kernel does not tell how many datagrams it dropped: {source}")]
    Drops {
        /// What the system said.
        source: io::Error,
    },
}
