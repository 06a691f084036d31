//! How fast to send, when nobody fixed it.
//!
//! What it owns: the rate, and the loss that each address suffers. What it never does: follow the
//! worst receiver. Principles, each with its reason:
//!
//! - Loss of up to 2 % is repaired, not obeyed: random loss does not fall with the rate.
//! - The loss that steers is that of the 5 % quantile: of 20 clients one may be broken, and of 3
//!   or more, one in any case. So one bad client among three costs the others nothing.
//! - A client that loses more than the others for 3 s leaves the steering set until it has been
//!   well for 3 s, and the rate returns to where it was. At most half of the clients may be out. So
//!   more bad clients cost the others at most a factor of 0.85^6 = 0.38, for 3 s.
//! - Loss that four cuts did not lower is not congestion: it becomes the baseline, and the rate
//!   returns to where it was. A network that always loses 30 % is served at full rate.
//! - The floor is 1/64 of the start, at least [`RATE_MIN`]: no evidence, forged or real, stalls it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::time::{Duration, Instant};

/// No automatic rate is lower, in bits per second.
pub const RATE_MIN: u64 = 2_000_000;

/// The start where the speed of the link is not known, in bits per second.
pub const RATE_START: u64 = 100_000_000;

/// The ceiling where the speed of the link is not known, in bits per second.
pub const RATE_MAX: u64 = 100_000_000_000;

/// Time between decisions: several round trips, and enough blocks to measure a loss of 2 %.
const INTERVAL: Duration = Duration::from_millis(500);

/// Blocks that must have been sent in an interval for its loss to mean something.
const SAMPLE_BLOCKS_MIN: u64 = 200;

/// Loss that is repaired, not obeyed, in millionths.
const LOSS_IGNORED: u64 = 20_000;

/// A client that is worse than the others for this long leaves the steering set.
const LAGGARD_AFTER: Duration = Duration::from_secs(3);

/// Cuts after which loss that did not fall is taken for the network's own.
const CUTS_IN_VAIN: u32 = 4;

/// Addresses whose loss is measured at most.
const ADDRESSES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, Default)]
struct Receiver {
    /// Blocks reported lost in this interval.
    lost: u64,
    /// Loss of the last interval, in millionths.
    loss: u64,
    /// Since when it is worse than the others; while a laggard, since when it is not.
    since: Option<Instant>,
    laggard: bool,
    seen: Instant,
}

/// Chooses the rate.
#[derive(Debug)]
pub(super) struct RateControl {
    automatic: bool,
    rate: u64,
    floor: u64,
    ceiling: u64,
    doubling: bool,
    receivers: BTreeMap<IpAddr, Receiver>,
    interval_start: Instant,
    blocks_sent: u64,
    /// True when the interval had work all the time: only then may the rate go up.
    busy: bool,
    baseline: u64,
    /// Rate and loss before the cuts, and the number of cuts in a row.
    before_cuts: (u64, u64),
    cuts: u32,
}

impl RateControl {
    pub(super) fn fixed(rate: u64) -> Self {
        Self { automatic: false, ..Self::automatic(Some(rate)) }
    }

