//! The label of a physical volume and the header behind it.
//!
//! What it owns: finding the label in the first four sectors, its checksum, and the lists of areas:
//! data, metadata, boot loader. What it never does: read the metadata.
//!
//! Layout: *Logical Volume Manager (LVM) format* of the libvslvm project, and `pvck --dump headers`.

use super::PvId;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::Refusal;
use crate::units::{SECTOR_LEN, SECTOR_SIZE};
use zerocopy::{FromBytes, Immutable, KnownLayout, little_endian as le};

/// The label stands in one of so many sectors.
const LABEL_SECTORS: u64 = 4;

/// So it ends before this byte.
pub(super) const LABEL_BYTES_MAX: u64 = LABEL_SECTORS * SECTOR_SIZE;

/// `LABELONE`, and behind the checksum the type.
const MAGIC: &[u8] = b"LABELONE";
const KIND: &[u8; 8] = b"LVM2 001";

/// The checksum covers the sector from this byte on.
const CHECKED_FROM: usize = 20;

/// lvm2 knows up to this version of the extension of the header.
const EXTENSION_VERSION_MAX: u32 = 2;

/// Bit of the extension: the volume belongs to a group, even if it has no metadata that says which.
const EXTENSION_USED: u32 = 1;

/// `struct label_header`.
#[derive(Clone, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawLabel {
    id: [u8; 8],
    sector: le::U64,
    crc: le::U32,
    /// From the start of the label to the header of the volume.
    offset: le::U32,
    kind: [u8; 8],
}

const _: () = assert!(size_of::<RawLabel>() == 32);

/// `struct pv_header`, up to its lists.
#[derive(Clone, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawHeader {
    uuid: [u8; 32],
    device_size: le::U64,
}

const _: () = assert!(size_of::<RawHeader>() == 40);

/// `struct disk_locn`: bytes from the start of the volume.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, KnownLayout, PartialEq)]
#[repr(C)]
struct RawArea {
    offset: le::U64,
    size: le::U64,
}

const _: () = assert!(size_of::<RawArea>() == 16);

/// A run of bytes of the volume.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Area {
    pub(super) offset: u64,
    /// Of a data area 0: up to the end.
    pub(super) size: u64,
}

impl Area {
    /// Just past its last byte; as far as there are numbers when it claims more.
    pub(super) fn end(self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

/// A physical volume, as its label describes it.
#[derive(Clone, Debug)]
pub(super) struct Label {
    /// Its identity.
    pub(super) id: PvId,
    /// Bytes of the device it was made on.
    pub(super) device_size: u64,
    /// Where its extents are.
    pub(super) data: Vec<Area>,
    /// Where its metadata is.
    pub(super) metadata: Vec<Area>,
    /// Room for a boot loader.
    pub(super) boot: Vec<Area>,
    /// It belongs to a group for certain.
    pub(super) used: bool,
}

/// The checksum of labels and metadata: CRC-32 (IEEE) that starts from a number of its own and is
/// not inverted at the end.
pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0xF597_A6CF);
    parts.iter().for_each(|part| hasher.update(part));
    !hasher.finalize()
}

/// The sectors, of the first four, that bear the mark of a label.
fn marked(disk: &dyn ReadDisk) -> Result<Vec<(u64, [u8; SECTOR_LEN])>, DiskError> {
    let mut found = Vec::new();
    for sector in 0..LABEL_SECTORS {
        let offset = sector * SECTOR_SIZE;
        if offset + SECTOR_SIZE > disk.size_bytes() {
            break;
        }
        let mut bytes = [0; SECTOR_LEN];
        disk.read_at(&mut bytes, offset)?;
        if bytes.starts_with(MAGIC) && bytes.get(24..32) == Some(KIND) {
            found.push((sector, bytes));
        }
    }
    Ok(found)
}

/// Whether there is a label, sound or not.
///
/// # Errors
/// When the disk cannot be read.
pub(super) fn is_marked(disk: &dyn ReadDisk) -> Result<bool, DiskError> {
    Ok(!marked(disk)?.is_empty())
}

/// Reads and verifies the label; `None` when there is none.
pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Label>, Refusal> {
    let found = marked(disk)?;
    let [(sector, bytes)] = found.as_slice() else {
        if found.is_empty() {
            return Ok(None);
        }
        let found = format!("{} of them", found.len());
        return Err(Refusal::corrupt("label", 0, "one in the first four sectors", found));
    };
    parse(*sector, bytes).map(Some)
}

fn parse(sector: u64, bytes: &[u8; SECTOR_LEN]) -> Result<Label, Refusal> {
    let corrupt = |what: &str, expected: String, found: String| {
        Refusal::corrupt(what, sector * SECTOR_SIZE, expected, found)
    };
    let short = || corrupt("label", "lists of areas that end".into(), "no end".into());
    let (raw, _) = RawLabel::read_from_prefix(bytes).map_err(|_| short())?;
    let sum = checksum(&[bytes.get(CHECKED_FROM..).unwrap_or_default()]);
    if sum != raw.crc.get() {
        let found = format!("{sum:08x}");
        return Err(corrupt("checksum of the label", format!("{:08x}", raw.crc.get()), found));
    }
    if raw.sector.get() != sector {
        let found = raw.sector.get().to_string();
        return Err(corrupt("sector in the label", sector.to_string(), found));
    }
    let offset = usize::try_from(raw.offset.get()).unwrap_or(usize::MAX);
    let rest = bytes.get(offset.max(size_of::<RawLabel>())..).ok_or_else(short)?;
    let (header, mut rest) = RawHeader::read_from_prefix(rest).map_err(|_| short())?;
    let data = areas(&mut rest).ok_or_else(short)?;
    let metadata = areas(&mut rest).ok_or_else(short)?;
    let (boot, used) = extension(rest).map_err(|reason| match reason {
        Some(reason) => Refusal::unsupported(reason),
        None => short(),
    })?;
    Ok(Label {
        id: PvId(header.uuid),
        device_size: header.device_size.get(),
        data,
        metadata,
        boot,
        used,
    })
}

/// Takes a list that ends with an area of nothing at 0; `None` when it does not end.
fn areas(rest: &mut &[u8]) -> Option<Vec<Area>> {
    let mut list = Vec::new();
    loop {
        let (raw, behind) = RawArea::read_from_prefix(rest).ok()?;
        *rest = behind;
        if raw.offset.get() == 0 {
            return Some(list);
        }
        list.push(Area { offset: raw.offset.get(), size: raw.size.get() });
    }
}

/// What lvm2 2.02.99 and later put behind the lists: version, flags, areas for boot loaders.
fn extension(rest: &[u8]) -> Result<(Vec<Area>, bool), Option<String>> {
    let Ok((words, mut rest)) = <[le::U32; 2]>::read_from_prefix(rest) else {
        return Ok((Vec::new(), false));
    };
    let [version, flags] = words.map(le::U32::get);
    if version == 0 {
        return Ok((Vec::new(), false));
    }
    if version > EXTENSION_VERSION_MAX || flags & !EXTENSION_USED != 0 {
        return Err(Some(format!(
            "version {version} of its header, flags {flags:#x}, is not known"
        )));
    }
    let boot = areas(&mut rest).ok_or(None)?;
    Ok((boot, flags & EXTENSION_USED != 0))
}
