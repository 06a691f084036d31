//! A volume group, as its metadata describes it: what matters to one of its physical volumes.
//!
//! What it owns: turning the tree of names into checked numbers, and judging status words. What it
//! never does: place anything on the disk.
//!
//! Names and words as lvm2 writes them (`vgcfgbackup`); what a status word means: `lvs(8)`, `vgs(8)`.

use super::PvId;
use super::segment::Segment;
use super::text::{Node, Section, Value};
use crate::fs::refusal::Refusal;
use crate::units::{Sector, SectorCount, SectorRange};
use std::collections::BTreeSet;

/// Status words of a group at rest.
const GROUP_WORDS: [&str; 3] = ["READ", "WRITE", "RESIZEABLE"];

/// Status words of a physical volume at rest.
const PHYSICAL_WORDS: [&str; 1] = ["ALLOCATABLE"];

/// Status words of a logical volume that change nothing about where its data is.
const LOGICAL_WORDS: [&str; 5] = ["READ", "WRITE", "VISIBLE", "FIXED_MINOR", "ACTIVATION_SKIP"];

/// Sections of a group.
const GROUP_SECTIONS: [&str; 3] =
    ["physical_volumes", "logical_volumes", "historical_logical_volumes"];

/// What a logical volume may say about itself beside its segments.
const LOGICAL_NAMES: [&str; 13] = [
    "id",
    "status",
    "flags",
    "creation_time",
    "creation_host",
    "allocation_policy",
    "read_ahead",
    "tags",
    "major",
    "minor",
    "profile",
    "lock_args",
    "segment_count",
];

/// A group, seen from one physical volume.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// How often it was changed.
    pub(super) seqno: u64,
    /// Length of an extent.
    pub(super) extent: SectorCount,
    /// Where the extents of the physical volume are.
    pub(super) extents: SectorRange,
    /// How many it has.
    pub(super) extent_count: u64,
    pub(super) logical: Vec<Logical>,
}

/// A logical volume.
#[derive(Debug)]
pub(super) struct Logical {
    pub(super) name: String,
    pub(super) segments: Vec<Segment>,
    /// Not for the users of the group.
    pub(super) hidden: bool,
    /// Why its content must not be looked into, when its own words say so.
    pub(super) odd: Option<String>,
}

/// A contradiction in the metadata. `what` is where.
pub(super) fn corrupt(what: &str, expected: &str, found: impl ToString) -> Refusal {
    Refusal::corrupt(format!("metadata, {what}"), 0, expected, found.to_string())
}

/// A section of the metadata, and where it is, for errors.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) section: &'a Section,
    pub(super) what: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn number(self, name: &str) -> Result<u64, Refusal> {
        let found = self.section.get(name);
        let number = match found {
            Some(Node::One(Value::Number(number))) => u64::try_from(*number).ok(),
            _ => None,
        };
        number.ok_or_else(|| self.wrong(name, "a number"))
    }

    pub(super) fn text(self, name: &str) -> Result<&'a str, Refusal> {
        match self.section.get(name) {
            Some(Node::One(Value::Text(text))) => Ok(text),
            _ => Err(self.wrong(name, "a text")),
        }
    }

    pub(super) fn list(self, name: &str) -> Result<&'a [Value], Refusal> {
        match self.section.get(name) {
            Some(Node::List(list)) => Ok(list),
            _ => Err(self.wrong(name, "a list")),
        }
    }

    fn section(self, name: &str) -> Result<&'a Section, Refusal> {
        match self.section.get(name) {
            Some(Node::Section(section)) => Ok(section),
            _ => Err(self.wrong(name, "a section")),
        }
    }

    /// Status words and flags, which are lists of texts; flags came later and may be missing.
    fn words(self) -> Result<Vec<&'a str>, Refusal> {
        let mut words = Vec::new();
        for name in ["status", "flags"] {
            if name == "flags" && !self.section.contains_key(name) {
                continue;
            }
            for value in self.list(name)? {
                match value {
                    Value::Text(word) => words.push(word.as_str()),
                    Value::Number(_) => return Err(self.wrong(name, "words")),
                }
            }
        }
        Ok(words)
    }

    fn wrong(self, name: &str, expected: &str) -> Refusal {
        corrupt(self.what, &format!("{name}: {expected}"), "none, or something else")
    }
}

fn sections(section: &Section) -> impl Iterator<Item = (&String, &Section)> {
    section.iter().filter_map(|(name, node)| match node {
        Node::Section(section) => Some((name, section)),
        _ => None,
    })
}

impl Group {
    /// The group that a text describes, for the physical volume `id`.
    pub(super) fn of(text: &Section, id: &PvId) -> Result<Self, Refusal> {
        let top = Place { section: text, what: "its head" };
        if top.text("contents")? != "Text Format Volume Group" || top.number("version")? != 1 {
            return Err(Refusal::unsupported("the version of its metadata is not known"));
        }
        let mut groups = sections(text);
        let (Some((name, section)), None) = (groups.next(), groups.next()) else {
            return Err(corrupt("its head", "one volume group", "another number of them"));
        };
        let what = format!("volume group {name}");
        Self::read(name, Place { section, what: &what }, id)
    }

