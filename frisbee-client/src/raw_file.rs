//! Loading any file as it is (`-N`).
//!
//! What it owns: the file's exact length, and its head, which is written last. What it never does:
//! look into it; UDP's checksum is all that protects the bytes.

use crate::args::Shares;
use crate::error::ClientError;
use crate::image::joined;
use crate::report::Written;
use crate::work::{Chunk, Work};
use crate::workers::{Failure, Workers};
use crossbeam_channel::Receiver;
use imagezip::disk::{ReadDisk, WriteDisk};
use imagezip::load::{HEAD, LoadError, Place, Refusal};
use imagezip::progress::Stage;
use imagezip::units::{SECTOR_SIZE, SectorCount};
use proto::geometry::Geometry;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

/// Writes the file that the receiver hands over to `place`.
///
/// # Errors
/// When it does not fit, or the target fails.
pub(crate) fn load_file(
    shares: Shares,
    mut place: Place,
    work: &Receiver<Work>,
    workers: &Workers<'_>,
) -> Result<Written, ClientError> {
    let geometry = joined(work)?;
    place.set_source_bytes(geometry.bytes()).map_err(LoadError::from)?;
    let room = place.disk().size_bytes();
    if geometry.bytes() > room {
        let sectors = |bytes| SectorCount::holding_bytes(bytes).unwrap_or_default();
        let needed = sectors(geometry.bytes());
        return Err(LoadError::from(Refusal::TooSmall { needed, target: sectors(room) }).into());
    }
    let status = workers.status();
    status.set_touched(!place.is_new());
    let disk = place.disk();
    // Nobody sees a new file before it is complete; it needs no such care.
    let head = Head::new(if place.is_new() { 0 } else { geometry.bytes() });
    head.begin(disk)?;
    workers.run(shares.threads, Vec::new(), work, || {
        let (geometry, head) = (&geometry, &head);
        move |chunk: &Chunk| {
            let bytes = part_of_file(chunk, geometry);
            let (offset, later) = head.take(geometry.offset(chunk.number, 0), bytes);
            status
                .progress
                .time(Stage::Output, || disk.write_at(later, offset))
                .map_err(LoadError::from)?;
            let len = u64::try_from(bytes.len()).unwrap_or(0);
            status.progress.done_bytes.fetch_add(len, Relaxed);
            status.expanded_bytes.fetch_add(len, Relaxed);
            Ok::<(), Failure>(())
        }
    })?;
    if status.chunks_left() > 0 {
        return Err(LoadError::EndedEarly.into());
    }
    disk.sync().map_err(LoadError::from)?;
    head.finish(disk)?;
    status.set_touched(false);
    place.commit()?;
    Ok(Written::File { bytes: geometry.bytes() })
}

/// The last block is padded on the wire, and the last chunk's buffer is longer than the chunk.
fn part_of_file<'c>(chunk: &'c Chunk, geometry: &Geometry) -> &'c [u8] {
    let len = usize::try_from(geometry.bytes_in(chunk.number)).unwrap_or(usize::MAX);
    chunk.bytes.get(..len).unwrap_or_default()
}

/// The first bytes of the file, held back until all others are on the disk: there stand the
/// partition table and the first superblock, without which a load that broke off looks like none.
struct Head {
    bytes: Mutex<Vec<u8>>,
}

impl Head {
    /// The head of a file of this many bytes.
    fn new(file_bytes: u64) -> Self {
        let len = file_bytes.min(HEAD.get().saturating_mul(SECTOR_SIZE));
        Self { bytes: Mutex::new(vec![0; usize::try_from(len).unwrap_or(0)]) }
    }

    /// The first write: takes away what stood where the head will stand.
    fn begin(&self, disk: &dyn WriteDisk) -> Result<(), LoadError> {
        self.write(disk) // still zero
    }

    /// Keeps what belongs to the head; returns the rest, and where it goes.
    fn take<'b>(&self, offset: u64, bytes: &'b [u8]) -> (u64, &'b [u8]) {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut head = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(room) = head.get_mut(from..) else { return (offset, bytes) };
        let (mine, later) = bytes.split_at(room.len().min(bytes.len()));
        if let Some(room) = room.get_mut(..mine.len()) {
            room.copy_from_slice(mine);
        }
        (offset.saturating_add(u64::try_from(mine.len()).unwrap_or(0)), later)
    }

    /// The last write.
    fn finish(&self, disk: &dyn WriteDisk) -> Result<(), LoadError> {
        self.write(disk)
    }

    fn write(&self, disk: &dyn WriteDisk) -> Result<(), LoadError> {
        let head = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if !head.is_empty() {
            disk.write_at(&head, 0)?;
            disk.sync()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_takes_what_is_its_own() {
        const LEN: usize = 1 << 20;
        let head = Head::new(u64::MAX);
        let bytes = vec![7; 100];
        assert_eq!(head.take(10, &bytes), (110, &bytes[100..]));
        let border = u64::try_from(LEN).unwrap();
        assert_eq!(head.take(border - 30, &bytes), (border, &bytes[30..]));
        for beyond in [border, u64::MAX] {
            assert_eq!(head.take(beyond, &bytes), (beyond, &bytes[..]));
        }
        let kept = head.bytes.into_inner().unwrap();
        assert_eq!(kept.len(), LEN);
        assert_eq!(kept.iter().filter(|byte| **byte == 7).count(), 130);
        assert_eq!(Head::new(513).bytes.into_inner().unwrap().len(), 513, "not a byte more");
    }
}
