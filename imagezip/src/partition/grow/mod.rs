//! Growing the last partition to the end of the disk.
//!
//! What it owns: which partition is the last, where it can end, what has to be written for that,
//! in which order, and every reason not to. What it never does: move the start of a partition, make
//! one smaller, touch a byte that is not part of a partition table, or change a table that leaves
//! doubt about what stands behind the last partition.
//!
//! The order makes a power cut harmless. What is written is a list of steps, flushed one by one; at
//! every moment the disk has a valid table with the partition as it was or as it will be, and
//! planning again finds what is left to do.

mod mbr;

use super::gpt::{self, RelocationError};
use super::{LbaSize, Partition, Patch, Problem, Scheme, Table, Warning, read};
use crate::disk::{DiskError, ReadDisk, WriteDisk};
use crate::sector_set::SectorSet;
use crate::units::{Sector, SectorCount, SectorRange};
use thiserror::Error;

/// The end of a grown partition is on a multiple of this, 1 MiB, as every partitioning tool of the
/// last fifteen years puts it.
pub(super) const ALIGNMENT: SectorCount = SectorCount::from_u32(2048);

/// Why a partition cannot be grown. All but the first are refusals: nothing has been written.
#[derive(Debug, Error)]
pub enum GrowError {
    /// The disk cannot be read.
    #[error("partition table: {0}")]
    Disk(#[from] DiskError),
    /// There is no valid table.
    #[error("there is no valid partition table")]
    NoTable,
    /// The table contradicts itself or the disk.
    #[error("the partition table cannot be trusted: {0}")]
    Problem(Problem),
    /// The table is odd in a way that leaves doubt.
    #[error("the partition table leaves doubt: {0}")]
    Doubt(Warning),
    /// Something stands behind the last partition.
    #[error(
        "partition {number} ends at sector {end}, but there may be data behind it, up to sector \
         {keep_end}"
    )]
    DataBehind {
        /// The last partition.
        number: u32,
        /// The sector after its last.
        end: Sector,
        /// Up to where something has to be kept.
        keep_end: Sector,
    },
    /// A record of the table itself stands behind the last partition.
    #[error(
        "partition {number} cannot grow: the partition table itself has a record behind it, at \
         sector {at}"
    )]
    TableBehind {
        /// The last partition.
        number: u32,
        /// Where the record is.
        at: Sector,
    },
    /// The extended partition reaches beyond the end of the disk.
    #[error("extended partition {number} (sectors {declared}) ends beyond the end of the disk")]
    ExtendedBeyondEnd {
        /// Its number.
        number: u32,
        /// Where the table says it is.
        declared: SectorRange,
    },
    /// A GPT that has no place on the disk.
    #[error(transparent)]
    Gpt(RelocationError),
}

impl From<RelocationError> for GrowError {
    fn from(error: RelocationError) -> Self {
        match error {
            RelocationError::Disk(error) => Self::Disk(error),
            other => Self::Gpt(other),
        }
    }
}

/// How the last partition grows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Growth {
    /// The last partition's number, as Linux counts.
    pub number: u32,
    /// Where it is.
    pub old: SectorRange,
    /// Where it will be; the same as `old` when it is as large as it can be.
    pub new: SectorRange,
    /// The extended partition that grows with it.
    pub container: Option<u32>,
    /// The backup GPT goes to the end of the disk.
    pub moves_backup: bool,
    /// The partition stops where an MBR cannot address more; so many sectors stay unused.
    pub out_of_reach: SectorCount,
    /// The backup GPT as it will be.
    pub(super) backup: Vec<Patch>,
    /// What is to be written, each flushed before the next.
    steps: Vec<Vec<Patch>>,
}

impl Growth {
    pub(super) fn new(
        number: u32,
        old: SectorRange,
        new: SectorRange,
        steps: Vec<Vec<Patch>>,
    ) -> Self {
        Self {
            number,
            old,
            new,
            container: None,
            moves_backup: false,
            out_of_reach: SectorCount::ZERO,
            backup: Vec::new(),
            steps,
        }
    }

    /// True when the table is as it should be.
    pub fn is_nothing(&self) -> bool {
        self.steps.is_empty()
    }

    /// What is to be written, each step flushed before the next.
    pub fn steps(&self) -> &[Vec<Patch>] {
        &self.steps
    }

