//! The serial console of a machine, read in order.
//!
//! What it owns: how far the test has read, and failing at once when a machine has died.

use crate::transcript::{Ended, Transcript};
use std::sync::Arc;
use std::time::Duration;

/// What takes longer than this will never be, on a machine whose every instruction is emulated by a
/// busy host.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// What no machine may say.
const DEADLY: [&str; 3] = ["Kernel panic", "Out of memory: Killed", "invoked oom-killer"];

/// A place in what a machine says.
#[derive(Debug)]
pub struct Console {
    machine: String,
    transcript: Arc<Transcript>,
    read: usize,
}

impl Console {
    pub(crate) fn new(machine: &str, transcript: &Arc<Transcript>) -> Self {
        Self { machine: machine.to_owned(), transcript: Arc::clone(transcript), read: 0 }
    }

    /// Waits for a text, after what was waited for before.
    ///
    /// # Panics
    /// When it does not come in time, the kernel panics, or the machine is off.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        self.expect_unless(text, &[]);
    }

    /// As [`Self::expect`], and returns the line that the text is in.
    ///
    /// # Panics
    /// As [`Self::expect`].
    #[track_caller]
    pub fn expect_line(&mut self, text: &str) -> String {
        self.expect_line_unless(text, &[])
    }

    /// As [`Self::expect_line`], and fails at once when one of these texts comes first.
    ///
    /// # Panics
    /// As [`Self::expect`], and when one of `never` comes.
    #[track_caller]
    pub fn expect_line_unless(&mut self, text: &str, never: &[&str]) -> String {
        self.expect_unless(text, never);
        let before = self.read;
        self.expect_unless("\n", &[]);
        let all = self.transcript.text();
        let begin = all.get(..before).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1);
        all.get(begin..self.read).unwrap_or_default().trim_end().to_owned()
    }

    /// As [`Self::expect`], and fails at once when one of these texts comes first.
    ///
    /// # Panics
    /// As [`Self::expect`], and when one of `never` comes.
    #[track_caller]
    pub fn expect_unless(&mut self, text: &str, never: &[&str]) {
        let forbidden = [&DEADLY, never].concat();
        match self.transcript.wait(self.read, &[text], &forbidden, PATIENCE) {
            Ok((_, end)) => self.read = end,
            Err(ended) => {
                let why = match ended {
                    Ended::Closed => "the machine is off".to_owned(),
                    Ended::Late => format!("{PATIENCE:?} are over"),
                    Ended::Forbidden(line) => format!("it said: {line}"),
                };
                panic!("machine {}: waited for {text:?} in vain: {why}", self.machine);
            }
        }
    }

    /// All that was said until now.
    #[must_use]
    pub fn text(&self) -> String {
        self.transcript.text()
    }
}
