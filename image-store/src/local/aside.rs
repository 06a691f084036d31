//! Broken uploads, kept for somebody to look at.
//!
//! What it owns: the folder `.aside` and its bounds: the oldest go first. What it never does: serve
//! anything from there; no name of an image leads to it.

use super::LocalStore;
use super::part::{journal_name, now, part_facts, part_name, remove};
use crate::{ImageName, UploadId};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

/// The folder.
const ASIDE: &str = ".aside";

/// Most broken uploads looked at.
const LISTED_MAX: usize = 10_000;

impl LocalStore {
    /// Moves an upload's bytes aside, with a text that says why. One larger than all that may be
    /// kept leaves the text only.
    pub(super) fn put_aside(
        &self,
        uploads: &OwnedFd,
        id: UploadId,
        name: &ImageName,
        reason: &str,
    ) -> io::Result<()> {
        let folder = self.root.make_hidden(ASIDE)?;
        let bytes = part_facts(uploads, id).map_or(0, |(bytes, _)| bytes);
        let stem = format!("{:012}-{id}", now());
        let kept = bytes <= self.options.aside_bytes_max && self.options.aside_files_max > 0;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let text = format!("{stem}.txt");
        let text = rustix::fs::openat(&folder, text, flags, Mode::from_raw_mode(0o644))?;
        let what = if kept { "kept beside this text" } else { "not kept: too many" };
        writeln!(
            File::from(text),
            "name:   {name}\nbytes:  {bytes}, {what}\nreason: {reason}\n\
             This upload was not published. Nothing is served from this folder.",
        )?;
        if kept {
            rustix::fs::renameat(uploads, part_name(id), &folder, format!("{stem}.part"))?;
        } else {
            remove(uploads, &part_name(id))?;
        }
        self.parked().remove(&id);
        remove(uploads, &journal_name(id))?;
        tracing::warn!("upload of {name} set aside as .aside/{stem}: {reason}");
        self.prune(&folder)
    }

    /// Removes the oldest until the rest is within the bounds.
    fn prune(&self, folder: &OwnedFd) -> io::Result<()> {
        let mut stems: BTreeMap<String, u64> = BTreeMap::new();
        for item in Dir::read_from(folder)?.take(LISTED_MAX) {
            let item = item?;
            let Some((stem, kind)) =
                item.file_name().to_str().ok().and_then(|n| n.rsplit_once('.'))
            else {
                continue;
            };
            if kind == "part" || kind == "txt" {
                let stat = rustix::fs::statat(folder, item.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                let bytes = stems.entry(stem.into()).or_default();
                *bytes = bytes.saturating_add(super::bytes_of(&stat));
            }
        }
        let (mut files, mut bytes) = (0, 0_u64);
        for (stem, size) in stems.iter().rev() {
            files += 1;
            bytes = bytes.saturating_add(*size);
            if files > self.options.aside_files_max.max(1) || bytes > self.options.aside_bytes_max {
                // The text of the newest one is always kept.
                remove(folder, &format!("{stem}.part"))?;
                if files > 1 {
                    remove(folder, &format!("{stem}.txt"))?;
                }
            }
        }
        Ok(())
    }
}
