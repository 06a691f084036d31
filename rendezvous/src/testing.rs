//! A scripted image host, for tests.
//!
//! What it owns: a listening socket on 127.0.0.1 and a thread that plays one step of the script for
//! each connection, in order. What it never does: guess. A connection beyond the script is closed
//! at once; a step that is not as expected panics, and so does [`FakeHost::finish`].

use crate::client::Server;
use crate::frame::{self, HEADER_LEN, Header, Message, Upload, UploadReply, UploadStart, Verdict};
use crate::record::{self, GetReply, GetRequest, PutReply, PutRequest};
use crate::{OPENING_LEN, Opening, opening};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A test hangs no longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens on one connection.
pub type Step = Box<dyn FnOnce(&mut Peer) + Send>;

/// A step.
pub fn step(play: impl FnOnce(&mut Peer) + Send + 'static) -> Step {
    Box::new(play)
}

/// The host.
#[derive(Debug)]
pub struct FakeHost {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    played: Arc<AtomicUsize>,
    thread: Option<JoinHandle<usize>>,
}

impl FakeHost {
    /// Starts to play.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stop = Arc::new(AtomicBool::new(false));
        let played = Arc::new(AtomicUsize::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&played));
        let thread = std::thread::spawn(move || {
            let mut steps = steps.into_iter();
            loop {
                let (stream, _) = listener.accept().expect("a connection");
                if stopped.load(Ordering::Relaxed) {
                    return steps.len();
                }
                if let Some(play) = steps.next() {
                    play(&mut Peer::new(stream));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { address, stop, played, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, for a client.
    ///
    /// # Panics
    /// Never.
    pub fn server(&self) -> Server {
        self.address.to_string().parse().expect("an address and a port")
    }

    /// Steps that are over.
    pub fn played(&self) -> usize {
        self.played.load(Ordering::Relaxed)
    }

    fn end(&mut self) -> Option<std::thread::Result<usize>> {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        self.thread.take().map(JoinHandle::join)
    }

    /// Ends it.
    ///
    /// # Panics
    /// When a step did, or was not played.
    pub fn finish(mut self) {
        let left = self.end().expect("it runs").expect("a step of the script failed");
        assert_eq!(left, 0, "steps of the script were not played");
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The host's end of a connection.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
}

/// What ends a row of data.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// A message.
    Message(Message),
    /// The connection was closed or broke.
    Gone,
    /// So many bytes came as were wanted.
    Enough,
}

#[allow(clippy::missing_panics_doc)] // all of it is for tests, and panics when they fail
impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
        Self { stream }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the client listens");
    }

    /// Sends a message.
    pub fn say(&mut self, message: &Message) {
        let bytes = message.encode().expect("it is short");
        self.send(&bytes);
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    fn body(&mut self, len: usize) -> Option<Vec<u8>> {
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).ok().map(|()| body)
    }

    /// Receives a GET request.
    pub fn hear_get(&mut self) -> GetRequest {
        GetRequest::decode(&self.record(record::Kind::GetRequest)).expect("a GET request")
    }

    /// Receives a PUT request.
    pub fn hear_put(&mut self) -> PutRequest {
        PutRequest::decode(&self.record(record::Kind::PutRequest)).expect("a PUT request")
    }

    fn record(&mut self, kind: record::Kind) -> Vec<u8> {
        let head = self.bytes::<OPENING_LEN>().expect("a record");
        assert_eq!(opening(head), Ok(Opening::Record(kind)));
        self.body(kind.body_len()).expect("a record")
    }

    /// Answers a GET request.
    pub fn answer_get(&mut self, reply: GetReply) {
        self.send(&reply.encode());
    }

    /// Answers a PUT request.
    pub fn answer_put(&mut self, reply: PutReply) {
        self.send(&reply.encode());
    }

    fn frame(&mut self) -> Option<(frame::Kind, Vec<u8>)> {
        let header = Header::parse(self.bytes::<HEADER_LEN>()?).expect("a frame of F01");
        Some((header.kind(), self.body(header.body_len())?))
    }

    /// Receives a message; none if the connection is gone.
    pub fn hear(&mut self) -> Option<Message> {
        let (kind, body) = self.frame()?;
        Some(Message::decode(kind, &body).expect("a message"))
    }

    /// Receives UPLOAD.
    pub fn hear_upload(&mut self) -> Upload {
        match self.hear() {
            Some(Message::Upload(upload)) => upload,
            other => panic!("expected UPLOAD, found {other:?}"),
        }
    }

    /// Accepts an upload.
    pub fn accept(&mut self, upload_id: &str, offset: u64) {
        let start = UploadStart { upload_id: upload_id.into(), offset, bytes_max: None };
        self.say(&Message::UploadReply(UploadReply::Start(start)));
    }

    /// Receives data until `len` bytes are in `file`, acknowledging each frame, or until something
    /// else comes.
    pub fn take_data(&mut self, file: &mut Vec<u8>, len: usize) -> Ending {
        while file.len() < len {
            match self.frame() {
                Some((frame::Kind::Data, body)) => {
                    file.extend(body);
                    let durable_bytes = u64::try_from(file.len()).expect("short");
                    let ack = Message::Ack(frame::Ack { durable_bytes }).encode();
                    // The client may be gone; the next read shows it.
                    let _ = self.stream.write_all(&ack.expect("short"));
                }
                Some((kind, body)) => {
                    return Ending::Message(Message::decode(kind, &body).expect("a message"));
                }
                None => return Ending::Gone,
            }
        }
        Ending::Enough
    }

    /// Plays a server that takes an upload as it should; returns the file and what ended it.
    pub fn take_upload(&mut self, upload_id: &str) -> (Vec<u8>, Ending) {
        let _ = self.hear_upload();
        self.accept(upload_id, 0);
        let mut file = Vec::new();
        let ending = self.take_data(&mut file, usize::MAX);
        if let Ending::Message(Message::End(_)) = ending {
            let bytes = u64::try_from(file.len()).expect("short");
            let blake3 = frame::Digest(*blake3::hash(&file).as_bytes());
            self.say(&Message::Verdict(Verdict::Published { bytes, blake3 }));
        }
        (file, ending)
    }

    /// Receives until the client closes the connection; false if it broke.
    pub fn read_to_end(&mut self, file: &mut Vec<u8>) -> bool {
        self.stream.read_to_end(file).is_ok()
    }

    /// The bare connection.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}
