//! An image host that answers nothing but tests.

use doctor::sender::{Asked, Limits, Sender};
use mcast::igmp::{IgmpSocket, Message, Packet, Query, Version, packet::ALL_SYSTEMS};
use mcast::{Interface, InterfaceSelector};
use rendezvous::frame::{self, HEADER_LEN, Header, TestReply};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tests::netns::Node;

/// A group of loads.
pub(crate) const GROUP: &str = "239.192.71.77";

/// Its port.
pub(crate) const PORT: u16 = 7177;

/// A listener in a thread, until it is dropped.
pub(crate) struct Host {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Answers tests on a node.
    pub(crate) fn start(node: &Node) -> Self {
        let limits =
            Limits { interface: InterfaceSelector::ByName("eth0".into()), ..Limits::default() };
        let sender = Sender::new(limits);
        Self::run(node, move |stream, stop| {
            // A client that has what it wants hangs up.
            while answer(&stream, &sender, stop).is_ok() {}
        })
    }

    fn run(node: &Node, serve: impl Fn(TcpStream, &AtomicBool) + Send + Sync + 'static) -> Self {
        let listener =
            node.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, rendezvous::PORT)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = node.spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => serve(stream, &stopped),
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it shows in what the client sees.
            let _ = thread.join();
        }
    }
}

/// A server that knows nothing of us.
pub(crate) fn hangs_up(node: &Node) -> Host {
    Host::run(node, |stream, _| drop(stream))
}

fn answer(mut stream: &TcpStream, sender: &Sender, stop: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header)?;
    let header = Header::parse(header).map_err(io::Error::other)?;
    let mut body = vec![0; header.body_len()];
    stream.read_exact(&mut body)?;
    let message = frame::Message::decode(header.kind(), &body).map_err(io::Error::other)?;
    let frame::Message::Test(test) = message else { return Err(io::Error::other("no test")) };
    let asked =
        Asked { peer: stream.peer_addr()?.ip(), local: stream.local_addr()?.ip(), querier: None };
    let planned = sender.begin(&test, asked, |_, _| false);
    let mut send =
        |message: frame::Message| stream.write_all(&message.encode().map_err(io::Error::other)?);
    match planned {
        Err(error) => send(frame::Message::TestReply(TestReply::Refused { error })),
        Ok(planned) => {
            send(frame::Message::TestReply(planned.reply()))?;
            let done = planned.run(|| stop.load(Ordering::Relaxed));
            send(frame::Message::TestDone(done))
        }
    }
}

/// One query from a router that is never heard again.
pub(crate) fn query_once() {
    let socket = IgmpSocket::open(&Interface::by_name("eth0").unwrap()).unwrap();
    let message = Message::Query(Query::general(Version::V2, Duration::from_millis(100)));
    let source = Ipv4Addr::new(10, 77, 0, 250);
    socket.send(&Packet { source, destination: ALL_SYSTEMS, message }).unwrap();
}
