//! Group sockets between machines: namespaces on a switch, with loss, slow and pulled cables.

use mcast::{
    GroupAddress, GroupKind, GroupSocket, Interface, InterfaceSelector, Options, ReceiveBatch,
    Received, SendBatch, SocketError, Stop,
};
use std::time::Duration;
use tests::netns::{Network, Node};

const PORT: u16 = 64494;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));
/// Long enough for what is on the way on an unlimited cable, on a busy machine too.
const QUIET: Option<Duration> = Some(Duration::from_millis(250));

fn group(address: &str) -> GroupAddress {
    GroupAddress::parse(address, PORT).unwrap()
}

fn on_eth0(node: &Node, open: impl FnOnce(&Interface) -> GroupSocket + Send) -> GroupSocket {
    node.enter(|| open(&Interface::by_name("eth0").unwrap()))
}

fn server(node: &Node, address: &str) -> GroupSocket {
    on_eth0(node, |eth0| {
        GroupSocket::open_server(group(address), eth0, &Options::default()).unwrap()
    })
}

fn client(node: &Node, address: &str) -> GroupSocket {
    on_eth0(node, |eth0| {
        GroupSocket::open_client(group(address), eth0, &Options::default()).unwrap()
    })
}

/// Sends datagrams of 1056 bytes that begin with their number, in batches of 32; returns how many
/// went out.
fn send_numbered(socket: &GroupSocket, count: u32) -> usize {
    let mut batch = SendBatch::new(1056, 32);
    let mut sent = 0;
    for number in 0..count {
        batch.push().unwrap()[..4].copy_from_slice(&number.to_le_bytes());
        if batch.is_full() || number + 1 == count {
            sent += socket.send(&mut batch, socket.group_addr()).unwrap().datagrams;
            batch.clear();
        }
    }
    sent
}

/// The numbers of all datagrams that come before a silence.
fn receive_numbers(socket: &GroupSocket) -> Vec<u32> {
    let mut batch = ReceiveBatch::new();
    let mut numbers = Vec::new();
    while let Received::Datagrams(_) = socket.receive(&mut batch, QUIET).unwrap() {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        numbers.extend(batch.datagrams().map(|datagram| number(datagram.bytes)));
    }
    numbers
}

/// Sends until the first datagram arrives: on a busy machine a bridge's port may begin to forward
/// only a moment after its link is up.
fn wait_until_connected(server: &GroupSocket, client: &GroupSocket) {
    let give_up = std::time::Instant::now() + Duration::from_secs(30);
    while receive_numbers(client).is_empty() {
        assert!(std::time::Instant::now() < give_up, "nothing gets through");
        send_numbered(server, 1);
    }
}

fn send_text(socket: &GroupSocket, text: &[u8], to: std::net::SocketAddr) -> Option<Stop> {
    let mut batch = SendBatch::new(text.len(), 1);
    batch.push().unwrap().copy_from_slice(text);
    socket.send(&mut batch, to).unwrap().stopped
}

/// The next datagram's text and where it came from.
fn receive_text(socket: &GroupSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut batch = ReceiveBatch::new();
    assert_eq!(socket.receive(&mut batch, PATIENCE).unwrap(), Received::Datagrams(1));
    let datagram = batch.datagrams().next().unwrap();
    (datagram.bytes.to_vec(), datagram.source)
}

/// One server, three clients and a bystander: data to all, a request to the group, a report to the
/// server alone, each from the address and port that the protocol's checks want.
fn everybody_talks(network: &Network, address: &str) {
    let server = server(network.node(0), address);
    let clients = [1, 2, 3].map(|number| client(network.node(number), address));
    assert_eq!(send_numbered(&server, 500), 500);
    for client in &clients {
        assert_eq!(receive_numbers(client), (0..500).collect::<Vec<_>>(), "{address}");
    }
    assert_eq!(send_text(&clients[0], b"request", clients[0].group_addr()), None);
    for hearer in [&clients[1], &clients[2]] {
        assert_eq!(receive_text(hearer), (b"request".to_vec(), clients[0].local_addr()));
    }
    assert_eq!(send_text(&clients[1], b"report", server.local_addr()), None);
    let mut heard = Vec::new();
    while heard.len() < 2 {
        // A broadcast comes back to its sender as well.
        heard.extend(Some(receive_last(&server)).filter(|(_, from)| *from != server.local_addr()));
    }
    heard.sort();
    let mut wanted = [
        (b"request".to_vec(), clients[0].local_addr()),
        (b"report".to_vec(), clients[1].local_addr()),
    ];
    wanted.sort();
    assert_eq!(heard, wanted, "{address}");
}

/// The last datagram of the next batch, whatever it is.
fn receive_last(socket: &GroupSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut batch = ReceiveBatch::new();
    assert!(matches!(socket.receive(&mut batch, PATIENCE).unwrap(), Received::Datagrams(_)));
    let datagram = batch.datagrams().last().unwrap();
    (datagram.bytes.to_vec(), datagram.source)
}

#[test]
fn all_kinds_of_groups_work_across_a_switch() {
    let Some(network) = Network::new(4) else { return };
    for address in ["239.192.7.7", "ff15::7:7", "ff12::7:7", "10.77.0.255", "255.255.255.255"] {
        everybody_talks(&network, address);
    }
}

