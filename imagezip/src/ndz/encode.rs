//! Chunk headers as bytes: the inverse of [`ChunkHeader::parse`].
//!
//! What it never does: write a number that does not fit its field. The packer checks the limits of
//! the format before it builds a header, so a failure here is an error in this program; it is
//! still reported, not ignored.

use super::error::FormatError;
use super::header::{ChunkHeader, FLAG_LAST, FLAG_SLICE, KIND_DATA, KIND_ZERO};
use super::header::{NATIVE_HEADER_VERSION, RegionKind};
use super::{Version, raw};
use crate::units::SectorRange;
use zerocopy::{Immutable, IntoBytes};

/// Writes `header` into the first bytes of `chunk`, which must be zero there.
pub(super) fn encode(header: &ChunkHeader, chunk: &mut [u8]) -> Result<(), FormatError> {
    let mut writer = Writer { out: chunk.get_mut(..header.header_area), at: 0, header };
    match header.version {
        Version::V4 | Version::V6 => {
            let what = format!("{} images are read, not written", header.version);
            return Err(FormatError::unsupported(header.place(), what));
        }
        Version::Native => writer.native()?,
        _ => writer.legacy()?,
    }
    writer.regions()?;
    writer.relocations()
}

struct Writer<'a> {
    out: Option<&'a mut [u8]>,
    at: usize,
    header: &'a ChunkHeader,
}

impl Writer<'_> {
    fn put(&mut self, value: &(impl IntoBytes + Immutable)) -> Result<(), FormatError> {
        let bytes = value.as_bytes();
        let end = self.at + bytes.len();
        match self.out.as_deref_mut().and_then(|out| out.get_mut(self.at..end)) {
            Some(room) => room.copy_from_slice(bytes),
            None => return Err(self.too_large("header area", end)),
        }
        self.at = end;
        Ok(())
    }

    fn too_large(&self, what: &'static str, value: impl ToString) -> FormatError {
        let expected = format!("a value that fits the {} format", self.header.version);
        FormatError::corrupt(self.header.place(), what, expected, value)
    }

    fn number<T: TryFrom<U>, U: Copy + ToString>(
        &self,
        what: &'static str,
        value: U,
    ) -> Result<T, FormatError> {
        T::try_from(value).map_err(|_| self.too_large(what, value))
    }

    fn legacy(&mut self) -> Result<(), FormatError> {
        let h = self.header;
        let common = raw::Common {
            magic: h.version.magic().into(),
            size: self.number::<u32, _>("payload length", h.payload_len)?.into(),
            blockindex: self.number::<i32, _>("chunk number", h.index)?.into(),
            blocktotal: 0.into(),
            regionsize: self.number::<i32, _>("header area length", h.header_area)?.into(),
            regioncount: self.number::<i32, _>("number of regions", h.regions.len())?.into(),
        };
        self.put(&common)?;
        if h.version == Version::V1 {
            return Ok(());
        }
        let bounds = h.bounds.unwrap_or_default();
        let wide = h.version == Version::V5;
        let (first, last) = match wide {
            true => (0, 0),
            false => (bounds.start().get(), bounds.end().get()),
        };
        self.put(&raw::Bounds32 {
            firstsect: self.number::<u32, _>("first sector", first)?.into(),
            lastsect: self.number::<u32, _>("last sector", last)?.into(),
            reloccount: self.number::<i32, _>("relocations", h.relocations.len())?.into(),
        })?;
        if wide {
            self.put(&raw::V5Tail {
                pad: [0; 4],
                firstsect: bounds.start().get().into(),
                lastsect: bounds.end().get().into(),
                imageid: h.image_id.unwrap_or_default(),
            })?;
        }
        Ok(())
    }

    fn native(&mut self) -> Result<(), FormatError> {
        let h = self.header;
        let native = h.native.ok_or_else(|| self.too_large("native fields", "none"))?;
        let bounds = h.bounds.unwrap_or_default();
        let mut flags = 0;
        flags |= if native.last { FLAG_LAST } else { 0 };
        flags |= if native.slice { FLAG_SLICE } else { 0 };
        self.put(&raw::Native {
            magic: *b"NDZ2",
            header_version: NATIVE_HEADER_VERSION.into(),
            header_len: self.number::<u16, _>("header length", h.version.header_len())?.into(),
            header_area: self.number::<u32, _>("header area length", h.header_area)?.into(),
            payload_len: self.number::<u32, _>("payload length", h.payload_len)?.into(),
            chunk_index: h.index.into(),
            flags: flags.into(),
            codec: h.codec.number().into(),
            logical_sector_bytes: native.logical_sector_bytes.into(),
            image_id: h.image_id.unwrap_or_default(),
            source_bytes: native.source_bytes.into(),
            allocated_sectors: native.allocated.get().into(),
            first_sector: bounds.start().get().into(),
            last_sector: bounds.end().get().into(),
            region_count: self.number::<u32, _>("number of regions", h.regions.len())?.into(),
            relocation_count: self.number::<u32, _>("relocations", h.relocations.len())?.into(),
            header_check: [0; 8],
            digest: [0; 32],
            signature: [0; 64],
            key_id: [0; 16],
            cipher: 0.into(),
            signature_kind: 0.into(),
            nonce: [0; 24],
            reserved: [0; 16],
        })
    }

    fn regions(&mut self) -> Result<(), FormatError> {
        let h = self.header;
        for region in &h.regions {
            let (start, count) = parts(region.range);
            match (h.version, region.kind) {
                (Version::Native, kind) => self.put(&raw::NativeRegion {
                    start: start.into(),
                    count: self.number::<u32, _>("region length", count)?.into(),
                    kind: match kind {
                        RegionKind::Data => KIND_DATA.into(),
                        RegionKind::Zero => KIND_ZERO.into(),
                    },
                    reserved: 0.into(),
                })?,
                (_, RegionKind::Zero) => return Err(self.too_large("region", "a zero region")),
                (Version::V5, _) => {
                    self.put(&raw::Region64 { start: start.into(), size: count.into() })?;
                }
                _ => self.put(&raw::Region32 {
                    start: self.number::<u32, _>("region start", start)?.into(),
                    size: self.number::<u32, _>("region length", count)?.into(),
                })?,
            }
        }
        Ok(())
    }

    fn relocations(&mut self) -> Result<(), FormatError> {
        let h = self.header;
        for r in &h.relocations {
            match h.version {
                Version::V5 | Version::Native => self.put(&raw::Relocation64 {
                    kind: r.kind.into(),
                    sectoff: r.offset.into(),
                    sector: r.sector.get().into(),
                    size: r.size.into(),
                })?,
                Version::V1 => return Err(self.too_large("relocations", h.relocations.len())),
                _ => self.put(&raw::Relocation32 {
                    kind: r.kind.into(),
                    sector: self.number::<u32, _>("relocation", r.sector.get())?.into(),
                    sectoff: r.offset.into(),
                    size: self.number::<u32, _>("relocation", r.size)?.into(),
                })?,
            }
        }
        Ok(())
    }
}

fn parts(range: SectorRange) -> (u64, u64) {
    (range.start().get(), range.count().get())
}
