//! The system's tools that the demo uses.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where Debian puts what a user's `PATH` may lack.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Tools, and the Debian packages they come from.
const NEEDED: [(&str, &str); 10] = [
    ("cmp", "diffutils"),
    ("sfdisk", "fdisk"),
    ("sgdisk", "gdisk"),
    ("mkfs.ext4", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("mkfs.fat", "dosfstools"),
    ("fsck.fat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mkswap", "util-linux"),
];

/// Says which tools are missing, before any work is done.
pub(super) fn check() -> Result<()> {
    let missing: Vec<_> = NEEDED.iter().filter(|(tool, _)| find(tool).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let tools: Vec<_> = missing.iter().map(|(tool, _)| *tool).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    bail!(
        "the demo needs {}; on Debian: sudo apt-get install {}",
        tools.join(", "),
        packages.join(" ")
    )
}

/// Where a tool is.
fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = SYSTEM_DIRECTORIES.iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(tool)).find(|p| p.is_file())
}

/// Runs a tool that must succeed; what it printed on standard output.
pub(super) fn run<S: AsRef<OsStr>>(tool: &str, args: &[S]) -> Result<String> {
    run_with(tool, args, "")
}

/// As [`run`], with this on standard input.
pub(super) fn run_with<S: AsRef<OsStr>>(tool: &str, args: &[S], input: &str) -> Result<String> {
    let program = find(tool).with_context(|| format!("{tool} is not installed"))?;
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .env("MTOOLS_SKIP_CHECK", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {tool}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{tool} failed ({}):\n{text}{errors}", output.status);
    }
    Ok(text)
}
