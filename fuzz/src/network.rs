//! Targets for what comes from the network: single datagrams, and sequences of operations on both
//! sessions.
//!
//! What it owns: how bytes become operations, and what must hold after each. The sessions have no
//! clock and no socket, so an input always does the same.

use mcast::igmp;
use proto::block_set::BlockSet;
use proto::client::{self, JoinKind, Received};
use proto::geometry::Geometry;
use proto::server::{self, RateConfig, Transmit};
use proto::time::{Duration, Instant};
use proto::wire::{
    self, ANNOUNCEMENT_LEN_MAX, Announcement, CONTROL_LEN_MAX, Datagram, Extensions, Join2, Message,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

const PORT: u16 = 7000;
const BLOCK_SIZE: u32 = 16;
const BLOCKS_PER_CHUNK: u32 = 8;
const CHUNKS: u32 = 10;
const SLOTS: u32 = 3;

/// More polls without an end than any burst of this geometry has: the session loops.
const POLLS_MAX: u32 = 10_000;

fn geometry() -> Geometry {
    let bytes = u64::from(BLOCK_SIZE * BLOCKS_PER_CHUNK * CHUNKS) - 5;
    Geometry::new(BLOCK_SIZE, BLOCKS_PER_CHUNK, bytes).expect("a constant")
}

fn group() -> IpAddr {
    IpAddr::from([239, 1, 1, 1])
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], PORT))
}

fn encoded(host: u8, message: Message<'_>) -> Vec<u8> {
    let srcip = wire::source_ip_field(address(host).ip());
    let mut buffer = [0; 2048];
    match wire::encode(&Datagram { srcip, message }, &mut buffer) {
        Ok(len) => buffer[..len].to_vec(),
        Err(_) => Vec::new(),
    }
}

/// One datagram: what decodes must encode to something that decodes to the same.
pub(crate) fn datagram(data: &[u8]) {
    let Ok(first) = wire::decode(data) else { return };
    let _ = first.message.check(&geometry());
    let mut buffer = vec![0; data.len() + CONTROL_LEN_MAX];
    let Ok(len) = wire::encode(&first, &mut buffer) else { return };
    let again = wire::decode(&buffer[..len]).expect("what we encode decodes");
    assert_eq!(first, again, "encoding changes the message");
}

/// One IGMP packet: what parses must encode to something that parses to the same; and a querier
/// must come to rest after it.
pub(crate) fn igmp(data: &[u8]) {
    let _ = igmp::Message::parse(data);
    // With the sums made right, or nothing behind them would ever be reached.
    let mut data = data.to_vec();
    let header_len = data.first().map_or(0, |byte| usize::from(byte & 0xf) * 4);
    for (range, sum_at) in [(0..header_len, 10), (header_len..data.len(), header_len + 2)] {
        seal_internet(&mut data, range, sum_at);
    }
    let Ok(packet) = igmp::Packet::parse(&data) else { return };
    let again = igmp::Packet::parse(&packet.encode()).expect("what we encode parses");
    if data.len() <= igmp::packet::PACKET_LEN_MAX - 4 {
        let version_2_and_3 = |message: &igmp::Message| match message {
            igmp::Message::Query(query) => query.version != igmp::Version::V1,
            _ => true,
        };
        if version_2_and_3(&packet.message) {
            assert_eq!(packet, again, "encoding changes the message");
        }
    }
    igmp::Heard::default().add(&packet);
    let now = std::time::Instant::now();
    let mut querier = igmp::Querier::new([10, 0, 0, 5].into(), igmp::Config::default(), now);
    querier.handle_packet(now, &packet);
    let polls = std::iter::from_fn(|| querier.poll_transmit(now)).take(100).count();
    assert!(polls < 100, "the querier does not come to an end");
    assert!(querier.poll_timeout() > now, "the querier does not rest");
}

