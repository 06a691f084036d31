//! F2FS, NILFS2, JFS, ReiserFS and HFS+ against their own tools and a Linux that mounts them.

pub(crate) mod f2fs;
pub(crate) mod hfsplus;
pub(crate) mod jfs;
pub(crate) mod nilfs2;
pub(crate) mod reiserfs;

use anyhow::{Context, Result, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::{Allocation, Filesystem, Reader};
use imagezip::sector_set::SectorSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tests::content::Tree;
use tests::damaged::Damaged;
use tests::rng::Rng;
use tests::uml::{Kind, Outcome, Session};
use tests::{image_file, poison};

/// A directory for one test, removed with everything in it at the end.
fn workspace() -> Result<TempDir> {
    tempfile::Builder::new().prefix("imagezip-small-").tempdir().context("temporary directory")
}

/// An image file of this size that `make` formats.
fn formatted(dir: &Path, bytes: u64, make: &dyn Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let image = dir.join("image");
    image_file::create(&image, bytes)?;
    make(&image)?;
    Ok(image)
}

/// Fills and wears an image, with more lines of shell while it is mounted at `$M`.
fn worn(kind: Kind, image: &Path, seed: u64, rounds: u32, lines: &str) -> Result<Outcome> {
    let session = Session::new(kind)?.mount("rw").fill(seed, 40)?.wear(rounds).then(lines);
    session.unmount().run(&[image])
}

/// All files, read by another kernel.
fn files(kind: Kind, image: &Path) -> Result<Tree> {
    let tree = Session::new(kind)?.mount("ro").read_all().unmount().run(&[image])?.tree()?;
    ensure!(tree.len() >= 20, "only {} files", tree.len());
    Ok(tree)
}

/// The poison test, and then: the worn image takes more files and is sound after that.
fn prove(kind: Kind, image: &Path, check: poison::Check) -> Result<(Filesystem, SectorSet)> {
    let found = poison::prove(image, check, &|image| files(kind, image))?;
    let session = Session::new(kind)?.mount("rw").fill(99, 20)?.unmount().mount("ro").read_all();
    let tree = session.unmount().run(&[image])?.tree()?;
    ensure!(tree.len() >= 20);
    check(image).context("after more was written")?;
    Ok(found)
}

/// The reason for keeping all of an image.
fn reason(found: &Filesystem) -> Result<String> {
    match &found.allocation {
        Allocation::Known(set) => anyhow::bail!("a map of {} sectors", set.count()),
        Allocation::Unsupported { reason } => Ok(reason.clone()),
        Allocation::Corrupt(corrupt) => Ok(corrupt.to_string()),
    }
}

/// Where and how damage is done to the bytes of a sound image.
struct Damage<'a> {
    reader: Reader,
    bytes: &'a [u8],
    /// Byte ranges that have a checksum, or a copy or a sum that betrays a single flip.
    checked: &'a [(u64, u64)],
    /// Byte ranges of other metadata.
    unchecked: &'a [(u64, u64)],
}

impl Damage<'_> {
    /// Single flips in what is checked never lose a sector, and no damage panics or hangs.
    fn prove(&self) -> Result<()> {
        let disk = MemoryDisk::new(self.bytes.to_vec());
        let map = |flips: &[(u64, u8)]| -> Result<Option<SectorSet>> {
            Ok(match (self.reader)(&Damaged::new(&disk, flips))?.map(|found| found.allocation) {
                Some(Allocation::Known(set)) => Some(set),
                _ => None,
            })
        };
        let sound = map(&[])?.context("a sound image has a map")?;
        let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        for (from, to) in self.checked {
            // Every byte of what is small, some of what is large.
            let step = (to - from).div_ceil(1500);
            for at in (*from..*to).step_by(usize::try_from(step)?) {
                let at = (at + rng.below(step)).min(to - 1);
                let mask = 1 << rng.below(8);
                if let Some(found) = map(&[(at, mask)])? {
                    let lost = sound.difference(&found);
                    ensure!(lost.is_empty(), "byte {at} mask {mask:#x} loses {:?}", lost.ranges());
                }
            }
        }
        let all: Vec<_> = self.checked.iter().chain(self.unchecked).collect();
        for _ in 0..600 {
            let mut flips = Vec::new();
            for _ in 0..=rng.below(4) {
                let span = usize::try_from(rng.below(all.len().try_into()?))?;
                let (from, to) = all.get(span).copied().context("span")?;
                let reach = if rng.below(2) == 0 { (to - from).min(64) } else { to - from };
                let [mask, ..] = rng.next_u64().to_le_bytes();
                flips.push((from + rng.below(reach), mask));
            }
            if let Some(found) = map(&flips)? {
                let most = u64::try_from(self.bytes.len())?;
                ensure!(found.end().get() * 512 <= most, "{flips:?}");
            }
        }
        Ok(())
    }
}
