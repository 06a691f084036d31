//! Loading any file as it is (`-N`).
//!
//! What it owns: the file's exact length. What it never does: look into it; UDP's checksum is all
//! that protects the bytes.

use crate::args::Shares;
use crate::error::ClientError;
use crate::image::joined;
use crate::report::Written;
use crate::work::{Chunk, Work};
use crate::workers::{Failure, Workers};
use crossbeam_channel::Receiver;
use imagezip::disk::{ReadDisk, WriteDisk};
use imagezip::load::{LoadError, Place, Refusal};
use imagezip::progress::Stage;
use imagezip::units::SectorCount;
use proto::geometry::Geometry;
use std::sync::atomic::Ordering::Relaxed;

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
    workers.run(shares.threads, Vec::new(), work, || {
        let geometry = &geometry;
        move |chunk: &Chunk| {
            let bytes = part_of_file(chunk, geometry);
            let offset = geometry.offset(chunk.number, 0);
            status
                .progress
                .time(Stage::Output, || disk.write_at(bytes, offset))
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
    status.set_touched(false);
    place.commit()?;
    Ok(Written::File { bytes: geometry.bytes() })
}

/// The last block is padded on the wire, and the last chunk's buffer is longer than the chunk.
fn part_of_file<'c>(chunk: &'c Chunk, geometry: &Geometry) -> &'c [u8] {
    let len = usize::try_from(geometry.bytes_in(chunk.number)).unwrap_or(usize::MAX);
    chunk.bytes.get(..len).unwrap_or_default()
}
