//! Feature bits of the superblock: their names, and which of them this reader understands.
//!
//! What it owns: the table of features known to xfsprogs and Linux 6.18. What it never does: accept
//! a bit it does not know, except among the compatible ones of version 5, which by definition may
//! be ignored even by a kernel that writes.

use super::raw;
use crate::fs::features::{self, Feature, feature, foreign};

/// The words of feature bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Features {
    version: u16,
    version_bits: u64,
    features2: u64,
    ro_compat: u64,
    incompat: u64,
    log_incompat: u64,
}

/// Which word a feature is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word {
    /// The upper twelve bits of the version number.
    Version,
    /// `sb_features2`, of version 4 and, for show, of version 5.
    Features2,
    RoCompat,
    Incompat,
    LogIncompat,
}

const MOREBITS: Feature<Word> = feature(Word::Version, 0x8000, "morebits");
pub(super) const META_UUID: Feature<Word> = feature(Word::Incompat, 0x4, "meta_uuid");
pub(super) const NEEDSREPAIR: Feature<Word> = feature(Word::Incompat, 0x10, "needsrepair");

/// Every feature with a name, in the order in which they are shown; names as xfs_info and xfs_db
/// print them.
const KNOWN: &[Feature<Word>] = &[
    feature(Word::Version, 0x10, "attr"),
    feature(Word::Version, 0x20, "nlink"),
    feature(Word::Version, 0x40, "quota"),
    feature(Word::Version, 0x80, "align"),
    feature(Word::Version, 0x100, "dalign"),
    foreign(Word::Version, 0x200, "shared"),
    feature(Word::Version, 0x400, "logv2"),
    feature(Word::Version, 0x800, "sector"),
    feature(Word::Version, 0x1000, "extflg"),
    feature(Word::Version, 0x2000, "dirv2"),
    feature(Word::Version, 0x4000, "asciici"),
    MOREBITS,
    feature(Word::Features2, 0x2, "lazysbcount"),
    feature(Word::Features2, 0x8, "attr2"),
    feature(Word::Features2, 0x80, "projid32bit"),
    feature(Word::Features2, 0x100, "crc"),
    feature(Word::Features2, 0x200, "ftype"),
    feature(Word::RoCompat, 0x1, "finobt"),
    feature(Word::RoCompat, 0x2, "rmapbt"),
    feature(Word::RoCompat, 0x4, "reflink"),
    feature(Word::RoCompat, 0x8, "inobtcount"),
    feature(Word::Incompat, 0x1, "ftype"),
    feature(Word::Incompat, 0x2, "sparse"),
    META_UUID,
    feature(Word::Incompat, 0x8, "bigtime"),
    NEEDSREPAIR,
    feature(Word::Incompat, 0x20, "nrext64"),
    feature(Word::Incompat, 0x40, "exchange"),
    feature(Word::Incompat, 0x80, "parent"),
    feature(Word::Incompat, 0x100, "metadir"),
    foreign(Word::Incompat, 0x200, "zoned"),
    foreign(Word::Incompat, 0x400, "zone_gaps"),
    // Items of this kind may be in the log; what they do, they do through the same structures.
    feature(Word::LogIncompat, 0x1, "log_xattrs"),
];

impl Features {
    pub(super) fn of(raw: &raw::Superblock) -> Self {
        let word = raw.sb_versionnum.get();
        let (version, version_bits) = (word & 0xF, u64::from(word & !0xF));
        let more = version_bits & MOREBITS.bit != 0;
        let v5 = |word: u32| if version == 5 { word.into() } else { 0 };
        Self {
            version,
            version_bits,
            features2: if more {
                (raw.sb_features2.get() | raw.sb_bad_features2.get()).into()
            } else {
                0
            },
            ro_compat: v5(raw.sb_features_ro_compat.get()),
            incompat: v5(raw.sb_features_incompat.get()),
            log_incompat: v5(raw.sb_features_log_incompat.get()),
        }
    }

    /// The version of the format.
    pub(super) const fn version(self) -> u16 {
        self.version
    }

    /// True when all metadata has checksums.
    pub(super) const fn has_checksums(self) -> bool {
        self.version == 5
    }

    const fn word(self, word: Word) -> u64 {
        match word {
            Word::Version => self.version_bits,
            Word::Features2 => self.features2,
            Word::RoCompat => self.ro_compat,
            Word::Incompat => self.incompat,
            Word::LogIncompat => self.log_incompat,
        }
    }

    pub(super) const fn has(self, feature: Feature<Word>) -> bool {
        self.word(feature.word) & feature.bit != 0
    }

    /// The version and the names of all features, an unknown one as `incompat bit 19`.
    pub(super) fn names(self) -> Vec<String> {
        let mut names = vec![format!("v{}", self.version)];
        for feature in features::names(KNOWN, |word| self.word(word)) {
            if !names.iter().any(|name| name == feature) {
                names.push(feature.to_owned());
            }
        }
        names.extend(self.unknown());
        names
    }

    /// Names of the features that keep us from trusting the map.
    pub(super) fn refused(self) -> Vec<String> {
        let known = features::refused(KNOWN, |word| self.word(word)).map(str::to_owned);
        known.chain(self.unknown()).collect()
    }

    fn unknown(self) -> impl Iterator<Item = String> {
        features::unknown(KNOWN, &LABELS, move |word| self.word(word))
            .map(|(label, number)| format!("{label} bit {number}"))
    }
}

/// Words whose every bit is a feature.
const LABELS: [(Word, &str); 4] = [
    (Word::Features2, "features2"),
    (Word::RoCompat, "ro_compat"),
    (Word::Incompat, "incompat"),
    (Word::LogIncompat, "log_incompat"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Features = Features {
        version: 5,
        version_bits: 0,
        features2: 0,
        ro_compat: 0,
        incompat: 0,
        log_incompat: 0,
    };

    #[test]
    fn unknown_bits_are_named_and_refused() {
        let features = Features { ro_compat: 0x15, incompat: 0x203 | 1 << 31, ..EMPTY };
        let names = ["v5", "finobt", "reflink", "ftype", "sparse", "zoned"];
        assert_eq!(features.names()[..6], names);
        assert_eq!(features.refused(), ["zoned", "ro_compat bit 4", "incompat bit 31"]);
        let old = Features { version: 4, features2: 0x1 | 0x400, ..EMPTY };
        assert_eq!(old.refused(), ["features2 bit 0", "features2 bit 10"]);
    }

    #[test]
    fn no_bit_has_two_names() {
        features::assert_distinct(KNOWN);
    }
}
