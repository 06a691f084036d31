//! Addresses of groups: where a server and its clients meet.
//!
//! What it owns: which addresses are usable, what kind they are, and which ones switches flood to
//! every port. What it never does: look at this machine's interfaces, except through the
//! [`Interface`] it is given.

use crate::error::GroupError;
use crate::interface::Interface;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU16;
use std::str::FromStr;

/// How datagrams for a group's address reach their receivers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GroupKind {
    /// Everybody who joined (224.0.0.0/4, ff00::/8).
    Multicast,
    /// Everybody on the link (255.255.255.255, or an interface's directed broadcast address).
    Broadcast,
    /// One machine.
    Unicast,
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Unicast => "unicast",
        })
    }
}

/// An address and the one port that everybody in the group sends from and to.
///
/// Never unspecified (0.0.0.0, ::), never port 0, never an IPv4 address in IPv6 clothes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct GroupAddress {
    ip: IpAddr,
    port: NonZeroU16,
}

impl GroupAddress {
    /// A group at this address and port.
    ///
    /// # Errors
    /// [`GroupError::Unspecified`] for 0.0.0.0 and ::, [`GroupError::PortZero`] for port 0.
    pub fn new(ip: IpAddr, port: u16) -> Result<Self, GroupError> {
        let ip = ip.to_canonical();
        if ip.is_unspecified() {
            return Err(GroupError::Unspecified { ip });
        }
        let port = NonZeroU16::new(port).ok_or(GroupError::PortZero)?;
        Ok(Self { ip, port })
    }

    /// A group from an address as typed, such as `239.192.1.1` or `ff15::1`, and a port.
    ///
    /// # Errors
    /// [`GroupError::Syntax`] when the text is no IP address (names are not looked up), and those
    /// of [`GroupAddress::new`].
    pub fn parse(address: &str, port: u16) -> Result<Self, GroupError> {
        let ip = address
            .parse()
            .map_err(|_| GroupError::Syntax { text: address.chars().take(80).collect() })?;
        Self::new(ip, port)
    }

    /// The address.
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port.get()
    }

    /// What the address alone tells. A directed broadcast address (192.0.2.255) looks like unicast
    /// here; [`GroupAddress::kind_on`] knows better.
    pub fn kind(&self) -> GroupKind {
        if self.ip.is_multicast() {
            GroupKind::Multicast
        } else if self.ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            GroupKind::Broadcast
        } else {
            GroupKind::Unicast
        }
    }

    /// What the address means on an interface.
    pub fn kind_on(&self, interface: &Interface) -> GroupKind {
        let directed = |ip| interface.addresses().iter().any(|own| own.broadcast == Some(ip));
        match (self.kind(), self.ip) {
            (GroupKind::Unicast, IpAddr::V4(ip)) if directed(ip) => GroupKind::Broadcast,
            (kind, _) => kind,
        }
    }

    /// Address and port as a socket address; `interface_index` goes into the scope of an IPv6
    /// address that needs one (link-local).
    pub fn socket_addr(&self, interface_index: u32) -> SocketAddr {
        scoped(self.ip, self.port(), interface_index)
    }

    /// Why switches send this group's traffic to every port, if they do; `None` for a good group.
    ///
    /// A switch that snoops IGMP or MLD must not prune the link-local control groups (RFC 4541,
    /// section 2.1.2), and many decide by the Ethernet address, which holds only the low 23 bits of
    /// an IPv4 group (RFC 1112, section 6.4): 31 other groups share each control group's.
    pub fn flood_warning(&self) -> Option<String> {
        match self.ip {
            IpAddr::V4(ip) if ip.is_multicast() => {
                let [first, second, third, _] = ip.octets();
                if third != 0 || second & 0x7f != 0 {
                    None
                } else if (first, second) == (224, 0) {
                    Some(format!(
                        "group {ip} is in 224.0.0.0/24, which every switch floods to all ports \
                         and no router forwards; \
                         choose an organisation-local group, such as 239.192.1.1"
                    ))
                } else {
                    Some(format!(
                        "group {ip} has the same Ethernet address as a group in 224.0.0.0/24, \
                         which switches flood \
                         to all ports; choose a group whose third number is not 0, such as \
                         239.192.1.1"
                    ))
                }
            }
            IpAddr::V6(ip) if ip.is_multicast() && matches!(ip.segments(), [.., 0, 1]) => {
                Some(format!(
                    "group {ip} has the same Ethernet address as ff02::1 (all nodes), which \
                     switches flood to all \
                     ports; choose a group whose last 32 bits are not 1, such as ff15::f15b"
                ))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }
}

impl fmt::Display for GroupAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.ip, self.port()).fmt(f)
    }
}

