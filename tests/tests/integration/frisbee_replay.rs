//! The captures of deployed programs, replayed against our wire format and sessions.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use proto::client::{self, Event, JoinKind, Received};
use proto::geometry::Geometry;
use proto::server::{self, RateConfig, Transmit};
use proto::time::{Duration, Instant};
use proto::wire::{self, CONTROL_LEN_MAX, Message};
use tests::pcap::{Datagram, udp_datagrams};

const CAPTURES: [&str; 5] =
    ["join1-load", "two-clients-3pct-loss", "join2-file", "progress-v5", "master-get-put"];

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

fn capture(name: &str) -> Vec<Datagram> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/wire");
    let bytes = std::fs::read(folder.join(format!("{name}.pcap"))).unwrap();
    let datagrams = udp_datagrams(&bytes).unwrap();
    assert!(datagrams.len() > 500, "{name}: {} datagrams", datagrams.len());
    datagrams
}

/// The group and port that a capture's programs talk on.
fn group(datagrams: &[Datagram]) -> (IpAddr, u16) {
    let to = datagrams.iter().map(|d| d.to).find(|to| to.ip().is_multicast()).unwrap();
    (IpAddr::V4(*to.ip()), to.port())
}

fn at(datagram: &Datagram) -> Instant {
    Instant::ZERO + Duration::from_secs(1) + Duration::from_micros(datagram.micros)
}

/// The file that a capture's server serves.
fn geometry(datagrams: &[Datagram]) -> Geometry {
    let found = datagrams.iter().find_map(|d| match wire::decode(&d.bytes).unwrap().message {
        Message::JoinReply { blocks } => Some(Geometry::deployed(u64::from(blocks) * 1024)),
        Message::Join2Reply(body) => Some(body.geometry()),
        _ => None,
    });
    found.unwrap().unwrap()
}

fn blocks_of(datagrams: &[Datagram]) -> Vec<(u32, u32)> {
    let block = |d: &Datagram| match wire::decode(&d.bytes).unwrap().message {
        Message::Block { chunk, block, .. } => Some((chunk, block)),
        _ => None,
    };
    datagrams.iter().filter_map(block).collect()
}

#[test]
fn every_datagram_decodes_and_encodes_to_the_same_bytes() {
    for name in CAPTURES {
        let datagrams = capture(name);
        let (group, port) = group(&datagrams);
        let geometry = geometry(&datagrams);
        for d in &datagrams {
            let decoded = wire::decode(&d.bytes).unwrap();
            decoded.message.check(&geometry).unwrap();
            assert!(wire::source_is_valid(decoded.srcip, SocketAddr::V4(d.from), group, port));
            let mut buffer = [0; 2048];
            let len = wire::encode(&decoded, &mut buffer).unwrap();
            assert_eq!(&buffer[..len], d.bytes, "{name} at {} us", d.micros);
            if let Message::Block { chunk, block, payload } = decoded.message {
                let srcip = decoded.srcip;
                let header = wire::encode_block_header(srcip, chunk, block, 1024).unwrap();
                assert_eq!([&header, payload].concat(), d.bytes);
            }
        }
    }
}

fn asked_for(datagram: &Datagram) -> u32 {
    match wire::decode(&datagram.bytes).unwrap().message {
        Message::Request { count, .. } => count,
        Message::PartialRequest { wanted, .. } => wanted.count(),
        _ => 0,
    }
}

