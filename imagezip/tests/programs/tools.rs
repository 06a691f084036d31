//! The system's tools, and whether a test can run.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where a tool is.
fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(tool)).find(|p| p.is_file())
}

/// True for root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// True when all tools are there, and we are root if `root` asks for it; otherwise says loudly
/// that the test is skipped.
///
/// # Panics
/// When a tool is missing in CI (`CI=true` and root), where none may be.
pub(crate) fn ready(test: &str, tools: &[&str], root: bool) -> bool {
    let missing: Vec<_> = tools.iter().copied().filter(|tool| find(tool).is_none()).collect();
    let why = match (missing.is_empty(), root && !is_root()) {
        (true, false) => return true,
        (true, true) => "needs root".to_owned(),
        (false, _) => format!("not installed: {}", missing.join(", ")),
    };
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!(ci && is_root()), "{test} cannot run in CI: {why}");
    eprintln!("SKIPPED: {test}: {why}");
    false
}

/// Runs a tool that must succeed; what it printed.
pub(crate) fn run<S: AsRef<OsStr>>(tool: &str, args: &[S]) -> String {
    run_with(tool, args, "")
}

/// As [`run`], with this on standard input.
pub(crate) fn run_with<S: AsRef<OsStr>>(tool: &str, args: &[S], input: &str) -> String {
    let mut child = Command::new(find(tool).unwrap_or_else(|| panic!("{tool} is not installed")))
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A tool that does not read what it is told says why itself.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} ({}):\n{text}{errors}", output.status);
    text
}
