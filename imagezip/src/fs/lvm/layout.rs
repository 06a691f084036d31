//! Which sectors of a physical volume its logical volumes need.
//!
//! What it owns: placing segments on the physical volume, the proof that nothing overlaps or leaves
//! it, and the decision about each logical volume: look into it, or keep it whole, and why.

use super::group::{Group, Logical, corrupt};
use super::label::{self, Label};
use super::segment::Segment;
use super::view::{Piece, View};
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use crate::fs::{ProbeOptions, Volume, VolumeVerdict, examine_volume};
use crate::sector_set::SectorSet;
use crate::units::{SectorCount, SectorRange};
use std::collections::HashMap;

/// What is kept, as the physical volume counts, with a line for each logical volume that is on it.
pub(super) fn read(
    disk: &dyn ReadDisk,
    label: &Label,
    group: &Group,
    options: ProbeOptions,
) -> Result<(Vec<Volume>, SectorSet), Refusal> {
    check_extents(disk, label, group)?;
    let mut placed = Vec::new();
    for (index, logical) in group.logical.iter().enumerate() {
        for segment in &logical.segments {
            for first in &segment.areas {
                placed.push((group.extent_range(*first, segment.area_len)?, index));
            }
        }
    }
    check_overlaps(&mut placed, group)?;
    let mut owned = vec![Vec::new(); group.logical.len()];
    for (range, index) in placed {
        owned.get_mut(index).into_iter().for_each(|ranges: &mut Vec<_>| ranges.push(range));
    }

    let users = users(group);
    let whole = SectorRange::whole(disk.sectors());
    let mut kept = vec![whole.until(group.extents.start()), whole.after(group.extents.end())];
    let mut volumes = Vec::new();
    for ((logical, user), own) in group.logical.iter().zip(users).zip(owned) {
        if own.is_empty() {
            continue;
        }
        let own = own.into_iter().collect();
        let (volume, set) = examine(disk, group, logical, user, &own, options)?;
        volumes.push(volume);
        kept.extend(set.ranges());
    }
    Ok((volumes, kept.into_iter().collect()))
}

/// The extents are on the volume, and nothing of LVM2 itself is among them.
fn check_extents(disk: &dyn ReadDisk, label: &Label, group: &Group) -> Result<(), Refusal> {
    let size = disk.size_bytes();
    if label.device_size > size {
        return Err(Refusal::unsupported(format!(
            "it was made on a device of {} bytes, and here are {size}",
            label.device_size
        )));
    }
    let extents = group.extents;
    let first = extents.byte_offset();
    if extents.byte_end() > size || first < label::LABEL_BYTES_MAX {
        let found = format!("sectors {extents}");
        return Err(corrupt("physical_volumes", "extents behind the label, on the volume", found));
    }
    if !matches!(label.data.as_slice(), [area] if area.offset == first) {
        return Err(Refusal::unsupported("its label and its metadata differ on where data begins"));
    }
    for area in label.metadata.iter().chain(&label.boot) {
        if area.offset < extents.byte_end() && area.end() > first {
            let found = format!("one from byte {} to {}", area.offset, area.end());
            return Err(corrupt("physical_volumes", "no area among the extents", found));
        }
    }
    Ok(())
}

fn check_overlaps(placed: &mut [(SectorRange, usize)], group: &Group) -> Result<(), Refusal> {
    placed.sort_unstable();
    for pair in placed.windows(2) {
        let [(a, first), (b, second)] = pair else { continue };
        if a.intersection(*b).is_some() {
            let name = |index: usize| group.logical.get(index).map_or("", |l| l.name.as_str());
            let found =
                format!("{} and {} both at sector {}", name(*first), name(*second), b.start());
            return Err(corrupt("logical_volumes", "extents of one owner", found));
        }
    }
    Ok(())
}

impl Group {
    /// Where extents of the physical volume are.
    fn extent_range(&self, first: u64, count: u64) -> Result<SectorRange, Refusal> {
        let range = || {
            let end = first.checked_add(count).filter(|end| *end <= self.extent_count)?;
            let sector = |extent: u64| {
                let distance = SectorCount::new(extent.checked_mul(self.extent.get())?)?;
                self.extents.start().checked_add(distance)
            };
            SectorRange::new(sector(first)?, sector(end)?)
        };
        range().ok_or_else(|| {
            let expected = format!("extents below {}", self.extent_count);
            corrupt("logical_volumes", &expected, format!("{count} from {first} on"))
        })
    }
}

/// A logical volume that stands on another.
#[derive(Clone, Copy)]
struct User<'a> {
    logical: &'a Logical,
    segment: &'a Segment,
    /// What the other is to it: the name behind which it stands.
    role: &'a str,
}

