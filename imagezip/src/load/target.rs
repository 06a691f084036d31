//! Writing an image onto a disk, chunk by chunk, in any order, from many threads.
//!
//! What it owns: what reaches the disk and in which order where that matters: the head is made
//! zero first and written last, after a flush. What it never does: decide whether an image suits
//! the disk ([`super::fit`] does that before).

use super::error::{LoadError, Refusal};
use super::fit::Fit;
use super::head::Head;
use super::read_back::ReadBackLog;
use crate::disk::{DiskError, WriteDisk};
use crate::interrupt::Interrupt;
use crate::ndz::decode::DecodeError;
use crate::ndz::{ChunkHeader, Decoder, RegionSink, VerifiedChunk};
use crate::partition::Patch;
use crate::progress::{Progress, Stage};
use crate::sector_set::SectorSet;
use crate::units::{SECTOR_LEN, Sector, SectorCount, SectorRange};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What becomes of sectors that are free in the image.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FreeSpace {
    /// They stay as they are.
    #[default]
    Leave,
    /// They are made zero.
    Zero,
    /// The target is discarded (TRIM) before the first write.
    Trim,
    /// They are filled with this number, little-endian, over and over.
    Pattern(u32),
}

/// How a target is written.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// The partition the image goes into; `None` for the whole disk.
    pub partition: Option<SectorRange>,
    /// What becomes of free space.
    pub free: FreeSpace,
    /// The target reads as zeros everywhere (a file just made): zeros need not be written.
    pub blank: bool,
    /// Note what is written, for [`Target::verify`].
    pub read_back: bool,
}

/// A disk being loaded.
pub struct Target<'a> {
    disk: &'a dyn WriteDisk,
    /// Where on the disk sector 0 of the image goes, and what is the image's to write.
    window: SectorRange,
    fit: Fit,
    options: TargetOptions,
    head: Mutex<Head>,
    /// Where the head ends: nothing from there on needs its lock.
    head_end: Sector,
    log: ReadBackLog,
    progress: &'a Progress,
}

/// Bytes of pattern written at a time.
const PATTERN_LEN: usize = 1 << 20;

impl<'a> Target<'a> {
    /// A target that nothing has been written to yet.
    pub fn new(
        disk: &'a dyn WriteDisk,
        fit: Fit,
        options: TargetOptions,
        progress: &'a Progress,
    ) -> Self {
        let size = SectorCount::holding_bytes(disk.size_bytes()).unwrap_or_default();
        let window = options.partition.unwrap_or(SectorRange::whole(size));
        let head = Head::new(window.count());
        let head_end = head.range().end();
        let head = Mutex::new(head);
        Self { disk, window, fit, options, head, head_end, log: ReadBackLog::default(), progress }
    }

    /// The partition the image goes into; `None` for the whole disk.
    pub fn partition(&self) -> Option<SectorRange> {
        self.options.partition
    }

