//! The label: its bytes, its checksum, and the partitions it names.
//!
//! What it owns: the layout and everything that can be said about a label by itself. What it never
//! does: know where on the disk the label's sectors are counted from.
//!
//! Layout: `sys/sys/disklabel.h` of FreeBSD, NetBSD and OpenBSD; they agree but for the fields that
//! OpenBSD's version 1 uses for sectors above 2^32.

use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::Refusal;
use crate::units::{SECTOR_SIZE, SectorCount};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `DISKMAGIC`.
const MAGIC: u32 = 0x8256_4557;

/// Most partitions that any system puts into a label (OpenBSD: 52, rounded up).
const PARTITIONS_MAX: usize = 64;

/// The partition that stands for all of the slice or disk (`RAW_PART`), by its index.
const RAW_PART: usize = 2;

/// `FS_UNUSED`.
const UNUSED: u8 = 0;
/// `FS_SWAP`.
const SWAP: u8 = 1;

#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct RawHead {
    d_magic: U32,
    _at_4: [u8; 36],
    d_secsize: U32,
    _at_44: [u8; 20],
    /// OpenBSD: the identity of the disk.
    d_uid: [u8; 8],
    _at_72: [u8; 4],
    /// OpenBSD: the first sector it may use, upper half here.
    d_bstarth: U16,
    _at_78: [u8; 2],
    d_bstart: U32,
    _at_84: [u8; 30],
    /// OpenBSD: 1 when numbers have upper halves. Zero elsewhere.
    d_version: U16,
    _at_116: [u8; 16],
    d_magic2: U32,
    d_checksum: U16,
    d_npartitions: U16,
    _at_140: [u8; 8],
}

const HEAD_LEN: usize = size_of::<RawHead>();
const _: () = assert!(HEAD_LEN == 148);

#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct RawEntry {
    p_size: U32,
    p_offset: U32,
    p_offseth: U16,
    p_sizeh: U16,
    p_fstype: u8,
    _at_13: [u8; 3],
}

const ENTRY_LEN: usize = size_of::<RawEntry>();
const _: () = assert!(ENTRY_LEN == 16);

/// A partition of a label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// 0 for `a`.
    pub(super) index: usize,
    /// First sector, counted as the label counts.
    pub(super) offset: SectorCount,
    /// Its length, not 0.
    pub(super) size: SectorCount,
    kind: u8,
}

impl Entry {
    /// Its letter: `a` to `z`, then `A` to `Z`.
    pub(super) fn letter(&self) -> char {
        ('a'..='z').chain('A'..='Z').nth(self.index).unwrap_or('?')
    }

    pub(super) fn is_swap(&self) -> bool {
        self.kind == SWAP
    }

    /// What the label says it holds, as bsdlabel writes it.
    pub(super) fn kind_name(&self) -> String {
        match self.kind {
            SWAP => "swap".into(),
            7 => "4.2BSD".into(),
            8 => "MSDOS".into(),
            9 => "4.4LFS".into(),
            12 => "ISO9660".into(),
            13 => "boot".into(),
            14 => "vinum".into(),
            15 => "raid".into(),
            17 => "ext2fs".into(),
            18 => "NTFS".into(),
            27 => "ZFS".into(),
            other => format!("type {other}"),
        }
    }
}

/// A label whose checksum is right.
#[derive(Clone, Debug)]
pub(super) struct Label {
    /// Byte offset of the label.
    pub(super) at: u64,
    /// The bytes that its checksum covers.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the sectors it counts in.
    pub(super) sector_bytes: u64,
    /// All with a length, in order.
    entries: Vec<Entry>,
    /// OpenBSD: the first sector that it may use.
    pub(super) bounds_start: SectorCount,
    /// OpenBSD: the identity of the disk.
    pub(super) uid: Option<String>,
}

/// Where a label may stand: in the second sector, of 512 bytes or of the disk's own length.
fn places(disk: &dyn ReadDisk) -> Vec<u64> {
    let mut places = vec![SECTOR_SIZE, u64::from(disk.logical_sector_bytes())];
    places.dedup();
    places
}

