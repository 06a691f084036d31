//! Which blocks of a chunk.
//!
//! What it owns: a fixed array of 1024 bits and their count; 136 bytes, copied freely, never
//! allocated. Its bits are in the order of a partial request's bitmap. What it never does: know how
//! many blocks a chunk has; indices of 1024 and above are ignored.

use std::fmt;

/// Blocks that a set, and a chunk, can have at most: the bits of a partial request's bitmap.
pub const BLOCKS_MAX: u32 = 1024;

/// Bytes of a partial request's bitmap: one bit a block.
pub const BITMAP_LEN: usize = 128;

const WORDS: usize = 16;

/// A set of block indices below [`BLOCKS_MAX`].
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct BlockSet {
    words: [u64; WORDS],
    count: u32,
}

impl BlockSet {
    /// No blocks.
    pub const EMPTY: Self = Self { words: [0; WORDS], count: 0 };

    /// The blocks from `first` up to, not including, `first + count`.
    pub fn run(first: u32, count: u32) -> Self {
        let mut set = Self::EMPTY;
        set.insert_run(first, count);
        set
    }

    /// The first `count` blocks.
    pub fn first(count: u32) -> Self {
        Self::run(0, count)
    }

    /// Reads a partial request's bitmap: bit *b* of byte *i*, least significant first, is block
    /// 8 *i* + *b*.
    pub fn from_bitmap(bitmap: &[u8; BITMAP_LEN]) -> Self {
        let mut set = Self::EMPTY;
        let (bytes, _) = bitmap.as_chunks::<8>();
        for (word, bytes) in set.words.iter_mut().zip(bytes) {
            *word = u64::from_le_bytes(*bytes);
        }
        set.recount();
        set
    }

    /// Writes a partial request's bitmap.
    pub fn to_bitmap(&self) -> [u8; BITMAP_LEN] {
        let mut bitmap = [0; BITMAP_LEN];
        let (bytes, _) = bitmap.as_chunks_mut::<8>();
        for (bytes, word) in bytes.iter_mut().zip(self.words) {
            *bytes = word.to_le_bytes();
        }
        bitmap
    }

    /// Blocks in the set.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// True for no blocks.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// True when `block` is in the set.
    pub fn contains(&self, block: u32) -> bool {
        let (word, mask) = position(block);
        self.words.get(word).is_some_and(|w| w & mask != 0)
    }

    /// Adds a block; false when it was there already or is out of range.
    pub fn insert(&mut self, block: u32) -> bool {
        let (word, mask) = position(block);
        match self.words.get_mut(word) {
            Some(w) if *w & mask == 0 => {
                *w |= mask;
                self.count += 1;
                true
            }
            _ => false,
        }
    }

    /// Takes a block out; false when it was not there.
    pub fn remove(&mut self, block: u32) -> bool {
        let (word, mask) = position(block);
        match self.words.get_mut(word) {
            Some(w) if *w & mask != 0 => {
                *w &= !mask;
                self.count -= 1;
                true
            }
            _ => false,
        }
    }

    /// Adds the blocks from `first` up to `first + count`.
    pub fn insert_run(&mut self, first: u32, count: u32) {
        let end = first.saturating_add(count).min(BLOCKS_MAX);
        for (word, base) in self.words.iter_mut().zip((0u32..).step_by(64)) {
            *word |= run_mask(base, first, end);
        }
        self.recount();
    }

    /// Takes out the blocks from `first` up to `first + count`.
    pub fn remove_run(&mut self, first: u32, count: u32) {
        let end = first.saturating_add(count).min(BLOCKS_MAX);
        for (word, base) in self.words.iter_mut().zip((0u32..).step_by(64)) {
            *word &= !run_mask(base, first, end);
        }
        self.recount();
    }

    /// Blocks of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    /// Blocks of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    /// Blocks of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & !b)
    }

    /// The lowest block of the set at or above `from`.
    pub fn next(&self, from: u32) -> Option<u32> {
        self.search(from, |word| word)
    }

    /// The lowest block below [`BLOCKS_MAX`] that is *not* in the set, at or above `from`.
    pub fn next_missing(&self, from: u32) -> Option<u32> {
        self.search(from, |word| !word)
    }

    /// The first run of consecutive blocks at or above `from`: its first block and its length, at
    /// most `count_max`.
    pub fn next_run(&self, from: u32, count_max: u32) -> Option<(u32, u32)> {
        let first = self.next(from)?;
        let end = self.next_missing(first).unwrap_or(BLOCKS_MAX);
        Some((first, (end - first).min(count_max)))
    }

    /// True when every block of `other` is in this set.
    pub fn contains_all(&self, other: &Self) -> bool {
        self.words.iter().zip(other.words).all(|(a, b)| b & !a == 0)
    }

    /// The blocks in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let block = self.next(from)?;
            from = block + 1;
            Some(block)
        })
    }

    fn search(&self, from: u32, view: impl Fn(u64) -> u64) -> Option<u32> {
        let (start, _) = position(from);
        let mut mask = u64::MAX << (from % 64);
        for (word, base) in self.words.iter().zip((0u32..).step_by(64)).skip(start) {
            let hits = view(*word) & mask;
            if hits != 0 {
                return Some(base + hits.trailing_zeros());
            }
            mask = u64::MAX;
        }
        None
    }

    fn combine(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        let mut set = *self;
        for (a, b) in set.words.iter_mut().zip(other.words) {
            *a = with(*a, b);
        }
        set.recount();
        set
    }

    fn recount(&mut self) {
        self.count = self.words.iter().map(|w| w.count_ones()).sum();
    }
}

