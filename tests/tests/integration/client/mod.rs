//! frisbee-client in this process, by multicast over the loopback interface, from a server that
//! does to its blocks what a test wants. Each test has its own group, port and addresses.

mod damage;
pub(crate) mod images;
pub(crate) mod network;
mod silence;

use clap::Parser;
use frisbee_client::{Args, ClientError, Report, Status, load};
use imagezip::interrupt::Interrupt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tests::test_server::{Fate, Setup};

/// A number for each test, which makes its addresses its own.
#[derive(Clone, Copy)]
pub(crate) struct Ground(pub(crate) u8);

impl Ground {
    fn local(self, host: u8) -> IpAddr {
        Ipv4Addr::new(127, 77, self.0, host).into()
    }

    /// A server of `file` that does no harm.
    pub(crate) fn setup(self, file: &Arc<Vec<u8>>) -> Setup {
        Setup {
            group: Ipv4Addr::new(239, 192, 101, self.0).into(),
            port: 21_000 + u16::from(self.0),
            local: self.local(1),
            file: Arc::clone(file),
            image_id: None,
            rate: 300_000_000,
            tamper: Box::new(|_, _, _| Fate::Send),
        }
    }

    /// A client; `more` is separated by blanks, and may name another port.
    pub(crate) fn args(self, host: u8, target: &Path, more: &str) -> Args {
        let port = format!("-p {}", 21_000 + u16::from(self.0));
        let port = if more.contains("-p ") { "" } else { port.as_str() };
        let fixed = format!(
            "frisbee-client -m 239.192.101.{} {port} -i {} --threads 2 {more}",
            self.0,
            self.local(host)
        );
        let words = fixed.split_whitespace().map(Into::into);
        Args::parse_from(words.chain([target.as_os_str().to_owned()]))
    }

    /// Loads as client `host`.
    pub(crate) fn load(
        self,
        host: u8,
        target: &Path,
        more: &str,
    ) -> (Result<Report, ClientError>, Arc<Status>) {
        let status = Arc::new(Status::new());
        let result = load(&self.args(host, target, more), &status, &Interrupt::never());
        (result, status)
    }
}

pub(crate) fn golden(name: &str) -> Arc<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    Arc::new(std::fs::read(folder.join(format!("{name}.ndz"))).unwrap())
}

/// A new file's path in a directory that goes away with the first value.
pub(crate) fn target() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    (folder, path)
}
