//! Sets of sectors: sorted, disjoint, non-touching ranges.
//!
//! What it owns: the algebra of allocation maps. What it never does: grow without bound. A set that
//! describes a disk of millions of tiny ranges is *coarsened*: its shortest gaps are closed, so that
//! more sectors are in the set, never fewer. Keeping too much is safe, too little is not.

use crate::units::{Sector, SectorCount, SectorRange};

/// A set of sectors, as sorted ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SectorSet {
    ranges: Vec<SectorRange>,
}

/// Builds a [`SectorSet`] from ranges in ascending order, within a limit on their number.
#[derive(Debug)]
pub struct SectorSetBuilder {
    ranges: Vec<SectorRange>,
    ranges_max: usize,
    /// Gaps shorter than this are closed; doubles each time the limit is reached.
    gap_min: u64,
}

/// Ranges that a set holds unless told otherwise: 4 Mi (64 MiB of memory), enough for a disk on
/// which every gap of 32 KiB in 128 GiB is free, and far above any filesystem seen so far.
pub const RANGES_MAX: usize = 4 << 20;

impl SectorSetBuilder {
    /// An empty builder that keeps at most [`RANGES_MAX`] ranges.
    pub fn new() -> Self {
        Self::with_limit(RANGES_MAX)
    }

    /// An empty builder that keeps at most `ranges_max` ranges (at least 2).
    pub fn with_limit(ranges_max: usize) -> Self {
        Self { ranges: Vec::new(), ranges_max: ranges_max.max(2), gap_min: 1 }
    }

    /// Adds a range. Ranges may overlap or touch, but must come in ascending order of their start;
    /// one that starts before the last start is merged so that nothing between is lost.
    pub fn push(&mut self, range: SectorRange) {
        if range.is_empty() {
            return;
        }
        if let Some(last) = self.ranges.last_mut() {
            let reach = last.end().get().saturating_add(self.gap_min - 1);
            if range.start().get() <= reach {
                *last = hull(*last, range);
                // A start out of order may now reach back over earlier ranges.
                while let [.., previous, last] = self.ranges.as_mut_slice() {
                    if last.start() > previous.end() {
                        break;
                    }
                    *previous = hull(*previous, *last);
                    self.ranges.pop();
                }
                return;
            }
        }
        if self.ranges.len() == self.ranges_max {
            self.coarsen();
            return self.push(range);
        }
        self.ranges.push(range);
    }

    fn coarsen(&mut self) {
        // Close ever longer gaps until at least a quarter of the room is free again.
        while self.ranges.len() > self.ranges_max / 4 * 3 {
            self.gap_min = self.gap_min.saturating_mul(2);
            let gap_min = self.gap_min;
            self.ranges.dedup_by(|next, kept| {
                let close = next.start().get() - kept.end().get() < gap_min;
                if close {
                    *kept = hull(*kept, *next);
                }
                close
            });
            if self.ranges.len() <= 1 {
                break;
            }
        }
    }

    /// The gap, in sectors, below which free space was kept to stay within the limit; 1 = none.
    pub fn gap_min(&self) -> SectorCount {
        SectorCount::new(self.gap_min).unwrap_or_default()
    }

    /// The finished set.
    pub fn finish(self) -> SectorSet {
        SectorSet { ranges: self.ranges }
    }
}

impl Default for SectorSetBuilder {
    fn default() -> Self {
        Self::new()
    }
}

fn hull(a: SectorRange, b: SectorRange) -> SectorRange {
    let start = a.start().min(b.start());
    let end = a.end().max(b.end());
    SectorRange::new(start, end).unwrap_or(a)
}

impl SectorSet {
    /// No sectors.
    pub const fn empty() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The sectors of one range.
    pub fn from_range(range: SectorRange) -> Self {
        [range].into_iter().collect()
    }

    /// The ranges, ascending, disjoint, not touching, not empty.
    pub fn ranges(&self) -> &[SectorRange] {
        &self.ranges
    }

    /// Ranges in the set.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True for no sectors.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Sectors in the set.
    pub fn count(&self) -> SectorCount {
        let sum = self.ranges.iter().map(|r| r.count().get()).sum();
        SectorCount::new(sum).unwrap_or_default() // disjoint ranges: at most SECTORS_MAX
    }

    /// True when `sector` is in the set.
    pub fn contains(&self, sector: Sector) -> bool {
        let after = self.ranges.partition_point(|r| r.end() <= sector);
        self.ranges.get(after).is_some_and(|r| r.contains(sector))
    }

