//! The bytes of an exFAT volume, by the names of Microsoft's "exFAT file system specification".
//!
//! What it owns: layouts, with their sizes checked when this is compiled. What it never does: judge
//! a value. A field `_at_64` is one we do not read, named by its offset.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian as le};

/// Section 3.1, "Main and Backup Boot Sector".
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct BootSector {
    _jump: [u8; 3],
    pub(super) name: [u8; 8],
    pub(super) must_be_zero: [u8; 53],
    _at_64: [u8; 8],
    pub(super) volume_length: le::U64,
    pub(super) fat_offset: le::U32,
    pub(super) fat_length: le::U32,
    pub(super) cluster_heap_offset: le::U32,
    pub(super) cluster_count: le::U32,
    pub(super) root_cluster: le::U32,
    pub(super) serial: le::U32,
    pub(super) revision: le::U16,
    pub(super) volume_flags: le::U16,
    pub(super) sector_shift: u8,
    pub(super) cluster_shift: u8,
    pub(super) fats: u8,
    _at_111: [u8; 399],
    pub(super) signature: [u8; 2],
}

const _: () = assert!(size_of::<BootSector>() == 512);

/// `FileSystemName`.
pub(super) const NAME: &[u8; 8] = b"EXFAT   ";

/// `VolumeFlags`, section 3.1.13: which FAT and bitmap are kept up to date.
pub(super) const ACTIVE_FAT: u16 = 1;
/// `VolumeFlags`: mounted, or not unmounted.
pub(super) const VOLUME_DIRTY: u16 = 2;
/// `VolumeFlags`: the disk failed to read or write.
pub(super) const MEDIA_FAILURE: u16 = 4;

/// Bytes of a directory entry.
pub(super) const ENTRY_LEN: usize = 32;

/// `EntryType` of the entries that matter here, section 7.
pub(super) const TYPE_BITMAP: u8 = 0x81;
pub(super) const TYPE_UPCASE: u8 = 0x82;
pub(super) const TYPE_LABEL: u8 = 0x83;

/// Sections 7.1 and 7.2: an allocation bitmap, or the up-case table.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct StreamEntry {
    pub(super) entry_type: u8,
    /// Bit 0 of a bitmap's: it belongs to the second FAT.
    pub(super) flags: u8,
    _at_2: [u8; 18],
    pub(super) first_cluster: le::U32,
    pub(super) data_length: le::U64,
}

const _: () = assert!(size_of::<StreamEntry>() == ENTRY_LEN);

/// Section 7.3: the label, in UTF-16.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct LabelEntry {
    _entry_type: u8,
    pub(super) characters: u8,
    pub(super) label: [u8; 22],
    _at_24: [u8; 8],
}

const _: () = assert!(size_of::<LabelEntry>() == ENTRY_LEN);
