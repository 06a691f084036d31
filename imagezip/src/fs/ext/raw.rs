//! The bytes of an ext filesystem, by the kernel's names (`fs/ext4/ext4.h`, `include/linux/jbd2.h`).
//!
//! What it owns: layouts, with their sizes checked when this is compiled. What it never does: judge
//! a value. The journal is big-endian, all else little-endian. A field `_at_1a` is one we do not
//! read, named by its offset.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, big_endian as be, little_endian as le,
};

/// Byte offset of the primary superblock, whatever the block size.
pub(super) const SUPERBLOCK_OFFSET: u64 = 1024;

/// `EXT2_SUPER_MAGIC`.
pub(super) const SUPERBLOCK_MAGIC: u16 = 0xEF53;

/// Bytes of the superblock that its own checksum covers: all before `s_checksum`.
pub(super) const SUPERBLOCK_CHECKED: usize = 0x3FC;

#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) s_inodes_count: le::U32,
    pub(super) s_blocks_count_lo: le::U32,
    _at_8: [u8; 12],
    pub(super) s_first_data_block: le::U32,
    pub(super) s_log_block_size: le::U32,
    pub(super) s_log_cluster_size: le::U32,
    pub(super) s_blocks_per_group: le::U32,
    pub(super) s_clusters_per_group: le::U32,
    pub(super) s_inodes_per_group: le::U32,
    _at_2c: [u8; 12],
    pub(super) s_magic: le::U16,
    pub(super) s_state: le::U16,
    _at_3c: [u8; 16],
    pub(super) s_rev_level: le::U32,
    _at_50: [u8; 8],
    pub(super) s_inode_size: le::U16,
    _at_5a: [u8; 2],
    pub(super) s_feature_compat: le::U32,
    pub(super) s_feature_incompat: le::U32,
    pub(super) s_feature_ro_compat: le::U32,
    pub(super) s_uuid: [u8; 16],
    pub(super) s_volume_name: [u8; 16],
    _at_88: [u8; 70],
    pub(super) s_reserved_gdt_blocks: le::U16,
    pub(super) s_journal_uuid: [u8; 16],
    pub(super) s_journal_inum: le::U32,
    pub(super) s_journal_dev: le::U32,
    _at_e8: [u8; 22],
    pub(super) s_desc_size: le::U16,
    _at_100: [u8; 4],
    pub(super) s_first_meta_bg: le::U32,
    _at_108: [u8; 72],
    pub(super) s_blocks_count_hi: le::U32,
    _at_154: [u8; 20],
    pub(super) s_mmp_block: le::U64,
    _at_170: [u8; 5],
    pub(super) s_checksum_type: u8,
    _at_176: [u8; 214],
    pub(super) s_backup_bgs: [le::U32; 2],
    _at_254: [u8; 28],
    pub(super) s_checksum_seed: le::U32,
    _at_274: [u8; 392],
    pub(super) s_checksum: le::U32,
}

const _: () = assert!(size_of::<Superblock>() == 1024);
const _: () = assert!(std::mem::offset_of!(Superblock, s_magic) == 0x38);
const _: () = assert!(std::mem::offset_of!(Superblock, s_rev_level) == 0x4C);
const _: () = assert!(std::mem::offset_of!(Superblock, s_feature_compat) == 0x5C);
const _: () = assert!(std::mem::offset_of!(Superblock, s_reserved_gdt_blocks) == 0xCE);
const _: () = assert!(std::mem::offset_of!(Superblock, s_desc_size) == 0xFE);
const _: () = assert!(std::mem::offset_of!(Superblock, s_first_meta_bg) == 0x104);
const _: () = assert!(std::mem::offset_of!(Superblock, s_blocks_count_hi) == 0x150);
const _: () = assert!(std::mem::offset_of!(Superblock, s_mmp_block) == 0x168);
const _: () = assert!(std::mem::offset_of!(Superblock, s_checksum_type) == 0x175);
const _: () = assert!(std::mem::offset_of!(Superblock, s_backup_bgs) == 0x24C);
const _: () = assert!(std::mem::offset_of!(Superblock, s_checksum_seed) == 0x270);
const _: () = assert!(std::mem::offset_of!(Superblock, s_checksum) == SUPERBLOCK_CHECKED);

