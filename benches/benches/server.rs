//! What serving costs, against a plain loop that sends the same datagrams.
//!
//! Both send a file of [`FILE_BYTES`] as blocks to a socket on the loopback interface that nobody
//! reads. The server hears one request for each chunk, as from a client with endless buffers, reads
//! the file through its read-ahead, and ends when all is sent. One plain loop has all datagrams ready
//! in memory and does nothing but segmented sends of the same size; another reads the file. The
//! processor time is that of all threads of this process: it counts the reader thread, which wall
//! time may hide. On a busy machine give this program a real-time priority (`chrt -f 20`), or the
//! others' load is measured.

use crossbeam_channel::bounded;
use frisbee_server::{IdleExit, Image, Network, Server, Settings};
use imagezip::interrupt::Interrupt;
use mcast::{InterfaceSelector, Options};
use nix::time::{ClockId, clock_gettime};
use proto::geometry::Geometry;
use proto::wire::{BLOCK_HEADER_LEN, Datagram, Message, encode, encode_block_header};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

const FILE_BYTES: u64 = 256 << 20;
const BATCH: usize = 44;
const RUNS: u32 = 4;
const SERVER: Ipv4Addr = Ipv4Addr::new(127, 70, 82, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 70, 82, 2);
const PORT: u16 = 64_990;

/// Processor time of this process so far, all threads.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("Linux").into()
}

/// Serves the file to one client that asks for everything at once; the time from the first block
/// to the last.
fn serve(path: &std::path::Path, rate: u64) -> Duration {
    let image = Image::open(path, false, &Interrupt::never()).expect("a plain file");
    let geometry = image.geometry();
    let network = Network {
        group: IpAddr::V4(CLIENT),
        ports: PORT..=PORT,
        interface: InterfaceSelector::ByAddress(IpAddr::V4(SERVER)),
        options: Options::default(),
    };
    let socket = network.open().expect("the port is free");
    let settings = Settings {
        bits_per_sec: Some(rate),
        idle_exit: IdleExit::WhenEmpty,
        ..Settings::default()
    };
    let server = Server::new(image, socket, &settings).expect("threads");
    let client = UdpSocket::bind((CLIENT, PORT)).expect("the port is free");
    let say = |message| {
        let mut buffer = [0; 2048];
        let datagram = Datagram { srcip: CLIENT.octets(), message };
        let len = encode(&datagram, &mut buffer).expect("it fits");
        client.send_to(&buffer[..len], (SERVER, PORT)).expect("loopback takes it");
    };
    say(Message::JoinRequest { client_id: 1 });
    for chunk in 0..geometry.chunks() {
        say(Message::Request { chunk, first: 0, count: 1024 });
    }
    let (reports, watch) = bounded(1024);
    let waiter = std::thread::spawn(move || server.run(&Interrupt::never(), &reports));
    // The server's word that all is sent; a client would know by itself.
    for report in watch {
        if let frisbee_server::Report::Progress(progress) = report
            && progress.blocks_waiting == 0
        {
            say(Message::Leave { client_id: 1, elapsed: 0 });
        }
    }
    let summary = waiter.join().expect("no panic").expect("no error");
    assert_eq!(summary.totals.blocks_sent, geometry.blocks());
    Duration::from_millis(summary.sending_millis)
}

/// The file's datagrams, back to back, and the length of one.
fn datagrams(bytes: &[u8], geometry: &Geometry) -> (Vec<u8>, usize) {
    let len = BLOCK_HEADER_LEN + bytes.len().min(1024);
    let mut all = Vec::with_capacity(bytes.len() / 1024 * len);
    for (at, block) in (0..geometry.blocks()).zip(bytes.chunks(1024)) {
        let place = |number: u64| u32::try_from(number).expect("small");
        let header = encode_block_header(SERVER.octets(), place(at / 1024), place(at % 1024), 1024);
        all.extend_from_slice(&header.expect("small"));
        all.extend_from_slice(block);
    }
    (all, len)
}

/// Sends the same datagrams, ready in memory, as fast as the kernel takes them.
fn plain(datagrams: &[u8], len: usize) -> Duration {
    let sink = UdpSocket::bind((CLIENT, PORT)).expect("the port is free");
    let socket = UdpSocket::bind((SERVER, PORT)).expect("the port is free");
    let state = UdpSocketState::new(UdpSockRef::from(&socket)).expect("a UDP socket");
    let start = Instant::now();
    for contents in datagrams.chunks(len * BATCH) {
        let transmit = Transmit {
            destination: sink.local_addr().expect("bound"),
            ecn: None,
            contents,
            segment_size: Some(len),
            src_ip: None,
        };
        state.try_send(UdpSockRef::from(&socket), &transmit).expect("loopback takes everything");
    }
    start.elapsed()
}

