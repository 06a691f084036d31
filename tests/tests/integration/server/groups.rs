//! Loads through all kinds of groups.

use super::{Running, lo, on_loopback, own_address, random_file, settings};
use frisbee_server::{Ended, IdleExit, Network, Report, Settings};
use mcast::{GroupSocket, InterfaceSelector, Options};
use proto::client::JoinKind;
use std::net::IpAddr;
use std::sync::Barrier;
use std::thread;
use tests::netns::{Network as Switch, Node};
use tests::raw_client::{self, Loaded};

const WHOLE: usize = 4 << 20;
/// Ends inside a block.
const RAGGED: usize = (3 << 20) + 300_007;

/// Loads; waits at the first chunk for all who meet at `barrier`, so that nobody leaves before
/// everybody has joined.
fn load(socket: &GroupSocket, join: JoinKind, id: u32, barrier: &Barrier) -> Loaded {
    let mut on_chunk = |complete| {
        if complete == 1 {
            barrier.wait();
        }
        true
    };
    raw_client::load(socket, join, id, &mut on_chunk).unwrap().unwrap()
}

#[test]
fn three_clients_load_by_multicast_on_one_machine() {
    for (len, join) in [(WHOLE, JoinKind::Image), (RAGGED, JoinKind::File)] {
        let (file, bytes) = random_file(1, len);
        let network = on_loopback();
        let settings = Settings { idle_exit: IdleExit::WhenEmpty, ..settings() };
        let server = Running::start(file.path(), &network, &settings);
        let sockets = [1, 2, 3]
            .map(|id| (id, raw_client::open(network.group, server.port(), &lo()).unwrap()));
        let (barrier, bytes) = (&Barrier::new(3), &bytes);
        thread::scope(|scope| {
            for (id, socket) in &sockets {
                scope.spawn(move || {
                    assert!(load(socket, join, *id, barrier).bytes == *bytes, "client {id}");
                });
            }
        });
        let reports = server.reports.clone();
        let summary = server.wait();
        assert_eq!((summary.ended, summary.loading), (Ended::Empty, 0));
        assert!(!summary.clients.is_empty() && summary.totals.datagrams_bad == 0, "{summary:?}");
        let blocks = summary.image_blocks;
        assert_eq!(blocks, u64::try_from(len.div_ceil(1024)).unwrap());
        assert!((blocks..3 * blocks).contains(&summary.totals.blocks_sent), "{summary:?}");
        let reports: Vec<Report> = reports.iter().collect();
        assert!(matches!(reports.first(), Some(Report::Start(_))));
        assert!(matches!(reports.last(), Some(Report::Summary(_))));
        assert!(reports.iter().any(|report| matches!(report, Report::Joined(_))));
        assert!(reports.iter().any(|report| matches!(report, Report::Left(_))));
    }
}

#[test]
fn several_unicast_clients_are_served_at_once() {
    let (file, bytes) = random_file(2, RAGGED);
    let server_ip = IpAddr::V4(own_address(127, 101));
    let network = Network {
        group: IpAddr::V4(own_address(127, 102)),
        interface: InterfaceSelector::ByAddress(server_ip),
        ..on_loopback()
    };
    let settings = Settings { idle_exit: IdleExit::WhenEmpty, ..settings() };
    let server = Running::start(file.path(), &network, &settings);
    let sockets = [1, 2, 3].map(|id| {
        let own = InterfaceSelector::ByAddress(IpAddr::V4(own_address(127, 103)));
        (id, raw_client::open(server_ip, server.port(), &own).unwrap())
    });
    let (barrier, bytes) = (&Barrier::new(3), &bytes);
    thread::scope(|scope| {
        for (id, socket) in &sockets {
            scope.spawn(move || {
                assert!(load(socket, JoinKind::File, *id, barrier).bytes == *bytes, "client {id}");
            });
        }
    });
    let summary = server.wait();
    assert_eq!(summary.ended, Ended::Empty);
    assert!(summary.clients.iter().all(|client| client.unicast && !client.present));
    assert_eq!(summary.clients.len(), 3, "{summary:?}");
}

fn on_eth0(node: &Node, group: IpAddr) -> Network {
    let interface = InterfaceSelector::ByName("eth0".into());
    let network = Network { group, ports: 7000..=7000, interface, options: Options::default() };
    assert!(node.enter(|| network.open()).is_ok(), "{group}");
    network
}

#[test]
fn multicast_broadcast_and_unicast_work_across_a_switch() {
    let Some(switch) = Switch::new(4) else { return };
    let (file, bytes) = random_file(3, RAGGED);
    let server_at = switch.node(0);
    let unicast = IpAddr::V4(server_at.ipv4());
    for address in ["ff15::70:82", "239.192.70.85", "10.77.0.255", "255.255.255.255"] {
        let group: IpAddr = address.parse().unwrap();
        let network = on_eth0(server_at, group);
        let settings = Settings { unicast: true, ..settings() };
        let server = server_at.enter(|| Running::start(file.path(), &network, &settings));
        // The last one asks the server alone.
        let last = if group.is_ipv4() { unicast } else { IpAddr::V6(server_at.ipv6()) };
        let barrier = &Barrier::new(3);
        thread::scope(|scope| {
            for (number, group) in [(1, group), (2, group), (3, last)] {
                let (node, network, bytes) = (switch.node(number), &network, &bytes);
                scope.spawn(move || {
                    let eth0 = &network.interface;
                    let socket = node.enter(|| raw_client::open(group, 7000, eth0).unwrap());
                    let id = u32::try_from(number).unwrap();
                    assert!(
                        load(&socket, JoinKind::File, id, barrier).bytes == *bytes,
                        "{address} {id}"
                    );
                });
            }
        });
        let summary = server.stop();
        assert_eq!((summary.ended, summary.loading), (Ended::Interrupted, 0), "{address}");
        let unicast = summary.clients.iter().filter(|client| client.unicast).count();
        assert_eq!((summary.clients.len(), unicast), (3, 1), "{address}: {summary:?}");
    }
}

#[test]
fn losses_of_each_client_are_repaired_for_less_than_a_second_file() {
    let Some(switch) = Switch::new(6) else { return };
    let (file, bytes) = random_file(10, 8 << 20);
    let group: IpAddr = "239.192.70.86".parse().unwrap();
    let server_at = switch.node(0);
    let network = on_eth0(server_at, group);
    let settings = Settings { bits_per_sec: Some(200_000_000), ..settings() };
    let server = server_at.enter(|| Running::start(file.path(), &network, &settings));
    for (number, per_mille) in [(2, 10), (3, 10), (4, 10), (5, 100)] {
        switch.drop_received(number, per_mille);
    }
    let barrier = &Barrier::new(5);
    thread::scope(|scope| {
        for number in 1..6 {
            let (node, eth0, bytes) = (switch.node(number), &network.interface, &bytes);
            scope.spawn(move || {
                let socket = node.enter(|| raw_client::open(group, 7000, eth0).unwrap());
                let id = u32::try_from(number).unwrap();
                assert!(load(&socket, JoinKind::Image, id, barrier).bytes == *bytes, "{id}");
            });
        }
    });
    let summary = server.stop();
    assert_eq!((summary.loading, summary.clients.len()), (0, 5), "{summary:?}");
    assert!(summary.totals.blocks_sent < 2 * summary.image_blocks, "{summary:?}");
    assert!(summary.totals.blocks_repeated > 0, "{summary:?}");
}
