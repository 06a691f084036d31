//! The superblock: recognised, verified, and turned into the numbers the rest needs.
//!
//! What it owns: every check that can be made on the primary superblock alone. The kernel mounts by
//! the primary only, so a bad one keeps the filesystem whole, whatever its copies say. What it
//! never does: let a number through that later arithmetic or a later loop could trip over.

use super::checksum::Checksum;
use super::features::Features;
use super::raw;
use super::tree::Tree;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// `BTRFS_HEADER_FLAG_WRITTEN`, the one flag of a superblock at rest.
const FLAG_WRITTEN: u64 = 1;
/// `BTRFS_SUPER_FLAG_ERROR`.
const FLAG_ERROR: u64 = 1 << 2;
/// `BTRFS_SUPER_FLAG_SEEDING`.
const FLAG_SEEDING: u64 = 1 << 32;

/// Largest sector and tree block, in bytes.
const NODE_BYTES_MAX: u64 = 64 << 10;
/// Smallest sector, in bytes.
const SECTOR_BYTES_MIN: u64 = 2048;
/// Highest level of a tree block (`BTRFS_MAX_LEVEL` - 1).
pub(super) const LEVEL_MAX: u8 = 7;

/// A superblock with the right magic number; nothing else is known to be sound.
pub(super) struct Superblock {
    bytes: Vec<u8>,
    raw: raw::Superblock,
}

/// What the superblock says, in numbers that fit together and fit the disk.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    /// Bytes in the smallest unit of data.
    pub(super) sector_bytes: u64,
    /// Bytes in a tree block.
    pub(super) node_bytes: u64,
    /// The device this is.
    pub(super) device: u64,
    /// Bytes of the device that are part of the filesystem.
    pub(super) device_bytes: u64,
    /// The checksum of tree blocks.
    pub(super) checksum: Checksum,
    /// The UUID in all tree blocks.
    pub(super) uuid: [u8; 16],
    /// The tree of roots.
    pub(super) roots: Tree,
    /// The tree of chunks.
    pub(super) chunks: Tree,
    /// True for block groups in a tree of their own.
    pub(super) has_block_group_tree: bool,
}

