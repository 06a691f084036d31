//! ext2, ext3 and ext4 against e2fsprogs and the kernel.

mod corrupt;
mod poison;
mod unclean;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::content::{Tree, churn, populate, read_tree};
use tests::image_file;
use tests::mount::Mount;
use tests::tools::{is_root, output, run, text};

/// Debian package e2fsprogs.
pub(super) const TOOLS: [&str; 4] = ["mke2fs", "e2fsck", "debugfs", "dumpe2fs"];

/// A directory for one test, removed with everything in it at the end.
pub(super) fn workspace() -> Result<TempDir> {
    tempfile::Builder::new().prefix("imagezip-ext-").tempdir().context("temporary directory")
}

/// Makes a filesystem of `kib` KiB with files in it by `mke2fs OPTIONS`, then wears it: through the
/// kernel where that can mount it and we are root, else by deleting with debugfs.
pub(super) fn make_worn(dir: &Path, options: &str, kib: u64, seed: u64) -> Result<PathBuf> {
    let source = dir.join("source");
    populate(&source, seed, 60)?;
    let image = dir.join("image");
    image_file::create(&image, kib * 1024)?;
    let mut args = vec!["-q", "-F", "-d", text(&source)];
    args.extend(options.split_whitespace());
    args.push(text(&image));
    run("mke2fs", &args)?;
    wear(dir, &image, seed)?;
    Ok(image)
}

fn wear(dir: &Path, image: &Path, seed: u64) -> Result<()> {
    let mounted = if is_root() { Mount::new(image, &dir.join("mounted"), "").ok() } else { None };
    if let Some(mount) = mounted {
        for i in (0..60).step_by(3) {
            let file = format!("d{}/e{}/file{i}", i % 7, i % 3);
            std::fs::remove_file(mount.point().join(file))?;
        }
        churn(mount.point(), seed, 3)?;
        return mount.unmount();
    }
    let mut requests = String::new();
    for i in (0..60).step_by(3) {
        requests.push_str(&format!("rm /d{}/e{}/file{i}\n", i % 7, i % 3));
    }
    let script = dir.join("deletions");
    std::fs::write(&script, requests)?;
    run("debugfs", &["-w", "-f", text(&script), text(image)])?;
    // debugfs sets the state to "not valid"; the status is not zero where e2fsck changed anything.
    output("e2fsck", &["-fy", text(image)]).map(drop)
}

/// e2fsck must find nothing at all.
pub(super) fn check(image: &Path) -> Result<()> {
    run("e2fsck", &["-fn", text(image)]).map(drop)
}

/// All files, read by debugfs.
pub(super) fn files(image: &Path) -> Result<Tree> {
    let out = tempfile::tempdir()?;
    run("debugfs", &["-R", &format!("rdump / {}", text(out.path())), text(image)])?;
    let tree = read_tree(out.path())?;
    if tree.len() < 20 {
        bail!("debugfs read only {} files", tree.len());
    }
    Ok(tree)
}

/// A field of `dumpe2fs -h`.
fn field(dump: &str, name: &str) -> Result<String> {
    let prefix = format!("{name}:");
    let line = dump.lines().find_map(|line| line.strip_prefix(&prefix));
    Ok(line.with_context(|| format!("dumpe2fs prints no {name}"))?.trim().to_owned())
}

/// A number of `dumpe2fs -h`.
fn number(dump: &str, name: &str) -> Result<u64> {
    Ok(field(dump, name)?.parse()?)
}
