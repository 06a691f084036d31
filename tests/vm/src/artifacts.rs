//! Where the things are that the tests use: what was built, and what Debian's packages put where.
//!
//! What it owns: every such path.

use std::path::{Path, PathBuf};

/// Firmware for UEFI machines, of package ovmf: the code, and the variables of a new machine.
pub const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// See [`OVMF_CODE`].
pub const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The project's folder.
pub fn project() -> PathBuf {
    // Without `..`: dnsmasq's TFTP server takes a path that has it for an attack.
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    ours.ancestors().nth(2).unwrap_or(ours).to_owned()
}

/// Cargo's target folder, where the other targets of the Makefile put their results as well.
pub fn target() -> PathBuf {
    // A relative one is meant from the project's folder, where cargo was started.
    project().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// What `make extract` made: `vmlinuz`, `initfs.gz` and the files of a PXE server. `NODE_OUT` in the
/// environment names another folder.
pub fn node() -> PathBuf {
    std::env::var_os("NODE_OUT").map_or_else(|| target().join("node"), PathBuf::from)
}

/// A kernel and its initial file system.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The kernel.
    pub image: PathBuf,
    /// A cpio archive, compressed.
    pub initrd: PathBuf,
}

/// The node's boot image, for machines that are started without PXE.
pub fn node_kernel() -> Kernel {
    Kernel { image: node().join("vmlinuz"), initrd: node().join("initfs.gz") }
}
