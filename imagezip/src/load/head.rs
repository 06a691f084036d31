//! The first sectors of what is loaded, held back until everything else is on the disk.
//!
//! What it owns: the promise that a broken load never looks whole. The partition table (or, on a
//! bare filesystem, its superblock) stands in the first sectors; they are made zero before the
//! first write and get their content after the last one. What it never does: write.

use crate::partition::Patch;
use crate::sector_set::SectorSet;
use crate::units::{SECTOR_LEN, Sector, SectorCount, SectorRange};

/// Sectors held back: 1 MiB, which holds every MBR, GPT and boot area up to the first partition
/// of a disk partitioned by any tool of the last fifteen years.
pub const HEAD: SectorCount = SectorCount::from_u32(2048);

/// The first sectors of a target, collected in memory.
#[derive(Debug)]
pub(super) struct Head {
    range: SectorRange,
    bytes: Vec<u8>,
    known: SectorSet,
}

impl Head {
    /// An empty head of a target of this many sectors.
    pub(super) fn new(target: SectorCount) -> Self {
        let range = SectorRange::whole(target).split_at(HEAD).0;
        let len = usize::try_from(range.byte_len()).unwrap_or(0);
        Self { range, bytes: vec![0; len], known: SectorSet::empty() }
    }

    /// Which sectors are held back.
    pub(super) fn range(&self) -> SectorRange {
        self.range
    }

    /// Takes what belongs to the head; returns what does not, to be written.
    pub(super) fn take<'a>(&mut self, start: Sector, bytes: &'a [u8]) -> (Sector, &'a [u8]) {
        let count = u64::try_from(bytes.len() / SECTOR_LEN).ok().and_then(SectorCount::new);
        let Some(range) = count.and_then(|count| SectorRange::with_count(start, count)) else {
            return (start, bytes);
        };
        let Some(mine) = range.intersection(self.range) else { return (start, bytes) };
        let len = usize::try_from(mine.byte_len()).unwrap_or(0).min(bytes.len());
        let (now, later) = bytes.split_at(len);
        self.put(mine.byte_offset(), now);
        self.known = self.known.union(&SectorSet::from_range(mine));
        (mine.end(), later)
    }

    /// Notes that a range is zero; returns the part that does not belong to the head.
    pub(super) fn take_zero(&mut self, range: SectorRange) -> SectorRange {
        let Some(mine) = range.intersection(self.range) else { return range };
        let len = usize::try_from(mine.byte_len()).unwrap_or(0);
        self.put(mine.byte_offset(), &vec![0; len]);
        self.known = self.known.union(&SectorSet::from_range(mine));
        range.after(mine.end())
    }

    /// Changes bytes; what lies beyond the head is not touched and false is returned.
    pub(super) fn patch(&mut self, patch: &Patch) -> bool {
        let end = patch.offset.saturating_add(u64::try_from(patch.bytes.len()).unwrap_or(u64::MAX));
        if end > self.range.byte_end() {
            return false;
        }
        self.put(patch.offset, &patch.bytes);
        let first = Sector::containing_byte(patch.offset).unwrap_or_default();
        let last = SectorCount::holding_bytes(end).unwrap_or_default();
        let touched = SectorRange::whole(last).after(first);
        self.known = self.known.union(&SectorSet::from_range(touched));
        true
    }

    /// The runs of sectors that are known, with their content, in ascending order.
    pub(super) fn runs(&self) -> impl Iterator<Item = (Sector, &[u8])> + '_ {
        self.known.ranges().iter().map(|range| {
            let from = usize::try_from(range.byte_offset()).unwrap_or(usize::MAX);
            let to = usize::try_from(range.byte_end()).unwrap_or(usize::MAX);
            (range.start(), self.bytes.get(from..to).unwrap_or_default())
        })
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let to = from.saturating_add(bytes.len());
        if let Some(room) = self.bytes.get_mut(from..to) {
            room.copy_from_slice(bytes);
        }
    }
}
