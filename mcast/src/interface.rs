//! Network interfaces: which one carries a group's traffic, and with which address of ours.
//!
//! What it owns: the list of interfaces as the kernel gives it, the choice among them, and what is
//! known of a link (speed, MTU). What it never does: change an interface, or open a group's socket.

use crate::error::InterfaceError;
use crate::group::{GroupAddress, scoped};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::Path;
use std::str::FromStr;

/// How the interface is chosen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum InterfaceSelector {
    /// The one that the routing table uses for the group.
    #[default]
    ByRoute,
    /// The one with this name.
    ByName(String),
    /// The one with this address, which is then also the address we send from.
    ByAddress(IpAddr),
}

impl FromStr for InterfaceSelector {
    type Err = Infallible;

    /// An IP address selects by address, anything else by name.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::ByName(text.to_owned()), Self::ByAddress))
    }
}

/// An address of ours on an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OwnAddress {
    /// The address.
    pub ip: IpAddr,
    /// The directed broadcast address of its network (IPv4 only, and none for a /31 or /32).
    pub broadcast: Option<Ipv4Addr>,
}

/// A network interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    name: String,
    index: NonZeroU32,
    flags: InterfaceFlags,
    addresses: Vec<OwnAddress>,
    preferred: Option<IpAddr>,
}

impl Interface {
    /// All interfaces of this network namespace, in the kernel's order, also those that are down.
    ///
    /// # Errors
    /// [`InterfaceError::List`].
    pub fn list() -> Result<Vec<Self>, InterfaceError> {
        let mut found: Vec<Self> = Vec::new();
        let entries =
            getifaddrs().map_err(|errno| InterfaceError::List { source: errno.into() })?;
        for entry in entries {
            // An IPv4 address may carry a label of its own ("eth0:1") on the same interface.
            let name = entry.interface_name.split(':').next().unwrap_or_default();
            let own = own_address(entry.address, entry.netmask);
            if let Some(known) = found.iter_mut().find(|interface| interface.name == name) {
                known.addresses.extend(own);
                continue;
            }
            // An interface may vanish while we look.
            let Some(index) = if_nametoindex(name).ok().and_then(NonZeroU32::new) else { continue };
            found.push(Self {
                name: name.to_owned(),
                index,
                flags: entry.flags,
                addresses: own.into_iter().collect(),
                preferred: None,
            });
        }
        Ok(found)
    }

    /// The interface that a selector chooses for a group.
    ///
    /// # Errors
    /// Says which interfaces there are, or that no route leads to the group.
    pub fn select(
        selector: &InterfaceSelector,
        group: &GroupAddress,
    ) -> Result<Self, InterfaceError> {
        match selector {
            InterfaceSelector::ByRoute => Self::by_route(group),
            InterfaceSelector::ByName(name) => Self::by_name(name),
            InterfaceSelector::ByAddress(ip) => Self::by_address(*ip),
        }
    }

    /// The interface with this name.
    ///
    /// # Errors
    /// [`InterfaceError::NoSuchName`], [`InterfaceError::List`].
    pub fn by_name(name: &str) -> Result<Self, InterfaceError> {
        let mut all = Self::list()?;
        match all.iter().position(|interface| interface.name == name) {
            Some(at) => Ok(all.swap_remove(at)),
            None => Err(InterfaceError::NoSuchName {
                name: name.chars().take(80).collect(),
                known: describe(&all),
            }),
        }
    }

    /// The interface with this address, which becomes the address to send from. Every address of
    /// 127.0.0.0/8 belongs to the loopback interface.
    ///
    /// # Errors
    /// [`InterfaceError::NoSuchAddress`], [`InterfaceError::List`].
    pub fn by_address(ip: IpAddr) -> Result<Self, InterfaceError> {
        let mut all = Self::list()?;
        let owner = all.iter().position(|interface| interface.has_address(ip));
        let owner = owner.or_else(|| {
            all.iter().position(|interface| ip.is_loopback() && interface.is_loopback())
        });
        match owner {
            Some(at) => {
                let mut interface = all.swap_remove(at);
                interface.preferred = Some(ip);
                Ok(interface)
            }
            None => Err(InterfaceError::NoSuchAddress { ip, known: describe(&all) }),
        }
    }