impl FromStr for GroupAddress {
    type Err = GroupError;

    /// Parses `239.192.1.1:64494` or `[ff15::1]:64494`.
    fn from_str(text: &str) -> Result<Self, GroupError> {
        let address: SocketAddr = text
            .parse()
            .map_err(|_| GroupError::Syntax { text: text.chars().take(80).collect() })?;
        Self::new(address.ip(), address.port())
    }
}

/// True for an IPv6 address that means something only together with an interface: link-local
/// unicast, and multicast of interface-local or link-local scope (RFC 4291, section 2.7).
pub(crate) const fn needs_scope(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
        || matches!(ip.segments(), [0xff01 | 0xff02 | 0xff11 | 0xff12 | 0xff31 | 0xff32, ..])
}

/// A socket address with the scope filled in where it is needed.
pub(crate) fn scoped(ip: IpAddr, port: u16, interface_index: u32) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(ip) => {
            let scope = if needs_scope(ip) { interface_index } else { 0 };
            SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(text: &str) -> GroupAddress {
        GroupAddress::parse(text, 64494).unwrap()
    }

    #[test]
    fn kinds_follow_the_address() {
        for (text, kind) in [
            ("224.0.0.0", GroupKind::Multicast),
            ("239.255.255.255", GroupKind::Multicast),
            ("ff15::1:2", GroupKind::Multicast),
            ("::ffff:239.1.2.3", GroupKind::Multicast),
            ("255.255.255.255", GroupKind::Broadcast),
            ("192.0.2.255", GroupKind::Unicast),
            ("223.255.255.255", GroupKind::Unicast),
            ("240.0.0.1", GroupKind::Unicast),
            ("2001:db8::1", GroupKind::Unicast),
        ] {
            assert_eq!(group(text).kind(), kind, "{text}");
        }
    }

    #[test]
    fn unusable_addresses_are_refused_with_advice() {
        assert!(matches!(GroupAddress::parse("0.0.0.0", 1), Err(GroupError::Unspecified { .. })));
        assert!(matches!(GroupAddress::parse("::", 1), Err(GroupError::Unspecified { .. })));
        assert!(matches!(GroupAddress::parse("239.1.1.1", 0), Err(GroupError::PortZero)));
        let error = GroupAddress::parse("example.org", 1).unwrap_err().to_string();
        assert!(error.contains("example.org") && error.contains("239.192.1.1"), "{error}");
        assert!("239.1.1.1".parse::<GroupAddress>().is_err(), "the port is missing");
    }

    #[test]
    fn text_form_parses_back() {
        for text in ["239.192.1.1:64494", "[ff15::f15b]:7", "255.255.255.255:1"] {
            assert_eq!(text.parse::<GroupAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn flooded_groups_and_their_aliases_are_known() {
        for text in [
            "224.0.0.1",
            "224.0.0.251",
            "224.128.0.9",
            "239.0.0.9",
            "239.128.0.9",
            "ff02::1",
            "ff15::1",
        ] {
            assert!(group(text).flood_warning().is_some(), "{text}");
        }
        for text in [
            "224.0.1.1",
            "239.192.1.1",
            "239.1.0.1",
            "234.5.6.7",
            "192.0.0.1",
            "ff15::f15b",
            "2001:db8::1",
        ] {
            assert!(group(text).flood_warning().is_none(), "{text}");
        }
    }

    #[test]
    fn only_link_scopes_carry_the_interface() {
        for (text, scope) in
            [("ff02::5", 3), ("ff12::5", 3), ("ff15::5", 0), ("fe80::1", 3), ("2001:db8::1", 0)]
        {
            let SocketAddr::V6(address) = group(text).socket_addr(3) else {
                panic!("{text} is IPv6")
            };
            assert_eq!(address.scope_id(), scope, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "\\PC*", port: u16) {
            let _ = GroupAddress::parse(&text, port);
            let _ = text.parse::<GroupAddress>();
        }

        #[test]
        fn flooded_means_the_ethernet_address_of_a_control_group(bits in 0xe000_0000u32..0xf000_0000) {
            let group = GroupAddress::new(IpAddr::V4(bits.into()), 1).unwrap();
            prop_assert_eq!(group.flood_warning().is_some(), bits & 0x007f_ff00 == 0);
        }
    }
}
