//! What is odd about a table.
//!
//! What it owns: [`Warning`], something people should know, and [`Problem`], a contradiction after
//! which no free space on the disk can be trusted. What it never does: decide which of the two a
//! finding is; the readers beside it do.

use super::gpt::GptFault;
use crate::units::{Sector, SectorCount, SectorRange};
use thiserror::Error;

/// Something odd that does not make the table ambiguous.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Warning {
    /// The primary GPT is broken; the backup is used.
    #[error("primary GPT is broken ({fault}); using the backup at sector {backup}")]
    PrimaryGptBroken {
        /// What is wrong with it.
        fault: GptFault,
        /// Where the backup header is.
        backup: Sector,
    },
    /// The backup GPT is broken; the primary is used.
    #[error("backup GPT is broken ({fault}); using the primary. `sgdisk -e` writes a new one")]
    BackupGptBroken {
        /// What is wrong with it.
        fault: GptFault,
    },
    /// The backup GPT would be beyond the end of the disk.
    #[error("the GPT says its backup is at sector {backup}, but the disk has only {disk} sectors")]
    BackupBeyondEnd {
        /// Where it should be.
        backup: u64,
        /// Size of the disk.
        disk: SectorCount,
    },
    /// The backup GPT is not at the end of the disk: the disk has grown.
    #[error("the backup GPT is at sector {backup}, not at the end of the disk ({disk} sectors)")]
    BackupNotAtEnd {
        /// Where it is.
        backup: Sector,
        /// Size of the disk.
        disk: SectorCount,
    },
    /// Both GPT copies are valid but say different things.
    #[error("the backup GPT differs from the primary; using the primary")]
    CopiesDiffer,
    /// MBR entries beside the protective one.
    #[error("hybrid MBR: {entries} MBR entries beside the GPT; the GPT is used")]
    HybridMbr {
        /// How many.
        entries: usize,
    },
    /// An MBR entry beside a GPT that no GPT partition corresponds to.
    #[error("hybrid MBR entry {number} (sectors {range}) is not in the GPT; it is kept whole")]
    HybridOnly {
        /// Which of the four.
        number: u32,
        /// Where it is.
        range: SectorRange,
    },
    /// A GPT without a protective MBR.
    #[error("a GPT without a protective MBR entry is ignored, as Linux does")]
    GptRemainder,
    /// A partition reaches beyond the end of the disk.
    #[error("partition {number} (sectors {declared}) is cut: the disk has only {disk} sectors")]
    PartitionTruncated {
        /// Its number.
        number: u32,
        /// Where the table says it is.
        declared: SectorRange,
        /// Size of the disk.
        disk: SectorCount,
    },
    /// A GPT partition is outside the range the header allows, but disturbs nothing.
    #[error("partition {number} (sectors {range}) is outside the GPT's usable range")]
    OutsideUsable {
        /// Its number.
        number: u32,
        /// Where it is.
        range: SectorRange,
    },
    /// Sector 0 ends in 55AA, but holds no partition table.
    #[error("sector 0 is not a partition table: {reason}")]
    NotATable {
        /// What speaks against it.
        reason: String,
    },
    /// An extended partition is not understood up to its end; what is not is kept.
    #[error("extended partition {number}: {reason} at sector {at}; the rest of it is kept whole")]
    ExtendedIncomplete {
        /// Its number.
        number: u32,
        /// What was found.
        reason: &'static str,
        /// In which extended boot record.
        at: Sector,
    },
    /// An ISO 9660 image that is also a partitioned disk; all of the image is kept.
    #[error("the disk begins with an ISO 9660 image, which is kept whole up to sector {end}")]
    IsoImage {
        /// Where the image ends.
        end: Sector,
    },
}

/// A contradiction: the caller keeps the whole disk, as it is.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Problem {
    /// Two partitions claim the same sectors.
    #[error("partitions {first} and {second} overlap in sectors {range}")]
    Overlap {
        /// The one that starts first.
        first: u32,
        /// The other.
        second: u32,
        /// What they have in common.
        range: SectorRange,
    },
    /// A partition claims sectors of the table itself.
    #[error("partition {number} covers the partition table in sectors {range}")]
    CoversTable {
        /// Its number.
        number: u32,
        /// What they have in common.
        range: SectorRange,
    },
    /// An extended boot record links back to one already seen.
    #[error("the chain of logical partitions comes back to sector {at}")]
    EbrLoop {
        /// The record seen twice.
        at: Sector,
    },
    /// An extended boot record links outside its extended partition.
    #[error("the extended boot record at sector {at} links to {target}, outside of {extended}")]
    EbrOutside {
        /// The record with the link.
        at: Sector,
        /// Where it links to.
        target: Sector,
        /// The extended partition.
        extended: SectorRange,
    },
    /// A logical partition is not inside its extended partition.
    #[error("logical partition {number} (sectors {range}) is outside of {extended}")]
    LogicalOutside {
        /// Its number.
        number: u32,
        /// Where it is.
        range: SectorRange,
        /// The extended partition.
        extended: SectorRange,
    },
    /// More extended boot records than any disk has.
    #[error("more than {limit} extended boot records")]
    TooManyEbrs {
        /// How many we follow.
        limit: usize,
    },
    /// Neither copy of the GPT is valid.
    #[error("both GPT copies are broken: primary: {primary}; backup: {backup}")]
    GptBroken {
        /// What is wrong with the primary.
        primary: GptFault,
        /// What is wrong with the backup.
        backup: GptFault,
    },
    /// A GPT entry that ends before it starts, or beyond any disk.
    #[error("partition {number} is impossible: first block {first}, last block {last}")]
    ImpossibleEntry {
        /// Its number.
        number: u32,
        /// First logical block.
        first: u64,
        /// Last logical block.
        last: u64,
    },
    /// The GPT was written for another logical sector size.
    #[error(
        "the GPT was written for {found}-byte sectors, but sectors of {configured} bytes are set; \
         use --sector-size {found}"
    )]
    SectorSize {
        /// Bytes of the sector size in use.
        configured: u32,
        /// Bytes of the sector size that fits.
        found: u32,
    },
    /// A filesystem's boot sector that also looks like a partition table.
    #[error("sector 0 is both a {filesystem} boot sector and a partition table")]
    BootSectorAndTable {
        /// Which filesystem.
        filesystem: &'static str,
    },
    /// A hybrid MBR entry overlaps a GPT partition without being the same.
    #[error("hybrid MBR entry {entry} and GPT partition {number} overlap in sectors {range}")]
    HybridDisagrees {
        /// Which of the four entries.
        entry: u32,
        /// The GPT partition.
        number: u32,
        /// What they have in common.
        range: SectorRange,
    },
}
