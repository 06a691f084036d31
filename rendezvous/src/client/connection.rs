//! A TCP connection to a host on which nothing waits for ever.
//!
//! What it owns: a stream, time limits, and the caller's wish to stop. Every read and write waits in
//! short slices, so that a wish to stop is seen soon.

use super::{ClientError, Server, addresses};
use crate::frame::{HEADER_LEN, Header, Message};
use crate::{OPENING_LEN, Opening, frame, opening};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A wish to stop is seen this late at most.
const SLICE: Duration = Duration::from_millis(100);

/// Says whether the caller wants to stop. Asked often; must not wait.
#[derive(Clone)]
pub struct Stop(Arc<dyn Fn() -> bool + Send + Sync>);

impl Stop {
    /// Stops when this says so.
    pub fn when(is_set: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_set))
    }

    /// True once the caller wants to stop.
    pub fn is_set(&self) -> bool {
        (self.0)()
    }

    /// Waits.
    ///
    /// # Errors
    /// [`ClientError::Stopped`].
    pub(crate) fn wait(&self, time: Duration) -> Result<(), ClientError> {
        let start = Instant::now();
        loop {
            if self.is_set() {
                return Err(ClientError::Stopped);
            }
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}

impl Default for Stop {
    /// Never.
    fn default() -> Self {
        Self::when(|| false)
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stop({})", self.is_set())
    }
}

/// How long a host may keep us waiting.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For a connection to one address.
    pub connect: Duration,
    /// For the answer to a request, and for a write that does not move.
    pub answer: Duration,
    /// Whether to stop before.
    pub stop: Stop,
}

impl Default for Limits {
    /// 5 s for each address, 30 s for an answer.
    fn default() -> Self {
        let (connect, answer) = (Duration::from_secs(5), Duration::from_secs(30));
        Self { connect, answer, stop: Stop::default() }
    }
}

/// A connection. Closed when dropped.
#[derive(Debug)]
pub struct Connection {
    server: Server,
    stream: TcpStream,
    limits: Limits,
    /// The rest of what was being sent when the caller wished to stop.
    unsent: Vec<u8>,
}

impl Connection {
    /// Connects to the first address of the host that answers.
    ///
    /// # Errors
    /// When the name has no address, or none of them answers.
    pub fn open(server: &Server, limits: &Limits) -> Result<Self, ClientError> {
        let addresses = addresses(server.host(), server.port())
            .map_err(|source| ClientError::Resolve { server: server.clone(), source })?;
        Self::open_any(server, &addresses, limits)
    }

    /// The same, for a host whose addresses are known.
    pub(crate) fn open_any(
        server: &Server,
        addresses: &[SocketAddr],
        limits: &Limits,
    ) -> Result<Self, ClientError> {
        let mut tried = Vec::new();
        for address in addresses {
            if limits.stop.is_set() {
                return Err(ClientError::Stopped);
            }
            match TcpStream::connect_timeout(address, limits.connect) {
                Ok(stream) => return Self::new(server, stream, limits),
                Err(error) => tried.push(format!("{address}: {error}")),
            }
        }
        if tried.is_empty() {
            tried.push("the name has no address".into());
        }
        Err(ClientError::Connect { server: server.clone(), tried: tried.join("; ") })
    }

