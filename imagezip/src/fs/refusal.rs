//! Why a reader gives no allocation map.
//!
//! What it owns: the one error the readers use inside, with constructors for its classes. What it
//! never does: leave this crate; [`settle`] turns it into an [`Allocation`].

use super::{Allocation, Corrupt};
use crate::disk::DiskError;
use crate::sector_set::SectorSet;
use crate::units::Sector;
use thiserror::Error;

/// A reader's failure to produce a map.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// The disk could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The map cannot be trusted, or the form is not known.
    #[error("{0}")]
    Unsupported(String),
    /// The structures contradict each other.
    #[error("{0}")]
    Corrupt(Corrupt),
}

impl Refusal {
    /// A form or state whose map cannot be trusted; `reason` completes "kept whole: ...".
    pub(crate) fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported(reason.into())
    }

    /// A contradiction in structure `what`, which stands at byte `offset` of the filesystem.
    pub(crate) fn corrupt(
        what: impl Into<String>,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Corrupt(Corrupt {
            what: what.into(),
            at: Sector::containing_byte(offset).unwrap_or_default(),
            expected: expected.into(),
            found: found.into(),
        })
    }
}

/// The answer a reader gives: its map, or why there is none.
///
/// # Errors
/// Only when the disk could not be read.
pub(crate) fn settle(outcome: Result<SectorSet, Refusal>) -> Result<Allocation, DiskError> {
    match outcome {
        Ok(set) => Ok(Allocation::Known(set)),
        Err(Refusal::Unsupported(reason)) => Ok(Allocation::Unsupported { reason }),
        Err(Refusal::Corrupt(corrupt)) => Ok(Allocation::Corrupt(corrupt)),
        Err(Refusal::Disk(error)) => Err(error),
    }
}
