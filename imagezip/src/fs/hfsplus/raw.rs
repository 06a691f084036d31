//! Structures as they stand on the disk, with the names of Apple's Technical Note TN1150.
//!
//! What it owns: layouts and magic numbers. All integers are big-endian, but for the journal's
//! header, which has the order of the machine that wrote it. Fields without a meaning for the
//! allocation map are `_at_` their offset.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, big_endian as be};

/// The volume header, at byte 1024 and, as a copy, 1024 bytes before the end.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct VolumeHeader {
    pub(super) signature: [u8; 2],
    pub(super) version: be::U16,
    pub(super) attributes: be::U32,
    /// Who wrote last: `10.0`, `HFSJ`, `H+Lx`.
    pub(super) last_mounted_version: [u8; 4],
    pub(super) journal_info_block: be::U32,
    _at_10: [u8; 24],
    pub(super) block_size: be::U32,
    pub(super) total_blocks: be::U32,
    pub(super) free_blocks: be::U32,
    _at_34: [u8; 52],
    /// The last two words of the Finder's information: an identifier of the volume.
    pub(super) volume_id: be::U64,
    pub(super) allocation_file: Fork,
    pub(super) extents_file: Fork,
    pub(super) catalog_file: Fork,
    pub(super) attributes_file: Fork,
    pub(super) startup_file: Fork,
}

const _: () = assert!(size_of::<VolumeHeader>() == 512);

/// Where the content of a file is.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Fork {
    pub(super) logical_size: be::U64,
    _at_8: [u8; 4],
    pub(super) total_blocks: be::U32,
    pub(super) extents: [Extent; 8],
}

const _: () = assert!(size_of::<Fork>() == 80);

/// A run of allocation blocks.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Extent {
    pub(super) start_block: be::U32,
    pub(super) block_count: be::U32,
}

const _: () = assert!(size_of::<Extent>() == 8);

/// The journal info block, up to its reserve.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct JournalInfo {
    pub(super) flags: be::U32,
    _at_4: [u8; 32],
    /// Bytes from the start of the volume.
    pub(super) offset: be::U64,
    pub(super) size: be::U64,
}

const _: () = assert!(size_of::<JournalInfo>() == 52);

/// Bytes of the journal's header under its checksum.
pub(super) const JOURNAL_HEADER_BYTES: u64 = 44;

/// `JNLx`.
pub(super) const JOURNAL_MAGIC: u32 = 0x4A4E_4C78;
/// The number that shows the order of bytes.
pub(super) const JOURNAL_ENDIAN: u32 = 0x1234_5678;

/// The master directory block of plain HFS, at byte 1024, up to what tells of HFS+ inside.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct MasterDirectoryBlock {
    pub(super) signature: [u8; 2],
    _at_2: [u8; 16],
    pub(super) allocation_blocks: be::U16,
    pub(super) block_size: be::U32,
    _at_18: [u8; 4],
    /// Where blocks begin, in sectors.
    pub(super) first_block: be::U16,
    _at_1e: [u8; 6],
    /// Bytes of the volume's name.
    pub(super) name_len: u8,
    _at_25: [u8; 87],
    /// The signature of the volume inside: `H+`, `HX`.
    pub(super) embedded: [u8; 2],
}

const _: () = assert!(size_of::<MasterDirectoryBlock>() == 126);
