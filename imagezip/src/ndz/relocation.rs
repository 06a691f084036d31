//! Relocations: records that tell the loader to adjust bytes after decompression.
//!
//! What it owns: their meaning. The bytes they adjust are patched by [`apply`] before they are
//! written. What it never does: fail a load because of a kind it does not know; it says so.

use crate::units::{Sector, SectorCount, SectorRange};

/// A record that tells the loader to adjust bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Relocation {
    /// What to do, by number; see [`RelocationKind`].
    pub kind: u32,
    /// The sector, counted like the regions, that holds the bytes.
    pub sector: Sector,
    /// Where in that sector they start, in bytes.
    pub offset: u32,
    /// How many they are, in bytes.
    pub size: u64,
}

/// The kinds of relocation that deployed writers make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RelocationKind {
    /// FreeBSD disklabel.
    FreeBsdDisklabel,
    /// OpenBSD disklabel.
    OpenBsdDisklabel,
    /// LILO: one sector address.
    LiloAddress,
    /// LILO: a sector of addresses.
    LiloMap,
    /// LILO: checksum of the descriptor table.
    LiloChecksum,
    /// The last sector of a file image holds only `size` bytes.
    ShortSector,
}

impl RelocationKind {
    /// The number of [`Self::ShortSector`].
    pub const SHORT_SECTOR: u32 = 6;
    /// The number of [`Self::FreeBsdDisklabel`].
    pub const FREEBSD_DISKLABEL: u32 = 1;
    /// The number of [`Self::OpenBsdDisklabel`].
    pub const OPENBSD_DISKLABEL: u32 = 2;

    /// The kind with this number, `None` for one we do not know.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            Self::FREEBSD_DISKLABEL => Self::FreeBsdDisklabel,
            Self::OPENBSD_DISKLABEL => Self::OpenBsdDisklabel,
            3 => Self::LiloAddress,
            4 => Self::LiloMap,
            5 => Self::LiloChecksum,
            Self::SHORT_SECTOR => Self::ShortSector,
            _ => return None,
        })
    }

    /// Its name, for messages and listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FreeBsdDisklabel => "FreeBSD disklabel",
            Self::OpenBsdDisklabel => "OpenBSD disklabel",
            Self::LiloAddress => "LILO sector address",
            Self::LiloMap => "LILO map sector",
            Self::LiloChecksum => "LILO checksum",
            Self::ShortSector => "short sector",
        }
    }
}

impl Relocation {
    /// A record saying that only `size` bytes of the file's last sector are real.
    pub const fn short_sector(sector: Sector, size: u64) -> Self {
        Self { kind: RelocationKind::SHORT_SECTOR, sector, offset: 0, size }
    }

    /// Byte offset of the bytes concerned, counted like the regions.
    pub fn byte_offset(&self) -> u64 {
        self.sector.byte_offset() + u64::from(self.offset) // below 2^62 + 2^32
    }

    /// The kind's name, or its number when we do not know it.
    pub fn name(&self) -> String {
        RelocationKind::from_number(self.kind)
            .map_or_else(|| format!("unknown kind {}", self.kind), |kind| kind.name().to_owned())
    }
}

/// Magic of a BSD disklabel, at its start and at byte 132.
const LABEL_MAGIC: u32 = 0x8256_4557;
const LABEL_MAGIC2_AT: usize = 132;
const LABEL_CHECKSUM_AT: usize = 136;
const LABEL_COUNT_AT: usize = 138;
const LABEL_PARTITIONS_AT: usize = 148;
const LABEL_PARTITION_LEN: usize = 16;
/// Partitions that a label can name; a larger count is not a label.
const LABEL_PARTITIONS_MAX: usize = 22;

/// Partition c, which stands for the whole.
const RAW_PART: usize = 2;

/// Why a relocation was not applied.
pub type NotApplied = &'static str;

/// Adjusts `bytes`, which a relocation of an image loaded into a partition points at.
///
/// `partition_start` and `partition_len` are the target partition's place on the disk. Outside
/// slice mode nothing is to be done and this is not called.
///
/// # Errors
/// When the bytes are left as they were, with the reason; the load goes on.
pub fn apply(
    kind: u32,
    bytes: &mut [u8],
    partition_start: Sector,
    partition_len: SectorCount,
) -> Result<(), NotApplied> {
    if let Some(concerns) = concerned_partitions(kind) {
        return adjust_label(bytes, partition_start, partition_len, concerns);
    }
    match RelocationKind::from_number(kind) {
        Some(RelocationKind::ShortSector) => Ok(()),
        Some(_) => Err("LILO boot maps are not adjusted; run lilo on the restored system"),
        None => Err("unknown kind of relocation"),
    }
}

