//! Growing a filesystem to the length of its device.
//!
//! What it owns: asking the kernel, which grows ext4, XFS and btrfs while they are mounted, and
//! mounting one for that where nobody sees it. What it never does: change a byte of a filesystem by
//! itself, or grow one that its own marks call damaged.

use super::{Allocation, Filesystem, btrfs, ext};
use crate::disk::{DiskError, ReadDisk, sys};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use std::fs::File;
use std::io;
use std::path::Path;

/// A filesystem that the kernel can grow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Growable {
    /// ext2, ext3 or ext4: one driver.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs; the partition is this device of it.
    Btrfs {
        /// Its number in the filesystem.
        device: u64,
    },
}

/// A mounted filesystem to grow.
#[derive(Debug)]
pub struct Mounted {
    kind: Growable,
    root: File,
}

impl Growable {
    /// The way to grow what [`probe`](super::probe) found on `disk`; `None` when there is none.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn of(found: &Filesystem, disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        Ok(match found.name {
            "ext2" | "ext3" | "ext4" => Some(Self::Ext4),
            "xfs" => Some(Self::Xfs),
            "btrfs" => btrfs::device_of(disk)?.map(|device| Self::Btrfs { device }),
            _ => None,
        })
    }

    /// Why a filesystem that is not mounted has to be repaired before it is grown; `None` when
    /// nothing speaks against it. A journal to be replayed does not: mounting replays it.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn damage(
        self,
        found: &Filesystem,
        disk: &dyn ReadDisk,
    ) -> Result<Option<String>, DiskError> {
        if let Allocation::Corrupt(corrupt) = &found.allocation {
            return Ok(Some(format!("it is damaged: {corrupt}")));
        }
        match self {
            Self::Ext4 => Ok(ext::damage_of(disk)?.map(String::from)),
            Self::Xfs | Self::Btrfs { .. } => Ok(None),
        }
    }

    /// The kernel's name for it.
    fn driver(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs { .. } => "btrfs",
        }
    }

    /// Mounts a device outside of everybody's directories, until the answer is dropped. If it is
    /// mounted already, this is one more view of the same.
    ///
    /// # Errors
    /// What the system says; `ResourceBusy` when it is mounted read-only, or held.
    pub fn mount(self, device: &Path) -> io::Result<Mounted> {
        let context = rustix::mount::fsopen(self.driver(), FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&context, "source", device)?;
        rustix::mount::fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOSUID;
        let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&mount, ".", flags, Mode::empty())?;
        Ok(Mounted { kind: self, root: File::from(root) })
    }
}

impl Mounted {
    /// Bytes that it has for files, as `df` counts.
    ///
    /// # Errors
    /// What the system says.
    pub fn capacity_bytes(&self) -> io::Result<u64> {
        let numbers = rustix::fs::fstatvfs(&self.root)?;
        Ok(numbers.f_blocks.saturating_mul(numbers.f_frsize))
    }

    /// Grows it to a device of so many bytes and waits until that is on stable storage. Nothing to
    /// grow is no error.
    ///
    /// # Errors
    /// What the system says.
    pub fn grow(&self, device_bytes: u64) -> io::Result<()> {
        match self.kind {
            Growable::Ext4 => {
                let block_bytes = rustix::fs::fstatvfs(&self.root)?.f_bsize;
                sys::resize_ext4(&self.root, device_bytes / block_bytes.max(1))?;
            }
            Growable::Xfs => {
                let now = sys::xfs_geometry(&self.root)?;
                let blocks = device_bytes / u64::from(now.block_bytes).max(1);
                if blocks > now.data_blocks {
                    sys::grow_xfs(&self.root, blocks, now.inode_percent_max)?;
                }
            }
            Growable::Btrfs { device } => {
                if !sys::grow_btrfs(&self.root, device)? {
                    let text = "a balance or another such operation is under way";
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
                }
            }
        }
        Ok(rustix::fs::syncfs(&self.root)?)
    }
}
