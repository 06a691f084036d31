//! Linux swap areas.
//!
//! What it owns: both formats (`SWAPSPACE2` and the old `SWAP-SPACE`), for all page sizes and both
//! byte orders, and the marks of a hibernated system. What it never does: call a page free that may
//! hold the memory of a sleeping machine.

use super::identity::{label_text, uuid_text};
use super::refusal::{Refusal, settle};
use super::{Filesystem, Reader};
use crate::disk::{DiskError, ReadDisk};
use crate::sector_set::SectorSet;
use crate::units::{SectorCount, SectorRange};
use zerocopy::{FromBytes, FromZeros, IntoBytes, KnownLayout, little_endian as le};

/// Page sizes of the machines Linux runs on. The signature ends where the first page ends.
const PAGE_BYTES: [u64; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];

/// Bytes of the signature.
const SIGNATURE_LEN: u64 = 10;

/// Byte offset of the header: before it is room for a boot sector and a disk label.
const HEADER_OFFSET: u64 = 1024;

/// Bytes from the start of the area to the list of bad pages (`union swap_header`).
const BAD_PAGES_OFFSET: u64 = 1536;

/// Kept at least: what other tools put at the start of a partition.
const KEPT_MIN_BYTES: u64 = 32 << 10;

/// `union swap_header.info`, from `include/linux/swap.h`, up to its padding.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct RawHeader {
    version: le::U32,
    last_page: le::U32,
    nr_badpages: le::U32,
    sws_uuid: [u8; 16],
    sws_volume: [u8; 16],
}

const _: () = assert!(size_of::<RawHeader>() == 44);

const _: Reader = probe;

/// What the signature says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Without a header; all of the partition is swap.
    Old,
    /// With a header.
    New,
    /// Holds the memory of a sleeping machine.
    Hibernated,
}

fn kind_of(signature: &[u8]) -> Option<Kind> {
    match signature {
        b"SWAP-SPACE" => Some(Kind::Old),
        b"SWAPSPACE2" => Some(Kind::New),
        b"S1SUSPEND\0" | b"S2SUSPEND\0" | b"ULSUSPEND\0" | b"LINHIB0001" => Some(Kind::Hibernated),
        // TuxOnIce.
        s if s.starts_with(b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c") => Some(Kind::Hibernated),
        _ => None,
    }
}

/// Recognises a Linux swap area. Free is all but its first page, or 32 KiB where that is more.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    for page in PAGE_BYTES {
        if disk.size_bytes() < page {
            break;
        }
        let mut signature = [0; 10];
        disk.read_at(&mut signature, page - SIGNATURE_LEN)?;
        if let Some(kind) = kind_of(&signature) {
            return read(disk, page, kind).map(Some);
        }
    }
    Ok(None)
}

fn read(disk: &dyn ReadDisk, page: u64, kind: Kind) -> Result<Filesystem, DiskError> {
    let mut raw = RawHeader::new_zeroed();
    if kind != Kind::Old {
        disk.read_at(raw.as_mut_bytes(), HEADER_OFFSET)?;
    }
    let header = Header::of(&raw);
    let bytes = match kind {
        Kind::New => header.claimed_bytes(page),
        Kind::Old | Kind::Hibernated => disk.size_bytes(),
    };
    let outcome = match kind {
        Kind::New => header.check(disk.size_bytes(), page).map(|()| kept(bytes, page)),
        Kind::Old => Ok(kept(bytes, page)),
        Kind::Hibernated => Err(Refusal::unsupported(
            "it holds the memory of a hibernated system: resume it, or run mkswap on it, and save \
             again",
        )),
    };
    Ok(Filesystem {
        name: "linux-swap",
        label: label_text(&raw.sws_volume),
        uuid: uuid_text(raw.sws_uuid),
        features: vec![format!("{}k pages", page >> 10)],
        size: SectorCount::whole_in_bytes(bytes).unwrap_or_default(),
        allocation: settle(outcome)?,
        volumes: Vec::new(),
    })
}

fn kept(bytes: u64, page: u64) -> SectorSet {
    let count = SectorCount::whole_in_bytes(bytes.min(page.max(KEPT_MIN_BYTES)));
    SectorSet::from_range(SectorRange::whole(count.unwrap_or_default()))
}

/// The numbers of the header, in the byte order of the machine that wrote it.
struct Header {
    version: u32,
    last_page: u32,
    bad_pages: u32,
}

