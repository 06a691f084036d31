//! XFS against xfsprogs and the kernel.

mod corrupt;
mod log;
mod poison;

use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::content::{Tree, churn, populate, read_tree};
use tests::image_file;
use tests::mount::Mount;
use tests::tools::{is_root, output, run, text};

/// Debian package xfsprogs.
pub(super) const TOOLS: [&str; 3] = ["mkfs.xfs", "xfs_repair", "xfs_db"];

/// A directory for one test, removed with everything in it at the end.
pub(super) fn workspace() -> Result<TempDir> {
    tempfile::Builder::new().prefix("imagezip-xfs-").tempdir().context("temporary directory")
}

/// Makes a filesystem of `mib` MiB by `mkfs.xfs OPTIONS` with files in it from a prototype file,
/// which needs no root, then wears it where the kernel can mount it and we are root.
pub(super) fn make_worn(dir: &Path, options: &str, mib: u64, seed: u64) -> Result<PathBuf> {
    let source = dir.join("source");
    populate(&source, seed, 60)?;
    let image = dir.join("image");
    image_file::create(&image, mib << 20)?;
    let mut prototype = String::from("/notused\n0 0\nd--755 0 0\n");
    describe(&source, &mut prototype)?;
    let prototype_file = dir.join("prototype");
    fs::write(&prototype_file, prototype)?;
    let mut args = vec!["-q", "-f", "--unsupported", "-p", text(&prototype_file)];
    args.extend(options.split_whitespace());
    args.push(text(&image));
    run("mkfs.xfs", &args)?;
    if let Some(mount) = try_mount(dir, &image) {
        for i in (0..60).step_by(3) {
            fs::remove_file(mount.point().join(format!("d{}/e{}/file{i}", i % 7, i % 3)))?;
        }
        churn(mount.point(), seed, 3)?;
        mount.unmount()?;
    }
    Ok(image)
}

fn try_mount(dir: &Path, image: &Path) -> Option<Mount> {
    is_root().then(|| Mount::new(image, &dir.join("mounted"), "").ok()).flatten()
}

/// Writes the lines of a prototype file for all that is in a directory.
fn describe(directory: &Path, lines: &mut String) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().context("name")?.to_string_lossy().into_owned();
        let kind = fs::symlink_metadata(&path)?;
        if kind.is_dir() {
            writeln!(lines, "{name} d--755 0 0")?;
            describe(&path, lines)?;
        } else if kind.is_symlink() {
            writeln!(lines, "{name} l--777 0 0 {}", fs::read_link(&path)?.display())?;
        } else {
            writeln!(lines, "{name} ---644 0 0 {}", path.display())?;
        }
    }
    lines.push_str("$\n");
    Ok(())
}

/// xfs_repair must find nothing at all.
pub(super) fn check(image: &Path) -> Result<()> {
    run("xfs_repair", &["-n", "-f", text(image)]).map(drop)
}

/// All files: read through the kernel where that can mount it, else block by block as xfs_db finds
/// them.
pub(super) fn files(image: &Path) -> Result<Tree> {
    let dir = tempfile::tempdir()?;
    let point = dir.path().join("m");
    let mounted = is_root().then(|| Mount::new(image, &point, "ro,norecovery").ok()).flatten();
    let tree = match mounted {
        Some(mount) => {
            let tree = read_tree(mount.point())?;
            mount.unmount()?;
            tree
        }
        None => files_by_db(image)?,
    };
    ensure!(tree.len() >= 60, "only {} files", tree.len());
    Ok(tree)
}

/// The blocks of every inode, as a digest.
fn files_by_db(image: &Path) -> Result<Tree> {
    let block_bytes = number(image, &["sb 0"], "blocksize")?;
    let group_blocks = number(image, &["sb 0"], "agblocks")?;
    let names = db(image, &["blockget -n", "ncheck"])?;
    let names: Vec<(&str, &str)> =
        names.lines().filter_map(|line| line.trim().split_once(' ')).collect();
    let mut tree = Tree::new();
    for (inode, name) in names {
        let Ok(inode) = inode.parse::<u64>() else { continue };
        let map = db(image, &[&format!("inode {inode}"), "bmap", "p core.size"])?;
        let mut hash = blake3::Hasher::new();
        let file = fs::File::open(image)?;
        // data offset 0 startblock 12 (0/12) count 1 flag 0
        for line in map.lines().filter(|line| line.starts_with("data offset")) {
            let words: Vec<_> = line.split_whitespace().collect();
            let place = words.get(5).context("place")?.trim_matches(['(', ')']);
            let (group, block) = place.split_once('/').context("group and block")?;
            let start = group.parse::<u64>()? * group_blocks + block.parse::<u64>()?;
            let count: u64 = words.get(7).context("count")?.parse()?;
            let mut bytes = vec![0; usize::try_from(count * block_bytes)?];
            file.read_exact_at(&mut bytes, start * block_bytes)?;
            hash.update(&bytes);
        }
        tree.insert(
            name.into(),
            format!("{} {}", map.lines().last().unwrap_or(""), hash.finalize()),
        );
    }
    Ok(tree)
}

/// What xfs_db prints for these commands.
fn db(image: &Path, commands: &[&str]) -> Result<String> {
    let mut args = vec!["-r", "-f"];
    for command in commands {
        args.extend(["-c", command]);
    }
    args.push(text(image));
    let output = output("xfs_db", &args)?;
    ensure!(output.status.success(), "xfs_db {commands:?}: {output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A field that xfs_db prints after these commands.
fn number(image: &Path, commands: &[&str], field: &str) -> Result<u64> {
    let print = format!("p {field}");
    let text = db(image, &[commands, &[&print]].concat())?;
    let value = text.trim().rsplit(' ').next().context("no value")?;
    value.parse().with_context(|| text.clone())
}