/// Writes the internet checksum of a range to its place in it.
fn seal_internet(data: &mut [u8], range: std::ops::Range<usize>, at: usize) {
    let Some(place) = data.get_mut(at..at + 2) else { return };
    place.fill(0);
    let Some(part) = data.get(range) else { return };
    let words = part
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default()));
    let sum = words.fold(0u32, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    let sum = !u16::try_from(sum).unwrap_or(u16::MAX);
    data[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// IGMP packets of each kind.
pub(crate) fn igmp_packets() -> Vec<Vec<u8>> {
    let group = [239, 192, 70, 83].into();
    let seconds = std::time::Duration::from_secs;
    let query = |version| {
        let general = igmp::Query::general(version, seconds(10));
        igmp::Message::Query(igmp::Query { interval: seconds(125), robustness: 2, ..general })
    };
    let record = |kind, sources: &[[u8; 4]]| {
        let sources = sources.iter().copied().map(Into::into).collect();
        igmp::GroupRecord { kind, group, sources }
    };
    let (join, leave) = (igmp::RecordKind::ToExclude, igmp::RecordKind::ToInclude);
    let records = vec![record(join, &[]), record(leave, &[]), record(leave, &[[10, 0, 0, 1]])];
    let messages = [
        query(igmp::Version::V2),
        query(igmp::Version::V3),
        igmp::Message::ReportV1(group),
        igmp::Message::ReportV2(group),
        igmp::Message::Leave(group),
        igmp::Message::ReportV3(records),
    ];
    let (source, destination) = ([10, 0, 0, 1].into(), igmp::packet::ALL_SYSTEMS);
    let packet = |message| igmp::Packet { source, destination, message };
    messages.map(|message| packet(message).encode()).to_vec()
}

/// Bytes that are used up as numbers.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::from(self.byte()) % end
    }

    fn take(&mut self, len: u8) -> &'a [u8] {
        let (now, later) = self.0.split_at(usize::from(len).min(self.0.len()));
        self.0 = later;
        now
    }

    /// Mostly milliseconds, at times minutes.
    fn span(&mut self) -> Duration {
        let unit = if self.byte() < 240 { 3 } else { 1000 };
        Duration::from_millis(u64::from(self.byte()) * unit)
    }

    fn blocks(&mut self) -> BlockSet {
        let first = self.below(BLOCKS_PER_CHUNK + 1);
        BlockSet::run(first, self.below(BLOCKS_PER_CHUNK + 1))
    }

    /// A well-formed message from a client, now and then about what the file does not have.
    fn client_message(&mut self) -> Message<'static> {
        let chunk = self.below(CHUNKS + 2);
        let client_id = self.below(3);
        match self.byte() % 6 {
            0 => Message::JoinRequest { client_id },
            1 => Message::Join2Request(Join2 {
                client_id,
                blocks: 0,
                blocks_per_chunk: 1024,
                block_size: 1024,
                bytes: 0,
                extensions: Extensions::default(),
            }),
            2 => Message::Leave { client_id, elapsed: 1 },
            3 => {
                let retries = self.below(3);
                Message::PartialRequest { chunk, retries, wanted: self.blocks() }
            }
            _ => Message::Request {
                chunk,
                first: self.below(BLOCKS_PER_CHUNK + 1),
                count: self.below(BLOCKS_PER_CHUNK + 2),
            },
        }
    }
}

/// Operations on a server session. First byte: its rate; then operations.
pub(crate) fn server_session(data: &[u8]) {
    let mut input = Input(data);
    let mut config = server::Config::new(geometry(), group(), PORT, address(1).ip());
    config.rate = match input.byte() % 3 {
        0 => RateConfig::Automatic { link: None },
        1 => RateConfig::Fixed(1_000_000_000),
        _ => RateConfig::Fixed(1_000),
    };
    let mut session = server::Session::new(config);
    let mut now = Instant::ZERO;
    while !input.is_empty() {
        let host = input.byte() % 6;
        match input.byte() % 5 {
            0 => now = now + input.span(),
            1 => {
                let len = input.byte();
                session.handle_datagram(now, address(host), input.take(len));
            }
            2 => session.handle_timeout(now),
            _ => {
                let message = input.client_message();
                session.handle_datagram(now, address(host), &encoded(host, message));
            }
        }
        serve(&mut session, now);
        assert!(session.blocks_waiting() <= geometry().blocks(), "more than there is");
    }
}

/// Takes all that a server wants to send now.
fn serve(session: &mut server::Session, now: Instant) {
    let mut buffer = [0; CONTROL_LEN_MAX];
    let mut polls = 0;
    while let Some(transmit) = session.poll_transmit(now, &mut buffer) {
        match transmit {
            Transmit::Control { len } => {
                wire::decode(&buffer[..len]).expect("a server sends messages");
            }
            Transmit::Blocks { chunk, first, count } => {
                assert!(count > 0 && geometry().has_block(chunk, first + count - 1), "no block");
            }
        }
        polls += 1;
        assert!(polls < POLLS_MAX, "the server does not come to an end");
    }
    while session.poll_event().is_some() {}
    let _ = session.poll_timeout();
}

/// What a client session was given, to check what it says.
#[derive(Default)]
struct Given {
    /// Blocks it said to copy, by chunk, since the chunk was last rejected.
    copied: BTreeSet<(u32, u32)>,
    /// Chunks reported complete and not answered.
    complete: BTreeSet<u32>,
    done: BTreeSet<u32>,
}

