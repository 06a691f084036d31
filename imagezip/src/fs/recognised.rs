//! What is known by name only, and kept whole.
//!
//! What it owns: a table of marks, each with the name of what bears it, why nothing of it is left
//! out, and what would make the image small. What it never does: read more than the mark, but where
//! the mark is so short that chance would find it.
//!
//! Marks at the start of a partition compete with other readers like theirs do. Marks at its end
//! make the partition a [`Member`] of something larger: it may well carry a whole filesystem.
//!
//! The marks are those in the formats' own descriptions, as `blkid` of util-linux collects them.

use super::{Filesystem, Member, whole};
use crate::disk::{DiskError, ReadDisk};
use crate::units::{SECTOR_SIZE, SectorCount};

/// Where a mark stands.
#[derive(Clone, Copy)]
enum Place {
    /// Byte offset from the start.
    Start(u64),
    /// Sectors before the end, and bytes into the sector.
    End(u64, u64),
}
use Place::{End, Start};

/// One line of the table.
struct Mark {
    name: &'static str,
    place: Place,
    bytes: &'static [u8],
    why: &'static str,
}

const ENCRYPTED: &str = "it is encrypted, so nothing tells used from free; unlock it and save what is inside (/dev/mapper/...) for a small image";
const BITLOCKER: &str = "it is encrypted by BitLocker, so nothing tells used from free; turn BitLocker off (manage-bde -off) for a small image";
const READ_ONLY: &str = "it is a read-only filesystem, packed already: none of it is free";
const DISC: &str = "it is the image of a disc, of which none is free; save the file it came from, or use imagezip -f";
const CACHE: &str = "part of its content may be on a cache device; detach the cache (bcache: echo 1 > /sys/block/bcache0/bcache/detach) and save /dev/bcache0 for a small image";
const NOT_READ: &str = "its map of free space is not read by this version; to save it small, save its files by its own tools";
const MAPPED: &str = "it belongs to a device of the device mapper; save that device (/dev/mapper/...) for a small image";
const FAKE_RAID: &str = "it is a disk of a firmware RAID, whose disks belong together; save the array (mdadm or dmraid assembles it) for a small image, or erase the mark of an array that is gone (wipefs)";
const REPLICATED: &str = "it is the lower device of a replicated one, which must not change behind its back; save the device above it (/dev/drbd0) for a small image, or erase the mark (drbdadm wipe-md)";
const GEOM: &str = "it is part of a device of FreeBSD's GEOM (mirror, stripe, encryption, label); save that device for a small image";
const ZFS: &str = "it is part of a ZFS pool, whose map of free space is not read; use zpool trim or zpool initialize so that free space compresses, or zfs send for a small image";

const BCACHE: &[u8] = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
const BCACHEFS: &[u8] = b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef";

const fn mark(name: &'static str, place: Place, bytes: &'static [u8], why: &'static str) -> Mark {
    Mark { name, place, bytes, why }
}

/// Marks of at least four unlikely bytes.
const MARKS: &[Mark] = &[
    mark("LUKS1", Start(0), b"LUKS\xba\xbe\x00\x01", ENCRYPTED),
    mark("LUKS2", Start(0), b"LUKS\xba\xbe\x00\x02", ENCRYPTED),
    mark("LUKS2 (first header lost)", Start(0x4000), b"SKUL\xba\xbe\x00\x02", ENCRYPTED),
    mark("BitLocker", Start(3), b"-FVE-FS-", BITLOCKER),
    mark("bcache or bcachefs", Start(4096 + 24), BCACHE, CACHE),
    mark("bcachefs", Start(4096 + 24), BCACHEFS, NOT_READ),
    mark(
        "VDO",
        Start(0),
        b"dmvdo001",
        "it is the store of a VDO device, deduplicated and compressed already; save the device above it for a small image",
    ),
    mark("APFS", Start(32), b"NXSB", NOT_READ),
    mark("ReFS", Start(3), b"ReFS\0\0\0\0", NOT_READ),
    mark("GFS2", Start(65536), b"\x01\x16\x19\x70\x00\x00\x00\x01", NOT_READ),
    mark("VMFS", Start(1 << 20), b"\x0d\xd0\x01\xc0", NOT_READ),
    mark(
        "Ceph BlueStore",
        Start(0),
        b"bluestore block device\n",
        "it belongs to a Ceph cluster, which keeps copies elsewhere; nothing of one device makes sense alone",
    ),
    mark(
        "Stratis",
        Start(516),
        b"!Stra0tis\x86\xff\x02^\x41rh",
        "it belongs to a Stratis pool, whose thin volumes are not read",
    ),
    mark(
        "LVM1",
        Start(0),
        b"HM\x01\x00\x00\x00\x00\x00",
        "the first version of LVM is not read; vgconvert -M2 makes it LVM2",
    ),
    mark(
        "LVM1",
        Start(0),
        b"HM\x02\x00\x00\x00\x00\x00",
        "the first version of LVM is not read; vgconvert -M2 makes it LVM2",
    ),
    mark("dm-integrity", Start(0), b"integrt\0", MAPPED),
    mark("dm-verity", Start(0), b"verity\0\0", MAPPED),
    mark("device-mapper snapshot store", Start(0), b"SnAp\x01\x00\x00\x00", MAPPED),
    mark("squashfs", Start(0), b"hsqs", READ_ONLY),
    mark("squashfs", Start(0), b"sqsh", READ_ONLY),
    mark("EROFS", Start(1024), b"\xe2\xe1\xf5\xe0", READ_ONLY),
    mark("cramfs", Start(16), b"Compressed ROMFS", READ_ONLY),
    mark("romfs", Start(0), b"-rom1fs-", READ_ONLY),
];

