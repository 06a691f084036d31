//! Looking around on the image host.
//!
//! What it owns: the facts that `frisbee-server doctor` tells of, and the time it takes to gather
//! them. What it never does: judge one.

use crate::args::ServerArgs;
use crate::datagram::{DATAGRAM_LEN_MIN, TestDatagram};
use crate::facts::{Bridge, bridge_of, igmp_device, reverse_path_filter, sysctl};
use crate::firewall::{Rules, Suspicion, Traffic};
use crate::listen::Ear;
use crate::sender::{TEST_GROUP, TEST_PORT};
use crate::server::LOAD_BYTES;
use mcast::igmp::{Heard, Listener, Message, Packet, Query, Version, packet::ALL_SYSTEMS};
use mcast::{GroupAddress, GroupKind, Interface, ProbeReceiver, ProbeSender};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Datagrams that the host sends itself.
const LOOP_DATAGRAMS: u32 = 20;

/// They arrive within this time, or not at all.
const LOOP_MAX: Duration = Duration::from_secs(1);

/// Members answer within this time when we ask.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Senders to the group that are told apart.
const OTHERS_MAX: usize = 64;

/// What was seen on the image host.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// We are root.
    pub(crate) is_root: bool,
    /// The interface that the routing table would use, or why none.
    pub(crate) route: Result<String, String>,
    /// The kernel lists the group's membership while we are a member; `None`: it does not list any.
    pub(crate) is_member: Option<bool>,
    /// Datagrams sent to ourselves, and received; or why not.
    pub(crate) loopback: Result<(u32, u32), String>,
    /// `rmem_max` and `wmem_max`.
    pub(crate) buffer_limits: [Option<u64>; 2],
    /// The reverse path filter on the interface: 0 none, 1 strict, 2 loose.
    pub(crate) reverse_path_filter: u64,
    /// Interfaces that are up, without the loopback.
    pub(crate) interfaces_up: usize,
    /// Groups that a socket may join.
    pub(crate) memberships_max: Option<u64>,
    /// Rules that may drop the datagrams, or why they are not known.
    pub(crate) suspicions: Result<Vec<Suspicion>, &'static str>,
    /// What was heard by IGMP, or why nothing can be.
    pub(crate) heard: Result<Heard, String>,
    /// We asked for members.
    pub(crate) asked: bool,
    /// How long we listened.
    pub(crate) listened: Duration,
    /// The kernel remembers a querier of version 1 or 2 from the last minutes.
    pub(crate) older_querier: bool,
    /// This machine's bridge that the interface belongs to: its snooping, its querier.
    pub(crate) bridge: Option<Bridge>,
    /// Who sends large datagrams to the group and port, and how many came.
    pub(crate) others: BTreeMap<IpAddr, u64>,
}

/// Gathers all of it.
pub(crate) fn look(args: &ServerArgs, group: GroupAddress, interface: &Interface) -> Surroundings {
    let began = Instant::now();
    let end = began + Duration::from_secs(args.seconds.into());
    let ear = Ear::open(interface).map_err(|error| error.to_string());
    let asked = args.ask_members && ask(interface).is_ok();
    // Joined before anything else, so that the kernel lists it while we look.
    let member = (group.kind() == GroupKind::Multicast)
        .then(|| ProbeReceiver::join(group, interface).ok())
        .flatten();
    let rules = Rules::read();
    let own: Vec<IpAddr> = interface.addresses().iter().map(|own| own.ip).collect();
    let suspicions = suspicions(&rules, group, interface, &own);
    let device = igmp_device(interface.name());
    let is_member = device.as_ref().zip(member.as_ref()).and_then(|(device, _)| match group.ip() {
        IpAddr::V4(ip) => Some(device.groups.contains(&ip)),
        IpAddr::V6(_) => None,
    });
    let up = |other: &&Interface| other.is_running() && !other.is_loopback();
    let loopback = send_to_myself(interface).map_err(|error| error.to_string());
    let others = member.map(|member| listen_for_others(&member, &own, end)).unwrap_or_default();
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    Surroundings {
        is_root: rustix::process::geteuid().is_root(),
        route: match Interface::by_route(&group) {
            Ok(route) => Ok(route.name().to_owned()),
            Err(error) => Err(error.to_string()),
        },
        is_member,
        loopback,
        buffer_limits: ["net/core/rmem_max", "net/core/wmem_max"].map(sysctl),
        reverse_path_filter: reverse_path_filter(interface.name()),
        interfaces_up: Interface::list().unwrap_or_default().iter().filter(up).count(),
        memberships_max: sysctl("net/ipv4/igmp_max_memberships"),
        suspicions,
        heard: ear.map(Ear::finish),
        asked,
        listened: began.elapsed(),
        older_querier: igmp_device(interface.name())
            .is_some_and(|device| ["V1", "V2"].contains(&&*device.version)),
        bridge: bridge_of(interface),
        others,
    }
}

