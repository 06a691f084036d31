//! BSD disklabels: a slice, a GPT partition or a bare disk with partitions `a` to `p` in it.
//!
//! What it owns: the map of what holds a label, which is the union of the maps of its partitions and
//! all that no partition covers. What it never does: believe a label by itself. What its sectors
//! are counted from is settled by where filesystems are found; a label that fits no place, or two,
//! keeps all.
//!
//! A partition without a filesystem we know is kept, swap too: FreeBSD puts crash dumps there. Swap
//! is left out when the content of page files is.
//!
//! Read in this order: `label`, `layout`.

mod label;
mod layout;

use super::refusal::{Refusal, settle};
use super::{Container, Filesystem, ProbeOptions, Volume, VolumeVerdict};
use crate::disk::{DiskError, Patched, ReadDisk, Window};
use crate::fs::examine_volume;
use crate::sector_set::SectorSet;
use crate::units::{Sector, SectorCount, SectorRange};
use label::Label;
use layout::Placed;

/// For the list of containers.
pub(super) const CONTAINER: Container =
    Container { name: "bsd-disklabel", is_marked: |disk| Ok(label::mark(disk)?.is_some()), probe };

/// What is kept at the start whatever the partitions say: boot blocks and label (`BBSIZE`).
const BOOT: SectorCount = SectorCount::from_u32(16);

/// A label, and what its sectors turned out to be counted from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settled {
    /// Byte offset of the label in its slice.
    pub at: u64,
    /// The bytes that its checksum covers.
    pub bytes: Vec<u8>,
    /// The first sector of the slice, as the label counts.
    pub origin: SectorCount,
    /// Bytes of the sectors it counts in.
    pub sector_bytes: u64,
    /// Its partition `c` starts there too, as FreeBSD has it; in OpenBSD it starts with the disk.
    pub raw_part_is_slice: bool,
    /// The index of the last partition inside the slice.
    pub last_inside: usize,
}

/// The partitions of a label at one place, and what they hold.
struct Reading<'a> {
    origin: SectorCount,
    placed: Vec<Placed<'a>>,
    volumes: Vec<Volume>,
    kept: SectorSet,
    /// How many hold something that was recognised.
    recognised: usize,
}

/// Recognises a disklabel and reads the maps of its partitions.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk, options: ProbeOptions) -> Result<Option<Filesystem>, DiskError> {
    let Some(at) = label::mark(disk)? else { return Ok(None) };
    let mut found = Filesystem::unread(CONTAINER.name, disk.sectors());
    found.allocation = settle(allocated(disk, at, options, &mut found))?;
    Ok(Some(found))
}

fn allocated(
    disk: &dyn ReadDisk,
    at: u64,
    options: ProbeOptions,
    found: &mut Filesystem,
) -> Result<SectorSet, Refusal> {
    let label = Label::read(disk, at)?;
    found.uuid.clone_from(&label.uid);
    let reading = choose(disk, &label, options)?;
    if !reading.origin.is_zero() {
        found.features.push(format!("sectors counted from {} before it", reading.origin));
    }
    found.volumes = reading.volumes;
    Ok(reading.kept)
}

/// The label of a slice and what it counts from; `None` without a label, or with one that keeps all.
///
/// # Errors
/// When the disk cannot be read.
pub fn settled(disk: &dyn ReadDisk, options: ProbeOptions) -> Result<Option<Settled>, DiskError> {
    let Some(at) = label::mark(disk)? else { return Ok(None) };
    let outcome = Label::read(disk, at).and_then(|label| {
        let reading = choose(disk, &label, options)?;
        let last_inside = reading.placed.iter().map(|(entry, _)| entry.index).max();
        let (origin, known) = (reading.origin, reading.recognised > 0);
        Ok(known.then(|| Settled {
            at,
            bytes: label.bytes.clone(),
            origin,
            sector_bytes: label.sector_bytes,
            raw_part_is_slice: label.raw_part().is_some_and(|entry| entry.offset == origin),
            last_inside: last_inside.unwrap_or_default(),
        }))
    });
    match outcome {
        Ok(settled) => Ok(settled),
        Err(Refusal::Disk(error)) => Err(error),
        Err(Refusal::Unsupported(_) | Refusal::Corrupt(_)) => Ok(None),
    }
}

/// The one place at which the label's partitions hold what we know.
fn choose<'a>(
    disk: &dyn ReadDisk,
    label: &'a Label,
    options: ProbeOptions,
) -> Result<Reading<'a>, Refusal> {
    let (mut chosen, mut unknown): (Option<Reading<'_>>, Option<Reading<'_>>) = (None, None);
    let mut impossible = None;
    for origin in layout::origins(label, disk.sectors()) {
        let placed = match layout::place(label, origin, disk.sectors()) {
            Ok(placed) => placed,
            Err(reason) => {
                impossible.get_or_insert(reason);
                continue;
            }
        };
        let reading = read(disk, label, origin, placed, options);
        match (&chosen, reading.recognised) {
            (_, 0) => drop(unknown.get_or_insert(reading)),
            (None, _) => chosen = Some(reading),
            (Some(first), _) => {
                return Err(Refusal::unsupported(format!(
                    "the sectors of its disklabel may be counted from {} or from {origin} before \
                     it: filesystems are found either way",
                    first.origin
                )));
            }
        }
    }
    match (chosen, impossible, unknown) {
        (Some(reading), ..) => Ok(reading),
        (None, Some(reason), _) => Err(Refusal::Unsupported(reason)),
        (None, None, Some(mut reading)) => {
            // Nothing says that these are the places.
            reading.kept = SectorSet::from_range(SectorRange::whole(disk.sectors()));
            Ok(reading)
        }
        (None, None, None) => Err(Refusal::unsupported("its disklabel names no partition")),
    }
}

/// Reads what partitions hold.
fn read<'a>(
    disk: &dyn ReadDisk,
    label: &Label,
    origin: SectorCount,
    placed: Vec<Placed<'a>>,
    options: ProbeOptions,
) -> Reading<'a> {
    // A partition at the very start holds boot code and label too, which are none of its own; boot
    // code can look like a partition table.
    let label_end = usize::try_from(label.at).unwrap_or_default() + label.bytes.len();
    let without_label = Patched::new(disk, 0, vec![0; label_end]);
    let all = SectorRange::whole(disk.sectors());
    let mut kept = SectorSet::from_range(all.until(SectorRange::whole(BOOT).end()));
    let (mut volumes, mut inside, mut recognised) = (Vec::new(), Vec::new(), 0);
    for (entry, range) in &placed {
        let window = Window::new(&without_label, *range);
        let name = entry.letter().to_string();
        let (mut volume, mut set) = examine_volume(name, entry.kind_name(), &window, options);
        recognised += usize::from(volume.filesystem.is_some());
        let nothing_known = volume.verdict == VolumeVerdict::WholeUnknown;
        if entry.is_swap() && nothing_known && options.leave_out_page_files {
            set = SectorSet::empty();
            volume.verdict = VolumeVerdict::Allocated;
            volume.kept = SectorCount::ZERO;
        }
        volume.start = range.start().distance_from(Sector::ZERO);
        kept = kept.union(&set.shift(volume.start.unwrap_or_default()));
        volumes.push(volume);
        inside.push(*range);
    }
    let inside: SectorSet = inside.into_iter().collect();
    kept = kept.union(&inside.complement(all));
    Reading { origin, placed, volumes, kept, recognised }
}
