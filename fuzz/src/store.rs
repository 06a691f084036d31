//! Targets for what names and keeps images: names as clients send them, and what a server that was
//! killed wrote down.
//!
//! What it owns: the proof, on the side of who attacks, that a name never leaves the directory.

use image_store::journal::{JOURNAL_LEN_MAX, Journal};
use image_store::{ImageName, NAME_BYTES_MAX};
use std::path::{Component, Path};

/// Whatever passes for a name has plain parts only, none of them hidden.
pub(crate) fn name(bytes: &[u8]) {
    let Ok(name) = ImageName::from_bytes(bytes) else { return };
    assert_eq!(name.as_str().as_bytes(), bytes, "a name is not changed");
    assert!(bytes.len() <= NAME_BYTES_MAX);
    let path = Path::new(name.as_str());
    let parts = path.components().inspect(|part| match part {
        Component::Normal(part) => assert!(!part.as_encoded_bytes().starts_with(b".")),
        other => panic!("{other:?} in {path:?}"),
    });
    assert_eq!(parts.count(), name.as_str().split('/').count());
    assert!(!bytes.contains(&0));
}

/// A journal that is understood can be written again, and says the same.
pub(crate) fn journal(bytes: &[u8]) {
    if let Some(journal) = Journal::parse(bytes) {
        name(journal.name.as_str().as_bytes());
        let written = journal.emit();
        assert!(written.len() <= JOURNAL_LEN_MAX);
        assert_eq!(Journal::parse(&written).as_ref(), Some(&journal));
    }
}

/// Names to begin with, good and bad.
pub(crate) fn names() -> Vec<Vec<u8>> {
    ["project/image.ndz", "../x", "a//b", "/etc/passwd", ".uploads/lock", "a\\..\\b", "Bär"]
        .map(|name| name.as_bytes().to_vec())
        .to_vec()
}

/// A journal to begin with.
pub(crate) fn journals() -> Vec<Vec<u8>> {
    let Ok(name) = ImageName::parse("project/image.ndz") else { return Vec::new() };
    let (bytes, modified) = (Some(5 << 20), Some(1_700_000_000));
    let journal = Journal { name, image: true, bytes, modified, durable: 3 << 20 };
    vec![journal.emit()]
}
