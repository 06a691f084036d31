//! Telling the kernel where a partition ends now.

use anyhow::{Context, Result, bail};
use imagezip::disk::{FileDisk, KernelPartition};
use imagezip::units::SectorRange;

/// Makes the kernel have partition `number` at `range`, and returns it as the kernel shows it. One
/// partition is told of first, as that works while it is in use; reading the whole table again does
/// not.
pub(crate) fn tell(disk: &FileDisk, number: u32, range: SectorRange) -> Result<KernelPartition> {
    let shown = |disk: &FileDisk| disk.kernel_partition(number).context("/sys");
    let is_there = |found: &KernelPartition| found.range == range;
    let starts_there = |found: &KernelPartition| found.range.start() == range.start();
    if shown(disk)?.as_ref().is_some_and(starts_there) {
        match disk.resize_kernel_partition(number, range) {
            Ok(()) => {}
            Err(error) => tracing::info!("the end of partition {number} was not taken: {error}"),
        }
    }
    if let Some(found) = shown(disk)?.filter(is_there) {
        return Ok(found);
    }
    disk.reread_partition_table()?;
    match shown(disk)? {
        Some(found) if is_there(&found) => Ok(found),
        Some(found) => bail!(
            "it has partition {number} at sectors {}, the table has it at {range}; reboot, and run \
             imagegrow again",
            found.range
        ),
        None => bail!("it shows no partition {number}; reboot, and run imagegrow again"),
    }
}
