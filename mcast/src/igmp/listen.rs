//! Listening to the IGMP of others: is there a querier, and which groups have members?
//!
//! What it owns: what was heard, within bounds. What it never does: conclude from silence; a querier
//! asks every 125 s, and a switch that snoops keeps reports from everybody but routers.

use crate::igmp::packet::{Message, Packet, Version};
use crate::igmp::socket::{Arrived, IgmpError, IgmpSocket};
use crate::interface::Interface;
use crate::waker::Waker;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::time::Instant;

/// Queriers, groups, and members of each group that are remembered; whoever sends more is forging.
const REMEMBERED_MAX: usize = 256;

/// Somebody who asked for members.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HeardQuerier {
    /// Its address; 0.0.0.0 for a switch that only helps its own snooping.
    pub address: Ipv4Addr,
    /// The version of its query.
    pub version: Version,
}

/// What others said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Heard {
    /// Who asked for members.
    pub queriers: BTreeSet<HeardQuerier>,
    /// Groups that somebody reported, and who.
    pub members: BTreeMap<Ipv4Addr, BTreeSet<Ipv4Addr>>,
}

impl Heard {
    /// Takes a packet into account.
    pub fn add(&mut self, packet: &Packet) {
        match &packet.message {
            Message::Query(query) => {
                let querier = HeardQuerier { address: packet.source, version: query.version };
                if self.queriers.len() < REMEMBERED_MAX {
                    self.queriers.insert(querier);
                }
            }
            Message::ReportV1(group) | Message::ReportV2(group) => {
                self.add_member(*group, packet.source);
            }
            Message::Leave(group) => self.remove_member(*group, packet.source),
            Message::ReportV3(records) => {
                for record in records {
                    if record.is_member() {
                        self.add_member(record.group, packet.source);
                    } else if record.is_leave() {
                        self.remove_member(record.group, packet.source);
                    }
                }
            }
        }
    }

    fn add_member(&mut self, group: Ipv4Addr, member: Ipv4Addr) {
        if self.members.len() < REMEMBERED_MAX || self.members.contains_key(&group) {
            let members = self.members.entry(group).or_default();
            if members.len() < REMEMBERED_MAX {
                members.insert(member);
            }
        }
    }

    fn remove_member(&mut self, group: Ipv4Addr, member: Ipv4Addr) {
        if let Some(members) = self.members.get_mut(&group) {
            members.remove(&member);
            if members.is_empty() {
                self.members.remove(&group);
            }
        }
    }
}

/// An open ear on one interface.
#[derive(Debug)]
pub struct Listener {
    socket: IgmpSocket,
    waker: Waker,
    heard: Heard,
}

impl Listener {
    /// Begins to listen; what arrives from now on is kept until [`Listener::listen`] reads it.
    ///
    /// # Errors
    /// [`IgmpError`]: not root, no IPv4 address, or no socket.
    pub fn open(interface: &Interface) -> Result<Self, IgmpError> {
        let socket = IgmpSocket::open(interface)?;
        let waker = Waker::new().map_err(|source: io::Error| IgmpError::Step {
            interface: interface.name().to_owned(),
            step: "making a waker",
            source,
        })?;
        Ok(Self { socket, waker, heard: Heard::default() })
    }

    /// Something to end [`Listener::listen`] with, from any thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sends a packet from the same socket, such as a query.
    ///
    /// # Errors
    /// As [`IgmpSocket::send`].
    pub fn send(&self, packet: &Packet) -> Result<(), IgmpError> {
        self.socket.send(packet)
    }

    /// Our address on the interface.
    pub const fn own_address(&self) -> Ipv4Addr {
        self.socket.own_address()
    }

    /// Listens until `deadline`, until `enough` says so, or until the waker is used; everything
    /// heard so far.
    ///
    /// # Errors
    /// [`IgmpError::Step`] when the socket fails.
    pub fn listen(
        &mut self,
        deadline: Instant,
        mut enough: impl FnMut(&Heard) -> bool,
    ) -> Result<&Heard, IgmpError> {
        while !enough(&self.heard) {
            match self.socket.receive(deadline, &self.waker)? {
                Arrived::Packet(packet) => self.heard.add(&packet),
                Arrived::TimedOut | Arrived::Woken => break,
            }
        }
        Ok(&self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::igmp::packet::{ALL_SYSTEMS, GroupRecord, Query, RecordKind};
    use std::time::Duration;

    fn packet(host: u8, message: Message) -> Packet {
        Packet { source: Ipv4Addr::new(10, 0, 0, host), destination: ALL_SYSTEMS, message }
    }

    #[test]
    fn queriers_and_members_are_remembered_until_they_leave() {
        let group = |last| Ipv4Addr::new(239, 192, 70, last);
        let mut heard = Heard::default();
        let query = Query::general(Version::V3, Duration::from_secs(10));
        heard.add(&packet(1, Message::Query(query.clone())));
        heard.add(&packet(1, Message::Query(query)));
        heard.add(&packet(2, Message::ReportV2(group(83))));
        let record = |kind, last| GroupRecord { kind, group: group(last), sources: Vec::new() };
        let records = [record(RecordKind::IsExclude, 83), record(RecordKind::ToExclude, 84)];
        heard.add(&packet(3, Message::ReportV3(records.to_vec())));
        let querier = HeardQuerier { address: Ipv4Addr::new(10, 0, 0, 1), version: Version::V3 };
        assert_eq!(heard.queriers, BTreeSet::from([querier]));
        assert_eq!(heard.members[&group(83)].len(), 2);
        heard.add(&packet(2, Message::Leave(group(83))));
        let left = vec![record(RecordKind::ToInclude, 84)];
        heard.add(&packet(3, Message::ReportV3(left)));
        assert_eq!(heard.members.keys().copied().collect::<Vec<_>>(), [group(83)]);
        assert_eq!(heard.members[&group(83)].len(), 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut heard = Heard::default();
        for number in 0..100_000u32 {
            let group = Ipv4Addr::from_bits(Ipv4Addr::new(230, 0, 0, 0).to_bits() + number % 999);
            let report = Packet { source: number.into(), ..packet(1, Message::ReportV2(group)) };
            heard.add(&report);
        }
        assert_eq!(heard.members.len(), REMEMBERED_MAX);
        assert!(heard.members.values().all(|members| members.len() <= REMEMBERED_MAX));
    }
}
