//! Progress: a bar on a terminal, lines of dots or JSON objects on request, otherwise nothing.

use super::speak::{print, say};
use crate::progress::{Progress, Tenths};
use crate::units::HumanBytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is shown while work goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    /// A bar, if standard error is a terminal; else nothing.
    Auto,
    /// Lines of dots, as the deployed tools print them: one a mebibyte of image.
    Dots,
    /// A JSON object a line, for every tenth.
    Json(Stream),
    /// Nothing.
    Nothing,
}

/// Where JSON objects go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error, when the output is the image.
    Error,
}

impl Stream {
    /// Writes a line. Nobody may be listening; work goes on all the same.
    pub fn line(self, line: &serde_json::Value) {
        match self {
            Self::Output => drop(print(&format!("{line}\n"))),
            Self::Error => say(format_args!("{line}")),
        }
    }
}

impl Shown {
    /// What `--quiet` and `--dots` ask for.
    pub const fn from_flags(quiet: bool, dots: bool) -> Self {
        match (quiet, dots) {
            (true, _) => Self::Nothing,
            (_, true) => Self::Dots,
            _ => Self::Auto,
        }
    }
}

/// A thread that shows progress until it is dropped.
pub struct Display {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Time between two updates.
const PERIOD: Duration = Duration::from_millis(250);

impl Display {
    /// Starts showing `progress`.
    pub fn start(progress: Arc<Progress>, shown: Shown) -> Self {
        let terminal = stderr().is_terminal();
        let (stop, stopped) = channel();
        let wait = move || stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout);
        let thread = match shown {
            Shown::Auto if terminal => Some(std::thread::spawn(move || show_bar(&progress, wait))),
            Shown::Dots => Some(std::thread::spawn(move || show_dots(&progress, wait))),
            Shown::Json(stream) => {
                Some(std::thread::spawn(move || show_json(&progress, stream, wait)))
            }
            _ => None,
        };
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn show_bar(progress: &Progress, wait: impl Fn() -> bool) {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let start = Instant::now();
    while wait() {
        bar.set_length(progress.total_bytes.load(Relaxed));
        bar.set_position(progress.done_bytes.load(Relaxed));
        bar.set_message(message(progress, start.elapsed()));
    }
    bar.finish_and_clear();
}

/// `1.2 GiB of 3.4 GiB, 560.0 MiB/s, 4 s left, limited by compression`.
fn message(progress: &Progress, elapsed: Duration) -> String {
    let (done, total) = (progress.done_bytes.load(Relaxed), progress.total_bytes.load(Relaxed));
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = u128::from(done) * 1000 / u128::from(millis);
    let mut text = HumanBytes(done).to_string();
    if total > 0 {
        text += &format!(" of {}", HumanBytes(total));
    }
    text += &format!(", {}/s", HumanBytes(u64::try_from(rate).unwrap_or(u64::MAX)));
    if total > done && rate > 0 {
        text += &format!(", {} s left", u128::from(total - done) / rate + 1);
    }
    text + &format!(", limited by {}", progress.limiting_stage().name())
}

fn show_json(progress: &Progress, stream: Stream, wait: impl Fn() -> bool) {
    let start = Instant::now();
    let mut tenths = Tenths::default();
    let mut more = true;
    while more {
        more = wait();
        let percent = progress.percent();
        if tenths.step(percent) {
            let (read, all) = (&progress.done_bytes, &progress.total_bytes);
            stream.line(&json!({
                "event": "progress",
                "percent": percent,
                "seconds": start.elapsed().as_secs_f64(),
                "bytes_read": read.load(Relaxed),
                "bytes_left": all.load(Relaxed).saturating_sub(read.load(Relaxed)),
                "image_bytes": progress.image_bytes.load(Relaxed),
            }));
        }
    }
}

fn show_dots(progress: &Progress, wait: impl Fn() -> bool) {
    const PER_LINE: u64 = 60;
    let start = Instant::now();
    let mut shown = 0;
    let mut more = true;
    while more {
        more = wait();
        let chunks = progress.image_bytes.load(Relaxed) >> 20;
        while shown < chunks {
            shown += 1;
            eprint!(".");
            if shown % PER_LINE == 0 || shown == chunks && !more {
                let done = HumanBytes(progress.done_bytes.load(Relaxed));
                eprintln!(" {shown} MiB, {done} of disk, {} s", start.elapsed().as_secs());
            }
        }
        let _ = stderr().flush();
    }
}
