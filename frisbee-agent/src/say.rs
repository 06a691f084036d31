//! What the agent says on the console, and to the system's log.
//!
//! What it owns: the form of a line. What it never does: wait for whoever listens, or print what a
//! terminal obeys.

use crate::words::printable;
use std::io::{Write, stdout};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::Sender;

/// Each line begins with it.
pub const NAME: &str = "frisbee-agent";

/// Facility daemon, severity info.
const PRIORITY: u8 = 3 << 3 | 6;

/// Where lines go.
#[derive(Debug)]
pub enum Console {
    /// Standard output, and the log's socket if there is one.
    System {
        /// `/dev/log`.
        log: PathBuf,
    },
    /// A test.
    Test(Mutex<Sender<String>>),
}

impl Console {
    /// Standard output and `/dev/log`.
    pub fn system() -> Self {
        Self::System { log: "/dev/log".into() }
    }

    /// Says a line, with the agent's name before it.
    pub fn say(&self, line: impl std::fmt::Display) {
        self.print(&format!("{NAME}: {line}"));
    }

    /// Says a line of another program.
    pub fn relay(&self, line: &str) {
        self.print(line);
    }

    fn print(&self, line: &str) {
        let line = printable(line);
        match self {
            Self::System { log } => {
                let mut out = stdout().lock();
                // Nobody may be looking; the work goes on.
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
                if let Ok(socket) = UnixDatagram::unbound() {
                    let _ = socket.set_nonblocking(true);
                    let _ = socket.send_to(format!("<{PRIORITY}>{line}").as_bytes(), log);
                }
            }
            Self::Test(lines) => {
                if let Ok(lines) = lines.lock() {
                    let _ = lines.send(line);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_gets_what_the_console_gets() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let socket = UnixDatagram::bind(&log).unwrap();
        Console::System { log }.say("a\x1b[2Jb\nc");
        let mut bytes = [0; 100];
        let len = socket.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"<30>frisbee-agent: a?[2Jb c");
    }
}
