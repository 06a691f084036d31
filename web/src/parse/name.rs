//! Names of images in requests.

/// The longest name: what fits the rendezvous protocol.
pub const NAME_BYTES_MAX: usize = 255;

/// Why a text is no name of an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the name of the image is empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("the name of the image is longer than 255 bytes")]
    TooLong,
    /// Holds what no name may hold.
    #[error("the name of the image holds a control character")]
    Control,
    /// Would lead out of the image directory, or to what is hidden there.
    #[error(
        "the name of the image is no plain path below the image directory: no part of it may be empty or begin with a dot"
    )]
    Path,
}

/// Takes a name: parts with slashes between them, none empty, none beginning with a dot. The host
/// may be stricter; it need not be.
///
/// # Errors
/// When it is none.
pub fn image_name(text: &str) -> Result<&str, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    if text.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return Err(NameError::Path);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_names() {
        for name in ["a", "a.ndz", "proj/debian 12.ndz", "ü/日本.ndz", "a..b", "a\\b", "~x"] {
            assert_eq!(image_name(name), Ok(name));
        }
        let longest = "x".repeat(NAME_BYTES_MAX);
        assert!(image_name(&longest).is_ok());
    }

    #[test]
    fn what_leaves_the_directory_is_none() {
        for name in ["/etc/passwd", "..", "a/../b", "a//b", "a/", ".hidden", "a/.b", "./a"] {
            assert_eq!(image_name(name), Err(NameError::Path), "{name}");
        }
        assert_eq!(image_name(""), Err(NameError::Empty));
        assert_eq!(image_name("a\0b"), Err(NameError::Control));
        assert_eq!(image_name("a\nb"), Err(NameError::Control));
        assert_eq!(image_name(&"x".repeat(256)), Err(NameError::TooLong));
    }
}
