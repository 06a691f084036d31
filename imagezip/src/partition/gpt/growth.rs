//! Growing the last partition of a GPT.
//!
//! What it owns: both copies with the new end of one entry, placed for the disk as large as it is
//! now, in an order in which one copy is valid at every moment. What it never does: judge whether
//! the table may be trusted; [`grow`](crate::partition::grow) has.

use super::Gpt;
use super::relocation::Layout;
use crate::disk::ReadDisk;
use crate::partition::Partition;
use crate::partition::grow::{ALIGNMENT, GrowError, Growth, aligned_end};
use crate::units::SectorRange;

/// Plans the growth of `partition`, the last one.
pub(in crate::partition) fn plan(
    disk: &dyn ReadDisk,
    partition: &Partition,
) -> Result<Growth, GrowError> {
    let gpt = Gpt::read(disk)?.map_err(|_| GrowError::NoTable)?;
    let size = gpt.lba_size;
    let mut layout = Layout::plan(disk, &gpt, disk.sectors())?;
    let mut copy = gpt.chosen().ok_or(GrowError::NoTable)?.clone();
    let old = partition.declared;
    let limit = layout.primary.last_usable.checked_add(1).and_then(|lba| size.sector(lba));
    let end = aligned_end(limit.unwrap_or_default(), ALIGNMENT).max(old.end());
    let new = SectorRange::new(old.start(), end).unwrap_or(old);
    let last = (end.byte_offset() / u64::from(size.bytes())).saturating_sub(1);
    if new != old && !copy.set_last(partition.number, last) {
        return Err(GrowError::NoTable);
    }
    layout.primary.entries_crc = crc32fast::hash(&copy.entries);
    let [backup, primary] = layout.copies(&copy.entries)?;
    let moves_backup = gpt.chosen().is_some_and(|old| {
        old.header.my_lba.max(old.header.alternate_lba) != layout.primary.alternate_lba
    });
    // The copy that is written while the other one is valid goes first. Of two valid ones, the
    // backup: if writing is cut short, everybody still looks at the primary.
    let mut steps = match gpt.primary {
        Ok(_) => vec![backup.clone(), primary],
        Err(_) => vec![primary, backup.clone()],
    };
    steps.push(layout.protective);
    let mut growth = Growth::new(partition.number, old, new, steps);
    growth.moves_backup = moves_backup;
    growth.backup = backup;
    Ok(growth)
}
