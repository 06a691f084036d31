//! A logical volume as a disk, read through its extents.
//!
//! What it owns: the way from a sector of the volume to one of the physical volume, for reading, and
//! for sets of sectors. What it never does: write.

use crate::disk::{DiskError, ReadDisk};
use crate::sector_set::SectorSet;
use crate::units::{SECTOR_SIZE, Sector, SectorCount, SectorRange};

/// Most ranges of a set that are mapped one by one when they are striped; each can become many.
const STRIPED_RANGES_MAX: usize = 1 << 18;

/// A segment, in sectors.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where it is in the logical volume.
    pub(super) range: SectorRange,
    /// Where each of its areas begins on the physical volume.
    pub(super) areas: Vec<Sector>,
    /// Sectors of a stripe, a divisor of the length of an area; with one area, that length.
    pub(super) stripe: SectorCount,
}

/// A logical volume on one physical volume.
pub(super) struct View<'a> {
    disk: &'a dyn ReadDisk,
    /// Ascending, without gaps, from sector 0.
    pieces: Vec<Piece>,
}

impl Piece {
    /// A run of sectors of one stripe: `sector` of the logical volume is at the start of the answer.
    fn run_at(&self, sector: Sector) -> Option<SectorRange> {
        let within = sector.distance_from(self.range.start())?.get();
        let stripe = self.stripe.get().max(1);
        let areas = u64::try_from(self.areas.len()).ok()?.max(1);
        let (chunk, offset) = (within / stripe, within % stripe);
        let area = self.areas.get(usize::try_from(chunk % areas).ok()?)?;
        let start = SectorCount::new((chunk / areas) * stripe + offset)?;
        let run =
            SectorRange::with_count(area.checked_add(start)?, SectorCount::new(stripe - offset)?)?;
        Some(run)
    }

    /// Adds where `range`, which lies inside, is on the physical volume.
    fn map(&self, range: SectorRange, to: &mut Vec<SectorRange>) -> Option<()> {
        let areas = u64::try_from(self.areas.len()).ok()?.max(1);
        let row = self.stripe.get().checked_mul(areas)?.max(1);
        let mut at = range.start();
        while at < range.end() {
            let within = at.distance_from(self.range.start())?.get();
            let left = range.end().distance_from(at)?.get();
            if within % row == 0 && left >= row {
                // Whole rows: one run in each area.
                let rows = left / row;
                let len = SectorCount::new(rows * self.stripe.get())?;
                let start = SectorCount::new(within / areas)?;
                for area in &self.areas {
                    to.push(SectorRange::with_count(area.checked_add(start)?, len)?);
                }
                at = at.checked_add(SectorCount::new(rows * row)?)?;
            } else {
                let run = self.run_at(at)?;
                let (part, _) = run.split_at(SectorCount::new(left)?);
                to.push(part);
                at = at.checked_add(part.count())?;
            }
        }
        Some(())
    }
}

impl<'a> View<'a> {
    /// The volume that these pieces make.
    pub(super) fn new(disk: &'a dyn ReadDisk, pieces: Vec<Piece>) -> Self {
        Self { disk, pieces }
    }

    fn end(&self) -> Sector {
        self.pieces.last().map_or(Sector::ZERO, |piece| piece.range.end())
    }

    /// Where sectors of the volume are on the physical volume; `None` when one is not on it.
    pub(super) fn map(&self, set: &SectorSet) -> Option<SectorSet> {
        let mut coarse;
        let mut set = set;
        let striped = self.pieces.iter().any(|piece| piece.areas.len() > 1);
        let mut gap_min = SectorCount::from_u32(16);
        while striped && set.len() > STRIPED_RANGES_MAX {
            gap_min = gap_min.checked_add(gap_min)?;
            coarse = set.close_gaps(gap_min);
            set = &coarse;
        }
        if set.end() > self.end() {
            return None;
        }
        let mut mapped = Vec::new();
        let mut pieces = self.pieces.iter().peekable();
        for range in set.ranges() {
            let mut rest = *range;
            while !rest.is_empty() {
                while pieces.next_if(|piece| piece.range.end() <= rest.start()).is_some() {}
                let piece = pieces.peek()?;
                let part = rest.intersection(piece.range)?;
                piece.map(part, &mut mapped)?;
                rest = rest.after(part.end());
            }
        }
        Some(mapped.into_iter().collect())
    }
}

