//! The boot regions: recognised, verified, and turned into a geometry that fits the disk.
//!
//! What it owns: both regions and their checksums. What it never does: let a number through that
//! later arithmetic or a later loop could trip over.

use super::raw;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::ProbeOptions;
use crate::fs::areas::sectors;
use crate::fs::refusal::Refusal;
use crate::units::SectorRange;
use std::ops::RangeInclusive;
use zerocopy::FromBytes;

/// Sectors of a boot region; the last holds the checksum of the others.
const REGION_SECTORS: u64 = 12;

/// `BytesPerSectorShift`: 512 to 4096 bytes.
const SECTOR_SHIFTS: RangeInclusive<u8> = 9..=12;

/// A cluster has at most 2^25 bytes.
const CLUSTER_SHIFT_MAX: u8 = 25;

/// Clusters that can be numbered below the mark of a bad one.
const CLUSTERS_MAX: u64 = 0xFFFF_FFF5;

/// Numbers that agree with each other and with the size of the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Geometry {
    /// Bytes of the filesystem's own sectors.
    pub(super) sector_bytes: u64,
    /// Bytes of a cluster.
    pub(super) cluster_bytes: u64,
    /// Byte offset of the first FAT.
    pub(super) fat_offset: u64,
    /// Bytes of each FAT.
    pub(super) fat_bytes: u64,
    /// One, or two in TexFAT.
    pub(super) fats: u64,
    /// Byte offset of cluster 2, the first.
    pub(super) heap_offset: u64,
    /// Clusters, numbered from 2.
    pub(super) clusters: u64,
    /// First cluster of the root directory.
    pub(super) root_cluster: u64,
    /// Bytes of the volume.
    pub(super) bytes: u64,
}

impl Geometry {
    /// Byte offset of a cluster.
    pub(super) fn cluster_offset(&self, cluster: u64) -> u64 {
        let index = cluster.saturating_sub(2);
        self.heap_offset.saturating_add(index.saturating_mul(self.cluster_bytes))
    }

    /// The sectors of clusters, numbered from 2.
    pub(super) fn clusters(&self, from: u64, to: u64) -> SectorRange {
        sectors(self.cluster_offset(from), self.cluster_offset(to))
    }

    /// True when there is a cluster of this number.
    pub(super) fn holds(&self, cluster: u64) -> bool {
        (2..self.clusters.saturating_add(2)).contains(&cluster)
    }
}

/// A boot sector with the right name; nothing else is known to be sound.
pub(super) struct BootSector {
    pub(super) raw: raw::BootSector,
    offset: u64,
}

