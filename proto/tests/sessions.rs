//! Both sessions from outside: the promises a caller relies on.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use proto::block_set::BlockSet;
use proto::client::{self, Event, JoinKind, Received, Seen};
use proto::geometry::Geometry;
use proto::server::{self, FinishReason, IdleExit, RateConfig, Transmit};
use proto::time::{Duration, Instant};
use proto::wire::{
    self, ANNOUNCEMENT_LEN_MAX, Announcement, CONTROL_LEN_MAX, Datagram, Extensions, Join2,
    Message, Progress,
};

const PORT: u16 = 7000;

fn group() -> IpAddr {
    IpAddr::from([239, 1, 1, 1])
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], PORT))
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn bytes(from: u8, message: Message<'_>) -> Vec<u8> {
    let srcip = wire::source_ip_field(address(from).ip());
    let mut buffer = [0; 2048];
    let len = wire::encode(&Datagram { srcip, message }, &mut buffer).unwrap();
    buffer[..len].to_vec()
}

fn geometry() -> Geometry {
    Geometry::new(16, 8, 16 * 8 * 10).unwrap()
}

fn server(edit: impl FnOnce(&mut server::Config)) -> server::Session {
    let mut config = server::Config::new(geometry(), group(), PORT, address(1).ip());
    config.rate = RateConfig::Fixed(1_000_000_000);
    config.image_id = Some([5; 16]);
    config.progress_secs = None;
    edit(&mut config);
    server::Session::new(config)
}

