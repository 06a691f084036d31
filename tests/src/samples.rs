//! Disks with random content and random allocation, and saving and loading them through the
//! library with little ado.

use crate::rng::Rng;
use imagezip::disk::memory::MemoryDisk;
use imagezip::disk::{DiskError, ReadDisk, WriteDisk};
use imagezip::interrupt::Interrupt;
use imagezip::load::fit::{self, target_facts};
use imagezip::load::{ImageInput, LoadError, Loaded, Target, TargetOptions, load, prepare};
use imagezip::ndz::{Codec, Version};
use imagezip::progress::Progress;
use imagezip::save::{ImageFields, SaveError, SaveOptions, Saved, save};
use imagezip::units::{Sector, SectorCount, SectorRange};
use std::io::{Cursor, Write};
use tempfile::NamedTempFile;

/// The image id of all samples.
pub const IMAGE_ID: [u8; 16] = *b"0123456789abcdef";

/// A disk and what of it is allocated.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Allocated ranges, ascending, disjoint, not touching.
    pub ranges: Vec<SectorRange>,
}

/// What the content of a sample is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// A bit of everything, in runs.
    Mixed,
    /// Nothing but noise.
    Noise,
    /// Text that compresses well.
    Text,
    /// Zeros.
    Zeros,
}

/// A range by its numbers.
///
/// # Panics
/// When it is none.
pub fn range(start: u64, end: u64) -> SectorRange {
    let sector = |n| Sector::new(n).unwrap();
    SectorRange::new(sector(start), sector(end)).unwrap()
}

impl Sample {
    /// A disk of `sectors` sectors, all of this content, and random ranges of it allocated.
    pub fn random(seed: u64, sectors: u64, content: Content) -> Self {
        let mut rng = Rng::new(seed);
        let mut bytes = Vec::new();
        let len = usize::try_from(sectors * 512).unwrap();
        while bytes.len() < len {
            let run = usize::try_from(512 * (1 + rng.below(600))).unwrap();
            match (content, rng.below(4)) {
                (Content::Noise, _) | (Content::Mixed, 0) => bytes.extend(rng.bytes(run)),
                (Content::Text, _) | (Content::Mixed, 1) => {
                    let from = rng.next_u64();
                    let words = (0..run / 16 + 1).map(|i| format!("{:14} ", from >> (i % 60)));
                    bytes.extend(words.flat_map(String::into_bytes).take(run));
                }
                _ => bytes.resize(bytes.len() + run, 0),
            }
        }
        bytes.truncate(len);
        let mut ranges = Vec::new();
        // Ranges and gaps of very different lengths: some disks are all small pieces.
        let scale = rng.below(14);
        let (run_max, gap_max) = (1 + rng.below(1 << scale), 1 + rng.below(2000));
        let mut at = rng.below(gap_max);
        while at < sectors {
            let end = (at + 1 + rng.below(run_max)).min(sectors);
            ranges.push(range(at, end));
            at = end + 1 + rng.below(gap_max);
        }
        Self { bytes, ranges }
    }

    /// A disk with this content that is allocated from end to end.
    pub fn whole(bytes: Vec<u8>) -> Self {
        let sectors = u64::try_from(bytes.len().div_ceil(512)).unwrap();
        Self { bytes, ranges: vec![range(0, sectors)] }
    }

    /// The disk.
    pub fn disk(&self) -> MemoryDisk {
        MemoryDisk::new(self.bytes.clone())
    }

    /// The header fields of an image of it.
    pub fn fields(&self, version: Version, codec: Codec) -> ImageFields {
        fields(version, codec, u64::try_from(self.bytes.len()).unwrap())
    }

    /// An image of it.
    ///
    /// # Panics
    /// When that fails.
    pub fn image(&self, version: Version, codec: Codec, threads: usize) -> Vec<u8> {
        save_to_vec(&self.disk(), &self.ranges, self.fields(version, codec), &options(threads))
            .unwrap()
            .0
    }

    /// What a disk of `under` looks like with the allocated sectors written over it.
    pub fn over(&self, under: &[u8]) -> Vec<u8> {
        let mut disk = under.to_vec();
        for range in &self.ranges {
            let (from, to) = bytes_of(*range);
            let to = to.min(self.bytes.len());
            disk[from..to].copy_from_slice(&self.bytes[from..to]);
        }
        disk
    }
}

