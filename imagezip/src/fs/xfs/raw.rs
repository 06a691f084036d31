//! Structures as they stand on the disk, with the names of "XFS Algorithms & Data Structures".
//!
//! What it owns: layouts and magic numbers. All integers are big-endian, but for checksums, which
//! are little-endian. Fields without a meaning for the allocation map are `_at_` their offset.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, big_endian as be, little_endian as le,
};

/// The superblock, at byte 0 of the filesystem and, as a copy, of every allocation group.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) sb_magicnum: be::U32,
    pub(super) sb_blocksize: be::U32,
    pub(super) sb_dblocks: be::U64,
    pub(super) sb_rblocks: be::U64,
    pub(super) sb_rextents: be::U64,
    pub(super) sb_uuid: [u8; 16],
    /// First block of the internal log; 0 for an external one.
    pub(super) sb_logstart: be::U64,
    _at_38: [u8; 28],
    pub(super) sb_agblocks: be::U32,
    pub(super) sb_agcount: be::U32,
    _at_5c: [u8; 4],
    pub(super) sb_logblocks: be::U32,
    pub(super) sb_versionnum: be::U16,
    pub(super) sb_sectsize: be::U16,
    pub(super) sb_inodesize: be::U16,
    _at_6a: [u8; 2],
    pub(super) sb_fname: [u8; 12],
    pub(super) sb_blocklog: u8,
    pub(super) sb_sectlog: u8,
    _at_7a: [u8; 2],
    pub(super) sb_agblklog: u8,
    _at_7d: u8,
    /// Not 0 while mkfs.xfs, xfs_copy or growfs is at work.
    pub(super) sb_inprogress: u8,
    _at_7f: [u8; 52],
    /// Never implemented outside IRIX; must be 0.
    pub(super) sb_shared_vn: u8,
    _at_b4: [u8; 20],
    pub(super) sb_features2: be::U32,
    /// The same word where a compiler once put it by mistake; old kernels wrote only this one.
    pub(super) sb_bad_features2: be::U32,
    pub(super) sb_features_compat: be::U32,
    pub(super) sb_features_ro_compat: be::U32,
    pub(super) sb_features_incompat: be::U32,
    pub(super) sb_features_log_incompat: be::U32,
    pub(super) sb_crc: le::U32,
    _at_e4: [u8; 20],
    /// The UUID in all other structures, when the user has changed `sb_uuid`.
    pub(super) sb_meta_uuid: [u8; 16],
}

const _: () = assert!(size_of::<Superblock>() == 264);

/// `XFSB`.
pub(super) const SUPERBLOCK_MAGIC: u32 = 0x5846_5342;

/// Byte offset of `sb_crc`.
pub(super) const SUPERBLOCK_CRC_OFFSET: usize = 224;

/// The header of an allocation group's free space, in the group's second sector.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Agf {
    pub(super) agf_magicnum: be::U32,
    pub(super) agf_versionnum: be::U32,
    pub(super) agf_seqno: be::U32,
    pub(super) agf_length: be::U32,
    /// Root of the tree of free space by block.
    pub(super) agf_bno_root: be::U32,
    /// Root of the tree of free space by length.
    pub(super) agf_cnt_root: be::U32,
    _at_18: [u8; 4],
    pub(super) agf_bno_level: be::U32,
    pub(super) agf_cnt_level: be::U32,
    _at_24: [u8; 16],
    pub(super) agf_freeblks: be::U32,
    pub(super) agf_longest: be::U32,
    _at_3c: [u8; 4],
    pub(super) agf_uuid: [u8; 16],
    _at_50: [u8; 136],
    pub(super) agf_crc: le::U32,
    _at_dc: [u8; 4],
}

const _: () = assert!(size_of::<Agf>() == 224);

/// `XAGF`.
pub(super) const AGF_MAGIC: u32 = 0x5841_4746;

/// Byte offset of `agf_crc`.
pub(super) const AGF_CRC_OFFSET: usize = 216;

/// The start of a btree block with short pointers.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct BtreeHeader {
    pub(super) bb_magic: be::U32,
    pub(super) bb_level: be::U16,
    pub(super) bb_numrecs: be::U16,
    pub(super) bb_leftsib: be::U32,
    pub(super) bb_rightsib: be::U32,
}

const _: () = assert!(size_of::<BtreeHeader>() == 16);

/// What follows [`BtreeHeader`] in version 5.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct BtreeHeaderV5 {
    /// Where the block stands, in 512-byte units.
    pub(super) bb_blkno: be::U64,
    pub(super) bb_lsn: be::U64,
    pub(super) bb_uuid: [u8; 16],
    /// The allocation group.
    pub(super) bb_owner: be::U32,
    pub(super) bb_crc: le::U32,
}

const _: () = assert!(size_of::<BtreeHeaderV5>() == 40);

/// Byte offset of `bb_crc` in a block.
pub(super) const BTREE_CRC_OFFSET: usize = 52;

/// A record, or a key, of the trees of free space.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct FreeExtent {
    pub(super) ar_startblock: be::U32,
    pub(super) ar_blockcount: be::U32,
}

const _: () = assert!(size_of::<FreeExtent>() == 8);

/// No block: `NULLAGBLOCK`.
pub(super) const NO_BLOCK: u32 = u32::MAX;

/// The header of a log record.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct LogRecord {
    pub(super) h_magicno: be::U32,
    pub(super) h_cycle: be::U32,
    pub(super) h_version: be::U32,
    /// Bytes after the header.
    pub(super) h_len: be::U32,
    /// Where the record stands: cycle in the upper half, 512-byte block in the lower.
    pub(super) h_lsn: be::U64,
    _at_18: [u8; 16],
    pub(super) h_num_logops: be::U32,
    _at_2c: [u8; 260],
    pub(super) h_fs_uuid: [u8; 16],
    /// Bytes of the buffer it was written from; says how long the header is.
    pub(super) h_size: be::U32,
}

const _: () = assert!(size_of::<LogRecord>() == 324);

/// `XLOG_HEADER_MAGIC_NUM`.
pub(super) const LOG_MAGIC: u32 = 0xFEED_BABE;

/// The header of an operation in a log record.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct LogOperation {
    _at_0: [u8; 8],
    pub(super) oh_clientid: u8,
    pub(super) oh_flags: u8,
    _at_a: [u8; 2],
}

const _: () = assert!(size_of::<LogOperation>() == 12);

/// `XFS_LOG`: the log speaks for itself.
pub(super) const LOG_CLIENT: u8 = 0xAA;

/// `XLOG_UNMOUNT_TRANS`.
pub(super) const LOG_UNMOUNT: u8 = 0x20;