impl Superblock {
    /// The superblock of the disk; `None` when there is none.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        let mut bytes = vec![0; raw::SUPERBLOCK_LEN];
        if disk.size_bytes() < 2 * raw::SUPERBLOCK_OFFSET {
            return Ok(None);
        }
        disk.read_at(&mut bytes, raw::SUPERBLOCK_OFFSET)?;
        let raw = raw::Superblock::read_from_bytes(&bytes).ok();
        Ok(raw.filter(|raw| raw.magic == raw::MAGIC).map(|raw| Self { bytes, raw }))
    }

    /// The fields as they stand.
    pub(super) fn raw(&self) -> &raw::Superblock {
        &self.raw
    }

    /// Checksum and feature bits.
    pub(super) fn features(&self) -> Features {
        Features::of(&self.raw)
    }

    fn checksum(&self) -> Result<Checksum, Refusal> {
        let number = self.raw.csum_type.get();
        Checksum::of_type(number).ok_or_else(|| {
            Refusal::unsupported(format!(
                "this version does not know its checksums (type {number})"
            ))
        })
    }

    /// Verifies the superblock's own checksum and place.
    pub(super) fn verify(&self) -> Result<(), Refusal> {
        let checksum = self.checksum()?;
        if !checksum.matches(&self.bytes) {
            let expected = format!("the {} of the rest", checksum.name());
            return Err(corrupt("checksum", expected, "another"));
        }
        let place = self.raw.bytenr.get();
        if place != raw::SUPERBLOCK_OFFSET {
            return Err(corrupt("place", raw::SUPERBLOCK_OFFSET.to_string(), place));
        }
        Ok(())
    }

    /// Refuses a filesystem that is one of several devices, is not at rest, or has features that
    /// this reader does not know.
    pub(super) fn check_state(&self) -> Result<(), Refusal> {
        let raw = &self.raw;
        let refused = self.features().refused();
        if !refused.is_empty() {
            let names = refused.join(", ");
            return Err(Refusal::unsupported(format!(
                "this version does not know its features {names}"
            )));
        }
        if raw.num_devices.get() != 1 {
            return Err(Refusal::unsupported(format!(
                "it is one of {} devices of one filesystem, which belong together",
                raw.num_devices
            )));
        }
        let flags = raw.flags.get();
        if flags & FLAG_ERROR != 0 {
            return Err(Refusal::unsupported(
                "it recorded errors: run btrfs check on it and save again",
            ));
        }
        if flags & FLAG_SEEDING != 0 {
            return Err(Refusal::unsupported(
                "it is a seed device, which may be part of other filesystems (btrfstune -S 0 makes \
                 it an ordinary one)",
            ));
        }
        if flags & !FLAG_WRITTEN != 0 {
            return Err(Refusal::unsupported(format!(
                "a conversion of it is under way or it is a dump of metadata (flags {flags:#x})"
            )));
        }
        if raw.log_root.get() != 0 {
            return Err(Refusal::unsupported(
                "it has a log of synced files to replay, whose blocks no map lists (it is mounted, \
                 or was not unmounted cleanly): mount and unmount it once and save again",
            ));
        }
        Ok(())
    }

    /// The numbers, each of which fits a disk of `disk_bytes`.
    pub(super) fn volume(&self, disk_bytes: u64) -> Result<Volume, Refusal> {
        let raw = &self.raw;
        let sector_bytes = u64::from(raw.sectorsize.get());
        if !sector_bytes.is_power_of_two()
            || !(SECTOR_BYTES_MIN..=NODE_BYTES_MAX).contains(&sector_bytes)
        {
            return Err(corrupt("sector size", "a power of two from 2048 to 65536", sector_bytes));
        }
        let node_bytes = u64::from(raw.nodesize.get());
        if !node_bytes.is_power_of_two() || !(sector_bytes..=NODE_BYTES_MAX).contains(&node_bytes) {
            return Err(corrupt("node size", "a power of two from a sector to 65536", node_bytes));
        }
        let device_bytes = raw.dev_item.total_bytes.get();
        if device_bytes > disk_bytes || device_bytes < 2 * raw::SUPERBLOCK_OFFSET {
            let expected = format!("at most the {disk_bytes} bytes of the partition");
            return Err(corrupt("size of the device", expected, device_bytes));
        }
        let tree = |id, root: u64, level: u8, generation: u64| {
            if level > LEVEL_MAX {
                return Err(corrupt("level of a tree", format!("at most {LEVEL_MAX}"), level));
            }
            Ok(Tree { id, root, level, generation })
        };
        let features = self.features();
        Ok(Volume {
            sector_bytes,
            node_bytes,
            device: raw.dev_item.devid.get(),
            device_bytes,
            checksum: self.checksum()?,
            uuid: if features.has_metadata_uuid() { raw.metadata_uuid } else { raw.fsid },
            roots: tree(raw::ROOT_TREE, raw.root.get(), raw.root_level, raw.generation.get())?,
            chunks: tree(
                raw::CHUNK_TREE,
                raw.chunk_root.get(),
                raw.chunk_root_level,
                raw.chunk_root_generation.get(),
            )?,
            has_block_group_tree: features.has_block_group_tree(),
        })
    }

    /// The chunks that are needed to read the tree of chunks: keys and items one after another.
    pub(super) fn system_array(&self) -> Result<Vec<u8>, Refusal> {
        let len = self.raw.sys_chunk_array_size.get();
        let array = usize::try_from(len).ok().and_then(|len| self.raw.sys_chunk_array.get(..len));
        array
            .map(<[u8]>::to_vec)
            .ok_or_else(|| corrupt("size of the array of system chunks", "at most 2048", len))
    }
}

/// A field of the superblock that contradicts the rest or the disk.
pub(super) fn corrupt(field: &str, expected: impl Into<String>, found: impl ToString) -> Refusal {
    let what = format!("{field} in the superblock");
    Refusal::corrupt(what, raw::SUPERBLOCK_OFFSET, expected, found.to_string())
}
