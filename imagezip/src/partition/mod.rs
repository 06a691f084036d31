//! Partition tables: where the partitions of a disk are, and which sectors the tables occupy.
//!
//! What it owns: [`read`] and its answer, [`Table`]: MBR with logical partitions, GPT with its backup,
//! hybrids of both, or none. Also what a load needs: moving a GPT to a disk of another size
//! ([`gpt::Relocation`]), checking that partitions fit ([`check_fits`]), and changing the type of a
//! partition ([`mbr::set_type`], [`gpt::set_type`]) or the end of the last one ([`grow`]). What it
//! never does: look into partitions, write to a disk unless told to ([`grow::Growth::apply`]), or
//! choose between two stories: a table that contradicts itself has a [`Problem`].
//!
//! The caller's promise: what is not inside a partition it understands is kept up to
//! [`Table::keep_end`], and [`Table::metadata`] is kept wherever it is.

mod boot_sector;
mod draft;
mod ebr;
mod excerpt;
mod fit;
pub mod gpt;
pub mod grow;
mod kind;
mod lba;
pub mod mbr;
mod report;
mod set_type;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use excerpt::{Excerpt, Patch};
pub use fit::{DoesNotFit, check_fits};
pub use kind::{ParseKindError, PartitionKind};
pub use lba::LbaSize;
pub use report::{Problem, Warning};
pub use set_type::{SetTypeError, set_type};

use crate::disk::{DiskError, ReadDisk};
use crate::sector_set::SectorSet;
use crate::units::{Sector, SectorRange};
use boot_sector::{Parsed, RECORD_LEN};
use draft::Draft;
use uuid::Uuid;

/// Which table a disk has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// A GPT with its protective MBR.
    Gpt {
        /// Identity of the disk.
        disk_guid: Uuid,
    },
    /// A GPT whose MBR has entries of its own.
    HybridGpt {
        /// Identity of the disk.
        disk_guid: Uuid,
    },
    /// A master boot record, perhaps with logical partitions.
    Mbr {
        /// The four bytes Windows and Linux know the disk by; 0 when there are none.
        signature: u32,
    },
    /// None that is valid. Without a [`Problem`] the disk may hold a filesystem from sector 0.
    None,
}

/// A partition table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table {
    /// Which table it is.
    pub scheme: Scheme,
    /// The logical sector size it counts in.
    pub lba_size: LbaSize,
    /// By number. With a problem they are for display only.
    pub partitions: Vec<Partition>,
    /// Extended partitions: they hold logical partitions, no data of their own.
    pub containers: Vec<Container>,
    /// Sectors of the tables: MBR, extended boot records, both GPT headers and entry arrays, also
    /// of a GPT that is ignored.
    pub metadata: SectorSet,
    /// What is not inside an understood partition must be kept up to here: the end of the last
    /// partition, or of anything beside them that may hold data. The disk's end without a table
    /// and with a problem.
    pub keep_end: Sector,
    /// What people should know.
    pub warnings: Vec<Warning>,
    /// A contradiction: keep the whole disk.
    pub problem: Option<Problem>,
}

/// A partition that can hold data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Partition {
    /// As Linux numbers it: MBR 1 to 4, logical from 5, GPT index + 1.
    pub number: u32,
    /// Where it is on this disk; empty when all of it is beyond the end.
    pub range: SectorRange,
    /// Where the table says it is; more than `range` only when `truncated`.
    pub declared: SectorRange,
    /// The type the table gives it.
    pub kind: PartitionKind,
    /// GPT name, when it has one.
    pub name: Option<String>,
    /// GPT identity.
    pub guid: Option<Uuid>,
    /// GPT attribute bits; 0 for MBR.
    pub attributes: u64,
    /// The MBR boot flag, or the GPT attribute "legacy BIOS bootable".
    pub bootable: bool,
    /// The table says it reaches beyond the end of the disk.
    pub truncated: bool,
}

/// An extended partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Container {
    /// 1 to 4.
    pub number: u32,
    /// Where the table says it is.
    pub declared: SectorRange,
    /// 0x05, 0x0f or 0x85.
    pub kind: PartitionKind,
    /// Its chain of logical partitions was understood to the end.
    pub complete: bool,
}

impl Table {
    /// The partition with this number.
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.number == number)
    }

    /// The extended partition with this number.
    pub fn container(&self, number: u32) -> Option<&Container> {
        self.containers.iter().find(|container| container.number == number)
    }
}

/// Reads the partition table of a disk. Time and memory are bounded whatever its bytes say.
///
/// # Errors
/// When the disk cannot be read, or its logical sector size is none we know.
pub fn read(disk: &dyn ReadDisk) -> Result<Table, DiskError> {
    let mut draft = Draft::new(disk)?;
    let Some(sector) = draft.lba_size.read(disk, 0, RECORD_LEN)? else {
        return Ok(draft.bare(None));
    };
    let record = match boot_sector::parse(&sector) {
        Parsed::Record(record) => record,
        Parsed::Unsigned => {
            note_gpt_remainder(&mut draft)?;
            return Ok(draft.bare(None));
        }
        Parsed::BadFlag { number, flag } => {
            let reason =
                format!("entry {number} has boot flag 0x{flag:02x}, expected 0x00 or 0x80");
            note_gpt_remainder(&mut draft)?;
            return Ok(draft.bare(Some(Warning::NotATable { reason })));
        }
    };
    if record.is_protective() {
        gpt::table(draft, &record)
    } else {
        note_gpt_remainder(&mut draft)?;
        mbr::table(draft, &sector, &record)
    }
}

/// The logical sector size at which the disk has a valid GPT: its own if that fits, else any other;
/// `None` when there is no valid GPT.
///
/// # Errors
/// When the disk cannot be read.
pub fn detect_sector_size(disk: &dyn ReadDisk) -> Result<Option<LbaSize>, DiskError> {
    let own = LbaSize::new(disk.logical_sector_bytes());
    let others = LbaSize::ALL.into_iter().filter(|size| Some(*size) != own);
    for size in own.into_iter().chain(others) {
        if gpt::Gpt::read_sized(disk, size, None)?.is_ok() {
            return Ok(Some(size));
        }
    }
    Ok(None)
}

/// A GPT that nothing protects is not used, but what there is of it is kept.
fn note_gpt_remainder(draft: &mut Draft<'_>) -> Result<(), DiskError> {
    let remains = gpt::remains(draft.disk, draft.lba_size)?;
    if !remains.is_empty() {
        draft.remains.extend(remains);
        draft.warnings.push(Warning::GptRemainder);
    }
    Ok(())
}
