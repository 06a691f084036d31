//! What sending and receiving a group's datagrams costs, against a plain loop over `send_to`.
//!
//! All on the loopback interface, where the receiver's kernel work is part of every send. `send`
//! goes to a socket that nobody reads, whose buffer is soon full: the sender's share and little
//! else. `through` goes to one client and, as multicast on loopback does, back to the server; the
//! same thread reads both after each batch. The difference is the cost of receiving twice.

// The macros of criterion make functions without documentation.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mcast::{GroupAddress, GroupSocket, Interface, Options, ReceiveBatch, Received, SendBatch};
use std::hint::black_box;
use std::net::UdpSocket;
use std::time::Duration;

/// A block of 1448 bytes and its header: a full frame.
const DATAGRAM_LEN: usize = 1472;
const BATCH: usize = 32;

fn bytes_per_batch() -> Throughput {
    Throughput::Bytes(u64::try_from(DATAGRAM_LEN * BATCH).expect("fits"))
}

fn group() -> GroupAddress {
    GroupAddress::parse("239.192.99.99", 64999).expect("a constant")
}

fn open_server(segmentation: bool) -> GroupSocket {
    let lo = Interface::by_name("lo").expect("every machine has it");
    let options = Options { segmentation, ..Options::default() };
    GroupSocket::open_server(group(), &lo, &options).expect("the port is free")
}

fn open_client() -> GroupSocket {
    let lo = Interface::by_name("lo").expect("every machine has it");
    GroupSocket::open_client(group(), &lo, &Options::default()).expect("the port is shared")
}

/// Sends one full batch.
fn send(server: &GroupSocket, batch: &mut SendBatch) {
    while batch.push().is_some() {}
    let sent = server.send(batch, server.group_addr()).expect("loopback takes everything");
    assert_eq!(sent.datagrams, BATCH);
}

/// Reads everything there is.
fn drain(client: &GroupSocket, batch: &mut ReceiveBatch) {
    while let Received::Datagrams(_) = client.receive(batch, Some(Duration::ZERO)).expect("open") {
        for datagram in batch.datagrams() {
            black_box(datagram.bytes.first());
        }
    }
}

fn send_alone(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("send");
    bench.throughput(bytes_per_batch());
    let sink = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let to = sink.local_addr().expect("bound");
    let plain = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let datagram = [0u8; DATAGRAM_LEN];
    bench.bench_function("plain_send_to", |bencher| {
        bencher.iter(|| (0..BATCH).for_each(|_| drop(black_box(plain.send_to(&datagram, to)))));
    });
    for (name, segmentation) in [("single", false), ("segmented", true)] {
        let server = open_server(segmentation);
        let mut batch = SendBatch::new(DATAGRAM_LEN, BATCH);
        bench.bench_function(name, |bencher| {
            bencher.iter(|| {
                while batch.push().is_some() {}
                server.send(&mut batch, to).expect("loopback takes everything")
            });
        });
    }
    bench.finish();
}

fn through_a_client(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("through");
    bench.throughput(bytes_per_batch());
    for (name, segmentation) in [("single", false), ("segmented", true)] {
        let (server, client) = (open_server(segmentation), open_client());
        let (mut out, mut into, mut echo) =
            (SendBatch::new(DATAGRAM_LEN, BATCH), ReceiveBatch::new(), ReceiveBatch::new());
        bench.bench_function(name, |bencher| {
            bencher.iter(|| {
                send(&server, &mut out);
                drain(&client, &mut into);
                drain(&server, &mut echo);
            });
        });
    }
    bench.finish();
}

criterion_group! {
    name = sockets;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = send_alone, through_a_client
}
criterion_main!(sockets);