/// Operations on a client session that has joined.
pub(crate) fn client_session(data: &[u8]) {
    let mut input = Input(data);
    let mut config = client::Config::new(group(), PORT, address(2).ip(), 7, 42);
    (config.join, config.slots) = (JoinKind::File, SLOTS);
    let mut session = client::Session::new(config);
    let mut given = Given::default();
    let mut now = Instant::ZERO;
    poll_client(&mut session, now, &mut given);
    hear(&mut session, now, 1, &join_reply(geometry(), 1), &mut given);
    while !input.is_empty() {
        match input.byte() % 10 {
            0 => now = now + input.span(),
            1 => {
                let (host, len) = (input.byte() % 4, input.byte());
                hear(&mut session, now, host, input.take(len), &mut given);
            }
            2 => {
                let host = input.byte() % 6;
                let message = input.client_message();
                hear(&mut session, now, host, &encoded(host, message), &mut given);
            }
            3 => {
                let run = u64::from(input.byte() % 3);
                let other = Geometry::new(BLOCK_SIZE, BLOCKS_PER_CHUNK, 128).expect("a constant");
                let geometry = if input.byte() < 250 { geometry() } else { other };
                hear(&mut session, now, 1, &join_reply(geometry, run), &mut given);
            }
            4 => answer(&mut session, now, &mut given, input.byte() >= 64),
            5 => session.leave(now),
            9 => session.redirect(now, group(), PORT, address(2).ip()),
            _ => {
                let host = if input.byte() < 250 { 1 } else { 9 };
                let (chunk, block) = (input.below(CHUNKS + 1), input.below(BLOCKS_PER_CHUNK + 1));
                let payload = &[9; 16];
                let message = Message::Block { chunk, block, payload };
                hear(&mut session, now, host, &encoded(host, message), &mut given);
            }
        }
        poll_client(&mut session, now, &mut given);
    }
}

fn join_reply(geometry: Geometry, server_run: u64) -> Vec<u8> {
    let mut room = [0; ANNOUNCEMENT_LEN_MAX];
    let announcement =
        Announcement { features: Some(0), image_id: Some([5; 16]), server_run: Some(server_run) };
    let small = |number: u32| i32::try_from(number).expect("a constant");
    let body = Join2 {
        client_id: 7,
        blocks: 0,
        blocks_per_chunk: small(geometry.blocks_per_chunk()),
        block_size: small(geometry.block_size()),
        bytes: geometry.bytes(),
        extensions: announcement.encode(&mut room),
    };
    encoded(1, Message::Join2Reply(body))
}

fn hear(session: &mut client::Session, now: Instant, host: u8, bytes: &[u8], given: &mut Given) {
    if let Received::Block { chunk, block, slot, payload } =
        session.handle_datagram(now, address(host), bytes)
    {
        assert!(slot < SLOTS && geometry().has_block(chunk, block), "no such place");
        assert_eq!(payload.len(), 16, "a block is whole");
        assert!(!given.done.contains(&chunk), "a chunk on the disk is filled again");
        assert!(given.copied.insert((chunk, block)), "a block is copied twice");
    }
}

fn poll_client(session: &mut client::Session, now: Instant, given: &mut Given) {
    session.handle_timeout(now);
    let mut buffer = [0; CONTROL_LEN_MAX];
    let mut polls = 0;
    while let Some(transmit) = session.poll_transmit(now, &mut buffer) {
        wire::decode(&buffer[..transmit.len]).expect("a client sends messages");
        polls += 1;
        assert!(polls < POLLS_MAX, "the client does not come to an end");
    }
    while let Some(event) = session.poll_event() {
        match event {
            client::Event::ChunkComplete { chunk, slot, .. } => {
                let blocks = geometry().all_blocks(chunk).count();
                let there = given.copied.range((chunk, 0)..(chunk + 1, 0)).count();
                assert_eq!(u32::try_from(there), Ok(blocks), "chunk {chunk} lacks blocks");
                assert!(slot < SLOTS && given.complete.insert(chunk), "complete twice");
            }
            client::Event::Finished => {
                assert_eq!(u32::try_from(given.done.len()), Ok(CHUNKS), "chunks are missing");
            }
            _ => {}
        }
    }
}

/// Says what became of the first complete chunk.
fn answer(session: &mut client::Session, now: Instant, given: &mut Given, good: bool) {
    let Some(chunk) = given.complete.pop_first() else { return };
    if good {
        given.done.insert(chunk);
        session.chunk_done(now, chunk);
    } else {
        given.copied.retain(|(of, _)| *of != chunk);
        session.chunk_rejected(now, chunk);
    }
}

/// Messages of each kind.
pub(crate) fn datagrams() -> Vec<Vec<u8>> {
    let requests = (0..6).map(|kind| encoded(2, Input(&[1, 2, kind, 1, 1, 3]).client_message()));
    let mut all: Vec<_> = requests.collect();
    all.push(join_reply(geometry(), 1));
    all.push(encoded(1, Message::JoinReply { blocks: 80 }));
    all.push(encoded(1, Message::Block { chunk: 1, block: 2, payload: &[7; 16] }));
    all
}

/// Sequences of operations: a busy server, and a client that gets every block.
pub(crate) fn operations() -> Vec<Vec<u8>> {
    let requests = (0..40).flat_map(|n| [n % 5, 3, n % 10, n % 3, 4 + n % 2, 0, 8, 1, 0, 10, n]);
    let whole_load = (0..10).flat_map(|chunk| {
        let blocks = (0..8).flat_map(move |block| [6, 1, chunk, block]);
        blocks.chain([4, if chunk == 3 { 0 } else { 200 }, 0, 0, 40])
    });
    vec![requests.collect(), whole_load.clone().chain(whole_load).collect()]
}
