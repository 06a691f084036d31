//! A filesystem moved by an image: saved from a partition of one disk, loaded into a partition
//! elsewhere on a larger disk, and there nobody may notice.
//!
//! What it owns: the two disks and the order of the proof. The oracles come from the test of each
//! filesystem, as with the poison test. What it never does: let a sector through that is not in
//! the map: the target holds a pattern everywhere before.

use crate::image_file::ImageFile;
use crate::poison::{Check, ReadFiles, recognise};
use crate::samples::{From, fields, load_onto, options, save_to_vec};
use anyhow::{Context, Result, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::disk::{DiskError, ReadDisk, Window};
use imagezip::fs::{Allocation, probe};
use imagezip::load::TargetOptions;
use imagezip::ndz::{Codec, Version};
use imagezip::units::{Sector, SectorCount, SectorRange};
use std::path::Path;

/// Where the partition starts on the source, in sectors.
const FROM: u32 = 2048;
/// Where it starts on the target: elsewhere, and not aligned.
const TO: u32 = 6_151;
/// What the target holds before.
const BEFORE: u8 = 0xA7;

/// A disk with an image file as its one partition, and noise around it.
struct Planted {
    file: ImageFile,
    start: u64,
}

impl ReadDisk for Planted {
    fn size_bytes(&self) -> u64 {
        self.start + self.file.size_bytes() + (1 << 20)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        let len = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        let size = self.file.size_bytes();
        match offset.checked_sub(self.start) {
            Some(inside) if inside.saturating_add(len) <= size => self.file.read_at(buf, inside),
            _ => {
                buf.fill(0x6E);
                Ok(())
            }
        }
    }
}

/// Proves that the filesystem of an image file survives the move, in the native format and in
/// version 5.
///
/// # Errors
/// When there is no map, a save or load fails, or an oracle finds something.
pub fn prove(image: &Path, check: Check, files: ReadFiles) -> Result<()> {
    check(image).context("before the move")?;
    let before = files(image).context("before the move")?;
    let found = recognise(image)?;
    for (version, codec) in [(Version::Native, Codec::Zstd), (Version::V5, Codec::Zlib)] {
        let moved = replant(image, version, codec).with_context(|| version.to_string())?;
        ensure!(recognise(&moved)? == found, "{version}: another map after the move");
        check(&moved).with_context(|| format!("{version}: after the move"))?;
        ensure!(files(&moved)? == before, "{version}: other files after the move");
        std::fs::remove_file(&moved)?;
    }
    Ok(())
}

/// Saves and loads; the partition of the target as a file beside the image.
fn replant(image: &Path, version: Version, codec: Codec) -> Result<std::path::PathBuf> {
    let file = ImageFile::open(image)?;
    let sectors = file.sectors();
    let start = Sector::from_u32(FROM);
    let planted = Planted { file, start: start.byte_offset() };
    let range = SectorRange::with_count(start, sectors).context("partition")?;
    let partition = Window::new(&planted, range);
    let Some(found) = probe(&partition)? else { anyhow::bail!("not recognised") };
    let Allocation::Known(set) = found.allocation else {
        anyhow::bail!("no map: {:?}", found.allocation);
    };
    let mut fields = fields(version, codec, partition.size_bytes());
    fields.slice = true;
    fields.allocated = set.count();
    let (saved, _) = save_to_vec(&partition, set.ranges(), fields, &options(2))?;

    let room = SectorCount::from_u32(TO + 40_000).checked_add(sectors).context("room")?;
    let target = MemoryDisk::new(vec![BEFORE; usize::try_from(room.bytes())?]);
    let place = SectorRange::with_count(Sector::from_u32(TO), sectors).context("place")?;
    let wanted = TargetOptions { partition: Some(place), ..TargetOptions::default() };
    load_onto(&saved, From::File, &target, wanted, 2)?;
    let disk = target.into_bytes();
    let (from, to) = (usize::try_from(place.byte_offset())?, usize::try_from(place.byte_end())?);
    let around = [disk.get(..from), disk.get(to..)];
    let is_untouched = around.into_iter().flatten().flatten().all(|byte| *byte == BEFORE);
    ensure!(is_untouched, "something was written outside of the partition");
    let moved = image.with_extension("moved");
    std::fs::write(&moved, disk.get(from..to).context("partition")?)?;
    Ok(moved)
}
