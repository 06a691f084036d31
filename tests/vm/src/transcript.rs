//! What a program or a machine printed, as text that can be waited for.
//!
//! What it owns: taking terminal control out, when each line came, and waking whoever waits. What
//! it never does: read by itself; a thread of the process hands it the bytes.

use std::fmt::Write as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Text that grows.
#[derive(Debug)]
pub struct Transcript {
    started: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    /// Where each line begins, and when that was.
    lines: Vec<(usize, Duration)>,
    filter: Filter,
    /// Streams that still feed it.
    open: usize,
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ended {
    /// Nothing more will come.
    Closed,
    /// The time was over.
    Late,
    /// This came, which must not.
    Forbidden(String),
}

impl Transcript {
    /// Nothing was said yet; time counts from here.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it looked has not changed the text.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more stream feeds it.
    pub fn open(&self) {
        self.state().open += 1;
    }

    /// That stream has ended.
    pub fn close(&self) {
        self.state().open -= 1;
        self.changed.notify_all();
    }

    /// Adds what came.
    pub fn add(&self, bytes: &[u8]) {
        let mut state = self.state();
        let at = self.started.elapsed();
        for &byte in bytes {
            let State { text, lines, filter, .. } = &mut *state;
            let Some(byte) = filter.pass(byte) else { continue };
            if text.is_empty() || text.ends_with('\n') {
                lines.push((text.len(), at));
            }
            // Programs here speak ASCII; anything else only has to leave the rest readable.
            text.push(if byte.is_ascii() { char::from(byte) } else { '?' });
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until one of these texts has come after position `from`, and says which it was and
    /// where it ends. Of several, the one that came first counts.
    ///
    /// # Errors
    /// When it never will, see [`Ended`]. What is `forbidden` counts if it came before.
    pub fn wait(
        &self,
        from: usize,
        texts: &[&str],
        forbidden: &[&str],
        patience: Duration,
    ) -> Result<(usize, usize), Ended> {
        let give_up = Instant::now() + patience;
        let mut state = self.state();
        loop {
            let new = state.text.get(from..).unwrap_or_default();
            let first = |texts: &[&str]| {
                let found = texts.iter().enumerate();
                found.filter_map(|(which, text)| Some((new.find(text)?, which))).min()
            };
            let (wanted, unwanted) = (first(texts), first(forbidden));
            match (wanted, unwanted) {
                (Some((at, which)), bad) if bad.is_none_or(|(bad, _)| at <= bad) => {
                    return Ok((which, from + at + texts[which].len()));
                }
                (_, Some((at, _))) => {
                    let line = new.get(at..).unwrap_or_default().lines().next();
                    return Err(Ended::Forbidden(line.unwrap_or_default().to_owned()));
                }
                _ => {}
            }
            if state.open == 0 {
                return Err(Ended::Closed);
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Ended::Late);
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        self.state().text.clone()
    }

    /// The last lines, each with the seconds after which it came.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let state = self.state();
        let first = state.lines.len().saturating_sub(count);
        let mut tail = String::new();
        for (at, came) in state.lines.iter().skip(first) {
            let line = state.text.get(*at..).unwrap_or_default().lines().next();
            let line = line.unwrap_or_default();
            let _ = writeln!(tail, "{:8.2} {line}", came.as_secs_f32());
        }
        tail
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes escape sequences and other control out of a stream of bytes.
#[derive(Debug, Default, Eq, PartialEq)]
enum Filter {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In `ESC [ … letter`.
    Control,
    /// In `ESC ] … BEL`, and the other strings.
    String,
    /// After ESC and a character that announces one more.
    One,
}

impl Filter {
    /// What this byte adds to the text.
    fn pass(&mut self, byte: u8) -> Option<u8> {
        const ESCAPE: u8 = 0x1b;
        let (next, shown) = match (&*self, byte) {
            (_, ESCAPE) => (Self::Escape, None),
            (Self::Text, b'\n' | b'\t' | b' '..) if byte != 0x7f => (Self::Text, Some(byte)),
            (Self::Text, _) => (Self::Text, None),
            (Self::Escape, b'[') => (Self::Control, None),
            (Self::Escape, b']' | b'P' | b'_' | b'^' | b'X') => (Self::String, None),
            (Self::Escape, b' '..=b'/') => (Self::One, None),
            (Self::Control, b'@'..=b'~') | (Self::String, 0x07) | (Self::Escape | Self::One, _) => {
                (Self::Text, None)
            }
            (Self::Control, _) => (Self::Control, None),
            (Self::String, _) => (Self::String, None),
        };
        *self = next;
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);
    const NOW: Duration = Duration::ZERO;

    fn transcript(pieces: &[&[u8]]) -> Transcript {
        let transcript = Transcript::new();
        transcript.open();
        pieces.iter().for_each(|piece| transcript.add(piece));
        transcript
    }

    #[test]
    fn takes_terminal_control_out_wherever_a_piece_ends() {
        let coloured = b"\x1bc\x1b[?7l\x1b[0mLoad\x1b[1;31ming\x1b]0;title\x07 \x1b(BDebian\r\n\x1b[2J$\t\xc3\xa4";
        for size in 1..coloured.len() {
            let pieces: Vec<&[u8]> = coloured.chunks(size).collect();
            assert_eq!(transcript(&pieces).text(), "Loading Debian\n$\t??", "pieces of {size}");
        }
    }

    #[test]
    fn finds_the_first_of_several_texts_and_goes_on_after_it() {
        let text = transcript(&[b"one tw", b"o three two"]);
        assert_eq!(text.wait(0, &["three", "two"], &[], NOW), Ok((1, 7)));
        assert_eq!(text.wait(7, &["three", "two"], &[], NOW), Ok((0, 13)));
        assert_eq!(text.wait(13, &["three", "two"], &[], NOW), Ok((1, 17)));
        assert_eq!(text.wait(17, &["three", "two"], &[], NOW), Err(Ended::Late));
    }

    #[test]
    fn says_why_a_text_did_not_come() {
        let text = transcript(&[b"up\nKernel panic - not syncing\nlogin:"]);
        let panic = Ended::Forbidden("Kernel panic - not syncing".into());
        assert_eq!(text.wait(0, &["login:"], &["Kernel panic"], SOON), Err(panic));
        assert_eq!(text.wait(0, &["up"], &["Kernel panic"], SOON), Ok((0, 2)));
        text.close();
        assert_eq!(text.wait(0, &["never"], &[], SOON), Err(Ended::Closed));
    }

    #[test]
    fn wakes_who_waits() {
        let text = transcript(&[]);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| text.wait(0, &["login:"], &[], SOON));
            text.add(b"debian log");
            text.add(b"in: ");
            assert_eq!(waiting.join().unwrap(), Ok((0, 13)));
        });
    }

    #[test]
    fn tells_the_last_lines_and_when_they_came() {
        let text = transcript(&[b"a\nb\n\nc"]);
        let tail = text.tail(3);
        let lines: Vec<_> = tail.lines().map(|line| line.split_at(8).1.trim()).collect();
        assert_eq!(lines, ["b", "", "c"]);
    }
}
