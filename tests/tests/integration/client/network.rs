//! Clients on machines of their own: namespaces on a switch that loses packets.

use super::target;
use clap::Parser;
use frisbee_client::{Args, ClientError, Report, Status, load};
use imagezip::interrupt::Interrupt;
use imagezip::ndz::{Codec, Version};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;
use tests::netns::{Network, Node};
use tests::samples::Sample;
use tests::test_server::{Fate, Setup, TestServer};
use tests::wait::until;

const PORT: u16 = 64494;

fn serve(node: &Node, group: &str, local: IpAddr, file: &Arc<Vec<u8>>, rate: u64) -> TestServer {
    let setup = Setup {
        group: group.parse().unwrap(),
        port: PORT,
        local,
        file: Arc::clone(file),
        image_id: None,
        rate,
        tamper: Box::new(|_, _, _| Fate::Send),
    };
    node.enter(|| TestServer::start(setup))
}

/// A client at work.
pub(crate) struct Loading {
    pub(crate) status: Arc<Status>,
    thread: JoinHandle<Result<Report, ClientError>>,
}

impl Loading {
    pub(crate) fn join(self) -> std::thread::Result<Result<Report, ClientError>> {
        self.thread.join()
    }

    /// Waits until this many chunks have been received.
    pub(crate) fn wait_for_chunks(&self, count: u32) {
        until("some chunks have been received", || {
            self.status.received.load(Relaxed) >= count || self.thread.is_finished()
        });
        assert!(!self.thread.is_finished(), "ended too early");
    }
}

pub(crate) fn start(
    node: &Node,
    group: &str,
    target: &Path,
    more: &str,
    interrupt: &Interrupt,
) -> Loading {
    let words = format!("frisbee-client -m {group} -i eth0 --threads 1 -T 60 {more}");
    let words: Vec<_> = words.split_whitespace().map(Into::into).collect();
    let args = Args::parse_from(words.into_iter().chain([target.as_os_str().to_owned()]));
    let interrupt = interrupt.clone();
    let status = Arc::new(Status::new());
    let shown = Arc::clone(&status);
    Loading { status, thread: node.spawn(move || load(&args, &shown, &interrupt)) }
}

pub(crate) fn sample(mebibytes: usize) -> (Vec<u8>, Arc<Vec<u8>>) {
    let bytes = tests::rng::Rng::new(11).bytes(mebibytes << 20);
    let sample = Sample::whole(bytes);
    let image = sample.image(Version::Native, Codec::Zstd, 2);
    (sample.bytes, Arc::new(image))
}

#[test]
fn eight_clients_with_loss_and_one_that_comes_back() {
    let Some(network) = Network::new(9) else { return };
    let (disk, image) = sample(24);
    let blocks = u64::try_from(image.len() / 1024).unwrap();
    for number in 1..9 {
        network.drop_received(number, [0, 10, 100][number % 3]);
    }
    let server_at = network.node(0);
    let server = serve(server_at, "239.192.9.9", server_at.ipv4().into(), &image, 200_000_000);
    let (folder, _) = target();
    let path = |number: usize| folder.path().join(format!("disk{number}"));
    let never = Interrupt::never();
    let loads: Vec<_> =
        (1..8).map(|n| start(network.node(n), "239.192.9.9", &path(n), "-C 16", &never)).collect();
    let stopped = Interrupt::never();
    let broken = start(network.node(8), "239.192.9.9", &path(8), "-C 16", &stopped);
    broken.wait_for_chunks(3);
    stopped.set();
    let ended = broken.join().unwrap();
    assert!(ended.is_err_and(|error| error.is_interruption()));
    assert!(!path(8).exists());
    let again = start(network.node(8), "239.192.9.9", &path(8), "-C 16", &never);
    for (number, one) in (1..).zip(loads.into_iter().chain([again])) {
        let report = one.join().unwrap().unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(report.counters.chunks_rejected, 0);
        assert!(std::fs::read(path(number)).unwrap() == disk, "client {number}");
    }
    let outcome = server.stop();
    let sent = outcome.blocks_sent * 100 / blocks;
    println!("8 clients, loss 0-10 %: {sent} % of the image's blocks were sent");
    assert!(outcome.leaves.len() >= 8 && sent < 400, "{sent} % {:?}", outcome.leaves.len());
}

#[test]
fn unicast_broadcast_and_ipv6() {
    let Some(network) = Network::new(2) else { return };
    let (disk, image) = sample(6);
    let (server_at, client_at) = (network.node(0), network.node(1));
    let (v4, v6): (IpAddr, IpAddr) = (server_at.ipv4().into(), server_at.ipv6().into());
    // A unicast group is the other end's address, on each end.
    let cases = [
        (client_at.ipv4().to_string(), server_at.ipv4().to_string(), v4),
        ("10.77.0.255".into(), "10.77.0.255".into(), v4),
        ("ff15::9:9".into(), "ff15::9:9".into(), v6),
    ];
    for (at_server, at_client, local) in cases {
        let server = serve(server_at, &at_server, local, &image, 200_000_000);
        let (_folder, target) = target();
        let loading = start(client_at, &at_client, &target, "", &Interrupt::never());
        loading.join().unwrap().unwrap_or_else(|error| panic!("{at_client}: {error}"));
        assert!(std::fs::read(&target).unwrap() == disk, "{at_client}");
        server.stop();
    }
}

/// Long enough for the client to take its server for gone and to join again.
const OUTAGE: Duration = Duration::from_secs(4);

#[test]
fn a_pulled_cable_is_survived() {
    let Some(network) = Network::new(2) else { return };
    let (disk, image) = sample(8);
    let server_at = network.node(0);
    let _server = serve(server_at, "239.192.9.10", server_at.ipv4().into(), &image, 40_000_000);
    let (_folder, target) = target();
    let loading = start(network.node(1), "239.192.9.10", &target, "", &Interrupt::never());
    loading.wait_for_chunks(2);
    network.cut_off(1, OUTAGE);
    let report = loading.join().unwrap().unwrap();
    assert!(report.time > OUTAGE, "{report:?}");
    assert!(std::fs::read(&target).unwrap() == disk);
}
