//! Sending datagrams of one size in batches.
//!
//! What it owns: the batch's buffer and the decision how a batch goes out: segmented by the kernel
//! or the device, or one datagram at a time when they refuse. What it never does: wait, or send a
//! datagram twice.

use crate::endpoint::{Endpoint, PAYLOAD_LEN_MAX};
use crate::error::SocketError;
use nix::libc;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Datagrams of one length, back to back in one buffer that is used again and again.
#[derive(Debug)]
pub struct SendBatch {
    buffer: Box<[u8]>,
    datagram_len: usize,
    capacity: usize,
    /// Datagrams that went out already.
    sent: usize,
    /// Datagrams added, those that went out included.
    added: usize,
}

impl SendBatch {
    /// An empty batch for up to `capacity` datagrams of `datagram_len` bytes each.
    ///
    /// # Panics
    /// When a datagram would be empty or longer than UDP allows (65507 bytes), or the batch of no
    /// use: these are the program's constants, not input.
    pub fn new(datagram_len: usize, capacity: usize) -> Self {
        assert!((1..=PAYLOAD_LEN_MAX).contains(&datagram_len), "datagram length {datagram_len}");
        assert!((1..=1 << 16).contains(&capacity), "capacity {capacity}");
        Self {
            buffer: vec![0; datagram_len * capacity].into_boxed_slice(),
            datagram_len,
            capacity,
            sent: 0,
            added: 0,
        }
    }

    /// Adds a datagram and returns its bytes, all of which must be filled (they hold what an
    /// earlier batch left there); `None` when the batch is full.
    pub fn push(&mut self) -> Option<&mut [u8]> {
        if self.is_full() {
            return None;
        }
        let start = self.added * self.datagram_len;
        let slot = self.buffer.get_mut(start..start + self.datagram_len)?;
        self.added += 1;
        Some(slot)
    }

    /// Datagrams added that did not go out yet.
    pub const fn len(&self) -> usize {
        self.added - self.sent
    }

    /// True when nothing is left to send.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Datagrams that can be added before the batch is sent or cleared.
    pub const fn room(&self) -> usize {
        self.capacity - self.added
    }

    /// True when no datagram can be added before the batch is sent or cleared.
    pub const fn is_full(&self) -> bool {
        self.added == self.capacity
    }

    /// Bytes in each datagram.
    pub const fn datagram_len(&self) -> usize {
        self.datagram_len
    }

    /// Drops whatever did not go out.
    pub fn clear(&mut self) {
        self.sent = 0;
        self.added = 0;
    }

    fn unsent(&self) -> &[u8] {
        self.buffer
            .get(self.sent * self.datagram_len..self.added * self.datagram_len)
            .unwrap_or_default()
    }

    fn mark_sent(&mut self, datagrams: usize) {
        self.sent += datagrams;
        if self.sent >= self.added {
            self.clear();
        }
    }
}

/// Why a send ended before its last datagram. All of these pass, some only when somebody repairs
/// the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// The socket's send buffer is full: wait for [`crate::GroupSocket::wait_writable`].
    SocketFull,
    /// The device's queue is full and dropped the last attempt, or a part of it: back-pressure,
    /// slow down.
    DeviceFull,
    /// The system refuses at the moment: no route, interface down, firewall. It was logged.
    Refused {
        /// The system's error number.
        errno: Option<i32>,
    },
}

/// How far a send got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Datagrams that went out in this call, as far as the kernel tells: a device's queue may drop
    /// a part of a segmented send in silence.
    pub datagrams: usize,
    /// Why not all did; `None` when all did.
    pub stopped: Option<Stop>,
}

/// What an error of a send means.
enum Meaning {
    Stop(Stop),
    TooLarge,
    Fatal,
}

fn meaning(error: &io::Error) -> Meaning {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Meaning::Stop(Stop::SocketFull),
        Some(libc::ENOBUFS | libc::ENOMEM) => Meaning::Stop(Stop::DeviceFull),
        Some(libc::EMSGSIZE) => Meaning::TooLarge,
        Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EAFNOSUPPORT) | None => {
            Meaning::Fatal
        }
        // Everything else is the network's or the firewall's; older kernels say EINVAL
        // when the interface has lost the address we send from.
        errno => Meaning::Stop(Stop::Refused { errno }),
    }
}

/// What a send did to the numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SendCalls {
    pub(crate) calls: u64,
    pub(crate) icmp_errors: u64,
}

