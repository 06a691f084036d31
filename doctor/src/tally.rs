//! What arrived of a test.
//!
//! What it owns: the count of what came, what did not, and in which order. What it never does:
//! conclude, or read a clock.

use serde::Serialize;
use std::time::Duration;

/// Most datagrams of one test that are told apart: a bound on memory (2 MiB).
const DATAGRAMS_MAX: u32 = 1 << 24;

/// What arrived of one test, or of several in a row.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// A bit for each datagram.
    seen: Vec<u64>,
    stretch: Stretch,
    highest: Option<u32>,
    first_at: Option<Duration>,
    last_at: Option<Duration>,
}

/// What arrived, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Stretch {
    /// Datagrams that the server sent, as far as it told.
    pub sent: u64,
    /// Datagrams that came, each counted once.
    pub received: u64,
    /// Datagrams that came again.
    pub duplicates: u64,
    /// Datagrams that came after one with a higher number.
    pub reordered: u64,
    /// Datagrams missing before the first that came.
    pub missing_before: u64,
    /// Datagrams missing between the first and the last that came, one here and one there: loss.
    pub missing_between: u64,
    /// Datagrams missing between the first and the last that came in long runs: interruptions.
    pub missing_in_gaps: u64,
    /// Datagrams missing after the last that came.
    pub missing_after: u64,
    /// Bits of UDP payload a second, from the first to the last that came.
    pub bits_per_sec: u64,
    /// Milliseconds from the beginning of the test (the join) to the first that came.
    pub first_ms: Option<u64>,
    /// Least TTL that a datagram had left.
    pub ttl: Option<u8>,
    /// Datagrams that this machine's kernel dropped because the doctor did not read them in time.
    pub kernel_drops: u64,
}

impl Stretch {
    /// Loss between the first and the last datagram that came, in thousandths.
    pub fn loss_per_mille(&self) -> u64 {
        let span = self.received + self.missing_between;
        (self.missing_between * 1000).checked_div(span).unwrap_or(0)
    }

    /// Loss as people write it: `5.1 %`.
    pub fn loss_text(&self) -> String {
        let per_mille = self.loss_per_mille();
        format!("{}.{} %", per_mille / 10, per_mille % 10)
    }
}

impl Tally {
    /// Counts a datagram that came `at` this time since the beginning.
    pub fn count(&mut self, sequence: u32, bytes: usize, ttl: Option<u8>, at: Duration) {
        if sequence >= DATAGRAMS_MAX {
            return;
        }
        let (word, bit) = (sequence / 64, 1u64 << (sequence % 64));
        let Ok(word) = usize::try_from(word) else { return };
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let Some(word) = self.seen.get_mut(word) else { return };
        let stretch = &mut self.stretch;
        if *word & bit != 0 {
            stretch.duplicates += 1;
            return;
        }
        *word |= bit;
        stretch.received += 1;
        stretch.bits_per_sec += u64::try_from(bytes).unwrap_or(u64::MAX) * 8;
        stretch.reordered += u64::from(self.highest.is_some_and(|highest| sequence < highest));
        stretch.ttl = ttl.into_iter().chain(stretch.ttl).min();
        self.highest = Some(self.highest.unwrap_or(0).max(sequence));
        self.first_at.get_or_insert(at);
        self.last_at = Some(at);
    }

    /// Datagrams missing in runs of at least `gap_min` within a range.
    fn missing_in_gaps(&self, lowest: u64, highest: u64, gap_min: u64) -> u64 {
        let came = |sequence: u64| {
            let word = usize::try_from(sequence / 64).ok().and_then(|at| self.seen.get(at));
            word.is_some_and(|word| word & (1 << (sequence % 64)) != 0)
        };
        let (mut in_gaps, mut run) = (0, 0);
        for sequence in lowest..=highest {
            if came(sequence) {
                in_gaps += if run >= gap_min { run } else { 0 };
                run = 0;
            } else {
                run += 1;
            }
        }
        in_gaps
    }

    /// The highest number that came.
    pub fn highest(&self) -> Option<u32> {
        self.highest
    }

    /// The numbers, given how many datagrams were sent and dropped here. At least `gap_min` missing
    /// in a row are an interruption.
    pub fn stretch(&self, sent: u64, kernel_drops: u64, gap_min: u64) -> Stretch {
        let mut stretch = Stretch { sent, kernel_drops, ..self.stretch };
        let lowest = self.seen.iter().zip(0u64..).find(|(word, _)| **word != 0);
        let lowest = lowest.map(|(word, at)| at * 64 + u64::from(word.trailing_zeros()));
        let Some((lowest, highest)) = lowest.zip(self.highest.map(u64::from)) else {
            return Stretch { missing_before: sent, ..stretch };
        };
        stretch.missing_before = lowest;
        let missing = (highest - lowest + 1).saturating_sub(stretch.received);
        stretch.missing_in_gaps = self.missing_in_gaps(lowest, highest, gap_min).min(missing);
        stretch.missing_between = missing - stretch.missing_in_gaps;
        stretch.missing_after = sent.saturating_sub(highest + 1);
        stretch.first_ms = self.first_at.map(millis);
        let span = self.last_at.zip(self.first_at).map(|(last, first)| last.saturating_sub(first));
        let span = span.map_or(0, millis).max(1);
        stretch.bits_per_sec = stretch.bits_per_sec.saturating_mul(1000) / span;
        stretch
    }
}

