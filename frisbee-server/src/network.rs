//! From options to open sockets.
//!
//! What it owns: the defaults (group, port, interface), the search for a free port, and the file
//! that tells others what was chosen. What it never does: send.

use mcast::{GroupKind, GroupSocket, InterfaceSelector, OpenError, Options, Role, SetupError};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where a server is to be found. [`Network::default`] is where clients look that were told nothing.
#[derive(Clone, Debug)]
pub struct Network {
    /// Multicast or broadcast address of the group, or the address of a machine: then every client
    /// is served by itself.
    pub group: IpAddr,
    /// The first free port of these is used.
    pub ports: RangeInclusive<u16>,
    /// Which interface.
    pub interface: InterfaceSelector,
    /// Options of the sockets.
    pub options: Options,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            group: proto::DEFAULT_GROUP.into(),
            ports: proto::DEFAULT_PORT..=proto::DEFAULT_PORT,
            interface: InterfaceSelector::ByRoute,
            options: Options::default(),
        }
    }
}

/// Why there is no network to serve on.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// The sockets cannot be opened.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// All ports are taken.
    #[error("all ports from {first} to {last} are in use by other programs; give a wider range")]
    NoFreePort {
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
    },
    /// The file for the address cannot be written.
    #[error("{}: cannot write the chosen address: {source}", path.display())]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Network {
    /// Opens the sockets on the first free port.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn open(&self) -> Result<GroupSocket, NetworkError> {
        let (first, last) = (*self.ports.start(), *self.ports.end());
        for port in first..=last {
            let (interface, options) = (&self.interface, &self.options);
            match GroupSocket::set_up(Role::Server, self.group, port, interface, options) {
                Err(SetupError::Open(OpenError::InUse { .. })) if first < last => {}
                opened => return Ok(opened?),
            }
        }
        Err(NetworkError::NoFreePort { first, last })
    }
}

/// The address of everybody on the link, for broadcasts without a given address.
pub const BROADCAST: Ipv4Addr = Ipv4Addr::BROADCAST;

/// Writes `group:port` and a newline to a file, which appears with its content or not at all.
///
/// # Errors
/// [`NetworkError::AddressFile`].
pub fn write_address(path: &Path, socket: &GroupSocket) -> Result<(), NetworkError> {
    let failed = |source| NetworkError::AddressFile { path: path.into(), source };
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::write(&temporary, format!("{}\n", socket.group()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // There may be nothing to remove.
        let _ = fs::remove_file(&temporary);
        failed(source)
    })
}

/// Bits per second of the link, where the kernel tells.
pub(crate) fn link_speed(socket: &GroupSocket) -> Option<u64> {
    socket.interface().speed_mbps().map(|mbps| u64::from(mbps) * 1_000_000)
}

/// Bytes that Ethernet and IP add to a datagram: preamble, frame header, check sequence and gap (38),
/// UDP (8), and the IP header.
pub(crate) fn overhead_bytes(socket: &GroupSocket) -> u32 {
    38 + 8 + if socket.group().ip().is_ipv4() { 20 } else { 40 }
}

/// True when clients are served one by one.
pub(crate) fn is_unicast(socket: &GroupSocket) -> bool {
    socket.kind() == GroupKind::Unicast
}
