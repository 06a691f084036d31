//! Structures as they stand on the disk, with the names of the Linux kernel's `fs/jfs` headers and
//! of IBM's "JFS Layout" (2000).
//!
//! What it owns: layouts and magic numbers. All integers are little-endian. Fields without a
//! meaning for the allocation map are `_at_` their offset.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian as le};

/// A run of blocks: 24 bits of length, 40 bits of address.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub(super) struct Pxd {
    len_addr: le::U32,
    addr2: le::U32,
}

impl Pxd {
    /// Its blocks.
    pub(super) fn blocks(self) -> u64 {
        u64::from(self.len_addr.get() & 0x00FF_FFFF)
    }

    /// Its first block.
    pub(super) fn start(self) -> u64 {
        u64::from(self.len_addr.get() >> 24) << 32 | u64::from(self.addr2.get())
    }

    /// The block behind its last.
    pub(super) fn end(self) -> u64 {
        self.start() + self.blocks()
    }
}

/// The superblock, at byte 32768 and, as a copy, at byte 61440.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) s_magic: [u8; 4],
    pub(super) s_version: le::U32,
    /// Blocks of `s_pbsize` bytes, without the log and the space for fsck behind them.
    pub(super) s_size: le::U64,
    pub(super) s_bsize: le::U32,
    pub(super) s_l2bsize: le::U16,
    pub(super) s_l2bfactor: le::U16,
    pub(super) s_pbsize: le::U32,
    pub(super) s_l2pbsize: le::U16,
    _at_1e: [u8; 2],
    pub(super) s_agsize: le::U32,
    pub(super) s_flag: le::U32,
    pub(super) s_state: le::U32,
    _at_2c: [u8; 4],
    /// The second table of aggregate inodes, and its map.
    pub(super) s_ait2: Pxd,
    pub(super) s_aim2: Pxd,
    _at_40: [u8; 8],
    pub(super) s_logpxd: Pxd,
    pub(super) s_fsckpxd: Pxd,
    _at_58: [u8; 13],
    pub(super) s_fpack: [u8; 11],
    _at_70: [u8; 24],
    pub(super) s_uuid: [u8; 16],
    pub(super) s_label: [u8; 16],
}

const _: () = assert!(size_of::<Superblock>() == 168);

/// `JFS1`.
pub(super) const MAGIC: [u8; 4] = *b"JFS1";

/// The superblock of a log, at byte 4096 of it.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct LogSuperblock {
    pub(super) magic: le::U32,
    pub(super) version: le::U32,
    _at_8: [u8; 4],
    /// Blocks of the log.
    pub(super) size: le::U32,
    pub(super) bsize: le::U32,
    _at_14: [u8; 8],
    pub(super) state: le::U32,
    _at_20: [u8; 4],
}

const _: () = assert!(size_of::<LogSuperblock>() == 36);

/// `LOGMAGIC`.
pub(super) const LOG_MAGIC: u32 = 0x8765_4321;

/// `LOGREDONE`: nothing to be replayed.
pub(super) const LOG_REDONE: u32 = 1;

/// An inode with the root of a tree of extents.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Inode {
    _at_0: [u8; 4],
    pub(super) di_fileset: le::U32,
    pub(super) di_number: le::U32,
    _at_c: [u8; 12],
    pub(super) di_size: le::U64,
    _at_20: [u8; 192],
    /// [`TreeHeader`] and entries.
    pub(super) di_xtroot: [u8; 288],
}

const _: () = assert!(size_of::<Inode>() == 512);

/// The start of a page of a tree of extents: `xtheader`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct TreeHeader {
    _at_0: [u8; 16],
    pub(super) flag: u8,
    _at_11: [u8; 1],
    /// Entries with the two that the header takes the room of.
    pub(super) nextindex: le::U16,
    pub(super) maxentry: le::U16,
    _at_16: [u8; 10],
}

const _: () = assert!(size_of::<TreeHeader>() == 32);

/// `BT_LEAF`.
pub(super) const LEAF: u8 = 2;
/// `BT_INTERNAL`.
pub(super) const INTERNAL: u8 = 4;

/// An extent of a file, or a page below: `xad`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Extent {
    _at_0: [u8; 3],
    pub(super) off1: u8,
    pub(super) off2: le::U32,
    pub(super) loc: Pxd,
}

const _: () = assert!(size_of::<Extent>() == 16);

/// The first page of the block map: `dbmap_disk`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct MapHeader {
    pub(super) dn_mapsize: le::U64,
    pub(super) dn_nfree: le::U64,
    pub(super) dn_l2nbperpage: le::U32,
    pub(super) dn_numag: le::U32,
}

const _: () = assert!(size_of::<MapHeader>() == 24);

/// A page of the block map: `dmap`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct MapPage {
    pub(super) nblocks: le::U32,
    pub(super) nfree: le::U32,
    pub(super) start: le::U64,
    _at_10: [u8; 2032],
    /// What is in use, the highest bit of a word first.
    pub(super) wmap: [le::U32; 256],
    /// The same, as far as it is on the disk for good.
    pub(super) pmap: [le::U32; 256],
}

const _: () = assert!(size_of::<MapPage>() == 4096);
