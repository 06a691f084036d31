//! The superblock: found, verified, and turned into a geometry that fits the disk.
//!
//! What it owns: every check that can be made on the superblock alone. What it never does: believe
//! a backup, or let a number through that later arithmetic or a later loop could trip over.

use super::flags::{FLAGS_UPDATED, METACKHASH, State};
use super::geometry::Geometry;
use super::raw;
use crate::disk::{DiskError, ReadDisk};
use crate::fs::refusal::Refusal;
use crate::units::SectorCount;
use zerocopy::{ByteOrder, FromBytes};

/// `CK_SUPERBLOCK` of `fs_metackhash`.
const CK_SUPERBLOCK: u32 = 1;
/// `CK_CYLGRP`.
const CK_CYLGRP: u32 = 2;

/// Bytes of a summary of a group in the summary area.
const SUMMARY_BYTES: u64 = 16;

/// The two formats.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Version {
    Ufs1,
    Ufs2,
}

/// A superblock with a magic number at a place where one may be; nothing else is known to be sound.
pub(super) struct Superblock<O: ByteOrder> {
    pub(super) version: Version,
    /// Its byte offset.
    pub(super) place: u64,
    raw: raw::Superblock<O>,
}

/// Where superblocks are: the place and whether it is big-endian.
pub(super) fn places(disk: &dyn ReadDisk) -> Result<Vec<(u64, bool)>, DiskError> {
    let mut found = Vec::new();
    for place in raw::PLACES {
        if Superblock::<zerocopy::LittleEndian>::read(disk, place)?.is_some() {
            found.push((place, false));
        } else if Superblock::<zerocopy::BigEndian>::read(disk, place)?.is_some() {
            found.push((place, true));
        }
    }
    Ok(found)
}

impl<O: ByteOrder> Superblock<O> {
    /// The superblock at `place`; `None` when there is none, or only a backup of another.
    pub(super) fn read(disk: &dyn ReadDisk, place: u64) -> Result<Option<Self>, DiskError> {
        let mut bytes = [0; size_of::<raw::Superblock<zerocopy::LittleEndian>>()];
        let room = u64::try_from(raw::SUPERBLOCK_LEN).unwrap_or(u64::MAX);
        if disk.size_bytes().checked_sub(place).is_none_or(|rest| rest < room) {
            return Ok(None);
        }
        disk.read_at(&mut bytes, place)?;
        let Ok(raw) = raw::Superblock::<O>::read_from_bytes(&bytes) else { return Ok(None) };
        let version = match raw.fs_magic.get() {
            // Backups have the same content; in UFS1 it does not say where the primary is. In one
            // with large blocks the first of them stands at UFS2's place.
            raw::UFS1_MAGIC if place < raw::UFS2_PLACE => Version::Ufs1,
            raw::UFS2_MAGIC if u64::try_from(raw.fs_sblockloc.get()) == Ok(place) => Version::Ufs2,
            _ => return Ok(None),
        };
        Ok(Some(Self { version, place, raw }))
    }

    /// The fields as they stand.
    pub(super) fn raw(&self) -> &raw::Superblock<O> {
        &self.raw
    }

    /// True for a UFS1 that no system since 2002 has written: fields have their old places.
    fn is_old(&self) -> bool {
        let updated = u32::from(self.raw.fs_old_flags) & FLAGS_UPDATED != 0;
        self.version == Version::Ufs1 && !updated
    }

    /// Flags and marks.
    pub(super) fn state(&self) -> State {
        let raw = &self.raw;
        let flags = if self.is_old() { raw.fs_old_flags.into() } else { raw.fs_flags.get() };
        let maybe_journal = raw.fs_journal_version != 0;
        State { flags, clean: raw.fs_clean, maybe_journal }
    }

    /// Which check hashes are kept up to date. FreeBSD before 13 and others clear the flag.
    fn check_hashes(&self) -> u32 {
        if self.state().flags & METACKHASH == 0 { 0 } else { self.raw.fs_metackhash.get() }
    }

    /// The features, for people.
    pub(super) fn features(&self, big_endian: bool) -> Vec<String> {
        let mut names = self.state().names();
        let mut add = |set: bool, name: &str| names.extend(set.then(|| name.to_owned()));
        add(self.check_hashes() != 0, "check-hashes");
        let snapshots = !self.is_old() && self.raw.fs_snapinum.iter().any(|i| i.get() != 0);
        add(snapshots, "snapshots");
        add(big_endian, "big-endian");
        names
    }

    /// Its id as FreeBSD and Linux show it; `None` when it has none.
    pub(super) fn id(&self) -> Option<String> {
        let [high, low] = self.raw.fs_id;
        (high.get() | low.get() != 0).then(|| format!("{:08x}{:08x}", high.get(), low.get()))
    }