    /// Writes the table, a step at a time, each on stable storage before the next.
    ///
    /// # Errors
    /// When the disk reports one. The disk then has a valid table, the old or the new one;
    /// planning and applying again does the rest.
    pub fn apply(&self, disk: &dyn WriteDisk) -> Result<(), DiskError> {
        for step in &self.steps {
            for patch in step {
                disk.write_at(&patch.bytes, patch.offset)?;
            }
            disk.sync()?;
        }
        Ok(())
    }

    /// Leaves only what differs from what the disk has.
    fn without_what_is_there(mut self, disk: &dyn ReadDisk) -> Result<Self, DiskError> {
        for step in &mut self.steps {
            let mut differs = Vec::new();
            for patch in step.drain(..) {
                if !is_there(disk, &patch)? {
                    differs.push(patch);
                }
            }
            *step = differs;
        }
        self.steps.retain(|step| !step.is_empty());
        Ok(self)
    }
}

/// Plans how the last partition grows to the end of the disk; `None` for a table without
/// partitions.
///
/// # Errors
/// When the disk cannot be read, has no table, or one that leaves any doubt.
pub fn plan(disk: &dyn ReadDisk) -> Result<Option<Growth>, GrowError> {
    let table = read(disk)?;
    if let Some(problem) = &table.problem {
        return Err(GrowError::Problem(problem.clone()));
    }
    if table.scheme == Scheme::None {
        return Err(GrowError::NoTable);
    }
    if let Some(doubt) = doubt(disk, &table)? {
        return Err(GrowError::Doubt(doubt.clone()));
    }
    let Some(last) = table.partitions.iter().max_by_key(|p| p.declared.start()) else {
        return Ok(None);
    };
    let (number, end) = (last.number, last.declared.end());
    if table.keep_end > end {
        return Err(GrowError::DataBehind { number, end, keep_end: table.keep_end });
    }
    let growth = match table.scheme {
        Scheme::Mbr { .. } => mbr::plan(disk, &table, last)?,
        _ => gpt::plan_growth(disk, last)?,
    };
    // Two valid copies that differ are the work of two hands, or of a power cut while we wrote the
    // second of them. Then the first is exactly what we would write.
    if let Some(differ) = table.warnings.iter().find(|w| **w == Warning::CopiesDiffer) {
        for patch in &growth.backup {
            if !is_there(disk, patch)? {
                return Err(GrowError::Doubt(differ.clone()));
            }
        }
    }
    Ok(Some(growth.without_what_is_there(disk)?))
}

fn is_there(disk: &dyn ReadDisk, patch: &Patch) -> Result<bool, DiskError> {
    let mut found = vec![0; patch.bytes.len()];
    disk.read_at(&mut found, patch.offset)?;
    Ok(found == patch.bytes)
}

/// What makes it doubtful that the table tells all there is.
fn doubt<'a>(disk: &dyn ReadDisk, table: &'a Table) -> Result<Option<&'a Warning>, DiskError> {
    for warning in &table.warnings {
        let doubtful = match warning {
            // One good copy is enough, and writing both mends the other.
            Warning::PrimaryGptBroken { .. }
            | Warning::BackupGptBroken { .. }
            | Warning::BackupBeyondEnd { .. }
            | Warning::BackupNotAtEnd { .. }
            // Judged by what would be written.
            | Warning::CopiesDiffer
            // Judged by where the image ends.
            | Warning::IsoImage { .. } => false,
            // The disk had a GPT before and its backup was not erased: an MBR image was loaded. A
            // primary in its place is another matter.
            Warning::GptRemainder => has_primary_remainder(disk, table.lba_size)?,
            Warning::HybridMbr { .. }
            | Warning::HybridOnly { .. }
            | Warning::PartitionTruncated { .. }
            | Warning::OutsideUsable { .. }
            | Warning::NotATable { .. }
            | Warning::ExtendedIncomplete { .. } => true,
        };
        if doubtful {
            return Ok(Some(warning));
        }
    }
    Ok(None)
}

fn has_primary_remainder(disk: &dyn ReadDisk, size: LbaSize) -> Result<bool, DiskError> {
    let start = size.sector(1).unwrap_or_default();
    let remains: SectorSet = gpt::remains(disk, size)?.into_iter().collect();
    Ok(remains.contains(start))
}

/// `limit` aligned down.
pub(super) fn aligned_end(limit: Sector, alignment: SectorCount) -> Sector {
    let over = limit.get() % alignment.get().max(1);
    SectorCount::new(over).and_then(|over| limit.checked_sub(over)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
