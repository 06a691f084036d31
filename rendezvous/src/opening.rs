//! The first bytes of a connection: which protocol, and which message.

use crate::{frame, record};

/// Bytes that tell the two protocols and their messages apart: version and type. A record's body
/// follows them; a frame's length does.
pub const OPENING_LEN: usize = 8;

/// What a connection begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opening {
    /// A record of V01; `Kind::body_len` bytes follow.
    Record(record::Kind),
    /// A frame of F01; the last 4 bytes of its header follow.
    Frame(frame::Kind),
}

/// The connection speaks neither protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "expected version V01 or F01 and a known type, found \"{}\" and type {kind}",
    version.escape_ascii()
)]
pub struct OpeningError {
    /// The first four bytes.
    pub version: [u8; 4],
    /// The next four.
    pub kind: u32,
}

impl OpeningError {
    /// An error about these bytes.
    pub(crate) fn of(bytes: [u8; OPENING_LEN]) -> Self {
        let [v0, v1, v2, v3, k0, k1, k2, k3] = bytes;
        Self { version: [v0, v1, v2, v3], kind: u32::from_be_bytes([k0, k1, k2, k3]) }
    }
}

/// Reads version and type.
pub fn opening(bytes: [u8; OPENING_LEN]) -> Result<Opening, OpeningError> {
    let head = OpeningError::of(bytes);
    let kind = head.kind;
    let found = match head.version {
        record::VERSION => record::Kind::from_wire(kind).map(Opening::Record),
        frame::VERSION => frame::Kind::from_wire(kind).map(Opening::Frame),
        _ => None,
    };
    found.ok_or(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_apart() {
        assert_eq!(opening(*b"V01\0\0\0\0\x01"), Ok(Opening::Record(record::Kind::GetRequest)));
        assert_eq!(opening(*b"F01\0\0\0\0\x03"), Ok(Opening::Frame(frame::Kind::Data)));
        let error = opening(*b"GET / HT").unwrap_err();
        assert!(error.to_string().contains("\"GET \""), "{error}");
        assert!(opening(*b"V01\0\0\0\0\x05").is_err());
    }
}