/// The first 32 bytes of a group descriptor: all of it without the feature `64bit`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct GroupDescriptor {
    pub(super) bg_block_bitmap_lo: le::U32,
    pub(super) bg_inode_bitmap_lo: le::U32,
    pub(super) bg_inode_table_lo: le::U32,
    pub(super) bg_free_blocks_count_lo: le::U16,
    _at_e: [u8; 4],
    pub(super) bg_flags: le::U16,
    _at_14: [u8; 4],
    pub(super) bg_block_bitmap_csum_lo: le::U16,
    _at_1a: [u8; 4],
    pub(super) bg_checksum: le::U16,
}

const _: () = assert!(size_of::<GroupDescriptor>() == 32);

/// Bytes 32 to 64 of a group descriptor of a `64bit` filesystem.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct GroupDescriptorHigh {
    pub(super) bg_block_bitmap_hi: le::U32,
    pub(super) bg_inode_bitmap_hi: le::U32,
    pub(super) bg_inode_table_hi: le::U32,
    pub(super) bg_free_blocks_count_hi: le::U16,
    _at_2e: [u8; 10],
    pub(super) bg_block_bitmap_csum_hi: le::U16,
    _at_3a: [u8; 6],
}

const _: () = assert!(size_of::<GroupDescriptorHigh>() == 32);

/// The part of an inode that every revision has.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Inode {
    _at_0: [u8; 32],
    pub(super) i_flags: le::U32,
    _at_24: [u8; 4],
    /// Fifteen block numbers, or an extent tree.
    pub(super) i_block: [u8; 60],
    _at_64: [u8; 28],
}

const _: () = assert!(size_of::<Inode>() == 128);

/// `i_block` holds an extent tree (`EXT4_EXTENTS_FL`).
pub(super) const INODE_EXTENTS: u32 = 0x8_0000;

#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct ExtentHeader {
    pub(super) eh_magic: le::U16,
    pub(super) eh_entries: le::U16,
    _at_4: [u8; 2],
    pub(super) eh_depth: le::U16,
    _at_8: [u8; 4],
}

const _: () = assert!(size_of::<ExtentHeader>() == 12);

/// `EXT4_EXT_MAGIC`.
pub(super) const EXTENT_MAGIC: u16 = 0xF30A;

/// A leaf of the extent tree.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Extent {
    pub(super) ee_block: le::U32,
    _at_4: [u8; 2],
    pub(super) ee_start_hi: le::U16,
    pub(super) ee_start_lo: le::U32,
}

const _: () = assert!(size_of::<Extent>() == 12);

/// An inner entry of the extent tree.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct ExtentIndex {
    pub(super) ei_block: le::U32,
    pub(super) ei_leaf_lo: le::U32,
    pub(super) ei_leaf_hi: le::U16,
    _at_a: [u8; 2],
}

const _: () = assert!(size_of::<ExtentIndex>() == 12);

/// The start of the journal's own superblock.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct JournalSuperblock {
    pub(super) h_magic: be::U32,
    pub(super) h_blocktype: be::U32,
    _at_8: [u8; 20],
    /// Block of the log to start recovery from; 0 for an empty log.
    pub(super) s_start: be::U32,
    /// An error the filesystem met and had no time to write to its superblock.
    pub(super) s_errno: be::U32,
}

const _: () = assert!(size_of::<JournalSuperblock>() == 36);

/// `JBD2_MAGIC_NUMBER`.
pub(super) const JOURNAL_MAGIC: u32 = 0xC03B_3998;

/// The block of the multi-mount protection.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Mmp {
    pub(super) mmp_magic: le::U32,
    pub(super) mmp_seq: le::U32,
}

const _: () = assert!(size_of::<Mmp>() == 8);

/// `EXT4_MMP_MAGIC`.
pub(super) const MMP_MAGIC: u32 = 0x004D_4D50;

/// `EXT4_MMP_SEQ_CLEAN`: nobody uses the filesystem.
pub(super) const MMP_SEQ_CLEAN: u32 = 0xFF4D_4D50;
