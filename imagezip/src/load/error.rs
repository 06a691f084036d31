//! Why a load ended, or was not begun.

use crate::disk::in_use::InUseError;
use crate::disk::{DiskError, OpenError};
use crate::ndz::FormatError;
use crate::output::OutputError;
use crate::partition::gpt::RelocationError;
use crate::partition::{DoesNotFit, SetTypeError};
use crate::units::{HumanBytes, SectorCount, SectorRange};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a load ended, or was not begun.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The image could not be read.
    #[error("{}: cannot read the image: {source}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The image is damaged, incomplete, or needs something this program does not do.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The target could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The target failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Who uses the target could not be found out.
    #[error(transparent)]
    InUse(#[from] InUseError),
    /// The type of the partition could not be set.
    #[error(transparent)]
    SetType(#[from] SetTypeError),
    /// A new file could not be made, or not be given its name.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The image does not suit the target.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was written reads back as something else.
    #[error(
        "verification failed: {count} of the ranges written read back differently; the first is \
         sectors {first}. The disk or its connection is damaging data"
    )]
    Verify {
        /// The first range that differs.
        first: SectorRange,
        /// How many differ.
        count: u64,
    },
    /// A signal asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A thread ended without a word. An error in this program.
    #[error("internal error: the pipeline ended early")]
    EndedEarly,
}

/// Why an image is not loaded onto a target. Nothing has been written then.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Saved sectors lie beyond the end of the target.
    #[error(
        "the image does not fit: it writes up to sector {needed} ({}), the target has {target} \
         sectors ({})", HumanBytes(.needed.bytes()), HumanBytes(.target.bytes())
    )]
    TooSmall {
        /// Sectors the target must have.
        needed: SectorCount,
        /// Sectors it has.
        target: SectorCount,
    },
    /// A partition ends beyond the end of the target.
    #[error("the image does not fit: {0}")]
    Partition(#[from] DoesNotFit),
    /// The GPT cannot be moved to the target's end.
    #[error("the image does not fit: {0}")]
    Gpt(#[from] RelocationError),
    /// Logical sectors of another size: partition table and filesystems would be misread.
    #[error(
        "the image was made from a disk with {image}-byte logical sectors, the target has \
         {target}-byte sectors; its partition table and filesystems would not be understood"
    )]
    SectorSize {
        /// Of the image.
        image: u32,
        /// Of the target.
        target: u32,
    },
    /// A whole-disk image was to go into a partition.
    #[error("the image holds a whole disk and cannot be loaded into a partition; leave out -s")]
    WholeDisk,
    /// The partition named is the container of others.
    #[error(
        "partition {number} of the target is an extended partition; the logical ones inside can be written"
    )]
    Extended {
        /// The number asked for.
        number: u32,
    },
    /// The type asked for cannot be given to the partition.
    #[error(transparent)]
    Type(#[from] SetTypeError),
    /// The target holds the image, or is it.
    #[error("refusing to write: {0}")]
    OntoImage(String),
    /// There is no such partition on the target.
    #[error("the target has no partition {number}; it has {found}")]
    NoPartition {
        /// The number asked for.
        number: u32,
        /// Those it has.
        found: String,
    },
}

impl LoadError {
    /// True when the image itself is what is wrong, in words that do not name it.
    pub fn is_about_image(&self) -> bool {
        matches!(self, Self::Format(_))
    }

    /// True when nothing was written because the image or the disk does not qualify: trying again
    /// will not help.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Format(_))
            || matches!(
                self,
                Self::Open(
                    OpenError::Busy { .. } | OpenError::NotADisk { .. } | OpenError::TooLong { .. }
                )
            )
    }
}
