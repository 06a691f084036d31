//! What of a disk is saved, and why.
//!
//! What it owns: the rule that everything is kept which is not known for certain to be free. Free
//! is: a sector that an understood filesystem calls free; a partition the user said to ignore; what
//! lies after the last partition and is not part of the table. What it never does: read data, or
//! know a filesystem.

use crate::disk::{DiskError, ReadDisk, Window};
use crate::fs::{self, Filesystem};
use crate::partition::{self, Partition, Scheme, Table, Warning};
use crate::sector_set::SectorSet;
use crate::units::{Sector, SectorCount, SectorRange};
use std::collections::BTreeSet;
use thiserror::Error;

/// Free ranges shorter than this many sectors (32 KiB) are saved as if allocated, so that a load
/// writes long runs. The deployed tools use the same number.
pub const GAP_MIN: SectorCount = SectorCount::from_u32(64);

/// Most ranges a plan keeps; beyond it ever longer gaps are saved. 16 bytes each.
const PLAN_RANGES_MAX: usize = 2 << 20;

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Save everything, look at nothing.
    pub raw: bool,
    /// Save this partition only, its sectors counted from its start.
    pub slice: Option<u32>,
    /// Leave out the content of these partitions.
    pub ignore: BTreeSet<u32>,
    /// Save these partitions whole.
    pub whole: BTreeSet<u32>,
    /// Free ranges shorter than this are saved; 0 and 1 save none.
    pub gap_min: SectorCount,
    /// What the readers of filesystems are to heed.
    pub probe: fs::ProbeOptions,
    /// Refuse what would be saved whole because it is damaged or not understood.
    pub strict: bool,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            raw: false,
            slice: None,
            ignore: BTreeSet::new(),
            whole: BTreeSet::new(),
            gap_min: GAP_MIN,
            probe: fs::ProbeOptions::default(),
            strict: false,
        }
    }
}

/// Why no plan was made.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The disk could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A partition was named that does not exist.
    #[error("there is no partition {number}; the disk has {found}")]
    NoPartition {
        /// The number asked for.
        number: u32,
        /// Those there are.
        found: String,
    },
    /// An extended partition was named where data was expected.
    #[error(
        "partition {number} is an extended partition and holds no data of its own; the logical partitions inside are {found}"
    )]
    Extended {
        /// The number asked for.
        number: u32,
        /// Those there are.
        found: String,
    },
    /// One partition was asked for, and the table cannot be trusted to say where it is.
    #[error(
        "the partition table cannot be trusted to tell where partition {number} is: {reason}; \
         save the whole disk"
    )]
    Table {
        /// The number asked for.
        number: u32,
        /// What is wrong with the table.
        reason: String,
    },
    /// `--strict`, and something would be saved whole.
    #[error("{what}: {reason} (--strict; without it all of it would be saved)")]
    Strict {
        /// Which partition.
        what: String,
        /// Why.
        reason: String,
    },
}

/// What becomes of a part of the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// A filesystem that is understood: its allocated sectors.
    Allocated,
    /// Everything, because the user asked for it.
    WholeAsked,
    /// Everything, because nothing we know stands there.
    WholeUnknown,
    /// Everything, because the map cannot be trusted; the reason completes "kept whole: ...".
    WholeDoubtful(String),
    /// Nothing, because the user asked for it.
    Ignored,
}

/// A partition, or a bare disk, and what becomes of it.
#[derive(Clone, Debug)]
pub struct PlanItem {
    /// The partition, `None` for a disk without a table.
    pub partition: Option<Partition>,
    /// Where it is on the disk.
    pub range: SectorRange,
    /// What was recognised in it.
    pub filesystem: Option<Filesystem>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Sectors of it that are saved, short gaps not counted.
    pub kept: SectorCount,
}

impl PlanItem {
    /// Its name for messages: `partition 2` or `the disk`.
    pub fn what(&self) -> String {
        name(self.partition.as_ref())
    }
}

/// What is saved of a disk.
#[derive(Clone, Debug)]
pub struct SavePlan {
    /// The partition table.
    pub table: Table,
    /// Partitions in their order on the table, or the whole disk.
    pub items: Vec<PlanItem>,
    /// What is saved: ascending, short gaps closed. Counted from the partition in slice mode.
    pub ranges: SectorSet,
    /// Sectors outside partitions that are saved: boot code, tables, gaps.
    pub outside: SectorCount,
    /// The part of the disk the image stands for: all of it, or one partition.
    pub window: SectorRange,
    /// True when that is one partition.
    pub slice: bool,
}