    pub(super) fn automatic(link: Option<u64>) -> Self {
        let rate = link.unwrap_or(RATE_START).max(RATE_MIN);
        Self {
            automatic: true,
            rate,
            floor: (rate / 64).max(RATE_MIN),
            ceiling: link.unwrap_or(RATE_MAX).max(RATE_MIN),
            doubling: link.is_none(),
            receivers: BTreeMap::new(),
            interval_start: Instant::ZERO,
            blocks_sent: 0,
            busy: true,
            baseline: 0,
            before_cuts: (rate, 0),
            cuts: 0,
        }
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// A client is there, lossy or not.
    pub(super) fn seen(&mut self, now: Instant, address: IpAddr) {
        if let Some(receiver) = self.receivers.get_mut(&address) {
            receiver.seen = now;
        } else if self.receivers.len() < ADDRESSES_MAX {
            self.receivers.insert(address, Receiver { seen: now, ..Receiver::default() });
        }
    }

    /// A client is gone.
    pub(super) fn gone(&mut self, address: IpAddr) {
        self.receivers.remove(&address);
    }

    /// A client asked again for blocks that had been sent.
    pub(super) fn lost(&mut self, now: Instant, address: IpAddr, blocks: u32) {
        self.seen(now, address);
        if let Some(receiver) = self.receivers.get_mut(&address) {
            receiver.lost += u64::from(blocks);
        }
    }

    pub(super) fn sent(&mut self, blocks: u32) {
        self.blocks_sent += u64::from(blocks);
    }

    /// The queue ran empty.
    pub(super) fn idle(&mut self) {
        self.busy = false;
    }

    /// Loss of a client in the last interval in millionths, and whether it is out of the set that
    /// steers the rate.
    pub(super) fn state(&self, address: IpAddr) -> (u64, bool) {
        self.receivers.get(&address).map_or((0, false), |r| (r.loss, r.laggard))
    }

    /// Decides when an interval is over; returns true when the rate changed.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        if now.since(self.interval_start) < INTERVAL || self.blocks_sent < SAMPLE_BLOCKS_MIN {
            return false;
        }
        let loss = self.measure(now);
        self.interval_start = now;
        self.blocks_sent = 0;
        let busy = std::mem::replace(&mut self.busy, true);
        if !self.automatic {
            return false;
        }
        let before = self.rate;
        if loss > LOSS_IGNORED + self.baseline {
            self.cut(loss);
        } else {
            self.cuts = 0;
            if loss < self.baseline / 2 {
                self.baseline = loss;
            }
            if busy {
                let step = if self.doubling { self.rate } else { self.rate / 50 };
                self.rate = self.rate.saturating_add(step).min(self.ceiling);
            }
        }
        self.rate != before
    }

    fn cut(&mut self, loss: u64) {
        if self.doubling {
            // The last doubling was too much.
            self.doubling = false;
            self.rate = (self.rate / 2).max(self.floor);
            self.before_cuts = (self.rate, loss);
            return;
        }
        if self.cuts == 0 {
            self.before_cuts = (self.rate, loss);
        }
        self.cuts += 1;
        let (rate_before, loss_before) = self.before_cuts;
        if self.cuts >= CUTS_IN_VAIN && loss * 4 >= loss_before * 3 {
            self.baseline = loss;
            self.rate = rate_before;
            self.cuts = 0;
            return;
        }
        self.rate = (self.rate / 100 * 85).max(self.floor);
    }

    /// Closes the interval's accounts; the loss that steers, in millionths.
    fn measure(&mut self, now: Instant) -> u64 {
        let sent = self.blocks_sent.max(1);
        let forgotten = Duration::from_secs(60);
        self.receivers.retain(|_, r| now.since(r.seen) < forgotten);
        let mut losses: Vec<u64> = Vec::with_capacity(self.receivers.len());
        for receiver in self.receivers.values_mut() {
            let lost = std::mem::take(&mut receiver.lost);
            receiver.loss = (lost.saturating_mul(1_000_000) / sent).min(1_000_000);
            losses.push(receiver.loss);
        }
        losses.sort_unstable();
        let median = losses.get(losses.len() / 2).copied().unwrap_or(0);
        let bad = (median * 2).max(LOSS_IGNORED + self.baseline);
        let mut out = self.receivers.values().filter(|r| r.laggard).count();
        let out_max = self.receivers.len() / 2;
        let mut restore = false;
        for receiver in self.receivers.values_mut() {
            let changing = (receiver.loss > bad) != receiver.laggard;
            if !changing {
                receiver.since = None;
                continue;
            }
            let since = *receiver.since.get_or_insert(now);
            if now.since(since) < LAGGARD_AFTER {
                continue;
            }
            if receiver.laggard {
                receiver.laggard = false;
                out = out.saturating_sub(1);
            } else if out < out_max {
                receiver.laggard = true;
                out += 1;
                restore = true;
            }
            receiver.since = None;
        }
        if restore && self.cuts > 0 {
            self.rate = self.rate.max(self.before_cuts.0);
            self.cuts = 0;
        }
        let mut steering: Vec<u64> =
            self.receivers.values().filter(|r| !r.laggard).map(|r| r.loss).collect();
        steering.sort_unstable_by(|a, b| b.cmp(a));
        let ignored = (steering.len() / 20).max(usize::from(steering.len() >= 3));
        steering.get(ignored).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    /// Runs intervals in which 1000 blocks are sent and `loss` (in thousandths) is reported.
    fn run(control: &mut RateControl, intervals: u64, from: u64, loss: impl Fn(u8, u64) -> u32) {
        for i in from..from + intervals {
            let now = Instant::ZERO + INTERVAL.times(i + 1);
            for n in 0..40 {
                control.seen(now, address(n));
                control.lost(now, address(n), loss(n, control.rate()));
            }
            control.sent(1000);
            control.tick(now);
        }
    }

    #[test]
    fn doubles_to_the_first_signal_and_settles_below_the_bottleneck() {
        let mut control = RateControl::automatic(None);
        let bottleneck = |_, rate: u64| if rate > 940_000_000 { 100 } else { 0 };
        run(&mut control, 100, 0, bottleneck);
        assert!((600_000_000..=960_000_000).contains(&control.rate()), "{}", control.rate());
    }

    #[test]
    fn random_loss_of_one_percent_is_not_obeyed() {
        let mut control = RateControl::automatic(Some(1_000_000_000));
        run(&mut control, 50, 0, |_, _| 10);
        assert_eq!(control.rate(), 1_000_000_000);
    }

    #[test]
    fn one_broken_client_does_not_slow_the_others() {
        let mut control = RateControl::automatic(Some(1_000_000_000));
        run(&mut control, 50, 0, |n, _| if n == 3 { 900 } else { 0 });
        assert_eq!(control.rate(), 1_000_000_000);
        assert_eq!(control.state(address(3)), (900_000, true));
        assert_eq!(control.state(address(4)), (0, false));
        run(&mut control, 10, 50, |_, _| 0);
        assert!(!control.state(address(3)).1, "well again");
    }

    #[test]
    fn three_broken_clients_slow_the_others_for_a_moment_only() {
        let mut control = RateControl::automatic(Some(1_000_000_000));
        let broken = |n, _| if n < 4 { 500 } else { 0 };
        for i in 0..20 {
            run(&mut control, 1, i, broken);
            assert!(control.rate() >= 370_000_000);
        }
        run(&mut control, 100, 20, broken);
        assert_eq!(control.rate(), 1_000_000_000);
    }

    #[test]
    fn loss_that_cuts_do_not_lower_is_the_networks_own() {
        let mut control = RateControl::automatic(Some(100_000_000));
        run(&mut control, 100, 0, |_, _| 300);
        assert!(control.rate() >= 95_000_000, "{}", control.rate());
    }
}
