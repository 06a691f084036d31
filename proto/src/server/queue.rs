//! What has been asked for and not been sent: the work queue.
//!
//! What it owns: for each chunk the blocks that somebody waits for, and the order of the chunks.
//! What it never does: hold a block twice. However many clients ask, the queue is at most the file.
//!
//! Order. Work has three classes: [`Class::Repair`] before [`Class::Main`] before [`Class::Low`].
//! Repairs go first because a client with a gap holds a buffer, and asks again until it is served.
//! Inside a class chunks go in a circle, so that no request waits longer than one turn, and clients
//! that joined at different times are served by the same turn. A chunk once begun is swept to
//! its end: clients take a block of another chunk as proof that the sweep is over.

use std::collections::{BTreeMap, BTreeSet};

use crate::block_set::BlockSet;
use crate::time::Instant;

/// How urgent work is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Class {
    /// Gaps in a chunk that was sent.
    Repair,
    /// Chunks that were not sent to whoever asks.
    Main,
    /// Whatever an address asks beyond its share.
    Low,
}

const CLASSES: [Class; 3] = [Class::Repair, Class::Main, Class::Low];

#[derive(Clone, Copy, Debug)]
struct Entry {
    wanted: BlockSet,
    class: Class,
    /// Not before; lets requests of several clients for one chunk meet.
    ready: Instant,
}

/// Consecutive blocks of a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Run {
    pub(super) chunk: u32,
    pub(super) first: u32,
    pub(super) count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Sweep {
    chunk: u32,
    wanted: BlockSet,
    /// Blocks below have been passed.
    at: u32,
}

/// The work queue.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    entries: BTreeMap<u32, Entry>,
    /// The chunks of each class.
    order: [BTreeSet<u32>; 3],
    /// Where the circle of each class goes on.
    cursor: [u32; 3],
    sweep: Option<Sweep>,
    blocks: u64,
}

impl WorkQueue {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Blocks waiting.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    /// How many of these blocks do not wait already.
    pub(super) fn new_of(&self, chunk: u32, wanted: &BlockSet) -> u32 {
        let mut new = *wanted;
        if let Some(sweep) = self.sweep.as_ref().filter(|sweep| sweep.chunk == chunk) {
            new = new.difference(&sweep.wanted);
        }
        if let Some(entry) = self.entries.get(&chunk) {
            new = new.difference(&entry.wanted);
        }
        new.count()
    }

    /// Adds work. Blocks that wait already are not added twice; what is added takes the more
    /// urgent of the two classes.
    pub(super) fn add(&mut self, chunk: u32, wanted: &BlockSet, class: Class, ready: Instant) {
        self.blocks += u64::from(self.new_of(chunk, wanted));
        let mut rest = *wanted;
        if let Some(sweep) = self.sweep.as_mut().filter(|s| s.chunk == chunk) {
            // What lies ahead of the sweep joins it.
            let mut ahead = rest;
            ahead.remove_run(0, sweep.at);
            sweep.wanted = sweep.wanted.union(&ahead);
            rest = rest.difference(&ahead);
        }
        if rest.is_empty() {
            return;
        }
        let entry =
            self.entries.entry(chunk).or_insert(Entry { wanted: BlockSet::EMPTY, class, ready });
        entry.wanted = entry.wanted.union(&rest);
        let old = entry.class;
        entry.class = old.min(class);
        entry.ready = entry.ready.min(ready);
        let new = entry.class;
        if old != new {
            class_mut(&mut self.order, old).remove(&chunk);
        }
        class_mut(&mut self.order, new).insert(chunk);
    }

    /// Takes the next consecutive blocks, at most `count_max`; `None` when nothing is ready.
    pub(super) fn take(&mut self, now: Instant, count_max: u32) -> Option<Run> {
        if self.sweep.is_none() {
            let (chunk, entry) = self.begin(now)?;
            self.sweep = Some(Sweep { chunk, wanted: entry.wanted, at: 0 });
        }
        let sweep = self.sweep.as_mut()?;
        let (first, count) = sweep.wanted.next_run(sweep.at, count_max)?;
        sweep.wanted.remove_run(first, count);
        sweep.at = first + count;
        let run = Run { chunk: sweep.chunk, first, count };
        if sweep.wanted.is_empty() {
            self.sweep = None;
        }
        self.blocks = self.blocks.saturating_sub(u64::from(count));
        Some(run)
    }

    /// The earliest time at which [`Self::take`] has something; `None` for an empty queue.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        if self.sweep.is_some() {
            return Some(Instant::ZERO);
        }
        let [repair, main, low] = &self.order;
        if !main.is_empty() || !low.is_empty() {
            return Some(Instant::ZERO); // only repairs wait for company
        }
        repair.iter().filter_map(|chunk| self.entries.get(chunk)).map(|e| e.ready).min()
    }

    /// The chunks that [`Self::take`] will come to, the nearest first, as things stand.
    pub(super) fn upcoming(&self) -> impl Iterator<Item = u32> {
        let circles = CLASSES.into_iter().flat_map(|class| {
            let (from, chunks) = (*class_of(&self.cursor, class), class_of(&self.order, class));
            chunks.range(from..).chain(chunks.range(..from)).copied()
        });
        self.sweep.iter().map(|sweep| sweep.chunk).chain(circles)
    }

    fn begin(&mut self, now: Instant) -> Option<(u32, Entry)> {
        for class in CLASSES {
            let from = *class_of(&self.cursor, class);
            let chunks = class_of(&self.order, class);
            let circle = chunks.range(from..).chain(chunks.range(..from));
            let ready = |chunk: &&u32| self.entries.get(chunk).is_some_and(|e| e.ready <= now);
            let Some(chunk) = circle.copied().find(|c| ready(&c)) else { continue };
            class_mut(&mut self.order, class).remove(&chunk);
            *class_mut(&mut self.cursor, class) = chunk.wrapping_add(1);
            let entry = self.entries.remove(&chunk)?;
            return Some((chunk, entry));
        }
        None
    }
}

fn class_of<T>(of: &[T; 3], class: Class) -> &T {
    let [repair, main, low] = of;
    match class {
        Class::Repair => repair,
        Class::Main => main,
        Class::Low => low,
    }
}

fn class_mut<T>(of: &mut [T; 3], class: Class) -> &mut T {
    let [repair, main, low] = of;
    match class {
        Class::Repair => repair,
        Class::Main => main,
        Class::Low => low,
    }
}
