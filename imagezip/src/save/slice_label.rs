//! The disklabel of a slice that is saved by itself.
//!
//! What it owns: the choice between storing a label as it is and storing it with its sectors counted
//! from the start of the slice, with a relocation for the loader. What it never does: change the
//! label so that a load to the same place would not give back the same bytes.

use crate::disk::{DiskError, ReadDisk};
use crate::fs::ProbeOptions;
use crate::fs::bsd_label::{self, Settled};
use crate::ndz::relocation::{Relocation, RelocationKind, relative_label};
use crate::units::{SECTOR_SIZE, Sector, SectorRange};

/// Entries of the label structure of FreeBSD and of OpenBSD. Loaders expect all of it, also when
/// the label uses fewer.
const ENTRIES: [u64; 2] = [8, 16];
/// Bytes of a label before its entries.
const HEAD_LEN: u64 = 148;
/// Bytes of an entry.
const ENTRY_LEN: u64 = 16;

/// A label to be stored in another form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SliceLabel {
    /// For the loader.
    pub relocation: Relocation,
    /// Byte offset in the slice of the bytes to store otherwise.
    pub at: u64,
    /// What to store there.
    pub bytes: Vec<u8>,
    /// What a loader cannot adjust elsewhere, if anything; a sentence.
    pub warning: Option<String>,
}

/// What becomes of a slice's label.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LabelForm {
    /// It is stored as it is: there is none, or it counts from the start of the slice.
    AsItIs,
    /// It is stored relative, with a relocation.
    Relative(SliceLabel),
    /// It is stored as it is, although a load elsewhere would have to adjust it; a sentence.
    CannotFollow(String),
}

/// Decides about the label of `slice`, which is all of `disk` and `place` on the disk around it.
///
/// # Errors
/// When the disk cannot be read.
pub fn label_form(
    disk: &dyn ReadDisk,
    place: SectorRange,
    options: ProbeOptions,
) -> Result<LabelForm, DiskError> {
    let Some(label) = bsd_label::settled(disk, options)? else { return Ok(LabelForm::AsItIs) };
    if label.origin.is_zero() {
        return Ok(LabelForm::AsItIs);
    }
    let cannot = |why: &str| {
        Ok(LabelForm::CannotFollow(format!(
            "its disklabel names sectors of the whole disk, and a load elsewhere cannot adjust \
             them: {why}"
        )))
    };
    if label.origin.get() != place.start().get() {
        return cannot("it counts from another start than that of this partition");
    }
    if label.sector_bytes != SECTOR_SIZE {
        return cannot("it counts in sectors that are not 512 bytes long");
    }
    let kind = match label.raw_part_is_slice {
        true => RelocationKind::FREEBSD_DISKLABEL,
        false => RelocationKind::OPENBSD_DISKLABEL,
    };
    match relative_label(kind, &label.bytes, place) {
        Some(bytes) => Ok(LabelForm::Relative(relative(kind, &label, bytes))),
        None => cannot("the format has no form for it"),
    }
}

fn relative(kind: u32, label: &Settled, bytes: Vec<u8>) -> SliceLabel {
    let openbsd = kind == RelocationKind::OPENBSD_DISKLABEL;
    let [freebsd_entries, openbsd_entries] = ENTRIES;
    let entries = if openbsd { openbsd_entries } else { freebsd_entries };
    let used = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let sector = Sector::containing_byte(label.at).unwrap_or_default();
    let warning = (openbsd && label.last_inside >= 8).then(|| {
        "partitions i and later of its disklabel are in this slice, and loaders leave them as \
         they are: after a load elsewhere correct them with disklabel -e"
            .to_owned()
    });
    SliceLabel {
        relocation: Relocation {
            kind,
            sector,
            offset: u32::try_from(label.at % SECTOR_SIZE).unwrap_or_default(),
            size: used.max(HEAD_LEN + entries * ENTRY_LEN),
        },
        at: label.at,
        bytes,
        warning,
    }
}
