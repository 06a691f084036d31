//! The way out: batches of blocks, and single control datagrams.
//!
//! What it owns: the batch's buffer, and a batch that the system did not take yet. What it never
//! does: wait; it says when to try again.

use mcast::{GroupSocket, SendBatch, SocketError, Stop};
use proto::time::{Duration, Instant};
use proto::wire::{BLOCK_HEADER_LEN, encode_block_header};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Most blocks in one batch: what fits one segmented send.
const BATCH_BLOCKS_MAX: usize = 62;

/// The socket's buffer empties at the device's speed; this is a few datagrams at 100 Mb/s.
const SOCKET_FULL_PAUSE: Duration = Duration::from_micros(200);

/// A device's queue that just dropped something needs a little longer.
const DEVICE_FULL_PAUSE: Duration = Duration::from_micros(500);

/// Somebody has to mend the network.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// Lengths of control datagrams that are remembered; there are three.
const CONTROL_LENGTHS_MAX: usize = 16;

/// A run of blocks of which some may have gone out already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub(crate) chunk: u32,
    pub(crate) next: u32,
    pub(crate) left: u32,
}

/// What waits to be sent.
#[derive(Debug)]
pub(crate) struct Outbox {
    batch: SendBatch,
    to: SocketAddr,
    block_len: usize,
    block_size: u32,
    srcip: [u8; 4],
    is_group: bool,
    retry_at: Option<Instant>,
    controls: BTreeMap<usize, SendBatch>,
}

impl Outbox {
    pub(crate) fn new(block_size: u32, burst_blocks: u32, srcip: [u8; 4], to: SocketAddr) -> Self {
        let block_len = usize::try_from(block_size).unwrap_or(usize::MAX);
        let capacity = usize::try_from(burst_blocks).unwrap_or(1).clamp(1, BATCH_BLOCKS_MAX);
        let batch = SendBatch::new(BLOCK_HEADER_LEN + block_len, capacity);
        Self {
            batch,
            to,
            block_len,
            block_size,
            srcip,
            is_group: true,
            retry_at: None,
            controls: BTreeMap::new(),
        }
    }

    /// When to call [`Self::flush`] again, while something waits that the system did not take.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Where blocks go from now on; the outbox must be empty.
    pub(crate) fn address(&mut self, to: SocketAddr, is_group: bool) {
        (self.to, self.is_group) = (to, is_group);
    }

    /// Blocks that fit before a flush is due.
    pub(crate) fn room(&self) -> u32 {
        u32::try_from(self.batch.room()).unwrap_or(0)
    }

    /// Copies blocks into the batch as far as it has room. `bytes` begins with the run's next block.
    pub(crate) fn put(&mut self, run: &mut Run, bytes: &[u8]) {
        for block in bytes.chunks_exact(self.block_len) {
            if run.left == 0 {
                return;
            }
            let Some(slot) = self.batch.push() else { return };
            let header = encode_block_header(self.srcip, run.chunk, run.next, self.block_size);
            if let (Some(header), Some((head, payload))) =
                (header, slot.split_at_mut_checked(BLOCK_HEADER_LEN))
            {
                head.copy_from_slice(&header);
                payload.copy_from_slice(block);
            }
            run.next += 1;
            run.left -= 1;
        }
    }

    /// True when a flush is due before more blocks can be put.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    /// Sends what waits; true when nothing is left.
    ///
    /// # Errors
    /// What repeating cannot mend.
    pub(crate) fn flush(
        &mut self,
        socket: &GroupSocket,
        now: Instant,
    ) -> Result<bool, SocketError> {
        if self.batch.is_empty() {
            self.retry_at = None;
            return Ok(true);
        }
        if self.retry_at.is_some_and(|at| now < at) {
            return Ok(false);
        }
        let pause = match socket.send(&mut self.batch, self.to)?.stopped {
            None => {
                self.retry_at = None;
                return Ok(true);
            }
            // One client that cannot be reached must not hold up the others. It will ask again.
            Some(Stop::Refused { .. }) if !self.is_group => {
                self.batch.clear();
                self.retry_at = None;
                return Ok(true);
            }
            Some(Stop::SocketFull) => SOCKET_FULL_PAUSE,
            Some(Stop::DeviceFull) => DEVICE_FULL_PAUSE,
            Some(Stop::Refused { .. }) => REFUSED_PAUSE,
        };
        self.retry_at = Some(now + pause);
        Ok(false)
    }

    /// Sends one datagram. One that does not go is lost: clients ask again.
    ///
    /// # Errors
    /// What repeating cannot mend.
    pub(crate) fn control(
        &mut self,
        socket: &GroupSocket,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Result<(), SocketError> {
        if self.controls.len() > CONTROL_LENGTHS_MAX {
            self.controls.clear();
        }
        let batch =
            self.controls.entry(bytes.len()).or_insert_with(|| SendBatch::new(bytes.len(), 1));
        batch.clear();
        if let Some(slot) = batch.push() {
            slot.copy_from_slice(bytes);
        }
        socket.send(batch, to)?;
        batch.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcast::{GroupAddress, Interface, Options};
    use proto::wire::{Message, decode};
    use std::net::UdpSocket;

    #[test]
    fn blocks_go_out_as_messages_in_full_batches() {
        let lo = Interface::by_name("lo").unwrap();
        let group = GroupAddress::parse("239.192.70.84", 61235).unwrap();
        let socket = GroupSocket::open_server(group, &lo, &Options::default()).unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        let mut outbox = Outbox::new(8, 3, [127, 0, 0, 1], to);
        let bytes: Vec<u8> = (0..64).collect();
        let mut run = Run { chunk: 5, next: 1, left: 7 };
        while run.left > 0 {
            let from = usize::try_from(run.next).unwrap() * 8;
            outbox.put(&mut run, &bytes[from..]);
            assert!(outbox.flush(&socket, Instant::ZERO).unwrap());
        }
        let mut buffer = [0; 100];
        for number in 1..8 {
            let len = receiver.recv(&mut buffer).unwrap();
            let Message::Block { chunk, block, payload } = decode(&buffer[..len]).unwrap().message
            else {
                panic!("no block")
            };
            let from = usize::try_from(number).unwrap() * 8;
            assert_eq!((chunk, block, payload), (5, number, &bytes[from..from + 8]));
        }
        outbox.control(&socket, b"hello", to).unwrap();
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 5);
    }
}
