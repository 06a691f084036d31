//! Groups and ports for sessions.
//!
//! What it owns: ranges, and the choice of a group and a port that no session has. What it never
//! does: open a socket; a port that another program has is found out by trying.
//!
//! Groups that switches flood to every port are left out: 224.0.0.x, and all whose Ethernet address
//! is the same as one of those (RFC 1112, section 6.4), such as 239.128.0.5.

use mcast::GroupAddress;
use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Multicast groups, first and last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GroupRange {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl GroupRange {
    /// What an image host uses unless told otherwise: organisation-local (RFC 2365), and none of
    /// them flooded.
    pub const DEFAULT: Self =
        Self { first: Ipv4Addr::new(239, 192, 1, 1), last: Ipv4Addr::new(239, 192, 1, 254) };

    /// The groups, without those that switches flood.
    pub fn iter(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        (self.first.to_bits()..=self.last.to_bits()).map(Ipv4Addr::from_bits).filter(|group| {
            GroupAddress::new((*group).into(), 1).is_ok_and(|group| group.flood_warning().is_none())
        })
    }
}

impl FromStr for GroupRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}': expected multicast groups, such as 239.192.1.1-239.192.1.254 or 239.192.1.1"
            )
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let group = |text: &str| text.trim().parse::<Ipv4Addr>().map_err(|_| wrong());
        let (first, last) = (group(first)?, group(last)?);
        let good = first.is_multicast() && last.is_multicast() && first <= last;
        if good { Ok(Self { first, last }) } else { Err(wrong()) }
    }
}

/// Ports, first and last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Ports of sessions: from 7000, as ORBIT's service counts.
    pub const SESSIONS: Self = Self { first: 7000, last: 7999 };
    /// Ports of deployed clients' uploads: from 9000, as on ORBIT.
    pub const UPLOADS: Self = Self { first: 9000, last: 9099 };

    /// The ports.
    pub fn iter(&self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}': expected ports such as 7000-7999, or one port");
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
        match (port(first)?, port(last)?) {
            (first @ 1.., last) if first <= last => Ok(Self { first, last }),
            _ => Err(wrong()),
        }
    }
}

/// A session's group and port.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Address {
    pub(crate) group: Ipv4Addr,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.group, self.port)
    }
}

/// Hands out groups and ports. What was given back is handed out again as late as possible: a
/// client of a session that has just ended may still listen there.
#[derive(Debug)]
pub(crate) struct AddressPool {
    groups: GroupRange,
    ports: PortRange,
    taken: BTreeSet<Address>,
    last: Option<Address>,
}

impl AddressPool {
    pub(crate) fn new(groups: GroupRange, ports: PortRange) -> Self {
        Self { groups, ports, taken: BTreeSet::new(), last: None }
    }

    /// Begins somewhere in the ranges, as a random number says: two hosts of one network that
    /// nobody told of each other will hardly ever use the same group, and a host can load from
    /// its parent, which takes the parent's port.
    pub(crate) fn begin_anywhere(&mut self, random: u64) {
        let (GroupRange { first, last }, ports) = (self.groups, self.ports);
        let groups = u64::from(last.to_bits() - first.to_bits()) + 1;
        let offset = u32::try_from(random % groups).unwrap_or(0);
        let group = Ipv4Addr::from_bits(first.to_bits() + offset);
        let count = u64::from(ports.last - ports.first) + 1;
        let port = ports.first + u16::try_from(random / groups % count).unwrap_or(0);
        self.last = Some(Address { group, port });
    }

    /// Takes a group and a port that nobody has, other than those of `unusable`; `None` when there
    /// are no more.
    pub(crate) fn take(&mut self, unusable: &BTreeSet<u16>) -> Option<Address> {
        let groups: BTreeSet<Ipv4Addr> = self.taken.iter().map(|address| address.group).collect();
        let ports: BTreeSet<u16> = self.taken.iter().map(|address| address.port).collect();
        let after = self.last.map(|last| last.group);
        let group = next(self.groups.iter(), after, |group| !groups.contains(group))?;
        let after = self.last.map(|last| last.port);
        let free = |port: &u16| !ports.contains(port) && !unusable.contains(port);
        let port = next(self.ports.iter(), after, free)?;
        let address = Address { group, port };
        self.last = Some(address);
        self.taken.insert(address);
        Some(address)
    }

