//! Members of Linux software RAID (MD).
//!
//! What it owns: the superblocks of versions 0.90, 1.0, 1.1 and 1.2 with their checksums. What it
//! never does: assemble. A member is kept whole even where it carries a whole filesystem, as those
//! of RAID 1 do: the array compares its members, and one that was written alone is stale.
//!
//! Layouts: *RAID superblock formats* of the Linux RAID wiki, `md(4)`, `mdadm --examine`.

use super::identity::{label_text, uuid_text};
use super::{Allocation, Corrupt, Filesystem, Member};
use crate::disk::{DiskError, ReadDisk};
use crate::units::Sector;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, big_endian as be, little_endian as le,
};

/// Magic number of all versions.
const MAGIC: u32 = 0xA92B_4EFC;

/// Bytes of a superblock.
const SUPERBLOCK_BYTES: usize = 4096;

/// `mdp_super_t`, version 0.90: words in the byte order of the machine that wrote it.
const OLD_WORDS: usize = SUPERBLOCK_BYTES / 4;

/// Version 0.90 stands 64 KiB before the last multiple of 64 KiB.
const OLD_GRID: u64 = 128;

/// The words of version 0.90 that we need.
mod old {
    pub(super) const MAJOR: usize = 1;
    pub(super) const MINOR: usize = 2;
    pub(super) const UUID: [usize; 4] = [5, 13, 14, 15];
    pub(super) const LEVEL: usize = 7;
    pub(super) const RAID_DISKS: usize = 10;
    pub(super) const MD_MINOR: usize = 11;
    pub(super) const CHECKSUM: usize = 38;
}

/// `struct mdp_superblock_1`, up to its list of roles.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct RawSuperblock {
    magic: le::U32,
    major_version: le::U32,
    feature_map: le::U32,
    _at_0c: [u8; 4],
    set_uuid: [u8; 16],
    set_name: [u8; 32],
    ctime: le::U64,
    level: le::I32,
    layout: le::U32,
    size: le::U64,
    chunksize: le::U32,
    raid_disks: le::U32,
    _at_60: [u8; 32],
    data_offset: le::U64,
    data_size: le::U64,
    /// Sectors from the start of the member.
    super_offset: le::U64,
    _at_98: [u8; 64],
    sb_csum: le::U32,
    max_dev: le::U32,
    _at_e0: [u8; 32],
}

const _: () = assert!(size_of::<RawSuperblock>() == 256);

/// Byte offset of `sb_csum`.
const CHECKSUM_OFFSET: usize = 216;

/// What a superblock says.
struct Found {
    at: Sector,
    version: &'static str,
    level: i32,
    devices: u32,
    name: Option<String>,
    uuid: Option<String>,
    /// Its checksum and what it should be.
    sums: (u32, u32),
}

/// Recognises a member of an array.
///
/// # Errors
/// When the disk cannot be read.
pub(super) fn probe(disk: &dyn ReadDisk) -> Result<Option<Member>, DiskError> {
    Ok(find(disk)?.map(|found| found.member(disk)))
}

fn find(disk: &dyn ReadDisk) -> Result<Option<Found>, DiskError> {
    let sectors = disk.sectors().get();
    for (version, at) in
        [("1.2", Some(8)), ("1.1", Some(0)), ("1.0", sectors.checked_sub(16).map(|at| at & !7))]
    {
        if let Some(bytes) = superblock_at(disk, at)?
            && let Some(found) = new_version(&bytes, version, at.unwrap_or_default())
        {
            return Ok(Some(found));
        }
    }
    let at = (sectors - sectors % OLD_GRID).checked_sub(OLD_GRID);
    let bytes = superblock_at(disk, at)?;
    Ok(bytes.and_then(|bytes| old_version(&bytes, at.unwrap_or_default())))
}

/// The bytes at a sector; `None` when they are not all there.
fn superblock_at(
    disk: &dyn ReadDisk,
    sector: Option<u64>,
) -> Result<Option<[u8; SUPERBLOCK_BYTES]>, DiskError> {
    let offset = sector.and_then(Sector::new).map(Sector::byte_offset);
    let mut bytes = [0; SUPERBLOCK_BYTES];
    let fits = |offset: &u64| offset + 4096 <= disk.size_bytes();
    let Some(offset) = offset.filter(fits) else { return Ok(None) };
    disk.read_at(&mut bytes, offset)?;
    Ok(Some(bytes))
}

