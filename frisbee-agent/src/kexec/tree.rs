//! Files of a mounted filesystem, by their paths in it: links never lead out of it.

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

/// A configuration file is at most this long.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Names of a folder that are looked at.
const NAMES_MAX: usize = 1024;

/// A folder as the root of all paths.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// The tree below this folder.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(root: &Path) -> io::Result<Self> {
        File::open(root).map(|root| Self { root: root.into() })
    }

    fn descriptor(&self, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | flags)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Ok(openat2(&self.root, path, how)?)
    }

    /// A regular file.
    ///
    /// # Errors
    /// When there is none.
    pub fn file(&self, path: &str) -> io::Result<File> {
        let file = File::from(self.descriptor(path, OFlag::empty())?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file")),
        }
    }

    /// The text of a file that is not too long.
    pub fn text(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        self.file(path).ok()?.take(TEXT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The names in a folder, sorted.
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(folder) = self.descriptor(path, OFlag::O_DIRECTORY) else { return Vec::new() };
        let Ok(mut folder) = nix::dir::Dir::from_fd(folder) else { return Vec::new() };
        let mut names: Vec<String> = folder
            .iter()
            .take(NAMES_MAX)
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}
