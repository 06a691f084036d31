//! Segments: runs of extents of a logical volume, and what stands behind them.
//!
//! What it owns: which extents of one physical volume a segment uses, and whether its content can be
//! read from them alone. What it never does: know the inside of thin pools, caches or mirrors.

use super::group::{Place, corrupt};
use super::text::{Node, Value};
use crate::fs::refusal::Refusal;
use crate::units::SectorCount;
use std::collections::BTreeSet;

/// Types that stand on other logical volumes only, or on nothing; also all that begin with `raid`.
const TYPES_ON_VOLUMES: [&str; 11] = [
    "snapshot",
    "thin",
    "thin-pool",
    "cache",
    "cache-pool",
    "writecache",
    "vdo",
    "vdo-pool",
    "integrity",
    "error",
    "zero",
];

/// What a striped segment says.
const STRIPED_NAMES: [&str; 7] =
    ["start_extent", "extent_count", "type", "stripe_count", "stripe_size", "stripes", "tags"];

/// A run of extents of a logical volume.
#[derive(Debug)]
pub(super) struct Segment {
    /// First extent of the volume.
    pub(super) first: u64,
    /// Extents of the volume.
    pub(super) count: u64,
    /// Type, as the metadata has it.
    kind: String,
    /// First extent of each area on the physical volume, in order.
    pub(super) areas: Vec<u64>,
    /// Extents of each area.
    pub(super) area_len: u64,
    /// Sectors of a stripe; of one area it does not matter.
    pub(super) stripe: SectorCount,
    /// All of its areas are on the physical volume.
    pub(super) local: bool,
    /// It is striped (or linear) and nothing else.
    pub(super) plain: bool,
    /// Words that may be names of the logical volumes it stands on, with the name of each.
    pub(super) refers: Vec<(String, String)>,
}

impl Segment {
    /// Reads one. `physical` are the names of all physical volumes; `own` is the one that counts.
    pub(super) fn read(
        place: Place<'_>,
        physical: &BTreeSet<&str>,
        own: &str,
    ) -> Result<Self, Refusal> {
        let kind = place.text("type")?.to_owned();
        let (base, flagged) = match kind.split_once('+') {
            Some((base, _)) => (base, true),
            None => (kind.as_str(), false),
        };
        let count = place.number("extent_count")?;
        if count == 0 {
            return Err(corrupt(place.what, "1 extent or more", 0));
        }
        let mut segment = Self {
            first: place.number("start_extent")?,
            count,
            kind: String::new(),
            areas: Vec::new(),
            area_len: count,
            stripe: SectorCount::ZERO,
            local: true,
            plain: base == "striped" && !flagged,
            refers: references(place),
        };
        match base {
            "striped" => segment.read_stripes(place, physical, own)?,
            "mirror" => segment.read_areas(place.list("mirrors")?, place, physical, own)?,
            base if TYPES_ON_VOLUMES.contains(&base) || base.starts_with("raid") => {
                if let Some(name) = segment.refers.iter().map(|(_, to)| to.as_str()).find(|to| {
                    // Never seen, and where it would stand is not known.
                    *to == own
                }) {
                    return Err(Refusal::unsupported(format!(
                        "{} stands on {name} in a way that is not known",
                        place.what
                    )));
                }
                segment.local = false;
            }
            _ => {
                return Err(Refusal::unsupported(format!(
                    "{} is of type {kind}, which is not known",
                    place.what
                )));
            }
        }
        segment.kind = kind;
        Ok(segment)
    }

    fn read_stripes(
        &mut self,
        place: Place<'_>,
        physical: &BTreeSet<&str>,
        own: &str,
    ) -> Result<(), Refusal> {
        let count = place.number("stripe_count")?;
        let list = place.list("stripes")?;
        let places = u64::try_from(list.len()).unwrap_or(u64::MAX);
        if count == 0 || count.checked_mul(2) != Some(places) || !self.count.is_multiple_of(count) {
            let found = format!("stripe_count {count}, {places} values, {} extents", self.count);
            return Err(corrupt(place.what, "as many places as stripes, all as long", found));
        }
        self.area_len = self.count / count;
        if count > 1 {
            let stripe = SectorCount::new(place.number("stripe_size")?);
            self.stripe = stripe.filter(|stripe| !stripe.is_zero()).ok_or_else(|| {
                corrupt(place.what, "stripes of 1 sector or more", "another stripe_size")
            })?;
        }
        self.plain &= place.section.keys().all(|name| STRIPED_NAMES.contains(&name.as_str()));
        self.read_areas(list, place, physical, own)
    }

    /// Places are pairs of a name and a first extent.
    fn read_areas(
        &mut self,
        list: &[Value],
        place: Place<'_>,
        physical: &BTreeSet<&str>,
        own: &str,
    ) -> Result<(), Refusal> {
        let (pairs, rest) = list.as_chunks::<2>();
        if pairs.is_empty() || !rest.is_empty() {
            return Err(corrupt(place.what, "pairs of name and extent", "something else"));
        }
        for pair in pairs {
            let [Value::Text(name), Value::Number(extent)] = pair else {
                return Err(corrupt(place.what, "pairs of name and extent", "something else"));
            };
            let extent = u64::try_from(*extent)
                .map_err(|_| corrupt(place.what, "an extent from 0 on", extent))?;
            if name == own {
                self.areas.push(extent);
            } else {
                self.local = false;
                self.plain &= physical.contains(name.as_str());
            }
        }
        Ok(())
    }

    /// The extent of the volume behind its last.
    pub(super) fn end(&self) -> Option<u64> {
        self.first.checked_add(self.count)
    }

    /// Its type in a word for people.
    pub(super) fn kind(&self) -> &str {
        match (self.kind.as_str(), self.area_len == self.count) {
            ("striped", true) => "linear",
            (kind, _) => kind,
        }
    }

    /// Its type as the metadata has it, without flags.
    pub(super) fn base(&self) -> &str {
        self.kind.split('+').next().unwrap_or_default()
    }
}

/// All texts in a segment with the name that each stands behind, but for its type and tags.
fn references(place: Place<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, node) in place.section {
        let values = match node {
            _ if name == "type" || name == "tags" => continue,
            Node::One(value) => std::slice::from_ref(value),
            Node::List(list) => list,
            // Settings of a cache policy, messages to a thin pool.
            Node::Section(_) => continue,
        };
        for value in values {
            if let Value::Text(text) = value {
                found.push((name.clone(), text.clone()));
            }
        }
    }
    found
}