    fn new(server: &Server, stream: TcpStream, limits: &Limits) -> Result<Self, ClientError> {
        let (server, limits) = (server.clone(), limits.clone());
        let connection = Self { server, stream, limits, unsent: Vec::new() };
        let stream = &connection.stream;
        let set = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(SLICE)))
            .and_then(|()| stream.set_write_timeout(Some(SLICE)));
        set.map_err(|source| connection.io("setting up the connection", source))?;
        Ok(connection)
    }

    /// The host.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The address of the host's end.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer(&self) -> Result<SocketAddr, ClientError> {
        self.stream.peer_addr().map_err(|source| self.io("asking for the host's address", source))
    }

    /// The address of our end.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn local(&self) -> Result<SocketAddr, ClientError> {
        self.stream.local_addr().map_err(|source| self.io("asking for our address", source))
    }

    fn io(&self, doing: &'static str, source: io::Error) -> ClientError {
        ClientError::Io { server: self.server.clone(), doing, source }
    }

    fn silent(&self, doing: &'static str) -> ClientError {
        let waited = self.limits.answer;
        ClientError::Silent { server: self.server.clone(), doing, waited }
    }

    fn closed(&self, doing: &'static str) -> ClientError {
        ClientError::Closed { server: self.server.clone(), doing }
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// When the connection breaks, or nothing moves for the time of an answer.
    pub fn send(&mut self, mut bytes: &[u8], doing: &'static str) -> Result<(), ClientError> {
        let mut moved = Instant::now();
        while !bytes.is_empty() {
            if self.limits.stop.is_set() {
                self.unsent = bytes.to_vec();
                return Err(ClientError::Stopped);
            }
            match self.stream.write(bytes) {
                Ok(0) => return Err(self.closed(doing)),
                Ok(n) => {
                    bytes = bytes.get(n..).unwrap_or_default();
                    moved = Instant::now();
                }
                Err(error) if is_pause(&error) => {
                    if moved.elapsed() >= self.limits.answer {
                        return Err(self.silent(doing));
                    }
                }
                Err(error) => return Err(self.io(doing, error)),
            }
        }
        Ok(())
    }

    /// Fills `room`, or says that the host closed the connection before its first byte.
    fn receive_or_end(
        &mut self,
        room: &mut [u8],
        doing: &'static str,
    ) -> Result<bool, ClientError> {
        let (start, mut filled) = (Instant::now(), 0);
        while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            if self.limits.stop.is_set() {
                return Err(ClientError::Stopped);
            }
            match self.stream.read(rest) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.closed(doing)),
                Ok(n) => filled += n,
                Err(error) if is_pause(&error) => {
                    if start.elapsed() >= self.limits.answer {
                        return Err(self.silent(doing));
                    }
                }
                Err(error) => return Err(self.io(doing, error)),
            }
        }
        Ok(true)
    }

    fn receive(&mut self, room: &mut [u8], doing: &'static str) -> Result<(), ClientError> {
        match self.receive_or_end(room, doing)? {
            true => Ok(()),
            false => Err(self.closed(doing)),
        }
    }

    /// Receives the body of a record of V01.
    ///
    /// # Errors
    /// When it is another record, or another protocol.
    pub(crate) fn receive_record(
        &mut self,
        kind: crate::record::Kind,
        doing: &'static str,
    ) -> Result<Vec<u8>, ClientError> {
        let mut head = [0; OPENING_LEN];
        self.receive(&mut head, doing)?;
        match opening(head) {
            Ok(Opening::Record(found)) if found == kind => {
                let mut body = vec![0; kind.body_len()];
                self.receive(&mut body, doing)?;
                Ok(body)
            }
            Ok(other) => Err(ClientError::Unexpected {
                server: self.server.clone(),
                expected: "a record of V01",
                found: format!("{other:?}"),
            }),
            Err(source) => Err(ClientError::NotAHost { server: self.server.clone(), source }),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_message(
        &mut self,
        message: &Message,
        doing: &'static str,
    ) -> Result<(), ClientError> {
        let bytes = message.encode();
        let bytes =
            bytes.map_err(|source| ClientError::Frame { server: self.server.clone(), source })?;
        self.send(&bytes, doing)
    }

    /// Receives a message.
    ///
    /// # Errors
    /// [`ClientError::Old`] when the host answers with a record of V01 or closes the connection
    /// before it answers: so do deployed servers.
    pub fn receive_message(&mut self, doing: &'static str) -> Result<Message, ClientError> {
        let mut head = [0; OPENING_LEN];
        let old = |server: &Server| ClientError::Old { server: server.clone() };
        match self.receive_or_end(&mut head, doing) {
            Ok(true) => {}
            Ok(false) => return Err(old(&self.server)),
            Err(ClientError::Io { source, .. }) if source.kind() == ErrorKind::ConnectionReset => {
                return Err(old(&self.server));
            }
            Err(error) => return Err(error),
        }
        if head.starts_with(&crate::record::VERSION) {
            return Err(old(&self.server));
        }
        self.receive_frame(head, doing)
    }

    fn receive_frame(
        &mut self,
        head: [u8; OPENING_LEN],
        doing: &'static str,
    ) -> Result<Message, ClientError> {
        let wrong = |server: &Server, source| ClientError::Frame { server: server.clone(), source };
        let mut len = [0; HEADER_LEN - OPENING_LEN];
        if !head.starts_with(&frame::VERSION) {
            let source = crate::OpeningError::of(head);
            return Err(ClientError::NotAHost { server: self.server.clone(), source });
        }
        self.receive(&mut len, doing)?;
        let header = Header::parse(frame::joined_header(head, len));
        let header = header.map_err(|source| wrong(&self.server, source))?;
        let mut body = vec![0; header.body_len()];
        self.receive(&mut body, doing)?;
        Message::decode(header.kind(), &body).map_err(|source| wrong(&self.server, source))
    }

    /// Receives and forgets until the host closes its end.
    ///
    /// # Errors
    /// When it does not within the time of an answer.
    pub(crate) fn await_end(&mut self, doing: &'static str) -> Result<(), ClientError> {
        let mut room = [0; 512];
        let start = Instant::now();
        while start.elapsed() < self.limits.answer {
            if self.limits.stop.is_set() {
                return Err(ClientError::Stopped);
            }
            match self.stream.read(&mut room) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(self.io(doing, error)),
            }
        }
        Err(self.silent(doing))
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(crate) fn end(&self, doing: &'static str) -> Result<(), ClientError> {
        self.stream.shutdown(Shutdown::Write).map_err(|source| self.io(doing, source))
    }

    /// A second handle, to receive in another thread; it waits for ever, until the connection is
    /// shut down.
    pub(crate) fn split(&self) -> Result<Self, ClientError> {
        let stream = self.stream.try_clone();
        let stream = stream.map_err(|source| self.io("setting up the connection", source))?;
        let limits = Limits { answer: Duration::MAX, stop: Stop::default(), ..self.limits.clone() };
        Ok(Self { server: self.server.clone(), stream, limits, unsent: Vec::new() })
    }

    /// A last word in spite of a wish to stop: finishes the message that was being sent, then
    /// sends this one. Tries for `time` only, and does not tell whether that was enough.
    pub(crate) fn send_last(&mut self, message: &Message, time: Duration) {
        self.limits = Limits { answer: time, stop: Stop::default(), ..self.limits.clone() };
        let doing = "giving up";
        let unsent = std::mem::take(&mut self.unsent);
        let sent = self.send(&unsent, doing).and_then(|()| self.send_message(message, doing));
        let _ = sent.and_then(|()| self.end(doing));
    }

    /// Breaks the connection in a way that the other end cannot take for a regular end.
    pub(crate) fn reset(self) {
        // Where it cannot be set, the end looks regular; nothing else can be done about it.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Ends both directions, also for other handles.
    pub(crate) fn shut_down(&self) {
        // It may be gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// True for the end of a slice.
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
