//! The boot sector: recognised, verified, and turned into a geometry that fits the disk.
//!
//! What it owns: every check that can be made on the boot sector alone. What it never does: let a
//! number through that later arithmetic or a later loop could trip over.

use super::raw;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::areas::sectors;
use crate::fs::refusal::Refusal;
use crate::units::SectorRange;
use zerocopy::FromBytes;

/// Largest cluster: 2 MiB, since Windows 10 version 1709.
const CLUSTER_BYTES_MAX: u64 = 2 << 20;

/// Sizes of a file record. Windows makes 1024, and 4096 where sectors are so large.
const RECORD_BYTES: std::ops::RangeInclusive<u64> = 512..=(64 << 10);

/// Clusters are numbered with 32 bits by Windows, with 63 by the format.
const CLUSTERS_MAX: u64 = 1 << 40;

/// Numbers that agree with each other and with the size of the disk.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    /// Bytes of the filesystem's own sectors.
    pub(super) sector_bytes: u64,
    /// Bytes of a cluster.
    pub(super) cluster_bytes: u64,
    /// Clusters, numbered from 0.
    pub(super) clusters: u64,
    /// Bytes of the volume, with the copy of the boot sector behind it when it is on the disk.
    pub(super) bytes: u64,
    /// First cluster of the MFT.
    pub(super) mft_cluster: u64,
    /// First cluster of the copy of its first records.
    pub(super) mirror_cluster: u64,
    /// Bytes of a file record.
    pub(super) record_bytes: u64,
    /// Bytes of a block of a directory.
    pub(super) index_block_bytes: u64,
}

impl Geometry {
    /// Byte offset of a cluster.
    pub(super) fn offset(&self, cluster: u64) -> u64 {
        cluster.saturating_mul(self.cluster_bytes)
    }

    /// The sectors of clusters.
    pub(super) fn clusters(&self, from: u64, to: u64) -> SectorRange {
        sectors(self.offset(from), self.offset(to))
    }
}

/// A boot sector with the right name; nothing else is known to be sound.
pub(super) struct BootSector {
    pub(super) raw: raw::BootSector,
}

impl BootSector {
    /// The boot sector of the disk; `None` when it is none of NTFS.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        let mut bytes = [0; 512];
        if disk.size_bytes() < 512 {
            return Ok(None);
        }
        disk.read_at(&mut bytes, 0)?;
        let boot = raw::BootSector::read_from_bytes(&bytes).ok().map(|raw| Self { raw });
        Ok(boot.filter(|boot| {
            boot.raw.oem_name == *raw::OEM_NAME && boot.raw.signature == [0x55, 0xAA]
        }))
    }

    fn sector_bytes(&self) -> u64 {
        u64::from(self.raw.bytes_per_sector.get())
    }

    /// Bytes the volume says it has, with the sector behind it that holds a copy of the boot
    /// sector, as far as the disk has one.
    pub(super) fn claimed_bytes(&self, disk_bytes: u64) -> u64 {
        let sectors = self.raw.total_sectors.get();
        let volume = sectors.saturating_mul(self.sector_bytes());
        let with_copy = volume.saturating_add(self.sector_bytes());
        if with_copy <= disk_bytes { with_copy } else { volume }
    }

    /// The geometry, in which every number fits a disk of `disk_bytes`.
    pub(super) fn geometry(&self, disk_bytes: u64) -> Result<Geometry, Refusal> {
        let raw = &self.raw;
        let sector_bytes = self.sector_bytes();
        if !(512..=4096).contains(&sector_bytes) || !sector_bytes.is_power_of_two() {
            return Err(corrupt("sector size", "a power of two from 512 to 4096", sector_bytes));
        }
        let per_cluster = match raw.sectors_per_cluster {
            few @ 0..=0x80 => u64::from(few),
            log => 1u64.checked_shl(256 - u32::from(log)).unwrap_or(0),
        };
        let cluster_bytes = per_cluster.saturating_mul(sector_bytes);
        if !per_cluster.is_power_of_two() || cluster_bytes > CLUSTER_BYTES_MAX {
            let expected = "a power of two up to 2 MiB";
            return Err(corrupt("cluster size", expected, raw.sectors_per_cluster));
        }
        let sectors = raw.total_sectors.get();
        let volume = sectors.saturating_mul(sector_bytes);
        if volume > disk_bytes {
            let expected = format!("at most the {} of the partition", disk_bytes / sector_bytes);
            return Err(corrupt("number of sectors", expected, sectors));
        }
        let clusters = sectors / per_cluster;
        for (what, cluster) in [
            ("place of the MFT", raw.mft_cluster.get()),
            ("place of the MFT's mirror", raw.mirror_cluster.get()),
        ] {
            if cluster >= clusters.min(CLUSTERS_MAX) {
                return Err(corrupt(what, format!("below cluster {clusters}"), cluster));
            }
        }
        let sized = |what, size: i8| {
            let bytes = match u64::try_from(size) {
                Ok(clusters) => clusters.saturating_mul(cluster_bytes),
                Err(_) => 1u64.checked_shl(u32::from(size.unsigned_abs())).unwrap_or(0),
            };
            if RECORD_BYTES.contains(&bytes) && bytes.is_power_of_two() {
                Ok(bytes)
            } else {
                Err(corrupt(what, "a power of two from 512 to 64 KiB", size))
            }
        };
        Ok(Geometry {
            sector_bytes,
            cluster_bytes,
            clusters,
            bytes: self.claimed_bytes(disk_bytes),
            mft_cluster: raw.mft_cluster.get(),
            mirror_cluster: raw.mirror_cluster.get(),
            record_bytes: sized("size of a file record", raw.clusters_per_record)?,
            index_block_bytes: sized("size of an index block", raw.clusters_per_index_block)?,
        })
    }
}

fn corrupt(field: &str, expected: impl Into<String>, found: impl ToString) -> Refusal {
    let what = format!("{field} in the boot sector");
    Refusal::corrupt(what, 0, expected, found.to_string())
}
