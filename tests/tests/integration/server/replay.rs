//! What deployed clients said to their server, said again to ours over a real socket.

use super::{Running, lo, on_loopback, random_file, settings};
use mcast::{ReceiveBatch, Received};
use proto::geometry::Geometry;
use proto::wire::{self, Message};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tests::pcap::udp_datagrams;
use tests::raw_client;

/// The server in the captures.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

#[test]
fn captured_clients_get_their_blocks_and_replies() {
    for name in ["join1-load", "two-clients-3pct-loss", "join2-file", "progress-v5"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/wire/{name}.pcap"));
        let datagrams = udp_datagrams(&std::fs::read(path).unwrap()).unwrap();
        let geometry =
            datagrams.iter().find_map(|d| match wire::decode(&d.bytes).unwrap().message {
                Message::JoinReply { blocks } => Geometry::deployed(u64::from(blocks) * 1024).ok(),
                Message::Join2Reply(body) => body.geometry().ok(),
                _ => None,
            });
        let geometry = geometry.unwrap();
        let (file, bytes) = random_file(4, usize::try_from(geometry.bytes()).unwrap());
        let network = on_loopback();
        let server = Running::start(file.path(), &network, &settings());
        let socket = raw_client::open(network.group, server.port(), &lo()).unwrap();

        let mut wanted = BTreeSet::new();
        let mut replies = BTreeSet::new();
        for d in &datagrams {
            // Everybody is 127.0.0.1 here, also in the header.
            let mut patched = d.bytes.clone();
            patched[12..16].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
            match wire::decode(&d.bytes).unwrap().message {
                Message::Block { chunk, block, .. } => drop(wanted.insert((chunk, block))),
                Message::JoinReply { .. } | Message::Join2Reply(_) => drop(replies.insert(patched)),
                _ if *d.from.ip() == SERVER => {}
                _ => raw_client::send(&socket, &patched, socket.group_addr()).unwrap(),
            }
        }
        let mut batch = ReceiveBatch::new();
        while !(wanted.is_empty() && replies.is_empty()) {
            let received = socket.receive(&mut batch, PATIENCE).unwrap();
            assert_ne!(received, Received::TimedOut, "{name}: {} blocks missing", wanted.len());
            for datagram in batch.datagrams() {
                replies.remove(datagram.bytes);
                let message = wire::decode(datagram.bytes).unwrap().message;
                if let Message::Block { chunk, block, payload } = message {
                    wanted.remove(&(chunk, block));
                    let offset = usize::try_from(geometry.offset(chunk, block)).unwrap();
                    let len = payload.len().min(bytes.len() - offset);
                    assert!(
                        payload[..len] == bytes[offset..offset + len],
                        "{name} {chunk} {block}"
                    );
                    assert!(payload[len..].iter().all(|byte| *byte == 0), "padding is zero");
                }
            }
        }
        let summary = server.stop();
        assert_eq!((summary.totals.datagrams_bad, summary.loading), (0, 0), "{name}: all left");
    }
}
