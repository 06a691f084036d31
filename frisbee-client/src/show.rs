//! Progress for people, for testbed controllers, and for agents.
//!
//! What it owns: a thread that looks at the [`Status`] a few times a second and prints. What it
//! never does: make the load wait for whoever reads what is printed.

use crate::status::Status;
use imagezip::progress::Tenths;
use imagezip::units::HumanBytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    /// A bar, if standard error is a terminal; else lines.
    Auto,
    /// `Progress: N% SSSSSS CCCCCC` on standard output for every tenth of the chunks.
    Lines,
    /// JSON objects on standard output.
    Json,
    /// Nothing.
    Nothing,
}

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(100);

/// A thread that shows progress until it is dropped.
#[derive(Debug)]
pub struct Show {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Show {
    /// Starts to show `status`.
    pub fn start(status: Arc<Status>, shown: Shown) -> Self {
        let (stop, stopped) = channel();
        let wait = move || stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout);
        let thread = match shown {
            Shown::Nothing => None,
            Shown::Auto if stderr().is_terminal() => {
                Some(std::thread::spawn(move || show_bar(&status, wait)))
            }
            _ => Some(std::thread::spawn(move || {
                let mut steps = Steps::default();
                let mut more = true;
                while more {
                    more = wait();
                    let lines = match shown {
                        Shown::Json => steps.json(&status),
                        _ => steps.line(&status),
                    };
                    // Nobody reads any more: no reason to stop loading.
                    let _ = stdout().lock().write_all(lines.as_bytes());
                    let _ = stdout().flush();
                }
            })),
        };
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Which tenths have been printed.
#[derive(Debug, Default)]
struct Steps {
    found: bool,
    joined: bool,
    fallbacks: usize,
    tenths: Tenths,
}

impl Steps {
    /// The line that testbed controllers look for.
    fn line(&mut self, status: &Status) -> String {
        if !self.tenths.step(status.percent()) {
            return String::new();
        }
        let (percent, left) = (status.percent(), status.chunks_left());
        format!("Progress: {percent}% {:06} {left:06}\n", status.elapsed().as_secs())
    }

    fn json(&mut self, status: &Status) -> String {
        let mut lines = String::new();
        if let Some(found) = status.found().filter(|_| !self.found) {
            self.found = true;
            let object = json!({
                "event": "found",
                "server": found.host,
                "image": found.image,
                "group": found.group.ip(),
                "port": found.group.port(),
                "method": found.methods.to_string(),
                "image_bytes": found.bytes,
                "seconds": status.elapsed().as_secs_f64(),
            });
            lines += &format!("{object}\n");
        }
        for fallback in status.fallbacks_after(self.fallbacks) {
            self.fallbacks += 1;
            let object = json!({
                "event": "fallback",
                "reason": fallback.what,
                "silent_seconds": fallback.silent.as_secs_f64(),
                "from": fallback.from.to_string(),
                "to": fallback.to.to_string(),
                "method": "unicast",
                "seconds": status.elapsed().as_secs_f64(),
            });
            lines += &format!("{object}\n");
        }
        if let Some(joined) = status.joined().filter(|_| !self.joined) {
            self.joined = true;
            let object = json!({
                "event": "joined",
                "server": joined.server.to_string(),
                "bytes": joined.bytes,
                "chunks": joined.chunks,
                "seconds": status.elapsed().as_secs_f64(),
            });
            lines += &format!("{object}\n");
        }
        if self.tenths.step(status.percent()) {
            let object = json!({
                "event": "progress",
                "percent": status.percent(),
                "seconds": status.elapsed().as_secs_f64(),
                "chunks_left": status.chunks_left(),
                "chunks_received": status.received.load(Relaxed),
                "bytes_written": status.progress.done_bytes.load(Relaxed),
            });
            lines += &format!("{object}\n");
        }
        lines
    }
}

fn show_bar(status: &Status, wait: impl Fn() -> bool) {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    while wait() {
        let chunks = status.joined().map_or(0, |joined| joined.chunks);
        bar.set_length(u64::from(chunks));
        bar.set_position(u64::from(status.done.load(Relaxed)));
        bar.set_message(message(status));
    }
    bar.finish_and_clear();
}

/// `120 of 340 chunks, 1.2 GiB written, 560.0 MiB/s, 4 s left`.
fn message(status: &Status) -> String {
    let Some(joined) = status.joined() else { return "waiting for the server".into() };
    let (done, left) = (status.done.load(Relaxed), status.chunks_left());
    let millis = status.elapsed().as_millis().max(1);
    let written = status.progress.done_bytes.load(Relaxed);
    let rate = u64::try_from(u128::from(written) * 1000 / millis).unwrap_or(u64::MAX);
    let mut text = format!(
        "{done} of {} chunks, {} written, {}/s",
        joined.chunks,
        HumanBytes(written),
        HumanBytes(rate)
    );
    if done > 0 && left > 0 {
        let left_millis = millis * u128::from(left) / u128::from(done);
        text += &format!(", {} s left", left_millis / 1000 + 1);
    } else if left == 0 {
        text += ", flushing to the disk";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Joined;

    #[test]
    fn a_line_for_each_tenth_as_controllers_parse_it() {
        let status = Status::new();
        let mut steps = Steps::default();
        assert_eq!(steps.line(&status), "");
        let server = ([10, 0, 0, 1], 7000).into();
        status.set_joined(Joined { server, bytes: 30 << 20, chunks: 30 });
        let mut lines = String::new();
        for done in 1..=30 {
            status.done.store(done, Relaxed);
            lines += &steps.line(&status);
        }
        assert_eq!(lines.lines().count(), 10, "{lines}");
        assert!(lines.starts_with("Progress: 10% 000000 000027\n"), "{lines}");
        assert!(lines.ends_with("Progress: 100% 000000 000000\n"), "{lines}");
    }

    #[test]
    fn json_lines_are_objects() {
        let status = Status::new();
        let mut steps = Steps::default();
        let server = ([10, 0, 0, 1], 7000).into();
        status.set_joined(Joined { server, bytes: 3 << 20, chunks: 3 });
        status.done.store(2, Relaxed);
        let lines = steps.json(&status);
        let events: Vec<_> =
            lines.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()).collect();
        assert_eq!(events[0]["event"], "joined");
        assert_eq!((&events[1]["percent"], &events[1]["chunks_left"]), (&json!(66), &json!(1)));
    }
}