    /// The ranges that have sectors in common with `window`, cut to it.
    pub fn within(&self, window: SectorRange) -> impl Iterator<Item = SectorRange> + '_ {
        let first = self.ranges.partition_point(|r| r.end() <= window.start());
        self.ranges.iter().skip(first).map_while(move |r| r.intersection(window))
    }

    /// Sectors of either set.
    pub fn union(&self, other: &Self) -> Self {
        let mut builder = SectorSetBuilder::with_limit(usize::MAX);
        let (mut a, mut b) = (self.ranges.as_slice(), other.ranges.as_slice());
        while let Some(next) = take_lower(&mut a, &mut b) {
            builder.push(next);
        }
        builder.finish()
    }

    /// The sectors of `window` that are not in the set.
    pub fn complement(&self, window: SectorRange) -> Self {
        let mut ranges = Vec::new();
        let mut from = window.start();
        for range in self.within(window) {
            ranges.extend(SectorRange::new(from, range.start()).filter(|r| !r.is_empty()));
            from = range.end();
        }
        ranges.extend(SectorRange::new(from, window.end()).filter(|r| !r.is_empty()));
        Self { ranges }
    }

    /// Sectors of both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let (mut a, mut b) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            ranges.extend(x.intersection(**y));
            if x.end() <= y.end() {
                a.next();
            } else {
                b.next();
            }
        }
        Self { ranges }
    }

    /// Sectors of this set that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        for range in &self.ranges {
            ranges.extend(other.complement(*range).ranges);
        }
        Self { ranges }
    }

    /// The set with every gap shorter than `gap_min` filled.
    pub fn close_gaps(&self, gap_min: SectorCount) -> Self {
        let mut builder = SectorSetBuilder::with_limit(usize::MAX);
        builder.gap_min = gap_min.get().max(1);
        for range in &self.ranges {
            builder.push(*range);
        }
        builder.finish()
    }

    /// The set moved forward by `by`; what would end above the last possible sector is dropped.
    pub fn shift(&self, by: SectorCount) -> Self {
        Self { ranges: self.ranges.iter().filter_map(|r| r.checked_shift(by)).collect() }
    }

    /// Where the last range ends; sector 0 for an empty set.
    pub fn end(&self) -> Sector {
        self.ranges.last().map_or(Sector::ZERO, |r| r.end())
    }
}

fn take_lower<'a>(a: &mut &'a [SectorRange], b: &mut &'a [SectorRange]) -> Option<SectorRange> {
    let side = match (a.first(), b.first()) {
        (Some(x), Some(y)) if y.start() < x.start() => b,
        (Some(_), _) => a,
        (None, _) => b,
    };
    let (first, rest) = side.split_first()?;
    *side = rest;
    Some(*first)
}

/// Collects ranges in any order.
impl FromIterator<SectorRange> for SectorSet {
    fn from_iter<I: IntoIterator<Item = SectorRange>>(iter: I) -> Self {
        let mut ranges: Vec<_> = iter.into_iter().collect();
        ranges.sort_unstable();
        let mut builder = SectorSetBuilder::with_limit(usize::MAX);
        ranges.into_iter().for_each(|range| builder.push(range));
        builder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(start: u32, end: u32) -> SectorRange {
        SectorRange::new(Sector::from_u32(start), Sector::from_u32(end)).unwrap()
    }

    /// The obviously right model: one entry a sector.
    fn model(set: &SectorSet) -> BTreeSet<u64> {
        set.ranges().iter().flat_map(|r| r.start().get()..r.end().get()).collect()
    }

    fn sets() -> impl Strategy<Value = SectorSet> {
        prop::collection::vec((0u32..200, 0u32..12), 0..20)
            .prop_map(|v| v.into_iter().map(|(start, len)| range(start, start + len)).collect())
    }

    fn assert_well_formed(set: &SectorSet) {
        for pair in set.ranges().windows(2) {
            assert!(pair[0].end() < pair[1].start(), "{set:?}");
        }
        assert!(set.ranges().iter().all(|r| !r.is_empty()));
    }

    proptest! {
        #[test]
        fn algebra_agrees_with_the_model(a in sets(), b in sets(), lo in 0u32..100, len in 0u32..120, gap in 1u32..9) {
            let (ma, mb) = (model(&a), model(&b));
            let window = range(lo, lo + len);
            let all: BTreeSet<u64> = (u64::from(lo)..u64::from(lo + len)).collect();
            for set in [&a, &b, &a.union(&b), &a.intersection(&b), &a.difference(&b), &a.complement(window)] {
                assert_well_formed(set);
            }
            prop_assert_eq!(model(&a.union(&b)), &ma | &mb);
            prop_assert_eq!(model(&a.intersection(&b)), &ma & &mb);
            prop_assert_eq!(model(&a.difference(&b)), &ma - &mb);
            prop_assert_eq!(model(&a.complement(window)), &all - &ma);
            prop_assert_eq!(a.count().get(), ma.len() as u64);
            prop_assert!((0..220).all(|s| a.contains(Sector::from_u32(s)) == ma.contains(&u64::from(s))));
            let closed = a.close_gaps(SectorCount::from_u32(gap));
            assert_well_formed(&closed);
            prop_assert!(model(&closed).is_superset(&ma));
            for pair in closed.ranges().windows(2) {
                prop_assert!(pair[1].start().get() - pair[0].end().get() >= u64::from(gap));
            }
        }

        #[test]
        fn a_full_builder_keeps_more_never_less(starts in prop::collection::vec((0u32..5000, 1u32..6), 0..300), limit in 2usize..20) {
            let exact: SectorSet = starts.iter().map(|(s, l)| range(*s, s + l)).collect();
            let mut builder = SectorSetBuilder::with_limit(limit);
            exact.ranges().iter().for_each(|r| builder.push(*r));
            let coarse = builder.finish();
            assert_well_formed(&coarse);
            prop_assert!(coarse.len() <= limit);
            prop_assert!(exact.difference(&coarse).is_empty());
            prop_assert_eq!(coarse.end(), exact.end());
        }

        #[test]
        fn order_does_not_lose_sectors(ranges in prop::collection::vec((0u32..300, 0u32..9), 0..40)) {
            let mut builder = SectorSetBuilder::new();
            ranges.iter().for_each(|(s, l)| builder.push(range(*s, s + l)));
            let set = builder.finish();
            assert_well_formed(&set);
            for (s, l) in ranges {
                prop_assert!((s..s + l).all(|x| set.contains(Sector::from_u32(x))));
            }
        }
    }
}