    fn read(name: &str, place: Place<'_>, id: &PvId) -> Result<Self, Refusal> {
        check_group(name, place)?;
        if let Some((unknown, _)) =
            sections(place.section).find(|(name, _)| !GROUP_SECTIONS.contains(&name.as_str()))
        {
            return Err(Refusal::unsupported(format!(
                "section {unknown} of volume group {name} is not known"
            )));
        }
        let physical = place.section("physical_volumes")?;
        let (own, own_place) = find_own(physical, id, name)?;
        let names: BTreeSet<&str> = sections(physical).map(|(name, _)| name.as_str()).collect();
        let extent = SectorCount::new(place.number("extent_size")?).filter(|e| !e.is_zero());
        let extent = extent.ok_or_else(|| corrupt(place.what, "extents of 1 sector or more", 0))?;
        let extent_count = own_place.number("pe_count")?;
        let extents = Sector::new(own_place.number("pe_start")?).and_then(|start| {
            let count = SectorCount::new(extent_count.checked_mul(extent.get())?)?;
            SectorRange::with_count(start, count)
        });
        let extents =
            extents.ok_or_else(|| corrupt(own, "extents on a disk", "beyond any disk"))?;
        let mut logical = Vec::new();
        if place.section.contains_key("logical_volumes") {
            for (volume, section) in sections(place.section("logical_volumes")?) {
                let what = format!("logical volume {name}/{volume}");
                let volume_place = Place { section, what: &what };
                logical.push(Logical::read(volume, volume_place, &names, own)?);
            }
        }
        let seqno = place.number("seqno")?;
        Ok(Self { name: name.into(), seqno, extent, extents, extent_count, logical })
    }
}

fn check_group(name: &str, place: Place<'_>) -> Result<(), Refusal> {
    if place.section.contains_key("format") && place.text("format")? != "lvm2" {
        return Err(Refusal::unsupported("its volume group is not of format lvm2"));
    }
    for word in place.words()? {
        let why = match word {
            "EXPORTED" => "is exported (vgimport takes it back)",
            "PARTIAL" => "is partial",
            "PVMOVE" => "is being moved by pvmove",
            word if GROUP_WORDS.contains(&word) => continue,
            word => {
                let reason = format!("status {word} of volume group {name} is not known");
                return Err(Refusal::unsupported(reason));
            }
        };
        return Err(Refusal::unsupported(format!("volume group {name} {why}")));
    }
    Ok(())
}

/// The physical volume with this identity; none of the group may be missing.
fn find_own<'a>(
    physical: &'a Section,
    id: &PvId,
    group: &str,
) -> Result<(&'a str, Place<'a>), Refusal> {
    let mut own = None;
    for (name, section) in sections(physical) {
        let place = Place { section, what: name };
        let words = place.words()?;
        if words.contains(&"MISSING") {
            return Err(Refusal::unsupported(format!(
                "volume group {group} is partial: {name} was missing when it was last changed"
            )));
        }
        if !id.is(place.text("id")?) {
            continue;
        }
        if let Some(word) = words.iter().find(|word| !PHYSICAL_WORDS.contains(word)) {
            return Err(Refusal::unsupported(format!("its status is {word}")));
        }
        if own.replace((name.as_str(), place)).is_some() {
            return Err(corrupt(name, "an identity of its own", "that of another volume"));
        }
    }
    own.ok_or_else(|| corrupt("physical_volumes", "the identity that its label has", "others only"))
}

impl Logical {
    fn read(
        name: &str,
        place: Place<'_>,
        physical: &BTreeSet<&str>,
        own: &str,
    ) -> Result<Self, Refusal> {
        let words = place.words()?;
        if words.iter().any(|word| ["PVMOVE", "LOCKED"].contains(word)) {
            return Err(Refusal::unsupported(format!(
                "pvmove has not finished with {name} (run pvmove again, or pvmove --abort)"
            )));
        }
        let mut odd = words
            .iter()
            .find(|word| !LOGICAL_WORDS.contains(word))
            .map(|word| format!("its status {word} is not known"));
        let count = place.number("segment_count")?;
        let mut segments = Vec::new();
        let mut next = 0;
        for number in 1..=count {
            let segment_name = format!("segment{number}");
            let section = place.section(&segment_name)?;
            let what = format!("{}, {segment_name}", place.what);
            let segment = Segment::read(Place { section, what: &what }, physical, own)?;
            if segment.first != next {
                return Err(corrupt(&what, &format!("start_extent {next}"), segment.first));
            }
            next = segment.end().ok_or_else(|| corrupt(&what, "an end", "none"))?;
            segments.push(segment);
        }
        let others =
            place.section.iter().filter(|(name, _)| !LOGICAL_NAMES.contains(&name.as_str()));
        for (other, node) in others {
            match node {
                Node::Section(_) => {
                    let number = other.strip_prefix("segment").and_then(|n| n.parse().ok());
                    if number.is_none_or(|number: u64| !(1..=count).contains(&number)) {
                        return Err(corrupt(place.what, &format!("{count} segments"), other));
                    }
                }
                _ => odd = Some(format!("what its metadata calls {other} is not known")),
            }
        }
        let hidden = !words.contains(&"VISIBLE");
        Ok(Self { name: name.into(), segments, hidden, odd })
    }

    /// What it is, in lvm2's word for its segments.
    pub(super) fn kind(&self) -> String {
        let kinds: BTreeSet<&str> = self.segments.iter().map(Segment::kind).collect();
        kinds.into_iter().collect::<Vec<_>>().join(", ")
    }
}
