//! UFS1 and UFS2, the Fast File System of the BSDs.
//!
//! What it owns: the allocation map of what newfs of FreeBSD, NetBSD and OpenBSD and makefs make, in
//! both byte orders: blocks of 4 to 64 KiB, up to 8 fragments in a block, and every check hash that
//! vouches for the map. What it never does: replay a journal, believe a backup of the superblock,
//! or look at files. A snapshot is a file whose blocks the maps have in use like any other's.
//!
//! The map is the complement of one map in each cylinder group, that of free fragments. Most
//! filesystems have no checksums, but the same is counted in several places; all must agree.
//!
//! Layouts and rules come from FreeBSD's `sys/ufs/ffs/fs.h`, and NetBSD's and OpenBSD's where these
//! differ, and are proved against makefs, images of a BSD system and a maker of our own by the
//! poison test in `tests`.
//!
//! Read in this order: `raw`, `flags`, `superblock`, `geometry`, `group`.

mod flags;
mod geometry;
mod group;
mod raw;
mod superblock;

use super::{Allocation, Filesystem, ProbeOptions};
use crate::disk::{DiskError, ReadDisk};
use crate::fs::identity::label_text;
use crate::fs::refusal::{Refusal, settle};
use crate::sector_set::{SectorSet, SectorSetBuilder};
use superblock::{Superblock, Version};
use zerocopy::{BigEndian, ByteOrder, LittleEndian};

/// Recognises UFS1 and UFS2 and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk, options: ProbeOptions) -> Result<Option<Filesystem>, DiskError> {
    let places = superblock::places(disk)?;
    let mut found: Option<Filesystem> = None;
    let several = places.len() > 1;
    for (place, big_endian) in places {
        let next = if big_endian {
            read::<BigEndian>(disk, options, place, several)?
        } else {
            read::<LittleEndian>(disk, options, place, several)?
        };
        // The first counts; with several it is refused anyway.
        found = found.or(next);
    }
    Ok(found)
}

fn read<O: ByteOrder + 'static>(
    disk: &dyn ReadDisk,
    options: ProbeOptions,
    place: u64,
    several: bool,
) -> Result<Option<Filesystem>, DiskError> {
    let Some(superblock) = Superblock::<O>::read(disk, place)? else { return Ok(None) };
    let big_endian = std::any::TypeId::of::<O>() == std::any::TypeId::of::<BigEndian>();
    let allocation = if several {
        Allocation::Unsupported {
            reason: "it has superblocks at two places; one is left over from an earlier format"
                .into(),
        }
    } else {
        settle(allocated(disk, &superblock, options))?
    };
    Ok(Some(Filesystem {
        name: match superblock.version {
            Version::Ufs1 => "ufs1",
            Version::Ufs2 => "ufs2",
        },
        label: label_text(&superblock.raw().fs_volname),
        uuid: superblock.id(),
        features: superblock.features(big_endian),
        size: superblock.size(),
        allocation,
        volumes: Vec::new(),
    }))
}

fn allocated<O: ByteOrder>(
    disk: &dyn ReadDisk,
    superblock: &Superblock<O>,
    options: ProbeOptions,
) -> Result<SectorSet, Refusal> {
    superblock.verify(disk)?;
    let geometry = superblock.geometry(disk.size_bytes())?;
    superblock.state().check(options)?;
    let mut builder = SectorSetBuilder::new();
    let mut buffer = Vec::new();
    let (mut blocks, mut fragments) = (0u64, 0u64);
    for group in 0..geometry.groups {
        let free = group::add_allocated::<O>(disk, &geometry, group, &mut buffer, &mut builder)?;
        blocks = blocks.saturating_add(free.blocks);
        fragments = fragments.saturating_add(free.fragments);
    }
    if superblock.free() != (blocks, fragments) {
        let expected = format!("{:?}, as the superblock says", superblock.free());
        let found = format!("{:?}", (blocks, fragments));
        let what = "free blocks and fragments of all groups";
        return Err(Refusal::corrupt(what, superblock.place, expected, found));
    }
    Ok(builder.finish())
}
