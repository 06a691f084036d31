//! The bytes of a FAT boot sector, by the names of Microsoft's "FAT: General Overview of On-Disk
//! Format" (fatgen103), sections "Boot Sector and BPB".
//!
//! What it owns: layouts, with their sizes checked when this is compiled. What it never does: judge
//! a value. A field `_at_18` is one we do not read, named by its offset.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian as le};

/// Bytes of a boot sector that we read, whatever the size of a sector.
pub(super) const BOOT_LEN: usize = 512;

/// The part that all kinds share.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct BootSector {
    pub(super) jump: [u8; 3],
    pub(super) oem_name: [u8; 8],
    pub(super) bytes_per_sector: le::U16,
    pub(super) sectors_per_cluster: u8,
    pub(super) reserved_sectors: le::U16,
    pub(super) fats: u8,
    pub(super) root_entries: le::U16,
    pub(super) total_sectors_16: le::U16,
    pub(super) media: u8,
    pub(super) fat_sectors_16: le::U16,
    _at_18: [u8; 8],
    pub(super) total_sectors_32: le::U32,
    /// [`Tail16`] or [`Tail32`].
    pub(super) tail: [u8; 474],
    pub(super) signature: [u8; 2],
}

const _: () = assert!(size_of::<BootSector>() == BOOT_LEN);

/// What only FAT32 has, in front of the common identity.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Tail32 {
    pub(super) fat_sectors_32: le::U32,
    pub(super) extended_flags: le::U16,
    pub(super) version: le::U16,
    pub(super) root_cluster: le::U32,
    _at_30: le::U16,
    pub(super) backup_boot_sector: le::U16,
    _at_34: [u8; 12],
    pub(super) identity: Identity,
}

const _: () = assert!(size_of::<Tail32>() == 54);

/// From offset 0x24 on FAT12 and FAT16, 0x40 on FAT32.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Identity {
    _drive: u8,
    /// `BS_Reserved1`: Windows and Linux mark a volume in use here.
    pub(super) state: u8,
    /// [`EXTENDED_SIGNATURES`] when the fields below exist.
    pub(super) extended_signature: u8,
    pub(super) serial: le::U32,
    pub(super) label: [u8; 11],
    pub(super) kind: [u8; 8],
}

const _: () = assert!(size_of::<Identity>() == 26);

/// `BS_BootSig`: 0x29, or 0x28 where only the serial number follows.
pub(super) const EXTENDED_SIGNATURES: [u8; 2] = [0x28, 0x29];

/// The GUID 4967D63B-2E29-4AD8-8399-F6A339E3D001 at offset 0x1A8: BitLocker To Go.
pub(super) const BITLOCKER_TO_GO: [u8; 16] = [
    0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01,
];

/// Where [`BITLOCKER_TO_GO`] stands in a boot sector.
pub(super) const BITLOCKER_OFFSET: usize = 0x1A8;