/// A plain loop that reads the file a chunk at a time and sends it: the least a server can do.
fn plain_from_file(path: &std::path::Path) -> Duration {
    let sink = UdpSocket::bind((CLIENT, PORT)).expect("the port is free");
    let socket = UdpSocket::bind((SERVER, PORT)).expect("the port is free");
    let state = UdpSocketState::new(UdpSockRef::from(&socket)).expect("a UDP socket");
    let file = std::fs::File::open(path).expect("it is there");
    let (mut chunk, mut batch) = (vec![0; 1 << 20], Vec::new());
    let start = Instant::now();
    for number in 0..u32::try_from(FILE_BYTES >> 20).expect("small") {
        file.read_exact_at(&mut chunk, u64::from(number) << 20).expect("it is that long");
        for (blocks, first) in chunk.chunks(1024 * BATCH).zip((0..).step_by(BATCH)) {
            batch.clear();
            for (payload, block) in blocks.chunks(1024).zip(first..) {
                let header = encode_block_header(SERVER.octets(), number, block, 1024);
                batch.extend_from_slice(&header.expect("small"));
                batch.extend_from_slice(payload);
            }
            let transmit = Transmit {
                destination: sink.local_addr().expect("bound"),
                ecn: None,
                contents: &batch,
                segment_size: Some(BLOCK_HEADER_LEN + 1024),
                src_ip: None,
            };
            state.try_send(UdpSockRef::from(&socket), &transmit).expect("loopback takes it");
        }
    }
    start.elapsed()
}

/// Runs something a few times and prints what a gigabyte of payload cost: milliseconds of
/// processor time, and kilobits of payload per second.
fn measure(name: &str, runs: u32, bytes: u64, run: impl Fn() -> Duration) -> (u128, u128) {
    let before = cpu();
    let wall: Duration = (0..runs).map(|_| run()).sum();
    let cpu = (cpu() - before).as_micros();
    let wall = wall.as_micros().max(1);
    let bytes = u128::from(bytes) * u128::from(runs);
    let (cpu_per_gb, kilobits) = (cpu * 1_000_000 / bytes, bytes * 8000 / wall);
    println!(
        "{name:<24} {:>7} Mb/s of payload  {cpu_per_gb:>6} ms of processor time per GB",
        kilobits / 1000
    );
    (cpu_per_gb, kilobits)
}

/// A file of this many random bytes.
fn file(len: u64) -> (tempfile::NamedTempFile, Vec<u8>) {
    let mut number: u64 = 1;
    let bytes: Vec<u8> = (0..len / 8)
        .flat_map(|_| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            number.to_le_bytes()
        })
        .collect();
    let mut file = tempfile::NamedTempFile::new().expect("space for the file");
    file.write_all(&bytes).expect("space for the file");
    (file, bytes)
}

/// Kilobits of payload as they count on the wire.
fn on_the_wire(kilobits: u128) -> u128 {
    kilobits * (1048 + 66) / 1024
}

fn main() {
    let (whole, bytes) = file(FILE_BYTES);
    let geometry = Geometry::deployed(FILE_BYTES).expect("a constant");
    let (all, len) = datagrams(&bytes, &geometry);
    let base = measure("plain segmented loop", RUNS, FILE_BYTES, || plain(&all, len)).0;
    let from_file = || plain_from_file(whole.path());
    let least = measure("plain loop from file", RUNS, FILE_BYTES, from_file).0;
    let unlimited = || serve(whole.path(), 100_000_000_000);
    let cost = measure("server, unlimited", RUNS, FILE_BYTES, unlimited).0;
    let percent = |of: u128| cost * 100 / of.max(1);
    println!("the server costs {} % and {} % of these", percent(base), percent(least));
    // About three seconds each.
    for (rate, len) in [(10_000_000, 4 << 20), (100_000_000, 32 << 20), (1_000_000_000, 256 << 20)]
    {
        let (file, _) = file(len);
        let name = format!("server, -W {}M", rate / 1_000_000);
        let (_, kilobits) = measure(&name, 1, len, || serve(file.path(), rate));
        println!("    {} kb/s on the wire of {} allowed", on_the_wire(kilobits), rate / 1000);
    }
    let ten = measure("server, -W 10G", RUNS, FILE_BYTES, || serve(whole.path(), 10_000_000_000));
    println!("    {} kb/s on the wire of 10000000 allowed", on_the_wire(ten.1));
}
