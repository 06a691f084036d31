//! The requests to devices and filesystems that no safe crate offers.
//!
//! What it owns: all of this crate's `unsafe`. What it never does: decide; callers say what a
//! failure means. Numbers and layouts are those of the kernel's `linux/fs.h`, `linux/blkpg.h`,
//! `linux/btrfs.h`, `fs/ext4/ext4.h` and `fs/xfs/libxfs/xfs_fs.h`.

#![allow(
    unsafe_code,
    reason = "ioctl numbers pick the argument's type, which only we can vouch for"
)]

use rustix::ioctl::{Getter, Ioctl, IoctlOutput, NoArg, Opcode, Setter, ioctl, opcode};
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;

/// `BLKRRPART`: read the partition table again.
const BLKRRPART: Opcode = opcode::none(0x12, 95);

/// `BLKPG`: change one partition, as the kernel has it.
const BLKPG: Opcode = opcode::none(0x12, 105);

/// `BLKPG_RESIZE_PARTITION`, the operation.
const RESIZE_PARTITION: c_int = 3;

/// `BLKDISCARD`: forget a byte range, given as `u64[2]`: start and length.
const BLKDISCARD: Opcode = opcode::none(0x12, 119);

/// `EXT4_IOC_RESIZE_FS`: grow to this many blocks.
const EXT4_RESIZE: Opcode = opcode::write::<u64>(b'f', 16);

/// `XFS_IOC_FSGEOMETRY_V1`: sizes of a mounted filesystem.
const XFS_GEOMETRY: Opcode = opcode::read::<XfsGeometry>(b'X', 100);

/// `XFS_IOC_FSGROWFSDATA`: grow to this many blocks.
const XFS_GROW: Opcode = opcode::write::<XfsGrow>(b'X', 110);

/// `BTRFS_IOC_RESIZE`: resize one device of a filesystem, named by text.
const BTRFS_RESIZE: Opcode = opcode::write::<BtrfsResize>(0x94, 3);

/// `struct blkpg_partition`: bytes, and the number of the partition.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    pno: c_int,
    devname: [u8; 64],
    volname: [u8; 64],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkpgArgument {
    op: c_int,
    flags: c_int,
    datalen: c_int,
    data: *mut BlkpgPartition,
}

/// `struct xfs_fsop_geom_v1`.
#[repr(C)]
pub(crate) struct XfsGeometry {
    /// Bytes of a block.
    pub(crate) block_bytes: u32,
    _before: [u32; 6],
    /// Most of the space that inodes may take, in percent.
    pub(crate) inode_percent_max: u32,
    /// Blocks of data.
    pub(crate) data_blocks: u64,
    _after: [u64; 3],
    _uuid: [u8; 16],
    _rest: [u32; 7],
}

/// `struct xfs_growfs_data`.
#[repr(C)]
struct XfsGrow {
    newblocks: u64,
    imaxpct: u32,
}

/// `struct btrfs_ioctl_vol_args`: a name that ends in a zero.
#[repr(C)]
struct BtrfsResize {
    fd: i64,
    name: [u8; 4088],
}

const _: () = assert!(size_of::<BlkpgPartition>() == 152);
const _: () = assert!(size_of::<XfsGeometry>() == 112);
const _: () = assert!(size_of::<XfsGrow>() == 16);
const _: () = assert!(size_of::<BtrfsResize>() == 4096);

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

/// Gives a partition that the kernel has another length, all in bytes; it may be in use.
pub(super) fn resize_partition(
    device: &File,
    number: c_int,
    start: i64,
    length: i64,
) -> io::Result<()> {
    let mut partition =
        BlkpgPartition { start, length, pno: number, devname: [0; 64], volname: [0; 64] };
    let argument = BlkpgArgument {
        op: RESIZE_PARTITION,
        flags: 0,
        datalen: 152, // the size asserted above; the kernel does not look at it
        data: &raw mut partition,
    };
    // SAFETY: BLKPG reads a blkpg_ioctl_arg, which is what Setter points it at, and behind its
    // pointer a blkpg_partition, which lives until the call is over. It writes neither.
    unsafe { ioctl(device, Setter::<BLKPG, BlkpgArgument>::new(argument)) }?;
    Ok(())
}

/// Makes a mounted ext2, ext3 or ext4 this many blocks long; `root` is any file or directory in it.
pub(crate) fn resize_ext4(root: &File, blocks: u64) -> io::Result<()> {
    // SAFETY: the request reads one u64 behind the pointer, which is what Setter points it at. The
    // number is used by no other filesystem for anything that writes memory: others fail it.
    unsafe { ioctl(root, Setter::<EXT4_RESIZE, u64>::new(blocks)) }?;
    Ok(())
}

/// The sizes of a mounted XFS.
pub(crate) fn xfs_geometry(root: &File) -> io::Result<XfsGeometry> {
    // SAFETY: the request writes a struct xfs_fsop_geom_v1, whose size is asserted above, and any
    // bytes are valid in each of its fields.
    Ok(unsafe { ioctl(root, Getter::<XFS_GEOMETRY, XfsGeometry>::new()) }?)
}

/// Makes a mounted XFS this many blocks long; the share of inodes is given as it is.
pub(crate) fn grow_xfs(root: &File, blocks: u64, inode_percent_max: u32) -> io::Result<()> {
    let wanted = XfsGrow { newblocks: blocks, imaxpct: inode_percent_max };
    // SAFETY: the request reads a struct xfs_growfs_data, which is what Setter points it at.
    unsafe { ioctl(root, Setter::<XFS_GROW, XfsGrow>::new(wanted)) }?;
    Ok(())
}

/// Makes one device of a mounted btrfs as long as the device is; `device` is its number in the
/// filesystem. True when it was done, false when another operation of the kind is under way.
pub(crate) fn grow_btrfs(root: &File, device: u64) -> io::Result<bool> {
    let text = format!("{device}:max");
    let mut name = [0; 4088]; // far longer than a number
    name.iter_mut().zip(text.bytes()).for_each(|(to, byte)| *to = byte);
    // SAFETY: the request reads a struct btrfs_ioctl_vol_args, which is what our Ioctl points it at.
    Ok(unsafe { ioctl(root, BtrfsResize { fd: 0, name }) }? == 0)
}

// SAFETY: the number goes with the structure: BTRFS_IOC_RESIZE reads a btrfs_ioctl_vol_args and
// writes nothing. It answers more than 0 when an exclusive operation is under way, which is why
// Setter would not do.
unsafe impl Ioctl for BtrfsResize {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        BTRFS_RESIZE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut *self).cast()
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        Ok(output)
    }
}
