//! UFS without the library: a maker of filesystems and a reader of their files.
//!
//! What it owns: its own knowledge of the format (FreeBSD's `sys/ufs/ffs/fs.h`, `sys/ufs/ufs/dinode.h`
//! and `dir.h`), by byte offsets. It shares no code with what it tests.

mod make;
mod read;

pub use make::{Maker, Shape};
pub use read::{Contents, read};
