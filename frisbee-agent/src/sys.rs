//! The one system call that no safe crate offers.
//!
//! What it owns: all of this crate's `unsafe`. What it never does: decide. Numbers and flags are those
//! of the kernel's `linux/kexec.h` and `asm/unistd.h`.

#![allow(unsafe_code, reason = "kexec_file_load has no wrapper, in C libraries neither")]

use nix::errno::Errno;
use nix::libc::{c_int, c_long, c_ulong, syscall};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

#[cfg(target_arch = "x86_64")]
const SYS_KEXEC_FILE_LOAD: c_long = 320;
/// The number of all architectures that came after the common table.
#[cfg(not(target_arch = "x86_64"))]
const SYS_KEXEC_FILE_LOAD: c_long = 294;

/// There is no initial RAM filesystem.
const KEXEC_FILE_NO_INITRAMFS: c_ulong = 4;

/// Gives the kernel the one that the next reboot of mode KEXEC starts.
pub(crate) fn kexec_file_load(
    kernel: BorrowedFd<'_>,
    initrd: Option<BorrowedFd<'_>>,
    command_line: &CStr,
) -> nix::Result<()> {
    let flags = if initrd.is_none() { KEXEC_FILE_NO_INITRAMFS } else { 0 };
    let initrd: c_int = initrd.map_or(-1, |initrd| initrd.as_raw_fd());
    let len = command_line.to_bytes_with_nul().len();
    // SAFETY: the call reads `len` bytes, with the NUL, behind the pointer, which is what a CStr has,
    // and writes no memory of ours. The descriptors are borrowed, so they are open; what they are the
    // kernel checks. All arguments are passed as the long words that the kernel takes.
    let result = unsafe {
        syscall(
            SYS_KEXEC_FILE_LOAD,
            c_long::from(kernel.as_raw_fd()),
            c_long::from(initrd),
            len,
            command_line.as_ptr(),
            flags,
        )
    };
    Errno::result(result).map(drop)
}
