//! One copy of a GPT: a header and its array of entries.
//!
//! What it owns: the layouts, both checksums, and the limits within which a header is believed. What
//! it never does: allocate what a header asks for before the header is known to be valid.
//!
//! Layout: UEFI specification 2.10, sections 5.3.2 (header) and 5.3.3 (entries).

use crate::disk::{DiskError, ReadDisk};
use crate::partition::LbaSize;
use crate::units::SectorRange;
use thiserror::Error;
use uuid::Uuid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What a header begins with.
pub(super) const SIGNATURE: &[u8; 8] = b"EFI PART";

/// Where a primary header is.
pub(super) const PRIMARY_LBA: u64 = 1;

/// Bytes of the smallest header, and of the part whose meaning is known.
const HEADER_LEN: usize = 92;

/// Bytes of the part of an entry whose meaning is known, and of the smallest entry.
const ENTRY_LEN: usize = 128;

/// Bytes of the largest entry we read.
const ENTRY_BYTES_MAX: u32 = 4096;

/// Bytes of the largest array of entries we read: 32768 entries of the usual size.
const ENTRIES_BYTES_MAX: u64 = 4 << 20;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    signature: [u8; 8],
    revision: U32,
    header_size: U32,
    header_crc32: U32,
    reserved: U32,
    my_lba: U64,
    alternate_lba: U64,
    first_usable_lba: U64,
    last_usable_lba: U64,
    disk_guid: [u8; 16],
    partition_entry_lba: U64,
    number_of_partition_entries: U32,
    size_of_partition_entry: U32,
    partition_entry_array_crc32: U32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEntry {
    partition_type_guid: [u8; 16],
    unique_partition_guid: [u8; 16],
    starting_lba: U64,
    ending_lba: U64,
    attributes: U64,
    partition_name: [U16; 36],
}

const _: () = assert!(size_of::<RawHeader>() == HEADER_LEN);
const _: () = assert!(size_of::<RawEntry>() == ENTRY_LEN);

/// Why a copy of a GPT is not valid.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum GptFault {
    /// Nothing there looks like a header.
    #[error("no \"EFI PART\" at block {lba}")]
    NoSignature {
        /// The logical sector looked at.
        lba: u64,
    },
    /// The disk ends before it.
    #[error("block {lba} is beyond the end of the disk")]
    PastEnd {
        /// The logical sector wanted.
        lba: u64,
    },
    /// The header's length is impossible.
    #[error("header length {found}, expected 92 to {sector} bytes")]
    HeaderSize {
        /// What the header says, in bytes.
        found: u32,
        /// Bytes of a logical sector.
        sector: u32,
    },
    /// The header's checksum is wrong.
    #[error("header checksum {found:08x}, expected {expected:08x}")]
    HeaderCrc {
        /// Of the bytes that are there.
        expected: u32,
        /// What the header says.
        found: u32,
    },
    /// The header belongs elsewhere.
    #[error("the header at block {lba} says it is at block {found}")]
    MyLba {
        /// Where it is.
        lba: u64,
        /// Where it says it is.
        found: u64,
    },
    /// The array cannot be read as the header describes it.
    #[error("{count} entries of {bytes} bytes, expected 128, 256 .. 4096 bytes and 4 MiB in all")]
    EntryArray {
        /// Number of entries.
        count: u32,
        /// Bytes of each.
        bytes: u32,
    },
    /// The array is where it cannot be.
    #[error("the entries are at block {lba}, in the way of a header or beyond the disk")]
    EntriesLba {
        /// The array's first logical sector.
        lba: u64,
    },
    /// The usable range ends before it starts.
    #[error("usable blocks from {first} to {last}")]
    Usable {
        /// First usable logical sector.
        first: u64,
        /// Last usable logical sector.
        last: u64,
    },
    /// The array's checksum is wrong.
    #[error("entries checksum {found:08x}, expected {expected:08x}")]
    EntriesCrc {
        /// Of the bytes that are there.
        expected: u32,
        /// What the header says.
        found: u32,
    },
    /// A backup whose primary is not where a primary is.
    #[error("the backup says the primary is at block {found}, expected 1")]
    Alternate {
        /// What it says.
        found: u64,
    },
}

/// A valid header: checksum right, values within limits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// Logical sector it is in.
    pub my_lba: u64,
    /// Logical sector of the other copy.
    pub alternate_lba: u64,
    /// First logical sector a partition may use.
    pub first_usable: u64,
    /// Last logical sector a partition may use.
    pub last_usable: u64,
    /// Identity of the disk.
    pub disk_guid: Uuid,
    /// First logical sector of the array of entries.
    pub entries_lba: u64,
    /// Number of entries in the array.
    pub entry_count: u32,
    /// Bytes of each.
    pub entry_bytes: u32,
    /// Checksum of the array.
    pub entries_crc: u32,
    /// The sector as read: what we do not know is kept when the header is written again.
    sector: Vec<u8>,
}