/// Makes the plan for a disk.
///
/// # Errors
/// When the disk's tables cannot be read, when a named partition does not exist, or with `strict`.
pub fn plan(disk: &dyn ReadDisk, options: &PlanOptions) -> Result<SavePlan, PlanError> {
    // A file may end inside its last sector; that sector counts.
    let all = SectorCount::holding_bytes(disk.size_bytes()).unwrap_or_default();
    let all = SectorRange::whole(all);
    let table = partition::read(disk)?;
    if let (Some(problem), Some(number)) = (&table.problem, options.slice) {
        return Err(PlanError::Table { number, reason: problem.to_string() });
    }
    for number in options.ignore.iter().chain(&options.whole).chain(&options.slice) {
        check_exists(&table, *number)?;
    }
    if options.raw {
        let (window, slice) = slice_window(&table, options, all);
        let item =
            raw_item(table.partitions.iter().find(|p| Some(p.number) == options.slice), window);
        let ranges = SectorSet::from_range(SectorRange::whole(window.count()));
        let outside = SectorCount::ZERO;
        return Ok(SavePlan { table, items: vec![item], ranges, outside, window, slice });
    }
    if let Some(problem) = &table.problem {
        let reason = format!("{problem}");
        if options.strict {
            return Err(PlanError::Strict { what: "partition table".into(), reason });
        }
        return Ok(whole_disk(table, all, Verdict::WholeDoubtful(reason)));
    }
    if let Some(reason) = member_reason(disk, &table) {
        if options.strict {
            return Err(PlanError::Strict { what: "the disk".into(), reason });
        }
        let (window, slice) = slice_window(&table, options, all);
        let partition = options.slice.and_then(|number| table.partition(number)).cloned();
        let mut plan = whole_disk(table, window, Verdict::WholeDoubtful(reason));
        plan.items.iter_mut().for_each(|item| item.partition = partition.clone());
        plan.slice = slice;
        if slice {
            plan.ranges = SectorSet::from_range(SectorRange::whole(window.count()));
        }
        return Ok(plan);
    }
    match table.scheme {
        Scheme::None => bare_disk(disk, table, all, options),
        _ => partitioned(disk, table, all, options),
    }
}

/// Why a disk with partitions is kept whole as a member of an array. What they hold is then not all
/// of what they seem to hold. A mark inside a partition is that partition's.
fn member_reason(disk: &dyn ReadDisk, table: &Table) -> Option<String> {
    if table.scheme == Scheme::None {
        return None;
    }
    // What cannot be read is met again when it is saved.
    let member = fs::member_of(disk).ok().flatten()?;
    let mark = Sector::containing_byte(member.mark_offset)?;
    let inside = table.partitions.iter().any(|partition| partition.range.contains(mark));
    if inside { None } else { member.filesystem.doubt(disk.sectors()) }
}

fn whole_disk(table: Table, all: SectorRange, verdict: Verdict) -> SavePlan {
    let kept = all.count();
    let item = PlanItem { partition: None, range: all, filesystem: None, verdict, kept };
    SavePlan {
        table,
        items: vec![item],
        ranges: SectorSet::from_range(all),
        outside: SectorCount::ZERO,
        window: all,
        slice: false,
    }
}

fn raw_item(partition: Option<&Partition>, range: SectorRange) -> PlanItem {
    PlanItem {
        partition: partition.cloned(),
        range,
        filesystem: None,
        verdict: Verdict::WholeAsked,
        kept: range.count(),
    }
}

fn slice_window(table: &Table, options: &PlanOptions, all: SectorRange) -> (SectorRange, bool) {
    match options.slice.and_then(|number| table.partition(number)) {
        Some(partition) => (partition.range, true),
        None => (all, false),
    }
}

fn bare_disk(
    disk: &dyn ReadDisk,
    table: Table,
    all: SectorRange,
    options: &PlanOptions,
) -> Result<SavePlan, PlanError> {
    let (item, kept) = examine(disk, None, all, None, options)?;
    let ranges = kept.close_gaps(options.gap_min);
    let outside = SectorCount::ZERO;
    Ok(SavePlan { table, items: vec![item], ranges, outside, window: all, slice: false })
}

fn partitioned(
    disk: &dyn ReadDisk,
    table: Table,
    all: SectorRange,
    options: &PlanOptions,
) -> Result<SavePlan, PlanError> {
    let (window, slice) = slice_window(&table, options, all);
    let mut items = Vec::new();
    let mut inside = SectorSet::empty();
    let mut kept = SectorSet::empty();
    let chosen = |p: &&Partition| options.slice.is_none_or(|number| p.number == number);
    let iso_end = table.warnings.iter().find_map(|warning| match warning {
        Warning::IsoImage { end } => Some(*end),
        _ => None,
    });
    for partition in table.partitions.iter().filter(chosen) {
        let (item, set) = examine(disk, Some(partition), partition.range, iso_end, options)?;
        kept = kept.union(&set);
        inside = inside.union(&SectorSet::from_range(partition.range));
        items.push(item);
    }
    let mut outside = SectorCount::ZERO;
    if !slice {
        // Boot code, gaps between partitions, and the tables wherever they are.
        let used = all.until(table.keep_end);
        let around = SectorSet::from_range(used).difference(&inside).union(&table.metadata);
        outside = around.count();
        kept = kept.union(&around);
    }
    let mut ranges = kept.close_gaps(options.gap_min);
    let mut gap_min = options.gap_min;
    while ranges.len() > PLAN_RANGES_MAX {
        gap_min = gap_min.checked_add(gap_min).unwrap_or(gap_min).max(GAP_MIN);
        ranges = ranges.close_gaps(gap_min);
    }
    if slice {
        ranges = ranges.ranges().iter().filter_map(|r| r.relative_to(window.start())).collect();
    }
    Ok(SavePlan { table, items, ranges, outside, window, slice })
}

