//! Whether an image suits a target, before the first write.
//!
//! What it owns: the comparison of sizes, sector sizes and partition tables, and the plan for
//! moving a GPT to the end of a disk of another size. What it never does: write.

use super::error::Refusal;
use crate::disk::{DiskError, ReadDisk};
use crate::ndz::{Region, RegionSink};
use crate::partition::gpt::Relocation;
use crate::partition::{Excerpt, LbaSize, Patch, Scheme, check_fits, detect_sector_size, read};
use crate::sector_set::SectorSet;
use crate::units::{Sector, SectorCount, SectorRange};
use std::convert::Infallible;

/// What is known of an image before it is loaded.
#[derive(Clone, Debug)]
pub struct ImageFacts {
    /// Exact length of its source in bytes; `None` for a stream in a format that tells it last.
    pub source_bytes: Option<u64>,
    /// Its source's logical sector size in bytes, when the image says it.
    pub logical_sector_bytes: Option<u32>,
    /// True or false when the image says whether it holds one partition.
    pub slice: Option<bool>,
    /// All sectors it writes, when all headers have been seen.
    pub allocated: Option<SectorSet>,
}

/// What is known of a target.
#[derive(Clone, Copy, Debug)]
pub struct TargetFacts {
    /// Its length in sectors; a partition's in slice mode.
    pub sectors: SectorCount,
    /// Bytes of its logical sector, when it is a device that has one.
    pub logical_sector_bytes: Option<u32>,
    /// The image goes into a partition of the target.
    pub slice: bool,
    /// Leave a GPT as it is, whatever the target's size.
    pub keep_gpt: bool,
}

/// How the image is adapted to the target.
#[derive(Clone, Debug, Default)]
pub struct Fit {
    /// Sectors of the image that are not written: the backup GPT at the old end.
    pub skip: SectorSet,
    /// Bytes to write at the end instead.
    pub patches: Vec<Patch>,
}

/// False when [`check`] decides without the image's partition tables: its first sectors need not
/// have been seen.
pub fn needs_tables(image: &ImageFacts, target: &TargetFacts) -> bool {
    let source = image.source_bytes.and_then(SectorCount::holding_bytes);
    let as_it_is = source == Some(target.sectors) || image.slice == Some(true);
    !(target.slice || as_it_is && image.logical_sector_bytes.is_some())
}

/// Decides whether and how `image` goes onto `target`. `tables` shows the image's first sectors,
/// and its last ones if they are known, as a disk of the source's size.
///
/// # Errors
/// When it does not suit, with the reason and the sizes.
pub fn check(image: &ImageFacts, target: &TargetFacts, tables: &Excerpt) -> Result<Fit, Refusal> {
    let source = image.source_bytes.and_then(SectorCount::holding_bytes);
    if target.slice {
        if image.slice == Some(false) {
            return Err(Refusal::WholeDisk);
        }
        check_end(image, source, target.sectors, &SectorSet::empty())?;
        return Ok(Fit::default());
    }
    check_sector_size(image, target, tables)?;
    if source == Some(target.sectors) || image.slice == Some(true) {
        check_end(image, source, target.sectors, &SectorSet::empty())?;
        return Ok(Fit::default());
    }
    let table = read(tables).map_err(|error| Refusal::Gpt(error.into()))?;
    let mut fit = Fit::default();
    match table.scheme {
        Scheme::Gpt { .. } | Scheme::HybridGpt { .. } if !target.keep_gpt => {
            let relocation = Relocation::plan(tables, target.sectors)?;
            fit = Fit { skip: relocation.obsolete, patches: relocation.patches };
            check_saved_end(image, target.sectors, &fit.skip)?;
        }
        Scheme::Mbr { .. } => {
            check_fits(&table, target.sectors)?;
            check_saved_end(image, target.sectors, &fit.skip)?;
        }
        _ => check_end(image, source, target.sectors, &fit.skip)?,
    }
    Ok(fit)
}