impl Stretch {
    /// The sum with a later test of the same kind: what is between the two is not counted.
    pub fn and_then(self, later: &Self, gap_min: u64) -> Self {
        let at_all = |stretch: &Self| stretch.received > 0;
        let rates = [&self, later].map(|stretch| stretch.bits_per_sec);
        Self {
            sent: self.sent + later.sent,
            received: self.received + later.received,
            duplicates: self.duplicates + later.duplicates,
            reordered: self.reordered + later.reordered,
            // Nothing in one half is silence before or after, not loss between.
            missing_before: match (at_all(&self), at_all(later)) {
                (true, _) => self.missing_before,
                (false, _) => self.missing_before + later.missing_before,
            },
            missing_between: self.missing_between + later.missing_between,
            // What is missing at the seam of two tests is an interruption too.
            missing_in_gaps: self.missing_in_gaps
                + later.missing_in_gaps
                + match (at_all(&self), at_all(later)) {
                    (true, true) if self.missing_after + later.missing_before >= gap_min => {
                        self.missing_after + later.missing_before
                    }
                    _ => 0,
                },
            missing_after: if at_all(later) {
                later.missing_after
            } else if at_all(&self) {
                self.missing_after + later.missing_before
            } else {
                0
            },
            bits_per_sec: rates.into_iter().filter(|rate| *rate > 0).min().unwrap_or(0),
            first_ms: self.first_ms.or(later.first_ms),
            ttl: self.ttl.into_iter().chain(later.ttl).min(),
            kernel_drops: self.kernel_drops + later.kernel_drops,
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sequences: impl IntoIterator<Item = u32>) -> Tally {
        let mut tally = Tally::default();
        for (sequence, at) in sequences.into_iter().zip(1..) {
            tally.count(sequence, 125, Some(5), Duration::from_millis(at));
        }
        tally
    }

    #[test]
    fn a_whole_test_has_no_loss() {
        let stretch = tally(0..1000).stretch(1000, 0, 50);
        assert_eq!((stretch.received, stretch.loss_per_mille()), (1000, 0));
        assert_eq!((stretch.missing_before, stretch.missing_after), (0, 0));
        assert_eq!((stretch.first_ms, stretch.ttl), (Some(1), Some(5)));
        assert_eq!(stretch.bits_per_sec, 1_000_000 * 1000 / 999);
    }

    #[test]
    fn what_is_missing_is_told_by_place() {
        let stretch = tally((100..500).filter(|n| n % 20 != 1)).stretch(1000, 7, 50);
        assert_eq!((stretch.received, stretch.missing_between), (380, 20));
        assert_eq!((stretch.missing_before, stretch.missing_after), (100, 500));
        assert_eq!((stretch.loss_text(), stretch.kernel_drops), ("5.0 %".to_owned(), 7));
        let nothing = Tally::default().stretch(1000, 0, 50);
        assert_eq!((nothing.missing_before, nothing.loss_per_mille()), (1000, 0));
        assert_eq!(nothing.first_ms, None);
    }

    #[test]
    fn interruptions_are_told_from_loss() {
        let holes = |n: &u32| !(100..150).contains(n) && !(200..249).contains(n) && n % 10 != 5;
        let stretch = tally((0..300).filter(holes)).stretch(300, 0, 50);
        // A lost one beside a hole makes it longer.
        assert_eq!((stretch.missing_in_gaps, stretch.missing_between), (50, 49 + 20));
        assert_eq!(stretch.received + 50 + 49 + 20, 300);
    }

    #[test]
    fn order_and_repeats_are_counted() {
        let stretch = tally([0, 2, 1, 2, 3, 3]).stretch(4, 0, 50);
        assert_eq!((stretch.received, stretch.reordered, stretch.duplicates), (4, 1, 2));
    }

    #[test]
    fn forged_numbers_cost_no_memory() {
        let tally = tally([u32::MAX, DATAGRAMS_MAX]);
        assert_eq!((tally.seen.len(), tally.highest()), (0, None));
    }

    #[test]
    fn tests_in_a_row_add_up() {
        let whole = tally(0..100).stretch(100, 0, 50);
        let half = tally(0..50).stretch(100, 1, 50);
        let none = Tally::default().stretch(100, 0, 50);
        let both = whole.and_then(&half, 50);
        assert_eq!((both.sent, both.received, both.missing_between), (200, 150, 0));
        assert_eq!((both.missing_after, both.kernel_drops), (50, 1));
        let stopped = half.and_then(&none, 50);
        assert_eq!((stopped.missing_between, stopped.missing_after), (0, 150));
        let late = none.and_then(&whole, 50);
        assert_eq!((late.missing_before, late.missing_between), (100, 0));
        let gap = half.and_then(&whole, 50);
        assert_eq!((gap.missing_in_gaps, gap.missing_between, gap.missing_after), (50, 0, 0));
        assert_eq!(none.and_then(&none, 50).missing_before, 200);
    }
}