fn join2(extensions: Extensions<'_>) -> Message<'_> {
    let (blocks_per_chunk, block_size) = (1024, 1024);
    let body =
        Join2 { client_id: 7, blocks: 0, blocks_per_chunk, block_size, bytes: 0, extensions };
    Message::Join2Request(body)
}

/// Everything the server sends up to a time: control messages' bytes, and blocks.
fn drain(s: &mut server::Session, until: Instant) -> (Vec<Vec<u8>>, Vec<(u32, u32)>) {
    let (mut control, mut blocks) = (Vec::new(), Vec::new());
    let mut now = until - Duration::from_millis(50);
    let mut buffer = [0; CONTROL_LEN_MAX];
    while now <= until {
        s.handle_timeout(now);
        while let Some(transmit) = s.poll_transmit(now, &mut buffer) {
            match transmit {
                Transmit::Control { len } => control.push(buffer[..len].to_vec()),
                Transmit::Blocks { chunk, first, count } => {
                    blocks.extend((first..first + count).map(|b| (chunk, b)));
                }
            }
        }
        now = now + Duration::from_millis(1);
    }
    (control, blocks)
}

#[test]
fn joins_are_answered_at_once_and_each_in_its_own_tongue() {
    let mut s = server(|_| {});
    s.handle_datagram(at(0), address(2), &bytes(2, join2(Extensions::default())));
    assert_eq!(s.poll_timeout(), Some(Instant::ZERO));
    let mut buffer = [0; CONTROL_LEN_MAX];
    let Some(Transmit::Control { len }) = s.poll_transmit(at(0), &mut buffer) else { panic!() };
    assert_eq!(len, 40, "an old client's answer has no extensions");
    let mut room = [0; ANNOUNCEMENT_LEN_MAX];
    let hello = Announcement { features: Some(0), ..Announcement::default() }.encode(&mut room);
    s.handle_datagram(at(1), address(3), &bytes(3, join2(hello)));
    let Some(Transmit::Control { len }) = s.poll_transmit(at(1), &mut buffer) else { panic!() };
    let Message::Join2Reply(reply) = wire::decode(&buffer[..len]).unwrap().message else {
        panic!()
    };
    assert_eq!(reply.geometry(), Ok(geometry()));
    assert_eq!(reply.extensions.announcement().image_id, Some([5; 16]));
    // JOIN cannot describe this file.
    s.handle_datagram(at(2), address(4), &bytes(4, Message::JoinRequest { client_id: 8 }));
    assert_eq!(s.poll_transmit(at(2), &mut buffer), None);
    assert_eq!(s.clients_present(), 3);
}

#[test]
fn requests_merge_and_those_that_crossed_the_blocks_are_not_served_twice() {
    let mut s = server(|_| {});
    let whole = Message::Request { chunk: 3, first: 0, count: 8 };
    for n in 2..6 {
        s.handle_datagram(at(100), address(n), &bytes(n, join2(Extensions::default())));
        s.handle_datagram(at(100), address(n), &bytes(n, whole));
    }
    let (_, blocks) = drain(&mut s, at(150));
    assert_eq!(blocks, (0..8).map(|b| (3, b)).collect::<Vec<_>>());
    assert_eq!(s.counters().blocks_merged, 24);
    s.handle_datagram(at(150), address(2), &bytes(2, whole));
    let first = drain(&mut s, at(200)).1;
    assert_eq!(first.len(), 8, "long after it is a new wish");
    // One that left when the blocks were under way.
    let mut s = server(|_| {});
    s.handle_datagram(at(100), address(2), &bytes(2, whole));
    let mut buffer = [0; CONTROL_LEN_MAX];
    while s.poll_transmit(at(100), &mut buffer).is_some() {}
    s.handle_datagram(at(101), address(3), &bytes(3, whole));
    assert_eq!((s.blocks_waiting(), s.counters().blocks_on_their_way), (0, 8));
}

#[test]
fn repairs_go_before_whole_chunks_and_strangers_last() {
    let mut s = server(|_| {});
    for n in [2, 3] {
        s.handle_datagram(at(0), address(n), &bytes(n, join2(Extensions::default())));
    }
    let whole = |chunk| Message::Request { chunk, first: 0, count: 8 };
    s.handle_datagram(at(100), address(66), &bytes(66, whole(0)));
    s.handle_datagram(at(100), address(2), &bytes(2, whole(5)));
    let wanted = BlockSet::run(2, 1);
    let repair = Message::PartialRequest { chunk: 7, retries: 1, wanted };
    s.handle_datagram(at(100), address(3), &bytes(3, repair));
    let chunks: Vec<u32> = drain(&mut s, at(160)).1.into_iter().map(|(c, _)| c).collect();
    assert_eq!(chunks, [vec![7], vec![5; 8], vec![0; 8]].concat());
    assert_eq!(s.counters().requests_over_share, 1);
}

#[test]
fn asking_again_for_what_waits_costs_a_client_little() {
    let mut s = server(|_| {});
    s.handle_datagram(at(0), address(2), &bytes(2, join2(Extensions::default())));
    for chunk in (0..10).cycle().take(60) {
        let request = Message::Request { chunk, first: 0, count: 8 };
        s.handle_datagram(at(1), address(2), &bytes(2, request));
    }
    assert_eq!((s.counters().requests_over_share, s.blocks_waiting()), (30, 80));
}

#[test]
fn whenever_a_server_asks_to_be_woken_it_has_something_to_do() {
    let mut s = server(|_| {});
    // A repair for somebody who never joined, and so has no share.
    let repair = Message::PartialRequest { chunk: 7, retries: 1, wanted: BlockSet::run(2, 1) };
    s.handle_datagram(at(100), address(66), &bytes(66, repair));
    let due = s.poll_timeout().unwrap().max(at(100));
    s.handle_timeout(due);
    let mut buffer = [0; CONTROL_LEN_MAX];
    let sent = s.poll_transmit(due, &mut buffer);
    assert_eq!(sent, Some(Transmit::Blocks { chunk: 7, first: 2, count: 1 }));
}

#[test]
fn what_is_not_valid_is_counted_and_ignored() {
    let mut s = server(|_| {});
    let request = |chunk, first, count| bytes(2, Message::Request { chunk, first, count });
    s.handle_datagram(at(0), address(3), &request(0, 0, 8));
    s.handle_datagram(at(0), SocketAddr::from(([10, 0, 0, 2], 7001)), &request(0, 0, 8));
    s.handle_datagram(at(0), address(2), &request(10, 0, 8));
    s.handle_datagram(at(0), address(2), &request(0, 1, 8));
    s.handle_datagram(at(0), address(2), &[0; 40]);
    s.handle_datagram(at(0), address(2), &[]);
    let c = s.counters();
    assert_eq!((c.bad_source, c.out_of_geometry, c.undecodable, c.unknown), (2, 2, 2, 1));
    assert_eq!(s.blocks_waiting(), 0);
}

#[test]
fn a_server_ends_when_idle_or_empty_or_never() {
    let finished = |s: &mut server::Session| {
        std::iter::from_fn(|| s.poll_event()).find_map(|e| match e {
            server::Event::Finished(reason) => Some(reason),
            _ => None,
        })
    };
    let mut s = server(|c| c.idle_exit = IdleExit::After(Duration::from_secs(60)));
    s.handle_timeout(at(0));
    s.handle_timeout(at(59_999));
    assert_eq!(finished(&mut s), None);
    assert_eq!(s.poll_timeout(), Some(at(60_000)));
    s.handle_timeout(at(60_000));
    assert_eq!(finished(&mut s), Some(FinishReason::Idle));
    let mut s = server(|c| c.idle_exit = IdleExit::Never);
    s.handle_timeout(at(1 << 40));
    assert_eq!((finished(&mut s), s.poll_timeout()), (None, None));
    let mut s = server(|c| c.idle_exit = IdleExit::WhenEmpty);
    s.handle_datagram(at(0), address(2), &bytes(2, join2(Extensions::default())));
    assert_eq!(finished(&mut s), None);
    let leave = Message::Leave { client_id: 7, elapsed: 1 };
    s.handle_datagram(at(9), address(2), &bytes(2, leave));
    assert_eq!(finished(&mut s), Some(FinishReason::Empty));
}

fn client(edit: impl FnOnce(&mut client::Config)) -> client::Session {
    let mut config = client::Config::new(group(), PORT, address(2).ip(), 7, 42);
    config.join = JoinKind::File;
    edit(&mut config);
    client::Session::new(config)
}

fn reply(id: [u8; 16], run: u64, g: Geometry, to: u32) -> Vec<u8> {
    let mut room = [0; ANNOUNCEMENT_LEN_MAX];
    let announcement =
        Announcement { features: Some(0), image_id: Some(id), server_run: Some(run) };
    let body = Join2 {
        client_id: to,
        blocks: 0,
        blocks_per_chunk: i32::try_from(g.blocks_per_chunk()).unwrap(),
        block_size: i32::try_from(g.block_size()).unwrap(),
        bytes: g.bytes(),
        extensions: announcement.encode(&mut room),
    };
    bytes(1, Message::Join2Reply(body))
}

fn block(from: u8, chunk: u32, block: u32) -> Vec<u8> {
    bytes(from, Message::Block { chunk, block, payload: &[9; 16] })
}

/// What the client sends at a time.
fn sent(s: &mut client::Session, now: Instant) -> Vec<Vec<u8>> {
    s.handle_timeout(now);
    let mut buffer = [0; CONTROL_LEN_MAX];
    std::iter::from_fn(|| s.poll_transmit(now, &mut buffer).map(|t| buffer[..t.len].to_vec()))
        .collect()
}

fn events(s: &mut client::Session) -> Vec<Event> {
    std::iter::from_fn(|| s.poll_event()).collect()
}

/// A client that has joined and asked for its first chunks.
fn joined(slots: u32) -> client::Session {
    let mut s = client(|c| c.slots = slots);
    assert_eq!(sent(&mut s, at(0)).len(), 1);
    s.handle_datagram(at(1), address(1), &reply([5; 16], 1, geometry(), 7));
    assert!(matches!(events(&mut s)[..], [Event::Joined { .. }]));
    s
}

fn requested(datagrams: &[Vec<u8>]) -> Vec<u32> {
    let chunk = |d: &Vec<u8>| match wire::decode(d).unwrap().message {
        Message::Request { chunk, .. } => Some(chunk),
        _ => None,
    };
    datagrams.iter().filter_map(chunk).collect()
}

#[test]
fn a_client_never_asks_for_more_than_it_has_room_for() {
    let mut s = joined(1);
    let asked = requested(&sent(&mut s, at(1)));
    assert_eq!(asked.len(), 1);
    for b in 0..8 {
        let datagram = block(1, asked[0], b);
        let received = s.handle_datagram(at(2), address(1), &datagram);
        assert!(matches!(received, Received::Block { slot: 0, payload: [9, ..], .. }));
    }
    assert!(matches!(events(&mut s)[..], [Event::ChunkComplete { slot: 0, .. }]));
    assert_eq!(requested(&sent(&mut s, at(3))), [], "its only buffer is full");
    let other = (asked[0] + 1) % 10;
    let datagram = block(1, other, 0);
    let received = s.handle_datagram(at(4), address(1), &datagram);
    assert_eq!((received, s.counters().blocks_without_slot), (Received::Nothing, 1));
    s.chunk_done(at(5), asked[0]);
    assert_eq!(requested(&sent(&mut s, at(5))).len(), 1);
}

#[test]
fn a_rejected_chunk_is_asked_for_again() {
    let mut s = joined(64);
    let mut written = std::collections::BTreeSet::new();
    let mut rejected = false;
    let mut now = 2;
    while written.len() < 10 {
        now += 200;
        for chunk in requested(&sent(&mut s, at(now))) {
            for b in 0..8 {
                let _ = s.handle_datagram(at(now), address(1), &block(1, chunk, b));
            }
        }
        for event in events(&mut s) {
            let Event::ChunkComplete { chunk, sender, .. } = event else { continue };
            assert_eq!(sender, address(1));
            if chunk == 4 && !rejected {
                rejected = true;
                s.chunk_rejected(at(now), chunk);
            } else {
                assert!(written.insert(chunk), "written twice");
                s.chunk_done(at(now), chunk);
            }
        }
        assert!(now < 60_000, "{written:?}");
    }
    assert!(rejected);
    s.leave(at(now));
    let mut leaves = 0;
    for i in 0..20 {
        leaves += sent(&mut s, at(now + 10 * i)).len();
    }
    assert_eq!(leaves, 3, "a new server is told three times");
    assert!(events(&mut s).contains(&Event::Left));
}

#[test]
fn blocks_from_anybody_but_the_server_are_not_taken() {
    let mut s = joined(64);
    assert_eq!(s.handle_datagram(at(2), address(9), &block(9, 0, 0)), Received::Nothing);
    assert_eq!(s.counters().foreign_blocks, 1);
}

#[test]
fn a_changed_image_is_believed_when_told_twice() {
    let mut s = joined(64);
    let other = reply([6; 16], 2, geometry(), 7);
    let now = 4_000;
    sent(&mut s, at(now));
    s.handle_datagram(at(now + 1), address(1), &other);
    assert_eq!(events(&mut s), []);
    s.handle_datagram(at(now + 200), address(1), &other);
    assert!(matches!(events(&mut s)[..], [Event::ImageChanged { now: None, .. }]));
}

#[test]
fn a_restarted_server_is_asked_again_at_once() {
    let mut s = joined(64);
    let before = requested(&sent(&mut s, at(1)));
    sent(&mut s, at(4_000));
    s.handle_datagram(at(4_001), address(1), &reply([5; 16], 2, geometry(), 7));
    assert_eq!(events(&mut s), [Event::ServerRestarted]);
    assert_eq!(requested(&sent(&mut s, at(4_001))).len(), before.len());
}

#[test]
fn a_redirected_client_goes_on_with_what_it_has() {
    // 10.0.0.8 serves the same file to this client alone: the "group" is its own address.
    let mut s = joined(64);
    let asked = requested(&sent(&mut s, at(1)));
    let (whole, begun) = (asked[0], asked[1]);
    for b in 0..8 {
        let _ = s.handle_datagram(at(2), address(1), &block(1, whole, b));
    }
    let _ = s.handle_datagram(at(2), address(1), &block(1, begun, 0));
    s.chunk_done(at(3), whole);
    events(&mut s);
    s.redirect(at(10_000), address(8).ip(), PORT, address(2).ip());
    let first = sent(&mut s, at(10_000));
    let is_join = |d: &&Vec<u8>| matches!(wire::decode(d).unwrap().message, Message::Join2Request(b) if b.client_id == 7);
    assert_eq!(first.iter().filter(is_join).count(), 1, "it joins at once");
    // The old server counts no more, and the new one only when it has answered.
    for host in [1, 8] {
        let datagram = block(host, begun, 1);
        let received = s.handle_datagram(at(10_001), address(host), &datagram);
        assert_eq!(received, Received::Nothing, "{host}");
    }
    let reply_of = |host: u8, id| {
        let mut datagram = reply(id, 9, geometry(), 7);
        datagram[12..16].copy_from_slice(&[10, 0, 0, host]);
        datagram
    };
    s.handle_datagram(at(10_002), address(8), &reply_of(8, [5; 16]));
    assert_eq!(events(&mut s), [], "neither restarted nor another image");
    let mut now = 10_002;
    while s.chunks_done() < 10 {
        now += 50;
        for datagram in sent(&mut s, at(now)) {
            let message = wire::decode(&datagram).unwrap().message;
            let (chunk, wanted) = match message {
                Message::Request { chunk, first, count } => (chunk, BlockSet::run(first, count)),
                Message::PartialRequest { chunk, wanted, .. } => (chunk, wanted),
                _ => continue,
            };
            assert_ne!(chunk, whole, "it is there already");
            if chunk == begun {
                assert!(!wanted.contains(0), "it is there already");
            }
            for b in (0..8).filter(|b| wanted.contains(*b)) {
                let _ = s.handle_datagram(at(now), address(8), &block(8, chunk, b));
            }
        }
        for event in events(&mut s) {
            if let Event::ChunkComplete { chunk, .. } = event {
                s.chunk_done(at(now), chunk);
            }
        }
        assert!(now < 60_000, "{} of 10", s.chunks_done());
    }
    assert_eq!(s.counters().duplicate_blocks, 0);

    let mut s = joined(64);
    s.redirect(at(10_000), address(8).ip(), PORT, address(2).ip());
    for millis in [10_001, 10_200] {
        sent(&mut s, at(millis));
        s.handle_datagram(at(millis), address(8), &reply_of(8, [6; 16]));
    }
    assert!(matches!(events(&mut s)[..], [Event::ImageChanged { .. }]));
}

#[test]
fn giving_up_says_what_was_seen() {
    let give_up = |c: &mut client::Config| c.give_up_after = Some(Duration::from_secs(5));
    let mut s = client(give_up);
    sent(&mut s, at(0));
    sent(&mut s, at(5_000));
    assert_eq!(events(&mut s), [Event::GaveUp(Seen::Nothing)]);
    let mut s = client(give_up);
    sent(&mut s, at(0));
    s.handle_datagram(at(1), address(9), &block(9, 0, 0));
    sent(&mut s, at(5_000));
    assert_eq!(events(&mut s), [Event::GaveUp(Seen::NoReply)]);
    let mut s = client(give_up);
    sent(&mut s, at(0));
    s.handle_datagram(at(1), address(1), &reply([5; 16], 1, geometry(), 7));
    sent(&mut s, at(5_001));
    assert_eq!(events(&mut s)[1..], [Event::GaveUp(Seen::NoData)]);
}

#[test]
fn reports_go_to_the_server_that_asks() {
    let mut s = joined(64);
    let head = Progress { client_id: 0, who: [0; 4], when: 2, what: 1, seq: 1 };
    s.handle_datagram(at(2), address(1), &bytes(1, Message::ProgressRequest(head)));
    s.handle_timeout(at(2_002));
    let mut buffer = [0; CONTROL_LEN_MAX];
    let mut reports = 0;
    while let Some(transmit) = s.poll_transmit(at(2_002), &mut buffer) {
        if let Message::ProgressReport(report) =
            wire::decode(&buffer[..transmit.len]).unwrap().message
        {
            assert_eq!(transmit.to, client::Destination::Address(address(1)));
            assert_eq!((report.head.client_id, report.head.who), (7, [10, 0, 0, 2]));
            assert_eq!(report.statistics.unwrap().version, 1);
            reports += 1;
        }
    }
    assert_eq!(reports, 1);
}

#[derive(Clone, Debug)]
enum Op {
    Bytes(Vec<u8>),
    Block(u32, u32),
    Request(u8, u32, u32, u32),
    Wait(u64),
    Done(u32),
    Reject(u32),
    Leave,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Op::Bytes),
        (0u32..12, 0u32..10).prop_map(|(c, b)| Op::Block(c, b)),
        (1u8..5, 0u32..12, 0u32..9, 0u32..9).prop_map(|(n, c, f, k)| Op::Request(n, c, f, k)),
        (0u64..3000).prop_map(Op::Wait),
        (0u32..12).prop_map(Op::Done),
        (0u32..12).prop_map(Op::Reject),
        Just(Op::Leave),
    ];
    prop::collection::vec(op, 0..120)
}