    /// Fragments it says it has.
    fn fragments(&self) -> Option<u64> {
        let raw = &self.raw;
        let size = if self.is_old() { raw.fs_old_size.get().into() } else { raw.fs_size.get() };
        u64::try_from(size).ok().filter(|size| *size > 0)
    }

    /// How long it says it is; 0 for nonsense.
    pub(super) fn size(&self) -> SectorCount {
        let bytes = unsigned(self.raw.fs_fsize).and_then(|f| self.fragments()?.checked_mul(f));
        bytes.and_then(SectorCount::whole_in_bytes).unwrap_or_default()
    }

    /// Free blocks and free fragments outside of them.
    pub(super) fn free(&self) -> (u64, u64) {
        let raw = &self.raw;
        let total = |old: i64, new: i64| {
            let value = if self.is_old() { old } else { new };
            u64::try_from(value).unwrap_or(u64::MAX)
        };
        let old = raw.fs_old_cstotal;
        (
            total(old.cs_nbfree.get().into(), raw.fs_cstotal_nbfree.get()),
            total(old.cs_nffree.get().into(), raw.fs_cstotal_nffree.get()),
        )
    }

    fn corrupt(&self, field: &str, expected: impl Into<String>, found: impl ToString) -> Refusal {
        let what = format!("{field} in the superblock");
        Refusal::corrupt(what, self.place, expected, found.to_string())
    }

    /// Verifies the superblock's own check hash, when it has one.
    pub(super) fn verify(&self, disk: &dyn ReadDisk) -> Result<(), Refusal> {
        if self.check_hashes() & CK_SUPERBLOCK == 0 {
            return Ok(());
        }
        let least = size_of::<raw::Superblock<O>>();
        let len = unsigned(self.raw.fs_sbsize)
            .and_then(|len| usize::try_from(len).ok())
            .filter(|len| (least..=raw::SUPERBLOCK_LEN).contains(len))
            .ok_or_else(|| {
                let expected = format!("{least} to {} bytes", raw::SUPERBLOCK_LEN);
                self.corrupt("its size", expected, self.raw.fs_sbsize)
            })?;
        let mut bytes = vec![0; len];
        disk.read_at(&mut bytes, self.place)?;
        let expected = check_hash(&bytes, raw::SUPERBLOCK_CHECK_OFFSET);
        let found = self.raw.fs_ckhash.get();
        if expected != found {
            let found = format!("{found:#010x}");
            return Err(self.corrupt("check hash", format!("{expected:#010x}"), found));
        }
        Ok(())
    }

