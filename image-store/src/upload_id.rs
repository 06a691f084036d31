//! Names of uploads.

use std::fmt;

/// The name of an upload, by which a sender goes on with it after a broken connection: 128 random
/// bits as 32 hexadecimal digits, so that nobody else guesses it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UploadId(u128);

impl UploadId {
    /// A new one.
    pub(crate) fn random() -> Self {
        Self(uuid::Uuid::new_v4().as_u128())
    }

    /// The id that a text of exactly 32 lower-case hexadecimal digits names.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let is_id = text.len() == 32 && text.bytes().all(digit);
        is_id.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_went_out() {
        let id = UploadId::random();
        assert_eq!(UploadId::parse(&id.to_string()), Some(id));
        for text in ["", "../../x", "0", &"g".repeat(32), &"A".repeat(32), &"+".repeat(32)] {
            assert_eq!(UploadId::parse(text), None, "{text:?}");
        }
    }
}
