//! The allocation map: the block bitmaps of all groups.
//!
//! What it owns: reading them in large pieces, verifying them, and the map of groups whose bitmap
//! was never written. What it never does: hold more than a few of them.

use super::checksum::Checksums;
use super::descriptor::{DescriptorTable, GroupDescriptor};
use super::geometry::Geometry;
use crate::disk::ReadDisk;
use crate::fs::bit_runs::{count_ones, for_each_run, set_bits};
use crate::fs::refusal::Refusal;
use crate::sector_set::{SectorSet, SectorSetBuilder};
use crate::units::SectorRange;

/// Bytes of bitmaps read in one go, at least a block.
const RUN_BYTES: u64 = 1 << 20;

/// Structures standing in groups whose bitmap was never written; none on a sound filesystem.
const STRAYS_MAX: usize = 1 << 16;

/// The sectors in use.
pub(super) fn allocated(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    checksums: Checksums,
) -> Result<SectorSet, Refusal> {
    let table = DescriptorTable::new(disk, geometry, checksums);
    let mut map = Map { disk, geometry, checksums, builder: SectorSetBuilder::new() };
    // What lies before the first group belongs to no bitmap: the boot block.
    map.builder.push(geometry.sectors(0, geometry.first_data_block));
    table.for_each_batch(|groups| {
        let mut left = groups;
        while !left.is_empty() {
            let (run, rest) = left.split_at(map.run_len(left).clamp(1, left.len()));
            map.add_run(run)?;
            left = rest;
        }
        Ok(())
    })?;
    let set = map.builder.finish();
    let strays = own_blocks_outside(&set, &table, geometry)?;
    Ok(if strays.is_empty() { set } else { set.union(&strays.into_iter().collect()) })
}

struct Map<'a> {
    disk: &'a dyn ReadDisk,
    geometry: &'a Geometry,
    checksums: Checksums,
    builder: SectorSetBuilder,
}

