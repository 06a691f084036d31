//! The `Range` header (RFC 9110, section 14).

use std::ops;

/// What part of a content is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ranged {
    /// All of it: the header is no range of bytes, or names several, which a server may ignore.
    Whole,
    /// These bytes; not empty, and within the content.
    Part(ops::Range<u64>),
    /// Nothing that is there.
    Unsatisfiable,
}

/// Reads the header, for a content of so many bytes.
#[must_use]
pub fn range(header: &str, bytes: u64) -> Ranged {
    let Some((unit, ranges)) = header.split_once('=') else { return Ranged::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Ranged::Whole;
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Ranged::Whole };
    let (Some(first), Some(last)) = (number(first), number(last)) else { return Ranged::Whole };
    let part = match (first, last) {
        (None, None) => return Ranged::Whole,
        (None, Some(suffix)) => bytes.saturating_sub(suffix)..bytes,
        (Some(first), None) => first..bytes,
        (Some(first), Some(last)) if first > last => return Ranged::Whole,
        (Some(first), Some(last)) => first..last.saturating_add(1).min(bytes),
    };
    match part.is_empty() {
        true => Ranged::Unsatisfiable,
        false => Ranged::Part(part),
    }
}

/// A number, nothing, or (outer `None`) neither. One beyond 64 bits is beyond every content.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_of_all_kinds() {
        let cases = [
            ("bytes=0-0", Ranged::Part(0..1)),
            ("bytes=0-99", Ranged::Part(0..100)),
            ("Bytes = 10-", Ranged::Part(10..100)),
            ("bytes=-10", Ranged::Part(90..100)),
            ("bytes=-1000", Ranged::Part(0..100)),
            ("bytes=99-18446744073709551615", Ranged::Part(99..100)),
            ("bytes=5-99999999999999999999999", Ranged::Part(5..100)),
            ("bytes=100-", Ranged::Unsatisfiable),
            ("bytes=99999999999999999999999-", Ranged::Unsatisfiable),
            ("bytes=-0", Ranged::Unsatisfiable),
            ("bytes=9-5", Ranged::Whole),
            ("bytes=-", Ranged::Whole),
            ("bytes=", Ranged::Whole),
            ("bytes=+1-2", Ranged::Whole),
            ("bytes=1-2,5-6", Ranged::Whole),
            ("chunks=1-2", Ranged::Whole),
            ("", Ranged::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(range(header, 100), expected, "{header}");
        }
        assert_eq!(range("bytes=0-", 0), Ranged::Unsatisfiable);
        assert_eq!(range("bytes=-5", 0), Ranged::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn a_part_lies_within(header in "(bytes=)?[0-9]{0,22}-?[0-9]{0,22}", bytes: u64) {
            if let Ranged::Part(part) = range(&header, bytes) {
                prop_assert!(part.start < part.end && part.end <= bytes);
            }
        }
    }
}
