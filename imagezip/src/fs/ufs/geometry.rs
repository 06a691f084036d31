//! Where things are: groups, their own fragments, and the summary area.
//!
//! What it owns: arithmetic on numbers that the superblock's checks have let through. What it never
//! does: read the disk.

use crate::units::{Sector, SectorRange};
use std::ops::Range;

/// The layout of a filesystem. Every number fits the disk; places are in fragments from the start
/// of the filesystem unless they say otherwise.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    /// Bytes of a fragment, a multiple of 512.
    pub(super) fragment_bytes: u64,
    /// Fragments of a block: 1, 2, 4 or 8.
    pub(super) block_fragments: u64,
    /// Fragments of the filesystem.
    pub(super) fragments: u64,
    /// Groups, at least 1.
    pub(super) groups: u32,
    /// Fragments of a group but the last, a multiple of a block.
    pub(super) group_fragments: u64,
    /// UFS1: how much further into its group the start of each next group's own fragments is
    /// (`fs_old_cgoffset`), and which groups start over (`fs_old_cgmask`). UFS2: 0.
    pub(super) stagger: u64,
    pub(super) stagger_mask: u32,
    /// From the start of a group's own fragments: backup of the superblock, cylinder group block,
    /// and the first one after the inodes.
    pub(super) backup_at: u64,
    pub(super) group_block_at: u64,
    pub(super) data_at: u64,
    /// The cylinder group summary area.
    pub(super) summary: Range<u64>,
    /// Bytes of a cylinder group block that are used.
    pub(super) group_bytes: usize,
    /// Groups have maps of free blocks too.
    pub(super) has_clusters: bool,
    /// Cylinder group blocks have check hashes.
    pub(super) has_group_checks: bool,
}

impl Geometry {
    /// The first fragment of a group.
    pub(super) fn group_start(&self, group: u32) -> u64 {
        u64::from(group).saturating_mul(self.group_fragments)
    }

    /// Fragments of a group.
    pub(super) fn fragments_in(&self, group: u32) -> u64 {
        self.fragments.saturating_sub(self.group_start(group)).min(self.group_fragments)
    }

    /// Where a group's own fragments start (`cgstart`), from the start of the group.
    fn own_at(&self, group: u32) -> u64 {
        self.stagger.saturating_mul(u64::from(group & !self.stagger_mask))
    }

    /// The fragments that are in use by the filesystem itself, from the start of the group: backup
    /// of the superblock, group block and inodes; in the first group all before them too. `None`
    /// when the group is too short for them.
    pub(super) fn own(&self, group: u32) -> Option<Range<u64>> {
        let at = self.own_at(group);
        let start = if group == 0 { 0 } else { at.checked_add(self.backup_at)? };
        let end = at.checked_add(self.data_at)?;
        (end <= self.fragments_in(group)).then_some(start..end)
    }

    /// The part of the summary area in a group, from the start of the group.
    pub(super) fn summary_in(&self, group: u32) -> Range<u64> {
        let (start, len) = (self.group_start(group), self.fragments_in(group));
        let within = |fragment: u64| fragment.saturating_sub(start).min(len);
        within(self.summary.start)..within(self.summary.end)
    }

    /// Where the cylinder group block of a group is, in bytes.
    pub(super) fn group_block_offset(&self, group: u32) -> u64 {
        let fragment = self.group_start(group) + self.own_at(group) + self.group_block_at;
        fragment.saturating_mul(self.fragment_bytes)
    }

    /// The sectors of fragments of a group.
    pub(super) fn sectors(&self, group: u32, fragments: Range<u64>) -> SectorRange {
        let sector = |fragment: u64| {
            let fragment = (self.group_start(group) + fragment).min(self.fragments);
            Sector::containing_byte(fragment.saturating_mul(self.fragment_bytes))
                .unwrap_or_default()
        };
        SectorRange::new(sector(fragments.start), sector(fragments.end)).unwrap_or_default()
    }
}
