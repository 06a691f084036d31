//! Chains of clusters in the FAT.
//!
//! What it owns: following a chain, to a limit, into runs. What it never does: follow one of a
//! file; only the root directory, the bitmaps and the up-case table are asked for.

use super::boot::Geometry;
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;

/// `FatEntry`: the last cluster of a chain.
const END_OF_CHAIN: u32 = 0xFFFF_FFFF;

/// Bytes of the FAT that are read at once; chains mostly go on in the next entry.
const WINDOW_BYTES: u64 = 16 << 10;

/// Clusters one after the other, from the first to one past the last.
pub(super) type Run = (u64, u64);

/// One of the FATs, with the piece of it that was read last.
pub(super) struct Fat<'a> {
    disk: &'a dyn ReadDisk,
    geometry: &'a Geometry,
    offset: u64,
    window_start: u64,
    window: Vec<u8>,
}

impl<'a> Fat<'a> {
    /// The FAT with this number, 0 or 1.
    pub(super) fn new(disk: &'a dyn ReadDisk, geometry: &'a Geometry, number: u64) -> Self {
        let offset = geometry.fat_offset.saturating_add(number.saturating_mul(geometry.fat_bytes));
        Self { disk, geometry, offset, window_start: 0, window: Vec::new() }
    }

    fn entry(&mut self, cluster: u64) -> Result<u32, Refusal> {
        let at = cluster.saturating_mul(4);
        let start = at / WINDOW_BYTES * WINDOW_BYTES;
        if self.window.is_empty() || self.window_start != start {
            let len = WINDOW_BYTES.min(self.geometry.fat_bytes.saturating_sub(start));
            self.window = vec![0; usize::try_from(len).unwrap_or_default()];
            self.window_start = start;
            self.disk.read_at(&mut self.window, self.offset.saturating_add(start))?;
        }
        let index = usize::try_from((at - start) / 4).unwrap_or(usize::MAX);
        let entry = self.window.as_chunks().0.get(index);
        Ok(entry.map_or(0, |entry| u32::from_le_bytes(*entry)))
    }

    /// The chain that starts at a cluster, which must end within `clusters_max`.
    pub(super) fn chain(
        &mut self,
        what: &str,
        first: u64,
        clusters_max: u64,
    ) -> Result<Vec<Run>, Refusal> {
        let mut runs: Vec<Run> = Vec::new();
        let mut cluster = first;
        let mut count = 0;
        loop {
            if !self.geometry.holds(cluster) || count == clusters_max {
                return Err(Refusal::corrupt(
                    format!("chain of the {what}"),
                    self.offset.saturating_add(first.saturating_mul(4)),
                    format!("an end within {clusters_max} clusters, all of them in the volume"),
                    format!("cluster {cluster:#x} after {count}"),
                ));
            }
            match runs.last_mut() {
                Some((_, end)) if *end == cluster => *end += 1,
                _ => runs.push((cluster, cluster + 1)),
            }
            count += 1;
            match self.entry(cluster)? {
                END_OF_CHAIN => return Ok(runs),
                next => cluster = u64::from(next),
            }
        }
    }
}
