//! Feature bits of the superblock: their names, and which of them this reader understands.
//!
//! What it owns: the table of features known to e2fsprogs 1.47 and Linux 6.18. What it never does:
//! accept a bit it does not know, except among the compatible ones, which by definition may be
//! ignored even by a kernel that writes.

use super::raw;
use crate::fs::features::{self, Feature, feature, foreign};

/// The three words of feature bits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Features {
    compat: u64,
    incompat: u64,
    ro_compat: u64,
}

/// Which word a feature is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word {
    Compat,
    Incompat,
    RoCompat,
}

pub(super) const HAS_JOURNAL: Feature<Word> = feature(Word::Compat, 0x4, "has_journal");
pub(super) const SPARSE_SUPER2: Feature<Word> = feature(Word::Compat, 0x200, "sparse_super2");
pub(super) const NEEDS_RECOVERY: Feature<Word> = feature(Word::Incompat, 0x4, "needs_recovery");
pub(super) const JOURNAL_DEV: Feature<Word> = feature(Word::Incompat, 0x8, "journal_dev");
pub(super) const META_BG: Feature<Word> = feature(Word::Incompat, 0x10, "meta_bg");
pub(super) const SIXTY_FOUR_BIT: Feature<Word> = feature(Word::Incompat, 0x80, "64bit");
pub(super) const MMP: Feature<Word> = feature(Word::Incompat, 0x100, "mmp");
pub(super) const CSUM_SEED: Feature<Word> = feature(Word::Incompat, 0x2000, "metadata_csum_seed");
pub(super) const SPARSE_SUPER: Feature<Word> = feature(Word::RoCompat, 0x1, "sparse_super");
pub(super) const GDT_CSUM: Feature<Word> = feature(Word::RoCompat, 0x10, "uninit_bg");
pub(super) const BIGALLOC: Feature<Word> = feature(Word::RoCompat, 0x200, "bigalloc");
pub(super) const METADATA_CSUM: Feature<Word> = feature(Word::RoCompat, 0x400, "metadata_csum");

/// Every known feature, by the names dumpe2fs prints, in its order.
const KNOWN: &[Feature<Word>] = &[
    feature(Word::Compat, 0x1, "dir_prealloc"),
    feature(Word::Compat, 0x2, "imagic_inodes"),
    HAS_JOURNAL,
    feature(Word::Compat, 0x8, "ext_attr"),
    feature(Word::Compat, 0x10, "resize_inode"),
    feature(Word::Compat, 0x20, "dir_index"),
    // Groups whose bitmaps were never written, without the checksums that vouch for it.
    foreign(Word::Compat, 0x40, "lazy_bg"),
    feature(Word::Compat, 0x80, "exclude_inode"),
    feature(Word::Compat, 0x100, "snapshot_bitmap"),
    SPARSE_SUPER2,
    feature(Word::Compat, 0x400, "fast_commit"),
    feature(Word::Compat, 0x800, "stable_inodes"),
    feature(Word::Compat, 0x1000, "orphan_file"),
    // The e2compr patches; no kernel of today reads it.
    foreign(Word::Incompat, 0x1, "compression"),
    feature(Word::Incompat, 0x2, "filetype"),
    NEEDS_RECOVERY,
    JOURNAL_DEV,
    META_BG,
    feature(Word::Incompat, 0x40, "extent"),
    SIXTY_FOUR_BIT,
    MMP,
    feature(Word::Incompat, 0x200, "flex_bg"),
    feature(Word::Incompat, 0x400, "ea_inode"),
    feature(Word::Incompat, 0x1000, "dirdata"),
    CSUM_SEED,
    feature(Word::Incompat, 0x4000, "large_dir"),
    feature(Word::Incompat, 0x8000, "inline_data"),
    feature(Word::Incompat, 0x1_0000, "encrypt"),
    feature(Word::Incompat, 0x2_0000, "casefold"),
    SPARSE_SUPER,
    feature(Word::RoCompat, 0x2, "large_file"),
    feature(Word::RoCompat, 0x4, "btree_dir"),
    feature(Word::RoCompat, 0x8, "huge_file"),
    GDT_CSUM,
    feature(Word::RoCompat, 0x20, "dir_nlink"),
    feature(Word::RoCompat, 0x40, "extra_isize"),
    feature(Word::RoCompat, 0x80, "has_snapshot"),
    feature(Word::RoCompat, 0x100, "quota"),
    BIGALLOC,
    METADATA_CSUM,
    // Reserved, never implemented.
    foreign(Word::RoCompat, 0x800, "replica"),
    feature(Word::RoCompat, 0x1000, "read-only"),
    feature(Word::RoCompat, 0x2000, "project"),
    feature(Word::RoCompat, 0x4000, "shared_blocks"),
    feature(Word::RoCompat, 0x8000, "verity"),
    feature(Word::RoCompat, 0x1_0000, "orphan_present"),
];

