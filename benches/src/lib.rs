//! Benchmarks live in `benches/` and `src/bin/`; this library holds what the programs share.
//!
//! What it owns: files to measure with, finding the programs under test, medians. What it never
//! does: measure.

use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Files in one directory: some filesystems and their tools are slow with more.
const FILES_A_DIRECTORY: usize = 500;

/// Copies regular files of this machine's own below `into` until there are `bytes` of them.
///
/// # Errors
/// When a directory cannot be made.
pub fn copy_system_files(into: &Path, bytes: u64) -> Result<()> {
    let (mut left, mut count) = (bytes, 0);
    for source in ["/usr/lib", "/usr/bin", "/usr/share"] {
        copy_some(Path::new(source), into, &mut left, &mut count)?;
    }
    Ok(())
}

/// Copies until `left` bytes are used up; `count` numbers the files.
fn copy_some(source: &Path, into: &Path, left: &mut u64, count: &mut usize) -> Result<()> {
    let mut directories = vec![source.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() && *left > 0 {
                let place = into.join((*count / FILES_A_DIRECTORY).to_string());
                std::fs::create_dir_all(&place)?;
                let name = format!("{count}-{}", entry.file_name().to_string_lossy());
                let copied = std::fs::copy(entry.path(), place.join(name)).unwrap_or(0);
                *left = left.saturating_sub(copied);
                *count += 1;
            }
        }
    }
    Ok(())
}

/// Somewhere that no disk limits, if there is such a place.
#[must_use]
pub fn memory_dir(work: &Path) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.into() } else { work.into() }
}

/// A program of this project, which stands beside the benchmark.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Result<Command> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is missing: cargo build --release first", path.display());
    Ok(Command::new(path))
}

/// The length of a file.
///
/// # Errors
/// When it cannot be looked at.
pub fn file_len(path: &Path) -> Result<usize> {
    Ok(usize::try_from(std::fs::metadata(path)?.len())?)
}

/// The median in seconds.
#[must_use]
pub fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64)
}

/// A quotient to be shown.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub fn ratio(a: usize, b: usize) -> f64 {
    a as f64 / b as f64
}
