//! A lab: a switch, the host that serves it, and machines.
//!
//! What it owns: the network, the folder that everything of one test is in, and saying loudly when
//! the test cannot run here.

use crate::artifacts::{OVMF_CODE, node, target};
use crate::machine::QEMU;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use tests::netns::{Network, Node};
use tests::tools::{is_root, ready};

/// A network whose only node at first is the host.
#[derive(Debug)]
pub struct Lab {
    network: Network,
    taps: AtomicU32,
    // Last, so that it goes when nothing uses it any more.
    folder: TempDir,
}

impl Lab {
    /// A lab, or `None`, said loudly, where it cannot be made.
    ///
    /// # Panics
    /// When something is missing in CI, where nothing may be.
    #[must_use]
    pub fn new(test: &str) -> Option<Self> {
        if !ready(test, &[QEMU, "dnsmasq", "busybox", "debootstrap", "mcopy"], true) {
            return None;
        }
        let network = Network::new(1)?;
        let parent = target().join("vm");
        fs::create_dir_all(&parent).unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
        let folder = tempfile::Builder::new().prefix("lab-").tempdir_in(parent);
        let folder = folder.expect("the target folder can be written to");
        Some(Self { network, taps: AtomicU32::new(0), folder })
    }

    /// A lab for the node's boot image, or `None`, said loudly, where that was not made.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn with_boot_image(test: &str) -> Option<Self> {
        if has_boot_image(test) { Self::new(test) } else { None }
    }

    /// The host, where the servers run.
    #[must_use]
    pub fn host(&self) -> &Node {
        self.network.node(0)
    }

    /// The host's address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.host().ipv4()
    }

    /// A path in the folder that goes with the lab.
    #[must_use]
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new folder there.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.scratch(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// A new disk, all zeros.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn blank_disk(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.scratch(name);
        File::create(&path).and_then(|file| file.set_len(bytes)).expect("room for a sparse file");
        path
    }

    /// A new disk with the content of another.
    ///
    /// # Panics
    /// When there is no room for it.
    #[must_use]
    pub fn copy_disk(&self, name: &str, from: &Path) -> PathBuf {
        let path = self.scratch(name);
        let mut copy = Command::new("cp");
        let status = copy.args(["--sparse=always", "--reflink=auto"]).arg(from).arg(&path).status();
        assert!(status.is_ok_and(|status| status.success()), "cp {}", from.display());
        path
    }

    /// A new port of the switch, by the name of its interface.
    pub(crate) fn add_tap(&self) -> String {
        let name = format!("tap{}", self.taps.fetch_add(1, Ordering::Relaxed));
        self.network.add_tap(&name);
        name
    }

    pub(crate) fn switch_command(&self, program: &str) -> Command {
        self.network.switch_command(program)
    }
}

/// Whether the node's boot image was made; says loudly that a test cannot run where it was not.
///
/// # Panics
/// As [`Lab::new`].
#[must_use]
pub fn has_boot_image(test: &str) -> bool {
    let files = [node().join("vmlinuz"), node().join("initfs.gz"), OVMF_CODE.into()];
    let Some(missing) = files.iter().find(|file| !file.is_file()) else { return true };
    let why = format!("{} is missing; run make extract", missing.display());
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!(ci && is_root()), "{test} cannot run in CI: {why}");
    eprintln!("SKIPPED: {test}: {why}");
    false
}
