//! The server in this process, and raw clients that load from it.

mod groups;
mod hostile;
mod life;
mod replay;

use frisbee_server::{Network, Settings};
use mcast::{InterfaceSelector, Options};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};
pub(crate) use tests::real_server::RealServer as Running;
use tests::rng::Rng;

/// Ports that a test's server may choose from.
const PORTS: RangeInclusive<u16> = 21_000..=21_999;

/// Gentle to a machine that has other things to do.
const RATE: Option<u64> = Some(400_000_000);

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
