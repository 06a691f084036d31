//! The server in this process, and raw clients that load from it.

mod groups;
mod hostile;
mod life;
mod replay;

use crossbeam_channel::{Receiver, bounded};
use frisbee_server::report::Started;
use frisbee_server::{Image, Network, Report, Server, Settings, Summary};
use imagezip::interrupt::Interrupt;
use mcast::{InterfaceSelector, Options, Waker};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use tests::rng::Rng;

/// Ports that a test's server may choose from.
const PORTS: RangeInclusive<u16> = 21_000..=21_999;

/// Gentle to a machine that has other things to do.
const RATE: Option<u64> = Some(400_000_000);

/// A server in threads of this process.
pub(crate) struct Running {
    started: Started,
    interrupt: Interrupt,
    waker: Waker,
    reports: Receiver<Report>,
    thread: JoinHandle<Summary>,
}

impl Running {
    /// Starts a server in the namespace of the calling thread.
    pub(crate) fn start(file: &Path, network: &Network, settings: &Settings) -> Self {
        let image = Image::open(file, false, &Interrupt::never()).unwrap();
        let socket = network.open().unwrap();
        let server = Server::new(image, socket, settings).unwrap();
        let (started, waker) = (server.started().clone(), server.waker());
        let interrupt = Interrupt::never();
        let (to_us, reports) = bounded(10_000);
        let stop = interrupt.clone();
        let thread = std::thread::spawn(move || server.run(&stop, &to_us).unwrap());
        Self { started, interrupt, waker, reports, thread }
    }

    fn port(&self) -> u16 {
        self.started.port
    }

    /// Ends it as a signal would.
    pub(crate) fn stop(self) -> Summary {
        self.interrupt.set();
        self.waker.wake();
        self.wait()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(self) -> Summary {
        self.thread.join().unwrap()
    }
}

/// An address of this machine that no other test uses, in 127.0.0.0/8, or a group of its own.
fn own_address(first: u8, second: u8) -> Ipv4Addr {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let number = TESTS.fetch_add(1, Ordering::Relaxed);
    let number = std::process::id().wrapping_mul(31).wrapping_add(number);
    let part = |number: u32| u8::try_from(number % 250 + 1).unwrap();
    Ipv4Addr::new(first, second, part(number / 250), part(number))
}

/// A group of this test's own on the loopback interface.
fn on_loopback() -> Network {
    Network {
        group: IpAddr::V4(own_address(239, 192)),
        ports: PORTS,
        interface: lo(),
        options: Options::default(),
    }
}

fn lo() -> InterfaceSelector {
    InterfaceSelector::ByName("lo".into())
}

fn settings() -> Settings {
    Settings { bits_per_sec: RATE, ..Settings::default() }
}

/// A file of random bytes.
fn random_file(seed: u64, len: usize) -> (tempfile::NamedTempFile, Vec<u8>) {
    let bytes = Rng::new(seed).bytes(len);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    (file, bytes)
}
