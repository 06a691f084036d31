//! LVM2 physical volumes.
//!
//! What it owns: which extents of a physical volume belong to which logical volume, and the content
//! of those logical volumes that are linear or striped and lie on this physical volume alone: each is
//! shown to the readers of filesystems as a disk of its own. What it never does: know the inside of
//! thin pools, caches, mirrors, snapshots; follow a volume onto another disk; or take one of two
//! answers when the metadata contradicts itself. It reads, no more.
//!
//! Kept are: all before the first extent and behind the last (label, metadata, room for a boot
//! loader), every extent of a logical volume that is not understood, and of the others what their
//! filesystem uses. Extents of no logical volume are free.
//!
//! Layouts come from *Logical Volume Manager (LVM) format* of the libvslvm project, and from what
//! lvm2's own `pvck --dump` and `vgcfgbackup` show.
//!
//! Read in this order: `label`, `metadata`, `text`, `group`, `segment`, `layout`, `view`.

mod group;
mod label;
mod layout;
mod metadata;
mod segment;
mod text;
mod view;

use super::{Container, Filesystem, ProbeOptions, Volume};
use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::{Refusal, settle};
use crate::sector_set::SectorSet;
use crate::units::HumanBytes;
use group::Group;
use label::Label;

/// How it is found.
pub(super) const CONTAINER: Container =
    Container { name: NAME, is_marked: label::is_marked, probe };

const NAME: &str = "lvm2";

/// The identity of a physical volume: 32 letters and digits.
#[derive(Clone, Debug, Eq, PartialEq)]
struct PvId([u8; 32]);

impl PvId {
    /// True when `text`, which has hyphens in it, is the same.
    fn is(&self, text: &str) -> bool {
        text.bytes().filter(|byte| *byte != b'-').eq(self.0)
    }

    /// As lvm2 writes it: groups of 6, 4, 4, 4, 4, 4 and 6.
    fn to_text(&self) -> String {
        let letters = String::from_utf8_lossy(&self.0);
        let mut text = String::new();
        for (index, letter) in letters.chars().enumerate() {
            if [6, 10, 14, 18, 22, 26].contains(&index) {
                text.push('-');
            }
            text.push(if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter });
        }
        text
    }
}

/// Recognises a physical volume, and asks the readers of filesystems about its logical volumes.
///
/// # Errors
/// When the disk cannot be read.
fn probe(disk: &dyn ReadDisk, options: ProbeOptions) -> Result<Option<Filesystem>, DiskError> {
    let mut found = Filesystem::unread(NAME, disk.sectors());
    let outcome = match label::read(disk) {
        Ok(None) => return Ok(None),
        Ok(Some(label)) => read(disk, &label, options, &mut found),
        Err(refusal) => Err(refusal),
    };
    found.allocation = settle(outcome)?;
    Ok(Some(found))
}

fn read(
    disk: &dyn ReadDisk,
    label: &Label,
    options: ProbeOptions,
    found: &mut Filesystem,
) -> Result<SectorSet, Refusal> {
    found.uuid = Some(label.id.to_text());
    let text = metadata_of(disk, label)?;
    let text = text::parse(&text).map_err(|error| {
        let expected = "the text of a volume group";
        Refusal::corrupt("metadata", 0, expected, error.to_string())
    })?;
    let group = Group::of(&text, &label.id)?;
    found.label = Some(group.name.clone());
    found.features = vec![
        format!("seqno {}", group.seqno),
        format!("extents of {}", HumanBytes(group.extent.bytes())),
    ];
    let (volumes, set): (Vec<Volume>, _) = layout::read(disk, label, &group, options)?;
    found.volumes = volumes;
    Ok(set)
}

/// The text of the metadata, of which all copies on this volume must be the same.
fn metadata_of(disk: &dyn ReadDisk, label: &Label) -> Result<Vec<u8>, Refusal> {
    let mut texts = Vec::new();
    for area in &label.metadata {
        texts.push(metadata::read(disk, *area)?);
    }
    if texts.windows(2).any(|pair| pair.first() != pair.last()) {
        return Err(Refusal::unsupported(
            "its metadata areas differ; a command of LVM that changes the volume group makes them \
             the same",
        ));
    }
    match (texts.pop().flatten(), label.used || label.metadata.is_empty()) {
        (Some(text), _) => Ok(text),
        (None, true) => Err(Refusal::unsupported(
            "the metadata of its volume group is on other disks (pvchange --metadataignore n, or \
             pvck --repair, puts a copy here)",
        )),
        (None, false) => Err(Refusal::unsupported(
            "it belongs to no volume group, so nothing says that it is free; pvremove, or put it \
             into a group, for a small image",
        )),
    }
}
