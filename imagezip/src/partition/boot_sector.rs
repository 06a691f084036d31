//! Sector 0: a boot record with four entries, or something that only looks like one.
//!
//! What it owns: the layout of a boot record (also used by extended boot records) and the evidence
//! that sector 0 belongs to a filesystem instead. What it never does: follow links or judge
//! partitions against each other.
//!
//! Layout: UEFI specification 2.10, section 5.2.1 (legacy master boot record).

use super::kind::PartitionKind;
use super::lba::LbaSize;
use crate::disk::{DiskError, ReadDisk};
use crate::units::{Sector, SectorRange};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a boot record, whatever the logical sector size.
pub(super) const RECORD_LEN: usize = 512;

/// Offset of the first entry in a boot record.
pub(super) const ENTRIES_OFFSET: u64 = 446;

/// Bytes of an entry.
pub(super) const ENTRY_LEN: u64 = 16;

/// Offset of the type byte in an entry.
pub(super) const KIND_OFFSET: u64 = 4;

/// Offset, in an entry, of what tells where it ends: three bytes of end as cylinder, head and
/// sector, then start and count.
pub(super) const PLACE_OFFSET: u64 = 5;

/// The type byte that protects a GPT.
pub(super) const PROTECTIVE: u8 = 0xEE;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEntry {
    boot_indicator: u8,
    start_chs: [u8; 3],
    os_type: u8,
    end_chs: [u8; 3],
    start_lba: U32,
    size_in_lba: U32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct RawRecord {
    boot_code: [u8; 440],
    disk_signature: U32,
    unknown: U16,
    entries: [RawEntry; 4],
    signature: [u8; 2],
}

const _: () = assert!(size_of::<RawEntry>() == 16);
const _: () = assert!(size_of::<RawRecord>() == RECORD_LEN);

/// An entry in use: its count is not zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// 0 to 3.
    pub(super) slot: u32,
    pub(super) bootable: bool,
    pub(super) kind: u8,
    /// In logical sectors, relative to whatever the record is relative to.
    pub(super) start: u32,
    /// In logical sectors.
    pub(super) count: u32,
}

impl Entry {
    pub(super) fn is_extended(self) -> bool {
        PartitionKind::Mbr(self.kind).is_extended()
    }

    /// Its number if it is in the first record.
    pub(super) fn number(self) -> u32 {
        self.slot + 1
    }

    /// Where it is, with its start counted from `origin`.
    pub(super) fn range(self, size: LbaSize, origin: u64) -> Option<SectorRange> {
        size.range(origin.checked_add(u64::from(self.start))?, u64::from(self.count))
    }
}

/// A record with the 55AA signature and sane boot flags.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) signature: u32,
    /// Those in use, in order.
    pub(super) entries: Vec<Entry>,
}

impl Record {
    pub(super) fn is_protective(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == PROTECTIVE)
    }
}

/// What 512 bytes are, seen as a boot record.
#[derive(Clone, Debug)]
pub(super) enum Parsed {
    /// No 55AA at the end.
    Unsigned,
    /// 55AA, but this entry's boot flag is neither 00 nor 80: text or code.
    BadFlag {
        /// 1 to 4.
        number: u32,
        flag: u8,
    },
    Record(Record),
}

/// Reads a boot record; anything shorter than one is unsigned.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Ok((raw, _)) = RawRecord::read_from_prefix(bytes) else { return Parsed::Unsigned };
    if raw.signature != [0x55, 0xAA] {
        return Parsed::Unsigned;
    }
    let mut entries = Vec::new();
    for (slot, raw) in (0u32..).zip(&raw.entries) {
        let flag = raw.boot_indicator;
        if flag != 0 && flag != 0x80 {
            return Parsed::BadFlag { number: slot + 1, flag };
        }
        let (start, count) = (raw.start_lba.get(), raw.size_in_lba.get());
        if count != 0 {
            entries.push(Entry { slot, bootable: flag == 0x80, kind: raw.os_type, start, count });
        }
    }
    Parsed::Record(Record { signature: raw.disk_signature.get(), entries })
}

