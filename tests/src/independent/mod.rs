//! A second reader of images, written from docs/ndz-format.md alone.
//!
//! What it owns: its own parsing, by plain byte offsets, and every rule of the page that a reader
//! must check. It uses nothing of `imagezip`: where the two agree, the page is right. What it never
//! does: run fast, or survive bytes that no test gives it (it may panic).

mod header;
mod image;
mod payload;

pub use header::{Chunk, Codec, Native, Region, Relocation};
pub use image::Image;

/// Bytes of every chunk.
pub const CHUNK: usize = 1 << 20;

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// What is wrong with an image.
pub type Fault = String;

/// Fails with a formatted message unless the condition holds.
macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
use require;

/// Numbers at a place of some bytes.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
