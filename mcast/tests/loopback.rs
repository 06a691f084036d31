//! Group sockets over the loopback interface: no privilege, no other machine.
//!
//! Every test has an address of 127.0.0.0/8 and a group of its own, made from the process id, so
//! that tests run side by side on one port.

use mcast::{
    Datagram, GroupAddress, GroupSocket, Interface, OpenError, Options, ReceiveBatch, Received,
    SendBatch, Stop,
};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

const PORT: u16 = 64494;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));
/// Long enough for a datagram on loopback, which is there before the send returns.
const QUIET: Option<Duration> = Some(Duration::from_millis(20));

fn pid_bytes() -> (u8, u8) {
    let [high, low, ..] = (std::process::id() % 0xff00 + 0x100).to_be_bytes()[2..] else {
        unreachable!()
    };
    (high, low)
}

/// The loopback interface with an address of this test's own.
fn interface(test: u8) -> Interface {
    let (high, low) = pid_bytes();
    Interface::by_address(IpAddr::V4(Ipv4Addr::new(127, high, low, test))).unwrap()
}

fn group(test: u8) -> GroupAddress {
    let (high, low) = pid_bytes();
    GroupAddress::new(IpAddr::V4(Ipv4Addr::new(239, high, low, test)), PORT).unwrap()
}

fn server(test: u8) -> GroupSocket {
    GroupSocket::open_server(group(test), &interface(test), &Options::default()).unwrap()
}

fn client(test: u8) -> GroupSocket {
    GroupSocket::open_client(group(test), &interface(test), &Options::default()).unwrap()
}

/// A batch of `count` datagrams, each filled with its number.
fn numbered(len: usize, count: usize) -> SendBatch {
    let mut batch = SendBatch::new(len, count);
    for number in 0..count {
        batch.push().unwrap().fill(u8::try_from(number % 251).unwrap());
    }
    batch
}

fn send(socket: &GroupSocket, bytes: &[u8], to: SocketAddr) {
    let mut batch = SendBatch::new(bytes.len(), 1);
    batch.push().unwrap().copy_from_slice(bytes);
    let sent = socket.send(&mut batch, to).unwrap();
    assert_eq!((sent.datagrams, sent.stopped), (1, None));
}