    /// The first write: takes away what would make the target look whole (partition table, first
    /// superblock, backup GPT), so that nothing that is not complete can be taken for it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin(&self) -> Result<(), LoadError> {
        if self.options.blank {
            return Ok(());
        }
        let head = self.head().range();
        self.zero_now(self.on_disk(head)?)?;
        if self.options.partition.is_none() {
            for range in old_backup_gpt(self.disk)? {
                self.disk.zero(range)?;
            }
        }
        self.disk.sync()?;
        if self.options.free == FreeSpace::Trim {
            self.disk.discard(self.whole_sectors(self.window.after(self.on_disk(head)?.end())))?;
        }
        Ok(())
    }

    /// Decodes a chunk and writes what it holds.
    ///
    /// # Errors
    /// When its payload is damaged (then none of it has been written) or the disk fails.
    pub fn write_chunk(
        &self,
        decoder: &mut Decoder,
        chunk: &VerifiedChunk<'_>,
    ) -> Result<(), LoadError> {
        let mut sink = Sink { target: self, writing: Duration::ZERO };
        let start = Instant::now();
        let decoded = decoder.decode(chunk, &mut sink);
        self.progress.book(Stage::Compute, start.elapsed().saturating_sub(sink.writing));
        self.progress.book(Stage::Output, sink.writing);
        decoded.map_err(|error| match error {
            DecodeError::Format(error) => error.into(),
            DecodeError::Sink(error) => error,
        })?;
        self.fill_gaps(chunk.header())?;
        let sectors = chunk.header().data_sectors().get() + chunk.header().zero_sectors().get();
        self.progress.done_bytes.fetch_add(sectors * crate::units::SECTOR_SIZE, Relaxed);
        Ok(())
    }

    /// Fills what no chunk answered for: the space behind the image's end. In V1, whose chunks have
    /// no bounds, all free space; `allocated` is what the image wrote. A file just made ends where
    /// the image does.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn fill_rest(
        &self,
        source: SectorCount,
        allocated: Option<&SectorSet>,
    ) -> Result<(), LoadError> {
        let source = SectorRange::whole(source).end();
        let all = SectorRange::whole(self.window.count());
        let all = if self.options.blank { all.until(source) } else { all };
        match allocated {
            Some(allocated) => {
                allocated.complement(all).ranges().iter().try_for_each(|free| self.fill(*free))
            }
            None => self.fill(all.after(source)),
        }
    }

    /// Puts everything on stable storage, and the head last.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish(&self) -> Result<(), LoadError> {
        self.disk.sync()?;
        let mut head = self.head();
        for patch in &self.fit.patches {
            if !head.patch(patch) {
                self.write_patch(patch)?;
            }
        }
        // The backup before the primary, the first sector of all last.
        let runs: Vec<_> = head.runs().collect();
        for (start, bytes) in runs.iter().rev() {
            let len = SECTOR_LEN.min(bytes.len());
            let first = if *start == Sector::ZERO { len } else { 0 };
            let rest = bytes.get(first..).unwrap_or_default();
            let after = SectorCount::whole_in_bytes(to_u64(first)).unwrap_or_default();
            self.write_now(start.checked_add(after).unwrap_or(*start), rest)?;
        }
        if let Some((Sector::ZERO, bytes)) = runs.first() {
            self.disk.sync()?;
            self.write_now(Sector::ZERO, bytes.get(..SECTOR_LEN).unwrap_or(bytes))?;
        }
        Ok(self.disk.sync()?)
    }

    /// Reads everything that was written back from `disk`, the target opened past the cache, and
    /// returns how many bytes were compared.
    ///
    /// # Errors
    /// When something differs or cannot be read.
    pub fn verify(
        self,
        disk: &dyn crate::disk::ReadDisk,
        threads: usize,
        interrupt: &Interrupt,
    ) -> Result<u64, LoadError> {
        self.log.compare(disk, threads, interrupt)
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a range of the image lies on the disk.
    fn on_disk(&self, range: SectorRange) -> Result<SectorRange, LoadError> {
        let by = self.window.start().distance_from(Sector::ZERO).unwrap_or_default();
        let moved = range.checked_shift(by).filter(|moved| self.window.contains_range(*moved));
        moved.ok_or_else(|| {
            let needed = range.end().distance_from(Sector::ZERO).unwrap_or_default();
            Refusal::TooSmall { needed, target: self.window.count() }.into()
        })
    }

    /// Writes sectors that do not belong to the head and are not to be skipped.
    fn write(&self, start: Sector, bytes: &[u8]) -> Result<(), LoadError> {
        let count = SectorCount::whole_in_bytes(to_u64(bytes.len())).unwrap_or_default();
        let range = SectorRange::with_count(start, count).unwrap_or_default();
        if self.fit.skip.within(range).next().is_none() {
            return self.write_now(start, bytes);
        }
        for part in self.fit.skip.complement(range).ranges() {
            let from = to_usize(part.byte_offset() - range.byte_offset());
            let bytes = bytes.get(from..from + to_usize(part.byte_len())).unwrap_or_default();
            self.write_now(part.start(), bytes)?;
        }
        Ok(())
    }

    fn write_now(&self, start: Sector, bytes: &[u8]) -> Result<(), LoadError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let count = SectorCount::whole_in_bytes(to_u64(bytes.len())).unwrap_or_default();
        let range = self.on_disk(SectorRange::with_count(start, count).unwrap_or_default())?;
        // A file may end inside its last sector.
        let there = to_usize(self.disk.size_bytes().saturating_sub(range.byte_offset()));
        let real = bytes.get(..there.min(bytes.len())).unwrap_or_default();
        self.disk.write_at(real, range.byte_offset())?;
        if self.options.read_back {
            self.log.note(range, bytes);
        }
        Ok(())
    }

    fn write_patch(&self, patch: &Patch) -> Result<(), DiskError> {
        let offset = self.window.byte_offset() + patch.offset;
        self.disk.write_at(&patch.bytes, offset)
    }

    fn zero(&self, range: SectorRange) -> Result<(), LoadError> {
        let in_head = range.start() < self.head_end;
        let range = if in_head { self.head().take_zero(range) } else { range };
        for part in self.fit.skip.complement(range).ranges() {
            let there = self.on_disk(*part)?;
            if !self.options.blank {
                self.zero_now(there)?;
            }
            if self.options.read_back {
                self.log.note_zero(there);
            }
        }
        Ok(())
    }

    /// Makes a range of the disk zero, also where a file ends inside its last sector.
    fn zero_now(&self, range: SectorRange) -> Result<(), DiskError> {
        let whole = self.whole_sectors(range);
        self.disk.zero(whole)?;
        let short = range.byte_end().min(self.disk.size_bytes()).saturating_sub(whole.byte_end());
        match [0; SECTOR_LEN].get(..to_usize(short)) {
            Some(rest) if !rest.is_empty() => self.disk.write_at(rest, whole.byte_end()),
            _ => Ok(()),
        }
    }

    /// The part of a range of the disk that does not reach into a short last sector.
    fn whole_sectors(&self, range: SectorRange) -> SectorRange {
        let end = SectorRange::whole(self.disk.sectors()).end();
        range.until(end.max(range.start()))
    }

    /// Treats the free space inside a chunk's bounds as the options say.
    fn fill_gaps(&self, header: &ChunkHeader) -> Result<(), LoadError> {
        let Some(bounds) = header.bounds else { return Ok(()) };
        if matches!(self.options.free, FreeSpace::Leave | FreeSpace::Trim) {
            return Ok(());
        }
        // Free space of the source beyond a smaller target is nobody's.
        let bounds = bounds.until(SectorRange::whole(self.window.count()).end());
        let used: SectorSet = header.regions.iter().map(|region| region.range).collect();
        used.complement(bounds).ranges().iter().try_for_each(|free| self.fill(*free))
    }

    /// Fills a free range.
    fn fill(&self, range: SectorRange) -> Result<(), LoadError> {
        let pattern = match self.options.free {
            FreeSpace::Leave | FreeSpace::Trim => return Ok(()),
            FreeSpace::Zero => return self.zero(range),
            FreeSpace::Pattern(pattern) => pattern,
        };
        let len = to_usize(range.byte_len()).min(PATTERN_LEN);
        let block: Vec<u8> = pattern.to_le_bytes().into_iter().cycle().take(len).collect();
        let mut rest = range;
        while !rest.is_empty() {
            let step = SectorCount::whole_in_bytes(to_u64(PATTERN_LEN)).unwrap_or_default();
            let (now, later) = rest.split_at(step);
            let bytes = block.get(..to_usize(now.byte_len())).unwrap_or_default();
            self.data(now.start(), bytes)?;
            rest = later;
        }
        Ok(())
    }

    fn data(&self, start: Sector, bytes: &[u8]) -> Result<(), LoadError> {
        let in_head = start < self.head_end;
        let (start, bytes) = if in_head { self.head().take(start, bytes) } else { (start, bytes) };
        self.write(start, bytes)
    }
}

