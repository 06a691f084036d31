//! The boot sector: recognised, verified, and turned into a geometry that fits the disk.
//!
//! What it owns: every check that can be made on the boot sector and its copy. What it never does:
//! let a number through that later arithmetic or a later loop could trip over.

use super::raw;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::areas::sectors;
use crate::fs::refusal::Refusal;
use crate::units::SectorRange;
use zerocopy::FromBytes;

/// Most sectors the kernels of Linux and Windows know are of 4096 bytes.
const SECTOR_BYTES_MAX: u64 = 4096;

/// FAT12 has fewer clusters than this (fatgen103, "FAT Type Determination").
const CLUSTERS_FAT16: u64 = 4085;
/// FAT16 has fewer clusters than this.
const CLUSTERS_FAT32: u64 = 65_525;
/// Clusters that FAT32's 28 bits can number, from 2 to below the mark of a bad cluster.
const CLUSTERS_MAX: u64 = 0x0FFF_FFF5;

/// `BPB_ExtFlags`: only one FAT is kept up to date.
const MIRRORING_OFF: u16 = 0x80;

/// The kinds of FAT.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fat12 => "fat12",
            Self::Fat16 => "fat16",
            Self::Fat32 => "fat32",
        }
    }

    /// Bits of an entry of the FAT, so also the bytes of eight entries.
    pub(super) fn entry_bits(self) -> u64 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// How the boot sector's text calls it.
    fn text(self) -> &'static [u8; 8] {
        match self {
            Self::Fat12 => b"FAT12   ",
            Self::Fat16 => b"FAT16   ",
            Self::Fat32 => b"FAT32   ",
        }
    }
}

/// Numbers that agree with each other and with the size of the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Geometry {
    pub(super) kind: Kind,
    /// Bytes of the filesystem's own sectors: 512 to 4096.
    pub(super) sector_bytes: u64,
    /// Bytes of a cluster.
    pub(super) cluster_bytes: u64,
    /// Byte offset of the first FAT.
    pub(super) fat_offset: u64,
    /// Bytes of each FAT.
    pub(super) fat_bytes: u64,
    /// Copies of the FAT.
    pub(super) fats: u64,
    /// Byte offset of cluster 2, the first.
    pub(super) data_offset: u64,
    /// Clusters, numbered from 2.
    pub(super) clusters: u64,
    /// Bytes of the filesystem.
    pub(super) bytes: u64,
    /// First cluster of the root directory; FAT32 only.
    pub(super) root_cluster: Option<u64>,
    /// The byte that names the medium, repeated in the FAT.
    pub(super) media: u8,
}

impl Geometry {
    /// The sectors of clusters; `from` and `to` count as the FAT does.
    pub(super) fn clusters(&self, from: u64, to: u64) -> SectorRange {
        let offset = |cluster: u64| {
            self.data_offset
                .saturating_add(cluster.saturating_sub(2).saturating_mul(self.cluster_bytes))
        };
        sectors(offset(from), offset(to))
    }
}

/// A boot sector that looks like FAT; nothing else is known to be sound.
pub(super) struct BootSector {
    raw: raw::BootSector,
    offset: u64,
}

impl BootSector {
    /// The boot sector of the disk; `None` when it is none of FAT.
    pub(super) fn read(disk: &dyn ReadDisk) -> Result<Option<Self>, DiskError> {
        Self::read_at(disk, 0)
    }

    fn read_at(disk: &dyn ReadDisk, offset: u64) -> Result<Option<Self>, DiskError> {
        let mut bytes = [0; raw::BOOT_LEN];
        if disk.size_bytes().saturating_sub(offset) < 512 {
            return Ok(None);
        }
        disk.read_at(&mut bytes, offset)?;
        let boot = raw::BootSector::read_from_bytes(&bytes).ok().map(|raw| Self { raw, offset });
        Ok(boot.filter(Self::is_plausible))
    }

    /// The tests that others use to tell FAT from anything else in the first sector.
    fn is_plausible(&self) -> bool {
        let raw = &self.raw;
        let foreign = [b"NTFS    ", b"EXFAT   ", b"-FVE-FS-", b"ReFS\0\0\0\0"];
        raw.signature == [0x55, 0xAA]
            && matches!(raw.jump, [0xEB | 0xE9, ..])
            && !foreign.contains(&&raw.oem_name)
            && self.sector_bytes() >= 128
            && self.sector_bytes().is_power_of_two()
            && raw.sectors_per_cluster.is_power_of_two()
            && raw.reserved_sectors.get() != 0
            && raw.fats != 0
            && (raw.media == 0xF0 || raw.media >= 0xF8)
            && (raw.fat_sectors_16.get() != 0
                || self.tail32().is_some_and(|t| t.fat_sectors_32.get() != 0))
    }