impl Map<'_> {
    /// How many of the first groups have their bitmaps side by side (`flex_bg`), at most what is
    /// read in one go.
    fn run_len(&self, groups: &[GroupDescriptor]) -> usize {
        let blocks_max = usize::try_from(RUN_BYTES / self.geometry.block_bytes).unwrap_or(1).max(1);
        let pairs = groups.iter().zip(groups.iter().skip(1));
        let adjacent = pairs.take_while(|(a, b)| a.block_bitmap + 1 == b.block_bitmap).count();
        (adjacent + 1).min(blocks_max)
    }

    fn add_run(&mut self, run: &[GroupDescriptor]) -> Result<(), Refusal> {
        let block_len = usize::try_from(self.geometry.block_bytes).unwrap_or(usize::MAX);
        let written = |d: &GroupDescriptor| !d.bitmap_unwritten;
        let mut bitmaps = vec![0; run.len().saturating_mul(block_len)];
        if let (Some(first), Some(from), Some(to)) =
            (run.first(), run.iter().position(written), run.iter().rposition(written))
            && let Some(wanted) = bitmaps.get_mut(from * block_len..(to + 1) * block_len)
        {
            let skipped = u64::try_from(from).unwrap_or_default();
            let block = first.block_bitmap.saturating_add(skipped);
            self.disk.read_at(wanted, self.geometry.byte_offset(block))?;
        }
        for (descriptor, bitmap) in run.iter().zip(bitmaps.chunks_exact_mut(block_len)) {
            self.add_group(descriptor, bitmap)?;
        }
        Ok(())
    }

    fn add_group(
        &mut self,
        descriptor: &GroupDescriptor,
        bitmap: &mut [u8],
    ) -> Result<(), Refusal> {
        let geometry = self.geometry;
        let group = descriptor.group;
        let clusters = geometry.clusters_in(group);
        let base_clusters = geometry.base_blocks(group).div_ceil(geometry.cluster_blocks.max(1));
        if descriptor.bitmap_unwritten {
            bitmap.fill(0);
            set_bits(bitmap, 0, base_clusters);
            self.mark_own_blocks(descriptor, bitmap);
        } else {
            self.verify(descriptor, bitmap)?;
        }
        let free = clusters.saturating_sub(count_ones(bitmap, clusters));
        if free != descriptor.free_clusters {
            return Err(Refusal::corrupt(
                format!("block bitmap of group {group}"),
                geometry.byte_offset(descriptor.block_bitmap),
                format!("{} free, as the group descriptor says", descriptor.free_clusters),
                free.to_string(),
            ));
        }
        // Copies of superblock and descriptors are kept whatever the bitmap says.
        set_bits(bitmap, 0, base_clusters.min(clusters));
        let start = geometry.group_start(group);
        let block =
            |cluster: u64| start.saturating_add(cluster.saturating_mul(geometry.cluster_blocks));
        for_each_run(bitmap, clusters, |from, to| {
            self.builder.push(geometry.sectors(block(from), block(to)));
        });
        Ok(())
    }

    fn verify(&self, descriptor: &GroupDescriptor, bitmap: &[u8]) -> Result<(), Refusal> {
        let bytes = usize::try_from(self.geometry.group_clusters() / 8).unwrap_or(usize::MAX);
        let sum = self.checksums.block_bitmap(bitmap.get(..bytes).unwrap_or(bitmap));
        match sum {
            Some(sum) if !descriptor.matches_bitmap_checksum(sum) => Err(Refusal::corrupt(
                format!("block bitmap of group {}", descriptor.group),
                self.geometry.byte_offset(descriptor.block_bitmap),
                "the checksum in its group descriptor",
                format!("{sum:#010x}"),
            )),
            _ => Ok(()),
        }
    }

    /// Marks those structures of the group that stand in it.
    fn mark_own_blocks(&self, descriptor: &GroupDescriptor, bitmap: &mut [u8]) {
        let start = self.geometry.group_start(descriptor.group);
        let end = start.saturating_add(self.geometry.group_blocks);
        let ratio = self.geometry.cluster_blocks.max(1);
        for own in descriptor.own_blocks() {
            let first = own.start.max(start);
            let last = own.start.saturating_add(own.count).min(end);
            if first < last {
                set_bits(bitmap, (first - start) / ratio, (last - start).div_ceil(ratio));
            }
        }
    }
}

/// Verifies that the bitmaps and inode table of every group are in use, wherever `flex_bg` put
/// them. Returns what of them is not in `set` because it stands in another group whose bitmap was
/// never written, so that nobody could mark it.
fn own_blocks_outside(
    set: &SectorSet,
    table: &DescriptorTable<'_>,
    geometry: &Geometry,
) -> Result<Vec<SectorRange>, Refusal> {
    let mut strays = Vec::new();
    table.for_each_batch(|groups| {
        for descriptor in groups {
            for own in descriptor.own_blocks() {
                let range = geometry.sectors(own.start, own.start.saturating_add(own.count));
                if set.within(range).next() == Some(range) {
                    continue;
                }
                for gap in set.complement(range).ranges() {
                    if strays.len() >= STRAYS_MAX || !in_unwritten_groups(*gap, table, geometry)? {
                        return Err(Refusal::corrupt(
                            format!("{} of group {}", own.name, descriptor.group),
                            geometry.byte_offset(own.start),
                            format!("its {} blocks marked as in use", own.count),
                            "some of them free",
                        ));
                    }
                    strays.push(*gap);
                }
            }
        }
        Ok(())
    })?;
    Ok(strays)
}

/// True when the bitmap of every group that `range` touches was never written.
fn in_unwritten_groups(
    range: SectorRange,
    table: &DescriptorTable<'_>,
    geometry: &Geometry,
) -> Result<bool, Refusal> {
    let group_at = |byte: u64| geometry.group_of(byte / geometry.block_bytes.max(1));
    let (Some(first), Some(last)) =
        (group_at(range.byte_offset()), group_at(range.byte_end().saturating_sub(1)))
    else {
        return Ok(false);
    };
    for group in first..=last {
        if !table.get(group)?.bitmap_unwritten {
            return Ok(false);
        }
    }
    Ok(true)
}