    /// The interface that the routing table uses for the group, with the address it would send from.
    ///
    /// # Errors
    /// [`InterfaceError::NoRoute`], and those of [`Interface::by_address`].
    pub fn by_route(group: &GroupAddress) -> Result<Self, InterfaceError> {
        let local = route_source(group)
            .map_err(|source| InterfaceError::NoRoute { group: *group, source })?;
        Self::by_address(local)
    }

    /// The name, such as `eth0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's number for it, never 0.
    pub const fn index(&self) -> u32 {
        self.index.get()
    }

    /// Our addresses on it, in the kernel's order.
    pub fn addresses(&self) -> &[OwnAddress] {
        &self.addresses
    }

    /// True for the interface that only reaches this machine.
    pub const fn is_loopback(&self) -> bool {
        self.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    }

    /// True when it is up and has a carrier.
    pub const fn is_running(&self) -> bool {
        self.flags.contains(InterfaceFlags::IFF_UP.union(InterfaceFlags::IFF_RUNNING))
    }

    /// True when it carries multicast; loopback does although it does not say so.
    pub const fn carries_multicast(&self) -> bool {
        self.is_loopback() || self.flags.contains(InterfaceFlags::IFF_MULTICAST)
    }

    /// The address to send from to a group: the one selected by, else the first of the group's
    /// family; link-local IPv6 addresses only for link-local groups or when there is no other.
    ///
    /// # Errors
    /// [`InterfaceError::NoAddress`] when there is none of the family.
    pub fn source_for(&self, group: &GroupAddress) -> Result<IpAddr, InterfaceError> {
        let candidates = self.preferred.into_iter().chain(self.addresses.iter().map(|own| own.ip));
        let mut of_family = candidates.filter(|ip| ip.is_ipv4() == group.ip().is_ipv4());
        let found = match group.ip() {
            IpAddr::V4(_) => of_family.next(),
            IpAddr::V6(to) => {
                let rank = |ip: &IpAddr| match ip {
                    IpAddr::V6(ip) => ip.is_unicast_link_local() != crate::group::needs_scope(to),
                    IpAddr::V4(_) => true,
                };
                match self.preferred.filter(IpAddr::is_ipv6) {
                    Some(preferred) => Some(preferred),
                    None => of_family.min_by_key(rank),
                }
            }
        };
        found.ok_or_else(|| InterfaceError::NoAddress {
            name: self.name.clone(),
            family: if group.ip().is_ipv4() { "IPv4" } else { "IPv6" },
            group: *group,
        })
    }

    /// Speed of the link in megabits per second, where the driver tells it. Virtual interfaces
    /// often don't, or tell a made-up number (10000 for veth).
    pub fn speed_mbps(&self) -> Option<u32> {
        self.attribute("speed").filter(|mbps| *mbps > 0)
    }

    /// Largest IP packet in bytes that the link takes in one piece, IP and UDP headers included.
    pub fn mtu(&self) -> Option<u32> {
        self.attribute("mtu")
    }

