//! Structures as they stand on the disk, with the names of the Linux kernel's
//! `fs/reiserfs/reiserfs.h`.
//!
//! What it owns: layouts and magic words. All integers are little-endian. Fields without a meaning
//! for the allocation map are `_at_` their offset.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian as le};

/// The superblock, at byte 65536. Format 3.5 ends with `s_reserved_for_journal`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) s_block_count: le::U32,
    pub(super) s_free_blocks: le::U32,
    pub(super) s_root_block: le::U32,
    pub(super) jp_journal_1st_block: le::U32,
    /// 0 when the journal is on the same device.
    pub(super) jp_journal_dev: le::U32,
    /// Blocks without the header, which stands behind them.
    pub(super) jp_journal_size: le::U32,
    _at_18: [u8; 20],
    pub(super) s_blocksize: le::U16,
    _at_2e: [u8; 4],
    pub(super) s_umount_state: le::U16,
    pub(super) s_magic: [u8; 10],
    pub(super) s_fs_state: le::U16,
    _at_40: [u8; 4],
    pub(super) s_tree_height: le::U16,
    pub(super) s_bmap_nr: le::U16,
    pub(super) s_version: le::U16,
    _at_4a: [u8; 6],
    pub(super) s_flags: le::U32,
    pub(super) s_uuid: [u8; 16],
    pub(super) s_label: [u8; 16],
}

const _: () = assert!(size_of::<Superblock>() == 116);

/// The start of the journal's header.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct JournalHeader {
    pub(super) j_last_flush_trans_id: le::U32,
    /// Where in the journal the next transaction goes.
    pub(super) j_first_unflushed_offset: le::U32,
    pub(super) j_mount_id: le::U32,
}

const _: () = assert!(size_of::<JournalHeader>() == 12);

/// The start of the first block of a transaction; [`DESCRIPTOR_MAGIC`] ends 4 bytes before the
/// block does.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) j_trans_id: le::U32,
    pub(super) j_len: le::U32,
    pub(super) j_mount_id: le::U32,
}

const _: () = assert!(size_of::<Descriptor>() == 12);

/// `JOURNAL_DESC_MAGIC`.
pub(super) const DESCRIPTOR_MAGIC: &[u8] = b"ReIsErLB";