    /// The geometry, in which every number fits a disk of `disk_bytes`.
    pub(super) fn geometry(&self, disk_bytes: u64) -> Result<Geometry, Refusal> {
        let raw = &self.raw;
        let field = |name: &str, value: zerocopy::I32<O>| {
            unsigned(value).ok_or_else(|| self.corrupt(name, "0 or more", value))
        };
        if self.version == Version::Ufs1 && raw.fs_old_postblformat.get() == raw::POSTBLFMT_42 {
            return Err(Refusal::unsupported("its cylinder groups are those of 4.2BSD"));
        }
        let (block_bytes, fragment_bytes) = self.sizes()?;
        let block_fragments = block_bytes / fragment_bytes;
        let most = disk_bytes / fragment_bytes;
        let said = self.fragments();
        let fragments = said.filter(|n| *n <= most).ok_or_else(|| {
            self.corrupt("size", format!("1 to the {most} of the partition"), said.unwrap_or(0))
        })?;
        self.check_old_fields()?;

        let group_fragments = field("size of a group", raw.fs_fpg)?;
        if group_fragments == 0 || group_fragments % block_fragments != 0 {
            return Err(self.corrupt("size of a group", "whole blocks", group_fragments));
        }
        let groups = raw.fs_ncg.get();
        if fragments.div_ceil(group_fragments) != u64::from(groups) {
            let expected = fragments.div_ceil(group_fragments).to_string();
            return Err(self.corrupt("number of groups", expected, groups));
        }
        let [backup_at, group_block_at, inodes_at, data_at] = [
            field("place of the backups", raw.fs_sblkno)?,
            field("place of the group blocks", raw.fs_cblkno)?,
            field("place of the inodes", raw.fs_iblkno)?,
            field("place of the data", raw.fs_dblkno)?,
        ];
        let inode_bytes = if self.version == Version::Ufs1 { 128 } else { 256 };
        let inodes = (u64::from(raw.fs_ipg.get()) * inode_bytes).div_ceil(fragment_bytes);
        let in_order = backup_at < group_block_at
            && group_block_at.checked_add(block_fragments) == Some(inodes_at)
            && inodes_at.checked_add(inodes) == Some(data_at)
            && data_at <= group_fragments;
        if !in_order {
            let expected = "backup, group block, inodes and data side by side in a group";
            let found = format!("{backup_at}, {group_block_at}, {inodes_at}, {data_at}");
            return Err(self.corrupt("layout of groups", expected, found));
        }
        let group_bytes = field("bytes of a group block", raw.fs_cgsize)?;
        let head = size_of::<raw::Group<O>>();
        let group_len = usize::try_from(group_bytes).unwrap_or(usize::MAX);
        if group_len <= head || group_bytes > block_bytes {
            let expected = format!("{head} to {block_bytes}");
            return Err(self.corrupt("bytes of a group block", expected, group_bytes));
        }
        let (stagger, stagger_mask) = match self.version {
            Version::Ufs1 => (field("offset of groups", raw.fs_old_cgoffset)?, raw.fs_old_cgmask),
            Version::Ufs2 => (0, zerocopy::U32::new(u32::MAX)),
        };
        let summary_at = self.summary_at()?;
        let summary_bytes = field("size of the summary area", raw.fs_cssize)?;
        let summary_end = summary_at.checked_add(summary_bytes.div_ceil(fragment_bytes));
        let summary = summary_end
            .filter(|end| *end <= fragments && u64::from(groups) * SUMMARY_BYTES <= summary_bytes)
            .map(|end| summary_at..end)
            .ok_or_else(|| {
                let expected = format!("room for {groups} groups");
                self.corrupt("summary area", expected, format!("{summary_bytes} bytes"))
            })?;
        Ok(Geometry {
            fragment_bytes,
            block_fragments,
            fragments,
            groups,
            group_fragments,
            stagger,
            stagger_mask: stagger_mask.get(),
            backup_at,
            group_block_at,
            data_at,
            summary,
            group_bytes: group_len,
            has_clusters: !self.is_old() && raw.fs_contigsumsize.get() > 0,
            has_group_checks: self.check_hashes() & CK_CYLGRP != 0,
        })
    }

    /// Bytes of a block and of a fragment.
    fn sizes(&self) -> Result<(u64, u64), Refusal> {
        let raw = &self.raw;
        let power = |value, low, high| {
            unsigned(value).filter(|v| v.is_power_of_two() && (low..=high).contains(v))
        };
        let block = power(raw.fs_bsize, 4096, 65_536).ok_or_else(|| {
            self.corrupt("block size", "a power of two from 4096 to 65536", raw.fs_bsize)
        })?;
        let fragment = power(raw.fs_fsize, (block / 8).max(512), block).ok_or_else(|| {
            self.corrupt("fragment size", format!("{block} or up to 8 in it"), raw.fs_fsize)
        })?;
        if unsigned(raw.fs_frag) != Some(block / fragment) {
            let expected = (block / fragment).to_string();
            return Err(self.corrupt("fragments of a block", expected, raw.fs_frag));
        }
        Ok((block, fragment))
    }

    fn summary_at(&self) -> Result<u64, Refusal> {
        let raw = &self.raw;
        let at = if self.is_old() { raw.fs_old_csaddr.get().into() } else { raw.fs_csaddr.get() };
        u64::try_from(at).map_err(|_| self.corrupt("place of the summary area", "0 or more", at))
    }

    /// A UFS1 of today has size and place twice.
    fn check_old_fields(&self) -> Result<(), Refusal> {
        let raw = &self.raw;
        if self.version == Version::Ufs2 || self.is_old() {
            return Ok(());
        }
        let old = (i64::from(raw.fs_old_size.get()), i64::from(raw.fs_old_csaddr.get()));
        let new = (raw.fs_size.get(), raw.fs_csaddr.get());
        if old != new {
            let expected = format!("{old:?}, as its old fields say");
            return Err(self.corrupt("size and summary area", expected, format!("{new:?}")));
        }
        Ok(())
    }
}

fn unsigned<O: ByteOrder>(value: zerocopy::I32<O>) -> Option<u64> {
    u64::try_from(value.get()).ok()
}

/// FreeBSD's check hash of a structure with its own field, four bytes at `field`, taken as zero:
/// CRC-32C that starts with all ones and, other than usual, does not end by inverting.
pub(super) fn check_hash(bytes: &[u8], field: usize) -> u32 {
    let (before, rest) = bytes.split_at_checked(field).unwrap_or((bytes, &[]));
    let sum = crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]);
    !crc32c::crc32c_append(sum, rest.get(4..).unwrap_or_default())
}
