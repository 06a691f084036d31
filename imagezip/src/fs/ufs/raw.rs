//! The bytes of UFS1 and UFS2, by the names of FreeBSD (`sys/ufs/ffs/fs.h`).
//!
//! What it owns: layouts, in either byte order, with their sizes checked when this is compiled. What
//! it never does: judge a value. A field `_at_18` is one we do not read, named by its offset.

use zerocopy::{ByteOrder, FromBytes, I16, I32, I64, Immutable, KnownLayout, U32, Unaligned};

/// Where a superblock may stand: UFS2's usual place (`SBLOCK_UFS2`) first, UFS1's (`SBLOCK_UFS1`),
/// that of small disks (`SBLOCK_FLOPPY`), and the last resort (`SBLOCK_PIGGY`).
pub(super) const PLACES: [u64; 4] = [UFS2_PLACE, 8192, 0, 256 << 10];

/// `SBLOCK_UFS2`. A UFS1 with blocks of 64 KiB has its first backup here.
pub(super) const UFS2_PLACE: u64 = 64 << 10;

/// Most bytes of a superblock (`SBLOCKSIZE`).
pub(super) const SUPERBLOCK_LEN: usize = 8192;

/// Offset of `fs_magic`.
pub(super) const MAGIC_OFFSET: usize = 1372;
/// Offset of `fs_ckhash`.
pub(super) const SUPERBLOCK_CHECK_OFFSET: usize = 1304;
/// `FS_UFS1_MAGIC`.
pub(super) const UFS1_MAGIC: u32 = 0x0001_1954;
/// `FS_UFS2_MAGIC`.
pub(super) const UFS2_MAGIC: u32 = 0x1954_0119;

/// What is free, in one group or in all (`struct csum`).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Summary<O: ByteOrder> {
    _cs_ndir: I32<O>,
    pub(super) cs_nbfree: I32<O>,
    _cs_nifree: I32<O>,
    pub(super) cs_nffree: I32<O>,
}

/// The superblock (`struct fs`).
#[derive(Clone, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Superblock<O: ByteOrder> {
    _at_0: [u8; 8],
    pub(super) fs_sblkno: I32<O>,
    pub(super) fs_cblkno: I32<O>,
    pub(super) fs_iblkno: I32<O>,
    pub(super) fs_dblkno: I32<O>,
    pub(super) fs_old_cgoffset: I32<O>,
    pub(super) fs_old_cgmask: U32<O>,
    _at_32: [u8; 4],
    pub(super) fs_old_size: I32<O>,
    _at_40: [u8; 4],
    pub(super) fs_ncg: U32<O>,
    pub(super) fs_bsize: I32<O>,
    pub(super) fs_fsize: I32<O>,
    pub(super) fs_frag: I32<O>,
    _at_60: [u8; 44],
    pub(super) fs_sbsize: I32<O>,
    _at_108: [u8; 36],
    pub(super) fs_id: [U32<O>; 2],
    pub(super) fs_old_csaddr: I32<O>,
    pub(super) fs_cssize: I32<O>,
    pub(super) fs_cgsize: I32<O>,
    _at_164: [u8; 20],
    pub(super) fs_ipg: U32<O>,
    pub(super) fs_fpg: I32<O>,
    pub(super) fs_old_cstotal: Summary<O>,
    _at_208: u8,
    /// 1 when it was unmounted cleanly (`FS_ISCLEAN`).
    pub(super) fs_clean: u8,
    _at_210: u8,
    pub(super) fs_old_flags: u8,
    _at_212: [u8; 468],
    pub(super) fs_volname: [u8; 32],
    _at_712: [u8; 152],
    /// NetBSD: the version of its journal; FreeBSD has a counter here.
    pub(super) fs_journal_version: u8,
    _at_865: [u8; 135],
    pub(super) fs_sblockloc: I64<O>,
    _at_1008: [u8; 8],
    pub(super) fs_cstotal_nbfree: I64<O>,
    _at_1024: [u8; 8],
    pub(super) fs_cstotal_nffree: I64<O>,
    _at_1040: [u8; 40],
    pub(super) fs_size: I64<O>,
    _at_1088: [u8; 8],
    pub(super) fs_csaddr: I64<O>,
    _at_1104: [u8; 12],
    pub(super) fs_snapinum: [U32<O>; 20],
    _at_1196: [u8; 108],
    pub(super) fs_ckhash: U32<O>,
    pub(super) fs_metackhash: U32<O>,
    pub(super) fs_flags: U32<O>,
    pub(super) fs_contigsumsize: I32<O>,
    _at_1320: [u8; 36],
    pub(super) fs_old_postblformat: I32<O>,
    _at_1360: [u8; 12],
    pub(super) fs_magic: U32<O>,
}

const _: () = assert!(size_of::<Superblock<zerocopy::LittleEndian>>() == 1376);
const _: () =
    assert!(std::mem::offset_of!(Superblock<zerocopy::BigEndian>, fs_magic) == MAGIC_OFFSET);
const _: () = assert!(
    std::mem::offset_of!(Superblock<zerocopy::BigEndian>, fs_ckhash) == SUPERBLOCK_CHECK_OFFSET
);

/// `FS_42POSTBLFMT`: groups as 4.2BSD laid them out.
pub(super) const POSTBLFMT_42: i32 = -1;

/// `CG_MAGIC`.
pub(super) const GROUP_MAGIC: u32 = 0x0009_0255;
/// Offset of `cg_ckhash`.
pub(super) const GROUP_CHECK_OFFSET: usize = 132;

/// The head of a cylinder group (`struct cg`).
#[derive(Clone, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Group<O: ByteOrder> {
    _at_0: [u8; 4],
    pub(super) cg_magic: U32<O>,
    _at_8: [u8; 4],
    pub(super) cg_cgx: U32<O>,
    _cg_old_ncyl: I16<O>,
    _cg_old_niblk: I16<O>,
    pub(super) cg_ndblk: U32<O>,
    pub(super) cg_cs: Summary<O>,
    _at_40: [u8; 12],
    pub(super) cg_frsum: [I32<O>; 8],
    _at_84: [u8; 12],
    pub(super) cg_freeoff: U32<O>,
    pub(super) cg_nextfreeoff: U32<O>,
    _cg_clustersumoff: U32<O>,
    pub(super) cg_clusteroff: U32<O>,
    pub(super) cg_nclusterblks: U32<O>,
    _at_116: [u8; 16],
    pub(super) cg_ckhash: U32<O>,
    _at_136: [u8; 32],
}

const _: () = assert!(size_of::<Group<zerocopy::LittleEndian>>() == 168);
const _: () =
    assert!(std::mem::offset_of!(Group<zerocopy::BigEndian>, cg_ckhash) == GROUP_CHECK_OFFSET);
