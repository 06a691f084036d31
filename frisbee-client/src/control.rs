//! Sending the few datagrams that a client sends.
//!
//! What it owns: a batch of one for each length that occurs; there are five. What it never does:
//! wait, or send twice: the session repeats whatever matters.

use mcast::{GroupSocket, SendBatch, SocketError};
use proto::client::{Destination, Session};
use proto::time::Instant;
use proto::wire::CONTROL_LEN_MAX;

/// Datagrams sent in one go at most, so that the socket is read in between.
const RUN_MAX: u32 = 64;

/// The sending half of a client.
pub(crate) struct Control {
    buffer: [u8; CONTROL_LEN_MAX],
    batches: Vec<SendBatch>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self { buffer: [0; CONTROL_LEN_MAX], batches: Vec::new() }
    }

    /// Sends what the session has to send now.
    ///
    /// # Errors
    /// When the socket is of no use any more; a network that is down passes.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        session: &mut Session,
        socket: &GroupSocket,
    ) -> Result<(), SocketError> {
        for _ in 0..RUN_MAX {
            let Some(transmit) = session.poll_transmit(now, &mut self.buffer) else { break };
            let to = match transmit.to {
                Destination::Group => socket.group_addr(),
                Destination::Address(address) => address,
            };
            let bytes = self.buffer.get(..transmit.len).unwrap_or_default();
            let known = self.batches.iter().position(|b| b.datagram_len() == bytes.len());
            let at = known.unwrap_or_else(|| {
                self.batches.push(SendBatch::new(bytes.len().max(1), 1));
                self.batches.len() - 1
            });
            let Some(batch) = self.batches.get_mut(at) else { break };
            batch.clear();
            if let Some(room) = batch.push().filter(|room| room.len() == bytes.len()) {
                room.copy_from_slice(bytes);
                socket.send(batch, to)?;
            }
        }
        Ok(())
    }
}
