//! Loop devices and mounts of one test, undone when dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

/// True for root; otherwise says loudly that a test did not run.
pub(super) fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: {test}: needs root for loop devices and mounts");
    }
    root
}

/// Runs a tool that must succeed; what it printed.
pub(super) fn run(tool: &str, args: &[&str]) -> String {
    let output = Command::new(tool)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|e| panic!("{tool}: {e}; install it"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// A path as an argument.
pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A loop device over a new sparse file.
pub(super) struct Loop {
    pub(super) device: PathBuf,
    pub(super) backing: PathBuf,
}

impl Loop {
    pub(super) fn new(dir: &Path, size_bytes: u64, sector_bytes: u32) -> Self {
        let backing = dir.join("backing");
        std::fs::File::create(&backing).unwrap().set_len(size_bytes).unwrap();
        let sector = sector_bytes.to_string();
        let args = ["--find", "--show", "--partscan", "--sector-size", &sector, text(&backing)];
        Self { device: run("losetup", &args).into(), backing }
    }

    /// Makes a partition known to the kernel, without a table.
    pub(super) fn add_partition(&self, number: u32, start: u32, sectors: u32) -> PathBuf {
        let [number, start, sectors] = [number, start, sectors].map(|n| n.to_string());
        run("addpart", &[text(&self.device), &number, &start, &sectors]);
        format!("{}p{number}", text(&self.device)).into()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("losetup", &["--detach", text(&self.device)]);
    }
}

/// A mount.
pub(super) struct Mount {
    pub(super) at: PathBuf,
}

impl Mount {
    pub(super) fn new(at: PathBuf, args: &[&str]) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        run("mount", &[args, &[text(&at)]].concat());
        Self { at }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[text(&self.at)]);
    }
}