/// The sum of 32-bit words, its upper half added to the lower.
fn fold(sum: u64) -> u32 {
    let [low, high] = [sum & 0xFFFF_FFFF, sum >> 32];
    u32::try_from((low + high) & 0xFFFF_FFFF).unwrap_or_default()
}

fn new_version(bytes: &[u8; SUPERBLOCK_BYTES], version: &'static str, at: u64) -> Option<Found> {
    let (raw, _) = RawSuperblock::read_from_prefix(bytes).ok()?;
    let is_it =
        raw.magic.get() == MAGIC && raw.major_version.get() == 1 && raw.super_offset.get() == at;
    if !is_it {
        return None;
    }
    let roles = usize::try_from(raw.max_dev.get()).unwrap_or(usize::MAX);
    let len = roles.saturating_mul(2).saturating_add(size_of::<RawSuperblock>());
    // More roles than fit: nothing that the sum could be taken of.
    let checked = bytes.get(..len).unwrap_or_default();
    let mut sum = 0;
    for (index, word) in checked.chunks(4).enumerate() {
        let mut padded = [0; 4];
        padded.iter_mut().zip(word).for_each(|(to, from)| *to = *from);
        if index != CHECKSUM_OFFSET / 4 {
            sum += u64::from(u32::from_le_bytes(padded));
        }
    }
    Some(Found {
        at: Sector::new(at)?,
        version,
        level: raw.level.get(),
        devices: raw.raid_disks.get(),
        name: label_text(&raw.set_name),
        uuid: uuid_text(raw.set_uuid),
        sums: (raw.sb_csum.get(), fold(sum)),
    })
}

fn old_version(bytes: &[u8; SUPERBLOCK_BYTES], at: u64) -> Option<Found> {
    let little = <[le::U32; OLD_WORDS]>::ref_from_bytes(bytes).ok()?.map(le::U32::get);
    let big = <[be::U32; OLD_WORDS]>::ref_from_bytes(bytes).ok()?.map(be::U32::get);
    let words = [little, big].into_iter().find(|words| words.first() == Some(&MAGIC))?;
    let word = |index: usize| words.get(index).copied().unwrap_or_default();
    if (word(old::MAJOR), word(old::MINOR)) != (0, 90) {
        return None;
    }
    let checksum = word(old::CHECKSUM);
    let sum = words.iter().map(|word| u64::from(*word)).sum::<u64>() - u64::from(checksum);
    let mut uuid = [0; 16];
    for (to, from) in uuid.chunks_mut(4).zip(old::UUID) {
        to.copy_from_slice(&word(from).to_be_bytes());
    }
    Some(Found {
        at: Sector::new(at)?,
        version: "0.90",
        level: i32::from_ne_bytes(word(old::LEVEL).to_ne_bytes()),
        devices: word(old::RAID_DISKS),
        name: Some(format!("md{}", word(old::MD_MINOR))),
        uuid: uuid_text(uuid),
        sums: (checksum, fold(sum)),
    })
}

impl Found {
    fn level(&self) -> String {
        match self.level {
            -1 => "linear".into(),
            -4 => "multipath".into(),
            -5 => "faulty".into(),
            level if level < 0 => format!("level {level}"),
            level => format!("RAID {level}"),
        }
    }

    fn member(self, disk: &dyn ReadDisk) -> Member {
        let (found, expected) = self.sums;
        let name = self.name.as_deref().unwrap_or("without a name");
        let allocation = if found == expected {
            let reason = format!(
                "it is one of {} devices of the array {name} ({}, metadata {}), which must all be \
                 the same age; save the array itself (/dev/md...) for a small image, or remove the \
                 mark of an array that is gone (mdadm --zero-superblock)",
                self.devices,
                self.level(),
                self.version
            );
            Allocation::Unsupported { reason }
        } else {
            Allocation::Corrupt(Corrupt {
                what: format!("checksum of the MD superblock, version {}", self.version),
                at: self.at,
                expected: format!("{expected:08x}"),
                found: format!("{found:08x}"),
            })
        };
        let filesystem = Filesystem {
            name: "MD RAID member",
            features: vec![
                self.level(),
                format!("{} devices", self.devices),
                format!("metadata {}", self.version),
            ],
            label: self.name,
            uuid: self.uuid,
            size: disk.sectors(),
            allocation,
            volumes: Vec::new(),
        };
        Member { filesystem, mark_offset: self.at.byte_offset() }
    }
}