impl ReadDisk for View<'_> {
    fn size_bytes(&self) -> u64 {
        self.end().byte_offset()
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.disk.logical_sector_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        let past_end = || DiskError::past_end(offset, buf.len(), self.size_bytes());
        let len = u64::try_from(buf.len()).map_err(|_| past_end())?;
        if offset.checked_add(len).is_none_or(|end| end > self.size_bytes()) {
            return Err(past_end());
        }
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            let lost = || DiskError::past_end(at, rest.len(), self.size_bytes());
            let sector = Sector::containing_byte(at).ok_or_else(lost)?;
            let index = self.pieces.partition_point(|piece| piece.range.end() <= sector);
            let piece = self.pieces.get(index).ok_or_else(lost)?;
            let run = piece.run_at(sector).ok_or_else(lost)?;
            let skip = at % SECTOR_SIZE;
            let len = usize::try_from(run.byte_len() - skip).unwrap_or(usize::MAX).min(rest.len());
            let (part, behind) = rest.split_at_mut(len);
            self.disk.read_at(part, run.byte_offset() + skip)?;
            at += u64::try_from(len).unwrap_or(u64::MAX);
            rest = behind;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;
    use proptest::prelude::*;

    /// Volumes of random pieces on a disk of 400 sectors, none used twice.
    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let shape = (1usize..4, 1u32..4, 1u32..5);
        prop::collection::vec(shape, 1..6).prop_map(|shapes| {
            let (mut at, mut lv) = (7, 0);
            let mut pieces = Vec::new();
            for (areas, stripe, rows) in shapes {
                let len = stripe * rows;
                let mut starts: Vec<_> = (0..areas)
                    .map(|_| {
                        at += len + 3;
                        Sector::from_u32(at - len)
                    })
                    .collect();
                starts.reverse();
                let end = lv + len * u32::try_from(areas).unwrap();
                let range = SectorRange::new(Sector::from_u32(lv), Sector::from_u32(end)).unwrap();
                let stripe = if areas == 1 { len } else { stripe };
                let stripe = SectorCount::from_u32(stripe);
                pieces.push(Piece { range, areas: starts, stripe });
                lv = end;
            }
            pieces
        })
    }

    proptest! {
        /// What is read of a set is what stands in the mapped set, sector by sector.
        #[test]
        fn reads_and_maps_agree(pieces in pieces(), wanted in prop::collection::vec((0u32..150, 1u32..40), 0..8)) {
            let bytes: Vec<u8> = (0..600u32).flat_map(|s| s.to_le_bytes().repeat(128)).collect();
            let disk = MemoryDisk::new(bytes);
            let view = View::new(&disk, pieces);
            let size = view.sectors();
            let at = |sector: u64| {
                let mut word = [0; 4];
                view.read_at(&mut word, sector * 512 + 508).unwrap();
                u64::from(u32::from_le_bytes(word))
            };
            let set: SectorSet = wanted.iter().filter_map(|(start, len)| {
                let range = SectorRange::new(Sector::from_u32(*start), Sector::from_u32(start + len))?;
                range.intersection(SectorRange::whole(size))
            }).collect();
            let expected: SectorSet = set.ranges().iter()
                .flat_map(|r| r.start().get()..r.end().get())
                .map(|sector| SectorRange::with_count(Sector::new(at(sector)).unwrap(), SectorCount::from_u32(1)).unwrap())
                .collect();
            prop_assert_eq!(view.map(&set).unwrap(), expected);
            // One read over everything is the same as many small ones.
            let mut all = vec![0; usize::try_from(view.size_bytes()).unwrap() - 9];
            view.read_at(&mut all, 5).unwrap();
            for (i, byte) in (0u64..).zip(&all) {
                let sector = at((i + 5) / 512);
                prop_assert_eq!(*byte, sector.to_le_bytes()[usize::try_from((i + 5) % 4).unwrap()]);
            }
            let mut byte = [0];
            prop_assert!(view.read_at(&mut byte, view.size_bytes()).is_err());
        }
    }
}