fn le16(bytes: &[u8], at: usize) -> Option<u64> {
    U16::ref_from_bytes(bytes.get(at..at + 2)?).ok().map(|v| u64::from(v.get()))
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The filesystem whose boot sector this is, if the disk bears it out: the FAT begins with the
/// media byte, or the MFT is where the boot sector says. A parameter block alone proves nothing:
/// boot loaders preserve it in sector 0.
pub(super) fn filesystem(
    disk: &dyn ReadDisk,
    sector: &[u8],
) -> Result<Option<&'static str>, DiskError> {
    let jump = matches!(sector, [0xEB, _, 0x90, ..] | [0xE9, ..]);
    let (name, at, proof): (_, Option<u64>, &[u8]) = match sector.get(3..11) {
        Some(b"EXFAT   ") => {
            let blank = sector.get(11..64).is_some_and(|b| b.iter().all(|b| *b == 0));
            return Ok((jump && blank).then_some("exFAT"));
        }
        Some(b"NTFS    ") => ("NTFS", mft_offset(sector), b"FILE"),
        Some(_) => {
            let media = sector.get(21).copied().unwrap_or_default();
            ("FAT", fat_offset(sector), &[media, 0xFF, 0xFF])
        }
        None => return Ok(None),
    };
    let Some(at) = at.filter(|_| jump) else { return Ok(None) };
    let mut found = vec![0; proof.len()];
    let fits = at.checked_add(4096).is_some_and(|end| end <= disk.size_bytes());
    if !fits {
        return Ok(None);
    }
    disk.read_at(&mut found, at)?;
    Ok((found == proof).then_some(name))
}

/// Where the first FAT is, in bytes, if the BIOS parameter block is sane.
fn fat_offset(sector: &[u8]) -> Option<u64> {
    let bytes_per_sector = le16(sector, 11)?;
    let sectors_per_cluster = *sector.get(13)?;
    let reserved = le16(sector, 14)?;
    let fats = *sector.get(16)?;
    let media = *sector.get(21)?;
    let sane = bytes_per_sector.is_power_of_two()
        && (512..=4096).contains(&bytes_per_sector)
        && sectors_per_cluster.is_power_of_two()
        && reserved > 0
        && (1..=4).contains(&fats)
        && (media == 0xF0 || media >= 0xF8);
    sane.then_some(reserved * bytes_per_sector)
}

/// Where the MFT is, in bytes, if the BIOS parameter block is sane.
fn mft_offset(sector: &[u8]) -> Option<u64> {
    let bytes_per_sector = le16(sector, 11)?;
    let raw = *sector.get(13)?;
    // Above 128 the byte is a negated power of two (clusters larger than 64 KiB).
    let sectors_per_cluster =
        if raw <= 128 { u64::from(raw) } else { 1u64.checked_shl(u32::from(raw.wrapping_neg()))? };
    if !(512..=4096).contains(&bytes_per_sector) || sectors_per_cluster == 0 {
        return None;
    }
    le64(sector, 48)?.checked_mul(sectors_per_cluster)?.checked_mul(bytes_per_sector)
}

/// Where an ISO 9660 image at the start of the disk ends; `None` when there is none.
/// The primary volume descriptor is at byte 32768: its identifier at 1, its size in blocks at 80,
/// its block size at 128 (ECMA-119, section 8.4).
pub(super) fn iso_end(disk: &dyn ReadDisk) -> Result<Option<Sector>, DiskError> {
    let mut descriptor = [0; 132];
    if disk.size_bytes() < 32768 + 2048 {
        return Ok(None);
    }
    disk.read_at(&mut descriptor, 32768)?;
    if !descriptor.starts_with(b"\x01CD001") {
        return Ok(None);
    }
    let blocks = descriptor.get(80..84).and_then(|b| U32::ref_from_bytes(b).ok()).map(|v| v.get());
    let bytes = blocks.zip(le16(&descriptor, 128)).map(|(n, size)| u64::from(n) * size);
    let sectors = bytes.unwrap_or_default().div_ceil(512).min(disk.sectors().get());
    Ok(Sector::new(sectors))
}