/// Which partitions of a label a relocation is about, by index; `None` when it is about no label.
fn concerned_partitions(kind: u32) -> Option<fn(usize) -> bool> {
    match RelocationKind::from_number(kind)? {
        RelocationKind::FreeBsdDisklabel => Some(|_| true),
        // OpenBSD: entry c and the entries 8 to 15 describe the disk, not the slice.
        RelocationKind::OpenBsdDisklabel => Some(|i| i != RAW_PART && i < 8),
        _ => None,
    }
}

/// The bytes from which [`apply`], for the same partition, makes this label again; for another
/// partition, the label it needs there. `None` when there are none: the label is not one of
/// partitions that all lie in this one.
pub fn relative_label(kind: u32, bytes: &[u8], partition: SectorRange) -> Option<Vec<u8>> {
    let concerns = concerned_partitions(kind)?;
    let start = u32::try_from(partition.start().get()).ok()?;
    let (mut label, entries) = (bytes.to_vec(), label_entries(bytes).ok()?);
    for at in entries.filter(|(i, _)| concerns(*i)).map(|(_, at)| at) {
        if u32_at(&label, at)? != 0 {
            let offset = u32_at(&label, at + 4)?.checked_sub(start)?;
            put(&mut label, at + 4, &offset.to_le_bytes())?;
        }
    }
    seal_label(&mut label).ok()?;
    let mut again = label.clone();
    apply(kind, &mut again, partition.start(), partition.count()).ok()?;
    (again == bytes).then_some(label)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + value.len())?.copy_from_slice(value);
    Some(())
}

const SHORT: NotApplied = "the disklabel is cut short";

/// Index and byte offset of every entry of a label.
fn label_entries(bytes: &[u8]) -> Result<impl Iterator<Item = (usize, usize)>, NotApplied> {
    if u32_at(bytes, 0) != Some(LABEL_MAGIC) || u32_at(bytes, LABEL_MAGIC2_AT) != Some(LABEL_MAGIC)
    {
        return Err("no disklabel there");
    }
    let count = usize::from(u16_at(bytes, LABEL_COUNT_AT).ok_or(SHORT)?);
    if count > LABEL_PARTITIONS_MAX || bytes.len() < label_len(count) {
        return Err(SHORT);
    }
    Ok((0..count).map(|i| (i, label_len(i))))
}

/// Bytes of a label with this many entries.
const fn label_len(entries: usize) -> usize {
    LABEL_PARTITIONS_AT + entries * LABEL_PARTITION_LEN
}

/// Makes the checksum of a label right.
fn seal_label(label: &mut [u8]) -> Result<(), NotApplied> {
    let end = label_len(label_entries(label)?.count());
    put(label, LABEL_CHECKSUM_AT, &[0, 0]).ok_or(SHORT)?;
    let (words, _) = label.get(..end).ok_or(SHORT)?.as_chunks::<2>();
    let sum = words.iter().fold(0, |sum, word| sum ^ u16::from_le_bytes(*word));
    put(label, LABEL_CHECKSUM_AT, &sum.to_le_bytes()).ok_or(SHORT)
}

