//! Where an image goes: a device, an existing file, or a new one under a temporary name.
//!
//! What it owns: the target's name, its exclusive use, and what is done to it before the first and
//! after the last byte. What it never does: write the image.

use super::error::{LoadError, Refusal};
use super::fit::{self, Fit, ImageFacts};
use super::growing::GrowingFile;
use super::target::{self, FreeSpace, Target};
use crate::disk::in_use::uses_of;
use crate::disk::{
    DiskError, FileDisk, Kind, OpenError, RegularFile, RereadWarning, TargetOptions, WriteDisk,
    open_target,
};
use crate::interrupt::Interrupt;
use crate::output::Temporary;
use crate::partition::{self, Excerpt, PartitionKind, set_type};
use crate::progress::Progress;
use crate::units::SectorRange;
use std::path::{Path, PathBuf};

/// How a target is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlaceOptions {
    /// The partition the image goes into; `None` for the whole disk.
    pub slice: Option<u32>,
    /// The type that the partition gets.
    pub kind: Option<PartitionKind>,
    /// An existing file is a disk of its size and written into, not replaced.
    pub in_place: bool,
    /// A GPT stays as it is in the image, whatever the target's size.
    pub keep_gpt: bool,
    /// Write past the page cache.
    pub direct: bool,
}

/// What the user wants of the writing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// What becomes of free space.
    pub free: FreeSpace,
    /// Note what is written, for [`Place::read_back`].
    pub read_back: bool,
}

/// The target, opened.
#[derive(Debug)]
pub struct Place {
    options: PlaceOptions,
    disk: FileDisk,
    /// The new file's name until it is complete.
    temporary: Option<Temporary>,
    /// The partition of `-s`.
    partition: Option<SectorRange>,
    /// The length is not known before the end.
    grows: bool,
}

impl Place {
    /// Opens the target; a device or an existing disk is only opened, not changed. A new file is
    /// `source_bytes` long, or as long as it will be.
    ///
    /// # Errors
    /// When it cannot be opened, is in use, or has no such partition.
    pub fn open(
        target: &Path,
        options: PlaceOptions,
        source_bytes: Option<u64>,
    ) -> Result<Self, LoadError> {
        let existing = match std::fs::metadata(target) {
            Ok(metadata) => !metadata.is_file() || options.in_place || options.slice.is_some(),
            Err(_) => options.in_place || options.slice.is_some(),
        };
        let opening = TargetOptions { direct: options.direct, ..TargetOptions::default() };
        if !existing {
            let temporary = Temporary::beside(target)?;
            let regular_file = RegularFile::Fresh { size_bytes: source_bytes.unwrap_or(0) };
            let opening = TargetOptions { regular_file, ..opening };
            let disk = open_target(temporary.path(), opening)?;
            let grows = source_bytes.is_none();
            return Ok(Self { options, disk, temporary: Some(temporary), partition: None, grows });
        }
        // A disk of which another partition is mounted may get an image into a free one.
        let opening = TargetOptions { allow_busy: options.slice.is_some(), ..opening };
        let disk = open_target(target, opening)?;
        if let (Some(number), Some(kind)) = (options.slice, options.kind) {
            // Whether that can be done has to be known before the first write.
            set_type(&disk, number, kind).map_err(Refusal::from)?;
        }
        let partition = match options.slice {
            Some(number) => Some(find_partition(&disk, target, number)?),
            None => None,
        };
        Ok(Self { options, disk, temporary: None, partition, grows: false })
    }

    /// Gives a new file whose length was not known its length; no other target is changed.
    ///
    /// # Errors
    /// When the filesystem refuses.
    pub fn set_source_bytes(&mut self, source_bytes: u64) -> Result<(), DiskError> {
        if self.grows {
            self.disk.set_len(source_bytes)?;
            self.grows = false;
        }
        Ok(())
    }

    /// The disk to write on.
    pub fn disk(&self) -> &FileDisk {
        &self.disk
    }

    /// The partition to write into.
    pub fn partition(&self) -> Option<SectorRange> {
        self.partition
    }

    /// A file just made: it reads as zeros, and nobody sees it before it is complete.
    pub fn is_new(&self) -> bool {
        self.temporary.is_some()
    }

    /// Calls `write` with the target for the chunks of an image.
    ///
    /// # Errors
    /// Whatever `write` returns.
    pub fn with_target<T, E>(
        &self,
        fit: Fit,
        wishes: Wishes,
        progress: &Progress,
        write: impl FnOnce(Target<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let growing;
        let disk: &dyn WriteDisk = if self.grows {
            growing = GrowingFile::new(&self.disk);
            &growing
        } else {
            &self.disk
        };
        let options = target::TargetOptions {
            partition: self.partition,
            free: wishes.free,
            blank: self.is_new(),
            read_back: wishes.read_back,
        };
        write(Target::new(disk, fit, options, progress))
    }

    /// Gives a file whose length was not known before its exact length, on stable storage.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn end_at(&self, source_bytes: u64) -> Result<(), DiskError> {
        if self.grows {
            self.disk.set_len(source_bytes)?;
            self.disk.sync()?;
        }
        Ok(())
    }

