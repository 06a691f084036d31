//! Chunk headers: only valid values, made by [`ChunkHeader::parse`].
//!
//! What it owns: every rule about a header that can be judged from the header alone. What it never
//! does: allocate more than the header area holds, or trust a count before it is compared with the
//! room.

use super::chunk::native_header_check;
use super::error::{FormatError, Place};
use super::raw;
use super::relocation::{Relocation, RelocationKind};
use super::{
    CHUNK_LEN, Codec, LEGACY_HEADER_AREA, NATIVE_DATA_SECTORS_MAX, NATIVE_HEADER_AREA_MAX,
    NATIVE_HEADER_AREA_STEP, Version,
};
use crate::units::{Sector, SectorCount, SectorRange};
use zerocopy::FromBytes;

/// What a region holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RegionKind {
    /// Bytes that stand in the payload.
    Data,
    /// Zeros, which the loader must produce; nothing stands in the payload. Native only.
    Zero,
}

/// A run of allocated sectors, as a chunk records it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Region {
    /// Which sectors. Absolute in a disk image, from the partition's start in a slice image.
    pub range: SectorRange,
    /// What they hold.
    pub kind: RegionKind,
}

/// How a chunk proves that its bytes are those its writer made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Integrity {
    /// Not at all (most images of deployed tools).
    None,
    /// SHA-1 over header area and payload with the checksum field zeroed (V4, V6).
    Sha1,
    /// A digest encrypted with an RSA key we do not have (V4, V6).
    Signed,
    /// BLAKE3 over header area and payload with digest and signature zeroed (native).
    Blake3,
}

/// What only native headers say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NativeFields {
    /// True in the last chunk of the image only.
    pub last: bool,
    /// True when the image holds one partition and its sectors are counted from its start.
    pub slice: bool,
    /// Exact length of the source in bytes: disk, partition or file.
    pub source_bytes: u64,
    /// Bytes of the source's logical sector: 512 or 4096.
    pub logical_sector_bytes: u32,
    /// Sectors of all regions, data and zero, of all chunks of the image.
    pub allocated: SectorCount,
}

/// A valid chunk header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChunkHeader {
    /// Format.
    pub version: Version,
    /// Number of the chunk, from 0.
    pub index: u32,
    /// Bytes before the payload.
    pub header_area: usize,
    /// Bytes of the payload; it lies inside the chunk.
    pub payload_len: usize,
    /// How the payload is compressed.
    pub codec: Codec,
    /// The span of the disk the chunk answers for; `None` in V1.
    pub bounds: Option<SectorRange>,
    /// The image it belongs to; `None` when the writer gave none.
    pub image_id: Option<[u8; 16]>,
    /// Ascending, disjoint, not empty, inside the bounds.
    pub regions: Vec<Region>,
    /// In the order they stand.
    pub relocations: Vec<Relocation>,
    /// How the bytes are proven.
    pub integrity: Integrity,
    /// Native headers' own fields.
    pub native: Option<NativeFields>,
}

pub(super) const FLAG_LAST: u32 = 1;
pub(super) const FLAG_SLICE: u32 = 2;
pub(super) const NATIVE_HEADER_VERSION: u16 = 1;
pub(super) const KIND_DATA: u16 = 1;
pub(super) const KIND_ZERO: u16 = 2;

impl ChunkHeader {
    /// Parses the header of the chunk that stands at position `at` of an image.
    ///
    /// `chunk` must hold the header area; [`NATIVE_HEADER_AREA_MAX`] bytes are always enough, and
    /// the whole chunk is fine.
    ///
    /// # Errors
    /// When the bytes are no sound header, or need something this program does not do.
    pub fn parse(chunk: &[u8], at: u64) -> Result<Self, FormatError> {
        let parser = Parser { bytes: chunk, place: Place::chunk(at) };
        let magic = parser.read::<zerocopy::little_endian::U32>(0)?.get();
        match Version::from_magic(magic) {
            Some(Version::Native) => parser.native(),
            Some(version) => parser.legacy(version),
            None => Err(parser.corrupt(
                "magic number",
                "an ndz image (0x69696969 to 0x6969696e, or NDZ2)",
                format!("{magic:#010x}"),
            )),
        }
    }