/// The first byte of a range and the one after its last.
///
/// # Panics
/// When the range does not fit the memory.
pub fn bytes_of(range: SectorRange) -> (usize, usize) {
    (usize::try_from(range.byte_offset()).unwrap(), usize::try_from(range.byte_end()).unwrap())
}

/// The header fields of a whole-disk image.
pub fn fields(version: Version, codec: Codec, source_bytes: u64) -> ImageFields {
    ImageFields {
        version,
        codec,
        image_id: Some(IMAGE_ID).filter(|_| matches!(version, Version::V5 | Version::Native)),
        source_bytes,
        logical_sector_bytes: 512,
        allocated: SectorCount::ZERO,
        slice: false,
        relocations: Vec::new(),
    }
}

/// Options of a save: a low level, no rescue.
pub fn options(threads: usize) -> SaveOptions {
    SaveOptions { level: 1, threads, memory: None, rescue: false }
}

/// Saves to memory.
///
/// # Errors
/// As [`save`].
pub fn save_to_vec(
    disk: &dyn ReadDisk,
    ranges: &[SectorRange],
    fields: ImageFields,
    options: &SaveOptions,
) -> Result<(Vec<u8>, Saved), SaveError> {
    let mut image = Vec::new();
    let (progress, interrupt) = (Progress::new(), Interrupt::never());
    let mut write = |chunk: &[u8]| {
        image.extend_from_slice(chunk);
        Ok(())
    };
    let saved = save(disk, ranges, fields, options, &progress, &interrupt, &mut write)?;
    Ok((image, saved))
}

/// Where the loader gets an image from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// A file.
    File,
    /// A pipe.
    Stream,
}

/// An image as the loader's input. The file, if it is one, lives as long as the second part.
///
/// # Errors
/// As [`ImageInput::open`].
///
/// # Panics
/// When no temporary file can be made.
pub fn input(image: &[u8], from: From) -> Result<(ImageInput, Option<NamedTempFile>), LoadError> {
    match from {
        From::Stream => Ok((ImageInput::stream(Box::new(Cursor::new(image.to_vec()))), None)),
        From::File => {
            let mut file = NamedTempFile::new().unwrap();
            file.write_all(image).unwrap();
            Ok((ImageInput::open(file.path())?, Some(file)))
        }
    }
}

/// Loads an image onto a disk, as `imageunzip` does.
///
/// # Errors
/// As the loader's.
pub fn load_onto(
    image: &[u8],
    from: From,
    target: &dyn WriteDisk,
    options: TargetOptions,
    threads: usize,
) -> Result<Loaded, LoadError> {
    let (progress, interrupt) = (Progress::new(), Interrupt::never());
    let (input, _file) = input(image, from)?;
    let prepared = prepare(&input)?;
    let partition = options.partition;
    let facts = target_facts(target, partition, true, false);
    let fit = fit::check(&prepared.facts, &facts, &prepared.tables)?;
    let target = Target::new(target, fit, options, &progress);
    load(&input, &prepared, &target, threads, &progress, &interrupt)
}

/// A disk that knows where it is zero, as a sparse file does, in pages of 4 KiB.
#[derive(Debug)]
pub struct HoleyDisk(pub MemoryDisk);

impl ReadDisk for HoleyDisk {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.0.read_at(buf, offset)
    }

    fn next_data(&self, range: SectorRange) -> Result<Option<SectorRange>, DiskError> {
        let mut found: Option<SectorRange> = None;
        let mut rest = range;
        while !rest.is_empty() {
            let page = rest.up_to_grid(SectorCount::from_u32(8));
            let there = self.size_bytes().min(page.byte_end()) - page.byte_offset();
            let mut bytes = vec![0; usize::try_from(there).unwrap()];
            self.read_at(&mut bytes, page.byte_offset())?;
            let zero = bytes.iter().all(|byte| *byte == 0);
            match (&mut found, zero) {
                (Some(found), true) => return Ok(Some(*found)),
                (Some(found), false) => *found = found.extended_to(page.end()),
                (None, true) => {}
                (None, false) => found = Some(page),
            }
            rest = rest.after(page.end());
        }
        Ok(found)
    }
}

/// All bytes of a disk.
///
/// # Panics
/// When it cannot be read.
pub fn content(disk: &dyn ReadDisk) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(disk.size_bytes()).unwrap()];
    disk.read_at(&mut bytes, 0).unwrap();
    bytes
}
