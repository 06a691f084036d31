//! What to ask for, and when.
//!
//! What it owns: the decision. What it never does: send; the session turns each [`Ask`] into a
//! datagram. The rules, each with its reason:
//!
//! - Missing blocks of a chunk are asked for when the server has visibly moved on to another chunk
//!   (or paused for long), plus a random skew, so that one of many clients asks first and the
//!   others overhear it.
//! - What another client just asked for is expected, not asked for; but only for as long as an
//!   answer takes. Whoever waits, waits with a timer.
//! - Whole chunks are asked for in random order, so that clients do not move in lock-step; as many
//!   ahead as keep the server's queue from running dry for a round trip; counting what others
//!   asked for and this client wants too; never more than there are free buffers.

use std::collections::BTreeMap;

use super::delay::{Delay, Kind};
use super::marks::{Asked, ChunkState, Marks, Slot};
use crate::block_set::BlockSet;
use crate::random::Random;
use crate::time::{Duration, Instant};

/// Whole chunks asked for ahead at least, if buffers allow: the deployed number.
const AHEAD_MIN: u32 = 2;

/// Whole chunks asked for ahead at most: 32 MiB, 10 Gb/s for 27 ms.
const AHEAD_MAX: u32 = 32;

/// Of them asked for by this client at least: a server may serve others late, or not at all.
const OWN_MIN: u32 = 1;

/// Chunks asked for by others that are remembered at most; more is not needed to stay quiet.
const OVERHEARD_MAX: usize = 1024;

/// Limits of the random skew before missing blocks are asked for, with few other clients.
const SKEW_MIN: Duration = Duration::from_millis(3);
const SKEW_MAX: Duration = Duration::from_millis(10);

/// The skew grows with the number of partial requests heard lately, up to this factor.
const SKEW_FACTOR_MAX: u64 = 16;

/// Something to ask for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// A whole chunk.
    Whole { chunk: u32, again: bool },
    /// Blocks of a chunk.
    Some { chunk: u32, retries: u32, wanted: BlockSet },
}

/// Who asked for what, and when to decide again.
#[derive(Debug)]
pub(super) struct Asking {
    /// Chunks asked for of which nothing has arrived.
    asked: BTreeMap<u32, Asked>,
    mine: u32,
    /// Chunks that may be wanted, in no order; those no longer wanted are taken out when met.
    candidates: Vec<u32>,
    /// Chunk 0 is asked for before any other.
    first_is_urgent: bool,
    /// The next decision is due.
    due: Instant,
    /// Partial requests of others heard since a chunk was completed, smoothed.
    heard: u64,
}

