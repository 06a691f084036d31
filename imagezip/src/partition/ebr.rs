//! Logical partitions: the chain of extended boot records (EBR) in an extended partition.
//!
//! What it owns: following the chain the way Linux does, so that numbers agree, and finding each
//! record's place. What it never does: follow a link twice, leave the extended partition, or go on
//! for more than [`EBRS_MAX`] records.
//!
//! A record's data entries count from the record itself, its link counts from the first record.

use super::boot_sector::{self, Entry, Parsed, RECORD_LEN, Record};
use super::draft::Draft;
use super::lba::LbaSize;
use super::{Partition, Problem, Warning, mbr};
use crate::disk::{DiskError, ReadDisk};
use crate::units::{Sector, SectorRange};
use std::collections::HashSet;

/// The number of the first logical partition.
pub(super) const FIRST_LOGICAL: u32 = 5;

/// Records followed in one extended partition. Linux knows at most 256 partitions of a disk.
pub(super) const EBRS_MAX: usize = 1024;

/// What one record says.
pub(super) struct Ebr {
    /// The logical sector it is in.
    pub(super) lba: u64,
    /// Data entries Linux would number, with their place.
    pub(super) data: Vec<(Entry, SectorRange)>,
    /// Where the next record is.
    pub(super) next: Option<Link>,
    /// An entry had to be ignored.
    ignored: bool,
}

/// What leads from one record to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Of the entry, 0 to 3.
    pub(super) slot: u32,
    /// The logical sector the next record is in.
    pub(super) lba: u64,
    /// The same as a sector.
    sector: Sector,
    /// Logical sectors that the link says the next record and its partition take.
    pub(super) count: u32,
}

/// Why the chain ended.
enum Step {
    Ebr(Ebr),
    /// Not a boot record: the chain ends without saying so.
    Broken(&'static str),
}

/// The chain of one extended partition, a record at a time.
pub(super) struct Chain<'a> {
    disk: &'a dyn ReadDisk,
    size: LbaSize,
    first: u64,
    extended: SectorRange,
    /// Length of the current record's own part, in logical sectors.
    part_count: u64,
}

impl<'a> Chain<'a> {
    /// The chain that starts at `entry` of sector 0.
    pub(super) fn new(
        disk: &'a dyn ReadDisk,
        size: LbaSize,
        entry: Entry,
        extended: SectorRange,
    ) -> Self {
        let (first, part_count) = (u64::from(entry.start), u64::from(entry.count));
        Self { disk, size, first, extended, part_count }
    }

    fn read(&mut self, lba: u64) -> Result<Step, DiskError> {
        let Some(bytes) = self.size.read(self.disk, lba, RECORD_LEN)? else {
            return Ok(Step::Broken("the chain leads beyond the end of the disk"));
        };
        Ok(match boot_sector::parse(&bytes) {
            Parsed::Unsigned => Step::Broken("no 55AA signature"),
            Parsed::BadFlag { .. } => Step::Broken("a boot flag that is neither 0x00 nor 0x80"),
            Parsed::Record(record) => Step::Ebr(self.judge(lba, &record)),
        })
    }

    fn judge(&mut self, lba: u64, record: &Record) -> Ebr {
        let mut ebr = Ebr { lba, data: Vec::new(), next: None, ignored: false };
        let part_count = self.part_count;
        for entry in &record.entries {
            let origin = if entry.is_extended() { self.first } else { lba };
            let Some(range) = entry.range(self.size, origin) else {
                ebr.ignored = true;
                continue;
            };
            if entry.is_extended() {
                if ebr.next.is_none() {
                    let lba = self.first + u64::from(entry.start);
                    ebr.next = Some(Link {
                        slot: entry.slot,
                        lba,
                        sector: range.start(),
                        count: entry.count,
                    });
                    self.part_count = u64::from(entry.count);
                } else {
                    ebr.ignored = true;
                }
                continue;
            }
            // Linux takes the third and fourth entry only where they make sense.
            let end = u64::from(entry.start) + u64::from(entry.count);
            if entry.slot >= 2 && (end > part_count || !self.extended.contains_range(range)) {
                ebr.ignored = true;
                continue;
            }
            ebr.data.push((*entry, range));
        }
        ebr
    }

    /// Walks the chain, showing each record to `visit` until it answers true. Answers where the
    /// chain broke, if it did.
    pub(super) fn walk(mut self, mut visit: impl FnMut(&Ebr) -> bool) -> Result<Walked, DiskError> {
        let mut seen = HashSet::new();
        let mut lba = self.first;
        let mut ignored = None;
        loop {
            let at = self.size.sector(lba).unwrap_or_default();
            let ebr = match self.read(lba)? {
                Step::Ebr(ebr) => ebr,
                Step::Broken(reason) => return Ok(Walked::Broken(reason, at)),
            };
            seen.insert(lba);
            if ebr.ignored {
                ignored.get_or_insert(at);
            }
            if visit(&ebr) {
                return Ok(Walked::ToTheEnd);
            }
            let Some(Link { lba: next, sector: target, .. }) = ebr.next else {
                let reason = "an entry that Linux ignores";
                return Ok(ignored.map_or(Walked::ToTheEnd, |at| Walked::Broken(reason, at)));
            };
            let extended = self.extended;
            if !extended.contains(target) {
                return Ok(Walked::Problem(Problem::EbrOutside { at, target, extended }));
            }
            if seen.contains(&next) {
                return Ok(Walked::Problem(Problem::EbrLoop { at: target }));
            }
            if seen.len() == EBRS_MAX {
                return Ok(Walked::Problem(Problem::TooManyEbrs { limit: EBRS_MAX }));
            }
            lba = next;
        }
    }
}

/// How a walk ended.
pub(super) enum Walked {
    /// At a record without a link, or where the visitor said.
    ToTheEnd,
    /// At a record that cannot be one; or something was ignored there.
    Broken(&'static str, Sector),
    /// At a contradiction.
    Problem(Problem),
}

/// Adds the logical partitions of an extended partition; false when not all of it was understood.
pub(super) fn walk(
    draft: &mut Draft<'_>,
    entry: Entry,
    extended: SectorRange,
    number_next: &mut u32,
) -> Result<bool, DiskError> {
    let chain = Chain::new(draft.disk, draft.lba_size, entry, extended);
    let mut logicals: Vec<Partition> = Vec::new();
    let mut records = Vec::new();
    let walked = chain.walk(|ebr| {
        records.extend(draft.lba_size.range(ebr.lba, 1));
        for (entry, range) in &ebr.data {
            logicals.push(mbr::partition(*number_next, *entry, *range));
            *number_next += 1;
        }
        false
    })?;
    if let Some(outside) = logicals.iter().find(|p| !extended.contains_range(p.declared)) {
        let (number, range) = (outside.number, outside.declared);
        draft.problem(Problem::LogicalOutside { number, range, extended });
    }
    draft.logicals.append(&mut logicals);
    draft.table.append(&mut records);
    Ok(match walked {
        Walked::ToTheEnd => true,
        Walked::Broken(reason, at) => {
            let number = entry.number();
            draft.warnings.push(Warning::ExtendedIncomplete { number, reason, at });
            false
        }
        Walked::Problem(problem) => {
            draft.problem(problem);
            false
        }
    })
}
