//! The superblock: recognised, and turned into a geometry that fits the disk.
//!
//! What it owns: every check that can be made on the superblock alone; there is no copy of it. What
//! it never does: let a number through that later arithmetic or a later loop could trip over.

use super::raw;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Byte offset of the superblock.
pub(super) const OFFSET: u64 = 64 << 10;
/// Byte offset of the superblock before version 3.5.10, with all bitmaps behind it.
const OLD_OFFSET: u64 = 8 << 10;
/// Most blocks of a journal that anybody makes; the tools allow less.
const JOURNAL_BLOCKS_MAX: u64 = 1 << 17;
/// `REISERFS_VALID_FS`.
const UNMOUNTED: u16 = 1;
/// The one flag there is: inode attributes were cleared once.
const ATTRIBUTES_CLEARED: u32 = 1;

/// Which of the magic words the superblock has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `ReIsErFs`.
    V35,
    /// `ReIsEr2Fs`.
    V36,
    /// `ReIsEr3Fs`: either format, with a journal of another size or place.
    OwnJournal,
    /// Any of them at the place of very old versions.
    Ancient,
}

/// A superblock with a right magic word; nothing else is known to be sound.
pub(super) struct Superblock {
    raw: raw::Superblock,
    kind: Kind,
}

/// Sizes that fit together and fit the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Bytes in a block: a power of two, 512 to 8192.
    pub(super) block_bytes: u64,
    /// Blocks of the filesystem.
    pub(super) blocks: u64,
    /// Free blocks, as the superblock says.
    pub(super) free: u64,
    /// Root of the tree.
    pub(super) root: u64,
    /// First block of the journal.
    pub(super) journal: u64,
    /// Blocks of the journal; its header stands behind them.
    pub(super) journal_blocks: u64,
}

impl Superblock {
    /// The superblock of the disk; `None` when there is none.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        for offset in [OFFSET, OLD_OFFSET] {
            let mut bytes = [0; size_of::<raw::Superblock>()];
            if disk.size_bytes() < offset + 116 {
                continue;
            }
            disk.read_at(&mut bytes, offset)?;
            let Ok(raw) = raw::Superblock::read_from_bytes(&bytes) else { continue };
            let kind = match raw.s_magic.get(..9) {
                Some(b"ReIsEr2Fs") => Kind::V36,
                Some(b"ReIsEr3Fs") => Kind::OwnJournal,
                Some(magic) if magic.starts_with(b"ReIsErFs") => Kind::V35,
                _ => continue,
            };
            let kind = if offset == OLD_OFFSET { Kind::Ancient } else { kind };
            return Ok(Some(Self { raw, kind }));
        }
        Ok(None)
    }

    /// The fields as they stand.
    pub(super) fn raw(&self) -> &raw::Superblock {
        &self.raw
    }

    /// True for format 3.6, whose superblock is longer.
    pub(super) fn is_36(&self) -> bool {
        self.kind == Kind::V36 || (self.kind == Kind::OwnJournal && self.raw.s_version.get() == 2)
    }

    /// The format and what is special.
    pub(super) fn features(&self) -> Vec<String> {
        let format = if self.is_36() { "format 3.6" } else { "format 3.5" };
        let journal = (self.kind == Kind::OwnJournal).then_some("non-standard journal");
        [format].into_iter().chain(journal).map(String::from).collect()
    }

    /// Bytes the filesystem says it has.
    pub(super) fn claimed_bytes(&self) -> u64 {
        u64::from(self.raw.s_block_count.get()) * u64::from(self.raw.s_blocksize.get())
    }

    /// Refuses formats and states whose map cannot be trusted.
    pub(super) fn check_state(&self) -> Result<(), Refusal> {
        let raw = &self.raw;
        let version = raw.s_version.get();
        let is_known = match self.kind {
            Kind::V35 => version == 0,
            Kind::V36 => version == 2,
            Kind::OwnJournal => version == 0 || version == 2,
            Kind::Ancient => false,
        };
        if !is_known {
            return Err(Refusal::unsupported(format!(
                "version {version} at this place is not known: 3.5.10 and later 3.5, and 3.6 are"
            )));
        }
        if raw.jp_journal_dev.get() != 0 {
            return Err(Refusal::unsupported(
                "its journal is on another device, where nobody can see from here whether it is \
                 clean",
            ));
        }
        if self.is_36() && raw.s_flags.get() & !ATTRIBUTES_CLEARED != 0 {
            return Err(Refusal::unsupported(format!("flags {:#x} are not known", raw.s_flags)));
        }
        if raw.s_fs_state.get() != 0 {
            return Err(Refusal::unsupported(format!(
                "it is marked as broken, or being repaired (state {:#x}): run reiserfsck on it and \
                 save again",
                raw.s_fs_state
            )));
        }
        if raw.s_umount_state.get() != UNMOUNTED {
            return Err(Refusal::unsupported(
                "it is mounted, or was not unmounted cleanly: mount and unmount it once, or run \
                 reiserfsck on it, and save again",
            ));
        }
        Ok(())
    }

    /// The geometry, in which every number fits a disk of `disk_bytes`.
    pub(super) fn geometry(&self, disk_bytes: u64) -> Result<Geometry, Refusal> {
        let raw = &self.raw;
        let block_bytes = u64::from(raw.s_blocksize.get());
        if !(512..=8192).contains(&block_bytes) || !block_bytes.is_power_of_two() {
            return Err(corrupt("block size", "a power of two to 8192", block_bytes));
        }
        let blocks = u64::from(raw.s_block_count.get());
        // Superblock and first bitmap must have their place.
        let least = OFFSET / block_bytes + 2;
        if blocks <= least || blocks * block_bytes > disk_bytes {
            let expected = format!("{least} to {}, as in the partition", disk_bytes / block_bytes);
            return Err(corrupt("number of blocks", &expected, blocks));
        }
        let bitmaps = blocks.div_ceil(block_bytes * 8);
        // The field is too short for the largest ones, which have 0 there.
        let said = u16::try_from(bitmaps).unwrap_or(0);
        if raw.s_bmap_nr.get() != said {
            return Err(corrupt(
                "number of bitmaps",
                &said.to_string(),
                raw.s_bmap_nr.get().into(),
            ));
        }
        let journal = u64::from(raw.jp_journal_1st_block.get());
        let journal_blocks = u64::from(raw.jp_journal_size.get());
        let is_journal = (1..=JOURNAL_BLOCKS_MAX).contains(&journal_blocks);
        if !is_journal || journal < least || journal + journal_blocks >= blocks {
            let expected = "behind the superblock, with its header in the filesystem";
            return Err(corrupt("place of the journal", expected, journal));
        }
        let root = u64::from(raw.s_root_block.get());
        if root < least || root >= blocks {
            return Err(corrupt("root of the tree", &format!("{least} to {blocks}"), root));
        }
        let free = u64::from(raw.s_free_blocks.get());
        Ok(Geometry { block_bytes, blocks, free, root, journal, journal_blocks })
    }
}

/// A field of the superblock that contradicts the rest or the disk.
fn corrupt(field: &str, expected: &str, found: u64) -> Refusal {
    Refusal::corrupt(format!("{field} in the superblock"), OFFSET, expected, found.to_string())
}
