//! What is in the last partition, and growing it.

use anyhow::{Context, Result, bail};
use imagezip::disk::in_use::{Use, uses_of};
use imagezip::disk::{ReadDisk, SourceOptions, Window, open_source};
use imagezip::fs::grow::Growable;
use imagezip::fs::{self, Allocation};
use imagezip::units::{SectorCount, SectorRange};
use std::io;
use std::path::Path;

/// A filesystem is grown if it gains at least this, 1 MiB: what is less is what tools leave for
/// alignment.
const GAIN_MIN: SectorCount = SectorCount::from_u32(2048);

/// What a partition holds.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// Its name as people know it; `None` for unknown content.
    pub(crate) name: Option<&'static str>,
    /// What can be done with it.
    pub(crate) kind: Kind,
    /// The name of something that has its mark at the end of the partition.
    pub(crate) marked_at_end: Option<&'static str>,
    size: SectorCount,
    /// Why nothing can be done, for [`Kind::Other`].
    why: Option<String>,
    /// Why it has to be repaired first, if nobody has it mounted.
    damage: Option<String>,
}

/// What can be done with the content of a partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// The kernel grows it.
    Growable(Growable),
    /// Swap: more of it helps nobody.
    Swap,
    /// Something else, or nothing.
    Other,
}

impl Content {
    /// Of a partition with a device of its own.
    pub(crate) fn of_device(path: &Path) -> Result<Self> {
        Self::of(&open_source(path, SourceOptions::default())?)
            .with_context(|| path.display().to_string())
    }

    /// Of a part of a disk.
    pub(crate) fn of_range(disk: &dyn ReadDisk, range: SectorRange) -> Result<Self> {
        Self::of(&Window::new(disk, range))
    }

    fn of(disk: &dyn ReadDisk) -> Result<Self> {
        let unknown = Self {
            name: None,
            kind: Kind::Other,
            marked_at_end: None,
            size: SectorCount::ZERO,
            why: None,
            damage: None,
        };
        if let Some(member) = fs::member_of(disk)? {
            let name = member.filesystem.name;
            let at_end = member.mark_offset > disk.size_bytes() / 2;
            let marked_at_end = Some(name).filter(|_| at_end);
            return Ok(Self { name: Some(name), marked_at_end, ..unknown });
        }
        let Some(found) = fs::probe(disk)? else { return Ok(unknown) };
        let (name, size) = (Some(found.name), found.size);
        let growable = Growable::of(&found, disk)?;
        let damage = match growable {
            Some(growable) => growable.damage(&found, disk)?,
            None => None,
        };
        let why = match &found.allocation {
            Allocation::Unsupported { reason } if found.name == "ambiguous" => Some(reason.clone()),
            _ => None,
        };
        let kind = match (growable, found.name) {
            (Some(growable), _) => Kind::Growable(growable),
            (None, "linux-swap") => Kind::Swap,
            (None, _) => Kind::Other,
        };
        Ok(Self { name, kind, size, why, damage, ..unknown })
    }

    /// Why it has to be repaired before it is grown, unless somebody has it mounted.
    pub(crate) fn damage(&self, device: &Path) -> Result<Option<String>> {
        // What is mounted is never clean on the disk; the kernel knows better.
        let in_use = !uses_of(device)?.is_empty();
        let damage = self.damage.as_ref().filter(|_| !in_use);
        Ok(damage.map(|damage| format!("{damage}; then run imagegrow again")))
    }

    /// Why it stays as it is; `None` for what can be grown.
    pub(crate) fn left(&self) -> Option<String> {
        if matches!(self.kind, Kind::Growable(_)) {
            return None;
        }
        Some(match (self.name, &self.why) {
            (_, Some(why)) => why.clone(),
            (Some(name), None) => {
                format!("{name} is not grown by this program; use its own tools")
            }
            (None, None) => "its content is not known".into(),
        })
    }

    /// True when a partition of this length is worth growing into.
    pub(crate) fn gains(&self, length: SectorCount) -> bool {
        let gain = length.checked_sub(self.size).unwrap_or_default();
        matches!(self.kind, Kind::Growable(_)) && gain >= GAIN_MIN
    }

    /// Grows it to a device of so many bytes; answers its capacity in bytes before and after.
    pub(crate) fn grow(&self, device: &Path, device_bytes: u64) -> Result<[u64; 2]> {
        let Kind::Growable(growable) = self.kind else { bail!("it cannot be grown") };
        if let Some(damage) = self.damage(device)? {
            bail!("{damage}");
        }
        let mounted = growable.mount(device).map_err(|error| reason(error, device))?;
        let before = mounted.capacity_bytes()?;
        mounted.grow(device_bytes).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "the kernel does not allow it to be grown: that takes root with the right \
                     CAP_SYS_RESOURCE, and a filesystem without errors"
                }
                io::ErrorKind::Unsupported => {
                    "the kernel does not grow this form of it while it is mounted; use its own \
                     tools (resize2fs)"
                }
                _ => "the kernel does not grow it",
            };
            anyhow::Error::from(error).context(hint)
        })?;
        Ok([before, mounted.capacity_bytes()?])
    }
}

/// Why a filesystem cannot be mounted.
fn reason(error: io::Error, device: &Path) -> anyhow::Error {
    let uses = uses_of(device).unwrap_or_default();
    let uses: Vec<_> = uses.iter().map(Use::to_string).collect();
    let hint = if error.kind() == io::ErrorKind::ResourceBusy && !uses.is_empty() {
        format!("it cannot be mounted for writing; {}", uses.join("; "))
    } else {
        "it cannot be mounted (the kernel's log says why)".into()
    };
    anyhow::Error::from(error).context(hint)
}
