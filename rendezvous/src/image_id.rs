//! The name of an image as it travels.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a name at most; the 256th of the record's field stays zero.
pub const IMAGE_ID_LEN_MAX: usize = 255;

/// What an image is asked for by: 1 to [`IMAGE_ID_LEN_MAX`] bytes, none of them NUL.
///
/// A path below the host's image directory, or a project's name for it. Which names lead where is
/// the host's business, not ours: `../x` is an `ImageId`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(Vec<u8>);

/// Why bytes are not an [`ImageId`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ImageIdError {
    /// No byte at all.
    #[error("the image's name is empty")]
    Empty,
    /// Does not fit the record.
    #[error("the image's name has {0} bytes; {IMAGE_ID_LEN_MAX} is the most")]
    TooLong(usize),
    /// A NUL would end the name somewhere else for a program in C.
    #[error("the image's name has a NUL at byte {0}")]
    Nul(usize),
}

impl ImageId {
    /// Checks length and bytes.
    pub fn new(name: &[u8]) -> Result<Self, ImageIdError> {
        match name.iter().position(|byte| *byte == 0) {
            _ if name.is_empty() => Err(ImageIdError::Empty),
            _ if name.len() > IMAGE_ID_LEN_MAX => Err(ImageIdError::TooLong(name.len())),
            Some(at) => Err(ImageIdError::Nul(at)),
            None => Ok(Self(name.to_vec())),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl std::str::FromStr for ImageId {
    type Err = ImageIdError;

    fn from_str(name: &str) -> Result<Self, ImageIdError> {
        Self::new(name.as_bytes())
    }
}

impl TryFrom<String> for ImageId {
    type Error = ImageIdError;

    fn try_from(name: String) -> Result<Self, ImageIdError> {
        Self::new(name.as_bytes())
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> Self {
        Self::from_utf8_lossy(&id.0).into_owned()
    }
}
