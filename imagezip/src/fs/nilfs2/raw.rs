//! Structures as they stand on the disk, with the names of the Linux kernel's
//! `include/uapi/linux/nilfs2_ondisk.h`.
//!
//! What it owns: layouts and magic numbers. All integers are little-endian. Fields without a
//! meaning for the allocation map are `_at_` their offset.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian as le};

/// The superblock, at byte 1024 and, as a copy, at the last multiple of 4096 with room for it.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) s_rev_level: le::U32,
    pub(super) s_minor_rev_level: le::U16,
    pub(super) s_magic: le::U16,
    /// Bytes that the checksum covers.
    pub(super) s_bytes: le::U16,
    pub(super) s_flags: le::U16,
    pub(super) s_crc_seed: le::U32,
    pub(super) s_sum: le::U32,
    pub(super) s_log_block_size: le::U32,
    pub(super) s_nsegments: le::U64,
    /// Bytes of the device.
    pub(super) s_dev_size: le::U64,
    pub(super) s_first_data_block: le::U64,
    pub(super) s_blocks_per_segment: le::U32,
    _at_34: [u8; 4],
    /// Number of the last checkpoint.
    pub(super) s_last_cno: le::U64,
    /// First block of the last log with a super root.
    pub(super) s_last_pseg: le::U64,
    /// Sequence number of its segment.
    pub(super) s_last_seq: le::U64,
    _at_50: [u8; 36],
    pub(super) s_state: le::U16,
    _at_76: [u8; 26],
    pub(super) s_inode_size: le::U16,
    pub(super) s_dat_entry_size: le::U16,
    pub(super) s_checkpoint_size: le::U16,
    pub(super) s_segment_usage_size: le::U16,
    pub(super) s_uuid: [u8; 16],
    pub(super) s_volume_name: [u8; 80],
    _at_f8: [u8; 8],
    pub(super) s_feature_compat: le::U64,
    pub(super) s_feature_compat_ro: le::U64,
    pub(super) s_feature_incompat: le::U64,
    _at_118: [u8; 744],
}

const _: () = assert!(size_of::<Superblock>() == 1024);

/// `NILFS_SUPER_MAGIC`.
pub(super) const MAGIC: u16 = 0x3434;

/// Byte offset of `s_sum`.
pub(super) const SUPERBLOCK_SUM_OFFSET: u64 = 16;

/// The start of a log: `nilfs_segment_summary`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct SegmentSummary {
    pub(super) ss_datasum: le::U32,
    pub(super) ss_sumsum: le::U32,
    pub(super) ss_magic: le::U32,
    pub(super) ss_bytes: le::U16,
    pub(super) ss_flags: le::U16,
    pub(super) ss_seq: le::U64,
    _at_18: [u8; 8],
    /// First block of the next segment.
    pub(super) ss_next: le::U64,
    pub(super) ss_nblocks: le::U32,
    _at_2c: [u8; 4],
    pub(super) ss_sumbytes: le::U32,
    _at_34: [u8; 12],
}

const _: () = assert!(size_of::<SegmentSummary>() == 64);

/// `NILFS_SEGSUM_MAGIC`.
pub(super) const SUMMARY_MAGIC: u32 = 0x1EAF_FA11;

/// `NILFS_SS_SR`: the log ends with a super root.
pub(super) const HAS_SUPER_ROOT: u16 = 4;

/// The last block of a log: `nilfs_super_root`, up to its inodes.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct SuperRoot {
    pub(super) sr_sum: le::U32,
    pub(super) sr_bytes: le::U16,
    _at_6: [u8; 10],
}

const _: () = assert!(size_of::<SuperRoot>() == 16);

/// An inode: `nilfs_inode`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Inode {
    _at_0: [u8; 56],
    /// Pointers to six blocks behind a header, or the root of a btree.
    pub(super) i_bmap: [u8; 56],
    _at_70: [u8; 16],
}

const _: () = assert!(size_of::<Inode>() == 128);

/// The start of a node of a btree.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct BtreeNode {
    pub(super) bn_flags: u8,
    pub(super) bn_level: u8,
    pub(super) bn_nchildren: le::U16,
    _at_4: [u8; 4],
}

const _: () = assert!(size_of::<BtreeNode>() == 8);

/// Where a virtual block is: `nilfs_dat_entry`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct DatEntry {
    pub(super) de_blocknr: le::U64,
    _at_8: [u8; 24],
}

const _: () = assert!(size_of::<DatEntry>() == 32);

/// The start of the segment usage file: `nilfs_sufile_header`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct SufileHeader {
    pub(super) sh_ncleansegs: le::U64,
    pub(super) sh_ndirtysegs: le::U64,
    _at_10: [u8; 8],
}

const _: () = assert!(size_of::<SufileHeader>() == 24);

/// What the segment usage file says of one segment: `nilfs_segment_usage`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct SegmentUsage {
    _at_0: [u8; 12],
    /// 0 for a clean segment.
    pub(super) su_flags: le::U32,
}

const _: () = assert!(size_of::<SegmentUsage>() == 16);
