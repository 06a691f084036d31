//! How long an answer takes, and how fast data comes.
//!
//! What it owns: smoothed measurements, and the waiting times derived from them. What it never
//! does: wait for ever. Every derived time has an upper limit, so that a lost request is repeated.

use crate::random::Random;
use crate::time::{Duration, Instant};

/// No request is repeated sooner: well above a server's delivery time of 4 ms, inside which it takes
/// a repeat for a request that crossed the blocks.
const WAIT_MIN: Duration = Duration::from_millis(25);

/// A request is repeated at least this often while nothing comes of it: a lost one costs no more.
const WAIT_MAX: Duration = Duration::from_millis(1000);

/// Repeats lengthen the wait, gently: with 30 % loss both ways every second request fails without
/// anybody being overloaded. After this many the wait is 8 times the first.
const RETRIES_COUNTED: u32 = 14;

/// Before the first measurement: the 90 ms of deployed clients.
const WAIT_FIRST: Duration = Duration::from_millis(90);

/// Clients differ by at most this in what they call silence.
const SILENCE_SKEW: Duration = Duration::from_millis(10);

/// Silence of the whole group that means "ask again", whatever the queue's length promised.
const SILENCE_MIN: Duration = Duration::from_millis(40);

/// After this many answers in a row to repeated requests, such an answer is measured after all:
/// the wait may be shorter than any answer takes.
const UNCLEAN_MAX: u32 = 8;

/// The two kinds of request; servers treat them differently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A whole chunk: waits its turn in the queue.
    Whole,
    /// Missing blocks: new servers send them first.
    Some,
}

/// Smoothed time from a request to its first block, and its mean deviation; RFC 6298's way.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    smoothed: Duration,
    deviation: Duration,
    measured: bool,
    unclean: u32,
}

/// Measures answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Delay {
    whole: Answers,
    some: Answers,
    /// The shortest answer seen: the round trip without the queue.
    shortest: Option<Duration>,
    last_block: Option<Instant>,
    last_place: Option<(u32, u32)>,
    /// Smoothed time between blocks that follow each other.
    gap: Duration,
    /// Added to what counts as silence, so that clients do not all speak up at once.
    skew: Duration,
}

impl Answers {
    fn answered(&mut self, span: Duration, retries: u32) {
        if retries > 0 && self.unclean < UNCLEAN_MAX {
            // The answer may be the first request's: it measures nothing.
            self.unclean += 1;
            return;
        }
        self.unclean = 0;
        let span = span.min(WAIT_MAX.times(2));
        if !self.measured {
            self.measured = true;
            self.smoothed = span;
            self.deviation = span.divided_by(2);
            return;
        }
        let error = if span > self.smoothed { span - self.smoothed } else { self.smoothed - span };
        self.deviation = self.deviation - self.deviation.divided_by(4) + error.divided_by(4);
        self.smoothed = self.smoothed - self.smoothed.divided_by(8) + span.divided_by(8);
    }

    fn wait(&self) -> Duration {
        match self.measured {
            true => self.smoothed + self.deviation.times(4),
            false => WAIT_FIRST,
        }
    }
}

impl Delay {
    pub(super) fn new(random: &mut Random) -> Self {
        Self { skew: random.span_below(SILENCE_SKEW), ..Self::default() }
    }

    /// A request was answered after `span`, having been repeated `retries` times.
    pub(super) fn answered(&mut self, kind: Kind, span: Duration, retries: u32) {
        if retries == 0 {
            self.shortest = Some(self.shortest.map_or(span, |s| s.min(span)));
        }
        match kind {
            Kind::Whole => self.whole.answered(span, retries),
            Kind::Some => self.some.answered(span, retries),
        }
    }

    /// Some block arrived. Only one that follows its predecessor tells the pace: between others
    /// lie repairs for somebody else, losses and pauses.
    pub(super) fn block(&mut self, now: Instant, chunk: u32, block: u32) {
        if let Some(last) = self.last_block
            && self.last_place == Some((chunk, block.wrapping_sub(1)))
        {
            let gap = now.since(last);
            self.gap = self.gap - self.gap.divided_by(16) + gap.divided_by(16);
        }
        self.last_block = Some(now);
        self.last_place = Some((chunk, block));
    }

    /// How long to wait for a request's first block before repeating it the `retries`-th time.
    pub(super) fn wait(&self, kind: Kind, retries: u32) -> Duration {
        let base = match kind {
            Kind::Whole => self.whole.wait(),
            Kind::Some => self.some.wait(),
        };
        base.clamp(WAIT_MIN, WAIT_MAX).times(factor(retries)).min(WAIT_MAX)
    }

    /// The same when the group is silent: the queue is empty, and its length no reason to wait.
    pub(super) fn patience(&self, retries: u32) -> Duration {
        self.pause().times(factor(retries)).min(WAIT_MAX)
    }

    /// The round trip without the queue, as far as known.
    pub(super) fn round_trip(&self) -> Duration {
        self.shortest.unwrap_or(Duration::from_millis(5)).min(WAIT_MAX)
    }

    /// How long a pause inside a sweep may be before it counts as its end: many times the smoothed
    /// gap, because blocks come in bursts.
    pub(super) fn pause(&self) -> Duration {
        (self.gap.times(64) + self.round_trip()).clamp(SILENCE_MIN, WAIT_MAX)
    }

    /// Smoothed time between blocks.
    pub(super) fn block_gap(&self) -> Duration {
        self.gap
    }

    /// True when the group has been silent for so long that waiting is pointless.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.last_block.is_some_and(|last| now.since(last) >= self.pause() + self.skew)
    }

    /// When the group counts as silent if nothing arrives.
    pub(super) fn silent_at(&self) -> Instant {
        self.last_block.map_or(Instant::FAR_FUTURE, |last| last + self.pause() + self.skew)
    }

    pub(super) fn last_block(&self) -> Option<Instant> {
        self.last_block
    }
}

fn factor(retries: u32) -> u64 {
    1 + u64::from(retries.min(RETRIES_COUNTED)) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_follow_the_answers_within_limits() {
        let mut delay = Delay::default();
        assert_eq!(delay.wait(Kind::Some, 0), WAIT_FIRST);
        for _ in 0..100 {
            delay.answered(Kind::Some, Duration::from_millis(100), 0);
        }
        let wait = delay.wait(Kind::Some, 0);
        assert!((100..130).contains(&wait.as_millis()), "{wait}");
        let longest = delay.wait(Kind::Some, 60);
        assert!(longest <= WAIT_MAX && longest >= wait.times(7));
        for _ in 0..100 {
            delay.answered(Kind::Some, Duration::from_micros(300), 0);
        }
        assert_eq!(delay.wait(Kind::Some, 0), WAIT_MIN);
        assert_eq!(delay.wait(Kind::Whole, 0), WAIT_FIRST, "kinds are apart");
        delay.answered(Kind::Some, Duration::MAX, 0);
        assert!(delay.wait(Kind::Some, 0) <= WAIT_MAX);
    }

    #[test]
    fn answers_that_always_come_late_are_learned() {
        let mut delay = Delay::default();
        for _ in 0..100 {
            delay.answered(Kind::Whole, Duration::from_millis(400), 3);
        }
        assert!(delay.wait(Kind::Whole, 0) >= Duration::from_millis(400));
    }
}