impl Asking {
    pub(super) fn new(chunks: u32) -> Self {
        Self {
            asked: BTreeMap::new(),
            mine: 0,
            candidates: (0..chunks).collect(),
            first_is_urgent: false,
            due: Instant::ZERO,
            heard: 0,
        }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn decide_by(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    /// The caller can do nothing without chunk 0.
    pub(super) fn ask_first(&mut self, now: Instant) {
        self.first_is_urgent = true;
        self.decide_by(now);
    }

    /// True while chunk 0 is urgent and not complete.
    pub(super) fn awaits_first(&self, marks: &Marks) -> bool {
        let state = marks.state(0);
        self.first_is_urgent && matches!(state, Some(ChunkState::Wanted | ChunkState::Open(_)))
    }

    /// A chunk is wanted again.
    pub(super) fn wanted_again(&mut self, chunk: u32) {
        self.candidates.push(chunk);
        self.due = Instant::ZERO;
    }

    /// The server has forgotten what it was asked for.
    pub(super) fn forget(&mut self, marks: &mut Marks) {
        self.asked.clear();
        self.mine = 0;
        for i in 0..marks.open().len() {
            let Some(slot) = marks.open().get(i).copied() else { break };
            let Some(slot) = marks.slot_mut(slot) else { continue };
            slot.ask_at = Instant::ZERO;
            slot.expected_until = Instant::ZERO;
        }
        self.due = Instant::ZERO;
    }

    /// This client asked for the chunk and nothing of it has arrived.
    pub(super) fn is_mine(&self, chunk: u32) -> bool {
        self.asked.get(&chunk).is_some_and(|asked| asked.mine)
    }

    /// The first block of a chunk arrived: when it had been asked for.
    pub(super) fn opened(&mut self, chunk: u32) -> Option<Asked> {
        let asked = self.asked.remove(&chunk)?;
        self.mine -= u32::from(asked.mine);
        self.due = Instant::ZERO;
        Some(asked)
    }

    /// A chunk was completed.
    pub(super) fn completed(&mut self) {
        self.heard -= self.heard / 4;
        self.due = Instant::ZERO;
    }

    /// The server moved on to another chunk: what is missing of this one was lost, or is not
    /// asked for.
    pub(super) fn moved_on(
        &mut self,
        now: Instant,
        slot: &mut Slot,
        delay: &Delay,
        random: &mut Random,
    ) {
        let missing = slot.missing();
        let lowest = slot.have.next(0).unwrap_or(0);
        slot.lossy |= missing.next(lowest).is_some();
        let factor = 1 + (self.heard / 4).min(SKEW_FACTOR_MAX - 1);
        let skew = delay.round_trip().clamp(SKEW_MIN, SKEW_MAX).times(factor);
        let at = now + SKEW_MIN + random.span_below(skew);
        slot.ask_at = slot.ask_at.min(at);
        self.due = self.due.min(slot.ask_at);
    }

    /// Another client asked for blocks.
    pub(super) fn overheard(
        &mut self,
        now: Instant,
        chunk: u32,
        wanted: &BlockSet,
        marks: &mut Marks,
        delay: &Delay,
    ) {
        match marks.state(chunk) {
            Some(ChunkState::Wanted) => {
                if self.asked.len() >= OVERHEARD_MAX || self.asked.contains_key(&chunk) {
                    return;
                }
                self.asked.insert(chunk, Asked { first_at: now, at: now, retries: 0, mine: false });
            }
            Some(ChunkState::Open(number)) => {
                self.heard += 1;
                let Some(slot) = marks.slot_mut(number) else { return };
                let fresh = slot.missing().intersection(wanted);
                if fresh.is_empty() {
                    return;
                }
                let known = now < slot.expected_until;
                slot.expected = if known { slot.expected.union(&fresh) } else { fresh };
                slot.expected_until = now + delay.wait(Kind::Some, slot.retries);
                slot.last_ask = now;
            }
            _ => {}
        }
    }

    /// Decides what to ask for now.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        marks: &mut Marks,
        delay: &Delay,
        random: &mut Random,
        asks: &mut impl Extend<Ask>,
    ) {
        self.due = Instant::FAR_FUTURE;
        let silent = delay.is_silent(now);
        self.ask_for_missing(now, silent, marks, delay, asks);
        self.ask_again(now, silent, marks, delay, asks);
        self.ask_for_more(now, marks, delay, random, asks);
        if !silent && (!self.asked.is_empty() || !marks.open().is_empty()) {
            self.due = self.due.min(delay.silent_at());
        }
    }

    fn ask_for_missing(
        &mut self,
        now: Instant,
        silent: bool,
        marks: &mut Marks,
        delay: &Delay,
        asks: &mut impl Extend<Ask>,
    ) {
        for i in 0..marks.open().len() {
            let Some(number) = marks.open().get(i).copied() else { break };
            let Some(slot) = marks.slot_mut(number) else { continue };
            let mut patience = delay.wait(Kind::Some, slot.retries);
            if silent {
                // The queue is empty: what was asked for longer ago than a pause is lost.
                patience = patience.min(delay.patience(slot.retries));
                slot.expected_until = slot.expected_until.min(slot.last_ask + patience);
                slot.ask_at = slot.ask_at.min(slot.last_ask + patience);
            }
            if now >= slot.ask_at {
                let missing = slot.missing();
                let expected = now < slot.expected_until;
                let wanted = if expected { missing.difference(&slot.expected) } else { missing };
                if wanted.is_empty() {
                    slot.ask_at = slot.expected_until;
                } else {
                    // Servers slow down on retries; a request that was lost is no reason to.
                    let retries = if slot.lossy { slot.retries.max(1) } else { 0 };
                    asks.extend([Ask::Some { chunk: slot.chunk, retries, wanted }]);
                    // A repeated request's answer may be the first one's: it measures nothing.
                    slot.last_ask = now;
                    slot.asked_at = (slot.retries == 0).then_some(now);
                    slot.ask_at = now + patience;
                    slot.retries = slot.retries.saturating_add(1);
                    slot.expected = missing;
                    slot.expected_until = slot.ask_at;
                }
            }
            self.due = self.due.min(slot.ask_at);
        }
    }

    /// Chunks asked for of which nothing came in time: again if asked for here, forgotten if by
    /// another client, who may be gone.
    fn ask_again(
        &mut self,
        now: Instant,
        silent: bool,
        marks: &Marks,
        delay: &Delay,
        asks: &mut impl Extend<Ask>,
    ) {
        let (mut mine, mut due) = (0, self.due);
        self.asked.retain(|chunk, asked| {
            let wait = |retries| match silent {
                true => delay.wait(Kind::Whole, retries).min(delay.patience(retries)),
                false => delay.wait(Kind::Whole, retries),
            };
            let expiry = asked.at + wait(asked.retries);
            if now >= expiry {
                // Buffers may have gone to other chunks meanwhile.
                if !asked.mine || mine >= marks.free_slots_for(*chunk) {
                    return false;
                }
                asked.at = now;
                asked.retries = asked.retries.saturating_add(1);
                asks.extend([Ask::Whole { chunk: *chunk, again: true }]);
                due = due.min(now + wait(asked.retries));
            } else {
                due = due.min(expiry);
            }
            mine += u32::from(asked.mine);
            true
        });
        (self.mine, self.due) = (mine, due);
    }

    fn ask_for_more(
        &mut self,
        now: Instant,
        marks: &Marks,
        delay: &Delay,
        random: &mut Random,
        asks: &mut impl Extend<Ask>,
    ) {
        let ahead = ahead(marks, delay);
        let first_is_wanted = marks.state(0) == Some(ChunkState::Wanted);
        if self.first_is_urgent && first_is_wanted && !self.asked.contains_key(&0) {
            self.ask_whole(now, 0, delay, asks);
        }
        while self.mine < marks.free_slots() {
            let asked = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
            if asked >= ahead && self.mine >= OWN_MIN {
                break;
            }
            let Some(chunk) = self.pick(marks, random) else { break };
            self.ask_whole(now, chunk, delay, asks);
        }
    }

    fn ask_whole(&mut self, now: Instant, chunk: u32, delay: &Delay, asks: &mut impl Extend<Ask>) {
        self.asked.insert(chunk, Asked { first_at: now, at: now, retries: 0, mine: true });
        self.mine += 1;
        self.due = self.due.min(now + delay.wait(Kind::Whole, 0));
        asks.extend([Ask::Whole { chunk, again: false }]);
    }

    /// A random chunk that is wanted and that nobody asked for.
    fn pick(&mut self, marks: &Marks, random: &mut Random) -> Option<u32> {
        let len = u64::try_from(self.candidates.len()).unwrap_or(0);
        let mut at = usize::try_from(random.below(len)).unwrap_or(0);
        let mut passed = 0;
        while passed < self.candidates.len() {
            if at >= self.candidates.len() {
                at = 0;
            }
            let chunk = *self.candidates.get(at)?;
            if marks.state(chunk) != Some(ChunkState::Wanted) {
                self.candidates.swap_remove(at);
            } else if self.asked.contains_key(&chunk) {
                at += 1;
                passed += 1;
            } else {
                return Some(chunk);
            }
        }
        None
    }
}

/// Chunks to keep in the server's queue: two, and what it sends in a round trip.
fn ahead(marks: &Marks, delay: &Delay) -> u32 {
    let chunk_time = delay.block_gap().times(u64::from(marks.blocks_per_chunk()));
    let in_flight = match chunk_time {
        Duration::ZERO => 0,
        time => delay.round_trip().as_nanos().div_ceil(time.as_nanos()),
    };
    u32::try_from(in_flight).unwrap_or(AHEAD_MAX).saturating_add(AHEAD_MIN).min(AHEAD_MAX)
}