/// What our server sends when it hears the captured clients: control datagrams and blocks.
fn replay_to_server(datagrams: &[Datagram]) -> (Vec<Vec<u8>>, Vec<(u32, u32)>) {
    let (group, port) = group(datagrams);
    let mut config = server::Config::new(geometry(datagrams), group, port, IpAddr::V4(SERVER));
    config.rate = RateConfig::Fixed(400_000_000);
    config.progress_secs = None;
    let mut session = server::Session::new(config);
    let (mut control, mut blocks) = (Vec::new(), Vec::new());
    let mut run = |session: &mut server::Session, from: Instant, until: Instant| {
        let mut now = from;
        loop {
            session.handle_timeout(now);
            let mut buffer = [0; CONTROL_LEN_MAX];
            while let Some(transmit) = session.poll_transmit(now, &mut buffer) {
                match transmit {
                    Transmit::Control { len } => control.push(buffer[..len].to_vec()),
                    Transmit::Blocks { chunk, first, count } => {
                        blocks.extend((first..first + count).map(|block| (chunk, block)));
                    }
                }
            }
            match session.poll_timeout() {
                Some(next) if next < until => now = now.max(next),
                _ => break,
            }
        }
    };
    let mut now = Instant::ZERO;
    for d in datagrams.iter().filter(|d| *d.from.ip() != SERVER) {
        run(&mut session, now, at(d));
        now = at(d);
        session.handle_datagram(now, SocketAddr::V4(d.from), &d.bytes);
    }
    run(&mut session, now, now + Duration::from_secs(10));
    let counters = session.counters();
    assert_eq!((counters.undecodable, counters.bad_source, counters.out_of_geometry), (0, 0, 0));
    assert_eq!(session.clients_present(), 0, "everybody left");
    (control, blocks)
}

#[test]
fn our_server_gives_the_captured_clients_the_same_blocks() {
    for name in CAPTURES {
        let datagrams = capture(name);
        let (control, blocks) = replay_to_server(&datagrams);
        let theirs = blocks_of(&datagrams);
        let set = |list: &[(u32, u32)]| list.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(set(&blocks), set(&theirs), "{name}");
        // A captured client may have repeated a request only because its server was slow; nothing
        // goes out that was not asked for.
        let asked: u32 = datagrams.iter().map(asked_for).sum();
        let (ours, asked) = (blocks.len(), usize::try_from(asked).unwrap());
        assert!(ours <= asked, "{name}: {ours} blocks, {asked} asked for");
        let is_reply = |bytes: &[u8]| {
            let message = wire::decode(bytes).unwrap().message;
            matches!(message, Message::JoinReply { .. } | Message::Join2Reply(_))
        };
        let replies: Vec<Vec<u8>> =
            datagrams.iter().map(|d| d.bytes.clone()).filter(|b| is_reply(b)).collect();
        assert_eq!(control, replies, "{name}: join replies, byte for byte");
    }
}

#[test]
fn our_client_completes_the_image_from_the_captured_blocks() {
    for name in CAPTURES {
        let datagrams = capture(name);
        let (group, port) = group(&datagrams);
        let geometry = geometry(&datagrams);
        let local = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 33));
        let mut config = client::Config::new(group, port, local, 77, 1);
        config.join = JoinKind::Image;
        let mut session = client::Session::new(config);
        let mut image = vec![0xee; usize::try_from(geometry.blocks() * 1024).unwrap()];
        let mut finished = false;
        for d in datagrams.iter().filter(|d| *d.from.ip() == SERVER) {
            let now = at(d);
            session.handle_timeout(now);
            match session.handle_datagram(now, SocketAddr::V4(d.from), &d.bytes) {
                Received::Block { chunk, block, payload, .. } => {
                    let offset = usize::try_from(geometry.offset(chunk, block)).unwrap();
                    image[offset..offset + 1024].copy_from_slice(payload);
                }
                Received::Nothing => {}
            }
            while let Some(event) = session.poll_event() {
                match event {
                    Event::ChunkComplete { chunk, .. } => session.chunk_done(now, chunk),
                    Event::Finished => finished = true,
                    Event::Joined { geometry: joined, .. } => assert_eq!(joined, geometry),
                    other => panic!("{name}: {other:?}"),
                }
            }
            let mut buffer = [0; CONTROL_LEN_MAX];
            while session.poll_transmit(now, &mut buffer).is_some() {}
        }
        assert!(finished, "{name}: {} of {} chunks", session.chunks_done(), geometry.chunks());
        for d in &datagrams {
            if let Message::Block { chunk, block, payload } =
                wire::decode(&d.bytes).unwrap().message
            {
                let offset = usize::try_from(geometry.offset(chunk, block)).unwrap();
                assert_eq!(&image[offset..offset + 1024], payload);
            }
        }
    }
}
