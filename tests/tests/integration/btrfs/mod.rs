//! btrfs against btrfs-progs and the kernel.

mod block_group_tree;
mod corrupt;
mod poison;
mod state;

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::content::{Tree, churn, populate, read_tree};
use tests::image_file;
use tests::mount::Mount;
use tests::tools::{is_root, run, text};

/// Debian package btrfs-progs.
pub(super) const TOOLS: [&str; 3] = ["mkfs.btrfs", "btrfs", "btrfstune"];

/// A directory for one test, removed with everything in it at the end.
pub(super) fn workspace() -> Result<TempDir> {
    tempfile::Builder::new().prefix("imagezip-btrfs-").tempdir().context("temporary directory")
}

/// Makes a filesystem of `mib` MiB with files in it by `mkfs.btrfs --rootdir`, which needs no root,
/// then wears it by deletions, snapshots and a balance where we are root.
pub(super) fn make_worn(dir: &Path, options: &str, mib: u64, seed: u64) -> Result<PathBuf> {
    let source = dir.join("source");
    populate(&source, seed, 60)?;
    let image = dir.join("image");
    image_file::create(&image, mib << 20)?;
    let mut args = vec!["-q", "--rootdir", text(&source)];
    args.extend(options.split_whitespace());
    args.push(text(&image));
    run("mkfs.btrfs", &args)?;
    wear(dir, &image, seed)?;
    Ok(image)
}

/// Does nothing where we are not root.
fn wear(dir: &Path, image: &Path, seed: u64) -> Result<()> {
    let mount_options = if seed.is_multiple_of(2) { "compress=zstd" } else { "" };
    let mounted = is_root().then(|| Mount::new(image, &dir.join("mounted"), mount_options).ok());
    if let Some(mount) = mounted.flatten() {
        let root = mount.point();
        churn(root, seed, 2)?;
        let snapshot = root.join("snapshot");
        run("btrfs", &["subvolume", "snapshot", text(root), text(&snapshot)])?;
        for i in (0..60).step_by(3) {
            std::fs::remove_file(root.join(format!("d{}/e{}/file{i}", i % 7, i % 3)))?;
        }
        run("btrfs", &["balance", "start", "--full-balance", text(root)])?;
        churn(&root.join("d1"), seed + 1, 2)?;
        mount.unmount()?;
    }
    Ok(())
}

/// btrfs check must find nothing at all, in the data neither.
pub(super) fn check(image: &Path) -> Result<()> {
    let args = ["check", "--readonly", "--check-data-csum", text(image)];
    let report = run("btrfs", &args)?;
    ensure!(report.contains("no error found"), "{report}");
    Ok(())
}

/// All files: read through the kernel where that can mount it, else by btrfs restore.
pub(super) fn files(image: &Path) -> Result<Tree> {
    let dir = tempfile::tempdir()?;
    let point = dir.path().join("m");
    let mounted = is_root().then(|| Mount::new(image, &point, "ro").ok()).flatten();
    let tree = match mounted {
        Some(mount) => {
            let tree = read_tree(mount.point())?;
            run("btrfs", &["scrub", "start", "-B", "-r", text(mount.point())])?;
            mount.unmount()?;
            tree
        }
        None => {
            let out = dir.path().join("restored");
            std::fs::create_dir(&out)?;
            run("btrfs", &["restore", "-S", "-s", text(image), text(&out)])?;
            read_tree(&out)?
        }
    };
    ensure!(tree.len() >= 40, "only {} files", tree.len());
    Ok(tree)
}