impl Header {
    fn of(raw: &RawHeader) -> Self {
        let swapped = raw.version.get().swap_bytes() == 1;
        let number = |n: le::U32| if swapped { n.get().swap_bytes() } else { n.get() };
        Self {
            version: number(raw.version),
            last_page: number(raw.last_page),
            bad_pages: number(raw.nr_badpages),
        }
    }

    fn claimed_bytes(&self, page: u64) -> u64 {
        (u64::from(self.last_page) + 1) * page
    }

    fn check(&self, disk_bytes: u64, page: u64) -> Result<(), Refusal> {
        if self.version != 1 {
            let version = self.version;
            return Err(Refusal::unsupported(format!("swap version {version} is not known")));
        }
        let corrupt = |what: &str, expected: String, found: u32| {
            Refusal::corrupt(what, HEADER_OFFSET, expected, found.to_string())
        };
        if self.last_page == 0 || self.claimed_bytes(page) > disk_bytes {
            let pages = disk_bytes / page;
            let expected = format!("1 or more, and below the {pages} pages of the partition");
            return Err(corrupt("last page of the swap area", expected, self.last_page));
        }
        let bad_pages_max = (page - SIGNATURE_LEN - BAD_PAGES_OFFSET) / 4;
        if u64::from(self.bad_pages) > bad_pages_max {
            let expected = format!("at most {bad_pages_max}");
            return Err(corrupt("number of bad pages", expected, self.bad_pages));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;
    use crate::fs::Allocation;

    fn image(len: usize, page: usize, signature: &[u8], header: [u32; 3], big: bool) -> MemoryDisk {
        let mut bytes = vec![0; len];
        bytes[page - 10..page - 10 + signature.len()].copy_from_slice(signature);
        for (i, n) in header.into_iter().enumerate() {
            let n = if big { n.to_be_bytes() } else { n.to_le_bytes() };
            bytes[1024 + i * 4..1028 + i * 4].copy_from_slice(&n);
        }
        bytes[1024 + 28..1024 + 32].copy_from_slice(b"swp0");
        MemoryDisk::new(bytes)
    }

    fn kept_sectors(disk: &MemoryDisk) -> Option<u64> {
        match probe(disk).unwrap().unwrap().allocation {
            Allocation::Known(set) => Some(set.count().get()),
            _ => None,
        }
    }

    #[test]
    fn both_formats_all_pages_both_byte_orders() {
        for page in [4096usize, 8192, 16384, 32768, 65536] {
            let last = u32::try_from((1 << 20) / page - 1).unwrap();
            let kept = u64::try_from(page.max(32768) / 512).unwrap();
            for big in [false, true] {
                let disk = image(1 << 20, page, b"SWAPSPACE2", [1, last, 0], big);
                let swap = probe(&disk).unwrap().unwrap();
                assert_eq!((swap.name, swap.size.get()), ("linux-swap", 2048));
                assert_eq!(swap.label.as_deref(), Some("swp0"));
                assert_eq!(kept_sectors(&disk), Some(kept));
            }
            let old = image(1 << 20, page, b"SWAP-SPACE", [9, 9, 9], false);
            assert_eq!(kept_sectors(&old), Some(kept));
        }
        // Smaller than what is kept at least.
        assert_eq!(kept_sectors(&image(16384, 4096, b"SWAPSPACE2", [1, 3, 0], false)), Some(32));
    }

    #[test]
    fn a_sleeping_system_is_kept() {
        let tuxonice: &[u8] = b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c";
        for s in [b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001", tuxonice] {
            let disk = image(65536, 4096, s, [1, 15, 0], false);
            let swap = probe(&disk).unwrap().unwrap();
            assert!(
                matches!(&swap.allocation, Allocation::Unsupported { reason } if reason.contains("hibernated"))
            );
        }
    }

    #[test]
    fn contradictions_are_corrupt_and_other_versions_unsupported() {
        let of = |header| {
            probe(&image(65536, 4096, b"SWAPSPACE2", header, false)).unwrap().unwrap().allocation
        };
        assert!(matches!(of([1, 16, 0]), Allocation::Corrupt(_)));
        assert!(matches!(of([1, 0, 0]), Allocation::Corrupt(_)));
        assert!(matches!(of([1, u32::MAX, 0]), Allocation::Corrupt(_)));
        assert!(matches!(of([1, 15, 638]), Allocation::Corrupt(_)));
        assert!(matches!(of([1, 15, 637]), Allocation::Known(_)));
        assert!(matches!(of([2, 15, 0]), Allocation::Unsupported { .. }));
    }
}