#[test]
fn the_interface_of_a_group_is_found_by_route() {
    let Some(network) = Network::new(1) else { return };
    let node = network.node(0);
    let (routed, kind, source) = node.enter(|| {
        let routed = Interface::select(&InterfaceSelector::ByRoute, &group("239.192.7.7")).unwrap();
        let kind = group("10.77.0.255").kind_on(&routed);
        (routed.name().to_owned(), kind, routed.source_for(&group("239.192.7.7")).unwrap())
    });
    assert_eq!((routed.as_str(), kind, source), ("eth0", GroupKind::Broadcast, node.ipv4().into()));
    node.ip("route del 224.0.0.0/4 dev eth0\n");
    let error = node.enter(|| {
        Interface::select(&InterfaceSelector::ByRoute, &group("239.192.7.7")).unwrap_err()
    });
    assert!(error.to_string().contains("ip route add 224.0.0.0/4"), "{error}");
}

#[test]
fn nothing_is_fragmented_and_segmentation_outlives_the_attempt() {
    let Some(network) = Network::new(2) else { return };
    let server = server(network.node(0), "239.192.7.12");
    let client = client(network.node(1), "239.192.7.12");
    wait_until_connected(&server, &client);
    let segments = server.segments_max(1056);
    for count in [1, 5] {
        let mut batch = SendBatch::new(8208, 5);
        (0..count).for_each(|_| batch.push().unwrap().fill(0));
        match server.send(&mut batch, server.group_addr()) {
            Err(error @ SocketError::TooLarge { len: 8208, .. }) => {
                assert!(error.to_string().contains("MTU"))
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.segments_max(1056), segments);
    assert_eq!(send_numbered(&server, 100), 100);
    assert_eq!(receive_numbers(&client).len(), 100);
}

#[test]
fn loss_is_per_client_and_per_datagram() {
    let Some(network) = Network::new(4) else { return };
    let server = server(network.node(0), "239.192.7.8");
    let clients = [1, 2, 3].map(|number| client(network.node(number), "239.192.7.8"));
    network.drop_received(2, 10);
    network.drop_received(3, 100);
    assert_eq!(send_numbered(&server, 20_000), 20_000);
    let received = clients.each_ref().map(receive_numbers);
    // Six standard deviations on each side.
    let lost = received.each_ref().map(|numbers| 20_000 - numbers.len());
    assert!(
        lost[0] == 0 && (115..=285).contains(&lost[1]) && (1745..=2255).contains(&lost[2]),
        "{lost:?}"
    );
    let runs = received[2].windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(runs > 1400, "single datagrams are lost, not batches: {runs} gaps");
    network.drop_received(3, 0);
    send_numbered(&server, 1000);
    assert_eq!(receive_numbers(&clients[2]).len(), 1000);
}

#[test]
fn a_full_device_queue_is_told_and_passes() {
    let Some(network) = Network::new(2) else { return };
    let server = server(network.node(0), "239.192.7.9");
    let client = client(network.node(1), "239.192.7.9");
    network.node(0).limit_sent(2_000, 8_000);
    // One datagram at a time: of a batch, a queue may take a part and say all is well.
    let mut batch = SendBatch::new(1056, 1);
    let (mut full, mut sent) = (0, 0);
    for _ in 0..40 {
        while batch.push().is_some() {}
        let outcome = server.send(&mut batch, server.group_addr()).unwrap();
        sent += outcome.datagrams;
        full += u64::from(outcome.stopped == Some(Stop::DeviceFull));
        assert_eq!(outcome.stopped.is_some(), !batch.is_empty());
        batch.clear();
    }
    assert!(full > 0 && sent > 0, "{full} {sent}");
    assert_eq!(server.counters().device_full, full);
    assert_eq!(receive_numbers(&client).len(), sent, "what was told to be out arrives");
}

#[test]
fn a_slow_port_loses_what_does_not_fit() {
    let Some(network) = Network::new(3) else { return };
    let server = server(network.node(0), "239.192.7.10");
    let clients = [1, 2].map(|number| client(network.node(number), "239.192.7.10"));
    network.limit_received(2, 20);
    send_numbered(&server, 2000);
    let [fast, slow] = clients.each_ref().map(|client| receive_numbers(client).len());
    assert_eq!(fast, 2000);
    assert!((10..1000).contains(&slow), "{slow}");
}

/// Sends until it arrives: a switch takes up to a second to see that a cable is there.
fn send_until_heard(server: &GroupSocket, text: &[u8], client: &GroupSocket) {
    let mut batch = ReceiveBatch::new();
    for _ in 0..100 {
        send_text(server, text, server.group_addr());
        if client.receive(&mut batch, QUIET).unwrap() != Received::TimedOut {
            assert!(batch.datagrams().all(|datagram| datagram.bytes == text), "{batch:?}");
            // What was sent before this one must not be taken for an answer later.
            while client.receive(&mut batch, QUIET).unwrap() != Received::TimedOut {}
            return;
        }
    }
    panic!("nothing arrives any more");
}

#[test]
fn sockets_survive_an_interface_that_goes_down_and_a_pulled_cable() {
    let Some(network) = Network::new(2) else { return };
    let (server_at, client_at) = (network.node(0), network.node(1));
    let server = server(server_at, "239.192.7.11");
    let client = client(client_at, "239.192.7.11");
    server_at.ip("link set eth0 down\n");
    let stopped = send_text(&server, b"lost", server.group_addr());
    assert!(matches!(stopped, Some(Stop::Refused { .. })), "{stopped:?}");
    server_at.ip("link set eth0 up\n");
    send_until_heard(&server, b"back", &client);
    client_at.ip("link set eth0 down\nlink set eth0 up\n");
    network.set_cable(1, false);
    send_text(&server, b"lost", server.group_addr());
    assert!(receive_numbers(&client).is_empty());
    network.set_cable(1, true);
    send_until_heard(&server, b"again", &client);
}
