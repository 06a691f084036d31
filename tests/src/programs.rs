//! The programs of this project, as cargo has built them.
//!
//! What it owns: finding a program that belongs to another package, which cargo does only for that
//! package's own tests.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Programs that are known to be new. Tests run side by side: one of them builds.
static NEW: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Where a program of package `package` is, whose folder has the same name. `cargo test --workspace`
/// has built it; when one package is tested alone it may be missing or old, and is built then.
///
/// # Errors
/// When it cannot be built.
pub fn built(package: &str, name: &str) -> Result<PathBuf> {
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).context("tests run from target/PROFILE/deps")?;
    let path = profile.join(name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut new = NEW.lock().unwrap_or_else(PoisonError::into_inner);
    if new.contains(&path) {
        return Ok(path);
    }
    let sources = newest(&root.join(package).join("src"))?;
    let is_old = || {
        let made = fs::metadata(&path).and_then(|metadata| metadata.modified());
        made.map_or(true, |made| made < sources)
    };
    if is_old() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", package, "--bin", name]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        ensure!(cargo.current_dir(root).status()?.success(), "cargo cannot build {name}");
    }
    ensure!(path.is_file(), "cargo has not made {}", path.display());
    new.insert(path.clone());
    Ok(path)
}

/// When the youngest file of a folder was changed.
fn newest(folder: &Path) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let changed = match entry.file_type()?.is_dir() {
            true => self::newest(&entry.path())?,
            false => entry.metadata()?.modified()?,
        };
        newest = newest.max(changed);
    }
    Ok(newest)
}
