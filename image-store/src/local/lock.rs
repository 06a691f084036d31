//! Who may write what, among all uploads of this and of other processes.
//!
//! What it owns: the file `.uploads/lock`. One of its bytes stands for each name (by its digest),
//! the first one for the folder as a whole; who holds the kernel's lock on a byte may write. The
//! kernel drops the locks of a process that ends, however it ends. The file itself stays empty.

use crate::ImageName;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "closing it gives up the lock")] OwnedFd);

/// The byte that stands for the folder.
const FOLDER: i64 = 0;

/// Takes the lock of `name`; `None` when somebody else has it.
pub(super) fn lock_name(uploads: impl AsFd, name: &ImageName) -> io::Result<Option<Lock>> {
    let digest = blake3::hash(name.as_str().as_bytes());
    let number = digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    // 62 bits: names that share a byte by chance are not to be expected.
    let byte = i64::try_from(number >> 2).unwrap_or(0).max(FOLDER + 1);
    let file = open(uploads)?;
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&one_byte(byte)?)) {
        Ok(_) => Ok(Some(Lock(file))),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the lock of the folder. It is held for a moment only: while the files of an upload
/// are made, and while leftovers are looked for.
pub(super) fn lock_folder(uploads: impl AsFd) -> io::Result<Lock> {
    let file = open(uploads)?;
    let lock = one_byte(FOLDER)?;
    loop {
        match fcntl(&file, FcntlArg::F_OFD_SETLKW(&lock)) {
            Ok(_) => return Ok(Lock(file)),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A description of its own, so that two uploads of one process exclude each other, too.
fn open(uploads: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(uploads, "lock", flags, Mode::from_raw_mode(0o600))?)
}

fn one_byte(at: i64) -> io::Result<libc::flock> {
    let short = |value: i32| libc::c_short::try_from(value).map_err(io::Error::other);
    Ok(libc::flock {
        l_type: short(libc::F_WRLCK)?,
        l_whence: short(libc::SEEK_SET)?,
        l_start: at,
        l_len: 1,
        l_pid: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_name_is_locked_once_and_freed_by_dropping() {
        let dir = tempfile::tempdir().unwrap();
        let fd = File::open(dir.path()).unwrap();
        let (a, b) = (ImageName::parse("a").unwrap(), ImageName::parse("b").unwrap());
        let held = lock_name(&fd, &a).unwrap().unwrap();
        assert!(lock_name(&fd, &a).unwrap().is_none());
        assert!(lock_name(&fd, &b).unwrap().is_some());
        let _folder = lock_folder(&fd).unwrap();
        drop(held);
        assert!(lock_name(&fd, &a).unwrap().is_some());
    }
}
