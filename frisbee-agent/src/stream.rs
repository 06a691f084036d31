//! An image as bare bytes to whoever listens: what `imagezip DISK - | nc HOST PORT` does, and no more.
//!
//! What it owns: the connection, and that a broken save never looks like a whole one to the other end:
//! the connection is reset unless everything was sent. What it never does: verify. Nobody at the other
//! end says what arrived; a save to an image host does.

use rendezvous::client::Server;
use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 8;

/// Each of them for this long.
const CONNECT: Duration = Duration::from_secs(10);

const BUFFER_LEN: usize = 256 << 10;

/// A connection to a listener.
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    server: Server,
    sent: u64,
}

/// Connects to a host, by any of its addresses.
///
/// # Errors
/// When none answers; the message names the host.
pub fn connect(server: &Server) -> Result<TcpStream, String> {
    let addresses = (server.host(), server.port()).to_socket_addrs();
    let addresses =
        addresses.map_err(|error| format!("{server}: cannot find its address: {error}"))?;
    let mut tried = Vec::new();
    for address in addresses.take(ADDRESSES_MAX) {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => tried.push(format!("{address}: {error}")),
        }
    }
    Err(format!("{server}: cannot connect ({})", tried.join(", ")))
}

impl Stream {
    /// Connects. Nothing may stand still for longer than `patience`.
    ///
    /// # Errors
    /// See [`connect`].
    pub fn open(server: &Server, patience: Duration) -> Result<Self, String> {
        let tcp = connect(server)?;
        let limits = || {
            tcp.set_read_timeout(Some(patience))?;
            tcp.set_write_timeout(Some(patience))?;
            // Until all was sent, an end is a reset.
            SockRef::from(&tcp).set_linger(Some(Duration::ZERO))
        };
        match limits() {
            Ok(()) => Ok(Self { tcp, server: server.clone(), sent: 0 }),
            Err(error) => Err(format!("{server}: cannot set up the connection: {error}")),
        }
    }

    /// Sends all that can be read.
    ///
    /// # Errors
    /// When it cannot be sent; what cannot be read is the other program's to tell.
    pub fn send(&mut self, mut from: impl Read) -> Result<(), String> {
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            let len = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Ok(()),
            };
            let bytes = buffer.get(..len).unwrap_or_default();
            if let Err(error) = self.tcp.write_all(bytes) {
                return Err(self.broken("sending", &error));
            }
            self.sent = self.sent.saturating_add(u64::try_from(len).unwrap_or(0));
        }
    }

    fn broken(&self, doing: &str, error: &io::Error) -> String {
        let Self { server, sent, .. } = self;
        let why = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "nothing moved for too long".to_owned(),
            _ => error.to_string(),
        };
        format!("{server}: {doing} the image, after {sent} bytes: {why}")
    }

    /// The image is whole: says so by closing one half, and waits until the other end closes too.
    ///
    /// # Errors
    /// When it resets the connection, or does not close it. What it has then is not known.
    pub fn finish(mut self) -> Result<u64, String> {
        let broken = |stream: &Self, error: &io::Error| {
            format!("{}; whether it was kept is not known", stream.broken("handing over", error))
        };
        let close = || {
            SockRef::from(&self.tcp).set_linger(None)?;
            self.tcp.shutdown(Shutdown::Write)
        };
        if let Err(error) = close() {
            return Err(broken(&self, &error));
        }
        let mut ignored = [0; 512];
        loop {
            match self.tcp.read(&mut ignored) {
                Ok(0) => return Ok(self.sent),
                // Listeners of netcat may send what is typed there; there is no answer to a save.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&self, &error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn listen(
        end: impl FnOnce(TcpStream) + Send + 'static,
    ) -> (Server, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let server = listener.local_addr().unwrap().to_string().parse().unwrap();
        (server, std::thread::spawn(move || end(listener.accept().unwrap().0)))
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn all_bytes_arrive_and_the_end_is_seen() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
        let expected = bytes.clone();
        let (server, thread) = listen(move |mut tcp| {
            let mut all = Vec::new();
            tcp.read_to_end(&mut all).unwrap();
            assert!(all == expected);
        });
        let mut stream = Stream::open(&server, PATIENCE).unwrap();
        stream.send(bytes.as_slice()).unwrap();
        assert_eq!(stream.finish(), Ok(1_000_000));
        thread.join().unwrap();
    }

    #[test]
    fn what_is_given_up_is_reset() {
        let (server, thread) = listen(|mut tcp| {
            let error = tcp.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        });
        let mut stream = Stream::open(&server, PATIENCE).unwrap();
        stream.send(&b"half an image"[..]).unwrap();
        drop(stream);
        thread.join().unwrap();
    }

    #[test]
    fn a_reset_or_silence_at_the_end_is_a_failure() {
        let (server, thread) = listen(|tcp| {
            SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
        });
        let stream = Stream::open(&server, PATIENCE).unwrap();
        thread.join().unwrap();
        assert!(stream.finish().unwrap_err().contains("is not known"));

        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (server, thread) = listen(move |tcp| {
            let _ = ended.recv();
            drop(tcp);
        });
        let stream = Stream::open(&server, Duration::from_millis(50)).unwrap();
        assert!(stream.finish().unwrap_err().contains("nothing moved for too long"));
        drop(end);
        thread.join().unwrap();
        assert!(connect(&server).unwrap_err().contains("cannot connect"));
    }
}