    /// Reads back from the device what was written, with [`Wishes::read_back`]; returns how many
    /// bytes were compared.
    ///
    /// # Errors
    /// [`LoadError::Disk`], and an error that names the first sector that differs.
    pub fn read_back(
        &self,
        target: Target<'_>,
        threads: usize,
        interrupt: &Interrupt,
    ) -> Result<u64, LoadError> {
        let (uncached, _) = self.disk.reopen_uncached()?;
        target.verify(&uncached, threads, interrupt)
    }

    /// Whether and how the image suits the target; `tables` as for [`fit::check`].
    ///
    /// # Errors
    /// When it does not.
    pub fn fit(&self, image: &ImageFacts, tables: &Excerpt) -> Result<Fit, LoadError> {
        if self.is_new() {
            return Ok(Fit::default()); // made to measure
        }
        Ok(fit::check(image, &self.facts(), tables)?)
    }

    /// False when [`Self::fit`] decides without the image's partition tables.
    pub fn needs_tables(&self, image: &ImageFacts) -> bool {
        !self.is_new() && fit::needs_tables(image, &self.facts())
    }

    fn facts(&self) -> fit::TargetFacts {
        let is_device = self.disk.kind() == Kind::BlockDevice;
        fit::target_facts(&self.disk, self.partition, is_device, self.options.keep_gpt)
    }

    /// Gives a new file its name, sets the partition's type, and tells the kernel.
    /// The kernel's refusal to read the new partition table is worth a warning, not more.
    ///
    /// # Errors
    /// When that fails; the image itself is on the disk.
    pub fn commit(self) -> Result<Option<RereadWarning>, LoadError> {
        if let (Some(number), Some(kind)) = (self.options.slice, self.options.kind) {
            for patch in set_type(&self.disk, number, kind)? {
                self.disk.write_at(&patch.bytes, patch.offset)?;
            }
            self.disk.sync()?;
        }
        if let Some(temporary) = self.temporary {
            temporary.rename()?;
            return Ok(None);
        }
        if let (Kind::BlockDevice, None) = (self.disk.kind(), self.partition)
            && let Err(warning) = self.disk.reread_partition_table()
        {
            return Ok(Some(warning));
        }
        Ok(None)
    }
}

fn find_partition(disk: &FileDisk, target: &Path, number: u32) -> Result<SectorRange, LoadError> {
    let table = partition::read(disk)?;
    if table.container(number).is_some() {
        return Err(Refusal::Extended { number }.into());
    }
    let Some(found) = table.partition(number).filter(|p| !p.range.is_empty()) else {
        let numbers: Vec<_> = table.partitions.iter().map(|p| p.number.to_string()).collect();
        let found = if numbers.is_empty() { "none".into() } else { numbers.join(", ") };
        return Err(Refusal::NoPartition { number, found }.into());
    };
    if disk.kind() == Kind::BlockDevice {
        check_partition_free(disk, target, number)?;
    }
    Ok(found.range)
}

/// Refuses a partition that is in use, whatever the rest of the disk is doing.
fn check_partition_free(disk: &FileDisk, target: &Path, number: u32) -> Result<(), LoadError> {
    let device = partition_device(target, number);
    let path = if device.exists() { device.as_path() } else { disk.path() };
    let uses = uses_of(path)?;
    let holders: Vec<_> =
        uses.iter().filter(|one| one.forbids_writing()).map(ToString::to_string).collect();
    if holders.is_empty() {
        return Ok(());
    }
    let used_by = holders.join("; ");
    Err(OpenError::Busy { path: path.into(), used_by }.into())
}

/// The name of a partition's device: /dev/sda2, /dev/nvme0n1p2.
fn partition_device(disk: &Path, number: u32) -> PathBuf {
    let mut name = disk.as_os_str().to_owned();
    if name.to_string_lossy().ends_with(|c: char| c.is_ascii_digit()) {
        name.push("p");
    }
    name.push(number.to_string());
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_as_linux_names_them() {
        assert_eq!(partition_device(Path::new("/dev/sda"), 2), Path::new("/dev/sda2"));
        assert_eq!(partition_device(Path::new("/dev/nvme0n1"), 3), Path::new("/dev/nvme0n1p3"));
        assert_eq!(partition_device(Path::new("/dev/loop7"), 1), Path::new("/dev/loop7p1"));
    }
}
