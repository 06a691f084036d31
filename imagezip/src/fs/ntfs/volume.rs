//! What the volume says of itself, in `$Volume`, and whether the MFT's mirror agrees.
//!
//! What it owns: version, label and flags of the volume, and the comparison of the first four
//! records with their copies. What it never does: repair from the mirror.

use super::boot::Geometry;
use super::mft::{Mapped, Mft};
use super::raw;
use super::record::Record;
use crate::disk::ReadDisk;
use crate::fs::ProbeOptions;
use crate::fs::identity::utf16_text;
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Flags of the volume that announce work on its structures, and what Windows calls them.
const UNFINISHED: [(u16, &str); 5] = [
    (0x0001, "dirty"),
    (0x0002, "its $LogFile is to be resized"),
    (0x0004, "it is to be upgraded"),
    (0x0010, "its change journal is being deleted"),
    (0x4000, "chkdsk is at work"),
];

/// Records that have a copy in `$MFTMirr`.
const MIRRORED: u64 = 4;

/// What `$Volume` says.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    /// Version of the format, `3.1`.
    pub(super) version: String,
    /// The label.
    pub(super) label: Option<String>,
    flags: u16,
}

impl Volume {
    /// Reads record 3.
    pub(super) fn read(record: &Record) -> Result<Self, Refusal> {
        let value = record.resident(raw::VOLUME_INFORMATION)?.unwrap_or_default();
        let Ok((information, _)) = raw::VolumeInformation::ref_from_prefix(value) else {
            return Err(record.corrupt("$VOLUME_INFORMATION", "none".into()));
        };
        let version = format!("{}.{}", information.major, information.minor);
        if !["1.1", "1.2", "3.0", "3.1"].contains(&version.as_str()) {
            return Err(Refusal::unsupported(format!("NTFS version {version} is not known")));
        }
        Ok(Self {
            version,
            label: record.resident(raw::VOLUME_NAME)?.and_then(utf16_text),
            flags: information.flags.get(),
        })
    }

    /// Refuses a volume with unfinished work.
    pub(super) fn check(&self, options: ProbeOptions) -> Result<(), Refusal> {
        let marks = UNFINISHED.iter().filter(|(flag, _)| self.flags & flag != 0);
        let names: Vec<_> = marks.map(|(_, name)| *name).collect();
        if names.is_empty() {
            return Ok(());
        }
        options.refuse_unclean(format!(
            "it is marked: {}. Boot Windows, run chkdsk /f on it and shut down with shutdown /s \
             /t 0, then save again",
            names.join(", ")
        ))
    }
}

/// Compares the first records of the MFT with their copies.
pub(super) fn check_mirror(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    mft: &Mft<'_>,
    mirror: &Mapped,
) -> Result<(), Refusal> {
    let what = "$MFTMirr";
    let place = geometry.offset(geometry.mirror_cluster);
    if mirror.runs.list().first().and_then(|run| run.cluster) != Some(geometry.mirror_cluster) {
        let expected = format!("clusters from {} on", geometry.mirror_cluster);
        return Err(Refusal::corrupt(what, place, expected, "others"));
    }
    for number in 0..MIRRORED {
        let at = number * geometry.record_bytes;
        let mut bytes = vec![0; usize::try_from(geometry.record_bytes).unwrap_or_default()];
        let whole = mirror.runs.read(disk, geometry, &mut bytes, at)?;
        let copy = Record::parse(number, place.saturating_add(at), bytes);
        let same = match copy {
            Ok(copy) => whole && copy.meaning()? == mft.record(number)?.meaning()?,
            Err(Refusal::Corrupt(_)) => false,
            Err(other) => return Err(other),
        };
        if !same {
            let expected = format!("record {number} as in the MFT (chkdsk /f compares them)");
            return Err(Refusal::corrupt(what, place.saturating_add(at), expected, "another"));
        }
    }
    Ok(())
}
