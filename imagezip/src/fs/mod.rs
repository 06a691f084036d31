//! Filesystems: which sectors of a partition are in use.
//!
//! What it owns: the question asked of every partition, [`probe`], and its answer, [`Filesystem`].
//! Each reader is a module that recognises its filesystem by content and reads only what the
//! allocation map needs. What it never does: guess. A reader that meets anything it does not fully
//! understand answers [`Allocation::Unsupported`] or [`Allocation::Corrupt`], and the partition is
//! saved whole.
//!
//! To add a reader: write a module with a function of type [`Reader`], add its `mod` line and its
//! line in `READERS`; one that heeds [`ProbeOptions`] is a [`ReaderWithOptions`] and goes into
//! `READERS_WITH_OPTIONS`; one that holds volumes is a `Container` and goes into `CONTAINERS`.

mod areas;
mod bit_runs;
pub mod bsd_label;
pub mod btrfs;
pub mod exfat;
pub mod ext;
pub mod f2fs;
pub mod fat;
mod features;
pub mod grow;
pub mod hfsplus;
mod identity;
pub mod jfs;
mod lvm;
mod md;
pub mod nilfs2;
pub mod ntfs;
mod options;
mod recognised;
mod refusal;
pub mod reiserfs;
pub mod swap;
pub mod ufs;
mod volume;
pub mod xfs;

pub use options::ProbeOptions;
pub use volume::{Volume, VolumeVerdict, examine as examine_volume};

use crate::disk::{DiskError, ReadDisk};
use crate::partition::{self, Scheme};
use crate::sector_set::SectorSet;
use crate::units::{Sector, SectorCount};
use std::fmt;

/// What a reader found in a partition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filesystem {
    /// Its name as people know it: `ext4`, `linux-swap`.
    pub name: &'static str,
    /// The volume label, when it has one.
    pub label: Option<String>,
    /// Its UUID as text, when it has one.
    pub uuid: Option<String>,
    /// Its features in the words of its own tools, for `imagezip -i`.
    pub features: Vec<String>,
    /// How long it says it is, from the start of the partition.
    pub size: SectorCount,
    /// Which of its sectors are in use.
    pub allocation: Allocation,
    /// What it holds, when it is a container of volumes: a line for each. Its own map is the union
    /// of theirs and of what describes them.
    pub volumes: Vec<Volume>,
}

impl Filesystem {
    /// One of which nothing is known yet but its name and length: all of it would be kept.
    pub(crate) fn unread(name: &'static str, size: SectorCount) -> Self {
        Self {
            name,
            label: None,
            uuid: None,
            features: Vec::new(),
            size,
            allocation: Allocation::Unsupported { reason: "its map was not read".into() },
            volumes: Vec::new(),
        }
    }
}

/// Which sectors of a filesystem are in use, counted from its start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Allocation {
    /// These are in use; every other sector inside the filesystem's size is free for certain.
    Known(SectorSet),
    /// Recognised, but in a form or state whose map cannot be trusted: save all of it.
    Unsupported {
        /// Why, in words that complete "kept whole: ...".
        reason: String,
    },
    /// Its own structures contradict each other or fail their checksums: save all of it.
    Corrupt(Corrupt),
}

/// A contradiction in a structure on the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Corrupt {
    /// Which structure, in the filesystem's own words: `block bitmap of group 7`.
    pub what: String,
    /// Where it stands, from the start of the filesystem.
    pub at: Sector,
    /// What a sound structure would hold.
    pub expected: String,
    /// What was there.
    pub found: String,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, at, expected, found } = self;
        write!(f, "{what} (at sector {at} of it): expected {expected}, found {found}")
    }
}

/// Recognises one family of filesystems by content and reads its allocation map; `None` when the
/// content is something else.
pub type Reader = fn(&dyn ReadDisk) -> Result<Option<Filesystem>, DiskError>;

/// A [`Reader`] that heeds what the user asked for.
pub type ReaderWithOptions =
    fn(&dyn ReadDisk, ProbeOptions) -> Result<Option<Filesystem>, DiskError>;

/// Readers that always do the same. The order only decides in which order several claims are named.
const READERS: &[Reader] = &[
    btrfs::probe,
    ext::probe,
    f2fs::probe,
    hfsplus::probe,
    jfs::probe,
    nilfs2::probe,
    recognised::probe,
    reiserfs::probe,
    swap::probe,
    xfs::probe,
];

/// Readers that heed the options.
const READERS_WITH_OPTIONS: &[ReaderWithOptions] =
    &[exfat::probe, fat::probe, ntfs::probe, ufs::probe];

/// Recognises a partition that holds volumes, and asks the readers about each of them.
pub(crate) struct Container {
    /// Its name as people know it.
    pub(crate) name: &'static str,
    /// Whether the content bears its mark, sound or not.
    pub(crate) is_marked: fn(&dyn ReadDisk) -> Result<bool, DiskError>,
    /// Reads it; whatever [`Self::is_marked`] is true for, it claims.
    pub(crate) probe: ReaderWithOptions,
}

/// Containers. They are looked into in partitions, not inside each other.
const CONTAINERS: &[Container] = &[bsd_label::CONTAINER, lvm::CONTAINER];

/// Asks every reader; `None` when none knows the content of `disk`, which is one partition (or a
/// whole disk without a table).
///
/// Formatting often leaves the superblock of an older filesystem behind, since each kind has its
/// own place for it. Nothing on the disk says which of two is the living one, and the map of the
/// dead one would lose data. So when several readers claim the content, the answer is
/// [`Allocation::Unsupported`] and names them all.
///
/// # Errors
/// When the disk cannot be read. The caller then saves the partition whole, which meets the same
/// sector again and reports it.
pub fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    probe_with(disk, ProbeOptions::default())
}

