//! The two requests to a block device that no safe crate offers.
//!
//! What it owns: all of this crate's `unsafe`. What it never does: decide; callers say what a
//! failure means. Opcodes are those of the kernel's `linux/fs.h`.

#![allow(
    unsafe_code,
    reason = "ioctl numbers pick the argument's type, which only we can vouch for"
)]

use rustix::ioctl::{NoArg, Opcode, Setter, ioctl, opcode};
use std::fs::File;
use std::io;

/// `BLKRRPART`: read the partition table again.
const BLKRRPART: Opcode = opcode::none(0x12, 95);

/// `BLKDISCARD`: forget a byte range, given as `u64[2]`: start and length.
const BLKDISCARD: Opcode = opcode::none(0x12, 119);

/// Tells a block device that `len` bytes from `offset` are not needed.
pub(super) fn discard(device: &File, offset: u64, len: u64) -> io::Result<()> {
    // SAFETY: BLKDISCARD reads two u64 behind the pointer, which is what Setter points it at, and
    // writes no memory of ours. On something that is not a block device it fails with ENOTTY.
    unsafe { ioctl(device, Setter::<BLKDISCARD, [u64; 2]>::new([offset, len])) }?;
    Ok(())
}

/// Makes the kernel read the partition table of a block device again.
pub(super) fn reread_partitions(device: &File) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument and touches no memory of ours.
    unsafe { ioctl(device, NoArg::<BLKRRPART>::new()) }?;
    Ok(())
}