    /// Sectors of the data regions: what the payload inflates to.
    pub fn data_sectors(&self) -> SectorCount {
        self.sectors_of(RegionKind::Data)
    }

    /// Sectors of the zero regions.
    pub fn zero_sectors(&self) -> SectorCount {
        self.sectors_of(RegionKind::Zero)
    }

    fn sectors_of(&self, kind: RegionKind) -> SectorCount {
        let regions = self.regions.iter().filter(|r| r.kind == kind);
        let sum = regions.map(|r| r.range.count().get()).sum();
        SectorCount::new(sum).unwrap_or_default() // disjoint: at most SECTORS_MAX
    }

    /// Where in an error message this chunk is: number and sectors.
    pub fn place(&self) -> Place {
        let hull = match (self.regions.first(), self.regions.last()) {
            (Some(first), Some(last)) => SectorRange::new(first.range.start(), last.range.end()),
            _ => self.bounds,
        };
        Place { chunk: Some(u64::from(self.index)), sectors: hull }
    }

    /// The exact length of the image's source as far as this chunk tells: the end of its bounds,
    /// or of its last region in V1, less what a short last sector lacks.
    pub fn end_bytes(&self) -> u64 {
        let end = self.bounds.map(SectorRange::end).or(self.regions.last().map(|r| r.range.end()));
        let end = end.unwrap_or_default();
        let short = self.relocations.iter().find(|r| {
            r.kind == RelocationKind::SHORT_SECTOR
                && r.sector.checked_add(SectorCount::from_u32(1)) == Some(end)
        });
        match (self.native, short) {
            (Some(native), _) if native.last => native.source_bytes,
            (None, Some(short)) => short.sector.byte_offset() + short.size,
            _ => end.byte_offset(),
        }
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    place: Place,
}

impl Parser<'_> {
    fn read<T: FromBytes>(&self, at: usize) -> Result<T, FormatError> {
        let part = self.bytes.get(at..).and_then(|rest| T::read_from_prefix(rest).ok());
        part.map(|(value, _)| value).ok_or_else(|| {
            self.corrupt("header", format!("{} more bytes at {at}", size_of::<T>()), "the end")
        })
    }

    fn corrupt(
        &self,
        what: &'static str,
        expected: impl ToString,
        found: impl ToString,
    ) -> FormatError {
        FormatError::corrupt(self.place, what, expected, found)
    }

