//! When the next blocks may go out: two token buckets in time.
//!
//! What it owns: absolute deadlines, so that late wake-ups are caught up and do not lower the rate.
//! What it never does: sleep. One bucket holds the rate over [`DEBT_MAX`], so that a server that
//! shares its processors with others keeps it; the other, a quarter faster, holds it over
//! [`DEBT_AT_ONCE_MAX`], so that no flood follows a pause.

use crate::time::{Duration, Instant};

/// Late wake-ups up to this are caught up: some time slices of a busy scheduler.
const DEBT_MAX: Duration = Duration::from_millis(20);

/// Of that, so much at once, or the time of [`BURST_SLOW_MAX`] blocks if that is more. Beyond it would
/// be a burst that switches drop.
const DEBT_AT_ONCE_MAX: Duration = Duration::from_micros(500);

/// Below this rate a burst is at most [`BURST_SLOW_MAX`] blocks, for switches with shallow buffers.
const BURST_FAST_RATE: u64 = 2_500_000_000;

/// See [`BURST_FAST_RATE`].
const BURST_SLOW_MAX: u32 = 16;

/// A burst lasts about this long at most, so that slow rates go out block by block.
const BURST_SPAN: Duration = Duration::from_millis(2);

/// Lets blocks pass at a rate.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    block_wire_bits: u64,
    burst_blocks_max: u32,
    rate: u64,
    /// Time that one block takes at the rate.
    block_time: Duration,
    /// When everything sent so far is paid for.
    due: Instant,
    /// The same at the rate of catching up.
    due_at_once: Instant,
    /// Blocks that may still go in the burst that has begun.
    burst_left: u32,
}

impl Pacer {
    pub(super) fn new(block_wire_bits: u64, burst_blocks_max: u32, rate: u64) -> Self {
        let mut pacer = Self {
            block_wire_bits,
            burst_blocks_max: burst_blocks_max.max(1),
            rate: 0,
            block_time: Duration::ZERO,
            due: Instant::ZERO,
            due_at_once: Instant::ZERO,
            burst_left: 0,
        };
        pacer.set_rate(rate);
        pacer
    }

    /// Bits per second on the wire.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    pub(super) fn set_rate(&mut self, rate: u64) {
        self.rate = rate.max(1);
        let nanos = u128::from(self.block_wire_bits) * 1_000_000_000 / u128::from(self.rate);
        self.block_time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).max(1));
    }

    fn burst(&self) -> u32 {
        let limit = if self.rate < BURST_FAST_RATE { BURST_SLOW_MAX } else { u32::MAX };
        let span = BURST_SPAN.as_nanos() / self.block_time.as_nanos();
        u32::try_from(span).unwrap_or(u32::MAX).clamp(1, self.burst_blocks_max.min(limit))
    }

    fn at_once_max(&self) -> Duration {
        DEBT_AT_ONCE_MAX.max(self.block_time.times(u64::from(BURST_SLOW_MAX)))
    }

    /// There is work again after a pause, which is not to be caught up.
    pub(super) fn begin(&mut self, now: Instant) {
        self.due = self.due.max(now - self.at_once_max());
    }

    /// Blocks that may go out now.
    pub(super) fn allowance(&mut self, now: Instant) -> u32 {
        if self.burst_left == 0 && self.next() <= now {
            let at_once = self.at_once_max();
            self.due = self.due.max(now - DEBT_MAX.max(at_once));
            self.due_at_once = self.due_at_once.max(now - at_once);
            self.burst_left = self.burst();
        }
        self.burst_left
    }

    /// When [`Self::allowance`] is above zero.
    pub(super) fn next(&self) -> Instant {
        if self.burst_left > 0 { Instant::ZERO } else { self.due.max(self.due_at_once) }
    }

    /// Blocks went out.
    pub(super) fn spend(&mut self, blocks: u32) {
        self.burst_left = self.burst_left.saturating_sub(blocks);
        let time = self.block_time.times(u64::from(blocks));
        self.due = self.due + time;
        self.due_at_once = self.due_at_once + Duration::from_nanos(time.as_nanos() / 5 * 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as fast as allowed with wake-ups `late` after each deadline; blocks in a second.
    fn blocks_in_a_second(rate: u64, late: Duration) -> u64 {
        let mut pacer = Pacer::new((1048 + 66) * 8, 44, rate);
        let (mut now, mut sent) = (Instant::ZERO + Duration::from_secs(1), 0);
        pacer.begin(now);
        let end = now + Duration::from_secs(1);
        while now < end {
            let n = pacer.allowance(now);
            pacer.spend(n);
            sent += u64::from(n);
            now = now.max(pacer.next() + late);
        }
        sent
    }

    #[test]
    fn the_rate_holds_from_10_megabits_to_10_gigabits() {
        for rate in [10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000] {
            // On a busy machine a wake-up may be milliseconds late; slow rates hold all the same.
            let lates = if rate < 20_000_000 { [0, 200, 5_000] } else { [0, 50, 200] };
            for late in lates {
                let blocks = blocks_in_a_second(rate, Duration::from_micros(late));
                let ideal = rate / ((1048 + 66) * 8);
                let error = blocks.abs_diff(ideal) * 1000 / ideal;
                assert!(error <= 20, "{blocks} blocks at {rate}, {late} us late; ideal {ideal}");
            }
        }
    }

    #[test]
    fn a_busy_machine_keeps_the_rate() {
        // Each 60 ms a wake-up is late by a time slice or two.
        for (rate, late) in [(100_000_000, 8), (1_000_000_000, 8), (300_000_000, 3)] {
            let mut pacer = Pacer::new((1048 + 66) * 8, 44, rate);
            let (mut now, mut sent) = (Instant::ZERO + Duration::from_secs(1), 0_u64);
            let end = now + Duration::from_secs(2);
            pacer.begin(now);
            let mut others_run_at = now;
            while now < end {
                let n = pacer.allowance(now);
                pacer.spend(n);
                sent += u64::from(n);
                now = now.max(pacer.next());
                if now >= others_run_at {
                    others_run_at = now + Duration::from_millis(60);
                    now = now + Duration::from_millis(late);
                }
            }
            let ideal = 2 * rate / ((1048 + 66) * 8);
            let error = sent.abs_diff(ideal) * 1000 / ideal;
            assert!(error <= 20, "{sent} blocks at {rate}, {late} ms late; ideal {ideal}");
        }
    }

    #[test]
    fn a_pause_is_not_caught_up() {
        let mut pacer = Pacer::new(8912, 44, 100_000_000);
        let now = Instant::ZERO + Duration::from_secs(100);
        pacer.begin(now);
        let mut sent = 0;
        while pacer.next() <= now {
            let n = pacer.allowance(now);
            pacer.spend(n);
            sent += n;
        }
        assert!(sent <= 2 * BURST_SLOW_MAX, "{sent} blocks at once");
    }
}
