//! Limits for several sessions together, each of which has a pace of its own.
//!
//! What it owns: when the next burst may go out, as an absolute time. What it never does: choose
//! whose turn it is.

use proto::time::{Duration, Instant};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lateness that is caught up; more would be a burst that switches drop.
const DEBT_MAX: Duration = Duration::from_micros(500);

/// A bandwidth that several senders share, also servers in threads of their own.
///
/// Whoever has sent a burst takes the next free span of time on the wire, and may send again when
/// that span is over. So those that have much to send take turns burst by burst, which is fair, and
/// what one does not use the others have.
#[derive(Debug)]
pub struct Budget {
    bits_per_sec: u64,
    origin: std::time::Instant,
    /// Where the last span ends, in nanoseconds after `origin`.
    taken_until: AtomicU64,
}

impl Budget {
    /// A budget of so many bits per second on the wire.
    pub fn new(bits_per_sec: u64) -> Self {
        Self {
            bits_per_sec: bits_per_sec.max(1),
            origin: std::time::Instant::now(),
            taken_until: AtomicU64::new(0),
        }
    }

    /// Takes the time that a burst needs; returns how long it is until that time has passed and the
    /// sender may send again.
    fn take(&self, wire_bits: u64) -> Duration {
        let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.take_at(now, wire_bits)
    }

    fn take_at(&self, now: u64, wire_bits: u64) -> Duration {
        let nanos = u128::from(wire_bits) * 1_000_000_000 / u128::from(self.bits_per_sec);
        let span = u64::try_from(nanos).unwrap_or(u64::MAX);
        let earliest = now.saturating_sub(DEBT_MAX.as_nanos());
        let end_after = |until: u64| until.max(earliest).saturating_add(span);
        let taken = self
            .taken_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| Some(end_after(until)));
        let until = end_after(taken.unwrap_or_else(|until| until));
        Duration::from_nanos(until.saturating_sub(now))
    }
}

/// Lets bursts of all sessions of one server pass; without a budget it is always open.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    budgets: Vec<Arc<Budget>>,
    due: Instant,
}

impl Gate {
    pub(crate) fn new(budgets: impl IntoIterator<Item = Arc<Budget>>) -> Self {
        Self { budgets: budgets.into_iter().collect(), due: Instant::ZERO }
    }

    /// When the next burst may begin.
    pub(crate) fn opens_at(&self) -> Instant {
        self.due
    }

    /// A burst went out.
    pub(crate) fn pass(&mut self, now: Instant, wire_bits: u64) {
        if let Some(wait) = self.budgets.iter().map(|budget| budget.take(wire_bits)).max() {
            self.due = now + wait;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST_BITS: u64 = 16 * 8912;

    #[test]
    fn the_rate_holds_over_many_bursts_and_pauses_are_not_caught_up() {
        let budget = Budget::new(100_000_000);
        let start = 5_000_000_000;
        let mut now = start;
        for _ in 0..1000 {
            // Each burst is a little late.
            now += budget.take_at(now, BURST_BITS).as_nanos() + 30_000;
        }
        let ideal = 1000 * BURST_BITS * 10;
        assert!((now - start).abs_diff(ideal) <= 1_000_000, "{} {ideal}", now - start);
        now += 9_000_000_000;
        budget.take_at(now, 8912);
        assert!(
            budget.take_at(now, 100_000) > Duration::ZERO,
            "no more than the debt is caught up"
        );
    }

    #[test]
    fn senders_that_want_more_get_the_same_and_share_what_others_leave() {
        let budget = Budget::new(100_000_000);
        // Two that always want to send, and one that wants a tenth of the whole.
        let mut next = [1_000_000_000_u64; 3];
        let mut sent = [0_u64; 3];
        loop {
            let (who, now) = next.iter().copied().enumerate().min_by_key(|(_, at)| *at).unwrap();
            if now > 11_000_000_000 {
                break;
            }
            sent[who] += BURST_BITS;
            let wait = budget.take_at(now, BURST_BITS).as_nanos();
            next[who] = now + if who == 2 { BURST_BITS * 100 } else { wait.max(1) };
        }
        let total: u64 = sent.iter().sum();
        assert!(total.abs_diff(1_000_000_000) < 10_000_000, "{sent:?}");
        assert!(sent[0].abs_diff(sent[1]) < 10_000_000, "{sent:?}");
        assert!(sent[0] > 400_000_000, "{sent:?}");
    }

    #[test]
    fn without_a_budget_it_is_open_and_the_tighter_of_two_holds() {
        let now = Instant::ZERO + Duration::from_secs(1);
        let mut gate = Gate::new([]);
        gate.pass(now, u64::MAX);
        assert_eq!(gate.opens_at(), Instant::ZERO);
        let (wide, tight) =
            (Arc::new(Budget::new(1_000_000_000)), Arc::new(Budget::new(1_000_000)));
        let mut gate = Gate::new([wide, tight]);
        gate.pass(now, 1_000_000);
        assert!(gate.opens_at().since(now) > Duration::from_millis(900));
    }
}