    /// `value` when it lies in `range`.
    fn within<T: Copy + PartialOrd + std::fmt::Display>(
        &self,
        what: &'static str,
        value: T,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<T, FormatError> {
        if range.contains(&value) {
            Ok(value)
        } else {
            Err(self.corrupt(what, format!("{} to {}", range.start(), range.end()), value))
        }
    }

    fn sector(&self, what: &'static str, value: u64) -> Result<Sector, FormatError> {
        let max = crate::units::SECTORS_MAX;
        Sector::new(value).ok_or_else(|| self.corrupt(what, format!("at most {max}"), value))
    }

    fn bounds(&self, first: u64, last: u64) -> Result<SectorRange, FormatError> {
        let first_sector = self.sector("first sector of the bounds", first)?;
        let last_sector = self.sector("last sector of the bounds", last)?;
        SectorRange::new(first_sector, last_sector).ok_or_else(|| {
            self.corrupt("last sector of the bounds", format!("at least {first}"), last)
        })
    }

    fn index(&self, value: i32) -> Result<u32, FormatError> {
        u32::try_from(value).map_err(|_| self.corrupt("chunk number", "0 or more", value))
    }

    /// Checks that the tables fit between the fixed header and the payload, and where they stand.
    fn tables(
        &self,
        version: Version,
        header_area: usize,
        regions: usize,
        relocations: usize,
    ) -> Result<Tables, FormatError> {
        let room = header_area - version.header_len();
        let wanted = regions
            .checked_mul(version.region_len())
            .zip(relocations.checked_mul(version.relocation_len()))
            .and_then(|(a, b)| a.checked_add(b));
        if wanted.is_none_or(|wanted| wanted > room) {
            let expected = format!("tables of at most {room} bytes");
            let found = format!("{regions} regions and {relocations} relocations");
            return Err(self.corrupt("region table", expected, found));
        }
        let regions_at = version.header_len();
        Ok(Tables {
            regions,
            relocations,
            regions_at,
            relocations_at: regions_at + regions * version.region_len(),
        })
    }

    fn legacy(&self, version: Version) -> Result<ChunkHeader, FormatError> {
        let common = self.read::<raw::Common>(0)?;
        let header_area = usize::try_from(common.regionsize.get()).unwrap_or(0);
        let header_area = self.within(
            "header area length",
            header_area,
            version.header_len()..=LEGACY_HEADER_AREA,
        )?;
        let payload_len = usize::try_from(common.size.get()).unwrap_or(usize::MAX);
        let payload_len =
            self.within("payload length", payload_len, 0..=CHUNK_LEN - header_area)?;

        let bounds32 = match version {
            Version::V1 => None,
            _ => Some(self.read::<raw::Bounds32>(24)?),
        };
        let count = |what, value: i32| {
            usize::try_from(value).map_err(|_| self.corrupt(what, "0 or more", value))
        };
        let regions = count("number of regions", common.regioncount.get())?;
        let relocations = match &bounds32 {
            Some(b) => count("number of relocations", b.reloccount.get())?,
            None => 0,
        };
        let tables = self.tables(version, header_area, regions, relocations)?;

        let mut image_id = None;
        let mut integrity = Integrity::None;
        let bounds = match version {
            Version::V5 | Version::V6 => {
                let tail = self.read::<raw::V5Tail>(36)?;
                image_id = Some(tail.imageid);
                Some(self.bounds(tail.firstsect.get(), tail.lastsect.get())?)
            }
            _ => match &bounds32 {
                Some(b) => Some(self.bounds(b.firstsect.get().into(), b.lastsect.get().into())?),
                None => None,
            },
        };
        if version == Version::V4 {
            let tail = self.read::<raw::V4Tail>(36)?;
            image_id = Some(tail.imageid);
            integrity = self.integrity(tail.enc_cipher.get(), tail.csum_type.get())?;
        } else if version == Version::V6 {
            let tail = self.read::<raw::V6Tail>(72)?;
            integrity = self.integrity(tail.enc_cipher.get(), tail.csum_type.get())?;
        }

        let header = ChunkHeader {
            version,
            index: self.index(common.blockindex.get())?,
            header_area,
            payload_len,
            codec: Codec::Zlib,
            bounds,
            image_id: image_id.filter(|id| *id != [0; 16]),
            regions: self.regions(version, &tables)?,
            relocations: self.relocations(version, &tables)?,
            integrity,
            native: None,
        };
        self.check_regions(&header)?;
        Ok(header)
    }

    fn integrity(&self, cipher: u16, csum: u16) -> Result<Integrity, FormatError> {
        if cipher != 0 {
            let what = format!("payload is encrypted (cipher {cipher}); decrypt the image first");
            return Err(FormatError::unsupported(self.place, what));
        }
        match (csum & 0x8000 != 0, csum & 0xff) {
            (true, _) => Ok(Integrity::Signed),
            (false, 0) => Ok(Integrity::None),
            (false, 1) => Ok(Integrity::Sha1),
            (false, other) => {
                let what = format!("digest of unknown type {other}");
                Err(FormatError::unsupported(self.place, what))
            }
        }
    }

    /// Checks that a native header area is what its writer made.
    fn check_header_area(&self, len: usize, stored: [u8; 8]) -> Result<(), FormatError> {
        let Some(area) = self.bytes.get(..len) else {
            return Err(self.corrupt("header area", format!("{len} bytes"), self.bytes.len()));
        };
        let computed = native_header_check(area);
        if computed == stored {
            return Ok(());
        }
        let what = "check of the header area (the header was damaged after it was written)";
        let hex = |check| format!("{:016x}", u64::from_be_bytes(check));
        Err(self.corrupt(what, hex(stored), hex(computed)))
    }

    fn native(&self) -> Result<ChunkHeader, FormatError> {
        let h = self.read::<raw::Native>(0)?;
        let version = h.header_version.get();
        if version != NATIVE_HEADER_VERSION {
            let what = format!("native header version {version}; this program reads version 1");
            return Err(FormatError::unsupported(self.place, what));
        }
        let header_len = usize::from(h.header_len.get());
        self.within("header length", header_len, 256..=256)?;
        let header_area = usize::try_from(h.header_area.get()).unwrap_or(usize::MAX);
        self.within("header area length", header_area, header_len..=NATIVE_HEADER_AREA_MAX)?;
        if header_area % NATIVE_HEADER_AREA_STEP != 0 {
            return Err(self.corrupt("header area length", "a multiple of 512", header_area));
        }
        self.check_header_area(header_area, h.header_check)?;
        let payload_len = usize::try_from(h.payload_len.get()).unwrap_or(usize::MAX);
        self.within("payload length", payload_len, 0..=CHUNK_LEN - header_area)?;
        if h.cipher.get() != 0 {
            let what = format!("payload is encrypted (cipher {})", h.cipher.get());
            return Err(FormatError::unsupported(self.place, what));
        }
        let codec = Codec::from_number(h.codec.get()).ok_or_else(|| {
            let what = format!("codec {}; this program knows 0, 1 and 2", h.codec.get());
            FormatError::unsupported(self.place, what)
        })?;
        let flags = h.flags.get();
        if flags & !(FLAG_LAST | FLAG_SLICE) != 0 {
            let what = format!("unknown flags {flags:#x}");
            return Err(FormatError::unsupported(self.place, what));
        }
        let logical_sector_bytes = h.logical_sector_bytes.get();
        self.within("logical sector size", logical_sector_bytes, 512..=65536)?;
        if !logical_sector_bytes.is_power_of_two() {
            let found = logical_sector_bytes;
            return Err(self.corrupt("logical sector size", "a power of two", found));
        }
        let count =
            |n: zerocopy::little_endian::U32| usize::try_from(n.get()).unwrap_or(usize::MAX);
        let tables = self.tables(
            Version::Native,
            header_area,
            count(h.region_count),
            count(h.relocation_count),
        )?;
        let bounds = self.bounds(h.first_sector.get(), h.last_sector.get())?;
        let allocated = SectorCount::new(h.allocated_sectors.get()).ok_or_else(|| {
            self.corrupt("allocated sectors", "a possible length", h.allocated_sectors.get())
        })?;
        let source_bytes = h.source_bytes.get();
        let source_sectors = SectorCount::holding_bytes(source_bytes)
            .ok_or_else(|| self.corrupt("source length", "a possible length", source_bytes))?;
        if bounds.end().get() > source_sectors.get() {
            let expected = format!("at most {source_sectors}, the end of the source");
            return Err(self.corrupt("last sector of the bounds", expected, bounds.end()));
        }
        let header = ChunkHeader {
            version: Version::Native,
            index: h.chunk_index.get(),
            header_area,
            payload_len,
            codec,
            bounds: Some(bounds),
            image_id: Some(h.image_id),
            regions: self.regions(Version::Native, &tables)?,
            relocations: self.relocations(Version::Native, &tables)?,
            integrity: Integrity::Blake3,
            native: Some(NativeFields {
                last: flags & FLAG_LAST != 0,
                slice: flags & FLAG_SLICE != 0,
                source_bytes,
                logical_sector_bytes,
                allocated,
            }),
        };
        self.check_regions(&header)?;
        let data = header.data_sectors().get();
        self.within("data sectors of one chunk", data, 0..=NATIVE_DATA_SECTORS_MAX)?;
        Ok(header)
    }

    fn regions(&self, version: Version, tables: &Tables) -> Result<Vec<Region>, FormatError> {
        let len = version.region_len();
        (0..tables.regions).map(|i| self.region(version, tables.regions_at + i * len)).collect()
    }

    fn region(&self, version: Version, at: usize) -> Result<Region, FormatError> {
        let (start, size, kind) = match version {
            Version::V5 | Version::V6 => {
                let r = self.read::<raw::Region64>(at)?;
                (r.start.get(), r.size.get(), RegionKind::Data)
            }
            Version::Native => {
                let r = self.read::<raw::NativeRegion>(at)?;
                let kind = match r.kind.get() {
                    KIND_DATA => RegionKind::Data,
                    KIND_ZERO => RegionKind::Zero,
                    other => {
                        let what = format!("region of unknown kind {other}");
                        return Err(FormatError::unsupported(self.place, what));
                    }
                };
                (r.start.get(), r.count.get().into(), kind)
            }
            _ => {
                let r = self.read::<raw::Region32>(at)?;
                (r.start.get().into(), r.size.get().into(), RegionKind::Data)
            }
        };
        let count = SectorCount::new(size).filter(|count| !count.is_zero());
        let range = count.zip(Sector::new(start)).and_then(|(count, start)| {
            SectorRange::with_count(start, count) // ends on a disk
        });
        match range {
            Some(range) => Ok(Region { range, kind }),
            None => {
                let found = format!("{size} sectors from {start}");
                Err(self.corrupt("region", "a run of 1 or more sectors of a disk", found))
            }
        }
    }

    fn relocations(
        &self,
        version: Version,
        tables: &Tables,
    ) -> Result<Vec<Relocation>, FormatError> {
        let len = version.relocation_len();
        let at = |i| tables.relocations_at + i * len;
        (0..tables.relocations).map(|i| self.relocation(version, at(i))).collect()
    }

    fn relocation(&self, version: Version, at: usize) -> Result<Relocation, FormatError> {
        let (kind, sector, offset, size) = match version {
            Version::V5 | Version::V6 | Version::Native => {
                let r = self.read::<raw::Relocation64>(at)?;
                (r.kind.get(), r.sector.get(), r.sectoff.get(), r.size.get())
            }
            _ => {
                let r = self.read::<raw::Relocation32>(at)?;
                (r.kind.get(), r.sector.get().into(), r.sectoff.get(), r.size.get().into())
            }
        };
        let sector = self.sector("sector of a relocation", sector)?;
        // No known kind concerns more than a sector; a disklabel may fill one.
        self.within("offset of a relocation in its sector", offset, 0..=511)?;
        self.within("length of a relocation", size, 0..=64 << 10)?;
        Ok(Relocation { kind, sector, offset, size })
    }

    fn check_regions(&self, header: &ChunkHeader) -> Result<(), FormatError> {
        let mut from = Sector::ZERO;
        for region in &header.regions {
            if region.range.start() < from {
                let expected = format!("a start of {from} or later (regions ascend)");
                return Err(self.corrupt("region", expected, region.range));
            }
            from = region.range.end();
        }
        let (Some(bounds), Some(first)) = (header.bounds, header.regions.first()) else {
            return Ok(());
        };
        if first.range.start() < bounds.start() || from > bounds.end() {
            let found = SectorRange::new(first.range.start(), from).unwrap_or_default();
            return Err(self.corrupt("regions", format!("inside the bounds {bounds}"), found));
        }
        Ok(())
    }
}

struct Tables {
    regions: usize,
    relocations: usize,
    regions_at: usize,
    relocations_at: usize,
}