fn suspicions(
    rules: &Rules,
    group: GroupAddress,
    interface: &Interface,
    own: &[IpAddr],
) -> Result<Vec<Suspicion>, &'static str> {
    if let Rules::Unknown(why) = rules {
        return Err(why);
    }
    let traffic = |arriving| Traffic {
        port: group.port(),
        interface: interface.name().to_owned(),
        addresses: std::iter::once(group.ip()).chain(own.iter().copied()).collect(),
        arriving,
    };
    let both = [true, false].map(|arriving| rules.suspicions(&traffic(arriving)));
    Ok(both.into_iter().flatten().flatten().collect())
}

/// Asks all machines for their memberships, once: in version 3, whose reports we hear for all groups,
/// and which no machine keeps back because it heard another's.
fn ask(interface: &Interface) -> Result<(), mcast::igmp::IgmpError> {
    let listener = Listener::open(interface)?;
    let message = Message::Query(Query::general(Version::V3, ANSWER_MAX));
    let source = listener.own_address();
    listener.send(&Packet { source, destination: ALL_SYSTEMS, message })
}

/// Sends multicast on the interface and listens to it on another socket: how many went, how many
/// came.
fn send_to_myself(interface: &Interface) -> io::Result<(u32, u32)> {
    let other = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let group = GroupAddress::new(IpAddr::V4(TEST_GROUP), TEST_PORT).map_err(|e| other(&e))?;
    let receiver = ProbeReceiver::join(group, interface).map_err(|error| other(&error))?;
    let source = interface.source_for(&group).map_err(|error| other(&error))?;
    // TTL 0 would not be heard either; 1 stays on this network.
    let sender = ProbeSender::open(group, source, Some((interface, 1)))?;
    let (nonce, _) = uuid::Uuid::new_v4().as_u64_pair();
    let nonce = nonce.to_be_bytes();
    let mut buffer = [0; DATAGRAM_LEN_MIN];
    for sequence in 0..LOOP_DATAGRAMS {
        TestDatagram { nonce, sequence }.write(&mut buffer);
        sender.send(&buffer)?;
    }
    let (end, mut received) = (Instant::now() + LOOP_MAX, 0);
    while received < LOOP_DATAGRAMS && Instant::now() < end {
        match receiver.receive(&mut buffer)? {
            Some(_) => {
                let datagram = TestDatagram::parse(&buffer);
                received += u32::from(datagram.is_some_and(|datagram| datagram.nonce == nonce));
            }
            None => {
                ProbeReceiver::wait_any(
                    [&receiver],
                    end.saturating_duration_since(Instant::now()),
                )?;
            }
        }
    }
    Ok((LOOP_DATAGRAMS, received))
}

/// Counts what others send to the group until `end`.
fn listen_for_others(
    member: &ProbeReceiver,
    own: &[IpAddr],
    end: Instant,
) -> BTreeMap<IpAddr, u64> {
    let mut others = BTreeMap::new();
    let mut buffer = [0; DATAGRAM_LEN_MIN];
    while Instant::now() < end {
        match member.receive(&mut buffer) {
            Ok(Some(arrival)) => {
                let source = arrival.source.map(|source| source.ip());
                let foreign = source.filter(|ip| !own.contains(ip) && arrival.len >= LOAD_BYTES);
                if let Some(source) = foreign
                    && (others.len() < OTHERS_MAX || others.contains_key(&source))
                {
                    *others.entry(source).or_default() += 1;
                }
            }
            Ok(None) => {
                let left = end.saturating_duration_since(Instant::now());
                if ProbeReceiver::wait_any([member], left).is_err() {
                    return others;
                }
            }
            Err(error) => {
                tracing::warn!("listening to the group ended: {error}");
                return others;
            }
        }
    }
    others
}