fn head_at(disk: &dyn ReadDisk, at: u64) -> Result<Option<RawHead>, DiskError> {
    let mut bytes = [0; HEAD_LEN];
    let longest = u64::try_from(HEAD_LEN + PARTITIONS_MAX * ENTRY_LEN).unwrap_or(u64::MAX);
    if disk.size_bytes().checked_sub(at).is_none_or(|rest| rest < longest) {
        return Ok(None);
    }
    disk.read_at(&mut bytes, at)?;
    let head = RawHead::read_from_bytes(&bytes).ok();
    Ok(head.filter(|head| head.d_magic.get() == MAGIC && head.d_magic2.get() == MAGIC))
}

/// Byte offset of the label's marks; `None` when there are none.
pub(super) fn mark(disk: &dyn ReadDisk) -> Result<Option<u64>, DiskError> {
    for at in places(disk) {
        if head_at(disk, at)?.is_some() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

impl Label {
    /// The label at `at`, which bears its marks.
    pub(super) fn read(disk: &dyn ReadDisk, at: u64) -> Result<Self, Refusal> {
        let corrupt = |what: &str, expected: String, found: String| {
            Refusal::corrupt(format!("{what} of the disklabel"), at, expected, found)
        };
        let Some(head) = head_at(disk, at)? else {
            return Err(corrupt("magic number", format!("{MAGIC:#x}"), "another".into()));
        };
        let count = usize::from(head.d_npartitions.get());
        if count == 0 || count > PARTITIONS_MAX {
            let expected = format!("1 to {PARTITIONS_MAX}");
            return Err(corrupt("number of partitions", expected, count.to_string()));
        }
        let mut bytes = vec![0; HEAD_LEN + count * ENTRY_LEN];
        disk.read_at(&mut bytes, at)?;
        let (words, _) = bytes.as_chunks::<2>();
        let sum = words.iter().fold(0, |sum, word| sum ^ u16::from_le_bytes(*word));
        if sum != 0 {
            let said = head.d_checksum.get();
            let (expected, found) = (format!("{:#06x}", said ^ sum), format!("{said:#06x}"));
            return Err(corrupt("checksum", expected, found));
        }
        let sector_bytes = u64::from(head.d_secsize.get());
        if !sector_bytes.is_power_of_two() || !(SECTOR_SIZE..=65_536).contains(&sector_bytes) {
            let expected = "a power of two from 512 to 65536".into();
            return Err(corrupt("sector size", expected, sector_bytes.to_string()));
        }
        let wide = head.d_version.get() == 1;
        // At most 2^48 sectors of 2^16 bytes, which are 2^55 of ours: too many only sometimes.
        let sectors = |high: U16, low: U32| {
            let high = if wide { u64::from(high.get()) << 32 } else { 0 };
            let number = (high | u64::from(low.get())).checked_mul(sector_bytes / SECTOR_SIZE);
            number.and_then(SectorCount::new)
        };
        let mut entries = Vec::new();
        let (_, table) = bytes.split_at_checked(HEAD_LEN).unwrap_or_default();
        for (index, raw) in table.chunks_exact(ENTRY_LEN).enumerate() {
            let Ok(raw) = RawEntry::read_from_bytes(raw) else { continue };
            let offset = sectors(raw.p_offseth, raw.p_offset);
            let size = sectors(raw.p_sizeh, raw.p_size);
            let Some((offset, size)) = offset.zip(size) else {
                let expected = "below 2^53 sectors".into();
                return Err(corrupt(&format!("partition {index}"), expected, "more".into()));
            };
            if !size.is_zero() {
                entries.push(Entry { index, offset, size, kind: raw.p_fstype });
            }
        }
        let uid = head.d_uid;
        Ok(Self {
            at,
            bytes,
            sector_bytes,
            entries,
            bounds_start: sectors(head.d_bstarth, head.d_bstart).unwrap_or_default(),
            uid: (wide && uid != [0; 8])
                .then(|| uid.iter().map(|byte| format!("{byte:02x}")).collect()),
        })
    }

    /// The partition that stands for the whole.
    pub(super) fn raw_part(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.index == RAW_PART)
    }

    /// Partitions with content: not the one that stands for the whole, nor any marked as unused (as
    /// NetBSD marks the one that stands for the disk).
    pub(super) fn contents(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.index != RAW_PART && entry.kind != UNUSED)
    }
}
