//! Feature bits of the superblock: their names, and which of them this reader understands.
//!
//! What it owns: the table of features known to btrfs-progs and Linux 6.18. What it never does:
//! accept a bit it does not know.

use super::checksum::Checksum;
use super::raw;
use crate::fs::features::{self, Feature, feature, foreign};

/// The words of feature bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Features {
    incompat: u64,
    compat_ro: u64,
    checksum: u16,
}

/// Which word a feature is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Word {
    Incompat,
    CompatRo,
}

/// Block groups are in a tree of their own.
pub(super) const BLOCK_GROUP_TREE: u64 = 0x8;
/// Tree blocks carry another UUID than the superblock.
pub(super) const METADATA_UUID: u64 = 0x400;

/// Every known feature.
const KNOWN: &[Feature<Word>] = &[
    feature(Word::Incompat, 0x1, "mixed-backref"),
    feature(Word::Incompat, 0x2, "default-subvol"),
    feature(Word::Incompat, 0x4, "mixed-bg"),
    feature(Word::Incompat, 0x8, "compress-lzo"),
    feature(Word::Incompat, 0x10, "compress-zstd"),
    feature(Word::Incompat, 0x20, "big-metadata"),
    feature(Word::Incompat, 0x40, "extref"),
    feature(Word::Incompat, 0x80, "raid56"),
    feature(Word::Incompat, 0x100, "skinny-metadata"),
    feature(Word::Incompat, 0x200, "no-holes"),
    feature(Word::Incompat, METADATA_UUID, "metadata-uuid"),
    feature(Word::Incompat, 0x800, "raid1c34"),
    foreign(Word::Incompat, 0x1000, "zoned"),
    foreign(Word::Incompat, 0x2000, "extent-tree-v2"),
    foreign(Word::Incompat, 0x4000, "raid-stripe-tree"),
    feature(Word::Incompat, 0x1_0000, "squota"),
    foreign(Word::Incompat, 0x2_0000, "remap-tree"),
    feature(Word::CompatRo, 0x1, "free-space-tree"),
    feature(Word::CompatRo, 0x2, "free-space-tree-valid"),
    feature(Word::CompatRo, 0x4, "verity"),
    feature(Word::CompatRo, BLOCK_GROUP_TREE, "block-group-tree"),
];

/// What unknown bits are called.
const LABELS: [(Word, &str); 2] = [(Word::Incompat, "incompat"), (Word::CompatRo, "compat_ro")];

impl Features {
    pub(super) fn of(raw: &raw::Superblock) -> Self {
        Self {
            incompat: raw.incompat_flags.get(),
            compat_ro: raw.compat_ro_flags.get(),
            checksum: raw.csum_type.get(),
        }
    }

    /// True for block groups in a tree of their own.
    pub(super) const fn has_block_group_tree(self) -> bool {
        self.compat_ro & BLOCK_GROUP_TREE != 0
    }

    /// True when tree blocks carry another UUID than the superblock.
    pub(super) const fn has_metadata_uuid(self) -> bool {
        self.incompat & METADATA_UUID != 0
    }

    /// The checksum and the names of all features, an unknown one as `incompat bit 19`.
    pub(super) fn names(self) -> Vec<String> {
        let checksum = Checksum::of_type(self.checksum)
            .map_or_else(|| format!("checksum type {}", self.checksum), |c| c.name().to_owned());
        let known = features::names(KNOWN, |word| self.word(word)).map(str::to_owned);
        std::iter::once(checksum).chain(known).chain(self.unknown()).collect()
    }

    /// Names of the features that keep us from trusting the map.
    pub(super) fn refused(self) -> Vec<String> {
        let known = features::refused(KNOWN, |word| self.word(word)).map(str::to_owned);
        known.chain(self.unknown()).collect()
    }

    const fn word(self, word: Word) -> u64 {
        match word {
            Word::Incompat => self.incompat,
            Word::CompatRo => self.compat_ro,
        }
    }

    fn unknown(self) -> impl Iterator<Item = String> {
        features::unknown(KNOWN, &LABELS, move |word| self.word(word))
            .map(|(label, number)| format!("{label} bit {number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_named_and_refused() {
        let features = Features { incompat: 0x1101 | 1 << 40, compat_ro: 0x13, checksum: 9 };
        let refused = ["zoned", "incompat bit 40", "compat_ro bit 4"];
        assert_eq!(features.refused(), refused);
        assert_eq!(features.names()[..3], ["checksum type 9", "mixed-backref", "skinny-metadata"]);
    }

    #[test]
    fn no_bit_has_two_names() {
        features::assert_distinct(KNOWN);
    }
}
