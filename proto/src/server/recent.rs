//! What was sent lately.
//!
//! What it owns: two memories with two purposes. The short one says which blocks may still be on
//! their way, so that a request that crossed them is not served twice. The long one says which
//! blocks were sent at all in the last [`HISTORY_CHUNKS_MAX`] sweeps, so that a repeated request
//! for them is evidence of loss and not of impatience. What it never does: grow without bound.

use std::collections::{BTreeMap, VecDeque};

use crate::block_set::BlockSet;
use crate::time::{Duration, Instant};

/// Chunks in the long memory: 4 GiB of image, 700 KiB.
const HISTORY_CHUNKS_MAX: usize = 4096;

/// Sending a chunk again after this long begins its history anew.
const HISTORY_SPAN: Duration = Duration::from_secs(2);

/// What was sent lately.
#[derive(Debug)]
pub(super) struct Recent {
    /// Half the delivery time: how long each of the two generations lasts.
    period: Duration,
    flip_at: Instant,
    young: BTreeMap<u32, BlockSet>,
    old: BTreeMap<u32, BlockSet>,
    history: BTreeMap<u32, Sent>,
    history_order: VecDeque<u32>,
}

/// The blocks of a chunk that were sent lately.
#[derive(Clone, Copy, Debug)]
struct Sent {
    blocks: BlockSet,
    at: Instant,
}

impl Recent {
    pub(super) fn new(delivery_time: Duration) -> Self {
        Self {
            period: delivery_time.divided_by(2),
            flip_at: Instant::ZERO,
            young: BTreeMap::new(),
            old: BTreeMap::new(),
            history: BTreeMap::new(),
            history_order: VecDeque::new(),
        }
    }

    fn age(&mut self, now: Instant) {
        if now < self.flip_at {
            return;
        }
        std::mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
        if now >= self.flip_at + self.period {
            self.old.clear();
        }
        self.flip_at = now + self.period;
    }

    /// Blocks went out.
    pub(super) fn sent(&mut self, now: Instant, chunk: u32, first: u32, count: u32) {
        self.age(now);
        self.young.entry(chunk).or_default().insert_run(first, count);
        if let Some(sent) = self.history.get_mut(&chunk) {
            if now.since(sent.at) > HISTORY_SPAN {
                sent.blocks = BlockSet::EMPTY;
            }
            sent.blocks.insert_run(first, count);
            sent.at = now;
            return;
        }
        if self.history_order.len() >= HISTORY_CHUNKS_MAX
            && let Some(oldest) = self.history_order.pop_front()
        {
            self.history.remove(&oldest);
        }
        self.history_order.push_back(chunk);
        self.history.insert(chunk, Sent { blocks: BlockSet::run(first, count), at: now });
    }

    /// Blocks of the chunk that may be on their way.
    pub(super) fn on_their_way(&mut self, now: Instant, chunk: u32) -> BlockSet {
        self.age(now);
        let young = self.young.get(&chunk).copied().unwrap_or_default();
        self.old.get(&chunk).map_or(young, |old| young.union(old))
    }

    /// How many of `wanted` were sent lately, and after `since`: when the client joined.
    pub(super) fn sent_since(&self, chunk: u32, wanted: &BlockSet, since: Instant) -> u32 {
        let sent = self.history.get(&chunk).filter(|sent| sent.at > since);
        sent.map_or(0, |sent| sent.blocks.intersection(wanted).count())
    }
}
