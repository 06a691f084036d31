//! One chunk's header: the tables of the page, line by line.

use super::{CHUNK, Fault, index, require, u16_at, u32_at, u64_at};

/// How a payload is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Codec {
    /// As it is.
    Stored,
    /// One zlib stream.
    Zlib,
    /// Zstandard frames.
    Zstd,
}

/// A run of sectors that the image writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Region {
    /// First sector.
    pub start: u64,
    /// Sectors.
    pub count: u64,
    /// Its content is zeros and not in the payload.
    pub zero: bool,
}

impl Region {
    /// The sector after the last.
    pub fn end(&self) -> u64 {
        self.start + self.count
    }
}

/// A relocation record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Relocation {
    /// Its type.
    pub kind: u32,
    /// The sector it is about.
    pub sector: u64,
    /// Bytes into that sector.
    pub offset: u32,
    /// Bytes it is about.
    pub size: u64,
}

/// What only native chunks say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Native {
    /// The last chunk.
    pub last: bool,
    /// The image of one partition.
    pub slice: bool,
    /// Bytes of the source.
    pub source_bytes: u64,
    /// Bytes of its logical sector.
    pub logical_sector_bytes: u32,
    /// Sectors of all regions of all chunks.
    pub allocated: u64,
}

/// A chunk's header, parsed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// 1 to 6, or 0 for native.
    pub version: u32,
    /// Chunk number.
    pub index: u32,
    /// Bytes before the payload.
    pub area: usize,
    /// Bytes of payload.
    pub payload: usize,
    /// Bytes of the area that header and tables take.
    pub used: usize,
    /// Compression.
    pub codec: Codec,
    /// Bounds: first sector and the one after the last.
    pub bounds: Option<(u64, u64)>,
    /// Image id; all zero in versions without.
    pub image_id: [u8; 16],
    /// Regions in order.
    pub regions: Vec<Region>,
    /// Relocations in order.
    pub relocations: Vec<Relocation>,
    /// Native fields.
    pub native: Option<Native>,
}

/// Where header tables begin, and the bytes of a region and a relocation, by version.
fn layout(version: u32) -> (usize, usize, usize) {
    match version {
        1 => (24, 8, 0),
        2 | 3 => (36, 8, 16),
        4 => (344, 8, 16),
        5 => (72, 16, 24),
        6 => (368, 16, 24),
        _ => (256, 16, 24),
    }
}

