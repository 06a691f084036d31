//! Feature bits of the superblock: their names, and which of them this reader understands.
//!
//! What it owns: the table of features known to btrfs-progs and Linux 6.18. What it never does:
//! accept a bit it does not know.

use super::checksum::Checksum;
use super::raw;

/// The words of feature bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Features {
    incompat: u64,
    compat_ro: u64,
    checksum: u16,
}

/// One feature bit: its name, and false where it may change which bytes are in use in a way we
/// have not proved.
type Feature = (u64, &'static str, bool);

/// Block groups are in a tree of their own.
pub(super) const BLOCK_GROUP_TREE: u64 = 0x8;
/// Tree blocks carry another UUID than the superblock.
pub(super) const METADATA_UUID: u64 = 0x400;

const INCOMPAT: &[Feature] = &[
    (0x1, "mixed-backref", true),
    (0x2, "default-subvol", true),
    (0x4, "mixed-bg", true),
    (0x8, "compress-lzo", true),
    (0x10, "compress-zstd", true),
    (0x20, "big-metadata", true),
    (0x40, "extref", true),
    (0x80, "raid56", true),
    (0x100, "skinny-metadata", true),
    (0x200, "no-holes", true),
    (METADATA_UUID, "metadata-uuid", true),
    (0x800, "raid1c34", true),
    (0x1000, "zoned", false),
    (0x2000, "extent-tree-v2", false),
    (0x4000, "raid-stripe-tree", false),
    (0x1_0000, "squota", true),
    (0x2_0000, "remap-tree", false),
];

const COMPAT_RO: &[Feature] = &[
    (0x1, "free-space-tree", true),
    (0x2, "free-space-tree-valid", true),
    (0x4, "verity", true),
    (BLOCK_GROUP_TREE, "block-group-tree", true),
];

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
        let words = [(self.incompat, INCOMPAT), (self.compat_ro, COMPAT_RO)];
        let known = words.into_iter().flat_map(|(word, table)| {
            table.iter().filter(move |(bit, ..)| word & bit != 0).map(|(_, name, _)| (*name).into())
        });
        std::iter::once(checksum).chain(known).chain(self.unknown()).collect()
    }

    /// Names of the features that keep us from trusting the map.
    pub(super) fn refused(self) -> Vec<String> {
        let known = INCOMPAT.iter().filter(|(bit, _, known)| self.incompat & bit != 0 && !known);
        known.map(|(_, name, _)| (*name).to_owned()).chain(self.unknown()).collect()
    }

    fn unknown(self) -> Vec<String> {
        let mut names = Vec::new();
        let words =
            [(self.incompat, INCOMPAT, "incompat"), (self.compat_ro, COMPAT_RO, "compat_ro")];
        for (word, table, label) in words {
            for number in 0..64 {
                let bit = 1u64 << number;
                if word & bit != 0 && !table.iter().any(|(known, ..)| *known == bit) {
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

    #[test]
    fn unknown_bits_are_named_and_refused() {
        let features = Features { incompat: 0x1101 | 1 << 40, compat_ro: 0x13, checksum: 9 };
        let refused = ["zoned", "incompat bit 40", "compat_ro bit 4"];
        assert_eq!(features.refused(), refused);
        assert_eq!(features.names()[..3], ["checksum type 9", "mixed-backref", "skinny-metadata"]);
    }
}
