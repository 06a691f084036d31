//! Feature bits of the superblock: their names, and which of them this reader understands.
//!
//! What it owns: the table of features known to xfsprogs and Linux 6.18. What it never does: accept
//! a bit it does not know, except among the compatible ones of version 5, which by definition may
//! be ignored even by a kernel that writes.

use super::raw;

/// The words of feature bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Features {
    version: u16,
    version_bits: u16,
    features2: u32,
    ro_compat: u32,
    incompat: u32,
    log_incompat: u32,
}

/// Which word a feature is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Word {
    /// The upper twelve bits of the version number.
    Version,
    /// `sb_features2`, of version 4 and, for show, of version 5.
    Features2,
    RoCompat,
    Incompat,
    LogIncompat,
}

/// One feature bit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature {
    word: Word,
    bit: u32,
    name: &'static str,
    /// False where the feature may change which blocks are in use in a way we have not proved.
    understood: bool,
}

const fn feature(word: Word, bit: u32, name: &'static str) -> Feature {
    Feature { word, bit, name, understood: true }
}

const fn foreign(word: Word, bit: u32, name: &'static str) -> Feature {
    Feature { word, bit, name, understood: false }
}

const MOREBITS: Feature = feature(Word::Version, 0x8000, "morebits");
pub(super) const META_UUID: Feature = feature(Word::Incompat, 0x4, "meta_uuid");
pub(super) const NEEDSREPAIR: Feature = feature(Word::Incompat, 0x10, "needsrepair");

/// Every feature with a name, in the order in which they are shown; names as xfs_info and xfs_db
/// print them.
const KNOWN: &[Feature] = &[
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
        let (version, version_bits) = (word & 0xF, word & !0xF);
        let more = u32::from(version_bits) & MOREBITS.bit != 0;
        let v5 = |word: u32| if version == 5 { word } else { 0 };
        Self {
            version,
            version_bits,
            features2: if more { raw.sb_features2.get() | raw.sb_bad_features2.get() } else { 0 },
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

    fn word(self, word: Word) -> u32 {
        match word {
            Word::Version => u32::from(self.version_bits),
            Word::Features2 => self.features2,
            Word::RoCompat => self.ro_compat,
            Word::Incompat => self.incompat,
            Word::LogIncompat => self.log_incompat,
        }
    }

    pub(super) fn has(self, feature: Feature) -> bool {
        self.word(feature.word) & feature.bit != 0
    }

    /// The version and the names of all features, an unknown one as `incompat bit 19`.
    pub(super) fn names(self) -> Vec<String> {
        let mut names = vec![format!("v{}", self.version)];
        for feature in KNOWN.iter().filter(|f| self.has(**f)) {
            if !names.iter().any(|name| name == feature.name) {
                names.push(feature.name.to_owned());
            }
        }
        names.extend(self.unknown());
        names
    }

    /// Names of the features that keep us from trusting the map.
    pub(super) fn refused(self) -> Vec<String> {
        let known = KNOWN.iter().filter(|f| self.has(**f) && !f.understood);
        known.map(|f| f.name.to_owned()).chain(self.unknown()).collect()
    }

    fn unknown(self) -> Vec<String> {
        let words = [
            (Word::Features2, "features2"),
            (Word::RoCompat, "ro_compat"),
            (Word::Incompat, "incompat"),
            (Word::LogIncompat, "log_incompat"),
        ];
        let mut names = Vec::new();
        for (word, label) in words {
            for number in 0..32 {
                let bit = 1u32 << number;
                let known = KNOWN.iter().any(|f| f.word == word && f.bit == bit);
                if self.word(word) & bit != 0 && !known {
                    names.push(format!("{label} bit {number}"));
                }
            }
        }
        names
    }
}

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
        for (i, a) in KNOWN.iter().enumerate() {
            assert!(a.bit.is_power_of_two());
            assert!(KNOWN.iter().skip(i + 1).all(|b| a.word != b.word || a.bit != b.bit), "{a:?}");
        }
    }
}
