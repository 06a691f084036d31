//! The line protocol on TCP.
//!
//! What it owns: the socket and two threads. What it never does: know what a line means.

use super::session::{Action, Session, Times};
use super::{Connector, Link, Reply, Sink};
use crate::orders::Settings;
use crate::stream::connect;
use rendezvous::client::Server;
use socket2::{SockRef, TcpKeepalive};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// What was sent and is not acknowledged for so long is lost, and the connection with it.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// A control server at a TCP port.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    /// Where.
    pub server: Server,
    /// When.
    pub times: Times,
    /// For orders.
    pub usual: Settings,
}

/// What reaches the thread.
enum Input {
    Send(Box<Reply>),
    Close,
    /// The agent has no more use for it.
    Over,
    /// From the reader of the connection of this number.
    Received(u64, Received),
}

enum Received {
    Bytes(Vec<u8>),
    /// The server closed its half.
    End,
    Broken(io::Error),
}

struct TcpLink(Sender<Input>);

impl Link for TcpLink {
    fn send(&self, reply: Reply) {
        // The thread ends only after this was dropped.
        let _ = self.0.send(Input::Send(Box::new(reply)));
    }

    fn close(&self) {
        let _ = self.0.send(Input::Close);
    }
}

impl Drop for TcpLink {
    fn drop(&mut self) {
        let _ = self.0.send(Input::Over);
    }
}

impl Connector for TcpConnector {
    fn name(&self) -> String {
        self.server.to_string()
    }

    fn start(self: Box<Self>, sink: Sink) -> Box<dyn Link> {
        let (to_thread, inputs) = channel();
        let session = Session::new(Instant::now(), self.times, self.usual);
        let link = TcpLink(to_thread.clone());
        let server = self.server;
        let mut carrier = Carrier { server, session, sink, open: None, number: 0, to_thread };
        std::thread::spawn(move || carrier.run(&inputs));
        Box::new(link)
    }
}

/// An open connection; the reader takes the next bytes when it is told that the last ones were
/// understood: a server that floods us waits.
struct Open {
    tcp: TcpStream,
    go_on: SyncSender<()>,
}

/// The thread.
struct Carrier {
    server: Server,
    session: Session,
    sink: Sink,
    open: Option<Open>,
    number: u64,
    to_thread: Sender<Input>,
}

impl Carrier {
    fn run(&mut self, inputs: &Receiver<Input>) {
        loop {
            while let Some(event) = self.session.poll_event() {
                (self.sink)(event);
            }
            let now = Instant::now();
            let input = match self.session.poll_action(now) {
                Action::Connect => {
                    match self.connect() {
                        Ok(()) => self.session.handle_connected(Instant::now()),
                        Err(why) => self.lost(Some(&why)),
                    }
                    continue;
                }
                Action::Transmit(line) => {
                    let sent =
                        self.open.as_ref().map(|open| (&open.tcp).write_all(line.as_bytes()));
                    if let Some(Err(error)) = sent {
                        self.lost(Some(&error.to_string()));
                    }
                    continue;
                }
                Action::HalfClose => {
                    let closed = self.open.as_ref().map(|open| open.tcp.shutdown(Shutdown::Write));
                    if let Some(Err(error)) = closed {
                        self.lost(Some(&error.to_string()));
                    }
                    continue;
                }
                Action::Wait(until) => inputs.recv_timeout(until.saturating_duration_since(now)),
            };
            match input {
                Ok(Input::Send(reply)) => self.session.send(&reply),
                Ok(Input::Close) => self.session.close(),
                Ok(Input::Received(number, received)) if number == self.number => {
                    self.take(received);
                }
                // Of a connection that is given up.
                Ok(Input::Received(..)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::Over) | Err(RecvTimeoutError::Disconnected) => {
                    self.give_up();
                    return;
                }
            }
        }
    }

    fn connect(&mut self) -> Result<(), String> {
        let tcp = connect(&self.server)?;
        let wrong =
            |error: io::Error| format!("{}: cannot set up the connection: {error}", self.server);
        let reader = set_up(&tcp).and_then(|()| tcp.try_clone()).map_err(wrong)?;
        self.number = self.number.wrapping_add(1);
        let (go_on, may_go_on) = sync_channel(1);
        let (number, to_thread) = (self.number, self.to_thread.clone());
        std::thread::spawn(move || read(reader, number, &to_thread, &may_go_on));
        self.open = Some(Open { tcp, go_on });
        Ok(())
    }

    fn take(&mut self, received: Received) {
        match received {
            Received::Bytes(bytes) => {
                self.session.handle_bytes(&bytes);
                while let Some(event) = self.session.poll_event() {
                    (self.sink)(event);
                }
                if let Some(open) = &self.open {
                    let _ = open.go_on.try_send(());
                }
            }
            Received::End => self.lost(None),
            Received::Broken(error) => self.lost(Some(&error.to_string())),
        }
    }

    fn give_up(&mut self) {
        if let Some(open) = self.open.take() {
            let _ = open.tcp.shutdown(Shutdown::Both);
        }
    }

    fn lost(&mut self, why: Option<&str>) {
        self.give_up();
        let random = RandomState::new().build_hasher().finish() % 256;
        self.session.handle_lost(Instant::now(), why, u8::try_from(random).unwrap_or(0));
    }
}

fn set_up(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    tcp.set_write_timeout(Some(LOST_AFTER))?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(LOST_AFTER / 2).with_interval(LOST_AFTER / 6),
    )?;
    socket.set_tcp_user_timeout(Some(LOST_AFTER))
}

/// Reads until the connection is over.
fn read(mut tcp: TcpStream, number: u64, to_thread: &Sender<Input>, may_go_on: &Receiver<()>) {
    let mut buffer = vec![0; 4096];
    loop {
        let received = match tcp.read(&mut buffer) {
            Ok(0) => Received::End,
            Ok(len) => Received::Bytes(buffer.get(..len).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Received::Broken(error),
        };
        let is_last = !matches!(received, Received::Bytes(_));
        if to_thread.send(Input::Received(number, received)).is_err() || is_last {
            return;
        }
        if may_go_on.recv().is_err() {
            return;
        }
    }
}
