//! Reading back what was written.
//!
//! What it owns: a digest of every range that was written, and the comparison with what the disk
//! gives back. What it never does: keep the data.

use super::LoadError;
use crate::disk::{DiskError, ReadDisk};
use crate::interrupt::Interrupt;
use crate::units::SectorRange;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Bytes read back at a time.
const STEP: usize = 1 << 20;

/// A digest short enough to keep millions of, long enough that no accident goes unseen.
type Digest = [u8; 16];

/// A range and its digest; `None` for one that was made zero.
type Entry = (SectorRange, Option<Digest>);

/// What was written where.
#[derive(Debug, Default)]
pub(super) struct ReadBackLog {
    entries: Mutex<Vec<Entry>>,
}

impl ReadBackLog {
    /// Notes that `bytes` were written to `range`. Ranges may not overlap.
    pub(super) fn note(&self, range: SectorRange, bytes: &[u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes);
        self.push((range, Some(short(&hasher))));
    }

    /// Notes that `range` was made zero.
    pub(super) fn note_zero(&self, range: SectorRange) {
        self.push((range, None));
    }

    fn push(&self, entry: Entry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// Reads everything back from `disk` with this many threads, and compares.
    ///
    /// # Errors
    /// When something differs or cannot be read.
    pub(super) fn compare(
        self,
        disk: &dyn ReadDisk,
        threads: usize,
        interrupt: &Interrupt,
    ) -> Result<u64, LoadError> {
        let mut entries = self.entries.into_inner().unwrap_or_else(PoisonError::into_inner);
        entries.sort_unstable_by_key(|(range, _)| *range); // one sweep over the disk
        let next = AtomicUsize::new(0);
        let results: Vec<_> = std::thread::scope(|scope| {
            let work = || compare_some(disk, &entries, &next, interrupt);
            let handles: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            handles.into_iter().map(|handle| handle.join()).collect()
        });
        let mut different = Vec::new();
        for result in results {
            different.extend(result.map_err(|_| LoadError::EndedEarly)??);
        }
        let bytes = entries.iter().map(|(range, _)| range.byte_len()).sum();
        match different.iter().min() {
            None => Ok(bytes),
            Some(first) => Err(LoadError::Verify {
                first: *first,
                count: u64::try_from(different.len()).unwrap_or(u64::MAX),
            }),
        }
    }
}

fn compare_some(
    disk: &dyn ReadDisk,
    entries: &[Entry],
    next: &AtomicUsize,
    interrupt: &Interrupt,
) -> Result<Vec<SectorRange>, LoadError> {
    let mut different = Vec::new();
    let mut buf = vec![0; STEP];
    while let Some((range, digest)) = entries.get(next.fetch_add(1, Relaxed)) {
        if interrupt.is_set() {
            return Err(LoadError::Interrupted);
        }
        if !reads_as(disk, *range, digest.as_ref(), &mut buf)? {
            different.push(*range);
        }
    }
    Ok(different)
}

/// True when `range` holds what `digest` stands for, or zeros.
fn reads_as(
    disk: &dyn ReadDisk,
    range: SectorRange,
    digest: Option<&Digest>,
    buf: &mut [u8],
) -> Result<bool, DiskError> {
    let mut hasher = blake3::Hasher::new();
    let mut at = range.byte_offset();
    let end = range.byte_end();
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(buf.len());
        let part = buf.get_mut(..len).unwrap_or_default();
        // A file may end inside its last sector; what it lacks was zero when it was written.
        let there = usize::try_from(disk.size_bytes().saturating_sub(at)).unwrap_or(usize::MAX);
        let (read, missing) = part.split_at_mut(there.min(len));
        disk.read_at(read, at)?;
        missing.fill(0);
        match digest {
            Some(_) => {
                hasher.update(part);
            }
            None if part.iter().any(|byte| *byte != 0) => return Ok(false),
            None => {}
        }
        at += u64::try_from(len).unwrap_or(0);
    }
    Ok(digest.is_none_or(|digest| short(&hasher) == *digest))
}

fn short(hasher: &blake3::Hasher) -> Digest {
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    digest
}
