//! The chunk buffers.
//!
//! What it owns: one buffer for each slot of the session, made when it is first used and used
//! again until the end; while a chunk is worked on, its buffer is away. What it never does: decide
//! which slot a chunk gets.

/// Buffers, one for each slot.
#[derive(Debug)]
pub(crate) struct Buffers {
    chunk_len: usize,
    block_len: usize,
    slots: Vec<Slot>,
}

#[derive(Debug)]
enum Slot {
    Unused,
    Here(Box<[u8]>),
    /// With a worker, with the number of its chunk.
    Away(u32),
}

impl Buffers {
    /// Buffers for `slots` chunks of `chunk_len` bytes in blocks of `block_len`.
    pub(crate) fn new(slots: u32, chunk_len: usize, block_len: usize) -> Self {
        let slots = (0..slots).map(|_| Slot::Unused).collect();
        Self { chunk_len, block_len, slots }
    }

    /// Copies a block into its place.
    pub(crate) fn put(&mut self, slot: u32, block: u32, payload: &[u8]) {
        let Some(slot) = self.slots.get_mut(index(slot)) else { return };
        if matches!(slot, Slot::Unused) {
            *slot = Slot::Here(vec![0; self.chunk_len].into_boxed_slice());
        }
        let Slot::Here(bytes) = slot else { return };
        let start = index(block).saturating_mul(self.block_len);
        let room = bytes.get_mut(start..start.saturating_add(payload.len()));
        if let Some(room) = room {
            room.copy_from_slice(payload);
        }
    }

    /// Gives the buffer of a complete chunk away.
    pub(crate) fn take(&mut self, slot: u32, chunk: u32) -> Option<Box<[u8]>> {
        let slot = self.slots.get_mut(index(slot))?;
        match std::mem::replace(slot, Slot::Away(chunk)) {
            Slot::Here(bytes) => Some(bytes),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Takes the buffer of a chunk back.
    pub(crate) fn put_back(&mut self, chunk: u32, bytes: Box<[u8]>) {
        let slot = self.slots.iter_mut().find(|s| matches!(s, Slot::Away(c) if *c == chunk));
        if let Some(slot) = slot {
            *slot = Slot::Here(bytes);
        }
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_goes_and_comes_back() {
        let mut buffers = Buffers::new(2, 8, 4);
        buffers.put(1, 1, &[1; 4]);
        buffers.put(1, 0, &[2; 4]);
        assert_eq!(buffers.take(0, 7), None);
        let bytes = buffers.take(1, 7).unwrap();
        assert_eq!(*bytes, [2, 2, 2, 2, 1, 1, 1, 1]);
        assert_eq!(buffers.take(1, 7), None);
        buffers.put(1, 0, &[3; 4]);
        let address = bytes.as_ptr();
        buffers.put_back(7, bytes);
        buffers.put(1, 0, &[4; 4]);
        let again = buffers.take(1, 8).unwrap();
        assert_eq!((*again).first_chunk(), Some(&[4; 4]));
        assert_eq!(again.as_ptr(), address, "no new memory");
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut buffers = Buffers::new(1, 8, 4);
        buffers.put(0, 2, &[1; 4]);
        buffers.put(0, u32::MAX, &[1; 4]);
        buffers.put(9, 0, &[1; 4]);
        buffers.put_back(3, Box::new([]));
        assert_eq!(*buffers.take(0, 0).unwrap(), [0; 8]);
    }
}
