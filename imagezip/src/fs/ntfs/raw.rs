//! The bytes of an NTFS volume, as the "NTFS Documentation" of the Linux-NTFS project (R. Russon,
//! Y. Fledel) describes them.
//!
//! What it owns: layouts, with their sizes checked when this is compiled. What it never does: judge
//! a value. A field `_at_24` is one we do not read, named by its offset.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian as le};

/// The boot sector, file `$Boot`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct BootSector {
    _jump: [u8; 3],
    pub(super) oem_name: [u8; 8],
    pub(super) bytes_per_sector: le::U16,
    /// Sectors, or above 0x80 the negative logarithm of that.
    pub(super) sectors_per_cluster: u8,
    _at_e: [u8; 26],
    pub(super) total_sectors: le::U64,
    pub(super) mft_cluster: le::U64,
    pub(super) mirror_cluster: le::U64,
    /// Clusters, or when negative the negative logarithm of the bytes.
    pub(super) clusters_per_record: i8,
    _at_41: [u8; 3],
    pub(super) clusters_per_index_block: i8,
    _at_45: [u8; 3],
    pub(super) serial: le::U64,
    _at_50: [u8; 430],
    pub(super) signature: [u8; 2],
}

const _: () = assert!(size_of::<BootSector>() == 512);

/// `OEM ID` in the boot sector.
pub(super) const OEM_NAME: &[u8; 8] = b"NTFS    ";

/// What starts every record that is protected by an update sequence.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct ProtectedHeader {
    pub(super) magic: [u8; 4],
    pub(super) usa_offset: le::U16,
    /// The number itself and one word for each 512 bytes.
    pub(super) usa_count: le::U16,
}

const _: () = assert!(size_of::<ProtectedHeader>() == 8);

/// The header of a file record.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct RecordHeader {
    pub(super) protected: ProtectedHeader,
    _at_8: [u8; 8],
    pub(super) sequence_number: le::U16,
    _at_12: [u8; 2],
    pub(super) attributes_offset: le::U16,
    pub(super) flags: le::U16,
    pub(super) bytes_in_use: le::U32,
    _at_1c: [u8; 4],
    pub(super) base_record: le::U64,
}

const _: () = assert!(size_of::<RecordHeader>() == 40);

/// `flags` of a record.
pub(super) const RECORD_IN_USE: u16 = 1;

/// The first half of every attribute.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct AttributeHeader {
    pub(super) kind: le::U32,
    pub(super) length: le::U32,
    pub(super) non_resident: u8,
    pub(super) name_length: u8,
    pub(super) name_offset: le::U16,
    pub(super) flags: le::U16,
    _at_e: [u8; 2],
}

const _: () = assert!(size_of::<AttributeHeader>() == 16);

/// The second half of a resident attribute.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct Resident {
    pub(super) value_length: le::U32,
    pub(super) value_offset: le::U16,
    _at_16: [u8; 2],
}

const _: () = assert!(size_of::<Resident>() == 8);

/// The second half of a non-resident attribute.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct NonResident {
    pub(super) first_vcn: le::U64,
    pub(super) last_vcn: le::U64,
    pub(super) runs_offset: le::U16,
    _at_22: [u8; 14],
    pub(super) data_bytes: le::U64,
    pub(super) initialized_bytes: le::U64,
}

const _: () = assert!(size_of::<NonResident>() == 48);

/// Types of attributes.
pub(super) const ATTRIBUTE_LIST: u32 = 0x20;
pub(super) const VOLUME_NAME: u32 = 0x60;
pub(super) const VOLUME_INFORMATION: u32 = 0x70;
pub(super) const DATA: u32 = 0x80;
pub(super) const INDEX_ROOT: u32 = 0x90;
pub(super) const INDEX_ALLOCATION: u32 = 0xA0;
pub(super) const END: u32 = 0xFFFF_FFFF;

/// `flags` of an attribute: compressed (any method) or encrypted.
pub(super) const COMPRESSED_OR_ENCRYPTED: u16 = 0x40FF;

/// An entry of `$ATTRIBUTE_LIST`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, packed)]
pub(super) struct ListEntry {
    pub(super) kind: le::U32,
    pub(super) length: le::U16,
    pub(super) name_length: u8,
    pub(super) name_offset: u8,
    pub(super) first_vcn: le::U64,
    pub(super) record: le::U64,
    _at_18: [u8; 2],
}

const _: () = assert!(size_of::<ListEntry>() == 26);

/// The value of `$VOLUME_INFORMATION`.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct VolumeInformation {
    _at_0: [u8; 8],
    pub(super) major: u8,
    pub(super) minor: u8,
    pub(super) flags: le::U16,
}

const _: () = assert!(size_of::<VolumeInformation>() == 12);

/// The header of a restart page of `$LogFile`, behind its [`ProtectedHeader`].
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct RestartPage {
    pub(super) protected: ProtectedHeader,
    _at_8: [u8; 8],
    pub(super) system_page_bytes: le::U32,
    pub(super) log_page_bytes: le::U32,
    pub(super) area_offset: le::U16,
    pub(super) minor: le::U16,
    pub(super) major: le::U16,
}

const _: () = assert!(size_of::<RestartPage>() == 30);

/// The start of a restart area.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct RestartArea {
    pub(super) current_lsn: le::U64,
    _at_8: [u8; 4],
    pub(super) client_in_use: le::U16,
    pub(super) flags: le::U16,
}

const _: () = assert!(size_of::<RestartArea>() == 16);

/// An entry of a directory, up to its key.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(super) struct IndexEntry {
    pub(super) record: le::U64,
    pub(super) length: le::U16,
    pub(super) key_length: le::U16,
    pub(super) flags: le::U16,
    _at_e: [u8; 2],
}

const _: () = assert!(size_of::<IndexEntry>() == 16);

/// The last entry of a node, which has no key.
pub(super) const INDEX_ENTRY_END: u16 = 2;

/// Byte offset of `$FILE_NAME`'s length of the name, in characters; two bytes on, the name.
pub(super) const FILE_NAME_LENGTH_OFFSET: usize = 64;
