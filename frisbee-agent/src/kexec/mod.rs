//! Starting the system on a disk without going through the firmware.
//!
//! What it owns: looking for a boot loader's configuration on the disk's filesystems, mounted
//! read-only one after the other, and handing kernel, initrd and command line to this kernel. What
//! it never does: write to the disk, or run a boot loader.

pub mod bls;
pub mod extlinux;
pub mod find;
pub mod grub;
mod tree;

pub use tree::Tree;

use crate::disks::{Disk, Roots, partitions};
use crate::sys::kexec_file_load;
use find::{Entry, find};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Filesystems that systems boot from.
const FILESYSTEMS: [&str; 7] = ["ext4", "xfs", "btrfs", "vfat", "f2fs", "ext3", "ext2"];

/// Partitions appear a moment after the table was written.
const APPEAR: Duration = Duration::from_secs(5);

/// Kernel and initrds are at most this long.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Why a system cannot be started.
#[derive(Debug, Error)]
pub enum KexecError {
    /// No partition has a configuration that names a kernel.
    #[error(
        "no filesystem of {disk} has a kernel that grub.cfg, boot loader entries, extlinux.conf or a \
         link /vmlinuz leads to; looked at {tried}"
    )]
    NothingFound {
        /// The disk.
        disk: String,
        /// What was looked at, and why it was of no use.
        tried: String,
    },
    /// A file cannot be read.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel does not take it.
    #[error("the kernel does not take {kernel}: {source}{}", hint(*source))]
    Refused {
        /// Which.
        kernel: String,
        /// What it said.
        source: nix::Error,
    },
}

fn hint(error: nix::Error) -> &'static str {
    match error {
        nix::Error::ENOSYS => " (it is built without kexec)",
        nix::Error::EPERM => " (secure boot or kexec_load_disabled forbid it)",
        nix::Error::EKEYREJECTED | nix::Error::ENOKEY | nix::Error::EBADMSG => {
            " (its signature is not accepted)"
        }
        _ => "",
    }
}

/// A filesystem that is mounted as long as this lives.
struct Mounted {
    folder: PathBuf,
}

impl Mounted {
    fn new(device: &Path) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("frisbee-kexec-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let flags =
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        for kind in FILESYSTEMS {
            if mount(Some(device), &folder, Some(kind), flags, None::<&str>).is_ok() {
                return Ok(Self { folder });
            }
        }
        let _ = fs::remove_dir(&folder);
        Err("no filesystem that is known here".into())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The files that were opened in it may be in use for a moment more.
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Gives this kernel the one on the disk; a reboot of mode KEXEC starts it.
///
/// # Errors
/// When there is none that can be found, or it is not taken.
pub fn load(disk: &Disk, roots: &Roots) -> Result<(), KexecError> {
    let mut tried = Vec::new();
    for device in devices(disk, roots) {
        let why = match Mounted::new(&device) {
            Err(error) => error,
            Ok(mounted) => match Tree::open(&mounted.folder) {
                Err(error) => error.to_string(),
                Ok(tree) => match find(&tree, &device) {
                    Some(entry) => return hand_over(&tree, &entry),
                    None => "nothing to start".into(),
                },
            },
        };
        tried.push(format!("{}: {why}", device.display()));
    }
    let disk = disk.path.display().to_string();
    Err(KexecError::NothingFound { disk, tried: tried.join(", ") })
}

/// The partitions, or the disk itself when it has none.
fn devices(disk: &Disk, roots: &Roots) -> Vec<PathBuf> {
    let folder = roots.sys.join("block").join(disk.name.replace('/', "!"));
    let start = Instant::now();
    loop {
        let found: Vec<_> = partitions(&folder).iter().map(|name| roots.dev.join(name)).collect();
        let is_there = found.iter().all(|device| device.exists());
        match found.is_empty() {
            false if is_there => return found,
            true if start.elapsed() > APPEAR => return vec![disk.path.clone()],
            false if start.elapsed() > APPEAR => return found,
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn hand_over(tree: &Tree, entry: &Entry) -> Result<(), KexecError> {
    let open = |path: &str| {
        tree.file(path).map_err(|source| KexecError::Io { what: path.to_owned(), source })
    };
    let kernel = open(&entry.kernel)?;
    let initrd = match entry.initrds.as_slice() {
        [] => None,
        [one] => Some(open(one)?),
        several => {
            let files = several.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
            let what = several.join(" + ");
            Some(joined(files).map_err(|source| KexecError::Io { what, source })?)
        }
    };
    let words = CString::new(entry.command_line.replace('\0', " ")).unwrap_or_default();
    kexec_file_load(kernel.as_fd(), initrd.as_ref().map(AsFd::as_fd), &words)
        .map_err(|source| KexecError::Refused { kernel: entry.kernel.clone(), source })
}

/// Several archives as one: each begins at a multiple of four bytes.
fn joined(files: Vec<File>) -> io::Result<File> {
    let mut all = File::from(memfd_create("initrd", MFdFlags::MFD_CLOEXEC)?);
    for mut file in files {
        let len = file.metadata()?.len();
        if len > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "an initrd is too long"));
        }
        let copied = io::copy(&mut file, &mut all)?;
        let rest = usize::try_from(copied.next_multiple_of(4).saturating_sub(copied)).unwrap_or(0);
        all.write_all([0; 4].get(..rest).unwrap_or_default())?;
    }
    Ok(all)
}
