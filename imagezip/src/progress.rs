//! How far a save or load has come, for whoever wants to show it.
//!
//! What it owns: counters that the stages of a pipeline advance and a display reads at any time.
//! What it never does: print.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A stage of a pipeline, for the question which one limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Getting the input: the disk on a save, the image on a load.
    Input,
    /// Compressing or decompressing.
    Compute,
    /// Writing the output: the image on a save, the disk on a load.
    Output,
}

impl Stage {
    /// All stages, in the order in which data pass them.
    pub const ALL: [Self; 3] = [Self::Input, Self::Compute, Self::Output];

    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "reading",
            Self::Compute => "compression",
            Self::Output => "writing",
        }
    }
}

/// Counters shared by the stages of one save or load.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of allocated sectors to be processed.
    pub total_bytes: AtomicU64,
    /// Bytes of allocated sectors processed so far.
    pub done_bytes: AtomicU64,
    /// Bytes of image written (save) or read (load) so far.
    pub image_bytes: AtomicU64,
    /// Nanoseconds of work, by stage, summed over its threads.
    busy: [AtomicU64; 3],
    /// Threads of each stage; 0 is taken as 1.
    threads: [AtomicU64; 3],
}

impl Progress {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Share of the allocated sectors processed, rounded down; 0 as long as nothing is known.
    pub fn percent(&self) -> u32 {
        let (done, total) = (self.done_bytes.load(Relaxed), self.total_bytes.load(Relaxed));
        let percent = u128::from(done) * 100 / u128::from(total.max(1));
        u32::try_from(percent).unwrap_or(100).min(100)
    }

    /// Says how many threads a stage has.
    pub fn set_threads(&self, stage: Stage, threads: usize) {
        self.of(&self.threads, stage).store(u64::try_from(threads).unwrap_or(1), Relaxed);
    }

    /// Runs `work` and books its time to a stage.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.book(stage, start.elapsed());
        result
    }

    /// Books time to a stage.
    pub fn book(&self, stage: Stage, time: Duration) {
        let spent = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.of(&self.busy, stage).fetch_add(spent, Relaxed);
    }

    /// Time a stage was busy, averaged over its threads.
    pub fn busy(&self, stage: Stage) -> Duration {
        let threads = self.of(&self.threads, stage).load(Relaxed).max(1);
        Duration::from_nanos(self.of(&self.busy, stage).load(Relaxed) / threads)
    }

    /// The stage that was busy longest: the one that limits.
    pub fn limiting_stage(&self) -> Stage {
        // The first of equals: nothing has been measured yet, and everything begins with input.
        let mut limiting = Stage::Input;
        for stage in Stage::ALL {
            if self.busy(stage) > self.busy(limiting) {
                limiting = stage;
            }
        }
        limiting
    }

    fn of<'a>(&self, counters: &'a [AtomicU64; 3], stage: Stage) -> &'a AtomicU64 {
        let [input, compute, output] = counters;
        match stage {
            Stage::Input => input,
            Stage::Compute => compute,
            Stage::Output => output,
        }
    }
}

/// Which tenths of the work have been told: programs and controllers hear of each once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tenths {
    told: u32,
}

impl Tenths {
    /// True when another tenth is done.
    pub fn step(&mut self, percent: u32) -> bool {
        let tenths = percent / 10;
        let is_new = tenths > self.told;
        self.told = self.told.max(tenths);
        is_new
    }
}
