//! Trees of files: copied from this machine up to a size, and what a tree holds.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What a tree holds: for every path its type and, for a file, its length and digest.
pub(super) type Tree = BTreeMap<PathBuf, String>;

/// Copies files, directories and symbolic links from `from` into `to`, in order of their names,
/// until `bytes_max` bytes are there. What cannot be read, and what is no file, is left out.
pub(super) fn copy_some(from: &Path, to: &Path, bytes_max: u64) -> Result<u64> {
    let mut left = bytes_max;
    copy_into(from, to, &mut left)?;
    Ok(bytes_max - left)
}

fn copy_into(from: &Path, to: &Path, left: &mut u64) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let (Some(name), Ok(metadata)) = (path.file_name(), fs::symlink_metadata(&path)) else {
            continue;
        };
        let to = to.join(name);
        if metadata.is_dir() {
            copy_into(&path, &to, left)?;
        } else if metadata.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path)?, &to)?;
        } else if metadata.is_file() && metadata.len() <= *left && fs::File::open(&path).is_ok() {
            *left -= fs::copy(&path, &to)
                .with_context(|| format!("cannot copy {}", path.display()))?
                .min(*left);
            // We have to read it again whoever we are.
            fs::set_permissions(
                &to,
                fs::Permissions::from_mode(metadata.permissions().mode() | 0o600),
            )?;
        }
        if *left < 4096 {
            break;
        }
    }
    Ok(())
}

/// Reads everything below `root`, but for what mkfs puts there itself.
pub(super) fn read_tree(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    read_into(root, root, &mut tree)?;
    tree.remove(Path::new("lost+found"));
    Ok(tree)
}

fn read_into(root: &Path, directory: &Path, tree: &mut Tree) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        let content = if metadata.is_dir() {
            read_into(root, &path, tree)?;
            "directory".to_owned()
        } else if metadata.is_symlink() {
            format!("link to {}", fs::read_link(&path)?.display())
        } else {
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            let mode = metadata.permissions().mode() & 0o777; // debugfs drops the rest
            format!("{} bytes, mode {mode:o}, {}", bytes.len(), blake3::hash(&bytes))
        };
        tree.insert(path.strip_prefix(root)?.to_path_buf(), content);
    }
    Ok(())
}

/// The first difference between two trees, in words.
pub(super) fn first_difference(before: &Tree, after: &Tree) -> Option<String> {
    for (path, content) in before {
        match after.get(path) {
            Some(now) if now == content => {}
            Some(now) => return Some(format!("{}: was {content}, is {now}", path.display())),
            None => return Some(format!("{} is missing", path.display())),
        }
    }
    let new = after.keys().find(|path| !before.contains_key(*path))?;
    Some(format!("{} was not there before", new.display()))
}
