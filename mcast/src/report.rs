//! Saying what goes wrong without flooding the log.
//!
//! What it owns: when the last line was written and how many were kept back. What it never does:
//! run on the path of a datagram that went well.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A failure of one kind is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Remembers one line per error number; beyond that many the last place is shared.
const KINDS_MAX: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Line {
    errno: Option<i32>,
    at: Instant,
    kept_back: u64,
}

/// A log with a limited rate for one socket and one direction.
#[derive(Debug)]
pub(crate) struct LimitedLog {
    what: &'static str,
    lines: Mutex<Vec<Line>>,
}

impl LimitedLog {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, lines: Mutex::new(Vec::new()) }
    }

    /// Logs a failure, or counts it.
    pub(crate) fn failed(&self, to: &dyn std::fmt::Display, error: &io::Error) {
        if let Some(kept_back) = self.due(Instant::now(), error.raw_os_error()) {
            let what = self.what;
            tracing::warn!(%to, kept_back, "{what} failed: {error}{}", advice(error));
        }
    }

    /// Whether a line is due now, and how many of its kind were kept back since the last.
    fn due(&self, now: Instant, errno: Option<i32>) -> Option<u64> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lines.iter().position(|line| line.errno == errno);
        let place =
            if known.is_none() && lines.len() >= KINDS_MAX { Some(KINDS_MAX - 1) } else { known };
        let Some(line) = place.and_then(|at| lines.get_mut(at)) else {
            lines.push(Line { errno, at: now, kept_back: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(line.at) < LOG_INTERVAL {
            line.kept_back += 1;
            return None;
        }
        let kept_back = line.kept_back;
        *line = Line { errno, at: now, kept_back: 0 };
        Some(kept_back)
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (a firewall on this machine refuses it: see `nft list ruleset`)"
        }
        io::ErrorKind::NetworkUnreachable => " (no route: see `ip route`)",
        io::ErrorKind::NetworkDown => " (the interface is down: see `ip link`)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_logged_once_per_interval_with_the_count_kept_back() {
        let log = LimitedLog::new("send");
        let start = Instant::now();
        assert_eq!(log.due(start, Some(1)), Some(0));
        assert_eq!(log.due(start, Some(101)), Some(0), "another kind");
        for _ in 0..5 {
            assert_eq!(log.due(start + LOG_INTERVAL / 2, Some(1)), None);
        }
        assert_eq!(log.due(start + LOG_INTERVAL, Some(1)), Some(5));
        assert_eq!(log.due(start + LOG_INTERVAL * 2, Some(1)), Some(0));
    }

    #[test]
    fn many_kinds_share_the_last_place() {
        let log = LimitedLog::new("send");
        let now = Instant::now();
        let logged = (0..100).filter(|errno| log.due(now, Some(*errno)).is_some()).count();
        assert_eq!(logged, KINDS_MAX);
    }
}
