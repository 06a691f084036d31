//! Parsers of what requests say: names of images, ranges, entity tags, digests.
//!
//! What it owns: the grammar. Pure functions of text; no input makes them panic, and what they
//! accept is bounded. Public so that they can be fuzzed.

mod digest;
mod name;
mod range;
mod tag;

pub use digest::{DigestError, Digests, blake3_digest, content_digest};
pub use name::{NAME_BYTES_MAX, NameError, image_name};
pub use range::{Ranged, range};
pub use tag::{names_tag, names_tag_strongly};
