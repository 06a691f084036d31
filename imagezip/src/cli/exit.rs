//! Exit statuses, the same for all programs.

use std::process::ExitCode;

/// How a program ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// All of it was done and is on stable storage.
    Done,
    /// It failed; a retry may help.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// The image or the disk does not qualify; nothing was written.
    Refused,
    /// Done, with losses the user allowed (`--rescue`).
    DoneWithLosses,
}

/// For `--help`.
pub const EXIT_STATUS_HELP: &str = "\
Exit status:
  0  done: everything is there and flushed to the device
  1  failed (I/O error, damaged data in the middle, interrupted); a retry may help
  2  the command line makes no sense
  3  image or disk refused before anything was written; the message says why
  4  done with losses that --rescue allowed";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::DoneWithLosses => 4,
        })
    }
}
