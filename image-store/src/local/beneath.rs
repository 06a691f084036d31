//! The directory, and the only ways into it.
//!
//! What it owns: opening things below the root so that nothing leads out of it, whatever links lie
//! there and whoever moves folders meanwhile. The kernel sees to that (`openat2` with
//! `RESOLVE_BENEATH`); where it cannot (before Linux 5.6, or when a sandbox forbids the call), no
//! link is followed at all. What it never does: take a path that is not an [`ImageName`] or one of
//! the store's own names.

use crate::{ImageName, StoreError};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How often a race with somebody who moves folders is tried again.
const RACES_MAX: u32 = 32;

/// The store's directory.
#[derive(Debug)]
pub(super) struct Root {
    dir: OwnedFd,
    path: PathBuf,
    /// The kernel resolves names beneath the root for us.
    has_openat2: bool,
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl Root {
    /// Opens the directory.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let dir = rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(|error| {
            let why = format!("cannot open this directory of images: {error}");
            StoreError::Location { location: path.display().to_string(), why }
        })?;
        let resolve = ResolveFlags::BENEATH;
        let has_openat2 = rustix::fs::openat2(&dir, ".", DIRECTORY, Mode::empty(), resolve).is_ok();
        Ok(Self { dir, path: path.into(), has_openat2 })
    }

    /// Follows no link from now on, as where the kernel cannot keep them inside.
    #[cfg(test)]
    pub(super) fn without_openat2(mut self) -> Self {
        self.has_openat2 = false;
        self
    }

    /// True when links that stay inside can be followed.
    #[cfg(test)]
    pub(super) fn has_openat2_for_tests(&self) -> bool {
        self.has_openat2
    }

    /// Where it is, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself.
    pub(super) fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// Opens what stands at `relative`, a path of plain parts.
    pub(super) fn open_at(&self, relative: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if !self.has_openat2 {
            return self.walk(relative, flags);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut races = 0;
        loop {
            match rustix::fs::openat2(&self.dir, relative, flags, Mode::empty(), resolve) {
                // A folder was moved while the kernel looked.
                Err(Errno::AGAIN | Errno::INTR) if races < RACES_MAX => races += 1,
                other => return other,
            }
        }
    }

    /// Part by part, following no link.
    fn walk(&self, relative: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW;
        let (folders, last) = match relative.rsplit_once('/') {
            Some((folders, last)) => (Some(folders), last),
            None => (None, relative),
        };
        let Some(folders) = folders else {
            return rustix::fs::openat(&self.dir, last, flags, Mode::empty());
        };
        let mut dir: Option<OwnedFd> = None;
        for part in folders.split('/') {
            let above = dir.as_ref().unwrap_or(&self.dir);
            let next =
                rustix::fs::openat(above, part, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
            dir = Some(next);
        }
        rustix::fs::openat(dir.as_ref().unwrap_or(&self.dir), last, flags, Mode::empty())
    }

    /// The folder that holds `name`.
    pub(super) fn folder_of(&self, name: &ImageName) -> rustix::io::Result<OwnedFd> {
        match name.split().0 {
            None => self.dir.try_clone().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)),
            Some(folders) => self.open_at(folders, DIRECTORY),
        }
    }

    /// The same; folders that are missing are made, and are there for good.
    pub(super) fn make_folder_of(&self, name: &ImageName) -> rustix::io::Result<OwnedFd> {
        let Some(folders) = name.split().0 else { return self.folder_of(name) };
        let ends = folders.match_indices('/').map(|(at, _)| at).chain([folders.len()]);
        let mut above = "";
        let mut dir = None;
        for end in ends {
            let path = folders.get(..end).unwrap_or(folders);
            let last = path.rsplit_once('/').map_or(path, |(_, last)| last);
            let parent = if above.is_empty() { None } else { dir.as_ref() };
            let parent = parent.unwrap_or(&self.dir);
            make_dir(parent, last)?;
            dir = Some(self.open_at(path, DIRECTORY)?);
            above = path;
        }
        dir.map_or_else(|| self.folder_of(name), Ok)
    }

    /// One of the store's own folders, made if missing.
    pub(super) fn make_hidden(&self, folder: &str) -> rustix::io::Result<OwnedFd> {
        make_dir(&self.dir, folder)?;
        self.hidden(folder)
    }

    /// One of the store's own folders, which must be there.
    pub(super) fn hidden(&self, folder: &str) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(&self.dir, folder, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
    }
}

/// Makes a folder unless it is there.
fn make_dir(parent: impl AsFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(parent.as_fd(), name, Mode::from_raw_mode(0o755)) {
        Ok(()) => rustix::fs::fsync(parent),
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}