    fn sector_bytes(&self) -> u64 {
        u64::from(self.raw.bytes_per_sector.get())
    }

    /// The fields of FAT32, whether it is one or not.
    fn tail32(&self) -> Option<&raw::Tail32> {
        raw::Tail32::ref_from_prefix(&self.raw.tail).ok().map(|(tail, _)| tail)
    }

    /// The fields of FAT32, where it is one. Windows and Linux tell it by this, not by the number
    /// of clusters: only FAT32 can do without a 16-bit size.
    fn as_fat32(&self) -> Option<&raw::Tail32> {
        if self.raw.fat_sectors_16.get() == 0 { self.tail32() } else { None }
    }

    /// Label, serial number and state, when it has these fields.
    pub(super) fn identity(&self) -> Option<&raw::Identity> {
        let identity = match self.as_fat32() {
            Some(tail) => Some(&tail.identity),
            None => raw::Identity::ref_from_prefix(&self.raw.tail).ok().map(|(tail, _)| tail),
        };
        identity.filter(|i| raw::EXTENDED_SIGNATURES.contains(&i.extended_signature))
    }

    fn total_sectors(&self) -> u64 {
        match self.raw.total_sectors_16.get() {
            0 => u64::from(self.raw.total_sectors_32.get()),
            total => u64::from(total),
        }
    }

    /// Bytes the filesystem says it has.
    pub(super) fn claimed_bytes(&self) -> u64 {
        self.total_sectors().saturating_mul(self.sector_bytes())
    }

    /// Byte offset of the first cluster, and the clusters that fit behind it.
    fn layout(&self) -> Option<(u64, u64)> {
        let raw = &self.raw;
        let sector = self.sector_bytes();
        let root = (u64::from(raw.root_entries.get()) * 32).div_ceil(sector.max(1));
        let tables = u64::from(raw.fats).checked_mul(self.fat_sectors())?;
        let first = u64::from(raw.reserved_sectors.get()).checked_add(tables)?.checked_add(root)?;
        let data = self.total_sectors().checked_sub(first)?;
        Some((first * sector, data / u64::from(raw.sectors_per_cluster.max(1))))
    }

    fn fat_sectors(&self) -> u64 {
        match self.as_fat32() {
            Some(tail) => u64::from(tail.fat_sectors_32.get()),
            None => u64::from(self.raw.fat_sectors_16.get()),
        }
    }

    /// The kind, as far as the numbers tell.
    pub(super) fn kind(&self) -> Kind {
        let clusters = self.layout().map_or(0, |(_, clusters)| clusters);
        match self.as_fat32() {
            Some(_) => Kind::Fat32,
            None if clusters < CLUSTERS_FAT16 => Kind::Fat12,
            None => Kind::Fat16,
        }
    }

