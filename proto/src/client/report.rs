//! Reports of progress that the server asked for.

use std::net::SocketAddr;

use crate::random::Random;
use crate::time::{Duration, Instant};

/// The first report is delayed at random by at most this, so that hundreds of clients do not
/// answer in the same millisecond.
const SKEW_MAX: Duration = Duration::from_secs(1);

/// Reports are at least this far apart, whatever a request says.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// When the next report is due, and for whom.
#[derive(Clone, Debug, Default)]
pub(super) struct ReportTimer {
    server: Option<SocketAddr>,
    due: Option<Instant>,
    interval: Duration,
    seq: u16,
}

impl ReportTimer {
    /// The server at `server` wants a report every `secs` seconds; 0 = once.
    pub(super) fn ask(&mut self, now: Instant, server: SocketAddr, secs: u32, random: &mut Random) {
        self.interval = Duration::from_secs(u64::from(secs));
        if self.due.is_some() && self.server == Some(server) {
            return; // asked again because another client joined
        }
        self.server = Some(server);
        let skew = match secs {
            0 => SKEW_MAX,
            _ => self.interval,
        };
        self.due = Some(now + random.span_below(skew));
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The server and the report's number when a report is due.
    pub(super) fn fire(&mut self, now: Instant) -> Option<(SocketAddr, u16)> {
        self.due.filter(|due| *due <= now)?;
        self.due = match self.interval {
            Duration::ZERO => None,
            interval => Some(now + interval.max(INTERVAL_MIN)),
        };
        self.seq = self.seq.wrapping_add(1);
        Some((self.server?, self.seq))
    }
}
