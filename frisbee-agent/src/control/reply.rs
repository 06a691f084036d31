//! What the agent tells a control server, as text.

use super::lines::LINE_BYTES_MAX;
use crate::disks::Disk;
use crate::failure::Failure;
use crate::program_line::Progress;
use crate::words::{cut, printable, quote};
use crate::worker::Done;
use std::fmt;
use std::fmt::Write as _;

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// Who the node is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// Its name; empty if it has none.
    pub node: String,
    /// Its address.
    pub ip: String,
    /// The hardware address of its interface.
    pub mac: String,
    /// The interface.
    pub interface: String,
}

/// What is told.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Who speaks.
    Hello(Facts),
    /// A disk of the node.
    Disk(Box<Disk>),
    /// An order is obeyed: the name of the work.
    Accepted(&'static str, Option<String>),
    /// What people at the console read too.
    Note(String),
    /// How far the job is.
    Progress(Progress, Option<String>),
    /// A job is done.
    JobDone {
        /// `load` or `save`.
        work: &'static str,
        /// What it did.
        done: Box<Done>,
        /// Whose.
        id: Option<String>,
        /// It was told before.
        again: bool,
    },
    /// Another order is done.
    Done(&'static str, Option<String>),
    /// A job or an order came to nothing.
    Failed {
        /// Why.
        failure: Failure,
        /// Whose.
        id: Option<String>,
        /// It was told before.
        again: bool,
    },
    /// Nothing is being done.
    Idle,
    /// A job is being done.
    Busy {
        /// `load` or `save`.
        work: &'static str,
        /// The disk, once it is chosen.
        disk: Option<String>,
        /// How far.
        progress: Option<Progress>,
        /// Whose.
        id: Option<String>,
    },
    /// The answer to PING.
    Pong(Option<String>),
    /// Still here.
    Alive,
    /// The last line.
    Bye,
}

impl Reply {
    /// The same, said once more.
    #[must_use]
    pub fn again(mut self) -> Self {
        if let Self::JobDone { again, .. } | Self::Failed { again, .. } = &mut self {
            *again = true;
        }
        self
    }

    /// True for what may be left out when the server reads too slowly.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Progress(..) | Self::Note(_) | Self::Alive | Self::Pong(_))
    }

    /// The line, with its end.
    pub fn line(&self) -> String {
        let text = printable(&self.to_string());
        format!("{}\n", cut(&text, LINE_BYTES_MAX.saturating_sub(1)))
    }
}

/// ` key=value`.
fn put(f: &mut fmt::Formatter<'_>, key: &str, value: impl fmt::Display) -> fmt::Result {
    write!(f, " {key}={}", quote(&value.to_string()))
}

fn put_known(
    f: &mut fmt::Formatter<'_>,
    key: &str,
    value: Option<impl fmt::Display>,
) -> fmt::Result {
    match value {
        Some(value) => put(f, key, value),
        None => Ok(()),
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(facts) => {
                write!(f, "HELLO {VERSION}")?;
                put(f, "node", &facts.node)?;
                put(f, "ip", &facts.ip)?;
                put(f, "mac", &facts.mac)?;
                put(f, "interface", &facts.interface)?;
                put(f, "agent", env!("CARGO_PKG_VERSION"))
            }
            Self::Disk(disk) => {
                write!(f, "DISK {}", quote(&disk.path.to_string_lossy()))?;
                put(f, "bytes", disk.bytes)?;
                put(f, "sector", disk.sector_bytes)?;
                put_known(f, "transport", disk.transport)?;
                put_known(f, "model", disk.model.as_ref())?;
                put_known(f, "serial", disk.serial.as_ref())?;
                put_known(f, "wwn", disk.wwn.as_ref())?;
                put_known(f, "never", disk.unfit)
            }
            Self::Accepted(what, id) => {
                write!(f, "ACCEPTED {what}")?;
                put_known(f, "id", id.as_ref())
            }
            Self::Note(text) => write!(f, "NOTE {text}"),
            Self::Progress(progress, id) => {
                let Progress { percent, seconds, chunks_left } = progress;
                write!(f, "PROGRESS {percent} {seconds} {chunks_left}")?;
                put_known(f, "id", id.as_ref())
            }
            Self::JobDone { work, done, id, again } => {
                write!(f, "DONE.OK {work} {}", quote(&done.disk.path.to_string_lossy()))?;
                put_known(f, "id", id.as_ref())?;
                put(f, "seconds", done.time.as_secs())?;
                put(f, "bytes", done.summary.bytes)?;
                put(f, "peak", done.memory.peak)?;
                put_known(f, "available", done.memory.available)?;
                put_known(f, "again", again.then_some("yes"))
            }
            Self::Done(what, id) => {
                write!(f, "DONE.OK {what}")?;
                put_known(f, "id", id.as_ref())
            }
            Self::Failed { failure, id, again } => {
                write!(f, "DONE.ERR {}", failure.class)?;
                put_known(f, "id", id.as_ref())?;
                put_known(f, "again", again.then_some("yes"))?;
                f.write_char(' ')?;
                f.write_str(&failure.message)
            }
            Self::Idle => f.write_str("STATUS idle"),
            Self::Busy { work, disk, progress, id } => {
                write!(f, "STATUS busy {work}")?;
                put_known(f, "disk", disk.as_ref())?;
                put_known(f, "percent", progress.map(|progress| progress.percent))?;
                put_known(f, "id", id.as_ref())
            }
            Self::Pong(id) => {
                f.write_str("PONG")?;
                put_known(f, "id", id.as_ref())
            }
            Self::Alive => f.write_str("ALIVE"),
            Self::Bye => f.write_str("BYE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Class;

    #[test]
    fn replies_are_one_line_whatever_they_hold() {
        let failure = Failure::lasting(Class::Server, "no such\nimage\x1b[0m");
        let failed = Reply::Failed { failure, id: Some("7".into()), again: false };
        assert_eq!(failed.line(), "DONE.ERR server id=7 no such image?[0m\n");
        assert_eq!(failed.again().line(), "DONE.ERR server id=7 again=yes no such image?[0m\n");
        let facts = Facts { node: "a b\"\n".into(), ip: "10.0.0.7".into(), ..Facts::default() };
        let hello = Reply::Hello(facts).line();
        assert!(hello.starts_with("HELLO 1 node=\"a b' \" ip=10.0.0.7 mac=\"\" "), "{hello}");
        let long = Reply::Note("é".repeat(5000)).line();
        assert!(long.len() <= LINE_BYTES_MAX && long.ends_with('\n') && long.len() > 4000);
        let progress = Progress { percent: 10, seconds: 3, chunks_left: 27 };
        assert_eq!(Reply::Progress(progress, None).line(), "PROGRESS 10 3 27\n");
        let busy = Reply::Busy {
            work: "load",
            disk: Some("/dev/vda".into()),
            progress: Some(progress),
            id: None,
        };
        assert_eq!(busy.line(), "STATUS busy load disk=/dev/vda percent=10\n");
    }
}
