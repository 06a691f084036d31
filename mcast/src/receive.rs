//! Receiving datagrams in batches.
//!
//! What it owns: the buffers, and the cut of what the kernel joined (UDP_GRO) back into datagrams.
//! What it never does: judge a datagram, or copy one.

use crate::endpoint::Endpoint;
use quinn_udp::{BATCH_SIZE, RecvMeta};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

/// Room for each of the kernel's answers: no UDP datagram, and no run of datagrams that the kernel
/// joined, is longer.
const BUFFER_LEN: usize = 1 << 16;

/// What a receive brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received {
    /// This many datagrams, at least one, in [`ReceiveBatch::datagrams`].
    Datagrams(usize),
    /// Nothing came in time.
    TimedOut,
    /// A [`crate::Waker`] was used. One use may show twice, never less than once.
    Woken,
}

/// One datagram as it arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Datagram<'a> {
    /// What was in it.
    pub bytes: &'a [u8],
    /// Who sent it, as the IP and UDP headers say.
    pub source: SocketAddr,
    /// Where it was sent to: the group, or one of our addresses.
    pub destination: Option<IpAddr>,
}

/// Buffers for received datagrams, used again and again: 2 MiB of address space, of which only the
/// part that is ever filled becomes memory.
pub struct ReceiveBatch {
    buffer: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
    /// The socket served next when a group socket has two, so that neither starves the other.
    pub(crate) turn: bool,
}

impl ReceiveBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            buffer: vec![0; BATCH_SIZE * BUFFER_LEN].into_boxed_slice(),
            metas: [RecvMeta::default(); BATCH_SIZE],
            filled: 0,
            turn: false,
        }
    }

    /// The datagrams of the last receive, in the order of their arrival on their socket.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let buffers = self.buffer.chunks_exact(BUFFER_LEN).zip(&self.metas).take(self.filled);
        buffers.flat_map(|(buffer, meta)| {
            let bytes = buffer.get(..meta.len).unwrap_or_default();
            let datagram = |bytes| Datagram { bytes, source: meta.addr, destination: meta.dst_ip };
            // An empty datagram is a datagram too, but no chunk of anything.
            let empty = bytes.is_empty().then(|| datagram(bytes));
            empty.into_iter().chain(bytes.chunks(meta.stride.max(1)).map(datagram))
        })
    }

    /// Forgets the last receive.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Reads what an endpoint has, without waiting; returns how many datagrams.
    pub(crate) fn fill(&mut self, endpoint: &Endpoint) -> io::Result<usize> {
        self.filled = 0;
        let mut parts = self.buffer.chunks_exact_mut(BUFFER_LEN);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        self.filled = endpoint.try_receive(&mut slices, &mut self.metas)?;
        let filled = self.metas.iter().take(self.filled);
        Ok(filled.map(|meta| meta.len.div_ceil(meta.stride.max(1)).max(1)).sum())
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ReceiveBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.datagrams().map(|datagram| (datagram.source, datagram.bytes.len())))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_datagrams_are_cut_apart_and_empty_ones_kept() {
        let mut batch = ReceiveBatch::new();
        let cases = [(10, 4), (0, 0), (4, 4), (3, 8)];
        for (at, (len, stride)) in cases.into_iter().enumerate() {
            batch.metas[at].len = len;
            batch.metas[at].stride = stride;
            batch.buffer[at * BUFFER_LEN..][..len].fill(u8::try_from(at).unwrap());
        }
        batch.filled = cases.len();
        let found: Vec<&[u8]> = batch.datagrams().map(|datagram| datagram.bytes).collect();
        let wanted: [&[u8]; 6] = [&[0; 4], &[0; 4], &[0; 2], &[], &[2; 4], &[3; 3]];
        assert_eq!(found, wanted);
        batch.clear();
        assert_eq!(batch.datagrams().count(), 0);
    }
}
