//! Where the partitions of a label are.
//!
//! What it owns: what the label's sectors may be counted from, and the checks on a placement. What
//! it never does: choose; what the partitions hold decides.
//!
//! FreeBSD's tools of today count from the start of the slice; its old ones, NetBSD and OpenBSD
//! count from the start of the disk, and nothing in a partition says where on the disk it is.

use super::label::{Entry, Label};
use crate::units::{Sector, SectorCount, SectorRange};

/// OpenBSD copies entries of the disk's own table to `i` and later.
const OPENBSD_COPIES: usize = 8;

/// A partition and its place, from the start of what holds the label.
pub(super) type Placed<'a> = (&'a Entry, SectorRange);

/// The sectors, by the label's count, at which the `room` sectors that hold it may start.
pub(super) fn origins(label: &Label, room: SectorCount) -> Vec<SectorCount> {
    let zero = SectorCount::ZERO;
    let mut origins = match label.raw_part() {
        // FreeBSD, NetBSD: it stands for the slice, counted from the start of the disk.
        Some(raw_part) if !raw_part.offset.is_zero() => vec![raw_part.offset, zero],
        // OpenBSD: it stands for the disk, which is longer than the slice; but that of a slice that
        // was moved to another disk tells of the old one.
        Some(raw_part) if raw_part.size > room || !label.contents().all(|e| fits(e, room)) => {
            let own = label.contents().filter(|entry| entry.index < OPENBSD_COPIES);
            let lowest = own.map(|entry| entry.offset).min();
            vec![label.bounds_start, lowest.unwrap_or_default(), zero]
        }
        _ => vec![zero],
    };
    origins.sort();
    origins.dedup();
    origins
}

/// Whether an entry fits into `room` sectors when these are counted from 0.
fn fits(entry: &Entry, room: SectorCount) -> bool {
    entry.offset.checked_add(entry.size).is_some_and(|end| end <= room)
}

/// Places the partitions in `room` sectors, the first of which the label counts as `origin`.
///
/// # Errors
/// The reason why that cannot be, in words that complete "kept whole: ...".
pub(super) fn place(
    label: &Label,
    origin: SectorCount,
    room: SectorCount,
) -> Result<Vec<Placed<'_>>, String> {
    let all = SectorRange::whole(room);
    let mut placed = Vec::new();
    for entry in label.contents() {
        let letter = entry.letter();
        let declared = Sector::new(entry.offset.get())
            .and_then(|start| SectorRange::with_count(start, entry.size))
            .ok_or_else(|| format!("partition {letter} of its disklabel ends beyond any disk"))?;
        let window = all.checked_shift(origin).unwrap_or_default();
        if window.contains_range(declared) {
            let start = Sector::new(origin.get()).unwrap_or_default();
            placed.push((entry, declared.relative_to(start).unwrap_or_default()));
        } else if window.intersection(declared).is_some() || origin.is_zero() {
            return Err(format!(
                "partition {letter} of its disklabel is not inside ({declared}, of {window})"
            ));
        }
        // A label that counts from the start of the disk may name what is elsewhere on it.
    }
    placed.sort_by_key(|(_, range)| *range);
    for pair in placed.windows(2) {
        if let [(one, first), (two, second)] = pair
            && first.end() > second.start()
        {
            let (one, two) = (one.letter(), two.letter());
            return Err(format!("partitions {one} and {two} of its disklabel overlap"));
        }
    }
    Ok(placed)
}
