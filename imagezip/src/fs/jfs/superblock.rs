//! The superblock: recognised, verified against its copy, and turned into a geometry that fits the
//! disk; and the superblock of the log.
//!
//! What it owns: every check on them. What it never does: let a number through that later
//! arithmetic or a later loop could trip over.

use super::raw::{self, Pxd};
use crate::disk::{DiskError, ReadDisk};
use crate::fs::areas::read;
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Byte offset of the superblock.
const OFFSET: u64 = 32 << 10;
/// Byte offset of its copy.
const COPY_OFFSET: u64 = 60 << 10;
/// Bytes in a block; the kernel knows no other.
pub(super) const BLOCK_BYTES: u64 = 4096;
/// Byte offset of the log's superblock in the log.
const LOG_SUPERBLOCK: u64 = 4096;

/// States: mounted, to be checked, log replay failed, being extended.
const STATES: &[(u32, &str)] = &[
    (1, "it is mounted, or was not unmounted cleanly"),
    (2, "it is marked for fsck"),
    (4, "the replay of its log failed"),
    (8, "it is being extended"),
];

/// Bits of `s_flag`: their names, and whether we understand what they do to the map.
const FLAGS: &[(u32, &str, bool)] = &[
    (0x8000_0000, "aix", false),
    (0x4000_0000, "os2", true),
    (0x2000_0000, "dfs", false),
    (0x1000_0000, "linux", true),
    (0x0000_0001, "unicode", true),
    (0x0000_0002, "errors_remount_ro", true),
    (0x0000_0004, "errors_continue", true),
    (0x0000_0008, "errors_panic", true),
    (0x0000_0010, "usrquota", true),
    (0x0000_0020, "grpquota", true),
    (0x0000_0040, "nointegrity", true),
    (0x0000_0080, "discard", true),
    (0x0000_0100, "groupcommit", true),
    (0x0000_0200, "lazycommit", true),
    (0x0000_0400, "tmpfs", false),
    (INLINE_LOG, "inline_log", true),
    (0x0000_1000, "inline_move", true),
    (0x0001_0000, "bad_secondary_inode_table", false),
    (0x0002_0000, "sparse", true),
    (0x0004_0000, "dasd", true),
    (0x0008_0000, "dasd_prime", true),
    (0x0010_0000, "swap_bytes", false),
    (0x0020_0000, "dir_index", true),
];
const INLINE_LOG: u32 = 0x800;

/// A superblock with the right magic number; nothing else is known to be sound.
pub(super) struct Superblock {
    raw: raw::Superblock,
}

/// Sizes that fit together and fit the disk, in blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Blocks that the map covers.
    pub(super) mapped: u64,
    /// Blocks with the log and the space for fsck.
    pub(super) blocks: u64,
    /// What the map must show as in use: the second inode table and its map.
    pub(super) own: [Pxd; 2],
}

