//! What the protocol costs without a network: messages, sets of blocks, putting chunks together,
//! and deciding what to send.
//!
//! Baselines: `assembly` beside a bare copy of the same bytes; the rest speaks for itself in
//! nanoseconds an operation. One block is 1024 bytes, one chunk 1024 blocks.

// The macros of criterion make functions without documentation.
#![allow(missing_docs)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use proto::block_set::BlockSet;
use proto::client::{self, JoinKind, Received};
use proto::geometry::Geometry;
use proto::server::{self, RateConfig, Transmit};
use proto::time::{Duration, Instant};
use proto::wire::{self, CONTROL_LEN_MAX, Datagram, Message, encode_block_header};
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

const PORT: u16 = 7000;
const CHUNKS: u32 = 16;
const CLIENTS: u8 = 100;

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], PORT))
}

fn group() -> IpAddr {
    IpAddr::from([239, 1, 1, 1])
}

fn geometry() -> Geometry {
    Geometry::deployed(u64::from(CHUNKS) << 20).expect("a constant")
}

fn encoded(host: u8, message: Message<'_>) -> Vec<u8> {
    let srcip = wire::source_ip_field(address(host).ip());
    let mut buffer = [0; 2048];
    let len = wire::encode(&Datagram { srcip, message }, &mut buffer).expect("it fits");
    buffer[..len].to_vec()
}

fn every_third() -> BlockSet {
    let mut wanted = BlockSet::EMPTY;
    for block in (0..1024).step_by(3) {
        wanted.insert(block);
    }
    wanted
}

fn messages(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("messages");
    let block = encoded(1, Message::Block { chunk: 3, block: 7, payload: &[5; 1024] });
    let partial = Message::PartialRequest { chunk: 3, retries: 1, wanted: every_third() };
    let partial = encoded(2, partial);
    bench.bench_function("decode a block", |b| b.iter(|| wire::decode(black_box(&block)).is_ok()));
    bench.bench_function("decode a partial request", |b| {
        b.iter(|| wire::decode(black_box(&partial)).is_ok());
    });
    bench.bench_function("encode a block's header", |b| {
        b.iter(|| encode_block_header([10, 0, 0, 1], black_box(3), black_box(7), 1024));
    });
    bench.bench_function("encode a partial request", |b| {
        let decoded = wire::decode(&partial).expect("just encoded");
        let mut buffer = [0; 2048];
        b.iter(|| wire::encode(black_box(&decoded), &mut buffer).is_ok());
    });
    bench.finish();
}

fn block_sets(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("block sets");
    let (all, some) = (BlockSet::first(1024), every_third());
    bench.bench_function("insert 1024 blocks", |b| {
        b.iter(|| {
            let mut set = BlockSet::EMPTY;
            for block in 0..1024 {
                set.insert(black_box(block));
            }
            set
        });
    });
    bench.bench_function("difference", |b| b.iter(|| black_box(&all).difference(black_box(&some))));
    bench.bench_function("all runs of every third block", |b| {
        b.iter(|| {
            let (mut from, mut runs) = (0, 0);
            while let Some((first, count)) = black_box(&some).next_run(from, 62) {
                (from, runs) = (first + count, runs + 1);
            }
            runs
        });
    });
    bench.finish();
}

/// A client that has joined, and every block of its file in order.
fn joined_client() -> client::Session {
    let mut config = client::Config::new(group(), PORT, address(2).ip(), 7, 42);
    (config.join, config.slots) = (JoinKind::Image, CHUNKS);
    let mut session = client::Session::new(config);
    let mut buffer = [0; CONTROL_LEN_MAX];
    session.handle_timeout(Instant::ZERO);
    while session.poll_transmit(Instant::ZERO, &mut buffer).is_some() {}
    let blocks = u32::try_from(geometry().blocks()).expect("small");
    let reply = encoded(1, Message::JoinReply { blocks });
    let _ = session.handle_datagram(Instant::ZERO, address(1), &reply);
    assert!(session.poll_event().is_some(), "it has joined");
    session
}

fn assembly(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("assembly");
    bench.throughput(Throughput::Bytes(u64::from(CHUNKS) << 20));
    let blocks = (0..CHUNKS).flat_map(|chunk| (0..1024).map(move |block| (chunk, block)));
    let message = |(chunk, block)| encoded(1, Message::Block { chunk, block, payload: &[5; 1024] });
    let datagrams: Vec<_> = blocks.map(message).collect();
    let mut memory = vec![0; usize::try_from(CHUNKS).expect("small") << 20];
    bench.bench_function("bare copy", |b| {
        b.iter(|| {
            for (to, from) in memory.chunks_exact_mut(1024).zip(&datagrams) {
                to.copy_from_slice(&from[from.len() - 1024..]);
            }
        });
    });
    bench.bench_function("session and copy", |b| {
        b.iter_batched_ref(
            joined_client,
            |session| {
                let mut taken = 0;
                for datagram in &datagrams {
                    let now = Instant::ZERO + Duration::from_millis(1);
                    if let Received::Block { block, slot, payload, .. } =
                        session.handle_datagram(now, address(1), datagram)
                    {
                        let at = usize::try_from((slot << 20) + block * 1024).expect("small");
                        memory[at..at + 1024].copy_from_slice(payload);
                        taken += 1;
                    }
                }
                assert_eq!(taken, datagrams.len(), "every block was missing");
            },
            BatchSize::SmallInput,
        );
    });
    bench.finish();
}

/// A server to which all clients have said that they want all chunks.
fn asked_server() -> server::Session {
    let mut config = server::Config::new(geometry(), group(), PORT, address(1).ip());
    config.rate = RateConfig::Fixed(100_000_000_000);
    let mut session = server::Session::new(config);
    for host in 2..CLIENTS + 2 {
        for chunk in 0..CHUNKS {
            let request = encoded(host, Message::Request { chunk, first: 0, count: 1024 });
            session.handle_datagram(Instant::ZERO, address(host), &request);
        }
    }
    session
}

fn scheduling(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("scheduling");
    bench.throughput(Throughput::Elements(u64::from(CLIENTS) * u64::from(CHUNKS)));
    bench.bench_function("requests of 100 clients", |b| b.iter(asked_server));
    bench.throughput(Throughput::Elements(geometry().blocks()));
    bench.bench_function("blocks to send", |b| {
        b.iter_batched_ref(
            asked_server,
            |session| {
                let mut buffer = [0; CONTROL_LEN_MAX];
                let (mut now, mut blocks) = (Instant::ZERO, 0);
                while blocks < geometry().blocks() {
                    now = now + Duration::from_micros(10);
                    session.handle_timeout(now);
                    while let Some(transmit) = session.poll_transmit(now, &mut buffer) {
                        if let Transmit::Blocks { count, .. } = transmit {
                            blocks += u64::from(count);
                        }
                    }
                    let _ = black_box(session.poll_timeout());
                }
            },
            BatchSize::SmallInput,
        );
    });
    bench.finish();
}

criterion_group!(all, messages, block_sets, assembly, scheduling);
criterion_main!(all);