impl Header {
    /// Reads the header in `sector`, which was read from `lba`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(sector: &[u8], lba: u64, size: LbaSize) -> Result<Self, GptFault> {
        let no_signature = GptFault::NoSignature { lba };
        let Ok((raw, _)) = RawHeader::read_from_prefix(sector) else { return Err(no_signature) };
        if raw.signature != *SIGNATURE {
            return Err(no_signature);
        }
        let found = raw.header_size.get();
        let bad_size = GptFault::HeaderSize { found, sector: size.bytes() };
        let covered = usize::try_from(found).ok().filter(|len| *len >= HEADER_LEN);
        let Some(covered) = covered.and_then(|len| sector.get(..len)) else { return Err(bad_size) };
        let (expected, found) = (header_crc(covered), raw.header_crc32.get());
        if expected != found {
            return Err(GptFault::HeaderCrc { expected, found });
        }
        let header = Self {
            my_lba: raw.my_lba.get(),
            alternate_lba: raw.alternate_lba.get(),
            first_usable: raw.first_usable_lba.get(),
            last_usable: raw.last_usable_lba.get(),
            disk_guid: Uuid::from_bytes_le(raw.disk_guid),
            entries_lba: raw.partition_entry_lba.get(),
            entry_count: raw.number_of_partition_entries.get(),
            entry_bytes: raw.size_of_partition_entry.get(),
            entries_crc: raw.partition_entry_array_crc32.get(),
            sector: sector.to_vec(),
        };
        header.check(lba, size)?;
        Ok(header)
    }

    fn check(&self, lba: u64, size: LbaSize) -> Result<(), GptFault> {
        if self.my_lba != lba {
            return Err(GptFault::MyLba { lba, found: self.my_lba });
        }
        let (count, bytes) = (self.entry_count, self.entry_bytes);
        let sizes_sound = bytes.is_power_of_two()
            && bytes <= ENTRY_BYTES_MAX
            && usize::try_from(bytes).is_ok_and(|bytes| bytes >= ENTRY_LEN)
            && count > 0
            && self.entries_len() <= ENTRIES_BYTES_MAX;
        if !sizes_sound {
            return Err(GptFault::EntryArray { count, bytes });
        }
        let array = size.range(self.entries_lba, self.entries_lbas(size));
        let own = size.sector(lba);
        let in_the_way = |array: SectorRange| own.is_none_or(|own| array.contains(own));
        if self.entries_lba <= PRIMARY_LBA || array.is_none_or(in_the_way) {
            return Err(GptFault::EntriesLba { lba: self.entries_lba });
        }
        if self.first_usable > self.last_usable {
            return Err(GptFault::Usable { first: self.first_usable, last: self.last_usable });
        }
        Ok(())
    }

    /// Bytes of the array of entries.
    pub fn entries_len(&self) -> u64 {
        u64::from(self.entry_count) * u64::from(self.entry_bytes)
    }

    /// Logical sectors the array of entries takes.
    pub fn entries_lbas(&self, size: LbaSize) -> u64 {
        size.holding(self.entries_len())
    }

    /// The sector to write: these values, a new checksum, and unknown bytes as they were.
    pub fn encode(&self) -> Vec<u8> {
        let mut sector = self.sector.clone();
        if let Ok((raw, _)) = RawHeader::mut_from_prefix(&mut sector) {
            raw.my_lba = self.my_lba.into();
            raw.alternate_lba = self.alternate_lba.into();
            raw.first_usable_lba = self.first_usable.into();
            raw.last_usable_lba = self.last_usable.into();
            raw.disk_guid = self.disk_guid.to_bytes_le();
            raw.partition_entry_lba = self.entries_lba.into();
            raw.number_of_partition_entries = self.entry_count.into();
            raw.size_of_partition_entry = self.entry_bytes.into();
            raw.partition_entry_array_crc32 = self.entries_crc.into();
            let len = usize::try_from(raw.header_size.get()).unwrap_or(HEADER_LEN);
            let crc = sector.get(..len).map(header_crc).unwrap_or_default();
            if let Ok((raw, _)) = RawHeader::mut_from_prefix(&mut sector) {
                raw.header_crc32 = crc.into();
            }
        }
        sector
    }
}

/// CRC-32 of a header, its own checksum field taken as zero.
fn header_crc(covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(covered.get(..16).unwrap_or_default());
    hasher.update(&[0; 4]);
    hasher.update(covered.get(20..).unwrap_or_default());
    hasher.finalize()
}