    fn has_address(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.ip == ip)
    }

    /// A number that sysfs tells of the interface. sysfs shows the namespace it was mounted in,
    /// which need not be the calling thread's: an interface of another index is another one.
    fn attribute(&self, name: &str) -> Option<u32> {
        let folder = Path::new("/sys/class/net").join(&self.name);
        let read = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
        if read("ifindex") == Some(self.index()) { read(name) } else { None }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let mut separator = " (";
        for own in &self.addresses {
            write!(f, "{separator}{}", own.ip)?;
            separator = ", ";
        }
        if self.addresses.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

fn describe(interfaces: &[Interface]) -> String {
    if interfaces.is_empty() {
        return "none".to_owned();
    }
    let texts: Vec<String> = interfaces.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn own_address(
    address: Option<SockaddrStorage>,
    netmask: Option<SockaddrStorage>,
) -> Option<OwnAddress> {
    let ip = ip_of(address?)?;
    let broadcast = match (ip, netmask.and_then(ip_of)) {
        // A /31 and a /32 have no broadcast address (RFC 3021).
        (IpAddr::V4(ip), Some(IpAddr::V4(mask))) if mask.to_bits() < u32::MAX - 1 => {
            Some(ip | !mask)
        }
        _ => None,
    };
    Some(OwnAddress { ip, broadcast })
}

fn ip_of(address: SockaddrStorage) -> Option<IpAddr> {
    // The netmask of an IPv4 address comes with a family too; the link layer's address has neither.
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
    debug_assert!(v4.is_none() || v6.is_none(), "family {:?}", address.family());
    v4.or(v6)
}

/// The local address that the routing table chooses: connecting a UDP socket sends nothing.
fn route_source(group: &GroupAddress) -> io::Result<IpAddr> {
    let probe =
        Socket::new(Domain::for_address(group.socket_addr(0)), Type::DGRAM, Some(Protocol::UDP))?;
    // Without it, connecting to a broadcast address is refused.
    probe.set_broadcast(true)?;
    // A link-local group without a scope has no route: any interface would do. Say so.
    probe.connect(&scoped(group.ip(), group.port(), 0).into())?;
    match probe.local_addr()?.as_socket() {
        Some(SocketAddr::V4(local)) if *local.ip() != Ipv4Addr::UNSPECIFIED => {
            Ok(IpAddr::V4(*local.ip()))
        }
        Some(SocketAddr::V6(local)) if *local.ip() != Ipv6Addr::UNSPECIFIED => {
            Ok(IpAddr::V6(*local.ip()))
        }
        other => Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("the route has no source: {other:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> Interface {
        Interface::by_name("lo").unwrap()
    }

    fn group(text: &str) -> GroupAddress {
        GroupAddress::parse(text, 64494).unwrap()
    }

    #[test]
    fn loopback_is_listed_with_its_address_and_attributes() {
        let lo = loopback();
        assert!(lo.is_loopback() && lo.carries_multicast() && lo.is_running());
        assert!(lo.addresses().iter().any(|own| own.ip == IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert_eq!(lo.mtu(), Some(65536));
        assert_eq!(lo.speed_mbps(), None);
        assert!(lo.to_string().starts_with("lo (127.0.0.1"), "{lo}");
    }

    #[test]
    fn selectors_parse_and_select() {
        assert_eq!("lo".parse(), Ok(InterfaceSelector::ByName("lo".to_owned())));
        let by_address: InterfaceSelector = "127.0.0.1".parse().unwrap();
        assert_eq!(by_address, InterfaceSelector::ByAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let any = group("239.192.1.1");
        assert_eq!(Interface::select(&by_address, &any).unwrap().name(), "lo");
        let routed = Interface::select(&InterfaceSelector::ByRoute, &group("127.0.0.1")).unwrap();
        assert_eq!(routed.name(), "lo");
    }

    #[test]
    fn a_second_loopback_address_is_sent_from() {
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
        let lo = Interface::by_address(ip).unwrap();
        assert_eq!((lo.name(), lo.source_for(&group("239.192.1.1")).unwrap()), ("lo", ip));
    }

    #[test]
    fn wrong_names_and_addresses_are_answered_with_the_right_ones() {
        let error = Interface::by_name("nosuch0").unwrap_err().to_string();
        assert!(error.contains("nosuch0") && error.contains("lo (127.0.0.1"), "{error}");
        let error = Interface::by_address("203.0.113.77".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("203.0.113.77") && error.contains("lo (127.0.0.1"), "{error}");
    }

    #[test]
    fn directed_broadcast_is_known_on_its_interface_only() {
        use crate::group::GroupKind;
        let lo = loopback();
        assert_eq!(group("127.255.255.255").kind_on(&lo), GroupKind::Broadcast);
        assert_eq!(group("192.0.2.254").kind_on(&lo), GroupKind::Unicast);
        assert_eq!(group("239.192.1.1").kind_on(&lo), GroupKind::Multicast);
    }

    #[test]
    fn link_local_sources_are_for_link_local_groups() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = |text: &str| OwnAddress { ip: ip(text), broadcast: None };
        let mut interface = loopback();
        interface.addresses = vec![own("fe80::1"), own("2001:db8::1"), own("192.0.2.1")];
        assert_eq!(interface.source_for(&group("ff15::2")).unwrap(), ip("2001:db8::1"));
        assert_eq!(interface.source_for(&group("ff12::2")).unwrap(), ip("fe80::1"));
        assert_eq!(interface.source_for(&group("239.1.1.1")).unwrap(), ip("192.0.2.1"));
        interface.preferred = Some(ip("fe80::1"));
        assert_eq!(interface.source_for(&group("ff15::2")).unwrap(), ip("fe80::1"));
        interface.addresses = vec![own("fe80::1")];
        interface.preferred = None;
        assert_eq!(interface.source_for(&group("ff15::2")).unwrap(), ip("fe80::1"));
        let error = interface.source_for(&group("239.1.1.1")).unwrap_err().to_string();
        assert!(error.contains("IPv4"), "{error}");
    }
}
