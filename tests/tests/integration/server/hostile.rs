//! Datagrams that no client sends, and files that cannot be read.

use super::{Running, lo, on_loopback, random_file, settings};
use mcast::GroupSocket;
use proto::block_set::BlockSet;
use proto::client::JoinKind;
use proto::wire::{self, CONTROL_LEN_MAX, Datagram, Message};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use tests::raw_client;
use tests::rng::Rng;

fn send(socket: &GroupSocket, srcip: [u8; 4], message: Message<'_>) {
    let mut buffer = [0; CONTROL_LEN_MAX];
    let len = wire::encode(&Datagram { srcip, message }, &mut buffer).unwrap();
    raw_client::send(socket, &buffer[..len], socket.group_addr()).unwrap();
}

#[test]
fn garbage_and_forgeries_are_counted_and_change_nothing() {
    let (file, bytes) = random_file(5, 2 << 20);
    let network = on_loopback();
    let server = Running::start(file.path(), &network, &settings());
    let socket = raw_client::open(network.group, server.port(), &lo()).unwrap();
    let seed = 6;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let here = Ipv4Addr::LOCALHOST.octets();
    for _ in 0..1000 {
        let len = 1 + usize::try_from(rng.below(1100)).unwrap();
        let garbage = rng.bytes(len);
        raw_client::send(&socket, &garbage, socket.group_addr()).unwrap();
    }
    let all = BlockSet::first(1024);
    for chunk in [2, 77, 0x7fff_ffff] {
        send(&socket, here, Message::Request { chunk, first: 0, count: 1024 });
        send(&socket, here, Message::PartialRequest { chunk, retries: 0, wanted: all });
    }
    // Not from whom it says, and not from the group's port.
    send(&socket, [10, 0, 0, 1], Message::JoinRequest { client_id: 9 });
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut buffer = [0; CONTROL_LEN_MAX];
    let join = Datagram { srcip: here, message: Message::JoinRequest { client_id: 8 } };
    let len = wire::encode(&join, &mut buffer).unwrap();
    let server_address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    for _ in 0..10 {
        stranger.send_to(&buffer[..len], server_address).unwrap();
    }
    let loaded = raw_client::load(&socket, JoinKind::Image, 7, &mut |_| true).unwrap().unwrap();
    assert!(loaded.bytes == bytes);
    let summary = server.stop();
    assert!(summary.totals.datagrams_bad >= 1007, "{summary:?}");
    assert_eq!(summary.clients.iter().map(|client| client.id).collect::<Vec<_>>(), [7]);
}

#[test]
fn a_file_that_was_cut_off_serves_what_is_left() {
    let (file, bytes) = random_file(7, 3 << 20);
    let network = on_loopback();
    let server = Running::start(file.path(), &network, &settings());
    file.as_file().set_len(2 << 20).unwrap();
    let socket = raw_client::open(network.group, server.port(), &lo()).unwrap();
    let here = Ipv4Addr::LOCALHOST.octets();
    send(&socket, here, Message::Request { chunk: 2, first: 0, count: 1024 });
    // Two chunks come; then it is there again, and the third one does.
    let mut on_chunk = |complete| {
        if complete == 2 {
            std::fs::write(file.path(), &bytes).unwrap();
        }
        true
    };
    let loaded = raw_client::load(&socket, JoinKind::Image, 7, &mut on_chunk).unwrap().unwrap();
    assert!(loaded.bytes == bytes);
    assert!(server.stop().read_errors > 0);
}