/// Hands what a decoder yields to the target.
struct Sink<'t, 'a> {
    target: &'t Target<'a>,
    writing: Duration,
}

impl Sink<'_, '_> {
    fn timed(&mut self, work: impl FnOnce() -> Result<(), LoadError>) -> Result<(), LoadError> {
        let start = Instant::now();
        let result = work();
        self.writing += start.elapsed();
        result
    }
}

impl RegionSink for Sink<'_, '_> {
    type Error = LoadError;

    fn data(&mut self, start: Sector, bytes: &[u8]) -> Result<(), LoadError> {
        let target = self.target;
        self.timed(|| target.data(start, bytes))
    }

    fn zero(&mut self, range: SectorRange) -> Result<(), LoadError> {
        let target = self.target;
        self.timed(|| target.zero(range))
    }
}

/// Where a GPT header stands in the last logical sector, for 512 and 4096 bytes.
fn old_backup_gpt(disk: &dyn WriteDisk) -> Result<Vec<SectorRange>, DiskError> {
    let mut found = Vec::new();
    let whole = SectorRange::whole(disk.sectors());
    for sectors in [1, 8] {
        let count = SectorCount::from_u32(sectors);
        let Some(start) = whole.end().checked_sub(count) else { continue };
        let mut signature = [0; 8];
        disk.read_at(&mut signature, start.byte_offset())?;
        if &signature == b"EFI PART" {
            found.push(whole.after(start));
        }
    }
    Ok(found)
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
