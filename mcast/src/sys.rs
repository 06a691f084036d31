//! The one system call that no safe wrapper offers.
//!
//! What it owns: this crate's only unsafe code. What it never does: keep a file descriptor.

#![allow(unsafe_code, reason = "getsockopt(SO_MEMINFO) has no safe wrapper in the crates we use")]

use nix::libc;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Words in the answer (`SK_MEMINFO_VARS` of include/uapi/linux/sock_diag.h).
const MEMINFO_WORDS: usize = 9;

/// Index of the word that counts drops (`SK_MEMINFO_DROPS`), also its least length.
const MEMINFO_DROPS: usize = 8;

/// Datagrams that the kernel dropped on this socket since it was opened, nearly all for lack of
/// receive buffer. Exact at any time; wraps at 2^32.
pub(crate) fn receive_drops(socket: &impl AsFd) -> io::Result<u32> {
    let mut words = [0u32; MEMINFO_WORDS];
    let size = size_of_val(&words);
    let mut len = libc::socklen_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: `words` is a live, writable array of `len` bytes, and `len` lives as long as the call;
    // the kernel writes at most `len` bytes of plain integers, for which any bit pattern is valid.
    // The descriptor is borrowed, so it is open during the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    if usize::try_from(len).is_ok_and(|len| len < size) {
        let text = format!("SO_MEMINFO answered {len} bytes where {size} were expected");
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok(words[MEMINFO_DROPS])
}

/// Turns UDP checksums off for datagrams sent: a device that cannot compute them makes the kernel
/// refuse segmentation with the same error.
#[cfg(test)]
pub(crate) fn disable_checksums(socket: &impl AsFd) {
    let on: libc::c_int = 1;
    // SAFETY: the option is one live integer and its exact size is given; the descriptor is borrowed.
    let status = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            (&raw const on).cast(),
            libc::socklen_t::try_from(size_of_val(&on)).unwrap(),
        )
    };
    assert_eq!(status, 0, "{}", io::Error::last_os_error());
}