    /// The geometry, in which every number fits a disk of `disk_bytes`.
    pub(super) fn geometry(&self, disk_bytes: u64) -> Result<Geometry, Refusal> {
        let raw = &self.raw;
        let sector_bytes = self.sector_bytes();
        if !(512..=SECTOR_BYTES_MAX).contains(&sector_bytes) {
            return Err(Refusal::unsupported(format!(
                "its sectors of {sector_bytes} bytes are not known, only 512 to 4096"
            )));
        }
        let bitlocker = raw::BITLOCKER_OFFSET - 0x24;
        if raw.tail.get(bitlocker..bitlocker + 16) == Some(&raw::BITLOCKER_TO_GO) {
            return Err(Refusal::unsupported(
                "it is the cover of a BitLocker To Go volume: decrypt it in Windows (manage-bde \
                 -off) and save again",
            ));
        }
        if self.claimed_bytes() > disk_bytes {
            let expected = format!("at most the {} of the partition", disk_bytes / sector_bytes);
            return Err(self.corrupt("number of sectors", expected, self.total_sectors()));
        }
        let (data_offset, clusters) = self.layout().unwrap_or_default();
        let kind = self.kind();
        let clusters_max = match kind {
            Kind::Fat12 | Kind::Fat16 => CLUSTERS_FAT32 - 1,
            Kind::Fat32 => CLUSTERS_MAX,
        };
        if !(1..=clusters_max).contains(&clusters) {
            let expected = format!("1 to {clusters_max} behind its tables");
            return Err(self.corrupt("number of clusters", expected, clusters));
        }
        let fat_bytes = self.fat_sectors().saturating_mul(sector_bytes);
        let wanted = (clusters + 2).saturating_mul(kind.entry_bits()).div_ceil(8);
        if fat_bytes < wanted {
            let expected = format!("room for {clusters} clusters, {wanted} bytes");
            return Err(self.corrupt("size of the FAT", expected, fat_bytes));
        }
        self.check_kind(kind)?;
        let mut root_cluster = None;
        if let Some(tail) = self.as_fat32() {
            self.check_fat32(tail)?;
            let root = u64::from(tail.root_cluster.get());
            if !(2..clusters + 2).contains(&root) {
                let expected = format!("2 to {}", clusters + 1);
                return Err(self.corrupt("cluster of the root directory", expected, root));
            }
            root_cluster = Some(root);
        }
        Ok(Geometry {
            kind,
            sector_bytes,
            cluster_bytes: u64::from(raw.sectors_per_cluster) * sector_bytes,
            fat_offset: u64::from(raw.reserved_sectors.get()) * sector_bytes,
            fat_bytes,
            fats: u64::from(raw.fats),
            data_offset,
            clusters,
            bytes: self.claimed_bytes(),
            root_cluster,
            media: raw.media,
        })
    }

    /// The text in the boot sector decides nothing, but if it contradicts the number of clusters,
    /// somebody reads the FAT with entries of another size.
    fn check_kind(&self, kind: Kind) -> Result<(), Refusal> {
        let Some(identity) = self.identity() else {
            return Ok(());
        };
        let others = [Kind::Fat12, Kind::Fat16, Kind::Fat32].into_iter().filter(|k| *k != kind);
        match others.into_iter().find(|other| *other.text() == identity.kind) {
            Some(other) => Err(self.corrupt(
                "name of its kind",
                format!("{}, as the number of clusters says", kind.name()),
                other.name(),
            )),
            None => Ok(()),
        }
    }

    fn check_fat32(&self, tail: &raw::Tail32) -> Result<(), Refusal> {
        if tail.version.get() != 0 {
            let [minor, major] = tail.version.get().to_le_bytes();
            return Err(Refusal::unsupported(format!(
                "FAT32 version {major}.{minor} is not known"
            )));
        }
        if tail.extended_flags.get() & MIRRORING_OFF != 0 {
            let active = tail.extended_flags.get() & 0xF;
            return Err(Refusal::unsupported(format!(
                "only FAT {active} of it is kept up to date (mirroring is off), and not all \
                 systems heed that: run fsck.fat or chkdsk on it and save again"
            )));
        }
        if self.raw.root_entries.get() != 0 {
            let found = self.raw.root_entries;
            return Err(self.corrupt("size of the fixed root directory", "0 on FAT32", found));
        }
        Ok(())
    }

    /// Compares with the copy that FAT32 has, where there is one.
    pub(super) fn check_backup(
        &self,
        disk: &dyn ReadDisk,
        geometry: &Geometry,
    ) -> Result<(), Refusal> {
        let place = self.as_fat32().map_or(0, |tail| u64::from(tail.backup_boot_sector.get()));
        let offset = place * geometry.sector_bytes;
        if place == 0 || offset >= geometry.fat_offset {
            return Ok(());
        }
        let Some(backup) = Self::read_at(disk, offset)? else {
            return Ok(()); // never written by many formatters
        };
        let same = backup.geometry(disk.size_bytes()).is_ok_and(|theirs| theirs == *geometry);
        if same {
            return Ok(());
        }
        Err(Refusal::corrupt(
            "backup boot sector",
            offset,
            "the geometry of the boot sector",
            "another (fsck.fat compares them)",
        ))
    }

    fn corrupt(&self, field: &str, expected: impl Into<String>, found: impl ToString) -> Refusal {
        let what = format!("{field} in the boot sector");
        Refusal::corrupt(what, self.offset, expected, found.to_string())
    }
}
