//! Names of images.
//!
//! What it owns: the proof that a name stays inside the store. Whatever a client sends becomes an
//! [`ImageName`] or is refused; the rest of the crate takes nothing else. What it never does: look
//! at the disk. Links are the business of the local store.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Longest name, in bytes: what the rendezvous protocol can carry, with its NUL.
pub const NAME_BYTES_MAX: usize = 255;

/// The name of an image: a path below the store's root, as `image` or `project/image`.
///
/// Parts are separated by single slashes. No part is empty, `.` or `..`, and none starts with a
/// dot, so that neither the store's hidden folders nor anything outside can be named. A backslash
/// is a character like any other: on Linux it separates nothing.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ImageName(Box<str>);

/// Why a text is no name of an image.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NameError {
    /// Nothing at all.
    #[error("an image name is empty; give a name such as image.ndz or project/image.ndz")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("an image name of {0} bytes is too long; at most 255 bytes are allowed")]
    TooLong(usize),
    /// Starts with a slash.
    #[error("an image name starts with a slash; give it relative to the image directory")]
    Absolute,
    /// A part is empty: two slashes in a row, or one at the end.
    #[error("an image name has an empty part; give single slashes, and none at the end")]
    EmptyPart,
    /// A part starts with a dot: `.`, `..`, or something hidden.
    #[error("a part of an image name starts with a dot; such names are not allowed")]
    LeadingDot,
    /// NUL, a line end, or another control character.
    #[error("an image name holds a control character (U+{0:04X}); such names are not allowed")]
    Control(u32),
    /// Not UTF-8.
    #[error("an image name is not UTF-8 text; such names are not allowed")]
    NotText,
}

impl ImageName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it breaks one of the rules above; the message says which.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(name.len()));
        }
        if let Some(control) = name.chars().find(|c| c.is_control()) {
            return Err(NameError::Control(control.into()));
        }
        if name.starts_with('/') {
            return Err(NameError::Absolute);
        }
        for part in name.split('/') {
            if part.is_empty() {
                return Err(NameError::EmptyPart);
            }
            if part.starts_with('.') {
                return Err(NameError::LeadingDot);
            }
        }
        Ok(Self(name.into()))
    }

    /// Checks a name as it comes from the network.
    ///
    /// # Errors
    /// As [`ImageName::parse`], or when it is not UTF-8.
    pub fn from_bytes(name: &[u8]) -> Result<Self, NameError> {
        Self::parse(std::str::from_utf8(name).map_err(|_| NameError::NotText)?)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders above it (if any), and its last part.
    pub fn split(&self) -> (Option<&str>, &str) {
        match self.0.rsplit_once('/') {
            Some((folders, last)) => (Some(folders), last),
            None => (None, &self.0),
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::parse(name)
    }
}

impl AsRef<str> for ImageName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn usual_names_are_allowed() {
        for name in ["image.ndz", "project/image", "a/b/c/d", "with space", "Bär.ndz", "a\\b", "-x"]
        {
            assert_eq!(ImageName::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(ImageName::parse("a/b/c").unwrap().split(), (Some("a/b"), "c"));
        assert_eq!(ImageName::parse("c").unwrap().split(), (None, "c"));
        assert!(ImageName::parse(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        for (name, why) in [
            ("", NameError::Empty),
            ("/etc/passwd", NameError::Absolute),
            ("..", NameError::LeadingDot),
            ("../x", NameError::LeadingDot),
            ("a/../../x", NameError::LeadingDot),
            ("a/./b", NameError::LeadingDot),
            (".uploads/1.part", NameError::LeadingDot),
            ("a/.hidden", NameError::LeadingDot),
            ("a//b", NameError::EmptyPart),
            ("a/", NameError::EmptyPart),
            ("a\0b", NameError::Control(0)),
            ("a\nb", NameError::Control(10)),
            ("a\u{7f}", NameError::Control(0x7f)),
        ] {
            assert_eq!(ImageName::parse(name), Err(why), "{name:?}");
        }
        assert_eq!(ImageName::parse(&"x".repeat(256)), Err(NameError::TooLong(256)));
        assert_eq!(ImageName::from_bytes(b"a\xff"), Err(NameError::NotText));
    }

    proptest! {
        /// Whatever passes has only plain parts below the root, and comes out as it went in.
        #[test]
        fn a_name_never_leaves(name in "[a-z./\\\\\u{0}\u{e9} ]{0,40}") {
            if let Ok(parsed) = ImageName::parse(&name) {
                prop_assert_eq!(parsed.as_str(), name.as_str());
                let root = Path::new("/root");
                let joined = root.join(parsed.as_str());
                prop_assert!(joined.starts_with(root) && joined != root);
                for part in Path::new(parsed.as_str()).components() {
                    prop_assert!(matches!(part, Component::Normal(_)));
                }
                let parts: Vec<_> = name.split('/').collect();
                prop_assert_eq!(Path::new(&name).components().count(), parts.len());
                prop_assert!(parts.iter().all(|part| !part.starts_with('.')));
            }
        }
    }
}
