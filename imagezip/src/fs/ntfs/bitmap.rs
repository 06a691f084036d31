//! The allocation map: `$Bitmap`.
//!
//! What it owns: reading it in pieces, and verifying that the volume's own structures are in use.
//! What it never does: hold more than a piece of it.

use super::boot::Geometry;
use super::mft::Mapped;
use super::runs::Runs;
use crate::disk::ReadDisk;
use crate::fs::areas::sectors;
use crate::fs::bit_runs::for_each_run;
use crate::fs::refusal::Refusal;
use crate::sector_set::{SectorSet, SectorSetBuilder};

/// Bytes of the bitmap read at once: 32 GiB of clusters of 4 KiB.
const PIECE_BYTES: u64 = 1 << 20;

/// The sectors in use.
pub(super) fn allocated(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    bitmap: &Mapped,
) -> Result<SectorSet, Refusal> {
    let what = "$Bitmap";
    let place = bitmap.runs.list().first().and_then(|run| run.cluster);
    let offset = geometry.offset(place.unwrap_or(0));
    let wanted = geometry.clusters.div_ceil(8);
    let hole = bitmap.runs.list().iter().any(|run| run.cluster.is_none());
    if bitmap.initialized_bytes < wanted || hole {
        let expected = format!("{wanted} bytes without a hole");
        let found = format!("{} bytes, holes: {hole}", bitmap.initialized_bytes);
        return Err(Refusal::corrupt(what, offset, expected, found));
    }
    let mut builder = SectorSetBuilder::new();
    let mut piece = Vec::new();
    let mut first = 0;
    while first < geometry.clusters {
        // Bits behind the last cluster are all set, and mean nothing.
        let bits = (geometry.clusters - first).min(PIECE_BYTES * 8);
        piece.resize(usize::try_from(bits.div_ceil(8)).unwrap_or_default(), 0);
        if !bitmap.runs.read(disk, geometry, &mut piece, first / 8)? {
            return Err(Refusal::corrupt(what, offset, format!("{wanted} bytes"), "less"));
        }
        for_each_run(&piece, bits, |from, to| {
            builder.push(geometry.clusters(first + from, first + to));
        });
        first += bits;
    }
    // Behind the last whole cluster: a rest, and the copy of the boot sector.
    builder.push(sectors(geometry.offset(geometry.clusters), geometry.bytes));
    Ok(builder.finish())
}

/// Verifies that a structure of the volume is in use.
pub(super) fn check_own(
    set: &SectorSet,
    geometry: &Geometry,
    name: &str,
    runs: &Runs,
) -> Result<(), Refusal> {
    for run in runs.list() {
        let Some(cluster) = run.cluster else { continue };
        let range = geometry.clusters(cluster, cluster.saturating_add(run.count));
        if set.within(range).next() != Some(range) {
            return Err(Refusal::corrupt(
                name,
                range.byte_offset(),
                format!("its {} clusters from {cluster} on marked as in use", run.count),
                "some of them free in $Bitmap",
            ));
        }
    }
    Ok(())
}