proptest! {
    /// No sequence of operations panics, and what is sent is always a message.
    #[test]
    fn any_sequence_of_operations(ops in ops(), slots in 0u32..4) {
        let mut s = client(|c| c.slots = slots);
        let mut t = server(|c| c.rate = RateConfig::Automatic { link: None });
        let mut millis = 0;
        for op in ops {
            let now = at(millis);
            match op {
                Op::Bytes(b) => {
                    let _ = s.handle_datagram(now, address(1), &b);
                    t.handle_datagram(now, address(2), &b);
                }
                Op::Block(c, b) => {
                    let _ = s.handle_datagram(now, address(1), &block(1, c, b));
                }
                Op::Request(n, chunk, first, count) => {
                    let b = bytes(n, Message::Request { chunk, first, count });
                    let _ = s.handle_datagram(now, address(n), &b);
                    t.handle_datagram(now, address(n), &b);
                }
                Op::Wait(span) => millis += span,
                Op::Done(c) => s.chunk_done(now, c),
                Op::Reject(c) => s.chunk_rejected(now, c),
                Op::Leave => s.leave(now),
            }
            let now = at(millis);
            for datagram in sent(&mut s, now) {
                prop_assert!(wire::decode(&datagram).is_ok());
                t.handle_datagram(now, address(2), &datagram);
            }
            t.handle_timeout(now);
            let mut buffer = [0; CONTROL_LEN_MAX];
            while let Some(transmit) = t.poll_transmit(now, &mut buffer) {
                match transmit {
                    Transmit::Control { len } => {
                        let _ = s.handle_datagram(now, address(1), &buffer[..len]);
                    }
                    Transmit::Blocks { chunk, first, count } => {
                        prop_assert!(count > 0 && geometry().has_block(chunk, first + count - 1));
                    }
                }
            }
            while t.poll_event().is_some() {}
            while s.poll_event().is_some() {}
            prop_assert!(t.blocks_waiting() <= geometry().blocks());
        }
    }
}