impl BootSector {
    /// The boot sector of the disk; `None` when it is none of exFAT.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        Self::read_at(disk, 0)
    }

    fn read_at(disk: &dyn ReadDisk, offset: u64) -> Result<Option<Self>, DiskError> {
        let mut bytes = [0; 512];
        if disk.size_bytes().saturating_sub(offset) < 512 {
            return Ok(None);
        }
        disk.read_at(&mut bytes, offset)?;
        let boot = raw::BootSector::read_from_bytes(&bytes).ok();
        Ok(boot.filter(|raw| raw.name == *raw::NAME).map(|raw| Self { raw, offset }))
    }

    fn sector_bytes(&self) -> Option<u64> {
        let shift = self.raw.sector_shift;
        SECTOR_SHIFTS.contains(&shift).then(|| 1 << shift)
    }

    /// Bytes the volume says it has; `None` when that is nonsense.
    pub(super) fn claimed_bytes(&self) -> Option<u64> {
        self.raw.volume_length.get().checked_mul(self.sector_bytes()?)
    }

    /// The geometry, in which every number fits a disk of `disk_bytes`.
    fn geometry(&self, disk_bytes: u64) -> Result<Geometry, Refusal> {
        let raw = &self.raw;
        let [minor, major] = raw.revision.get().to_le_bytes();
        if major != 1 {
            return Err(Refusal::unsupported(format!("exFAT {major}.{minor} is not known")));
        }
        if raw.must_be_zero != [0; 53] || raw.signature != [0x55, 0xAA] {
            let expected = "zeros behind its name and 55 AA at its end";
            return Err(self.corrupt("form", expected, "others"));
        }
        let sector_bytes = self
            .sector_bytes()
            .ok_or_else(|| self.corrupt("sector size", "2^9 to 2^12", raw.sector_shift))?;
        if raw.cluster_shift > CLUSTER_SHIFT_MAX.saturating_sub(raw.sector_shift) {
            return Err(self.corrupt("cluster size", "at most 2^25 bytes", raw.cluster_shift));
        }
        if !(1..=2).contains(&raw.fats) {
            return Err(self.corrupt("number of FATs", "1 or 2", raw.fats));
        }
        let sectors = raw.volume_length.get();
        let Some(bytes) = self.claimed_bytes().filter(|bytes| *bytes <= disk_bytes) else {
            let expected = format!("at most the {} of the partition", disk_bytes / sector_bytes);
            return Err(self.corrupt("length of the volume", expected, sectors));
        };
        let clusters = u64::from(raw.cluster_count.get());
        let cluster_sectors = 1u64 << raw.cluster_shift;
        let heap = u64::from(raw.cluster_heap_offset.get());
        let heap_sectors = clusters.saturating_mul(cluster_sectors);
        if !(1..=CLUSTERS_MAX).contains(&clusters) || heap_sectors > sectors.saturating_sub(heap) {
            let expected = format!("clusters that fit into {sectors} sectors");
            return Err(self.corrupt("number of clusters", expected, clusters));
        }
        let (fat, length) = (u64::from(raw.fat_offset.get()), u64::from(raw.fat_length.get()));
        let fats_end = fat.saturating_add(length.saturating_mul(u64::from(raw.fats)));
        let fat_bytes = length.saturating_mul(sector_bytes);
        if fat < 2 * REGION_SECTORS || fats_end > heap || fat_bytes / 4 < clusters + 2 {
            let expected = "room between the boot regions and the clusters, for all of these";
            return Err(self.corrupt("place of the FAT", expected, format!("{fat}+{length}")));
        }
        let geometry = Geometry {
            sector_bytes,
            cluster_bytes: cluster_sectors * sector_bytes,
            fat_offset: fat * sector_bytes,
            fat_bytes,
            fats: u64::from(raw.fats),
            heap_offset: heap * sector_bytes,
            clusters,
            root_cluster: u64::from(raw.root_cluster.get()),
            bytes,
        };
        if !geometry.holds(geometry.root_cluster) {
            let expected = format!("2 to {}", clusters + 1);
            return Err(self.corrupt("root directory", expected, geometry.root_cluster));
        }
        Ok(geometry)
    }

    /// The geometry, after both boot regions proved to be sound and alike.
    pub(super) fn verified(&self, disk: &dyn ReadDisk) -> Result<Geometry, Refusal> {
        let geometry = self.geometry(disk.size_bytes())?;
        check_region(disk, "main boot region", 0, &geometry)?;
        let what = "backup boot region";
        let offset = REGION_SECTORS * geometry.sector_bytes;
        let backup = Self::read_at(disk, offset)?;
        let same = backup
            .and_then(|backup| backup.geometry(disk.size_bytes()).ok())
            .is_some_and(|theirs| theirs == geometry);
        if !same {
            let expected = "the geometry of the main one";
            return Err(Refusal::corrupt(what, offset, expected, "another"));
        }
        check_region(disk, what, offset, &geometry)?;
        Ok(geometry)
    }

    /// Refuses a volume that is not at rest.
    pub(super) fn check_state(&self, options: ProbeOptions) -> Result<(), Refusal> {
        let flags = self.raw.volume_flags.get();
        if flags & raw::VOLUME_DIRTY != 0 {
            options.refuse_unclean(
                "it was not unmounted cleanly, or is mounted now (VolumeDirty): unmount it, run \
                 fsck.exfat on it, and save again",
            )?;
        }
        if flags & raw::MEDIA_FAILURE != 0 {
            options.refuse_unclean(
                "it recorded that the disk failed to read or write (MediaFailure): run chkdsk /r \
                 on it and save again",
            )?;
        }
        Ok(())
    }

    fn corrupt(&self, field: &str, expected: impl Into<String>, found: impl ToString) -> Refusal {
        let what = format!("{field} in the boot sector");
        Refusal::corrupt(what, self.offset, expected, found.to_string())
    }
}

/// Verifies the checksum of the boot region at a byte offset.
fn check_region(
    disk: &dyn ReadDisk,
    what: &str,
    offset: u64,
    geometry: &Geometry,
) -> Result<(), Refusal> {
    let sector = usize::try_from(geometry.sector_bytes).unwrap_or_default();
    let mut summed = vec![0; sector.saturating_mul(11)];
    disk.read_at(&mut summed, offset)?;
    let mut stored = vec![0; sector];
    disk.read_at(&mut stored, offset.saturating_add(11 * geometry.sector_bytes))?;
    let sum = checksum(&summed);
    // The last sector repeats it to its end.
    match stored.as_chunks().0.iter().find(|found| **found != sum.to_le_bytes()) {
        None => Ok(()),
        Some(found) => {
            let found = u32::from_le_bytes(*found);
            let expected = format!("checksum {sum:#010x}");
            Err(Refusal::corrupt(what, offset, expected, format!("{found:#010x}")))
        }
    }
}

/// Section 3.4: all but `VolumeFlags` and `PercentInUse`, which change at run time.
pub(super) fn checksum(region: &[u8]) -> u32 {
    let summed = region.iter().enumerate().filter(|(i, _)| !matches!(i, 106 | 107 | 112));
    summed.fold(0, |sum: u32, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)))
}
