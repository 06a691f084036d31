//! Whether the partitions of an image fit a disk.
//!
//! What it owns: one comparison and the sentence that explains it. What it never does: move
//! anything; a GPT also needs room for its backup, see [`super::gpt::Relocation`].

use super::Table;
use crate::units::{HumanBytes, Sector, SectorCount, SectorRange};
use thiserror::Error;

/// A partition that would end beyond the target disk.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "partition {number}{} ends at sector {end}, but only sectors below {limit} can be used on the \
     target ({} sectors, {}); use a disk of at least {} or shrink the partition before saving",
    quoted(.name), .target, HumanBytes(.target.bytes()), HumanBytes(.needed.bytes())
)]
pub struct DoesNotFit {
    /// Its number.
    pub number: u32,
    /// Its GPT name.
    pub name: Option<String>,
    /// The sector after its last.
    pub end: Sector,
    /// The sector after the last that a partition may use on the target.
    pub limit: Sector,
    /// Size of the target.
    pub target: SectorCount,
    /// The smallest target that would do.
    pub needed: SectorCount,
}

fn quoted(name: &Option<String>) -> String {
    name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default()
}

/// Checks that every partition, extended ones too, ends on a target of this size. Right for an MBR;
/// a GPT is checked when it is relocated.
///
/// # Errors
/// Names the partition that reaches furthest.
pub fn check_fits(table: &Table, target: SectorCount) -> Result<(), DoesNotFit> {
    let partitions = table.partitions.iter().map(|p| (p.number, p.name.clone(), p.declared));
    let containers = table.containers.iter().map(|c| (c.number, None, c.declared));
    let limit = SectorRange::whole(target).end();
    check_below(partitions.chain(containers), limit, target, SectorCount::ZERO)
}

/// Checks that all end at or below `limit`; `behind` is the room the table needs behind them.
pub(super) fn check_below(
    all: impl Iterator<Item = (u32, Option<String>, SectorRange)>,
    limit: Sector,
    target: SectorCount,
    behind: SectorCount,
) -> Result<(), DoesNotFit> {
    match all.max_by_key(|(_, _, range)| range.end()) {
        Some((number, name, range)) if range.end() > limit => {
            let end = range.end();
            let needed = end.checked_add(behind).unwrap_or(end);
            let needed = needed.distance_from(Sector::ZERO).unwrap_or_default();
            Err(DoesNotFit { number, name, end, limit, target, needed })
        }
        _ => Ok(()),
    }
}
