//! A table in the making.
//!
//! What it owns: the judgement all tables share: partitions that overlap each other, cover the
//! table, or end beyond the disk. What it never does: know where an entry came from.

use super::boot_sector;
use super::{Container, LbaSize, Partition, Problem, Scheme, Table, Warning};
use crate::disk::{DiskError, ReadDisk};
use crate::sector_set::SectorSet;
use crate::units::{Sector, SectorCount, SectorRange};

pub(super) struct Draft<'a> {
    pub(super) disk: &'a dyn ReadDisk,
    pub(super) lba_size: LbaSize,
    pub(super) size: SectorCount,
    /// Partitions beside which nothing else may be; `range` is still all that is declared.
    pub(super) partitions: Vec<Partition>,
    /// Partitions inside the containers.
    pub(super) logicals: Vec<Partition>,
    pub(super) containers: Vec<Container>,
    /// Where the table in use is; no partition may cover it.
    pub(super) table: Vec<SectorRange>,
    /// Where a table not in use is.
    pub(super) remains: Vec<SectorRange>,
    /// Ends of what must be kept beside the partitions.
    pub(super) keep_ends: Vec<Sector>,
    pub(super) warnings: Vec<Warning>,
    pub(super) problem: Option<Problem>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(disk: &'a dyn ReadDisk) -> Result<Self, DiskError> {
        let lba_size = LbaSize::of(disk)?;
        let table = lba_size.range(0, 1).into_iter().collect();
        Ok(Self {
            disk,
            lba_size,
            size: disk.sectors(),
            partitions: Vec::new(),
            logicals: Vec::new(),
            containers: Vec::new(),
            table,
            remains: Vec::new(),
            keep_ends: Vec::new(),
            warnings: Vec::new(),
            problem: None,
        })
    }

    /// Notes a contradiction; the first one found is the one reported.
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problem.get_or_insert(problem);
    }

    /// The answer for a disk without a table.
    pub(super) fn bare(mut self, warning: Option<Warning>) -> Table {
        self.warnings.extend(warning);
        self.partitions.clear();
        self.logicals.clear();
        self.containers.clear();
        self.into_table(Scheme::None)
    }

    /// The answer for a disk with one.
    pub(super) fn finish(mut self, scheme: Scheme) -> Result<Table, DiskError> {
        self.check_overlaps();
        self.check_table_is_free();
        if let Some(end) = boot_sector::iso_end(self.disk)? {
            self.warnings.push(Warning::IsoImage { end });
            self.keep_ends.push(end);
        }
        Ok(self.into_table(scheme))
    }

    fn check_overlaps(&mut self) {
        let outer = self.partitions.iter().map(|p| (p.declared, p.number));
        let containers = self.containers.iter().map(|c| (c.declared, c.number));
        let outer = overlap(outer.chain(containers).collect());
        let inner = overlap(self.logicals.iter().map(|p| (p.declared, p.number)).collect());
        if let Some(problem) = outer.or(inner) {
            self.problem(problem);
        }
    }

    fn check_table_is_free(&mut self) {
        let table: SectorSet = self.table.iter().copied().collect();
        let covering = self.partitions.iter().chain(&self.logicals).find_map(|partition| {
            let range = table.within(partition.declared).next()?;
            Some(Problem::CoversTable { number: partition.number, range })
        });
        if let Some(problem) = covering {
            self.problem(problem);
        }
    }

    fn into_table(mut self, scheme: Scheme) -> Table {
        let whole = SectorRange::whole(self.size);
        let mut partitions = self.partitions;
        partitions.append(&mut self.logicals);
        partitions.sort_by_key(|partition| partition.number);
        for partition in &mut partitions {
            cut(partition, whole, &mut self.warnings);
        }
        let ends = partitions.iter().map(|p| p.range.end()).chain(self.keep_ends);
        let keep_end = match (scheme, &self.problem) {
            (Scheme::None, _) | (_, Some(_)) => whole.end(),
            _ => ends.max().unwrap_or_default().min(whole.end()),
        };
        let tables = self.table.into_iter().chain(self.remains);
        Table {
            scheme,
            lba_size: self.lba_size,
            partitions,
            containers: self.containers,
            metadata: tables.filter_map(|range| range.intersection(whole)).collect(),
            keep_end,
            warnings: self.warnings,
            problem: self.problem,
        }
    }
}

/// Cuts a partition at the end of the disk.
fn cut(partition: &mut Partition, whole: SectorRange, warnings: &mut Vec<Warning>) {
    if whole.contains_range(partition.declared) {
        return;
    }
    let at_end = SectorRange::new(whole.end(), whole.end()).unwrap_or_default();
    partition.range = partition.declared.intersection(whole).unwrap_or(at_end);
    partition.truncated = true;
    warnings.push(Warning::PartitionTruncated {
        number: partition.number,
        declared: partition.declared,
        disk: whole.count(),
    });
}

/// The first two ranges, in disk order, that have sectors in common.
fn overlap(mut ranges: Vec<(SectorRange, u32)>) -> Option<Problem> {
    ranges.sort_unstable();
    let mut ranges = ranges.into_iter();
    let mut reach = ranges.next()?;
    for next in ranges {
        if let Some(range) = reach.0.intersection(next.0) {
            return Some(Problem::Overlap { first: reach.1, second: next.1, range });
        }
        reach = next; // disjoint and sorted: `next` reaches further
    }
    None
}
