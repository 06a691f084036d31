//! Volumes: what stands inside a partition that is not one filesystem but holds several.
//!
//! What it owns: [`Volume`], what is told about one of them, and [`examine`], which asks the readers
//! of filesystems about its content. What it never does: know how a volume's sectors map to those
//! of the partition, or look into a container inside a container.

use super::{Allocation, Filesystem, ProbeOptions, probe_volume};
use crate::disk::ReadDisk;
use crate::sector_set::SectorSet;
use crate::units::{SectorCount, SectorRange};

/// A volume of a container: a logical volume of LVM2, a slot of a BSD disklabel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Volume {
    /// Its name as its own tools write it: `vg0/root`.
    pub name: String,
    /// What its container says it is: `linear`, `thin-pool`.
    pub kind: String,
    /// Where it starts in its partition, when it is there in one piece and its content starts there.
    pub start: Option<SectorCount>,
    /// Its length. Of a volume that spans several partitions, the length of what is here.
    pub size: SectorCount,
    /// The name of the filesystem in it, when one was recognised.
    pub filesystem: Option<&'static str>,
    /// The label of that filesystem.
    pub label: Option<String>,
    /// The features of that filesystem.
    pub features: Vec<String>,
    /// Sectors of it that are kept, short gaps not counted.
    pub kept: SectorCount,
    /// What becomes of it.
    pub verdict: VolumeVerdict,
}

/// What becomes of a volume.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum VolumeVerdict {
    /// A filesystem that is understood: its allocated sectors.
    Allocated,
    /// Everything, because nothing we know stands there.
    WholeUnknown,
    /// Everything, because the map cannot be trusted; the reason completes "kept whole: ...".
    WholeDoubtful(String),
}

impl Volume {
    /// A volume that is kept whole without a look into it; `reason` completes "kept whole: ...".
    pub fn whole(
        name: impl Into<String>,
        kind: impl Into<String>,
        size: SectorCount,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            start: None,
            size,
            filesystem: None,
            label: None,
            features: Vec::new(),
            kept: size,
            verdict: VolumeVerdict::WholeDoubtful(reason.into()),
        }
    }

    /// Why it is kept whole although something was recognised; `None` for the other verdicts.
    pub fn doubt(&self) -> Option<&str> {
        match &self.verdict {
            VolumeVerdict::WholeDoubtful(reason) => Some(reason),
            VolumeVerdict::Allocated | VolumeVerdict::WholeUnknown => None,
        }
    }
}

/// Asks what a volume holds; `disk` is all of it. Returns what there is to tell, and the sectors to
/// keep as the volume counts them. A volume that cannot be read is kept whole.
pub fn examine(
    name: impl Into<String>,
    kind: impl Into<String>,
    disk: &dyn ReadDisk,
    options: ProbeOptions,
) -> (Volume, SectorSet) {
    let size = SectorCount::holding_bytes(disk.size_bytes()).unwrap_or_default();
    let mut volume = Volume::whole(name, kind, size, String::new());
    let mut set = SectorSet::from_range(SectorRange::whole(size));
    volume.verdict = match probe_volume(disk, options) {
        Err(error) => VolumeVerdict::WholeDoubtful(error.to_string()),
        Ok(None) => VolumeVerdict::WholeUnknown,
        Ok(Some(mut found)) => {
            volume.filesystem = Some(found.name);
            volume.label = found.label.take();
            volume.features = std::mem::take(&mut found.features);
            match found.doubt(size) {
                Some(reason) => VolumeVerdict::WholeDoubtful(reason),
                None => {
                    set = found.take_kept(size);
                    volume.kept = set.count();
                    VolumeVerdict::Allocated
                }
            }
        }
    };
    (volume, set)
}

impl Filesystem {
    /// Whether `claim`, made of the same partition, is but a volume at its very start seen from
    /// outside.
    pub(super) fn holds_at_start(&self, claim: &Self) -> bool {
        self.volumes.iter().any(|volume| {
            volume.start == Some(SectorCount::ZERO)
                && volume.filesystem == Some(claim.name)
                && claim.size <= volume.size
        })
    }

    /// Why its map is not to be used in a partition of `room`; `None` when it is.
    pub fn doubt(&self, room: SectorCount) -> Option<String> {
        match &self.allocation {
            Allocation::Unsupported { reason } => Some(reason.clone()),
            Allocation::Corrupt(corrupt) => Some(corrupt.to_string()),
            Allocation::Known(_) if self.size > room => Some(format!(
                "the filesystem says it has {} sectors, the partition has {room}",
                self.size
            )),
            Allocation::Known(_) => None,
        }
    }

    /// The allocated sectors, and whatever lies behind the filesystem in its partition of `room`;
    /// all of it when there is no map. Takes the map out: it can be large, and is needed once.
    pub fn take_kept(&mut self, room: SectorCount) -> SectorSet {
        let whole = SectorRange::whole(room);
        match &mut self.allocation {
            Allocation::Known(set) => {
                let behind = whole.after(SectorRange::whole(self.size).end());
                std::mem::take(set).union(&SectorSet::from_range(behind))
            }
            Allocation::Unsupported { .. } | Allocation::Corrupt(_) => SectorSet::from_range(whole),
        }
    }
}
