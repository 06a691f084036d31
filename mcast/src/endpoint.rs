//! One bound UDP socket with the kernel's batch features.
//!
//! What it owns: the socket, what is known of its offloads, and the queue of errors that came back
//! by ICMP. What it never does: wait, or know of groups.

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::Socket;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most bytes of datagrams in one segmented send: an IP packet's 65535 bytes without the headers
/// of IPv4 and UDP.
pub(crate) const PAYLOAD_LEN_MAX: usize = 65507;

/// Errors read from the queue at a time; a flood of ICMP must not hold up the caller.
const ERRORS_DRAINED_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Endpoint {
    socket: Socket,
    state: UdpSocketState,
    /// Datagrams per send, 1 when the kernel or the device cannot segment. Kept here because
    /// `UdpSocketState` gives segmentation up after any EINVAL, also one that has another reason.
    segments_max: AtomicUsize,
}

impl Endpoint {
    /// Takes over a bound socket and turns on the kernel's batch features. It does not block from
    /// now on, and never fragments.
    pub(crate) fn new(socket: Socket, segmentation: bool) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // Nobody reads the receive time stamps, and taking them costs on every datagram.
        setsockopt(&socket, sockopt::ReceiveTimestampns, &false)?;
        let segments_max =
            AtomicUsize::new(if segmentation { state.max_gso_segments() } else { 1 });
        Ok(Self { socket, state, segments_max })
    }

    /// The socket, for its options.
    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Lets the kernel tell of full device queues and ICMP errors instead of hiding them.
    pub(crate) fn enable_errors(&self) -> io::Result<()> {
        self.state.enable_transport_errors(UdpSockRef::from(&self.socket))
    }

    /// How many datagrams of this length go into one call.
    pub(crate) fn segments_max(&self, datagram_len: usize) -> usize {
        let fit = PAYLOAD_LEN_MAX.checked_div(datagram_len).unwrap_or(1);
        self.segments_max.load(Ordering::Relaxed).min(fit).max(1)
    }

    /// Stops handing over several datagrams per call.
    pub(crate) fn stop_segmentation(&self) {
        self.segments_max.store(1, Ordering::Relaxed);
    }

    /// Sends datagrams of `datagram_len` bytes that lie back to back in `contents`, all or none.
    pub(crate) fn try_send(
        &self,
        contents: &[u8],
        datagram_len: usize,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: Some(datagram_len),
            src_ip: from,
        };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// Reads what is there without waiting.
    pub(crate) fn try_receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.state.recv(UdpSockRef::from(&self.socket), buffers, metas)
    }

    /// Empties the queue of errors that came back by ICMP; returns how many there were.
    pub(crate) fn drain_errors(&self) -> u64 {
        let next = || self.state.recv_transport_error(UdpSockRef::from(&self.socket));
        let mut drained = 0;
        for _ in 0..ERRORS_DRAINED_MAX {
            match next() {
                Ok(Some(_)) => drained += 1,
                // An entry that cannot be decoded is gone from the queue as well.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => drained += 1,
                Ok(None) | Err(_) => break,
            }
        }
        drained
    }

    pub(crate) fn poll_fd(&self, flags: PollFlags) -> PollFd<'_> {
        PollFd::new(self.socket.as_fd(), flags)
    }
}
