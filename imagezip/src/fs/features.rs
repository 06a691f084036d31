//! Feature bits of superblocks: what a table of them says of the bits that are set.
//!
//! What it owns: the form of a table, and going through the bits of several words. What it never
//! does: know a filesystem; its tables are beside its reader. `W` tells the words of a superblock
//! apart.

/// One feature bit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature<W> {
    pub(super) word: W,
    pub(super) bit: u64,
    pub(super) name: &'static str,
    /// False where the feature may change what is in use in a way we have not proved.
    understood: bool,
}

/// A feature that leaves our understanding of the map as it is.
pub(super) const fn feature<W: Copy>(word: W, bit: u64, name: &'static str) -> Feature<W> {
    Feature { word, bit, name, understood: true }
}

/// A feature that keeps us from trusting the map.
pub(super) const fn foreign<W: Copy>(word: W, bit: u64, name: &'static str) -> Feature<W> {
    Feature { word, bit, name, understood: false }
}

/// Names of the known features that are set, in the order of the table.
pub(super) fn names<'t, W: Copy>(
    known: &'t [Feature<W>],
    bits: impl Fn(W) -> u64 + 't,
) -> impl Iterator<Item = &'static str> + 't {
    known.iter().filter(move |f| bits(f.word) & f.bit != 0).map(|f| f.name)
}

/// Names of the known features that are set and keep us from trusting the map.
pub(super) fn refused<'t, W: Copy>(
    known: &'t [Feature<W>],
    bits: impl Fn(W) -> u64 + 't,
) -> impl Iterator<Item = &'static str> + 't {
    let is_set = move |f: &&Feature<W>| bits(f.word) & f.bit != 0;
    known.iter().filter(is_set).filter(|f| !f.understood).map(|f| f.name)
}

/// The bits of these words that are set and not in the table, by the label of their word and their
/// number.
pub(super) fn unknown<'t, W: Copy + Eq, L: Copy>(
    known: &'t [Feature<W>],
    words: &'t [(W, L)],
    bits: impl Fn(W) -> u64 + 't,
) -> impl Iterator<Item = (L, u32)> + 't {
    words.iter().flat_map(move |(word, label)| {
        let in_table = known.iter().filter(|f| f.word == *word).fold(0, |all, f| all | f.bit);
        let left = bits(*word) & !in_table;
        (0..u64::BITS).filter(move |n| left >> n & 1 == 1).map(move |n| (*label, n))
    })
}

/// Verifies that a table names no bit twice.
#[cfg(test)]
pub(super) fn assert_distinct<W: Copy + Eq + std::fmt::Debug>(known: &[Feature<W>]) {
    for (i, a) in known.iter().enumerate() {
        assert!(a.bit.is_power_of_two(), "{a:?}");
        assert!(known.iter().skip(i + 1).all(|b| a.word != b.word || a.bit != b.bit), "{a:?}");
    }
}
