//! Labels and UUIDs as people read them.

use uuid::Uuid;

/// A UUID as text, lower case with hyphens; `None` when all bytes are zero.
pub(crate) fn uuid_text(bytes: [u8; 16]) -> Option<String> {
    let uuid = Uuid::from_bytes(bytes);
    (!uuid.is_nil()).then(|| uuid.hyphenated().to_string())
}

/// A label that ends at the first zero byte; `None` when it is empty. Bytes that are not UTF-8 and
/// control characters show as replacement characters.
pub(crate) fn label_text(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
    let text: String = String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    (!text.is_empty()).then_some(text)
}

/// A label in little-endian UTF-16, of all these bytes; `None` when it is empty. What is not UTF-16
/// and control characters show as replacement characters.
pub(crate) fn utf16_text(bytes: &[u8]) -> Option<String> {
    let units = bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
    let text: String = char::decode_utf16(units)
        .map(|c| c.ok().filter(|c| !c.is_control()).unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    (!text.is_empty()).then_some(text)
}

/// A serial number as DOS shows it: `12AB-34CD`; `None` when it is zero.
pub(crate) fn serial_text(serial: u32) -> Option<String> {
    (serial != 0).then(|| format!("{:04X}-{:04X}", serial >> 16, serial & 0xFFFF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_end_at_zero_and_show_safely() {
        assert_eq!(label_text(b"root\0junk"), Some("root".into()));
        assert_eq!(label_text(b"\0\0"), None);
        assert_eq!(label_text(b"a\x1b[2J"), Some("a\u{fffd}[2J".into()));
        assert_eq!(uuid_text([0; 16]), None);
        assert_eq!(serial_text(0x0012_AB00), Some("0012-AB00".into()));
        assert_eq!(utf16_text(b"A\0\x07\0\0\xD8"), Some("A\u{fffd}\u{fffd}".into()));
        assert_eq!(utf16_text(b""), None);
    }
}
