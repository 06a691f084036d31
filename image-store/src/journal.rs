//! What is written down of an unfinished upload, so that it can be gone on with after a restart.
//!
//! What it owns: the bytes of a journal. Two slots at its start say how many bytes of the upload
//! are safe on the disk; they are written in turn, so that a write cut short leaves the other. The
//! rest is JSON, written once. What it never does: trust what it reads.

use crate::ImageName;
use serde::{Deserialize, Serialize};

/// Bytes of a slot.
pub const SLOT_LEN: usize = 64;

/// Longest journal.
pub const JOURNAL_LEN_MAX: usize = 4096;

/// Where the JSON starts.
const BODY_AT: usize = 2 * SLOT_LEN;

/// An unfinished upload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Journal {
    /// What it will be called.
    pub name: ImageName,
    /// It is checked chunk by chunk.
    pub image: bool,
    /// Its length, if the sender said so.
    pub bytes: Option<u64>,
    /// The time of change that it will have, in seconds since 1970.
    pub modified: Option<u64>,
    /// Bytes that are safe.
    pub durable: u64,
}

/// The JSON part.
#[derive(Deserialize, Serialize)]
struct Body {
    name: String,
    image: bool,
    bytes: Option<u64>,
    modified: Option<u64>,
}

impl Journal {
    /// The bytes of a new journal.
    pub fn emit(&self) -> Vec<u8> {
        let body = Body {
            name: self.name.to_string(),
            image: self.image,
            bytes: self.bytes,
            modified: self.modified,
        };
        let mut bytes = slot(self.durable).to_vec();
        bytes.extend(slot(self.durable));
        bytes.extend(serde_json::to_vec(&body).unwrap_or_default());
        bytes.push(b'\n');
        bytes
    }

    /// Reads a journal; `None` when it is none, or was cut short while it was made.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > JOURNAL_LEN_MAX {
            return None;
        }
        let first = bytes.get(..SLOT_LEN).and_then(parse_slot);
        let second = bytes.get(SLOT_LEN..BODY_AT).and_then(parse_slot);
        let body: Body = serde_json::from_slice(bytes.get(BODY_AT..)?).ok()?;
        Some(Self {
            name: ImageName::parse(&body.name).ok()?,
            image: body.image,
            bytes: body.bytes,
            modified: body.modified,
            durable: first.max(second)?,
        })
    }
}

/// The bytes of a slot: a line of text, so that it can be looked at.
pub fn slot(durable: u64) -> [u8; SLOT_LEN] {
    let mut slot = [b' '; SLOT_LEN];
    let line = format!("durable {durable:020} {:016x}\n", check(durable));
    for (to, from) in slot.iter_mut().zip(line.bytes()) {
        *to = from;
    }
    slot
}

fn parse_slot(slot: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(slot).ok()?.trim_end_matches([' ', '\n']);
    let (number, digest) = text.strip_prefix("durable ")?.split_once(' ')?;
    let durable = number.parse().ok()?;
    (u64::from_str_radix(digest, 16).ok()? == check(durable)).then_some(durable)
}

/// Tells a slot that was written whole from one that was not.
fn check(durable: u64) -> u64 {
    let digest = blake3::hash(&durable.to_le_bytes());
    digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn journal() -> Journal {
        Journal {
            name: ImageName::parse("project/image.ndz").unwrap(),
            image: true,
            bytes: Some(5 << 20),
            modified: None,
            durable: 0,
        }
    }

    #[test]
    fn a_journal_comes_back_as_it_was_written() {
        let journal = Journal { durable: 77, modified: Some(12), ..journal() };
        assert_eq!(Journal::parse(&journal.emit()), Some(journal.clone()));
        assert!(journal.emit().starts_with(b"durable 00000000000000000077 "));
        let longest = Journal { name: ImageName::parse(&"x".repeat(255)).unwrap(), ..journal };
        assert!(longest.emit().len() <= JOURNAL_LEN_MAX);
    }

    #[test]
    fn a_slot_that_was_cut_short_leaves_the_other() {
        let mut bytes = journal().emit();
        bytes[SLOT_LEN..BODY_AT].copy_from_slice(&slot(16 << 20));
        assert_eq!(Journal::parse(&bytes).unwrap().durable, 16 << 20);
        bytes[SLOT_LEN..SLOT_LEN + 40].copy_from_slice(&slot(32 << 20)[..40]);
        bytes[SLOT_LEN + 30] = b'x';
        assert_eq!(Journal::parse(&bytes).unwrap().durable, 0);
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_journal() {
        let text = String::from_utf8(journal().emit()).unwrap();
        assert!(Journal::parse(text.replace("project/image", "../image").as_bytes()).is_none());
        assert!(Journal::parse(&text.as_bytes()[..text.len() - 3]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0..200_usize) {
            Journal::parse(&bytes);
            let mut damaged = journal().emit();
            let at = at % damaged.len();
            for (to, from) in damaged[at..].iter_mut().zip(&bytes) {
                *to = *from;
            }
            if let Some(read) = Journal::parse(&damaged) {
                prop_assert!(read.emit().len() <= JOURNAL_LEN_MAX);
            }
        }
    }
}
