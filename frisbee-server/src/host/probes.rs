//! Answers to clients' doctors: test datagrams, one test at a time.
//!
//! What it owns: the conversation. What it never does: send to anybody who did not ask, or on a
//! group that a session uses; the doctor's own limits see to that.

use crate::host::Host;
use crate::host::config::Config;
use crate::host::uploads::{blocking, read_frame};
use doctor::sender::{Asked, Limits, Sender};
use mcast::igmp::QuerierThread;
use rendezvous::frame::{Message, Test, TestReply};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// A client that does not take its answer for this long has gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tests of a host, and its own IGMP querier.
#[derive(Debug)]
pub(crate) struct Probes {
    sender: Sender,
    querier: Option<QuerierThread>,
    /// The querier's own address.
    own: Option<Ipv4Addr>,
}

impl Probes {
    pub(crate) fn new(config: &Config, querier: Option<(QuerierThread, Ipv4Addr)>) -> Self {
        let defaults = Limits::default();
        let bits_per_sec_max = config
            .bandwidth
            .map_or(defaults.bits_per_sec_max, |most| defaults.bits_per_sec_max.min(most));
        let limits = Limits {
            bits_per_sec_max,
            interface: config.interface.clone(),
            ttl: config.ttl,
            ..defaults
        };
        let (querier, own) = querier.unzip();
        Self { sender: Sender::new(limits), querier, own }
    }

    /// The network's IGMP querier, as far as this host knows.
    fn querier(&self) -> Option<IpAddr> {
        let status = self.querier.as_ref()?.status();
        let asks = status.failed.is_none();
        status.other.or(self.own.filter(|_| asks)).map(IpAddr::V4)
    }
}

/// Runs the tests that a client asks for, one after the other.
pub(crate) async fn answer(
    host: &Arc<Host>,
    stream: TcpStream,
    peer: SocketAddr,
    test: Test,
) -> io::Result<()> {
    let ends = (peer.ip().to_canonical(), stream.local_addr()?.ip().to_canonical());
    let mut stream = blocking(stream, PATIENCE)?;
    let host = Arc::clone(host);
    let work = move || {
        let mut next = Some(test);
        while let Some(test) = next {
            run(&host, &mut stream, ends, &test)?;
            next = read_test(&mut stream)?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Runs one test; the addresses are those of the connection's ends.
fn run(
    host: &Host,
    stream: &mut std::net::TcpStream,
    (peer, local): (IpAddr, IpAddr),
    test: &Test,
) -> io::Result<()> {
    let mut send =
        |message: &Message| stream.write_all(&message.encode().map_err(io::Error::other)?);
    let asked = Asked { peer, local, querier: host.probes.querier() };
    let in_use = |group, port| host.sessions.uses(group, port);
    match host.probes.sender.begin(test, asked, in_use) {
        Err(error) => send(&Message::TestReply(TestReply::Refused { error })),
        Ok(planned) => {
            send(&Message::TestReply(planned.reply()))?;
            send(&Message::TestDone(planned.run(|| false)))
        }
    }
}

/// The next test that the client wants; `None` when it has enough.
fn read_test(stream: &mut std::net::TcpStream) -> io::Result<Option<Test>> {
    let mut body = Vec::new();
    match read_frame(stream, &mut body) {
        Ok(kind) => match Message::decode(kind, &body).map_err(io::Error::other)? {
            Message::Test(test) => Ok(Some(test)),
            _ => Err(io::Error::other("expected TEST")),
        },
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
