//! A row of chunks as one image: the rules between chunks, what a writer of ours promises beyond
//! them, and restoring.

use super::{CHUNK, Chunk, Fault, Native, SECTOR, index, require};

/// An image that keeps every rule a reader must check.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its chunks' headers, in order.
    pub chunks: Vec<Chunk>,
    /// The inflated payload of each.
    pub data: Vec<Vec<u8>>,
}

impl Image {
    /// Reads a whole image and checks it.
    ///
    /// # Errors
    /// When a rule of the page is broken; the message begins with the chunk.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        require!(!bytes.is_empty() && bytes.len().is_multiple_of(CHUNK), "{} bytes", bytes.len());
        let (mut chunks, mut data) = (Vec::<Chunk>::new(), Vec::new());
        for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
            let in_chunk = |fault| format!("chunk {number}: {fault}");
            let header = Chunk::parse(chunk).map_err(in_chunk)?;
            check_next(&chunks, &header).map_err(in_chunk)?;
            data.push(header.inflate(chunk).map_err(in_chunk)?);
            chunks.push(header);
        }
        let image = Self { chunks, data };
        image.check_whole()?;
        Ok(image)
    }

    fn check_whole(&self) -> Result<(), Fault> {
        let last = self.chunks.last().unwrap();
        let Some(native) = last.native else { return Ok(()) };
        require!(native.last, "no last chunk");
        let regions = self.chunks.iter().flat_map(|chunk| &chunk.regions);
        let allocated: u64 = regions.map(|region| region.count).sum();
        require!(allocated == native.allocated, "{allocated} sectors, not {}", native.allocated);
        let end = last.bounds.unwrap().1;
        require!(end == native.source_bytes.div_ceil(512), "the last bounds end at {end}");
        Ok(())
    }

    /// Bytes of what it was made from.
    pub fn source_bytes(&self) -> u64 {
        let last = self.chunks.last().unwrap();
        if let Some(native) = last.native {
            return native.source_bytes;
        }
        let regions_end = last.regions.last().map_or(0, |region| region.end());
        let end = last.bounds.map_or(regions_end, |(_, end)| end);
        let short = last.relocations.iter().find(|r| r.kind == 6 && r.sector + 1 == end);
        short.map_or(end * 512, |short| short.sector * 512 + short.size)
    }

    /// Writes what the image holds over `disk`, which is long enough.
    pub fn restore(&self, disk: &mut [u8]) {
        self.for_all(|offset, bytes, len| {
            let (from, len) = (index(offset), index(len).min(disk.len() - index(offset)));
            let room = &mut disk[from..from + len];
            match bytes {
                Some(bytes) => room.copy_from_slice(&bytes[..len]),
                None => room.fill(0),
            }
        });
    }

    /// Hands out all regions: byte offset, bytes (`None` for zeros), length.
    pub fn for_all(&self, mut use_region: impl FnMut(u64, Option<&[u8]>, u64)) {
        for (chunk, data) in self.chunks.iter().zip(&self.data) {
            let mut rest = &data[..];
            for region in &chunk.regions {
                let len = region.count * 512;
                if region.zero {
                    use_region(region.start * 512, None, len);
                } else {
                    let (now, later) = rest.split_at(index(len));
                    use_region(region.start * 512, Some(now), len);
                    rest = later;
                }
            }
        }
    }

    /// Sectors that the image writes, as (start, count), touching runs joined.
    pub fn allocated(&self) -> Vec<(u64, u64)> {
        let mut all: Vec<(u64, u64)> = Vec::new();
        for region in self.chunks.iter().flat_map(|chunk| &chunk.regions) {
            match all.last_mut() {
                Some((start, count)) if *start + *count == region.start => *count += region.count,
                _ => all.push((region.start, region.count)),
            }
        }
        all
    }

    /// Checks what the page asks of writers beyond what readers must check. `bytes` is the image.
    ///
    /// # Errors
    /// When a chunk breaks one of those rules.
    pub fn check_writer(&self, bytes: &[u8]) -> Result<(), Fault> {
        for (number, (header, chunk)) in self.chunks.iter().zip(bytes.chunks(CHUNK)).enumerate() {
            let zero = |from: usize, to: usize| chunk[from..to].iter().all(|byte| *byte == 0);
            require!(zero(header.area + header.payload, CHUNK), "chunk {number}: padding");
            require!(zero(header.used, header.area), "chunk {number}: end of the header area");
            let joined = |pair: &[super::Region]| {
                pair[0].end() == pair[1].start
                    && pair[0].zero == pair[1].zero
                    && pair[0].count + pair[1].count < 1 << 32
            };
            require!(!header.regions.windows(2).any(joined), "chunk {number}: split regions");
            match header.version {
                0 => {
                    let reserved = zero(128, 256);
                    require!(reserved, "chunk {number}: reserved fields");
                    let tables = &chunk[256..256 + 16 * header.regions.len()];
                    let reserved = tables.chunks(16).all(|region| region[14..] == [0, 0]);
                    require!(reserved, "chunk {number}: reserved field of a region");
                }
                5 => {
                    require!(header.area == 4096, "chunk {number}: header area");
                    require!(zero(24, 32) && zero(36, 40), "chunk {number}: 32-bit bounds");
                }
                _ => require!(header.area == 4096, "chunk {number}: header area"),
            }
            self.check_bounds_of_writer(number)?;
        }
        Ok(())
    }

    /// Bounds of a chunk that ends with an allocated range run on to the next one.
    fn check_bounds_of_writer(&self, number: usize) -> Result<(), Fault> {
        let header = &self.chunks[number];
        let (Some((_, end)), Some(next)) = (header.bounds, self.chunks.get(number + 1)) else {
            return Ok(());
        };
        let next_start = next.regions.first().map(|region| region.start);
        require!(next_start == Some(end), "chunk {number}: bounds end at {end}");
        Ok(())
    }
}

/// Rules between a chunk and those before it.
fn check_next(before: &[Chunk], header: &Chunk) -> Result<(), Fault> {
    require!(index(header.index.into()) == before.len(), "chunk number {}", header.index);
    let expected = before.last().and_then(|chunk| chunk.bounds).map_or(0, |(_, end)| end);
    if let Some((start, _)) = header.bounds {
        require!(start == expected, "bounds start at {start}, not {expected}");
    }
    let Some(first) = before.first() else { return Ok(()) };
    require!(header.version == first.version, "another version");
    require!(header.image_id == first.image_id, "another image id");
    let of_image = |native: Native| Native { last: false, ..native };
    require!(header.native.map(of_image) == first.native.map(of_image), "another image");
    let over = before.last().unwrap().native.is_some_and(|native| native.last);
    require!(!over, "a chunk behind the last one");
    let written = before.iter().flat_map(|chunk| &chunk.regions).last().map(|r| r.end());
    if let (Some(written), Some(region)) = (written, header.regions.first()) {
        require!(region.start >= written, "region at {} overlaps", region.start);
    }
    Ok(())
}

const _: () = assert!(CHUNK.is_multiple_of(SECTOR));
