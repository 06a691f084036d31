//! A common limit for several sessions, each of which has a pace of its own.
//!
//! What it owns: when the next burst of anybody may go out, as an absolute time. What it never
//! does: choose whose turn it is.

use proto::time::{Duration, Instant};

/// Lateness that is caught up; more would be a burst that switches drop.
const DEBT_MAX: Duration = Duration::from_micros(500);

/// Lets bursts of all sessions pass at a rate; without a rate it is always open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    bits_per_sec: Option<u64>,
    due: Instant,
}

impl Gate {
    pub(crate) fn new(bits_per_sec: Option<u64>) -> Self {
        Self { bits_per_sec, due: Instant::ZERO }
    }

    /// When the next burst may begin.
    pub(crate) fn opens_at(&self) -> Instant {
        self.due
    }

    /// A burst went out.
    pub(crate) fn pass(&mut self, now: Instant, wire_bits: u64) {
        let Some(rate) = self.bits_per_sec else { return };
        let nanos = u128::from(wire_bits) * 1_000_000_000 / u128::from(rate.max(1));
        let span = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.due = self.due.max(now - DEBT_MAX) + span;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_many_bursts_and_pauses_are_not_caught_up() {
        let mut gate = Gate::new(Some(100_000_000));
        let start = Instant::ZERO + Duration::from_secs(5);
        let mut now = start;
        for _ in 0..1000 {
            now = now.max(gate.opens_at()) + Duration::from_micros(30);
            gate.pass(now, 16 * 8912);
        }
        let ideal = Duration::from_nanos(1000 * 16 * 8912 * 10);
        assert!(gate.opens_at().since(start) >= ideal - Duration::from_millis(1));
        assert!(gate.opens_at().since(start) <= ideal + Duration::from_millis(1));
        now = now + Duration::from_secs(9);
        gate.pass(now, 8912);
        gate.pass(now, 100_000);
        assert!(gate.opens_at() > now);
    }

    #[test]
    fn without_a_rate_it_is_open() {
        let mut gate = Gate::new(None);
        gate.pass(Instant::ZERO + Duration::from_secs(1), u64::MAX);
        assert_eq!(gate.opens_at(), Instant::ZERO);
    }
}
