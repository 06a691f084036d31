//! Tables made by hand, for the tests of this module.

use super::PartitionKind;
use crate::disk::memory::MemoryDisk;
use uuid::Uuid;

/// Writes entry `slot` of the boot record in the sector at byte `at`.
pub(super) fn put_entry(
    bytes: &mut [u8],
    at: usize,
    slot: usize,
    kind: u8,
    start: u32,
    count: u32,
) {
    let at = at + 446 + slot * 16;
    bytes[at + 4] = kind;
    bytes[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
    bytes[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
}

/// Signs the boot record in the sector at byte `at`.
pub(super) fn sign(bytes: &mut [u8], at: usize) {
    bytes[at + 510..at + 512].copy_from_slice(&[0x55, 0xAA]);
}

/// An MBR disk of `sectors` 512-byte sectors with these primary entries.
pub(super) fn mbr_bytes(sectors: usize, entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; sectors * 512];
    for (slot, (kind, start, count)) in entries.iter().enumerate() {
        put_entry(&mut bytes, 0, slot, *kind, *start, *count);
    }
    bytes[440..444].copy_from_slice(&0x1234_5678u32.to_le_bytes());
    sign(&mut bytes, 0);
    bytes
}

pub(super) fn disk(bytes: Vec<u8>) -> MemoryDisk {
    MemoryDisk::new(bytes)
}

/// A GPT to be written by hand.
#[derive(Clone, Debug)]
pub(super) struct MadeGpt {
    pub(super) sector_bytes: usize,
    pub(super) lbas: u64,
    pub(super) entry_count: u32,
    pub(super) entry_bytes: u32,
    /// Index, first and last logical sector.
    pub(super) entries: Vec<(u32, u64, u64)>,
}

impl MadeGpt {
    /// 1024 blocks of 512 bytes and 128 entries: partition 1 at 64-127, partition 3 at 200-399.
    pub(super) fn usual() -> Self {
        let entries = vec![(0, 64, 127), (2, 200, 399)];
        Self { sector_bytes: 512, lbas: 1024, entry_count: 128, entry_bytes: 128, entries }
    }

    pub(super) fn entries_lbas(&self) -> u64 {
        (u64::from(self.entry_count) * u64::from(self.entry_bytes))
            .div_ceil(self.sector_bytes as u64)
    }

    fn array(&self) -> Vec<u8> {
        let stride = self.entry_bytes as usize;
        let mut array = vec![0; stride * self.entry_count as usize];
        let kind = PartitionKind::Mbr(0x83).to_guid().unwrap();
        for (index, first, last) in &self.entries {
            let entry = &mut array[*index as usize * stride..][..stride];
            entry[0..16].copy_from_slice(&kind.to_bytes_le());
            entry[16..32].copy_from_slice(&Uuid::from_u128(u128::from(*index) + 1).to_bytes_le());
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
            entry[48] = 4;
            for (i, unit) in format!("süd {index}").encode_utf16().enumerate() {
                entry[56 + 2 * i..58 + 2 * i].copy_from_slice(&unit.to_le_bytes());
            }
        }
        array
    }

    fn header(&self, my: u64, alternate: u64, entries_lba: u64) -> Vec<u8> {
        let n = self.entries_lbas();
        let mut header = vec![0; 92];
        header[0..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x10000u32.to_le_bytes());
        header[12..16].copy_from_slice(&92u32.to_le_bytes());
        let places = [my, alternate, 2 + n, self.lbas - n - 2];
        for (i, value) in places.iter().enumerate() {
            header[24 + 8 * i..32 + 8 * i].copy_from_slice(&value.to_le_bytes());
        }
        header[56..72].copy_from_slice(&Uuid::from_u128(0xD15C).to_bytes_le());
        header[72..80].copy_from_slice(&entries_lba.to_le_bytes());
        header[80..84].copy_from_slice(&self.entry_count.to_le_bytes());
        header[84..88].copy_from_slice(&self.entry_bytes.to_le_bytes());
        header[88..92].copy_from_slice(&crc32fast::hash(&self.array()).to_le_bytes());
        let crc = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let n = self.entries_lbas();
        let last = self.lbas - 1;
        let mut bytes = vec![0; self.at(self.lbas)];
        put_entry(&mut bytes, 0, 0, 0xEE, 1, u32::try_from(last).unwrap());
        sign(&mut bytes, 0);
        let mut put = |lba: u64, data: Vec<u8>| {
            let at = self.at(lba);
            bytes[at..at + data.len()].copy_from_slice(&data);
        };
        put(1, self.header(1, last, 2));
        put(2, self.array());
        put(last - n, self.array());
        put(last, self.header(last, 1, last - n));
        bytes
    }

    fn at(&self, lba: u64) -> usize {
        usize::try_from(lba).unwrap() * self.sector_bytes
    }

    pub(super) fn disk(&self) -> MemoryDisk {
        self.disk_of(self.bytes())
    }

    pub(super) fn disk_of(&self, bytes: Vec<u8>) -> MemoryDisk {
        MemoryDisk::new(bytes).with_logical_sector_bytes(u32::try_from(self.sector_bytes).unwrap())
    }
}