/// Marks that are kept at the end of a member of something larger.
const MEMBER_MARKS: &[Mark] = &[
    mark("Intel firmware RAID member", End(2, 0), b"Intel Raid ISM Cfg Sig. ", FAKE_RAID),
    mark("Intel firmware RAID member", End(16, 0), b"Intel Raid ISM Cfg Sig. ", FAKE_RAID),
    mark("Promise firmware RAID member", End(63, 0), b"Promise Technology, Inc.", FAKE_RAID),
    mark("Promise firmware RAID member", End(255, 0), b"Promise Technology, Inc.", FAKE_RAID),
    mark("Promise firmware RAID member", End(256, 0), b"Promise Technology, Inc.", FAKE_RAID),
    mark("NVIDIA firmware RAID member", End(2, 0), b"NVIDIA  ", FAKE_RAID),
    mark("LSI firmware RAID member", End(1, 0), b"$XIDE$", FAKE_RAID),
    mark("DDF RAID member", End(1, 0), b"\xde\x11\xde\x11", FAKE_RAID),
    mark("DDF RAID member", End(257, 0), b"\xde\x11\xde\x11", FAKE_RAID),
    mark("FreeBSD GEOM member", End(1, 0), b"GEOM::", GEOM),
    mark("DRBD device", End(8, 60), b"\x83\x74\x02\x6b", REPLICATED),
    mark("DRBD device", End(8, 60), b"\x83\x74\x02\x6c", REPLICATED),
    mark("DRBD device", End(8, 60), b"\x83\x74\x02\x6d", REPLICATED),
];

/// Longest mark.
const MARK_BYTES_MAX: usize = 24;

impl Mark {
    /// Where it would stand; `None` when there is no such place.
    fn offset(&self, disk: &dyn ReadDisk) -> Option<u64> {
        match self.place {
            Start(offset) => Some(offset),
            End(back, offset) => {
                let sector = disk.sectors().checked_sub(SectorCount::new(back)?)?;
                Some(sector.bytes() + offset)
            }
        }
    }

    fn is_on(&self, disk: &dyn ReadDisk) -> Result<Option<u64>, DiskError> {
        let mut found = [0; MARK_BYTES_MAX];
        let len = self.bytes.len();
        let (Some(offset), Some(found)) = (self.offset(disk), found.get_mut(..len)) else {
            return Ok(None);
        };
        Ok(read(disk, found, offset)?.filter(|()| found == self.bytes).map(|()| offset))
    }
}

/// Reads, if it is there.
fn read(disk: &dyn ReadDisk, bytes: &mut [u8], offset: u64) -> Result<Option<()>, DiskError> {
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if offset.checked_add(len).is_none_or(|end| end > disk.size_bytes()) {
        return Ok(None);
    }
    disk.read_at(bytes, offset).map(Some)
}

/// Recognises what is known by a mark at its start.
///
/// # Errors
/// When the disk cannot be read.
pub(super) fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    for mark in MARKS {
        if mark.is_on(disk)?.is_some() {
            return Ok(Some(whole(mark.name, disk, mark.why.into())));
        }
    }
    let found = match () {
        () if is_minix(disk)? => Some(("Minix", NOT_READ)),
        () if is_zfs(disk)? => Some(("ZFS", ZFS)),
        () => disc(disk)?.map(|name| (name, DISC)),
    };
    Ok(found.map(|(name, why)| whole(name, disk, why.into())))
}

/// Recognises members of something larger by a mark at their end.
///
/// # Errors
/// When the disk cannot be read.
pub(super) fn member(disk: &dyn ReadDisk) -> Result<Option<Member>, DiskError> {
    for mark in MEMBER_MARKS {
        if let Some(mark_offset) = mark.is_on(disk)? {
            let filesystem = whole(mark.name, disk, mark.why.into());
            return Ok(Some(Member { filesystem, mark_offset }));
        }
    }
    Ok(None)
}

/// The volume descriptors of a disc stand from 32 KiB on, 2048 bytes each (ECMA-119, ECMA-167).
fn disc(disk: &dyn ReadDisk) -> Result<Option<&'static str>, DiskError> {
    let (mut iso, mut udf) = (false, false);
    for number in 0..32 {
        let mut identifier = [0; 5];
        if read(disk, &mut identifier, (32 << 10) + number * 2048 + 1)?.is_none() {
            break;
        }
        iso |= &identifier == b"CD001";
        udf |= &identifier == b"NSR02" || &identifier == b"NSR03";
    }
    Ok(match (iso, udf) {
        (true, true) => Some("ISO 9660 with UDF"),
        (true, false) => Some("ISO 9660"),
        (false, true) => Some("UDF"),
        (false, false) => None,
    })
}

