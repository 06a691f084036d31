//! System calls carried through: whole reads and writes, whatever interrupts or shortens them.
//!
//! What it owns: the loops, and the byte at which one failed. What it never does: move a file
//! position.

use super::{DiskError, Operation};
use crate::units::SECTOR_SIZE;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A system call that failed at a byte.
pub(super) struct Failure {
    pub(super) offset: u64,
    pub(super) source: io::Error,
}

impl Failure {
    pub(super) fn at(offset: u64, source: io::Error) -> Self {
        Self { offset, source }
    }

    pub(super) fn of(self, operation: Operation) -> DiskError {
        DiskError::new(operation, self.offset, self.source)
    }
}

/// A length as a byte count; `usize` is never wider here.
pub(super) fn u64_len(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

pub(super) fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY))
}

/// True when the kernel refuses how it was asked, as for direct IO off the grid.
pub(super) fn is_invalid(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INVAL)
}

/// Runs a call again as long as a signal interrupts it.
pub(super) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

pub(super) fn retry_errno<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

pub(super) fn read_some(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    retry(|| file.read_at(buf, offset))
}

/// Reads until `buf` is full or the file ends; how much came.
pub(super) fn read_up_to(file: &File, buf: &mut [u8], offset: u64) -> Result<usize, Failure> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset + u64_len(done);
        match read_some(file, rest, at) {
            Ok(0) => break,
            Ok(n) => done += n,
            // A direct read that ended inside a sector has reached the end of the file; what
            // follows it starts off the grid.
            Err(e) if done > 0 && is_invalid(&e) && !at.is_multiple_of(SECTOR_SIZE) => break,
            Err(e) => return Err(Failure::at(at, e)),
        }
    }
    Ok(done)
}

pub(super) fn read_all(file: &File, buf: &mut [u8], offset: u64) -> Result<(), Failure> {
    let got = read_up_to(file, buf, offset)?;
    if got == buf.len() {
        return Ok(());
    }
    let text = "the file ends here; it has become shorter since it was opened";
    let source = io::Error::new(io::ErrorKind::UnexpectedEof, text);
    Err(Failure::at(offset + u64_len(got), source))
}

pub(super) fn write_all(file: &File, data: &[u8], offset: u64) -> Result<(), Failure> {
    let (mut rest, mut at) = (data, offset);
    while !rest.is_empty() {
        let n = retry(|| file.write_at(rest, at)).map_err(|e| Failure::at(at, e))?;
        if n == 0 {
            return Err(Failure::at(at, io::ErrorKind::WriteZero.into()));
        }
        at += u64_len(n);
        rest = rest.get(n..).unwrap_or_default();
    }
    Ok(())
}