impl Chunk {
    /// Parses and judges the header of a whole chunk.
    ///
    /// # Errors
    /// When a rule of the page is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        require!(bytes.len() == CHUNK, "a chunk of {} bytes", bytes.len());
        let magic = u32_at(bytes, 0);
        let chunk = match magic {
            0x6969_6969..=0x6969_696e => Self::legacy(bytes, magic - 0x6969_6968)?,
            _ if &bytes[..4] == b"NDZ2" => Self::native(bytes)?,
            _ => return Err(format!("magic {magic:#x}")),
        };
        chunk.check_regions()?;
        Ok(chunk)
    }

    fn legacy(bytes: &[u8], version: u32) -> Result<Self, Fault> {
        let (area, payload) = (index(u32_at(bytes, 16).into()), index(u32_at(bytes, 4).into()));
        require!(area <= 4096, "header area of {area} bytes");
        require!(area >= layout(version).0, "header area of {area} bytes");
        require!(payload <= CHUNK - area, "payload of {payload} bytes");
        require!(u32_at(bytes, 8) < 1 << 31, "chunk number");
        let relocations = if version == 1 { 0 } else { u32_at(bytes, 32) };
        let mut image_id = [0; 16];
        let bounds = match version {
            1 => None,
            5 | 6 => {
                image_id.copy_from_slice(&bytes[56..72]);
                Some((u64_at(bytes, 40), u64_at(bytes, 48)))
            }
            _ => Some((u32_at(bytes, 24).into(), u32_at(bytes, 28).into())),
        };
        if version == 4 {
            image_id.copy_from_slice(&bytes[328..344]);
        }
        let cipher = match version {
            4 => u16_at(bytes, 36),
            6 => u16_at(bytes, 72),
            _ => 0,
        };
        require!(cipher == 0, "cipher {cipher}");
        let mut chunk = Self {
            version,
            index: u32_at(bytes, 8),
            area,
            payload,
            used: 0,
            codec: Codec::Zlib,
            bounds,
            image_id,
            regions: Vec::new(),
            relocations: Vec::new(),
            native: None,
        };
        chunk.tables(bytes, u32_at(bytes, 20), relocations)?;
        Ok(chunk)
    }

    fn native(bytes: &[u8]) -> Result<Self, Fault> {
        require!(u16_at(bytes, 4) == 1, "header version {}", u16_at(bytes, 4));
        require!(u16_at(bytes, 6) == 256, "header length {}", u16_at(bytes, 6));
        let (area, payload) = (index(u32_at(bytes, 8).into()), index(u32_at(bytes, 12).into()));
        require!(area.is_multiple_of(512), "header area of {area} bytes");
        require!((512..=65536).contains(&area), "header area of {area} bytes");
        require!(payload <= CHUNK - area, "payload of {payload} bytes");
        let flags = u32_at(bytes, 20);
        require!(flags & !3 == 0, "flags {flags:#x}");
        let codec = match u32_at(bytes, 24) {
            0 => Codec::Stored,
            1 => Codec::Zlib,
            2 => Codec::Zstd,
            other => return Err(format!("codec {other}")),
        };
        let logical_sector_bytes = u32_at(bytes, 28);
        let possible = (512..=65536).contains(&logical_sector_bytes);
        require!(possible && logical_sector_bytes.is_power_of_two(), "logical sector size");
        require!(u32_at(bytes, 208) == 0, "cipher {}", u32_at(bytes, 208));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes[..88]).update(&[0; 104]).update(&bytes[192..area]);
        require!(hasher.finalize().as_bytes()[..8] == bytes[88..96], "header check");
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes[..96]).update(&[0; 96]).update(&bytes[192..area + payload]);
        require!(hasher.finalize().as_bytes() == &bytes[96..128], "digest");
        let source_bytes = u64_at(bytes, 48);
        let bounds = (u64_at(bytes, 64), u64_at(bytes, 72));
        require!(bounds.1 <= source_bytes.div_ceil(512), "bounds beyond the source");
        let mut chunk = Self {
            version: 0,
            index: u32_at(bytes, 16),
            area,
            payload,
            used: 0,
            codec,
            bounds: Some(bounds),
            image_id: bytes[32..48].try_into().unwrap(),
            regions: Vec::new(),
            relocations: Vec::new(),
            native: Some(Native {
                last: flags & 1 != 0,
                slice: flags & 2 != 0,
                source_bytes,
                logical_sector_bytes,
                allocated: u64_at(bytes, 56),
            }),
        };
        chunk.tables(bytes, u32_at(bytes, 80), u32_at(bytes, 84))?;
        let data = chunk.data_sectors();
        require!(data <= 131_072, "{data} data sectors in one chunk");
        Ok(chunk)
    }

    fn tables(&mut self, bytes: &[u8], regions: u32, relocations: u32) -> Result<(), Fault> {
        let (mut at, region_len, relocation_len) = layout(self.version);
        let (regions, relocations) = (index(regions.into()), index(relocations.into()));
        self.used = at + regions * region_len + relocations * relocation_len;
        require!(self.used <= self.area, "tables of {} in {} bytes", self.used, self.area);
        for _ in 0..regions {
            let region = match self.version {
                0 => {
                    let kind = u16_at(bytes, at + 12);
                    require!(kind == 1 || kind == 2, "region kind {kind}");
                    let count = u32_at(bytes, at + 8).into();
                    Region { start: u64_at(bytes, at), count, zero: kind == 2 }
                }
                5 | 6 => {
                    Region { start: u64_at(bytes, at), count: u64_at(bytes, at + 8), zero: false }
                }
                _ => Region {
                    start: u32_at(bytes, at).into(),
                    count: u32_at(bytes, at + 4).into(),
                    zero: false,
                },
            };
            self.regions.push(region);
            at += region_len;
        }
        for _ in 0..relocations {
            let kind = u32_at(bytes, at);
            self.relocations.push(match self.version {
                0 | 5 | 6 => Relocation {
                    kind,
                    offset: u32_at(bytes, at + 4),
                    sector: u64_at(bytes, at + 8),
                    size: u64_at(bytes, at + 16),
                },
                _ => Relocation {
                    kind,
                    sector: u32_at(bytes, at + 4).into(),
                    offset: u32_at(bytes, at + 8),
                    size: u32_at(bytes, at + 12).into(),
                },
            });
            at += relocation_len;
        }
        Ok(())
    }

    fn check_regions(&self) -> Result<(), Fault> {
        let (first, last) = self.bounds.unwrap_or((0, 1 << 53));
        require!(first <= last && last <= 1 << 53, "bounds {first} to {last}");
        let mut from = first;
        for region in &self.regions {
            require!(region.count > 0, "an empty region at {}", region.start);
            require!(region.start >= from, "region {} before {from}", region.start);
            let end = region.start.checked_add(region.count);
            require!(end.is_some_and(|end| end <= last), "region at {} too long", region.start);
            from = region.end();
        }
        for relocation in &self.relocations {
            require!(relocation.offset < 512, "relocation offset {}", relocation.offset);
            require!(relocation.size <= 65536, "relocation size {}", relocation.size);
        }
        Ok(())
    }

    /// Sectors whose bytes are in the payload.
    pub fn data_sectors(&self) -> u64 {
        self.regions.iter().filter(|r| !r.zero).map(|r| r.count).sum()
    }
}