/// Decides about one partition (or bare disk); returns the sectors to keep, as the disk counts.
fn examine(
    disk: &dyn ReadDisk,
    partition: Option<&Partition>,
    range: SectorRange,
    iso_end: Option<Sector>,
    options: &PlanOptions,
) -> Result<(PlanItem, SectorSet), PlanError> {
    let asked = |set: &BTreeSet<u32>| partition.is_some_and(|p| set.contains(&p.number));
    let whole = SectorSet::from_range(range);
    let item = |filesystem, verdict, kept: &SectorSet| PlanItem {
        partition: partition.cloned(),
        range,
        filesystem,
        verdict,
        kept: kept.count(),
    };
    if asked(&options.ignore) {
        return Ok((item(None, Verdict::Ignored, &SectorSet::empty()), SectorSet::empty()));
    }
    if asked(&options.whole) {
        return Ok((item(None, Verdict::WholeAsked, &whole), whole));
    }
    let (mut filesystem, verdict) = match fs::probe_with(&Window::new(disk, range), options.probe) {
        Ok(filesystem) => judge(filesystem, range, iso_end),
        Err(error) => (None, Verdict::WholeDoubtful(error.to_string())),
    };
    if options.strict
        && let Some((what, reason)) = doubt(partition, filesystem.as_ref(), &verdict)
    {
        return Err(PlanError::Strict { what, reason });
    }
    let kept = match (&verdict, &mut filesystem) {
        (Verdict::Allocated, Some(found)) => {
            let by = range.start().distance_from(Sector::ZERO).unwrap_or_default();
            found.take_kept(range.count()).shift(by)
        }
        _ => whole,
    };
    Ok((item(filesystem, verdict, &kept), kept))
}

fn judge(
    filesystem: Option<Filesystem>,
    range: SectorRange,
    iso_end: Option<Sector>,
) -> (Option<Filesystem>, Verdict) {
    let Some(found) = filesystem else { return (None, Verdict::WholeUnknown) };
    let mut doubt = found.doubt(range.count());
    if is_in_iso(&found, range, iso_end) {
        let reason = "it is part of the ISO 9660 image at the start of the disk";
        doubt = doubt.or_else(|| Some(reason.into()));
    }
    (Some(found), doubt.map_or(Verdict::Allocated, Verdict::WholeDoubtful))
}

/// A partition that xorriso and its like append to an ISO 9660 image begins at most so far behind
/// the end of its filesystem.
const ISO_APPENDED_MAX: SectorCount = SectorCount::from_u32(2048);

/// True for what an ISO 9660 image for discs and sticks shows as a partition of itself: the checksum
/// of the image covers free space there too. Any other filesystem has overwritten the image, of
/// which then only the head is left.
fn is_in_iso(found: &Filesystem, range: SectorRange, iso_end: Option<Sector>) -> bool {
    let end = iso_end.and_then(|end| end.checked_add(ISO_APPENDED_MAX));
    end.is_some_and(|end| range.start() <= end)
        && (found.name.starts_with("fat") || found.name.starts_with("hfs"))
}

/// What `--strict` refuses: all of it, or one of its volumes, would be kept whole for a doubt.
fn doubt(
    partition: Option<&Partition>,
    filesystem: Option<&Filesystem>,
    verdict: &Verdict,
) -> Option<(String, String)> {
    let what = name(partition);
    if let Verdict::WholeDoubtful(reason) = verdict {
        return Some((what, reason.clone()));
    }
    filesystem?
        .volumes
        .iter()
        .find_map(|volume| Some((format!("{what}, {}", volume.name), volume.doubt()?.to_owned())))
}

fn check_exists(table: &Table, number: u32) -> Result<(), PlanError> {
    if table.partition(number).is_some() {
        return Ok(());
    }
    let found = list(table, |_| true);
    match table.container(number) {
        Some(_) => Err(PlanError::Extended { number, found: list(table, |n| n > 4) }),
        None => Err(PlanError::NoPartition { number, found }),
    }
}

/// The numbers of a table's partitions, for messages.
fn list(table: &Table, which: impl Fn(u32) -> bool) -> String {
    let numbers: Vec<_> =
        table.partitions.iter().filter(|p| which(p.number)).map(|p| p.number.to_string()).collect();
    if numbers.is_empty() { "none".into() } else { numbers.join(", ") }
}

fn name(partition: Option<&Partition>) -> String {
    partition.map_or_else(|| "the disk".into(), |p| format!("partition {}", p.number))
}
