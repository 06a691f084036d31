//! The disk of a small Debian, and images of it.
//!
//! What it owns: making the disk once (`debian-disk`, a minute and a half), keeping it in the target
//! folder until the script changes, and turning disks into images and back with our own programs.

use crate::artifacts::target;
use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::programs::built;

/// What the installed system asks for when it is up; the host name is on the disk.
pub const LOGIN: &str = "debian-image login:";

/// The script, which decides what is on the disk.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/debian-disk");

/// The disk, to be read only. It is made if it is not there, which takes a minute and the network.
///
/// # Errors
/// When it cannot be made.
pub fn disk() -> Result<PathBuf> {
    kept("raw", |path| succeed(Command::new(SCRIPT).arg(path)))
}

/// An image of that disk.
///
/// # Errors
/// When it cannot be made.
pub fn image() -> Result<PathBuf> {
    let disk = disk()?;
    kept("ndz", |path| save(&disk, path))
}

/// What its login prompt says and no other disk's does.
///
/// # Errors
/// When the disk cannot be made.
pub fn marker() -> Result<String> {
    let disk = disk()?;
    let marker = fs::read_to_string(disk.with_extension("marker"))?;
    Ok(marker.trim().to_owned())
}

/// Saves a disk with imagezip.
///
/// # Errors
/// When it says so.
pub fn save(disk: &Path, image: &Path) -> Result<()> {
    succeed(Command::new(built("imagezip", "imagezip")?).args([disk, image]))
}

/// What a blank disk of this size must hold after a load of that image.
///
/// # Errors
/// When imageunzip says so.
pub fn expected(image: &Path, path: &Path, bytes: u64) -> Result<()> {
    File::create(path)?.set_len(bytes)?;
    succeed(Command::new(built("imagezip", "imageunzip")?).args([
        "--in-place".as_ref(),
        image,
        path,
    ]))
}

/// Compares two disks byte by byte.
///
/// # Errors
/// When they differ, and where.
pub fn compare(left: &Path, right: &Path) -> Result<()> {
    let (mut files, mut buffers) = ([File::open(left)?, File::open(right)?], [vec![], vec![]]);
    let lengths = [files[0].metadata()?.len(), files[1].metadata()?.len()];
    ensure!(
        lengths[0] == lengths[1],
        "{} and {} differ: {lengths:?}",
        left.display(),
        right.display()
    );
    let mut at = 0_u64;
    while at < lengths[0] {
        for (file, buffer) in files.iter_mut().zip(&mut buffers) {
            buffer.clear();
            file.take(1 << 20).read_to_end(buffer)?;
        }
        if buffers[0] != buffers[1] {
            let offset = buffers[0].iter().zip(&buffers[1]).take_while(|(a, b)| a == b).count();
            let offset = at + u64::try_from(offset)?;
            anyhow::bail!("{} and {} differ at byte {offset}", left.display(), right.display());
        }
        ensure!(!buffers[0].is_empty(), "{} ends at {at}", left.display());
        at += u64::try_from(buffers[0].len())?;
    }
    Ok(())
}

/// Restores an image of a disk to a new file, and checks that each sector is as on the disk or was
/// free: restored as a pattern. Returns the bytes of those that were not free.
///
/// # Errors
/// When imageunzip says so, or a sector is neither.
pub fn compare_allocated(disk: &Path, image: &Path, restored: &Path) -> Result<u64> {
    const PATTERN: [u8; 4] = 0x5eed_f4ee_u32.to_le_bytes();
    let program = built("imagezip", "imageunzip")?;
    succeed(Command::new(program).args(["-p", "0x5eedf4ee"]).args([image, restored]))?;
    let free = PATTERN.repeat(512 / PATTERN.len());
    let (mut left, mut right) = (File::open(disk)?, File::open(restored)?);
    let (left_len, right_len) = (left.metadata()?.len(), right.metadata()?.len());
    ensure!(left_len == right_len, "the disk has {left_len} bytes, restored are {right_len}");
    let (mut kept, mut sector) = (0, 0_u64);
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for _ in 0..left_len >> 20 {
        left.read_exact(&mut ours)?;
        right.read_exact(&mut theirs)?;
        for (ours, theirs) in ours.chunks(512).zip(theirs.chunks(512)) {
            if ours == theirs {
                kept += 512;
            } else {
                ensure!(theirs == free, "sector {sector} was not restored as it was");
            }
            sector += 1;
        }
    }
    Ok(kept)
}

/// A file of the target folder that is made once for each version of the script.
fn kept(kind: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = target().join("vm");
    fs::create_dir_all(&folder)?;
    // Tests of several programs may want it at the same time.
    let lock = File::create(folder.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let digest = blake3::hash(&fs::read(SCRIPT)?).to_hex();
    let ours = format!("debian-{}", digest.get(..16).unwrap_or_default());
    let path = folder.join(format!("{ours}.{kind}"));
    if !path.exists() {
        // What earlier versions of the script made is of no use any more.
        for entry in fs::read_dir(&folder)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("debian-") && !name.starts_with(&ours) {
                fs::remove_file(entry.path())?;
            }
        }
        make(&path)?;
    }
    Ok(path)
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    Ok(())
}
