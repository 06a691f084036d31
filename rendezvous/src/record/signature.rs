//! What tells one state of an image from another.

use super::raw::SIGNATURE_FIELD;
use zerocopy::byteorder::network_endian::U16;

/// What tells one state of an image from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signature {
    /// Not told, or of a kind that is not known here.
    None,
    /// Type 1: the time of modification, seconds since 1970.
    Modified(u32),
    /// Type 2.
    Md5([u8; 16]),
    /// Type 3.
    Sha1([u8; 20]),
}

impl Signature {
    pub(super) fn decode(kind: U16, field: &[u8; SIGNATURE_FIELD]) -> Self {
        match kind.get() {
            1 => Self::Modified(u32::from_be_bytes(first(field))),
            2 => Self::Md5(first(field)),
            3 => Self::Sha1(first(field)),
            _ => Self::None,
        }
    }

    /// Type and field.
    pub(super) fn encode(self) -> (U16, [u8; SIGNATURE_FIELD]) {
        let (kind, field) = match self {
            Self::None => (0, [0; SIGNATURE_FIELD]),
            Self::Modified(seconds) => (1, padded(&seconds.to_be_bytes())),
            Self::Md5(digest) => (2, padded(&digest)),
            Self::Sha1(digest) => (3, padded(&digest)),
        };
        (U16::new(kind), field)
    }
}

/// The first `N` bytes; `N` is at most the field's length.
fn first<const N: usize>(field: &[u8; SIGNATURE_FIELD]) -> [u8; N] {
    field.first_chunk().copied().unwrap_or([0; N])
}

fn padded(bytes: &[u8]) -> [u8; SIGNATURE_FIELD] {
    let mut field = [0; SIGNATURE_FIELD];
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
    field
}
