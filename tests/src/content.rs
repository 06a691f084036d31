//! Trees of files: made from a seed, worn by use, and read back as digests.
//!
//! What it owns: what "the same content" means: the path, type, length, link target and digest of
//! everything below a directory.

use crate::rng::Rng;
use crate::tools::{run, text};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a tree holds: a digest for every path.
pub type Tree = BTreeMap<PathBuf, String>;

/// Fills a directory: `files` files of a few bytes to 200 KiB in some directories, one sparse file,
/// one of 1.5 MiB, symbolic links short and long.
///
/// # Errors
/// When a file cannot be written.
pub fn populate(root: &Path, seed: u64, files: u64) -> Result<()> {
    let mut rng = Rng::new(seed);
    for i in 0..files {
        let dir = root.join(format!("d{}", i % 7)).join(format!("e{}", i % 3));
        fs::create_dir_all(&dir)?;
        let len = match rng.below(4) {
            0 => rng.below(60),
            1 => rng.below(5_000),
            2 => rng.below(40_000),
            _ => rng.below(200_000),
        };
        fs::write(dir.join(format!("file{i}")), rng.bytes(usize::try_from(len)?))?;
    }
    fs::write(root.join("large"), rng.bytes(1_500_000))?;
    let mut sparse = fs::File::create(root.join("sparse"))?;
    sparse.set_len(3_000_000)?;
    sparse.write_all(&rng.bytes(9_000))?;
    std::os::unix::fs::symlink("d0/e0", root.join("short-link"))?;
    std::os::unix::fs::symlink("x/".repeat(90), root.join("long-link"))?;
    Ok(())
}

/// Wears a mounted filesystem: rounds of writing files and deleting every other one, some grown a
/// piece at a time in turns, so that free space is in many pieces. Stops early when it is full.
///
/// # Errors
/// When anything but a full filesystem happens.
pub fn churn(root: &Path, seed: u64, rounds: u64) -> Result<()> {
    let mut rng = Rng::new(seed);
    for round in 0..rounds {
        let dir = root.join(format!("churn{round}"));
        fs::create_dir_all(&dir)?;
        let mut growing: Vec<_> = (0..6).map(|i| dir.join(format!("grow{i}"))).collect();
        for i in 0..60 {
            let one = dir.join(format!("f{i}"));
            let len = usize::try_from(rng.below(30_000))?;
            let grown = &growing[i % growing.len()];
            if !(write(&one, &rng.bytes(len))? && append(grown, &rng.bytes(4_000))?) {
                return Ok(());
            }
        }
        // Until it is written, nothing has its place yet.
        run("sync", &["-f", text(&dir)])?;
        for i in (0..60).step_by(2) {
            fs::remove_file(dir.join(format!("f{i}")))?;
        }
        growing.truncate(3);
        for path in growing {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<bool> {
    full_is_false(fs::write(path, bytes), path)
}

fn append(path: &Path, bytes: &[u8]) -> Result<bool> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
    full_is_false(file.write_all(bytes), path)
}

fn full_is_false(result: std::io::Result<()>, path: &Path) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(false),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Reads everything below `root`.
///
/// # Errors
/// When something cannot be read.
pub fn read_tree(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    read_into(root, root, &mut tree)?;
    Ok(tree)
}

fn read_into(root: &Path, dir: &Path, tree: &mut Tree) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?;
        let digest = if kind.is_dir() {
            read_into(root, &path, tree)?;
            "directory".into()
        } else if kind.is_symlink() {
            format!("link to {}", fs::read_link(&path)?.display())
        } else {
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            format!("{} bytes {}", bytes.len(), blake3::hash(&bytes))
        };
        tree.insert(path.strip_prefix(root)?.to_path_buf(), digest);
    }
    Ok(())
}
