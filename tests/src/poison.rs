//! The poison test: whatever a reader calls free is overwritten, and nobody may notice.
//!
//! What it owns: the pattern, the overwriting, and the order of the proof. The oracles, a checker
//! such as e2fsck and a way to read all files, come from the test of each filesystem.

use crate::content::Tree;
use crate::image_file::ImageFile;
use anyhow::{Context, Result, bail, ensure};
use imagezip::disk::ReadDisk;
use imagezip::fs::{Allocation, Filesystem, probe};
use imagezip::sector_set::SectorSet;
use imagezip::units::{SectorCount, SectorRange};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes written at once.
const PIECE_BYTES: u64 = 1 << 20;

/// What reads all files of an image.
pub type ReadFiles<'a> = &'a dyn Fn(&Path) -> Result<Tree>;

/// What checks an image and fails on the least complaint.
pub type Check<'a> = &'a dyn Fn(&Path) -> Result<()>;

/// Proves that the map of the filesystem in `image` leaves nothing out: poisons every sector of the
/// filesystem that is not in it, then runs the filesystem's own checker and compares all files.
/// Returns what the reader found, and its map, for tests of exactness.
///
/// # Errors
/// When there is no map, the check fails (before or after), or a file differs.
pub fn prove(image: &Path, check: Check, files: ReadFiles) -> Result<(Filesystem, SectorSet)> {
    check(image).context("before the poison")?;
    let before = files(image).context("before the poison")?;
    let found = recognise(image)?;
    let Allocation::Known(set) = &found.allocation else {
        bail!("no map: {:?}", found.allocation);
    };
    ensure!(set.end().get() <= found.size.get(), "the map reaches past the filesystem");
    poison(image, &free(set, found.size))?;
    check(image).context("after the poison")?;
    let after = files(image).context("after the poison")?;
    compare(&before, &after)?;
    let set = set.clone();
    Ok((found, set))
}

/// What the readers find in an image file.
///
/// # Errors
/// When they find nothing or the file cannot be read.
pub fn recognise(image: &Path) -> Result<Filesystem> {
    let disk = ImageFile::open(image)?;
    probe(&disk)?.with_context(|| format!("{} bytes of nothing known", disk.size_bytes()))
}

/// The sectors of a filesystem that are not in its map.
pub fn free(set: &SectorSet, size: SectorCount) -> SectorSet {
    set.complement(SectorRange::whole(size))
}

/// Overwrites sectors with the pattern: every sector different, none of it zero.
///
/// # Errors
/// When the file cannot be written.
pub fn poison(image: &Path, free: &SectorSet) -> Result<()> {
    let file = OpenOptions::new().write(true).open(image)?;
    let piece = SectorCount::whole_in_bytes(PIECE_BYTES).context("piece")?;
    for range in free.ranges() {
        let mut rest = *range;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece);
            let bytes: Vec<u8> = (now.start().get()..now.end().get()).flat_map(pattern).collect();
            file.write_all_at(&bytes, now.byte_offset())?;
            rest = later;
        }
    }
    Ok(())
}

fn pattern(sector: u64) -> impl Iterator<Item = u8> {
    let number = (sector | 0xB0B0_B0B0_0000_0000).to_le_bytes();
    std::iter::repeat_n(number, 64).flatten()
}

fn compare(before: &Tree, after: &Tree) -> Result<()> {
    for (path, digest) in before {
        let now = after.get(path).map_or("missing", String::as_str);
        ensure!(now == digest, "{}: was {digest}, is {now}", path.display());
    }
    ensure!(before.len() == after.len(), "there are files that were not there before");
    Ok(())
}

/// Flips the bits of `mask` in the byte at `offset` of an image file.
///
/// # Errors
/// When the file cannot be read and written there.
pub fn flip(image: &Path, offset: u64, mask: u8) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(image)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    let [old] = byte;
    file.write_all_at(&[old ^ mask], offset)?;
    Ok(())
}
