//! Buffers that are used again instead of being given back to the allocator.
//!
//! What it owns: a bounded stock of byte vectors. What it never does: limit how many are in use;
//! the queues of a pipeline do that.

use crossbeam_channel::{Receiver, Sender, bounded};

/// A stock of buffers, shared by threads.
#[derive(Clone, Debug)]
pub struct BufferPool {
    put: Sender<Vec<u8>>,
    take: Receiver<Vec<u8>>,
}

impl BufferPool {
    /// An empty stock that keeps at most `stock_max` buffers.
    pub fn new(stock_max: usize) -> Self {
        let (put, take) = bounded(stock_max);
        Self { put, take }
    }

    /// An empty buffer, used before if there is one.
    pub fn take(&self) -> Vec<u8> {
        self.take.try_recv().unwrap_or_default()
    }

    /// Takes a buffer back; it is dropped when the stock is full.
    pub fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let _ = self.put.try_send(buffer);
    }
}
