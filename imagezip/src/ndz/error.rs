//! What can be wrong with an image.

use crate::units::SectorRange;
use thiserror::Error;

/// A chunk or an image that cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum FormatError {
    /// A structure contradicts the format: the bytes were damaged or never were an image.
    #[error("{place}: {what}: expected {expected}, found {found}")]
    Corrupt {
        /// Which chunk.
        place: Place,
        /// Which field or property.
        what: &'static str,
        /// What a sound image would hold.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A sound chunk that needs something this program does not do.
    #[error("{place}: {what}")]
    Unsupported {
        /// Which chunk.
        place: Place,
        /// What it needs, and what to do.
        what: String,
    },
}

/// A place in an image: a chunk, and the sectors it answers for when they are known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// Chunk number, from 0; `None` when the error concerns the image as a whole.
    pub chunk: Option<u64>,
    /// The sectors that the chunk holds or answers for.
    pub sectors: Option<SectorRange>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.chunk, self.sectors) {
            (Some(chunk), Some(sectors)) => write!(f, "chunk {chunk} (sectors {sectors})"),
            (Some(chunk), None) => write!(f, "chunk {chunk}"),
            (None, _) => f.write_str("image"),
        }
    }
}

impl FormatError {
    /// A contradiction in the chunk at this position, or in the image as a whole.
    pub(crate) fn corrupt(
        place: Place,
        what: &'static str,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Corrupt { place, what, expected: expected.to_string(), found: found.to_string() }
    }

    /// Something this program does not do.
    pub(crate) fn unsupported(place: Place, what: impl Into<String>) -> Self {
        Self::Unsupported { place, what: what.into() }
    }
}

impl Place {
    /// The image as a whole.
    pub const IMAGE: Self = Self { chunk: None, sectors: None };

    /// A chunk by its position, when its header is not known.
    pub const fn chunk(index: u64) -> Self {
        Self { chunk: Some(index), sectors: None }
    }
}
