//! Images that other systems made. They are not part of the repository.
//!
//! What it owns: where they are. The folder is that of the environment variable `FOREIGN_IMAGES`,
//! or `shared/golden/foreign` beside the repository.

use crate::tools::{run, text};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The variable that names the folder.
const VARIABLE: &str = "FOREIGN_IMAGES";

/// A packed image of the folder; `None`, said aloud, when it is not there.
pub fn find(test: &str, name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(VARIABLE).map_or_else(beside, PathBuf::from);
    let path = folder.join(name);
    if !path.is_file() {
        eprintln!("SKIPPED: {test}: no {} ({VARIABLE} names its folder)", path.display());
        return None;
    }
    Some(path)
}

/// The usual folder: beside the repository, or one level further up for a second checkout.
fn beside() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let places = ["..", "../.."].map(|up| repository.join(up).join("shared/golden/foreign"));
    let found = places.iter().find(|place| place.is_dir());
    found.or(places.first()).cloned().unwrap_or_default()
}

/// Unpacks a gzip file.
///
/// # Errors
/// When that fails.
pub fn unpack(packed: &Path, to: &Path) -> Result<()> {
    run("sh", &["-c", "gzip -dc \"$0\" > \"$1\"", text(packed), text(to)]).map(drop)
}
