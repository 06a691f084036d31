//! Metadata areas: a header, and behind it a ring of texts of which one counts.
//!
//! What it owns: the header with its checksum, and the text with its own, which may go around the
//! end of the ring. What it never does: understand the text, or use an older one that still stands
//! in the ring: lvm2 does not either.
//!
//! Layout: *Logical Volume Manager (LVM) format* of the libvslvm project, and `pvck --dump headers`.

use super::label::{Area, checksum};
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use crate::units::SECTOR_LEN;
use zerocopy::{FromBytes, Immutable, KnownLayout, little_endian as le};

/// Bytes of the header; the ring begins behind it.
const HEADER_BYTES: u64 = 512;

/// The checksum of the header covers what follows it.
const CHECKED_FROM: usize = 4;

const MAGIC: [u8; 16] = *b" LVM2 x[5A%r0N*>";

const VERSION: u32 = 1;

/// Longest text that is read. A group of a thousand volumes takes half a mebibyte.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// `struct mda_header`, up to its list, and the first two entries of that: the text that counts,
/// and the one that is about to.
#[derive(Clone, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawHeader {
    checksum: le::U32,
    magic: [u8; 16],
    version: le::U32,
    start: le::U64,
    size: le::U64,
    committed: RawLocation,
    precommitted: RawLocation,
}

const _: () = assert!(size_of::<RawHeader>() == 88);

/// `struct raw_locn`: bytes from the start of the area.
#[derive(Clone, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawLocation {
    offset: le::U64,
    size: le::U64,
    checksum: le::U32,
    /// Bit 0: this area is not kept up to date.
    flags: le::U32,
}

const _: () = assert!(size_of::<RawLocation>() == 24);

/// Reads the text that counts; `None` of an area that holds none.
pub(super) fn read(disk: &dyn ReadDisk, area: Area) -> Result<Option<Vec<u8>>, Refusal> {
    let corrupt = |what: &str, expected: String, found: String| {
        Refusal::corrupt(what, area.offset, expected, found)
    };
    let end = area.end();
    if area.size < HEADER_BYTES || end > disk.size_bytes() {
        let expected = format!("512 bytes or more, up to byte {}", disk.size_bytes());
        return Err(corrupt("metadata area", expected, format!("bytes {} to {end}", area.offset)));
    }
    let mut bytes = [0; SECTOR_LEN];
    disk.read_at(&mut bytes, area.offset)?;
    let sum = checksum(&[bytes.get(CHECKED_FROM..).unwrap_or_default()]);
    let Ok((raw, _)) = RawHeader::read_from_prefix(&bytes) else { return Ok(None) };
    if raw.magic != MAGIC || raw.version.get() != VERSION {
        let found = format!("another, version {}", raw.version);
        return Err(corrupt("magic of the metadata area", "LVM2, version 1".into(), found));
    }
    if raw.checksum.get() != sum {
        let expected = format!("{:08x}", raw.checksum.get());
        return Err(corrupt("checksum of the metadata area", expected, format!("{sum:08x}")));
    }
    let (start, size) = (raw.start.get(), raw.size.get());
    if (start, size) != (area.offset, area.size) {
        let expected = format!("{} and {} bytes, as the label says", area.offset, area.size);
        return Err(corrupt("place of the metadata area", expected, format!("{start}, {size}")));
    }
    if raw.precommitted.offset.get() != 0 {
        return Err(Refusal::unsupported("a change of its volume group was not completed"));
    }
    if raw.committed.flags.get() != 0 {
        return Err(Refusal::unsupported(
            "its metadata area is set to be ignored (pvchange --metadataignore n makes it count)",
        ));
    }
    if raw.committed.offset.get() == 0 {
        return Ok(None);
    }
    text(disk, area, &raw.committed).map(Some)
}

fn text(disk: &dyn ReadDisk, area: Area, at: &RawLocation) -> Result<Vec<u8>, Refusal> {
    let (offset, size) = (at.offset.get(), at.size.get());
    let ring = area.size - HEADER_BYTES;
    if offset < HEADER_BYTES || offset >= area.size || size == 0 || size > ring {
        let expected = format!("inside the ring of {ring} bytes");
        let found = format!("{size} bytes at {offset}");
        return Err(Refusal::corrupt("place of the metadata", area.offset, expected, found));
    }
    if size > TEXT_BYTES_MAX {
        return Err(Refusal::unsupported(format!("{size} bytes of metadata are more than usual")));
    }
    let len = usize::try_from(size).unwrap_or(usize::MAX);
    let first = usize::try_from((area.size - offset).min(size)).unwrap_or(len);
    let mut text = vec![0; len];
    let (head, tail) = text.split_at_mut(first);
    disk.read_at(head, area.offset + offset)?;
    disk.read_at(tail, area.offset + HEADER_BYTES)?;
    let sum = checksum(&[&text]);
    if sum != at.checksum.get() {
        let expected = format!("{:08x}", at.checksum.get());
        let found = format!("{sum:08x}");
        return Err(Refusal::corrupt("checksum of the metadata", area.offset, expected, found));
    }
    // The text ends in zeros.
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    text.truncate(end);
    Ok(text)
}
