//! Structures as they stand on the disk, with the names of the Linux kernel's
//! `include/linux/f2fs_fs.h` and of "F2FS: A New File System for Flash Storage" (FAST 2015).
//!
//! What it owns: layouts and magic numbers. All integers are little-endian. Fields without a
//! meaning for the allocation map are `_at_` their offset.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian as le};

/// The superblock, at byte 1024 of the first and of the second block.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) magic: le::U32,
    pub(super) major_ver: le::U16,
    pub(super) minor_ver: le::U16,
    pub(super) shape: Shape,
    pub(super) uuid: [u8; 16],
    /// UTF-16.
    pub(super) volume_name: [u8; 1024],
    _at_47c: [u8; 516],
    /// Blocks of a checkpoint pack behind its first that hold the bitmap of the SIT.
    pub(super) cp_payload: le::U32,
    _at_684: [u8; 512],
    pub(super) feature: le::U32,
    _at_888: [u8; 17],
    pub(super) devs: [Device; 8],
    _at_ab9: [u8; 323],
    pub(super) crc: le::U32,
}

const _: () = assert!(size_of::<Superblock>() == 3072);

/// Where everything is; the same in both superblocks.
#[derive(Clone, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub(super) struct Shape {
    pub(super) log_sectorsize: le::U32,
    pub(super) log_sectors_per_block: le::U32,
    pub(super) log_blocksize: le::U32,
    pub(super) log_blocks_per_seg: le::U32,
    pub(super) segs_per_sec: le::U32,
    pub(super) secs_per_zone: le::U32,
    /// Byte offset of `crc`.
    pub(super) checksum_offset: le::U32,
    /// Blocks of the filesystem, packed: it is not aligned.
    pub(super) block_count: le::U64,
    pub(super) section_count: le::U32,
    pub(super) segment_count: le::U32,
    pub(super) segment_count_ckpt: le::U32,
    pub(super) segment_count_sit: le::U32,
    pub(super) segment_count_nat: le::U32,
    pub(super) segment_count_ssa: le::U32,
    pub(super) segment_count_main: le::U32,
    pub(super) segment0_blkaddr: le::U32,
    pub(super) cp_blkaddr: le::U32,
    pub(super) sit_blkaddr: le::U32,
    pub(super) nat_blkaddr: le::U32,
    pub(super) ssa_blkaddr: le::U32,
    pub(super) main_blkaddr: le::U32,
    _at_60: [u8; 12],
}

const _: () = assert!(size_of::<Shape>() == 100);

/// A device of a filesystem on several.
#[derive(Clone, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub(super) struct Device {
    pub(super) path: [u8; 64],
    pub(super) total_segments: le::U32,
}

/// `F2FS_SUPER_MAGIC`, also the start value of every checksum.
pub(super) const MAGIC: u32 = 0xF2F5_2010;

/// The first block of a checkpoint pack, up to its bitmaps.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Checkpoint {
    pub(super) checkpoint_ver: le::U64,
    _at_8: [u8; 8],
    pub(super) valid_block_count: le::U64,
    _at_18: [u8; 12],
    pub(super) cur_node_segno: [le::U32; 8],
    pub(super) cur_node_blkoff: [le::U16; 8],
    pub(super) cur_data_segno: [le::U32; 8],
    pub(super) cur_data_blkoff: [le::U16; 8],
    pub(super) ckpt_flags: le::U32,
    pub(super) cp_pack_total_block_count: le::U32,
    /// Where in the pack the summaries of the current segments begin.
    pub(super) cp_pack_start_sum: le::U32,
    _at_90: [u8; 12],
    pub(super) sit_ver_bitmap_bytesize: le::U32,
    pub(super) nat_ver_bitmap_bytesize: le::U32,
    pub(super) checksum_offset: le::U32,
    _at_a8: [u8; 24],
}

/// Byte offset of the bitmaps in a checkpoint.
pub(super) const BITMAPS_OFFSET: u64 = 192;

const _: () = assert!(size_of::<Checkpoint>() == 192);

/// What the SIT says of one segment.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct SitEntry {
    /// Valid blocks in the lower ten bits, the kind of segment above.
    pub(super) vblocks: le::U16,
    /// A bit for each block, the highest bit of a byte first.
    pub(super) valid_map: [u8; 64],
    _at_42: [u8; 8],
}

const _: () = assert!(size_of::<SitEntry>() == 74);

/// An entry of the SIT that stands in the journal instead.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct SitJournalEntry {
    pub(super) segno: le::U32,
    pub(super) se: SitEntry,
}

const _: () = assert!(size_of::<SitJournalEntry>() == 78);

/// Byte offset of the journal in a summary block: behind 512 entries of 7 bytes.
pub(super) const SUMMARY_JOURNAL_OFFSET: u64 = 3584;

/// Bytes of a journal.
pub(super) const JOURNAL_BYTES: u64 = 507;

/// Most entries of the SIT in a journal.
pub(super) const SIT_JOURNAL_ENTRIES_MAX: usize = 6;