/// Sends as much of a batch as goes without waiting. On an error that is not fatal the last
/// element of the result says which, for the log.
pub(crate) fn send_batch(
    endpoint: &Endpoint,
    batch: &mut SendBatch,
    to: SocketAddr,
    from: Option<IpAddr>,
    numbers: &mut SendCalls,
) -> Result<(Sent, Option<io::Error>), SocketError> {
    let len = batch.datagram_len;
    let mut datagrams = 0;
    // After the kernel refused a segmented send, the same datagrams are tried one by one: that
    // tells whether segmentation is the reason.
    let mut singly_after: Option<io::Error> = None;
    let mut may_retry = true;
    while !batch.is_empty() {
        let segments =
            if singly_after.is_some() { 1 } else { endpoint.segments_max(len).min(batch.len()) };
        let contents = batch.unsent().get(..segments * len).unwrap_or_default();
        numbers.calls += 1;
        let Err(error) = endpoint.try_send(contents, len, to, from) else {
            if let Some(refused) = singly_after.take() {
                endpoint.stop_segmentation();
                tracing::info!(%to, "segmentation was refused ({refused}): datagrams go one by one");
            }
            batch.mark_sent(segments);
            datagrams += segments;
            continue;
        };
        if segments > 1 && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO)) {
            singly_after = Some(error);
            continue;
        }
        let stop = match meaning(&error) {
            Meaning::Stop(stop) => stop,
            Meaning::TooLarge => return Err(SocketError::TooLarge { len, to }),
            Meaning::Fatal => return Err(SocketError::Send { to, source: error }),
        };
        // With ICMP errors enabled, the kernel fails one send to tell of an earlier one.
        if may_retry && matches!(stop, Stop::Refused { .. }) {
            let drained = endpoint.drain_errors();
            numbers.icmp_errors += drained;
            if drained > 0 {
                may_retry = false;
                continue;
            }
        }
        return Ok((Sent { datagrams, stopped: Some(stop) }, Some(error)));
    }
    Ok((Sent { datagrams, stopped: None }, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::net::{Ipv4Addr, UdpSocket};

    fn loopback_endpoint(segmentation: bool) -> Endpoint {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        Endpoint::new(socket, segmentation).unwrap()
    }

    fn numbered(len: usize, count: u8) -> SendBatch {
        let mut batch = SendBatch::new(len, usize::from(count));
        for number in 0..count {
            batch.push().unwrap().fill(number);
        }
        batch
    }

    fn receiver() -> UdpSocket {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        receiver.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        receiver
    }

    fn assert_arrived(receiver: &UdpSocket, len: usize, count: u8) {
        let mut bytes = vec![0; PAYLOAD_LEN_MAX];
        for number in 0..count {
            assert_eq!(receiver.recv(&mut bytes).unwrap(), len);
            assert!(bytes[..len].iter().all(|byte| *byte == number), "datagram {number}");
        }
        receiver.set_nonblocking(true).unwrap();
        assert!(receiver.recv(&mut bytes).is_err(), "nothing was sent twice");
    }

    #[test]
    fn slots_fill_up_and_come_back() {
        let mut batch = SendBatch::new(3, 2);
        assert!(batch.is_empty() && !batch.is_full());
        batch.push().unwrap().copy_from_slice(b"abc");
        batch.push().unwrap().copy_from_slice(b"def");
        assert!(batch.is_full() && batch.push().is_none());
        assert_eq!((batch.len(), batch.room(), batch.unsent()), (2, 0, &b"abcdef"[..]));
        batch.mark_sent(1);
        assert_eq!((batch.len(), batch.unsent()), (1, &b"def"[..]));
        assert!(
            batch.push().is_none(),
            "a sent datagram's place is not free before the rest went out"
        );
        batch.mark_sent(1);
        assert!(batch.is_empty() && batch.push().is_some());
    }

    #[test]
    fn a_refused_segmentation_falls_back_to_single_datagrams_once_and_for_all() {
        let endpoint = loopback_endpoint(true);
        // The kernel refuses to segment without checksums: EINVAL, as devices without them cause.
        crate::sys::disable_checksums(endpoint.socket());
        let receiver = receiver();
        let mut batch = numbered(1000, 20);
        let mut numbers = SendCalls::default();
        let to = receiver.local_addr().unwrap();
        let (sent, error) = send_batch(&endpoint, &mut batch, to, None, &mut numbers).unwrap();
        assert_eq!((sent, batch.is_empty()), (Sent { datagrams: 20, stopped: None }, true));
        assert!(error.is_none());
        assert_eq!(numbers.calls, 21, "one refused, twenty single");
        assert_eq!(endpoint.segments_max(1000), 1);
        assert_arrived(&receiver, 1000, 20);
    }

    #[test]
    fn an_error_with_another_reason_does_not_stop_segmentation() {
        let endpoint = loopback_endpoint(true);
        let before = endpoint.segments_max(1000);
        let mut batch = numbered(1000, 4);
        // Nothing can come from a group: EINVAL, but not for the segments.
        let from = Some(IpAddr::V4(Ipv4Addr::new(239, 192, 1, 1)));
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let (sent, error) =
            send_batch(&endpoint, &mut batch, to, from, &mut SendCalls::default()).unwrap();
        assert_eq!(
            sent,
            Sent { datagrams: 0, stopped: Some(Stop::Refused { errno: Some(libc::EINVAL) }) }
        );
        assert!(error.is_some());
        assert_eq!((batch.len(), endpoint.segments_max(1000)), (4, before));
    }

    #[test]
    fn without_segmentation_each_datagram_is_one_call() {
        let endpoint = loopback_endpoint(false);
        let receiver = receiver();
        let mut numbers = SendCalls::default();
        let to = receiver.local_addr().unwrap();
        let mut batch = numbered(1448, 33);
        send_batch(&endpoint, &mut batch, to, None, &mut numbers).unwrap();
        assert_eq!(numbers.calls, 33);
        assert_arrived(&receiver, 1448, 33);
    }

    #[test]
    fn an_icmp_error_of_an_earlier_send_does_not_fail_the_next() {
        let endpoint = loopback_endpoint(true);
        endpoint.enable_errors().unwrap();
        // Nobody listens where this socket was.
        let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let mut numbers = SendCalls::default();
        for _ in 0..5 {
            let (sent, _) =
                send_batch(&endpoint, &mut numbered(100, 2), closed, None, &mut numbers).unwrap();
            assert_eq!(sent, Sent { datagrams: 2, stopped: None });
        }
        assert!(numbers.icmp_errors > 0);
    }
}