impl Superblock {
    /// The superblock of the disk; `None` when there is none.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        let raw = read_at(disk, OFFSET)?.filter(|raw| raw.s_magic == raw::MAGIC);
        Ok(raw.map(|raw| Self { raw }))
    }

    /// The fields as they stand.
    pub(super) fn raw(&self) -> &raw::Superblock {
        &self.raw
    }

    /// The version and the names of flags, an unknown one as `bit 19`.
    pub(super) fn features(&self) -> Vec<String> {
        let version = format!("version {}", self.raw.s_version);
        [version].into_iter().chain(self.bits().map(|(name, _)| name)).collect()
    }

    fn bits(&self) -> impl Iterator<Item = (String, bool)> + '_ {
        (0..32).filter(|number| self.raw.s_flag.get() >> number & 1 == 1).map(|number| {
            let known = FLAGS.iter().find(|(bit, ..)| *bit == 1 << number);
            known.map_or((format!("bit {number}"), false), |(_, name, ok)| ((*name).into(), *ok))
        })
    }

    /// Bytes with the space for fsck and the log, which follow the blocks of the map.
    pub(super) fn claimed_bytes(&self) -> Option<u64> {
        let raw = &self.raw;
        let mapped = raw.s_size.get().checked_mul(u64::from(raw.s_pbsize.get()))?;
        let end = raw.s_logpxd.end().max(raw.s_fsckpxd.end());
        Some(mapped.max(end.checked_mul(u64::from(raw.s_bsize.get()))?))
    }

    /// Refuses versions, flags and states whose map cannot be trusted.
    pub(super) fn check_state(&self) -> Result<(), Refusal> {
        let raw = &self.raw;
        if !(1..=2).contains(&raw.s_version.get()) {
            let version = raw.s_version;
            return Err(Refusal::unsupported(format!("version {version} is not known (1, 2 are)")));
        }
        let refused: Vec<_> = self.bits().filter(|(_, ok)| !ok).map(|(name, _)| name).collect();
        if !refused.is_empty() {
            let names = refused.join(", ");
            return Err(Refusal::unsupported(format!("its flags {names} are not known")));
        }
        let state = raw.s_state.get();
        if state != 0 {
            let why = STATES.iter().find(|(bit, _)| state & bit != 0);
            let why = why.map_or("its state is not known", |(_, why)| why);
            return Err(Refusal::unsupported(format!(
                "{why} (state {state:#x}): run jfs_fsck on it and save again"
            )));
        }
        if raw.s_flag.get() & INLINE_LOG == 0 {
            return Err(Refusal::unsupported(
                "its log is on another device, where nobody can see from here whether it is clean",
            ));
        }
        Ok(())
    }

    /// The geometry, verified against the copy, in which every number fits the disk.
    pub(super) fn geometry(&self, disk: &dyn ReadDisk) -> Result<Geometry, Refusal> {
        let raw = &self.raw;
        let sizes = (raw.s_bsize.get(), raw.s_l2bsize.get());
        if sizes != (4096, 12) {
            let found = format!("{} (2^{})", sizes.0, sizes.1);
            return Err(corrupt("block size", "4096 (2^12)", found));
        }
        let (physical, log) = (raw.s_pbsize.get(), raw.s_l2pbsize.get());
        let is_power = 1u32.checked_shl(log.into()) == Some(physical);
        if !(512..=4096).contains(&physical) || !is_power || raw.s_l2bfactor.get() != 12 - log {
            let found = format!("{physical} (2^{log}), factor 2^{}", raw.s_l2bfactor);
            return Err(corrupt("physical block size", "a power of two to 4096", found));
        }
        match read_at(disk, COPY_OFFSET)? {
            Some(copy) if shape(&copy) == shape(raw) => {}
            _ => {
                let found = "another, or none".to_owned();
                return Err(corrupt("copy", "the same sizes as in the first", found));
            }
        }
        let disk_blocks = disk.size_bytes() / BLOCK_BYTES;
        let mapped = raw.s_size.get() >> raw.s_l2bfactor.get();
        let blocks = mapped.max(raw.s_logpxd.end()).max(raw.s_fsckpxd.end());
        // The superblocks and inode tables take the first 32 blocks.
        if mapped < 32 || blocks > disk_blocks {
            let expected = format!("32 to {disk_blocks}, with log and space for fsck");
            return Err(corrupt("number of blocks", &expected, format!("{mapped} and {blocks}")));
        }
        let (log, fsck) = (raw.s_logpxd, raw.s_fsckpxd);
        if log.blocks() < 2 || log.start() < mapped || fsck.start() < mapped {
            let expected = format!("behind block {mapped}");
            let found = format!("{} blocks at {}", log.blocks(), log.start());
            return Err(corrupt("place of log and space for fsck", &expected, found));
        }
        Ok(Geometry { mapped, blocks, own: [raw.s_ait2, raw.s_aim2] })
    }

    /// Verifies that nothing is left to be replayed from the log.
    pub(super) fn check_log(&self, disk: &dyn ReadDisk) -> Result<(), Refusal> {
        let pxd = self.raw.s_logpxd;
        let at = pxd.start() * BLOCK_BYTES + LOG_SUPERBLOCK;
        let bytes = read(disk, at, 36)?;
        let log = raw::LogSuperblock::read_from_bytes(&bytes).ok();
        let log = log.filter(|log| log.magic.get() == raw::LOG_MAGIC);
        let Some(log) = log else {
            return Err(Refusal::corrupt("log", at, "its superblock", "something else"));
        };
        if log.version.get() != 1 || u64::from(log.size.get()) != pxd.blocks() {
            let found = format!("version {}, {} blocks", log.version, log.size);
            let expected = format!("version 1, {} blocks", pxd.blocks());
            return Err(Refusal::corrupt("superblock of the log", at, expected, found));
        }
        if log.state.get() != raw::LOG_REDONE {
            return Err(Refusal::unsupported(format!(
                "its log is not clean (state {}): run jfs_fsck on it and save again",
                log.state
            )));
        }
        Ok(())
    }
}

/// What the superblock and its copy must agree on. Linux leaves the copy as it was when it grows a
/// filesystem, so the length and what stands behind the blocks are not among it: for these the
/// header of the block map and the superblock of the log are the witnesses.
fn shape(raw: &raw::Superblock) -> impl Eq {
    let logs = [raw.s_l2bsize, raw.s_l2bfactor, raw.s_l2pbsize];
    (raw.s_magic, raw.s_bsize, raw.s_pbsize, logs, raw.s_ait2, raw.s_aim2, raw.s_uuid)
}

fn read_at(disk: &dyn ReadDisk, offset: u64) -> Result<Option<raw::Superblock>, DiskError> {
    let mut bytes = [0; size_of::<raw::Superblock>()];
    if disk.size_bytes() < offset + 168 {
        return Ok(None);
    }
    disk.read_at(&mut bytes, offset)?;
    Ok(raw::Superblock::read_from_bytes(&bytes).ok())
}

/// A field of the superblock that contradicts the rest or the disk.
fn corrupt(field: &str, expected: &str, found: String) -> Refusal {
    Refusal::corrupt(format!("{field} in the superblock"), OFFSET, expected, found)
}