/// [`probe`] with what the user asked for.
///
/// # Errors
/// As [`probe`].
pub fn probe_with(
    disk: &dyn ReadDisk,
    options: ProbeOptions,
) -> Result<Option<Filesystem>, DiskError> {
    if let Some(member) = member_of(disk)? {
        return Ok(Some(member.filesystem));
    }
    let mut claims = contents(disk, options)?;
    for container in CONTAINERS {
        let Some(found) = (container.probe)(disk, options)? else { continue };
        claims.retain(|claim| !found.holds_at_start(claim));
        claims.push(found);
    }
    Ok(judge(claims))
}

/// What a volume inside a partition holds. Containers of volumes are not looked into again. A
/// partition table, as on the disk of a virtual machine, is a reason to keep all: a filesystem may
/// have stood there before it.
///
/// # Errors
/// When the disk cannot be read.
pub(crate) fn probe_volume(
    disk: &dyn ReadDisk,
    options: ProbeOptions,
) -> Result<Option<Filesystem>, DiskError> {
    let table = partition::read(disk)?;
    if table.scheme != Scheme::None || table.problem.is_some() {
        let reason = "it has a partition table, as the disk of a virtual machine has; save it from \
                      inside the machine for a small image";
        return Ok(Some(whole("partition table", disk, reason.into())));
    }
    if let Some(member) = member_of(disk)? {
        return Ok(Some(member.filesystem));
    }
    let mut claims = contents(disk, options)?;
    for container in CONTAINERS {
        if (container.is_marked)(disk)? {
            let reason =
                format!("it is {} inside a volume, which is not looked into", container.name);
            claims.push(whole(container.name, disk, reason));
        }
    }
    Ok(judge(claims))
}

/// A part of something that spans several devices and marks each of them, often at the end. What
/// else it carries does not count: it may look like a whole filesystem, or be half of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// What is told about it; it is kept whole.
    pub filesystem: Filesystem,
    /// Byte offset of the mark.
    pub mark_offset: u64,
}

/// The mark that makes all of `disk` a member of something larger.
///
/// # Errors
/// When the disk cannot be read.
pub fn member_of(disk: &dyn ReadDisk) -> Result<Option<Member>, DiskError> {
    match md::probe(disk)? {
        Some(member) => Ok(Some(member)),
        None => recognised::member(disk),
    }
}

/// Claims of all readers but those of containers.
fn contents(disk: &dyn ReadDisk, options: ProbeOptions) -> Result<Vec<Filesystem>, DiskError> {
    let mut claims = ask(READERS, disk)?;
    for reader in READERS_WITH_OPTIONS {
        claims.extend(reader(disk, options)?);
    }
    Ok(claims)
}

/// Something recognised on all of `disk` that is kept whole.
fn whole(name: &'static str, disk: &dyn ReadDisk, reason: String) -> Filesystem {
    Filesystem {
        allocation: Allocation::Unsupported { reason },
        ..Filesystem::unread(name, disk.sectors())
    }
}

fn ask(readers: &[Reader], disk: &dyn ReadDisk) -> Result<Vec<Filesystem>, DiskError> {
    let mut claims = Vec::new();
    for reader in readers {
        claims.extend(reader(disk)?);
    }
    Ok(claims)
}

fn judge(mut claims: Vec<Filesystem>) -> Option<Filesystem> {
    if claims.len() > 1 { Some(ambiguous(&claims)) } else { claims.pop() }
}

fn ambiguous(claims: &[Filesystem]) -> Filesystem {
    let names: Vec<_> = claims.iter().map(|claim| claim.name).collect();
    let reason = format!(
        "it carries the marks of {}; one may be left over from an earlier format \
         (wipefs lists them and removes the dead one)",
        names.join(" and of ")
    );
    let size = claims.iter().map(|claim| claim.size).max().unwrap_or_default();
    Filesystem {
        features: names.into_iter().map(String::from).collect(),
        allocation: Allocation::Unsupported { reason },
        ..Filesystem::unread("ambiguous", size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    fn named(name: &'static str, sectors: u32) -> Filesystem {
        Filesystem {
            label: Some("x".into()),
            allocation: Allocation::Known(SectorSet::empty()),
            ..Filesystem::unread(name, SectorCount::from_u32(sectors))
        }
    }

    #[test]
    fn one_claim_counts_and_two_keep_all() {
        let disk = MemoryDisk::new(vec![0; 4096]);
        let nobody: Reader = |_| Ok(None);
        let old: Reader = |_| Ok(Some(named("old", 7)));
        let new: Reader = |_| Ok(Some(named("new", 5)));
        let asked = |readers: &[Reader]| judge(ask(readers, &disk).unwrap());
        assert_eq!(asked(&[nobody, nobody]), None);
        assert_eq!(asked(&[nobody, old]), Some(named("old", 7)));
        let both = asked(&[old, nobody, new]).unwrap();
        assert_eq!((both.name, both.size.get()), ("ambiguous", 7));
        assert_eq!(both.features, ["old", "new"]);
        assert!(
            matches!(both.allocation, Allocation::Unsupported { reason } if reason.contains("old and of new"))
        );
    }

    #[test]
    fn empty_and_tiny_disks_hold_nothing() {
        for len in [0, 1, 512, 1024, 1536, 2048, 65_536] {
            assert_eq!(probe(&MemoryDisk::new(vec![0; len])).unwrap(), None);
        }
    }
}