/// A valid header with its valid array of entries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GptCopy {
    /// The header.
    pub header: Header,
    /// The array of entries, as on the disk.
    pub entries: Vec<u8>,
}

/// An entry in use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GptEntry {
    /// Index + 1.
    pub number: u32,
    /// Type.
    pub kind: Uuid,
    /// Identity.
    pub guid: Uuid,
    /// First logical sector.
    pub first: u64,
    /// Last logical sector, included.
    pub last: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// Name; empty for none.
    pub name: String,
}

impl GptCopy {
    /// Reads the copy whose header is at `lba`.
    pub(super) fn read(
        disk: &dyn ReadDisk,
        size: LbaSize,
        lba: u64,
    ) -> Result<Result<Self, CopyFault>, DiskError> {
        let sector_len = usize::try_from(size.bytes()).unwrap_or_default();
        let Some(sector) = size.read(disk, lba, sector_len)? else {
            return Ok(Err(GptFault::PastEnd { lba }.into()));
        };
        let header = match Header::parse(&sector, lba, size) {
            Ok(header) => header,
            Err(fault) => return Ok(Err(fault.into())),
        };
        let fail = |fault, header| Ok(Err(CopyFault { fault, header: Some(header) }));
        let len = usize::try_from(header.entries_len()).unwrap_or_default();
        let Some(entries) = size.read(disk, header.entries_lba, len)? else {
            let lba = header.entries_lba;
            return fail(GptFault::EntriesLba { lba }, header);
        };
        let (expected, found) = (crc32fast::hash(&entries), header.entries_crc);
        if expected != found {
            return fail(GptFault::EntriesCrc { expected, found }, header);
        }
        Ok(Ok(Self { header, entries }))
    }

    /// The entries in use, in order.
    pub fn entries(&self) -> impl Iterator<Item = GptEntry> + '_ {
        let stride = usize::try_from(self.header.entry_bytes).unwrap_or(ENTRY_LEN).max(ENTRY_LEN);
        (1u32..).zip(self.entries.chunks_exact(stride)).filter_map(|(number, bytes)| {
            let (raw, _) = RawEntry::read_from_prefix(bytes).ok()?;
            let kind = Uuid::from_bytes_le(raw.partition_type_guid);
            if kind.is_nil() {
                return None;
            }
            let units = raw.partition_name.iter().map(|unit| unit.get()).take_while(|u| *u != 0);
            let name = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
            Some(GptEntry {
                number,
                kind,
                guid: Uuid::from_bytes_le(raw.unique_partition_guid),
                first: raw.starting_lba.get(),
                last: raw.ending_lba.get(),
                attributes: raw.attributes.get(),
                name: name.collect(),
            })
        })
    }

    /// Gives an entry in use another type, and the header the checksum of the new array; false
    /// when there is no such partition.
    pub(in crate::partition) fn set_kind(&mut self, number: u32, kind: Uuid) -> bool {
        if !self.entries().any(|entry| entry.number == number) {
            return false;
        }
        let at = u64::from(number.saturating_sub(1)) * u64::from(self.header.entry_bytes);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let entry = self.entries.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut::<16>());
        let Some(bytes) = entry else { return false };
        *bytes = kind.to_bytes_le();
        self.header.entries_crc = crc32fast::hash(&self.entries);
        true
    }

    /// Moves the end of an entry in use to another logical sector, which it includes; false when
    /// there is no such partition. The header is left alone.
    pub(super) fn set_last(&mut self, number: u32, last: u64) -> bool {
        if !self.entries().any(|entry| entry.number == number) {
            return false;
        }
        let at = u64::from(number.saturating_sub(1)) * u64::from(self.header.entry_bytes);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let entry = self.entries.get_mut(at..).map(RawEntry::mut_from_prefix);
        let Some(Ok((raw, _))) = entry else { return false };
        raw.ending_lba = last.into();
        true
    }

    /// Where header and entries are.
    pub(super) fn ranges(&self, size: LbaSize) -> impl Iterator<Item = SectorRange> + use<> {
        let header = size.range(self.header.my_lba, 1);
        let entries = size.range(self.header.entries_lba, self.header.entries_lbas(size));
        header.into_iter().chain(entries)
    }
}

/// Why a copy is not valid, with its header if that was.
#[derive(Clone, Debug)]
pub(super) struct CopyFault {
    pub(super) fault: GptFault,
    pub(super) header: Option<Header>,
}

impl From<GptFault> for CopyFault {
    fn from(fault: GptFault) -> Self {
        Self { fault, header: None }
    }
}