/// The logical sector size of the image: what it says, or the one at which its GPT is found.
fn image_sector_size(image: &ImageFacts, tables: &Excerpt) -> Result<Option<u32>, DiskError> {
    match image.logical_sector_bytes {
        Some(bytes) => Ok(Some(bytes)),
        None => Ok(detect_sector_size(tables)?.map(LbaSize::bytes)),
    }
}

fn check_sector_size(
    image: &ImageFacts,
    target: &TargetFacts,
    tables: &Excerpt,
) -> Result<(), Refusal> {
    let found = image_sector_size(image, tables).map_err(|error| Refusal::Gpt(error.into()))?;
    match (found, target.logical_sector_bytes) {
        (Some(image), Some(target)) if image != target => {
            Err(Refusal::SectorSize { image, target })
        }
        _ => Ok(()),
    }
}

/// When the saved sectors are not known yet, the whole source has to fit.
fn check_end(
    image: &ImageFacts,
    source: Option<SectorCount>,
    target: SectorCount,
    skip: &SectorSet,
) -> Result<(), Refusal> {
    match (&image.allocated, source) {
        (Some(_), _) => check_saved_end(image, target, skip),
        (None, Some(needed)) if needed > target => Err(Refusal::TooSmall { needed, target }),
        // A write beyond the end will stop the load.
        _ => Ok(()),
    }
}

/// Checks the end of the saved sectors, when they are known. When they are not, a write beyond the
/// end stops the load later.
fn check_saved_end(
    image: &ImageFacts,
    target: SectorCount,
    skip: &SectorSet,
) -> Result<(), Refusal> {
    let Some(allocated) = &image.allocated else { return Ok(()) };
    let end = allocated.difference(skip).end();
    let needed = end.distance_from(Sector::ZERO).unwrap_or_default();
    if needed > target {
        return Err(Refusal::TooSmall { needed, target });
    }
    Ok(())
}

/// Collects what a chunk holds of some sectors into an [`Excerpt`].
pub struct Capture {
    wanted: SectorRange,
    excerpt: Excerpt,
}

impl Capture {
    /// Collects the sectors of `wanted` into `excerpt`.
    pub fn new(wanted: SectorRange, excerpt: Excerpt) -> Self {
        Self { wanted, excerpt }
    }

    /// What was collected.
    pub fn into_excerpt(self) -> Excerpt {
        self.excerpt
    }

    /// True when one of the regions holds wanted sectors.
    pub fn wants(&self, regions: &[Region]) -> bool {
        regions.iter().any(|region| region.range.intersection(self.wanted).is_some())
    }
}

impl RegionSink for Capture {
    type Error = Infallible;

    fn data(&mut self, start: Sector, bytes: &[u8]) -> Result<(), Infallible> {
        let count = u64::try_from(bytes.len()).ok().and_then(SectorCount::whole_in_bytes);
        let range = count.and_then(|count| SectorRange::with_count(start, count));
        let Some(common) = range.and_then(|range| range.intersection(self.wanted)) else {
            return Ok(());
        };
        let from = usize::try_from(common.byte_offset() - start.byte_offset()).unwrap_or(0);
        let len = usize::try_from(common.byte_len()).unwrap_or(0);
        let bytes = bytes.get(from..from + len).unwrap_or_default().to_vec();
        self.excerpt.add(Patch { offset: common.byte_offset(), bytes });
        Ok(())
    }

    fn zero(&mut self, _: SectorRange) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The facts of a target that `disk` is, or of the partition `window` of it.
pub fn target_facts(
    disk: &dyn ReadDisk,
    window: Option<SectorRange>,
    is_device: bool,
    keep_gpt: bool,
) -> TargetFacts {
    TargetFacts {
        sectors: match window {
            Some(window) => window.count(),
            None => SectorCount::holding_bytes(disk.size_bytes()).unwrap_or_default(),
        },
        logical_sector_bytes: is_device.then(|| disk.logical_sector_bytes()),
        slice: window.is_some(),
        keep_gpt,
    }
}
