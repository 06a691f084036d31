//! The conversation that begins a load, and begins it again when the server is gone.

use crate::time::{Duration, Instant};

/// Time until each of the first join requests is repeated, as the newest deployed clients do.
const SCHEDULE: [Duration; 3] =
    [Duration::from_millis(125), Duration::from_millis(250), Duration::from_millis(500)];

/// Time between later join requests.
const INTERVAL: Duration = Duration::from_millis(1000);

/// Silence after which a client joins again: the server may have been restarted with another file.
const REJOIN_SILENCE: Duration = Duration::from_secs(3);

/// When the next join request goes out.
#[derive(Clone, Debug, Default)]
pub(super) struct JoinTimer {
    /// `None` while nothing is to be asked.
    due: Option<Instant>,
    attempts: u32,
    /// Requests in this conversation.
    round: usize,
}

impl JoinTimer {
    /// Begins a conversation, unless one goes on.
    pub(super) fn start(&mut self, now: Instant) {
        if self.due.is_none() {
            self.due = Some(now);
            self.round = 0;
        }
    }

    /// The reply came.
    pub(super) fn stop(&mut self) {
        self.due = None;
    }

    pub(super) fn is_running(&self) -> bool {
        self.due.is_some()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Join requests sent so far.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The number of the request to send now, from 0; `None` when none is due.
    pub(super) fn fire(&mut self, now: Instant) -> Option<usize> {
        self.due.filter(|due| *due <= now)?;
        let round = self.round;
        let wait = SCHEDULE.get(round).copied().unwrap_or(INTERVAL);
        self.due = Some(now + wait);
        self.round = round.saturating_add(1);
        self.attempts = self.attempts.saturating_add(1);
        Some(round)
    }

    /// When silence since `last_heard` is long enough to join again.
    pub(super) fn rejoin_at(last_heard: Instant) -> Instant {
        last_heard + REJOIN_SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_of_the_newest_clients() {
        let mut timer = JoinTimer::default();
        assert_eq!(timer.fire(Instant::ZERO), None);
        timer.start(Instant::ZERO);
        let mut at = Vec::new();
        while at.len() < 6 {
            let now = timer.due().unwrap();
            assert_eq!(timer.fire(now), Some(at.len()));
            at.push(now.as_nanos() / 1_000_000);
        }
        assert_eq!(at, [0, 125, 375, 875, 1875, 2875]);
        timer.stop();
        assert!(!timer.is_running());
        assert_eq!(timer.attempts(), 6);
    }
}