/// Receives `count` datagrams and hands each to `look` with its number.
fn receive_all(socket: &GroupSocket, count: usize, mut look: impl FnMut(usize, Datagram<'_>)) {
    let mut batch = ReceiveBatch::new();
    let mut number = 0;
    while number < count {
        let received = socket.receive(&mut batch, PATIENCE).unwrap();
        assert!(matches!(received, Received::Datagrams(_)), "{number} of {count}: {received:?}");
        for datagram in batch.datagrams() {
            look(number, datagram);
            number += 1;
        }
    }
    assert_eq!(number, count);
}

fn assert_quiet(socket: &GroupSocket) {
    let mut batch = ReceiveBatch::new();
    assert_eq!(socket.receive(&mut batch, QUIET).unwrap(), Received::TimedOut, "{batch:?}");
}

#[test]
fn every_client_on_the_port_receives_everything_and_nothing_of_other_groups() {
    let server = server(1);
    let clients: Vec<GroupSocket> = (0..4).map(|_| client(1)).collect();
    let other = client(2);
    send(&server, b"to all", server.group_addr());
    for client in &clients {
        receive_all(client, 1, |_, datagram| {
            assert_eq!(datagram.bytes, b"to all");
            assert_eq!(datagram.source, server.local_addr());
            assert_eq!(datagram.destination, Some(group(1).ip()));
        });
        assert_quiet(client);
    }
    assert_quiet(&other);
}

#[test]
fn a_client_speaks_to_the_group_and_to_the_server_alone_from_its_own_address_and_port() {
    let server = server(3);
    let alice = GroupSocket::open_client(group(3), &interface(4), &Options::default()).unwrap();
    let bob = GroupSocket::open_client(group(3), &interface(5), &Options::default()).unwrap();
    send(&alice, b"request", alice.group_addr());
    send(&bob, b"report", server.local_addr());
    assert_eq!(alice.local_addr().port(), PORT);
    let mut heard = Vec::new();
    receive_all(&server, 2, |_, datagram| {
        heard.push((datagram.bytes.to_vec(), datagram.source, datagram.destination))
    });
    heard.sort();
    assert_eq!(
        heard,
        [
            (b"report".to_vec(), bob.local_addr(), Some(server.local_addr().ip())),
            (b"request".to_vec(), alice.local_addr(), Some(group(3).ip())),
        ]
    );
    receive_all(&bob, 1, |_, datagram| assert_eq!(datagram.bytes, b"request"));
    assert_quiet(&bob);
}

#[test]
fn a_second_server_on_the_address_and_port_is_refused_with_advice() {
    let _client_first = client(6);
    let _first = server(6);
    match GroupSocket::open_server(group(6), &interface(6), &Options::default()) {
        Err(error @ OpenError::InUse { .. }) => {
            assert!(error.to_string().contains("another port"), "{error}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn batches_of_every_size_arrive_intact_and_in_order() {
    for segmentation in [true, false] {
        let options = Options { segmentation, ..Options::default() };
        let server = GroupSocket::open_server(group(7), &interface(7), &options).unwrap();
        let client = client(7);
        for count in 1..=64 {
            let before = server.counters();
            let mut batch = numbered(1472, count);
            let sent = server.send(&mut batch, server.group_addr()).unwrap();
            assert_eq!((sent.datagrams, sent.stopped, batch.is_empty()), (count, None, true));
            let calls = server.counters().send_calls - before.send_calls;
            // 44 datagrams of 1472 bytes fill an IP packet.
            let wanted = if segmentation { count.div_ceil(44) } else { count };
            assert_eq!(calls, u64::try_from(wanted).unwrap());
            receive_all(&client, count, |number, datagram| {
                assert_eq!(datagram.bytes, [u8::try_from(number).unwrap(); 1472]);
            });
        }
        assert_eq!(client.counters().datagrams_received, 64 * 65 / 2);
        assert_eq!(client.kernel_drops().unwrap(), 0);
    }
}

#[test]
fn segments_are_joined_on_receipt() {
    let (server, client) = (server(8), client(8));
    server.send(&mut numbered(1048, 60), server.group_addr()).unwrap();
    receive_all(&client, 60, |_, _| {});
    assert_eq!(client.counters().receive_calls, 1, "one call brings all");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_length_and_count_arrives_intact(len in 1usize..9000, count in 1usize..150) {
        let (server, client) = (server(9), client(9));
        let mut batch = numbered(len, count);
        server.send(&mut batch, server.group_addr()).unwrap();
        receive_all(&client, count, |number, datagram| {
            assert_eq!(datagram.bytes.len(), len);
            assert!(datagram.bytes.iter().all(|byte| usize::from(*byte) == number % 251));
        });
    }
}

#[test]
fn overflowing_the_receive_buffer_is_counted_exactly() {
    let options = Options { receive_buffer_bytes: 8 << 10, ..Options::default() };
    let server = server(10);
    let client = GroupSocket::open_client(group(10), &interface(10), &options).unwrap();
    assert_eq!(client.kernel_drops().unwrap(), 0);
    for _ in 0..200 {
        send(&server, &[7; 1000], server.group_addr());
    }
    let drops = client.kernel_drops().unwrap();
    let mut batch = ReceiveBatch::new();
    while client.receive(&mut batch, Some(Duration::ZERO)).unwrap() != Received::TimedOut {}
    assert!(drops > 0);
    assert_eq!(client.counters().datagrams_received + drops, 200);
}

#[test]
fn unicast_goes_both_ways_between_two_addresses() {
    let (server_at, client_at) = (interface(11), interface(12));
    let (high, low) = pid_bytes();
    let at =
        |test| GroupAddress::new(IpAddr::V4(Ipv4Addr::new(127, high, low, test)), PORT).unwrap();
    let server = GroupSocket::open_server(at(12), &server_at, &Options::default()).unwrap();
    let client = GroupSocket::open_client(at(11), &client_at, &Options::default()).unwrap();
    send(&client, b"join", client.group_addr());
    receive_all(&server, 1, |_, datagram| {
        assert_eq!((datagram.bytes, datagram.source), (&b"join"[..], client.local_addr()));
    });
    server.send(&mut numbered(1448, 30), server.group_addr()).unwrap();
    receive_all(&client, 30, |_, datagram| assert_eq!(datagram.source, server.local_addr()));
}

#[test]
fn broadcast_reaches_every_client() {
    // A port of its own: there is but one broadcast address.
    let (high, low) = pid_bytes();
    let port = 20000 + u16::from_be_bytes([high, low]) % 10000;
    let group = GroupAddress::new(IpAddr::V4(Ipv4Addr::new(127, 255, 255, 255)), port).unwrap();
    let open =
        |test| GroupSocket::open_client(group, &interface(test), &Options::default()).unwrap();
    let server = GroupSocket::open_server(group, &interface(13), &Options::default()).unwrap();
    let clients = [open(14), open(15)];
    assert_eq!(server.kind(), mcast::GroupKind::Broadcast);
    server.send(&mut numbered(1048, 5), server.group_addr()).unwrap();
    for client in &clients {
        receive_all(client, 5, |_, datagram| assert_eq!(datagram.source, server.local_addr()));
    }
    send(&clients[0], b"request", clients[0].group_addr());
    // The server hears its own five as well: a broadcast has no loop switch.
    let mut requests = Vec::new();
    receive_all(&server, 6, |_, datagram| {
        if datagram.source != server.local_addr() {
            requests.push((datagram.bytes.to_vec(), datagram.source));
        }
    });
    assert_eq!(requests, [(b"request".to_vec(), clients[0].local_addr())]);
}

#[test]
fn ipv6_multicast_works_where_loopback_has_a_route_for_it() {
    let (high, low) = pid_bytes();
    let lo = Interface::by_name("lo").unwrap();
    for scope in ["ff12", "ff15"] {
        let group: GroupAddress = format!("[{scope}::{high:x}:{low:x}]:{PORT}").parse().unwrap();
        let server = match GroupSocket::open_server(group, &lo, &Options::default()) {
            Ok(server) => server,
            Err(error) => {
                println!("SKIPPED: IPv6 multicast on loopback: {error}");
                return;
            }
        };
        let clients =
            [(); 2].map(|()| GroupSocket::open_client(group, &lo, &Options::default()).unwrap());
        let sent = server.send(&mut numbered(1048, 40), server.group_addr()).unwrap();
        if let Some(Stop::Refused { errno }) = sent.stopped {
            println!("SKIPPED: IPv6 multicast on loopback has no route: errno {errno:?}");
            return;
        }
        for client in &clients {
            receive_all(client, 40, |number, datagram| {
                assert_eq!(datagram.bytes, [u8::try_from(number).unwrap(); 1048]);
                assert_eq!(datagram.source.ip(), server.local_addr().ip());
                assert_eq!(datagram.destination, Some(group.ip()));
            });
        }
        send(&clients[0], b"report", server.local_addr());
        let mut reports = 0;
        receive_all(&server, 41, |_, datagram| reports += usize::from(datagram.bytes == b"report"));
        assert_eq!(reports, 1);
    }
}

#[test]
fn a_waker_interrupts_a_wait_and_a_flood() {
    let (server, client) = (server(16), client(16));
    let waker = client.waker();
    let waiting = thread::spawn(move || {
        let received = client.receive(&mut ReceiveBatch::new(), None).unwrap();
        (received, client)
    });
    waker.wake();
    let (received, client) = waiting.join().unwrap();
    assert_eq!(received, Received::Woken);
    // One more may be seen of the same call; after that it is over.
    let mut batch = ReceiveBatch::new();
    let again = client.receive(&mut batch, QUIET).unwrap();
    assert!(matches!(again, Received::Woken | Received::TimedOut));
    assert_quiet(&client);
    send(&server, b"data", server.group_addr());
    waker.wake();
    assert_eq!(
        client.receive(&mut batch, PATIENCE).unwrap(),
        Received::Woken,
        "although there are data"
    );
    receive_all(&client, 1, |_, datagram| assert_eq!(datagram.bytes, b"data"));
}

#[test]
fn time_outs_are_exact_below_a_millisecond() {
    let client = client(17);
    let mut batch = ReceiveBatch::new();
    let start = std::time::Instant::now();
    assert_eq!(
        client.receive(&mut batch, Some(Duration::from_micros(300))).unwrap(),
        Received::TimedOut
    );
    assert!(start.elapsed() >= Duration::from_micros(300));
    assert_eq!(client.receive(&mut batch, Some(Duration::ZERO)).unwrap(), Received::TimedOut);
}

#[test]
fn rejoining_keeps_the_group() {
    let (server, client) = (server(18), client(18));
    for number in 0..3 {
        client.rejoin().unwrap();
        server.rejoin().unwrap();
        send(&server, &[number], server.group_addr());
        receive_all(&client, 1, |_, datagram| assert_eq!(datagram.bytes, [number]));
    }
}

#[test]
fn a_refused_batch_is_kept_and_goes_out_later() {
    let server = server(19);
    let client = client(19);
    let mut batch = numbered(1000, 10);
    let refused = SocketAddr::from((Ipv4Addr::new(240, 0, 0, 1), PORT));
    let sent = server.send(&mut batch, refused).unwrap();
    assert!(matches!((sent.datagrams, sent.stopped), (0, Some(Stop::Refused { .. }))), "{sent:?}");
    assert_eq!((batch.len(), server.counters().refused), (10, 1));
    assert!(server.wait_writable(Duration::from_secs(1)).unwrap());
    assert_eq!(server.send(&mut batch, server.group_addr()).unwrap().datagrams, 10);
    receive_all(&client, 10, |number, datagram| assert_eq!(usize::from(datagram.bytes[0]), number));
}

#[test]
fn warnings_say_what_is_not_good() {
    let (high, low) = pid_bytes();
    let flooded =
        GroupAddress::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, high ^ low)), PORT).unwrap();
    let options = Options { receive_buffer_bytes: usize::MAX, ..Options::default() };
    let socket = GroupSocket::open_client(flooded, &interface(20), &options).unwrap();
    let texts: Vec<String> = socket.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].contains("net.core.rmem_max") && texts[1].contains("224.0.0.0/24"),
        "{texts:?}"
    );
}
