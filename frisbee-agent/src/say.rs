//! What the agent says on the console. `/init` brings it to all consoles and to a syslog host.
//!
//! What it owns: the form of a line. What it never does: wait for whoever listens, or print what a
//! terminal obeys.

use crate::words::printable;
use std::io::{Write, stdout};
use std::sync::Mutex;
use std::sync::mpsc::Sender;

/// Each line begins with it.
pub const NAME: &str = "frisbee-agent";

/// Where lines go.
#[derive(Debug)]
pub enum Console {
    /// Standard output.
    System,
    /// A test.
    Test(Mutex<Sender<String>>),
}

impl Console {
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
            Self::System => {
                let mut out = stdout().lock();
                // Nobody may be looking; the work goes on.
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
            Self::Test(lines) => {
                if let Ok(lines) = lines.lock() {
                    let _ = lines.send(line);
                }
            }
        }
    }
}
