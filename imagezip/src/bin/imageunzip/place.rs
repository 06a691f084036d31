//! Where an image goes: a device, an existing file, or a new one under a temporary name.

use crate::args::Args;
use anyhow::{Context, Result};
use imagezip::cli::say;
use imagezip::disk::in_use::{same_storage, uses_of};
use imagezip::disk::{
    FileDisk, Kind, OpenError, RegularFile, TargetOptions, WriteDisk, open_target,
};
use imagezip::load::{Fit, LoadError, Prepared, Refusal, fit};
use imagezip::output::Temporary;
use imagezip::partition::{self, set_type};
use imagezip::units::SectorRange;
use std::path::{Path, PathBuf};

/// The target, opened.
pub(crate) struct Place {
    disk: FileDisk,
    /// The new file's name until it is complete.
    temporary: Option<Temporary>,
    /// The partition of `-s`.
    partition: Option<SectorRange>,
    /// The length is not known before the end.
    grows: bool,
}

impl Place {
    /// Opens the target; a device or an existing disk is only opened, not changed.
    pub(crate) fn open(args: &Args, target: &Path, prepared: &Prepared) -> Result<Self> {
        check_not_image(&args.image, target)?;
        let existing = match std::fs::metadata(target) {
            Ok(metadata) => !metadata.is_file() || args.in_place || args.slice.is_some(),
            Err(_) => args.in_place || args.slice.is_some(),
        };
        let options = TargetOptions { direct: args.direct, ..TargetOptions::default() };
        if !existing {
            let temporary = Temporary::beside(target)?;
            let size_bytes = prepared.facts.source_bytes.unwrap_or(0);
            let regular_file = RegularFile::Fresh { size_bytes };
            let options = TargetOptions { regular_file, ..options };
            let disk = open_target(temporary.path(), options).map_err(LoadError::from)?;
            let grows = prepared.facts.source_bytes.is_none();
            return Ok(Self { disk, temporary: Some(temporary), partition: None, grows });
        }
        // A disk of which another partition is mounted may get an image into a free one.
        let allow_busy = args.slice.is_some();
        let options = TargetOptions { allow_busy, ..options };
        let disk = open_target(target, options).map_err(LoadError::from)?;
        let partition = match args.slice {
            Some(number) => Some(find_partition(&disk, target, number)?),
            None => None,
        };
        if let (Some(number), Some(kind)) = (args.slice, args.kind) {
            // Whether that can be done has to be known before the first write.
            set_type(&disk, number, kind).map_err(|e| LoadError::from(Refusal::from(e)))?;
        }
        Ok(Self { disk, temporary: None, partition, grows: false })
    }

    /// The disk to write on.
    pub(crate) fn disk(&self) -> &FileDisk {
        &self.disk
    }

    /// The partition to write into.
    pub(crate) fn partition(&self) -> Option<SectorRange> {
        self.partition
    }

    /// A file just made: it reads as zeros, and nobody sees it before it is complete.
    pub(crate) fn is_new(&self) -> bool {
        self.temporary.is_some()
    }

    /// The length is not known before the end.
    pub(crate) fn grows(&self) -> bool {
        self.grows
    }

    /// Whether and how the image suits the target.
    pub(crate) fn fit(&self, args: &Args, prepared: &Prepared) -> Result<Fit, LoadError> {
        if self.is_new() {
            return Ok(Fit::default()); // made to measure
        }
        let is_device = self.disk.kind() == Kind::BlockDevice;
        let facts = fit::target_facts(&self.disk, self.partition, is_device, args.keep_gpt);
        Ok(fit::check(&prepared.facts, &facts, &prepared.tables)?)
    }

    /// Gives a new file its name, sets the partition's type, and tells the kernel.
    pub(crate) fn commit(self, args: &Args) -> Result<()> {
        if let (Some(number), Some(kind)) = (args.slice, args.kind) {
            for patch in set_type(&self.disk, number, kind)? {
                self.disk.write_at(&patch.bytes, patch.offset)?;
            }
            self.disk.sync()?;
        }
        if let Some(temporary) = self.temporary {
            return Ok(temporary.rename()?);
        }
        if let (Kind::BlockDevice, None) = (self.disk.kind(), self.partition)
            && let Err(warning) = self.disk.reread_partition_table()
        {
            say(format_args!("imageunzip: warning: {warning}"));
        }
        Ok(())
    }
}

/// Refuses a target that is the image, or holds it.
fn check_not_image(image: &Path, target: &Path) -> Result<()> {
    if image.as_os_str() == "-" {
        return Ok(());
    }
    match same_storage(image, target) {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(LoadError::from(Refusal::OntoImage(why)).into()),
        Err(error) => Err(error).context("cannot tell whether the target holds the image"),
    }
}

fn find_partition(disk: &FileDisk, target: &Path, number: u32) -> Result<SectorRange> {
    let table = partition::read(disk)?;
    if table.container(number).is_some() {
        return Err(LoadError::from(Refusal::Extended { number }).into());
    }
    let Some(found) = table.partition(number).filter(|p| !p.range.is_empty()) else {
        let numbers: Vec<_> = table.partitions.iter().map(|p| p.number.to_string()).collect();
        let found = if numbers.is_empty() { "none".into() } else { numbers.join(", ") };
        return Err(LoadError::from(Refusal::NoPartition { number, found }).into());
    };
    if disk.kind() == Kind::BlockDevice {
        check_partition_free(disk, target, number)?;
    }
    Ok(found.range)
}

/// Refuses a partition that is in use, whatever the rest of the disk is doing.
fn check_partition_free(disk: &FileDisk, target: &Path, number: u32) -> Result<()> {
    let device = partition_device(target, number);
    let path = if device.exists() { device.as_path() } else { disk.path() };
    let uses = uses_of(path).with_context(|| format!("cannot tell who uses {}", path.display()))?;
    let holders: Vec<_> =
        uses.iter().filter(|one| one.forbids_writing()).map(ToString::to_string).collect();
    if holders.is_empty() {
        return Ok(());
    }
    let used_by = holders.join("; ");
    Err(LoadError::from(OpenError::Busy { path: path.into(), used_by }).into())
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