/// What an ext3 filesystem may have besides its journal; ext2 the same without `needs_recovery`.
const EXT3_INCOMPAT: u64 = 0x2 | 0x4 | 0x10;
const EXT3_RO_COMPAT: u64 = 0x1 | 0x2 | 0x4;

impl Features {
    pub(super) fn of(raw: &raw::Superblock) -> Self {
        Self {
            compat: raw.s_feature_compat.get().into(),
            incompat: raw.s_feature_incompat.get().into(),
            ro_compat: raw.s_feature_ro_compat.get().into(),
        }
    }

    const fn word(self, word: Word) -> u64 {
        match word {
            Word::Compat => self.compat,
            Word::Incompat => self.incompat,
            Word::RoCompat => self.ro_compat,
        }
    }

    pub(super) const fn has(self, feature: Feature<Word>) -> bool {
        self.word(feature.word) & feature.bit != 0
    }

    /// True without any feature, as a revision 0 filesystem must be.
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The name people give this combination.
    pub(super) const fn filesystem_name(self) -> &'static str {
        if self.has(JOURNAL_DEV) {
            "ext-journal"
        } else if self.incompat & !EXT3_INCOMPAT != 0 || self.ro_compat & !EXT3_RO_COMPAT != 0 {
            "ext4"
        } else if self.has(HAS_JOURNAL) {
            "ext3"
        } else {
            "ext2"
        }
    }

    /// Names of all features, an unknown one as `FEATURE_I19`: word and bit number, as e2fsprogs does.
    pub(super) fn names(self) -> Vec<String> {
        let known = features::names(KNOWN, |word| self.word(word)).map(str::to_owned);
        known.chain(self.unknown().map(name_of)).collect()
    }

    /// Names of the features that keep us from trusting the map.
    pub(super) fn refused(self) -> Vec<String> {
        let known = features::refused(KNOWN, |word| self.word(word)).map(str::to_owned);
        let unknown = self.unknown().filter(|(letter, _)| *letter != COMPAT);
        known.chain(unknown.map(name_of)).collect()
    }

    fn unknown(self) -> impl Iterator<Item = (char, u32)> {
        features::unknown(KNOWN, &LETTERS, move |word| self.word(word))
    }
}

/// The letter of compatible features.
const COMPAT: char = 'C';
/// The letters of all words.
const LETTERS: [(Word, char); 3] =
    [(Word::Compat, COMPAT), (Word::Incompat, 'I'), (Word::RoCompat, 'R')];

fn name_of((letter, number): (char, u32)) -> String {
    format!("FEATURE_{letter}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_named_and_refused_unless_compatible() {
        let features =
            Features { compat: 1 << 30, incompat: 0x2 | 1 << 19, ro_compat: 1 << 31 | 1 };
        assert_eq!(
            features.names(),
            ["filetype", "sparse_super", "FEATURE_C30", "FEATURE_I19", "FEATURE_R31"]
        );
        assert_eq!(features.refused(), ["FEATURE_I19", "FEATURE_R31"]);
        let old = Features { compat: 0x40, incompat: 0x1, ro_compat: 0 };
        assert_eq!(old.refused(), ["lazy_bg", "compression"]);
    }

    #[test]
    fn names_of_the_generations() {
        let name = |compat, incompat, ro_compat| {
            Features { compat, incompat, ro_compat }.filesystem_name()
        };
        assert_eq!(name(0x38, 0x2, 0x3), "ext2");
        assert_eq!(name(0x3C, 0x2, 0x3), "ext3");
        assert_eq!(name(0x3C, 0x6, 0x3), "ext3");
        assert_eq!(name(0x3C, 0x42, 0x3), "ext4");
        assert_eq!(name(0, 0x8, 0), "ext-journal");
    }

    #[test]
    fn no_bit_has_two_names() {
        features::assert_distinct(KNOWN);
    }
}
