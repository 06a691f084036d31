//! The connection to the server: asking for tests.
//!
//! What it owns: the TCP connection to the rendezvous port, its time limits, and what went wrong
//! with it. What it never does: say what to do about it.

use rendezvous::client::addresses;
use rendezvous::frame::{
    Failure, HEADER_LEN, Header, Kind, Message, Test, TestReply, TestStart, VERSION,
};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A name service that does not answer for this long keeps no promise of ours.
const RESOLVE_MAX: Duration = Duration::from_secs(4);

/// An address that does not answer for this long will not.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 2;

/// A server that is there answers a request within this time.
const REPLY_MAX: Duration = Duration::from_secs(2);

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    /// The name means nothing.
    Name(io::Error),
    /// Nothing listens there, or a firewall says so.
    Refused(SocketAddr),
    /// No answer at all.
    Silent(SocketAddr),
    /// There is no way to it.
    Unreachable(SocketAddr, io::Error),
}

/// Why there is no test.
#[derive(Debug)]
pub(crate) enum NoTest {
    /// The server says no, and why.
    Refused(Failure),
    /// It does not know tests: it hung up, or answered in another protocol.
    Unknown,
    /// It does not answer.
    Silent,
    /// The connection broke.
    Broken(io::Error),
}

/// A connection to the server.
#[derive(Debug)]
pub(crate) struct Host {
    stream: TcpStream,
    /// The server.
    pub(crate) peer: SocketAddr,
    /// Our address towards it.
    pub(crate) local: IpAddr,
    /// How long connecting took.
    pub(crate) connected_in: Duration,
}

impl Host {
    /// Connects to the first address that answers.
    pub(crate) fn connect(host: &str, port: u16) -> Result<Self, NoConnection> {
        let mut addresses = resolve(host, port).map_err(NoConnection::Name)?;
        // Groups are IPv4 unless somebody took pains.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let empty = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let mut failure = NoConnection::Name(empty);
        for peer in addresses.into_iter().take(ADDRESSES_MAX) {
            let start = Instant::now();
            match TcpStream::connect_timeout(&peer, CONNECT_MAX) {
                Ok(stream) => {
                    let connected_in = start.elapsed();
                    let local = stream.local_addr();
                    let local = local.map_err(|error| NoConnection::Unreachable(peer, error))?;
                    let local = local.ip().to_canonical();
                    return Ok(Self { stream, peer, local, connected_in });
                }
                Err(error) => {
                    failure = match error.kind() {
                        io::ErrorKind::ConnectionRefused => NoConnection::Refused(peer),
                        io::ErrorKind::TimedOut => NoConnection::Silent(peer),
                        _ => NoConnection::Unreachable(peer, error),
                    };
                }
            }
        }
        Err(failure)
    }

    /// Asks for a test; what will be sent.
    pub(crate) fn ask(&mut self, test: &Test) -> Result<TestStart, NoTest> {
        let request = Message::Test(*test).encode();
        let request = request.map_err(|error| NoTest::Broken(io::Error::other(error)))?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => NoTest::Silent,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::InvalidData => NoTest::Unknown,
            _ => NoTest::Broken(error),
        };
        let set = |limit| -> io::Result<()> {
            self.stream.set_write_timeout(limit)?;
            self.stream.set_read_timeout(limit)
        };
        set(Some(REPLY_MAX)).map_err(failed)?;
        self.stream.write_all(&request).map_err(failed)?;
        match read_message(&mut self.stream).map_err(failed)? {
            Message::TestReply(TestReply::Start(start)) => Ok(start),
            Message::TestReply(TestReply::Refused { error }) => Err(NoTest::Refused(error)),
            _ => Err(NoTest::Unknown),
        }
    }

    /// Waits for the end of the test in a thread, at most this long; then the channel tells how many
    /// datagrams were sent, or closes.
    pub(crate) fn await_done(&self, at_most: Duration) -> io::Result<Receiver<u64>> {
        let mut stream = self.stream.try_clone()?;
        stream.set_read_timeout(Some(at_most))?;
        let (tell, told) = channel();
        thread::spawn(move || {
            if let Ok(Message::TestDone(done)) = read_message(&mut stream) {
                // Nobody may wait for it any more.
                let _ = tell.send(done.sent);
            }
        });
        Ok(told)
    }
}

/// The addresses of a name. The system's resolver knows no time limit: it is left alone with its
/// thread when it takes too long.
fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (name, (tell, told)) = (host.to_owned(), channel());
    thread::spawn(move || {
        // Nobody may wait for it any more.
        let _ = tell.send(addresses(&name, port));
    });
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the name service does not answer");
    told.recv_timeout(RESOLVE_MAX).unwrap_or_else(|_| Err(late()))
}

fn read_message(stream: &mut TcpStream) -> io::Result<Message> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header)?;
    if !header.starts_with(&VERSION) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not F01"));
    }
    let header = Header::parse(header).map_err(invalid)?;
    if header.kind() == Kind::Data {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "data"));
    }
    let mut body = vec![0; header.body_len()];
    stream.read_exact(&mut body)?;
    Message::decode(header.kind(), &body).map_err(invalid)
}
