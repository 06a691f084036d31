//! Reading what a failing disk still gives.
//!
//! What it owns: the retry sector by sector. What it never does: hide a loss; every sector that
//! could not be read is named, and reads as zeros.

use super::{DiskError, ReadDisk};
use crate::units::{SECTOR_SIZE, Sector, SectorCount, SectorRange};
use rustix::io::Errno;

/// A read of this length that fails is tried again sector by sector.
const PIECE_BYTES: u64 = 64 << 10;

/// Fills `buf` from a byte offset as [`ReadDisk::read_at`] does, but fills logical sectors that the
/// disk cannot read with zeros and returns them, in order, in ranges.
///
/// # Errors
/// When the failure is not that of sectors: the disk is gone, or ends before `buf` does.
pub fn rescue_read(
    disk: &dyn ReadDisk,
    buf: &mut [u8],
    offset: u64,
) -> Result<Vec<SectorRange>, DiskError> {
    let mut lost = Vec::new();
    match disk.read_at(buf, offset) {
        Err(error) if is_bad_sector(&error) => {}
        other => return other.map(|()| lost),
    }
    let sector = u64::from(disk.logical_sector_bytes()).max(512);
    for_pieces(buf, offset, PIECE_BYTES, |piece, at| {
        match disk.read_at(piece, at) {
            Err(error) if is_bad_sector(&error) => {}
            other => return other,
        }
        for_pieces(piece, at, sector, |part, at| match disk.read_at(part, at) {
            Err(error) if is_bad_sector(&error) => {
                part.fill(0);
                note(&mut lost, at, sector, disk.sectors());
                Ok(())
            }
            other => other,
        })
    })?;
    Ok(lost)
}

/// Calls `work` for the parts of `buf` between multiples of `grid` on the disk.
fn for_pieces(
    buf: &mut [u8],
    offset: u64,
    grid: u64,
    mut work: impl FnMut(&mut [u8], u64) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    let (mut rest, mut at) = (buf, offset);
    while !rest.is_empty() {
        let to_next = grid - at % grid;
        let take = usize::try_from(to_next).unwrap_or(rest.len()).min(rest.len());
        let (part, left) = rest.split_at_mut(take);
        work(part, at)?;
        at += to_next;
        rest = left;
    }
    Ok(())
}

/// Adds the logical sector that holds byte `at`, as far as the disk has it.
fn note(lost: &mut Vec<SectorRange>, at: u64, sector_bytes: u64, disk: SectorCount) {
    // A rest of less than a sector at the end of a file counts as one.
    let limit = SectorRange::whole(disk).end().get().max(at / SECTOR_SIZE + 1);
    let start = (at - at % sector_bytes) / SECTOR_SIZE;
    let end = (start + sector_bytes / SECTOR_SIZE).min(limit);
    let sector = |index| Sector::new(index).unwrap_or_default();
    let Some(range) = SectorRange::new(sector(start), sector(end)) else { return };
    if let Some(last) = lost.last_mut()
        && last.end() >= range.start()
    {
        *last = SectorRange::new(last.start(), range.end()).unwrap_or(range);
    } else {
        lost.push(range);
    }
}

/// True for what the block layer reports of a sector, and not of the disk as a whole.
fn is_bad_sector(error: &DiskError) -> bool {
    matches!(
        Errno::from_io_error(&error.source),
        // Medium errors, data that fails its check, target errors, commands that timed out.
        Some(Errno::IO | Errno::NODATA | Errno::ILSEQ | Errno::REMOTEIO | Errno::TIMEDOUT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::FaultyDisk;
    use crate::disk::memory::MemoryDisk;
    use proptest::prelude::*;

    proptest! {
        /// Exactly the unreadable logical sectors are lost; all else is as on the disk.
        #[test]
        fn only_bad_sectors_are_lost(
            bad in prop::collection::vec((0u32..600, 1u32..9), 0..6),
            offset in 0u64..100_000,
            len in 1usize..190_000,
            large in any::<bool>(),
        ) {
            let bytes: Vec<u8> = (0u32..600 * 512).map(|i| u8::try_from(i % 251 + 1).unwrap()).collect();
            let range = |start: u32, len: u32| {
                SectorRange::new(Sector::from_u32(start), Sector::from_u32((start + len).min(600))).unwrap()
            };
            let bad: crate::sector_set::SectorSet = bad.into_iter().map(|(s, l)| range(s, l)).collect();
            let sector = if large { 4096 } else { 512 };
            let memory = MemoryDisk::new(bytes.clone()).with_logical_sector_bytes(sector);
            let disk = FaultyDisk::new(memory).with_unreadable(bad.clone());
            let mut buf = vec![0xEE; len];
            let lost: crate::sector_set::SectorSet =
                rescue_read(&disk, &mut buf, offset).unwrap().into_iter().collect();
            let cell = SectorCount::from_u32(sector / 512);
            let limit = Sector::from_u32(600);
            let widened: crate::sector_set::SectorSet =
                bad.ranges().iter().map(|r| r.widen_to_grid(cell, limit)).collect();
            let end = offset + u64::try_from(len).unwrap();
            let touched = SectorRange::new(
                Sector::containing_byte(offset).unwrap(),
                Sector::new(end.div_ceil(512)).unwrap(),
            ).unwrap().widen_to_grid(cell, limit);
            let expected = widened.intersection(&[touched].into_iter().collect());
            prop_assert_eq!(&lost, &expected);
            let from = usize::try_from(offset).unwrap();
            for (i, byte) in buf.iter().enumerate() {
                let at = Sector::containing_byte(offset + u64::try_from(i).unwrap()).unwrap();
                prop_assert_eq!(*byte, if lost.contains(at) { 0 } else { bytes[from + i] });
            }
        }
    }

    #[test]
    fn the_end_of_the_disk_is_not_a_bad_sector() {
        let disk = MemoryDisk::new(vec![0; 1024]);
        assert!(rescue_read(&disk, &mut [0; 2048], 0).is_err());
    }
}
