//! Whether the bitmaps on the disk are what the filesystem means.
//!
//! What it owns: every sign that somebody is still writing, or stopped halfway. What it never does:
//! replay or repair.

use super::features::{HAS_JOURNAL, MMP, NEEDS_RECOVERY};
use super::geometry::Geometry;
use super::raw;
use super::superblock::Superblock;
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// `EXT4_VALID_FS`: unmounted cleanly.
const STATE_VALID: u16 = 1;
/// `EXT4_ERROR_FS`: errors were met.
const STATE_ERROR: u16 = 2;
/// `EXT4_ORPHAN_FS`: orphans are being recovered.
const STATE_ORPHAN: u16 = 4;

/// Refuses a filesystem whose superblock says that it is not at rest.
pub(super) fn check_superblock(superblock: &Superblock) -> Result<(), Refusal> {
    let features = superblock.features;
    if features.has(NEEDS_RECOVERY) {
        return Err(Refusal::unsupported(
            "its journal must be replayed first, the bitmaps on the disk are out of date \
             (needs_recovery): mount and unmount it once, or run e2fsck on it, and save again",
        ));
    }
    let state = superblock.raw().s_state.get();
    if state & STATE_ERROR != 0 {
        return Err(Refusal::unsupported(
            "it recorded errors, its bitmaps cannot be trusted: run e2fsck -f on it and save again",
        ));
    }
    if state & STATE_VALID == 0 {
        return Err(Refusal::unsupported(
            "it was not unmounted cleanly, or is mounted now: unmount it, or run e2fsck on it, \
             and save again",
        ));
    }
    if state & STATE_ORPHAN != 0 {
        return Err(Refusal::unsupported(
            "the recovery of its deleted files was cut short: run e2fsck -f on it and save again",
        ));
    }
    let raw = superblock.raw();
    let names_journal = raw.s_journal_inum.get() != 0
        || raw.s_journal_dev.get() != 0
        || raw.s_journal_uuid != [0; 16];
    if features.has(HAS_JOURNAL) && !names_journal {
        return Err(Refusal::unsupported(
            "it has a journal but does not say where: run e2fsck on it and save again",
        ));
    }
    Ok(())
}

/// What only a check by e2fsck can put right.
pub(super) fn damage(superblock: &Superblock) -> Option<&'static str> {
    let state = superblock.raw().s_state.get();
    if state & STATE_ERROR != 0 {
        Some("it recorded errors: run e2fsck -f on it")
    } else if state & STATE_VALID == 0 && !superblock.features.has(HAS_JOURNAL) {
        Some("it was not unmounted cleanly and has no journal: run e2fsck on it")
    } else {
        None
    }
}

/// Refuses a filesystem that another machine has in use, as multi-mount protection tells.
pub(super) fn check_mmp(
    disk: &dyn ReadDisk,
    superblock: &Superblock,
    geometry: &Geometry,
) -> Result<(), Refusal> {
    let block = superblock.raw().s_mmp_block.get();
    if !superblock.features.has(MMP) {
        return Ok(());
    }
    let offset = geometry.byte_offset(block);
    let what = "multi-mount protection block";
    if !geometry.holds(block, 1) {
        let expected = format!("below block {}", geometry.blocks);
        return Err(Refusal::corrupt(what, raw::SUPERBLOCK_OFFSET, expected, block.to_string()));
    }
    let mut bytes = [0; size_of::<raw::Mmp>()];
    disk.read_at(&mut bytes, offset)?;
    let Ok(mmp) = raw::Mmp::ref_from_bytes(&bytes) else {
        return Err(Refusal::corrupt(what, offset, "8 bytes", "less"));
    };
    if mmp.mmp_magic.get() != raw::MMP_MAGIC {
        let expected = format!("magic number {:#010x}", raw::MMP_MAGIC);
        return Err(Refusal::corrupt(what, offset, expected, format!("{:#010x}", mmp.mmp_magic)));
    }
    if mmp.mmp_seq.get() != raw::MMP_SEQ_CLEAN {
        return Err(Refusal::unsupported(
            "multi-mount protection says that it is in use: unmount it everywhere (or, after a \
             crash, run tune2fs -E clear_mmp and e2fsck) and save again",
        ));
    }
    Ok(())
}
