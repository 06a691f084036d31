//! A control server that does as a test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

/// A test hangs no longer than this, unless it says so.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server; a test accepts connections when it wants to.
#[derive(Debug)]
pub struct ControlServer {
    listener: TcpListener,
    patience: Duration,
}

/// One connection of a node.
#[derive(Debug)]
pub struct Node {
    reader: BufReader<TcpStream>,
    /// Lines heard, in order.
    pub heard: Vec<String>,
}

#[allow(clippy::missing_panics_doc)] // all of it is for tests, and panics when they fail
impl ControlServer {
    /// Listens at a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).expect("a free port"), PATIENCE)
    }

    /// Listens where this listener does; each line has to come within this time.
    pub const fn on(listener: TcpListener, patience: Duration) -> Self {
        Self { listener, patience }
    }

    /// Where.
    pub fn address(&self) -> String {
        self.listener.local_addr().expect("it is bound").to_string()
    }

    /// Waits for a node.
    pub fn accept(&self) -> Node {
        let (stream, _) = self.listener.accept().expect("a connection");
        stream.set_read_timeout(Some(self.patience)).expect("a limit");
        Node { reader: BufReader::new(stream), heard: Vec::new() }
    }

    /// Waits for a node, and for the end of its greeting: STATUS.
    pub fn greet(&self) -> Node {
        let mut node = self.accept();
        let hello = node.hear("HELLO ");
        assert!(hello.starts_with("HELLO 1 "), "{hello}");
        node.hear("STATUS ");
        node
    }
}

#[allow(clippy::missing_panics_doc)] // all of it is for tests, and panics when they fail
impl Node {
    /// Orders something.
    pub fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("the node listens");
    }

    /// The next line; none if the node has closed the connection.
    pub fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let len = self.reader.read_line(&mut line).expect("a line within the limit");
        if len == 0 {
            return None;
        }
        let line = line.strip_suffix('\n').expect("a whole line").to_owned();
        self.heard.push(line.clone());
        Some(line)
    }

    /// Waits for a line that begins like this.
    #[track_caller]
    pub fn hear(&mut self, start: &str) -> String {
        loop {
            match self.next_line() {
                Some(line) if line.starts_with(start) => return line,
                Some(_) => {}
                None => panic!("no {start:?} in {:#?}", self.heard),
            }
        }
    }

    /// Waits for a line that begins like this, unless it came before.
    #[track_caller]
    pub fn hear_or_heard(&mut self, start: &str) -> String {
        match self.heard.iter().find(|line| line.starts_with(start)) {
            Some(line) => line.clone(),
            None => self.hear(start),
        }
    }

    /// Waits until the node has said goodbye, and closes.
    pub fn hear_the_end(mut self) -> Vec<String> {
        self.hear("BYE");
        assert_eq!(self.next_line(), None);
        self.heard
    }

    /// Breaks the connection.
    pub fn hang_up(self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Both);
    }
}