/// Four labels of 256 KiB: two at the start, two at the end. In each a ring of 128 KiB of
/// uberblocks, which begin with a magic number in either byte order (*ZFS On-Disk Specification*).
fn is_zfs(disk: &dyn ReadDisk) -> Result<bool, DiskError> {
    const LABEL: u64 = 256 << 10;
    const RING: u64 = 128 << 10;
    const MAGIC: u64 = 0x00BA_B10C;
    let size = disk.size_bytes() / LABEL * LABEL;
    if size < 4 * LABEL {
        return Ok(false);
    }
    let mut ring = vec![0; 128 << 10];
    for label in [0, LABEL, size - 2 * LABEL, size - LABEL] {
        disk.read_at(&mut ring, label + RING)?;
        let is_uberblock = |slot: &[u8]| {
            let magic = slot.first_chunk::<8>();
            magic
                .is_some_and(|m| u64::from_le_bytes(*m) == MAGIC || u64::from_be_bytes(*m) == MAGIC)
        };
        if ring.chunks(1024).any(is_uberblock) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Superblock at 1024. Its magic number has 16 bits, so its numbers have to agree as well: the first
/// zone of data is where the maps and inodes before it end.
fn is_minix(disk: &dyn ReadDisk) -> Result<bool, DiskError> {
    let mut bytes = [0; 64];
    if read(disk, &mut bytes, 2 * SECTOR_SIZE)?.is_none() {
        return Ok(false);
    }
    for swap in [false, true] {
        let half = |at: usize| {
            let bytes = bytes.get(at..).and_then(|b| b.first_chunk::<2>()).copied();
            let number = u16::from_le_bytes(bytes.unwrap_or_default());
            u64::from(if swap { number.swap_bytes() } else { number })
        };
        // Versions 1 and 2; inodes of 32 and 64 bytes, blocks of 1024.
        let inode = match half(16) {
            0x137F | 0x138F => Some(32),
            0x2468 | 0x2478 => Some(64),
            _ => None,
        };
        let inodes = half(0);
        let ends = |inode: u64| 2 + half(4) + half(6) + (inodes * inode).div_ceil(1024);
        if inode.is_some_and(|inode| inodes > 0 && ends(inode) == half(8)) {
            return Ok(true);
        }
        // Version 3: 32 bits for the inodes, the magic number further on.
        let first = half(10);
        let inodes = half(0) + (half(2) << 16);
        let block = half(28);
        let maps = 2 + half(6) + half(8);
        let is_third = half(24) == 0x4D5A && inodes > 0 && (1024..=4096).contains(&block);
        if is_third && maps + (inodes * 64).div_ceil(block) == first {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;
    use crate::fs::{Allocation, probe};

    #[test]
    fn every_mark_is_found_where_it_belongs_and_nowhere_else() {
        for mark in MARKS.iter().chain(MEMBER_MARKS) {
            assert!(mark.bytes.len() <= MARK_BYTES_MAX, "{}", mark.name);
            for size in [2 << 20, (2 << 20) + 512] {
                let mut bytes = vec![0; size];
                let offset = mark.offset(&MemoryDisk::new(bytes.clone())).unwrap();
                let at = usize::try_from(offset).unwrap();
                bytes[at..at + mark.bytes.len()].copy_from_slice(mark.bytes);
                let found = probe(&MemoryDisk::new(bytes.clone())).unwrap().unwrap();
                assert_eq!(found.name, mark.name);
                assert!(
                    matches!(found.allocation, Allocation::Unsupported { reason } if reason == mark.why)
                );
                bytes[at] ^= 1;
                assert_eq!(probe(&MemoryDisk::new(bytes)).unwrap(), None, "{}", mark.name);
            }
        }
    }

    #[test]
    fn marks_that_do_not_fit_are_not_looked_for() {
        for size in [0, 511, 512, 1024, 4096, 5000, 40_000] {
            assert_eq!(probe(&MemoryDisk::new(vec![0; size])).unwrap(), None);
        }
    }

    #[test]
    fn any_label_of_a_pool_is_enough() {
        let kib = 1 << 10;
        for (label, magic) in [
            (0, 0x00BA_B10Cu64.to_le_bytes()),
            (256 * kib, 0x00BA_B10Cu64.to_be_bytes()),
            (2560 * kib, 0x00BA_B10Cu64.to_le_bytes()),
            (2816 * kib, 0x00BA_B10Cu64.to_le_bytes()),
        ] {
            let mut bytes = vec![0; 3 * kib * kib + 9 * kib];
            let at = label + 128 * kib + 37 * kib;
            bytes[at..at + 8].copy_from_slice(&magic);
            assert_eq!(probe(&MemoryDisk::new(bytes)).unwrap().unwrap().name, "ZFS");
        }
    }
}
