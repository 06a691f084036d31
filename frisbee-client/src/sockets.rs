//! The client's socket, which may be replaced by one for another group.
//!
//! What it owns: how sockets are opened, and that whoever wakes the first one wakes its successors.
//! What it never does: decide when to go.

use crate::args::Args;
use mcast::{GroupAddress, GroupSocket, Interface, InterfaceSelector, Options, Role, SetupError};
use std::net::{IpAddr, SocketAddr};

/// How a socket is opened, wherever it leads.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    interface: InterfaceSelector,
    options: Options,
}

impl Network {
    /// Without an interface of the command line, it is the one towards the `server` that a host
    /// named, wherever the routing table sends multicast: what that server sends arrives there.
    pub(crate) fn new(args: &Args, server: Option<IpAddr>) -> Self {
        let default = Options::default();
        let asked = args.socket_buffer.and_then(|kib| usize::try_from(kib).ok()).unwrap_or(0);
        let receive_buffer_bytes = asked.saturating_mul(1024).max(default.receive_buffer_bytes);
        let options = Options { receive_buffer_bytes, ..default };
        let towards = |server: IpAddr| {
            let server = GroupAddress::new(server, args.port).ok()?;
            let interface = Interface::by_route(&server).ok()?;
            Some(InterfaceSelector::ByName(interface.name().to_owned()))
        };
        let interface = args.interface.clone().or_else(|| server.and_then(towards));
        Self { interface: interface.unwrap_or_default(), options }
    }

    /// A client's socket for this group.
    pub(crate) fn open(&self, group: SocketAddr) -> Result<GroupSocket, SetupError> {
        let (ip, port) = (group.ip(), group.port());
        GroupSocket::set_up(Role::Client, ip, port, &self.interface, &self.options)
    }
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Sockets {
    current: GroupSocket,
    network: Network,
    /// Datagrams that the kernel dropped for the sockets before.
    drops_before: u64,
}

impl Sockets {
    pub(crate) fn new(current: GroupSocket, network: Network) -> Self {
        Self { current, network, drops_before: 0 }
    }

    /// The one that is used now.
    pub(crate) fn current(&self) -> &GroupSocket {
        &self.current
    }

    /// Opens another one in its place.
    ///
    /// # Errors
    /// When that cannot be opened; the old one stays then.
    pub(crate) fn move_to(&mut self, group: SocketAddr) -> Result<(), SetupError> {
        let next = self.network.open(group)?.with_waker(self.current.waker());
        self.drops_before = self.kernel_drops();
        self.current = next;
        Ok(())
    }

    /// Datagrams that the kernel dropped because this program was late.
    pub(crate) fn kernel_drops(&self) -> u64 {
        self.drops_before.saturating_add(self.current.kernel_drops().unwrap_or(0))
    }
}