fn position(block: u32) -> (usize, u64) {
    // A block above the limit gives a word index above the array, which `get` refuses.
    (usize::try_from(block / 64).unwrap_or(usize::MAX), 1 << (block % 64))
}

/// The bits of the word that starts at block `base` which lie in `first..end`.
fn run_mask(base: u32, first: u32, end: u32) -> u64 {
    let lo = first.clamp(base, base + 64) - base;
    let hi = end.clamp(base, base + 64) - base;
    if lo >= hi {
        return 0;
    }
    (u64::MAX >> (64 - (hi - lo))) << lo
}

impl Default for BlockSet {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Shows the number of blocks and the runs, `5: 0-3 9`.
impl fmt::Debug for BlockSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.count)?;
        let mut from = 0;
        while let Some((first, count)) = self.next_run(from, BLOCKS_MAX) {
            match count {
                1 => write!(f, " {first}")?,
                _ => write!(f, " {first}-{}", first + count - 1)?,
            }
            from = first + count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set_of(model: &BTreeSet<u32>) -> BlockSet {
        let mut set = BlockSet::EMPTY;
        for b in model {
            assert!(set.insert(*b));
        }
        set
    }

    fn models() -> impl Strategy<Value = BTreeSet<u32>> {
        prop::collection::btree_set(0..BLOCKS_MAX, 0..80)
    }

    #[test]
    fn bits_are_in_the_order_of_the_wire() {
        let mut bitmap = [0; BITMAP_LEN];
        bitmap[0] = 0b10;
        bitmap[127] = 0x80;
        let set = BlockSet::from_bitmap(&bitmap);
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 1023]);
        assert_eq!(set.to_bitmap(), bitmap);
        assert_eq!(format!("{:?}", BlockSet::run(3, 4)), "4: 3-6");
    }

    #[test]
    fn blocks_out_of_range_are_ignored() {
        let mut set = BlockSet::first(BLOCKS_MAX);
        assert_eq!(set.count(), BLOCKS_MAX);
        assert_eq!(set.next_missing(0), None);
        assert!(!set.insert(BLOCKS_MAX) && !set.insert(u32::MAX) && !set.remove(u32::MAX));
        assert!(!set.contains(u32::MAX));
        assert_eq!(set.next(BLOCKS_MAX), None);
        assert_eq!(BlockSet::run(u32::MAX, u32::MAX), BlockSet::EMPTY);
        assert_eq!(BlockSet::run(1000, u32::MAX).count(), 24);
    }

    proptest! {
        #[test]
        fn algebra_agrees_with_the_model(a in models(), b in models(), from in 0..BLOCKS_MAX, len in 0u32..1100) {
            let (sa, sb) = (set_of(&a), set_of(&b));
            prop_assert_eq!(sa.iter().collect::<BTreeSet<_>>(), a.clone());
            prop_assert_eq!(sa.count() as usize, a.len());
            prop_assert_eq!(sa.union(&sb), set_of(&(&a | &b)));
            prop_assert_eq!(sa.intersection(&sb), set_of(&(&a & &b)));
            prop_assert_eq!(sa.difference(&sb), set_of(&(&a - &b)));
            prop_assert_eq!(sa.contains_all(&sb), a.is_superset(&b));
            prop_assert_eq!(sa.next(from), a.range(from..).next().copied());
            prop_assert_eq!(sa.next_missing(from), (from..BLOCKS_MAX).find(|x| !a.contains(x)));
            prop_assert_eq!(BlockSet::from_bitmap(&sa.to_bitmap()), sa);
            let run: BTreeSet<u32> = (from..(from + len).min(BLOCKS_MAX)).collect();
            prop_assert_eq!(BlockSet::run(from, len), set_of(&run));
            let mut cut = sa;
            cut.remove_run(from, len);
            prop_assert_eq!(cut, set_of(&(&a - &run)));
            let mut grown = sa;
            grown.insert_run(from, len);
            prop_assert_eq!(grown, set_of(&(&a | &run)));
            let mut single = sa;
            let was = single.remove(from);
            prop_assert_eq!(was, a.contains(&from));
            prop_assert_eq!(single.insert(from), true);
        }
    }
}
