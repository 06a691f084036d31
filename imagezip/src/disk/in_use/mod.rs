//! Who uses a disk: mounts, swap, and devices stacked on it.
//!
//! What it owns: the questions "does somebody write to this disk while we read it or overwrite it"
//! and "would this output land on the disk it is an image of". What it never does: forbid; callers
//! do. It sees what `/proc` and `/sys` show to this process: a mount in another namespace, or a pool
//! that the kernel does not list (ZFS), is only found by the kernel's own claim when a target is
//! opened.

mod system;

pub use system::{DeviceId, Identity, System};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use system::{Facts, Node};
use thiserror::Error;

/// One use of a disk, of a part of it, or of something stacked on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Use {
    /// Name of the device in use, such as `sda1`; the path for a regular file.
    pub device: String,
    /// How it is used.
    pub how: How,
}

/// How a device is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum How {
    /// Its filesystem is mounted and changes.
    MountedReadWrite {
        /// The mount point.
        at: PathBuf,
    },
    /// Its filesystem is mounted and does not change.
    MountedReadOnly {
        /// The mount point.
        at: PathBuf,
    },
    /// The kernel swaps to it.
    Swap,
    /// A device of a volume manager or RAID stands on it.
    Holder {
        /// That device.
        name: String,
    },
    /// A loop device stands on it.
    LoopBacked {
        /// The loop device.
        device: String,
    },
}

impl Use {
    /// True when the content changes while we read it.
    pub fn changes_content(&self) -> bool {
        matches!(self.how, How::MountedReadWrite { .. } | How::Swap)
    }

    /// True when overwriting it takes data away under a filesystem, a volume or a swap area. A
    /// loop device alone is not such a use; what stands on the loop device is listed by itself.
    pub fn forbids_writing(&self) -> bool {
        !matches!(self.how, How::LoopBacked { .. })
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = &self.device;
        match &self.how {
            How::MountedReadWrite { at } => {
                write!(f, "{device} is mounted read-write at {}", at.display())
            }
            How::MountedReadOnly { at } => {
                write!(f, "{device} is mounted read-only at {}", at.display())
            }
            How::Swap => write!(f, "{device} is active swap"),
            How::Holder { name } => write!(f, "{device} is part of {name}"),
            How::LoopBacked { device: name } => write!(f, "{device} is behind {name}"),
        }
    }
}

/// What uses a disk could not be found out.
#[derive(Debug, Error)]
#[error("cannot find out what uses the disk: {}: {source}", path.display())]
pub struct InUseError {
    /// What could not be read.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Everything that uses the disk at `path`: a block device, its partitions and what stands on
/// them, or a regular file that a loop device stands on. Empty for an unused one.
///
/// # Errors
/// When `path` or the mount table cannot be read.
pub fn uses_of(path: &Path) -> Result<Vec<Use>, InUseError> {
    System::real().uses_of(path)
}

/// Why writing `output` would write to `source`, or `None` when it would not: they are the same
/// disk or file, one stands on the other, or `output` is in a filesystem that lies on `source`.
/// An `output` that does not exist is judged by its directory.
///
/// # Errors
/// When `source`, the directory of `output` or the mount table cannot be read.
pub fn same_storage(source: &Path, output: &Path) -> Result<Option<String>, InUseError> {
    System::real().same_storage(source, output)
}

/// Who holds a device that the kernel does not give us, in words.
pub(crate) fn holders_of(path: &Path) -> String {
    let uses = uses_of(path).unwrap_or_default();
    if uses.is_empty() {
        return "the kernel says that it or a part of it is held, but not by whom; \
                another program may have it open, or it is mounted in another namespace"
            .into();
    }
    uses.iter().map(Use::to_string).collect::<Vec<_>>().join("; ")
}

impl System {
    /// As the function [`uses_of`].
    ///
    /// # Errors
    /// When `path` or the mount table cannot be read.
    pub fn uses_of(&self, path: &Path) -> Result<Vec<Use>, InUseError> {
        let facts = Facts::read(self)?;
        let Some(start) = facts.node(path)? else { return Ok(Vec::new()) };
        let mut uses = Vec::new();
        let mut seen = vec![start.clone()];
        let mut next = 0;
        while let Some(node) = seen.get(next).cloned() {
            next += 1;
            facts.direct_uses(&node, &mut uses);
            for above in facts.above(&node) {
                if !seen.contains(&above) {
                    seen.push(above);
                }
            }
        }
        // A whole disk in one piece: its users use each of its partitions.
        if let Some(parent) = facts.parent(&start) {
            facts.direct_uses(&parent, &mut uses);
        }
        Ok(uses)
    }

    /// As the function [`same_storage`].
    ///
    /// # Errors
    /// When `source`, the directory of `output` or the mount table cannot be read.
    pub fn same_storage(&self, source: &Path, output: &Path) -> Result<Option<String>, InUseError> {
        let facts = Facts::read(self)?;
        let Some(from) = facts.node(source)? else { return Ok(None) };
        let to = match facts.node(output) {
            Err(e) if e.source.kind() == io::ErrorKind::NotFound => {
                facts.node(match output.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    _ => Path::new("."),
                })?
            }
            found => found?,
        };
        let Some(to) = to else { return Ok(None) };
        let (source, output) = (source.display(), output.display());
        Ok(if to == from {
            Some(format!("{output} and {source} are the same"))
        } else if facts.below(&to).contains(&from) {
            Some(format!("{output} lies on {source}"))
        } else if facts.below(&from).contains(&to) {
            Some(format!("{source} lies on {output}"))
        } else {
            None
        })
    }
}

impl Facts<'_> {
    /// Uses of exactly this device or file.
    fn direct_uses(&self, node: &Node, uses: &mut Vec<Use>) {
        let device = self.name(node);
        let mut add = |how| {
            let found = Use { device: device.clone(), how };
            if !uses.contains(&found) {
                uses.push(found);
            }
        };
        for mount in &self.mounts {
            if mount.devices.iter().any(|d| *node == Node::Device(*d)) {
                let at = mount.at.clone();
                add(if mount.writable {
                    How::MountedReadWrite { at }
                } else {
                    How::MountedReadOnly { at }
                });
            }
        }
        if self.swaps.contains(node) {
            add(How::Swap);
        }
        for holder in self.holders(node) {
            add(How::Holder { name: self.name(&holder) });
        }
        for stacked in self.loops_on(node) {
            add(How::LoopBacked { device: self.name(&stacked) });
        }
    }

    /// What stands on this directly.
    fn above(&self, node: &Node) -> Vec<Node> {
        let mut above = self.partitions(node);
        above.extend(self.holders(node));
        above.extend(self.loops_on(node));
        above
    }

    /// Everything this stands on, down to the last disk.
    fn below(&self, node: &Node) -> Vec<Node> {
        let mut seen = self.directly_below(node);
        let mut next = 0;
        while let Some(node) = seen.get(next).cloned() {
            next += 1;
            for below in self.directly_below(&node) {
                if !seen.contains(&below) {
                    seen.push(below);
                }
            }
        }
        seen
    }

    fn directly_below(&self, node: &Node) -> Vec<Node> {
        let mut below = self.filesystem_under(node);
        below.extend(self.members(node));
        below.extend(self.parent(node));
        below.extend(self.backing(node));
        below
    }
}

#[cfg(test)]
mod tests;