    /// Takes a certain group and port, for a session that goes on; false when somebody has one of
    /// them, or they are not ours any more.
    pub(crate) fn take_again(&mut self, address: Address) -> bool {
        let taken = |other: &Address| other.group == address.group || other.port == address.port;
        let ours = self.groups.iter().any(|group| group == address.group)
            && self.ports.iter().contains(&address.port);
        ours && !self.taken.iter().any(taken) && self.taken.insert(address)
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&mut self, address: Address) {
        self.taken.remove(&address);
    }
}

/// The first that is free after `after`, in a circle.
fn next<T: Copy + Ord>(
    all: impl Iterator<Item = T>,
    after: Option<T>,
    free: impl Fn(&T) -> bool,
) -> Option<T> {
    let mut free = all.filter(|item| free(item));
    let mut first = None;
    free.find(|item| {
        first = first.or(Some(*item));
        after.is_none_or(|after| *item > after)
    })
    .or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(groups: &str, ports: &str) -> AddressPool {
        AddressPool::new(groups.parse().unwrap(), ports.parse().unwrap())
    }

    #[test]
    fn groups_that_switches_flood_are_never_handed_out() {
        for flooded in ["224.0.0.1", "224.128.0.5", "239.0.0.7", "239.128.0.1"] {
            assert!(pool(flooded, "7000-7009").take(&BTreeSet::new()).is_none(), "{flooded}");
        }
        let mut pool = pool("239.127.255.254-239.128.1.1", "7000-7009");
        let groups: Vec<_> = std::iter::from_fn(|| pool.take(&BTreeSet::new())).collect();
        let text: Vec<_> = groups.iter().map(ToString::to_string).collect();
        let good = [
            "239.127.255.254:7000",
            "239.127.255.255:7001",
            "239.128.1.0:7002",
            "239.128.1.1:7003",
        ];
        assert_eq!(text, good);
    }

    #[test]
    fn what_was_given_back_comes_again_last() {
        let mut pool = pool("239.192.1.1-239.192.1.3", "7000-7002");
        let none = BTreeSet::new();
        let first = pool.take(&none).unwrap();
        pool.give_back(first);
        let ports: Vec<_> = std::iter::from_fn(|| pool.take(&none)).map(|a| a.port).collect();
        assert_eq!(ports, [7001, 7002, 7000]);
    }

    #[test]
    fn it_may_begin_anywhere_and_still_hands_out_all() {
        for random in [0, 1, 7, u64::MAX / 3, u64::MAX] {
            let mut pool = pool("239.192.1.1-239.192.1.3", "7000-7002");
            pool.begin_anywhere(random);
            let all: BTreeSet<_> = std::iter::from_fn(|| pool.take(&BTreeSet::new())).collect();
            assert_eq!(all.len(), 3, "{random}");
        }
    }

    #[test]
    fn ports_of_other_programs_are_passed_over() {
        let mut pool = pool("239.192.1.1-239.192.1.3", "7000-7001");
        let address = pool.take(&BTreeSet::from([7000])).unwrap();
        assert_eq!(address.port, 7001);
        assert!(pool.take(&BTreeSet::from([7000])).is_none());
    }

    #[test]
    fn a_session_gets_its_address_again_unless_somebody_has_it() {
        let mut pool = pool("239.192.1.1-239.192.1.3", "7000-7002");
        let address = |text: &str, port| Address { group: text.parse().unwrap(), port };
        assert!(pool.take_again(address("239.192.1.2", 7001)));
        assert!(!pool.take_again(address("239.192.1.2", 7002)));
        assert!(!pool.take_again(address("239.192.1.9", 7002)), "not ours any more");
        assert_eq!(pool.take(&BTreeSet::new()), Some(address("239.192.1.1", 7000)));
    }

    #[test]
    fn ranges_are_checked() {
        for wrong in ["10.0.0.1", "239.1.1.9-239.1.1.1", "x", "239.1.1.1-"] {
            assert!(wrong.parse::<GroupRange>().unwrap_err().contains("239.192.1.1"));
        }
        for wrong in ["0", "9-8", "70000", "-"] {
            assert!(wrong.parse::<PortRange>().unwrap_err().contains("7000-7999"));
        }
    }
}
