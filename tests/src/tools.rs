//! Programs that tests run: mkfs, fsck and the like.
//!
//! What it owns: finding out whether a test can run here, and saying loudly when it cannot.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where Debian puts what a user's `PATH` may lack.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Where a program is.
pub fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = SYSTEM_DIRECTORIES.iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(tool)).find(|p| p.is_file())
}

/// True for root, who may mount and set up loop devices.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// True when every tool is there, and we are root where `root` asks for it. Otherwise prints a line
/// that starts with `SKIPPED:`.
///
/// # Panics
/// When a tool is missing in CI (`CI=true` and root), where none may be.
pub fn ready(test: &str, tools: &[&str], root: bool) -> bool {
    let missing: Vec<_> = tools.iter().copied().filter(|tool| find(tool).is_none()).collect();
    let why = if !missing.is_empty() {
        format!("not installed: {}", missing.join(", "))
    } else if root && !is_root() {
        "needs root".into()
    } else {
        return true;
    };
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!(ci && is_root()), "{test} cannot run in CI: {why}");
    eprintln!("SKIPPED: {test}: {why}");
    false
}

/// Runs a program to its end, whatever its exit status. Output is in English.
///
/// # Errors
/// When it cannot be started.
pub fn output(tool: &str, args: &[&str]) -> Result<Output> {
    let program = find(tool).with_context(|| format!("{tool} is not installed"))?;
    Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {tool}"))
}

/// Runs a program that must succeed; what it printed, to both streams.
///
/// # Errors
/// When it cannot be started or fails, with its output.
pub fn run(tool: &str, args: &[&str]) -> Result<String> {
    let output = output(tool, args)?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if !output.status.success() {
        bail!("{tool} {} ({}):\n{text}", args.join(" "), output.status);
    }
    Ok(text)
}

/// A path as an argument.
///
/// # Panics
/// When it is not UTF-8; paths of tests are.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths in tests are UTF-8")
}
