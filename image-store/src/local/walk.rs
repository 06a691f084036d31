//! Walks through the directory: what there is, and how much room it takes.
//!
//! What it owns: the bounds of a walk. Links to folders are not walked through, so that a walk
//! ends. What it never does: open an image.

use super::beneath::Root;
use super::{UPLOADS, bytes_of, entry, is_file, is_folder};
use crate::{Entry, ImageName, StoreError, UploadId};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

/// Most images in a listing.
const ENTRIES_MAX: usize = 100_000;

/// How deep folders are walked into: deeper than the longest name.
const DEPTH_MAX: usize = 160;

/// What is in the store, in bytes.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Everything but what is arriving.
    pub(super) kept: u64,
    /// What is arriving.
    pub(super) parts: HashMap<UploadId, u64>,
}

/// All images, sorted.
pub(super) fn list(root: &Root) -> Result<Vec<Entry>, StoreError> {
    let mut found = Vec::new();
    list_folder(root, root.dir(), "", &mut found)
        .map_err(|error| StoreError::io(format!("list {}", root.path().display()), error))?;
    if found.len() == ENTRIES_MAX {
        tracing::warn!("{}: only {ENTRIES_MAX} images are listed", root.path().display());
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn list_folder(
    root: &Root,
    folder: &OwnedFd,
    prefix: &str,
    found: &mut Vec<Entry>,
) -> rustix::io::Result<()> {
    for item in Dir::read_from(folder)? {
        if found.len() == ENTRIES_MAX {
            break;
        }
        let item = item?;
        let Ok(part) = item.file_name().to_str() else { continue };
        // This also leaves out what is hidden, and `.` and `..`.
        let Ok(name) = ImageName::parse(&format!("{prefix}{part}")) else { continue };
        let Ok(stat) = rustix::fs::statat(folder, part, AtFlags::SYMLINK_NOFOLLOW) else {
            continue; // gone meanwhile
        };
        if is_file(&stat) {
            found.push(entry(name, &stat));
        } else if is_folder(&stat) {
            let walked = open_folder(folder, part)
                .and_then(|inner| list_folder(root, &inner, &format!("{name}/"), found));
            if let Err(error) = walked {
                tracing::debug!("{name} is not listed: {error}");
            }
        } else if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
            && let Ok(target) = root.open_at(name.as_str(), OFlags::PATH)
            && let Ok(stat) = rustix::fs::fstat(target)
            && is_file(&stat)
        {
            found.push(entry(name, &stat));
        }
    }
    Ok(())
}

/// What the store holds, hidden folders included.
pub(super) fn usage(root: &Root) -> rustix::io::Result<Usage> {
    let mut usage = Usage::default();
    count_folder(root.dir(), "", DEPTH_MAX, &mut usage)?;
    Ok(usage)
}

fn count_folder(
    folder: &OwnedFd,
    name: &str,
    depth: usize,
    usage: &mut Usage,
) -> rustix::io::Result<()> {
    for item in Dir::read_from(folder)? {
        let item = item?;
        let part = item.file_name();
        if part == c"." || part == c".." {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(folder, part, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let text = part.to_str().unwrap_or("");
        if is_folder(&stat) {
            let inner = if name.is_empty() { text } else { "?" };
            if let (Some(depth), Ok(dir)) = (depth.checked_sub(1), open_folder(folder, part)) {
                count_folder(&dir, inner, depth, usage)?;
            }
        } else if is_file(&stat) {
            let bytes = bytes_of(&stat);
            let arriving = text.strip_suffix(".part").and_then(UploadId::parse);
            match arriving.filter(|_| name == UPLOADS) {
                Some(id) => drop(usage.parts.insert(id, bytes)),
                None => usage.kept = usage.kept.saturating_add(bytes),
            }
        }
    }
    Ok(())
}

fn open_folder(above: impl AsFd, part: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(above, part, flags, Mode::empty())
}