/// For each logical volume, the one that stands on it.
fn users(group: &Group) -> Vec<Option<User<'_>>> {
    let names: HashMap<&str, usize> =
        group.logical.iter().enumerate().map(|(index, l)| (l.name.as_str(), index)).collect();
    let mut users = vec![None; group.logical.len()];
    for logical in &group.logical {
        for segment in &logical.segments {
            for (role, name) in &segment.refers {
                if let Some(user) = names.get(name.as_str()).and_then(|i| users.get_mut(*i)) {
                    user.get_or_insert(User { segment, logical, role });
                }
            }
        }
    }
    users
}

/// Decides about one logical volume, of which `own` is on this physical volume.
fn examine(
    disk: &dyn ReadDisk,
    group: &Group,
    logical: &Logical,
    user: Option<User<'_>>,
    own: &SectorSet,
    options: ProbeOptions,
) -> Result<(Volume, SectorSet), Refusal> {
    let name = format!("{}/{}", group.name, logical.name);
    let kind = logical.kind();
    let whole = |reason: String| {
        (Volume::whole(name.clone(), kind.clone(), own.count(), reason), own.clone())
    };
    let reason = user.map(|user| reason_of(user, &group.name));
    if let Some(reason) = reason.or_else(|| reason_inside(logical)) {
        return Ok(whole(reason));
    }
    let mut pieces = Vec::new();
    for segment in &logical.segments {
        match piece(group, segment)? {
            Some(piece) => pieces.push(piece),
            None => return Ok(whole("its extents are not whole stripes".into())),
        }
    }
    let view = View::new(disk, pieces);
    let (volume, set) = examine_volume(name.clone(), kind.clone(), &view, options);
    if volume.verdict != VolumeVerdict::Allocated {
        return Ok((volume, own.clone()));
    }
    match view.map(&set) {
        Some(set) => Ok((volume, set)),
        None => Ok(whole("its filesystem reaches beyond it".into())),
    }
}

/// Why a volume that another stands on is kept whole.
fn reason_of(user: User<'_>, group: &str) -> String {
    let of = format!("{group}/{}", user.logical.name);
    match (user.segment.base(), user.role) {
        ("snapshot", "origin") => "it has a snapshot, which reads also what is free by now; \
                                   remove the snapshot (lvremove) for a small image"
            .into(),
        ("snapshot", _) => "it holds what a snapshot needs of its origin".into(),
        ("thin", _) => format!("thin volume {of} reads also what is free in it"),
        ("thin-pool", _) => {
            format!("it is part of thin pool {of}, whose map of used blocks is not read")
        }
        ("cache" | "cache-pool" | "writecache", _) => format!(
            "it is part of cache {of}: some of its content is in another volume (lvconvert \
             --uncache makes it plain)"
        ),
        ("vdo" | "vdo-pool", _) => format!("it is part of VDO volume {of}, which is not read"),
        ("mirror", _) => format!("it is part of mirror {of}, of which no leg is preferred"),
        (base, _) if base.starts_with("raid") => {
            format!("it is part of {base} volume {of}, which belongs together")
        }
        (base, _) => format!("{base} volume {of} stands on it"),
    }
}

/// Why a volume is kept whole by what its own metadata says; `None` when it can be looked into.
fn reason_inside(logical: &Logical) -> Option<String> {
    if let Some(odd) = &logical.odd {
        return Some(odd.clone());
    }
    if logical.segments.iter().any(|segment| !segment.plain) {
        return Some(format!("it is {}, or so in part, which is not looked into", logical.kind()));
    }
    if logical.segments.iter().any(|segment| !segment.local) {
        return Some(
            "the rest of it is on other disks; save all of them, or pvmove it onto one".into(),
        );
    }
    logical.hidden.then(|| "it is internal to its volume group".into())
}

/// A segment in sectors; `None` when its stripes do not fill its areas.
fn piece(group: &Group, segment: &Segment) -> Result<Option<Piece>, Refusal> {
    let sectors = |extents: u64| {
        let sectors = extents.checked_mul(group.extent.get()).and_then(SectorCount::new);
        sectors.ok_or_else(|| corrupt("logical_volumes", "volumes of a disk's size", "more"))
    };
    let (start, len) = (sectors(segment.first)?, sectors(segment.count)?);
    let start = SectorRange::whole(start).end();
    let range = SectorRange::with_count(start, len)
        .ok_or_else(|| corrupt("logical_volumes", "volumes of a disk's size", "more"))?;
    let mut areas = Vec::new();
    for first in &segment.areas {
        areas.push(group.extent_range(*first, segment.area_len)?.start());
    }
    let area_len = sectors(segment.area_len)?;
    let stripe = if areas.len() > 1 { segment.stripe } else { area_len };
    let fits = !stripe.is_zero() && area_len.get() % stripe.get() == 0;
    Ok(fits.then_some(Piece { range, areas, stripe }))
}