fn adjust_label(
    bytes: &mut [u8],
    partition_start: Sector,
    partition_len: SectorCount,
    concerns: impl Fn(usize) -> bool,
) -> Result<(), NotApplied> {
    const TOO_FAR: NotApplied = "a disklabel cannot name sectors above 2^32";
    let entries = label_entries(bytes)?;
    let start = u32::try_from(partition_start.get()).map_err(|_| TOO_FAR)?;
    let len = u32::try_from(partition_len.get()).map_err(|_| TOO_FAR)?;
    let mut label = bytes.to_vec();
    for (i, at) in entries.filter(|(i, _)| concerns(*i)) {
        let (size, offset) =
            (u32_at(&label, at).ok_or(SHORT)?, u32_at(&label, at + 4).ok_or(SHORT)?);
        if size == 0 {
            continue;
        }
        let size = if i == RAW_PART { len } else { size.min(len.saturating_sub(offset)) };
        let offset = offset.checked_add(start).ok_or(TOO_FAR)?;
        put(&mut label, at, &size.to_le_bytes()).ok_or(SHORT)?;
        put(&mut label, at + 4, &offset.to_le_bytes()).ok_or(SHORT)?;
    }
    seal_label(&mut label)?;
    bytes.copy_from_slice(&label);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Vec<u8> {
        let mut bytes = vec![0; 512];
        put(&mut bytes, 0, &LABEL_MAGIC.to_le_bytes()).unwrap();
        put(&mut bytes, LABEL_MAGIC2_AT, &LABEL_MAGIC.to_le_bytes()).unwrap();
        put(&mut bytes, LABEL_COUNT_AT, &8u16.to_le_bytes()).unwrap();
        for (i, (size, offset)) in [(1000u32, 0u32), (500, 1000), (9999, 0)].iter().enumerate() {
            let at = LABEL_PARTITIONS_AT + i * LABEL_PARTITION_LEN;
            put(&mut bytes, at, &size.to_le_bytes()).unwrap();
            put(&mut bytes, at + 4, &offset.to_le_bytes()).unwrap();
        }
        bytes
    }

    fn entry(bytes: &[u8], i: usize) -> (u32, u32) {
        let at = LABEL_PARTITIONS_AT + i * LABEL_PARTITION_LEN;
        (u32_at(bytes, at).unwrap(), u32_at(bytes, at + 4).unwrap())
    }

    #[test]
    fn freebsd_label_follows_its_partition() {
        let mut bytes = label();
        apply(1, &mut bytes, Sector::from_u32(63), SectorCount::from_u32(1200)).unwrap();
        assert_eq!(entry(&bytes, 0), (1000, 63));
        assert_eq!(entry(&bytes, 1), (200, 1063), "clamped to the partition");
        assert_eq!(entry(&bytes, 2), (1200, 63), "c is the partition");
        let sum = bytes[..LABEL_PARTITIONS_AT + 8 * 16]
            .chunks_exact(2)
            .fold(0, |s, p| s ^ u16::from_le_bytes([p[0], p[1]]));
        assert_eq!(sum, 0, "a label with its checksum XORs to zero");
    }

    #[test]
    fn openbsd_label_keeps_c() {
        let mut bytes = label();
        apply(2, &mut bytes, Sector::from_u32(63), SectorCount::from_u32(1200)).unwrap();
        assert_eq!(entry(&bytes, 2), (9999, 0));
        assert_eq!(entry(&bytes, 0), (1000, 63));
    }

    #[test]
    fn relative_labels_come_back_as_they_were() {
        let partition = |start, count| {
            let (start, count) = (Sector::from_u32(start), SectorCount::from_u32(count));
            SectorRange::with_count(start, count).unwrap()
        };
        let here = partition(63, 1500);
        for kind in [1, 2] {
            let mut absolute = label();
            apply(kind, &mut absolute, here.start(), here.count()).unwrap();
            let relative = relative_label(kind, &absolute, here).unwrap();
            assert_eq!(entry(&relative, 1), (500, 1000));
            assert_eq!(relative_label(kind, &absolute, partition(64, 1500)), None, "starts before");
            assert_eq!(relative_label(kind, &absolute, partition(63, 1400)), None, "too long");
            assert_eq!(relative_label(3, &absolute, here), None);
        }
        let mut openbsd = label();
        apply(2, &mut openbsd, here.start(), here.count()).unwrap();
        assert_eq!(relative_label(1, &openbsd, here), None, "c is the disk");
    }

    #[test]
    fn what_is_no_label_stays_as_it_is() {
        let mut bytes = vec![7; 512];
        assert!(apply(1, &mut bytes, Sector::from_u32(1), SectorCount::from_u32(1)).is_err());
        assert!(apply(3, &mut bytes, Sector::from_u32(1), SectorCount::from_u32(1)).is_err());
        assert!(apply(77, &mut bytes, Sector::from_u32(1), SectorCount::from_u32(1)).is_err());
        assert_eq!(bytes, vec![7; 512]);
        let mut short = label();
        short.truncate(160);
        assert!(apply(1, &mut short, Sector::from_u32(1), SectorCount::from_u32(1)).is_err());
    }
}
