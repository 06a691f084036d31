//! Memory that sockets and sessions take while they are at work: none for a block.
//!
//! A server session sends an image to a client session, which loses nothing, or one block in a
//! hundred; and a server's socket sends blocks to a client's. The allocator of this program
//! counts. What is taken at the start (a mark for each chunk, slots, batches) is not counted; what
//! a server session takes for a chunk (nodes in trees of chunks that wait or were sent lately) is
//! bounded.

#![allow(unsafe_code)] // an allocator is unsafe to implement; this one only counts and passes on

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};

use mcast::{GroupSocket, InterfaceSelector, Options, ReceiveBatch, Role, SendBatch};
use proto::client::{self, Event, Received};
use proto::geometry::Geometry;
use proto::server::{self, RateConfig, Transmit};
use proto::time::{Duration, Instant};
use proto::wire::{CONTROL_LEN_MAX, encode_block_header};

struct Counting;

thread_local! {
    /// Allocations of this thread; tests run in several.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter any more, and nothing to count.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller promises what `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, new_size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs something; its result, and the allocations it made.
fn counted<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let result = run();
    (result, ALLOCATIONS.get() - before)
}

const PORT: u16 = 7000;
const CHUNKS: u32 = 96;
/// Chunks that are not counted: queues and trees grow to their size.
const WARM_UP: u32 = 16;
const BLOCK: usize = 1024;

/// Allocations of each side while the chunks after the warm-up were loaded, and blocks taken.
#[derive(Debug, Default)]
struct Counts {
    client: u64,
    server: u64,
    blocks: u64,
}

/// Loads an image, block by block; of each `lose_one_in` blocks one is lost.
fn load(lose_one_in: u64) -> Counts {
    let group: IpAddr = [239, 1, 1, 1].into();
    let [server_at, client_at] = [1, 2].map(|n| SocketAddr::from(([10, 0, 0, n], PORT)));
    let geometry = Geometry::deployed(u64::from(CHUNKS) << 20).unwrap();
    let mut config = server::Config::new(geometry, group, PORT, server_at.ip());
    config.rate = RateConfig::Fixed(1_000_000_000);
    let mut server = server::Session::new(config);
    let mut client = client::Session::new(client::Config::new(group, PORT, client_at.ip(), 7, 42));
    let (mut counts, mut sent, mut done) = (Counts::default(), 0_u64, 0);
    let mut buffer = [0; CONTROL_LEN_MAX];
    let mut datagram = [0; 24 + BLOCK];
    let mut now = Instant::ZERO;
    while done < CHUNKS {
        let is_counted = done >= WARM_UP;
        now = now + Duration::from_micros(20);
        assert!(now < Instant::ZERO + Duration::from_secs(60), "{done} chunks: {counts:?}");
        let (mut by_client, mut by_server) = (0, 0);
        loop {
            let (next, cost) = counted(|| {
                client.handle_timeout(now);
                client.poll_transmit(now, &mut buffer)
            });
            by_client += cost;
            let Some(transmit) = next else { break };
            by_server +=
                counted(|| server.handle_datagram(now, client_at, &buffer[..transmit.len])).1;
        }
        loop {
            let (next, cost) = counted(|| {
                server.handle_timeout(now);
                while server.poll_event().is_some() {}
                server.poll_transmit(now, &mut buffer)
            });
            by_server += cost;
            let Some(transmit) = next else { break };
            let blocks = match transmit {
                Transmit::Control { len } => {
                    let reply = &buffer[..len];
                    by_client += counted(|| client.handle_datagram(now, server_at, reply)).1;
                    continue;
                }
                Transmit::Blocks { chunk, first, count } => {
                    (first..first + count).map(move |block| (chunk, block))
                }
            };
            for (chunk, block) in blocks {
                sent += 1;
                if sent.is_multiple_of(lose_one_in) {
                    continue;
                }
                let header = encode_block_header(server.srcip(), chunk, block, 1024).unwrap();
                datagram[..24].copy_from_slice(&header);
                let (received, cost) =
                    counted(|| client.handle_datagram(now, server_at, &datagram));
                counts.blocks +=
                    u64::from(is_counted && matches!(received, Received::Block { .. }));
                by_client += cost;
            }
        }
        by_client += counted(|| {
            while let Some(event) = client.poll_event() {
                if let Event::ChunkComplete { chunk, .. } = event {
                    client.chunk_done(now, chunk);
                    done += 1;
                }
            }
        })
        .1;
        if is_counted {
            counts.client += by_client;
            counts.server += by_server;
        }
    }
    counts
}

#[test]
fn no_block_costs_an_allocation() {
    for lose_one_in in [u64::MAX, 100] {
        let counts = load(lose_one_in);
        let chunks = counts.blocks / 1024;
        println!("one in {lose_one_in} lost: {counts:?} for {chunks} chunks");
        assert!(counts.blocks > 70_000, "{counts:?}");
        assert!(counts.client <= chunks * CLIENT_PER_CHUNK, "{counts:?}");
        assert!(counts.server <= chunks * SERVER_PER_CHUNK, "{counts:?}");
    }
}

/// Allocations of a client for each chunk of 1024 blocks at most.
const CLIENT_PER_CHUNK: u64 = 0;

/// Allocations of a server for each chunk of 1024 blocks at most: nodes of its trees, most of them
/// in the two generations of what is on its way, which change each millisecond.
const SERVER_PER_CHUNK: u64 = 8;

#[test]
fn no_datagram_through_a_socket_costs_an_allocation() {
    let group: IpAddr = [239, 192, 103, 1].into();
    let lo = InterfaceSelector::ByName("lo".into());
    let [server, client] = [Role::Server, Role::Client]
        .map(|role| GroupSocket::set_up(role, group, 23_001, &lo, &Options::default()).unwrap());
    let mut batch = SendBatch::new(24 + BLOCK, 44);
    let mut arrived = ReceiveBatch::new();
    let mut round = || {
        while let Some(datagram) = batch.push() {
            datagram[..4].copy_from_slice(&[1, 0, 0, 0]);
        }
        let mut out = server.send(&mut batch, server.group_addr()).unwrap().datagrams;
        batch.clear();
        while out > 0 {
            match client.receive(&mut arrived, Some(std::time::Duration::from_secs(10))).unwrap() {
                mcast::Received::Datagrams(_) => {
                    out -= arrived.datagrams().filter(|d| d.bytes.len() == 24 + BLOCK).count();
                }
                other => panic!("{other:?}"),
            }
        }
    };
    round();
    let ((), allocations) = counted(|| (0..100).for_each(|_| round()));
    assert_eq!(allocations, 0, "for 4400 datagrams");
}
