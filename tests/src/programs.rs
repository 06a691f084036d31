//! The programs of this project, as cargo has built them.
//!
//! What it owns: finding a program that belongs to another package, whose tests cargo would tell.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;

/// Where a program of package `package` is. `cargo test --workspace` has built it; when only one
/// package is tested it may be missing, and is built then.
///
/// # Errors
/// When it cannot be built.
pub fn built(package: &str, name: &str) -> Result<PathBuf> {
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).context("tests run from target/PROFILE/deps")?;
    let path = profile.join(name);
    if !path.is_file() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", package, "--bin", name]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        ensure!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status()?.success(), "cargo failed");
    }
    ensure!(path.is_file(), "cargo has not made {}", path.display());
    Ok(path)
}
