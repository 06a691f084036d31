//! Multicast on a switch that snoops: it dies without a querier, and lives with ours.

use mcast::igmp::{
    Config, IgmpSocket, Listener, Message, Packet, QuerierThread, Query, Version, packet,
};
use mcast::{GroupAddress, GroupSocket, Interface, Options, ReceiveBatch, Received, SendBatch};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tests::netns::{Network, Node};
use tests::wait::until;

const GROUP: &str = "239.192.71.9";
const PORT: u16 = 7109;

/// How long the switch remembers a member: long enough for a report on a busy machine.
const MEMBERSHIP_MS: u32 = 1500;

fn eth0() -> Interface {
    Interface::by_name("eth0").unwrap()
}

fn group() -> GroupAddress {
    GroupAddress::parse(GROUP, PORT).unwrap()
}

fn member(node: &Node) -> GroupSocket {
    node.enter(|| GroupSocket::open_client(group(), &eth0(), &Options::default()).unwrap())
}

fn sender(node: &Node) -> GroupSocket {
    node.enter(|| GroupSocket::open_server(group(), &eth0(), &Options::default()).unwrap())
}

/// Sends one datagram; true when it arrives.
fn gets_through(sender: &GroupSocket, member: &GroupSocket) -> bool {
    let (mut batch, mut arrived) = (SendBatch::new(100, 1), ReceiveBatch::new());
    batch.push().unwrap().fill(7);
    sender.send(&mut batch, sender.group_addr()).unwrap();
    let wait = Some(Duration::from_millis(50));
    matches!(member.receive(&mut arrived, wait).unwrap(), Received::Datagrams(_))
}

/// One query from a router that is never heard again: from now on the switch prunes.
fn router_that_dies(node: &Node) {
    node.enter(|| {
        let socket = IgmpSocket::open(&eth0()).unwrap();
        let query = Query::general(Version::V2, Duration::from_millis(100));
        let message = Message::Query(query);
        // The highest address: any querier may take over from it.
        let source = Ipv4Addr::new(10, 77, 0, 250);
        socket.send(&Packet { source, destination: packet::ALL_SYSTEMS, message }).unwrap();
    });
}

fn dies(network: &Network, sender: &GroupSocket, member: &GroupSocket) {
    let forgotten = || network.memberships(1).iter().all(|group| group != GROUP);
    until("the switch forgets the member", forgotten);
    until("multicast ends", || !gets_through(sender, member));
    for _ in 0..5 {
        assert!(!gets_through(sender, member), "it came back without a querier");
    }
}

#[test]
fn multicast_dies_on_a_snooping_switch_without_a_querier_and_lives_with_ours() {
    let Some(network) = Network::new(3) else { return };
    network.snoop(MEMBERSHIP_MS);
    let (sender, member) = (sender(network.node(0)), member(network.node(1)));
    router_that_dies(network.node(2));
    dies(&network, &sender, &member);

    let start = || QuerierThread::start(&eth0(), Duration::from_millis(500)).unwrap();
    let querier = network.node(0).enter(start);
    until("multicast comes back", || gets_through(&sender, &member));
    // Longer than the switch remembers: only reports can have kept it.
    let end = Instant::now() + Duration::from_millis(3 * u64::from(MEMBERSHIP_MS));
    let mut lost = 0;
    while Instant::now() < end {
        lost += u32::from(!gets_through(&sender, &member));
    }
    assert!(lost <= 2, "{lost} lost although the membership was kept up");
    let own = || network.memberships(0).iter().any(|group| group == GROUP);
    until("the querier's own machine reports its memberships too", own);
    let status = querier.status();
    assert!(status.queries >= 3 && status.other.is_none(), "{status:?}");

    drop(querier);
    dies(&network, &sender, &member);
}

#[test]
fn the_lower_address_asks_and_the_other_takes_over_when_it_falls_silent() {
    let Some(network) = Network::new(2) else { return };
    let config = Config {
        interval: Duration::from_millis(300),
        max_response: Duration::from_millis(200),
        startup_interval: Duration::from_millis(100),
        ..Config::default()
    };
    let start = || QuerierThread::start_with(&eth0(), config).unwrap();
    let higher = network.node(1).enter(start);
    until("the higher one asks", || higher.status().queries > 0);
    let lower = network.node(0).enter(start);
    let lowest = network.node(0).ipv4();
    until("it gives way", || higher.status().other == Some(lowest));
    assert_eq!(lower.status().other, None);
    let asked = higher.status().queries;
    drop(lower);
    until("it takes over", || higher.status().other.is_none());
    until("it asks again", || higher.status().queries > asked);
}

#[test]
fn a_listener_hears_the_querier_and_the_members() {
    let Some(network) = Network::new(3) else { return };
    let _member = member(network.node(1));
    let mut listener = network.node(2).enter(|| Listener::open(&eth0()).unwrap());
    let start = || QuerierThread::start_with(&eth0(), version_3()).unwrap();
    let _querier = network.node(0).enter(start);
    let (group, member) = (GROUP.parse().unwrap(), network.node(1).ipv4());
    let all_heard = |heard: &mcast::igmp::Heard| {
        let members = heard.members.get(&group);
        !heard.queriers.is_empty() && members.is_some_and(|members| members.contains(&member))
    };
    let heard = listener.listen(Instant::now() + Duration::from_secs(60), all_heard).unwrap();
    assert!(all_heard(heard), "{heard:?}");
    let querier = heard.queriers.first().unwrap();
    assert_eq!((querier.address, querier.version), (network.node(0).ipv4(), Version::V3));
}

/// Version 3: its reports go where a listener hears them without being a member.
fn version_3() -> Config {
    Config { version: Version::V3, ..Config::with_interval(Duration::from_secs(1)) }
}

#[test]
fn a_wakened_listener_ends_at_once() {
    let Some(network) = Network::new(1) else { return };
    let mut listener = network.node(0).enter(|| Listener::open(&eth0()).unwrap());
    listener.waker().wake();
    let start = Instant::now();
    let heard = listener.listen(start + Duration::from_secs(600), |_| false).unwrap();
    assert!(heard.queriers.is_empty());
    assert!(start.elapsed() < Duration::from_secs(60));
}
