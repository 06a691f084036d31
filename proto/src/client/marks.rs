//! What has arrived: the state of every chunk, and the slots of those in progress.
//!
//! What it owns: which buffer slot belongs to which chunk, and which blocks are in it. What it
//! never does: hold payload bytes; the caller has a buffer for each slot. A slot is bound when the
//! first block of a chunk arrives, not when the chunk is asked for: whatever comes first is useful.

use std::net::SocketAddr;

use crate::block_set::BlockSet;
use crate::geometry::Geometry;
use crate::time::Instant;

/// State of a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ChunkState {
    /// Nothing of it is here.
    Wanted,
    /// Some blocks are in this slot.
    Open(u32),
    /// All blocks are in this slot; the caller has not said what became of them.
    Complete(u32),
    /// Written; the slot is free again.
    Done,
}

/// A request for a chunk of which nothing has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) first_at: Instant,
    pub(super) at: Instant,
    pub(super) retries: u32,
    /// True when this client asked, false when it overheard another.
    pub(super) mine: bool,
}

/// A buffer and the chunk in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) chunk: u32,
    pub(super) have: BlockSet,
    /// Blocks of the chunk in the file.
    pub(super) blocks: u32,
    /// The block that arrived last, and when.
    pub(super) last_block: u32,
    pub(super) last_at: Instant,
    /// Missing blocks are asked for at this time.
    pub(super) ask_at: Instant,
    /// What was asked for last, by whomever, and until when it is expected.
    pub(super) expected: BlockSet,
    pub(super) expected_until: Instant,
    /// When this client first asked for missing blocks, for the delay; `None` once answered.
    pub(super) asked_at: Option<Instant>,
    /// When missing blocks were last asked for, by whomever.
    pub(super) last_ask: Instant,
    /// How often in a row without an answer.
    pub(super) retries: u32,
    /// True when blocks were certainly sent and did not arrive.
    pub(super) lossy: bool,
    /// Who sent the first block, for the log of a chunk that fails verification.
    pub(super) sender: SocketAddr,
}

impl Slot {
    pub(super) fn missing(&self) -> BlockSet {
        BlockSet::first(self.blocks).difference(&self.have)
    }
}

/// The state of every chunk and slot.
#[derive(Debug)]
pub(super) struct Marks {
    blocks_per_chunk: u32,
    chunks: Vec<ChunkState>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// One free slot is for chunk 0, as long as nothing of that is here.
    keep_for_first: bool,
    /// Chunks with a slot that is not complete.
    open: Vec<u32>,
    done: u32,
    complete_ever: u32,
}

impl Marks {
    pub(super) fn new(geometry: &Geometry, slots: u32, keep_for_first: bool) -> Self {
        let chunks = usize::try_from(geometry.chunks()).unwrap_or(0);
        let slot_count = usize::try_from(slots).unwrap_or(0);
        Self {
            blocks_per_chunk: geometry.blocks_per_chunk(),
            chunks: vec![ChunkState::Wanted; chunks],
            slots: vec![None; slot_count],
            free: (0..slots).rev().collect(),
            keep_for_first,
            open: Vec::with_capacity(slot_count),
            done: 0,
            complete_ever: 0,
        }
    }

    pub(super) fn blocks_per_chunk(&self) -> u32 {
        self.blocks_per_chunk
    }

    pub(super) fn state(&self, chunk: u32) -> Option<ChunkState> {
        self.chunks.get(index(chunk)).copied()
    }

    pub(super) fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(index(slot))?.as_ref()
    }

    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index(slot))?.as_mut()
    }

    /// Slots of chunks in progress.
    pub(super) fn open(&self) -> &[u32] {
        &self.open
    }

    /// Slots free for chunks other than a kept one.
    pub(super) fn free_slots(&self) -> u32 {
        u32::try_from(self.free.len() - self.kept()).unwrap_or(u32::MAX)
    }

    /// Slots free for this chunk.
    pub(super) fn free_slots_for(&self, chunk: u32) -> u32 {
        match chunk {
            0 => u32::try_from(self.free.len()).unwrap_or(u32::MAX),
            _ => self.free_slots(),
        }
    }

    /// Slots kept for chunk 0, among those that are free.
    fn kept(&self) -> usize {
        let is_kept = self.keep_for_first && self.state(0) == Some(ChunkState::Wanted);
        usize::from(is_kept).min(self.free.len())
    }

    /// Less than a quarter is free.
    pub(super) fn are_slots_scarce(&self) -> bool {
        self.free.len() < self.slots.len() / 4
    }

    pub(super) fn done(&self) -> u32 {
        self.done
    }

    pub(super) fn complete_ever(&self) -> u32 {
        self.complete_ever
    }

    /// Binds a free slot to a chunk that is wanted.
    pub(super) fn open_slot(&mut self, slot: Slot) -> Option<u32> {
        let state = self.state(slot.chunk)?;
        if state != ChunkState::Wanted || self.free_slots_for(slot.chunk) == 0 {
            return None;
        }
        let number = self.free.pop()?;
        *self.chunks.get_mut(index(slot.chunk))? = ChunkState::Open(number);
        self.open.push(number);
        *self.slots.get_mut(index(number))? = Some(slot);
        Some(number)
    }

    /// All blocks are there.
    pub(super) fn complete(&mut self, number: u32) {
        self.open.retain(|open| *open != number);
        let Some(chunk) = self.slot(number).map(|s| s.chunk) else { return };
        if let Some(state) = self.chunks.get_mut(index(chunk)) {
            *state = ChunkState::Complete(number);
            self.complete_ever += 1;
        }
    }

    /// The caller is through with a complete chunk; it is done, or wanted again.
    pub(super) fn release(&mut self, chunk: u32, is_done: bool) -> Option<Slot> {
        let state = self.chunks.get_mut(index(chunk))?;
        let ChunkState::Complete(number) = *state else { return None };
        if is_done {
            *state = ChunkState::Done;
            self.done += 1;
        } else {
            *state = ChunkState::Wanted;
            self.complete_ever -= 1;
        }
        self.free.push(number);
        self.slots.get_mut(index(number))?.take()
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
