//! The internal journal, as far as needed to know that it is empty.
//!
//! What it owns: the way from the superblock through the journal's inode to the journal's first
//! block. What it never does: read the log itself, or look at a journal on another device.

use super::descriptor::DescriptorTable;
use super::features::HAS_JOURNAL;
use super::geometry::Geometry;
use super::raw;
use super::superblock::Superblock;
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use zerocopy::{FromBytes, IntoBytes};

/// Extent trees are never deeper (`EXT4_MAX_EXTENT_DEPTH`).
const EXTENT_DEPTH_MAX: u16 = 5;

/// `h_blocktype` of a journal superblock, versions 1 and 2.
const JOURNAL_SUPERBLOCKS: [u32; 2] = [3, 4];

/// Refuses a filesystem whose journal holds changes or an error, though the superblock is silent.
pub(super) fn check_empty(
    disk: &dyn ReadDisk,
    superblock: &Superblock,
    geometry: &Geometry,
    table: &DescriptorTable<'_>,
) -> Result<(), Refusal> {
    let inode = superblock.raw().s_journal_inum.get();
    if !superblock.features.has(HAS_JOURNAL) || inode == 0 {
        return Ok(());
    }
    let offset = geometry.byte_offset(first_block(disk, geometry, table, inode)?);
    let journal: raw::JournalSuperblock = read(disk, offset)?;
    if journal.h_magic.get() != raw::JOURNAL_MAGIC
        || !JOURNAL_SUPERBLOCKS.contains(&journal.h_blocktype.get())
    {
        return Err(Refusal::corrupt(
            "journal",
            offset,
            format!("magic number {:#x} and type 3 or 4", raw::JOURNAL_MAGIC),
            format!("{:#x} and type {}", journal.h_magic, journal.h_blocktype),
        ));
    }
    if journal.s_start.get() != 0 {
        return Err(Refusal::unsupported(
            "its journal must be replayed first, it is not empty although the superblock says so: \
             run e2fsck on it and save again",
        ));
    }
    if journal.s_errno.get() != 0 {
        return Err(Refusal::unsupported(
            "its journal recorded an error: run e2fsck -f on it and save again",
        ));
    }
    Ok(())
}

fn read<T: FromBytes + IntoBytes>(disk: &dyn ReadDisk, offset: u64) -> Result<T, Refusal> {
    let mut value = T::new_zeroed();
    disk.read_at(value.as_mut_bytes(), offset)?;
    Ok(value)
}

/// The block of the disk that holds the first block of the journal.
fn first_block(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    table: &DescriptorTable<'_>,
    number: u32,
) -> Result<u64, Refusal> {
    let index = number.saturating_sub(1);
    let descriptor = table.get(index / geometry.group_inodes.max(1))?;
    let place =
        u64::from(index % geometry.group_inodes.max(1)).saturating_mul(geometry.inode_bytes);
    let offset = geometry.byte_offset(descriptor.inode_table).saturating_add(place);
    let inode: raw::Inode = read(disk, offset)?;
    let block = if inode.i_flags.get() & raw::INODE_EXTENTS != 0 {
        first_extent(disk, geometry, offset, &inode.i_block)?
    } else {
        let direct = zerocopy::little_endian::U32::read_from_prefix(&inode.i_block);
        direct.map_or(0, |(block, _)| u64::from(block.get()))
    };
    if block == 0 || !geometry.holds(block, 1) {
        let expected = "its first block inside the filesystem";
        return Err(corrupt(offset, expected, format!("block {block}")));
    }
    Ok(block)
}

fn corrupt(offset: u64, expected: &str, found: String) -> Refusal {
    Refusal::corrupt("inode of the journal", offset, expected, found)
}

/// Follows the first entry of an extent tree down to block 0 of the file.
fn first_extent(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    offset: u64,
    root: &[u8],
) -> Result<u64, Refusal> {
    let mut node = root.to_vec();
    let mut depth_max = EXTENT_DEPTH_MAX;
    loop {
        let bad = || corrupt(offset, "an extent tree that starts at block 0", "another".into());
        let (header, entries) = raw::ExtentHeader::ref_from_prefix(&node).map_err(|_| bad())?;
        let depth = header.eh_depth.get();
        if header.eh_magic.get() != raw::EXTENT_MAGIC
            || header.eh_entries.get() == 0
            || depth > depth_max
        {
            return Err(bad());
        }
        if depth == 0 {
            let (extent, _) = raw::Extent::ref_from_prefix(entries).map_err(|_| bad())?;
            if extent.ee_block.get() != 0 {
                return Err(bad());
            }
            return Ok(
                u64::from(extent.ee_start_hi.get()) << 32 | u64::from(extent.ee_start_lo.get())
            );
        }
        let (entry, _) = raw::ExtentIndex::ref_from_prefix(entries).map_err(|_| bad())?;
        let next = u64::from(entry.ei_leaf_hi.get()) << 32 | u64::from(entry.ei_leaf_lo.get());
        if entry.ei_block.get() != 0 || !geometry.holds(next, 1) {
            return Err(bad());
        }
        // Every level must be nearer to the leaves, so this ends.
        depth_max = depth - 1;
        node = vec![0; usize::try_from(geometry.block_bytes).unwrap_or_default()];
        disk.read_at(&mut node, geometry.byte_offset(next))?;
    }
}
