//! The allocation map: the allocation bitmap of each FAT.
//!
//! What it owns: reading them in pieces, and verifying that the volume's own structures are in use.
//! What it never does: choose between two bitmaps; what one of them has in use is kept.

use super::boot::Geometry;
use super::chain::{Fat, Run};
use super::root::{Root, Stream};
use crate::disk::ReadDisk;
use crate::fs::areas::sectors;
use crate::fs::bit_runs::for_each_run;
use crate::fs::refusal::Refusal;
use crate::sector_set::{SectorSet, SectorSetBuilder};

/// Bytes of a bitmap read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// The sectors in use. `fat` is the one that is kept up to date.
pub(super) fn allocated(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    fat: &mut Fat<'_>,
    root: &Root,
) -> Result<SectorSet, Refusal> {
    let mut own = vec![("root directory", root.runs.clone())];
    let fats = usize::try_from(geometry.fats).unwrap_or_default();
    let mut set = SectorSet::empty();
    for bitmap in root.bitmaps.iter().take(fats) {
        let bitmap = bitmap.as_ref().ok_or_else(|| missing(geometry, "each allocation bitmap"))?;
        let bytes = geometry.clusters.div_ceil(8);
        if bitmap.bytes < bytes {
            return Err(Refusal::corrupt(
                bitmap.name,
                geometry.cluster_offset(bitmap.first),
                format!("{bytes} bytes for {} clusters", geometry.clusters),
                bitmap.bytes.to_string(),
            ));
        }
        let runs = chain_of(geometry, fat, bitmap)?;
        set = set.union(&read(disk, geometry, &runs)?);
        own.push((bitmap.name, runs));
    }
    let upcase = root.upcase.as_ref().ok_or_else(|| missing(geometry, "the up-case table"))?;
    own.push((upcase.name, chain_of(geometry, fat, upcase)?));

    for (name, runs) in own {
        for (start, end) in runs {
            let range = geometry.clusters(start, end);
            if set.within(range).next() != Some(range) {
                return Err(Refusal::corrupt(
                    name,
                    range.byte_offset(),
                    "its clusters marked as in use",
                    format!("some of {start} to {} free", end.saturating_sub(1)),
                ));
            }
        }
    }
    Ok(set)
}

fn missing(geometry: &Geometry, what: &str) -> Refusal {
    let offset = geometry.cluster_offset(geometry.root_cluster);
    Refusal::corrupt("root directory", offset, format!("an entry for {what}"), "none")
}

/// The clusters of a stream, as many as its length needs.
fn chain_of(geometry: &Geometry, fat: &mut Fat<'_>, stream: &Stream) -> Result<Vec<Run>, Refusal> {
    let wanted = stream.bytes.div_ceil(geometry.cluster_bytes).max(1);
    let runs = fat.chain(stream.name, stream.first, wanted.min(geometry.clusters))?;
    let found: u64 = runs.iter().map(|(start, end)| end - start).sum();
    if found != wanted {
        return Err(Refusal::corrupt(
            stream.name,
            geometry.cluster_offset(stream.first),
            format!("a chain of {wanted} clusters for {} bytes", stream.bytes),
            found.to_string(),
        ));
    }
    Ok(runs)
}

/// Reads the bitmap that stands in these clusters.
fn read(disk: &dyn ReadDisk, geometry: &Geometry, runs: &[Run]) -> Result<SectorSet, Refusal> {
    let mut builder = SectorSetBuilder::new();
    // Boot regions and FATs.
    builder.push(sectors(0, geometry.heap_offset));
    // Bit 0 is cluster 2; bits behind the last cluster mean nothing.
    let end = geometry.clusters.saturating_add(2);
    let mut first = 2;
    let mut piece = Vec::new();
    for (start, stop) in runs {
        let mut offset = geometry.cluster_offset(*start);
        let stop = geometry.cluster_offset(*stop);
        while offset < stop && first < end {
            let bits = (end - first).min((stop - offset).min(PIECE_BYTES) * 8);
            let len = bits.div_ceil(8);
            piece.resize(usize::try_from(len).unwrap_or_default(), 0);
            disk.read_at(&mut piece, offset)?;
            for_each_run(&piece, bits, |from, to| {
                builder.push(geometry.clusters(first + from, first + to));
            });
            first += bits;
            offset += len;
        }
    }
    // Sectors behind the last cluster belong to no bit.
    builder.push(sectors(geometry.cluster_offset(end), geometry.bytes));
    Ok(builder.finish())
}
