//! Fuzz targets: everything that reads bytes from outside, each as a function of bytes.
//!
//! What it owns: the list of targets ([`TARGETS`]), their seeds, and what must hold whatever the
//! bytes are: no panic, no endless loop, and what a target asserts. Run by libFuzzer
//! (`fuzz_targets/any.rs`) and, for a short while, by the smoke test. README.md says how to add one.

mod agent;
mod doctor;
mod http;
mod lvm;
pub mod mutate;
mod network;
mod pages;
mod rendezvous;
mod seeds;
mod store;
mod targets;

/// Something to be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Takes any bytes; panics when something is wrong.
    pub run: fn(&[u8]),
    /// Inputs to begin with. Empty when the tools that make them are not there.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "chunk", run: targets::chunk, seeds: seeds::chunks },
    Target { name: "image_set", run: targets::image_set, seeds: seeds::headers },
    Target { name: "relocation", run: targets::relocation, seeds: seeds::disklabels },
    Target { name: "partition", run: targets::partition, seeds: seeds::partition_tables },
    Target { name: "ext", run: targets::filesystem, seeds: seeds::ext },
    Target { name: "fat", run: targets::filesystem, seeds: seeds::fat },
    Target { name: "lvm", run: lvm::target, seeds: lvm::seeds },
    Target { name: "recognised", run: targets::filesystem, seeds: seeds::recognised },
    Target { name: "swap", run: targets::filesystem, seeds: seeds::swap },
    Target { name: "ufs", run: targets::filesystem, seeds: seeds::ufs },
    Target { name: "bsd_label", run: targets::disklabel, seeds: seeds::slices },
    Target { name: "btrfs", run: targets::pages, seeds: pages::btrfs },
    Target { name: "boot_config", run: agent::boot_config, seeds: agent::boot_configs },
    Target { name: "client_session", run: network::client_session, seeds: network::operations },
    Target { name: "control_lines", run: agent::control_lines, seeds: agent::orders },
    Target { name: "datagram", run: network::datagram, seeds: network::datagrams },
    Target { name: "doctor", run: doctor::target, seeds: doctor::seeds },
    Target { name: "exfat", run: targets::pages, seeds: pages::exfat },
    Target { name: "f2fs", run: targets::pages, seeds: pages::f2fs },
    Target { name: "igmp", run: network::igmp, seeds: network::igmp_packets },
    Target { name: "hfsplus", run: targets::pages, seeds: pages::hfsplus },
    Target { name: "http_request", run: http::request, seeds: http::requests },
    Target { name: "image_name", run: store::name, seeds: store::names },
    Target { name: "jfs", run: targets::pages, seeds: pages::jfs },
    Target { name: "kernel_command_line", run: agent::kernel_line, seeds: agent::kernel_lines },
    Target { name: "nilfs2", run: targets::pages, seeds: pages::nilfs2 },
    Target { name: "ntfs", run: targets::pages, seeds: pages::ntfs },
    Target { name: "program_line", run: agent::program_line, seeds: agent::program_lines },
    Target { name: "reiserfs", run: targets::pages, seeds: pages::reiserfs },
    Target { name: "rendezvous", run: rendezvous::connection, seeds: rendezvous::seeds },
    Target { name: "server_session", run: network::server_session, seeds: network::operations },
    Target { name: "upload_journal", run: store::journal, seeds: store::journals },
    Target { name: "xfs", run: targets::pages, seeds: pages::xfs },
];
