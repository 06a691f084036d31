//! Damaged filesystems: never a smaller map, never a panic, never a long wait.

use super::{TOOLS, make_worn, number, workspace};
use anyhow::{Context, Result, ensure};
use imagezip::disk::ReadDisk;
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::{Allocation, xfs};
use imagezip::sector_set::SectorSet;
use std::time::{SystemTime, UNIX_EPOCH};
use tests::damaged::Damaged;
use tests::rng::Rng;
use tests::tools::ready;

/// A small image in memory with the places of its metadata.
struct Sample {
    disk: MemoryDisk,
    map: SectorSet,
    /// Byte ranges of superblock, AGFs and the roots of both trees.
    spans: Vec<(u64, u64)>,
    /// Byte range of the log.
    log: (u64, u64),
}

fn sample(options: &str) -> Result<Sample> {
    let dir = workspace()?;
    let image = make_worn(dir.path(), options, 20, 21)?;
    let sb = |field: &str| number(&image, &["sb 0"], field);
    let (block, sector) = (sb("blocksize")?, sb("sectsize")?);
    let (group_blocks, group_log) = (sb("agblocks")?, sb("agblklog")?);
    let mut spans = vec![(0, sector)];
    for group in 0..sb("agcount")? {
        let start = group * group_blocks * block;
        spans.push((start + sector, start + 2 * sector));
        for root in ["bnoroot", "cntroot"] {
            let root = start + number(&image, &[&format!("agf {group}")], root)? * block;
            spans.push((root, root + block));
        }
    }
    let log = sb("logstart")?;
    let log = (log >> group_log) * group_blocks + (log & ((1 << group_log) - 1));
    let log = (log * block, (log + sb("logblocks")?) * block);
    let disk = MemoryDisk::new(std::fs::read(&image)?);
    Ok(Sample { map: map(&disk)?.context("a sound image has a map")?, disk, spans, log })
}

/// The map, when one is given.
fn map(disk: &dyn ReadDisk) -> Result<Option<SectorSet>> {
    Ok(match xfs::probe(disk)?.map(|found| found.allocation) {
        Some(Allocation::Known(set)) => Some(set),
        _ => None,
    })
}

#[test]
fn every_flip_in_checked_metadata_is_found() -> Result<()> {
    if !ready("every_flip_in_checked_metadata_is_found", &TOOLS, false) {
        return Ok(());
    }
    let sample = sample("-b size=1024 -d agcount=1")?;
    for (number, (from, to)) in sample.spans.iter().enumerate() {
        for offset in *from..*to {
            let found = map(&Damaged::new(&sample.disk, &[(offset, 1 << (offset % 8))]))?;
            // The tree by length is no witness where there are checksums.
            let is_unread = number % 3 == 0 && number > 0;
            ensure!(
                found.is_none() || (is_unread && found.as_ref() == Some(&sample.map)),
                "{offset}"
            );
        }
    }
    Ok(())
}

/// Without checksums a flip in the free space is betrayed by the second tree and the counts.
#[test]
fn every_flip_in_version_4_keeps_what_is_in_use() -> Result<()> {
    if !ready("every_flip_in_version_4_keeps_what_is_in_use", &TOOLS, false) {
        return Ok(());
    }
    let sample = sample("-m crc=0 -b size=1024 -d agcount=1")?;
    for (from, to) in &sample.spans {
        for offset in *from..*to {
            for bit in 0..8 {
                let disk = Damaged::new(&sample.disk, &[(offset, 1 << bit)]);
                if let Some(found) = map(&disk)? {
                    ensure!(sample.map.difference(&found).is_empty(), "{offset}, bit {bit}");
                }
            }
        }
    }
    Ok(())
}

/// Random damage to the metadata: any answer will do, as long as there is one and, with checksums,
/// it does not leave out what is in use.
#[test]
fn random_damage_neither_panics_nor_hangs() -> Result<()> {
    if !ready("random_damage_neither_panics_nor_hangs", &TOOLS, false) {
        return Ok(());
    }
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    for options in ["-m crc=0 -b size=512 -d agcount=1", "-b size=1024", "-m rmapbt=1 -d agcount=1"]
    {
        let sample = sample(options)?;
        for _ in 0..600 {
            let mut flips = Vec::new();
            for _ in 0..=rng.below(5) {
                let span = usize::try_from(rng.below(sample.spans.len().try_into()?))?;
                let spans =
                    if rng.below(3) == 0 { &[sample.log][..] } else { &sample.spans[span..] };
                let (from, to) = spans.first().copied().context("span")?;
                let [mask, ..] = rng.next_u64().to_le_bytes();
                // Most fields are at the start of their structure.
                let reach = if rng.below(2) == 0 { 64 } else { to - from };
                flips.push((from + rng.below(reach), mask));
            }
            if let Some(found) = map(&Damaged::new(&sample.disk, &flips))? {
                ensure!(found.end().get() * 512 <= sample.disk.size_bytes());
                let is_checked = !options.contains("crc=0");
                ensure!(!is_checked || sample.map.difference(&found).is_empty(), "{flips:?}");
            }
        }
    }
    Ok(())
}

/// A disk of 2^60 zero bytes but for a superblock, so that any loop over its groups would show.
#[test]
fn a_huge_claim_on_a_huge_empty_disk_ends_at_the_log() -> Result<()> {
    let mut bytes = vec![0; 512];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"XFSB");
    put(4, &512u32.to_be_bytes());
    put(8, &(64u64 * 0xFFFF_FFFF).to_be_bytes());
    put(48, &8u64.to_be_bytes());
    put(84, &64u32.to_be_bytes());
    put(88, &u32::MAX.to_be_bytes());
    put(96, &32u32.to_be_bytes());
    put(100, &0x0004u16.to_be_bytes());
    put(102, &512u16.to_be_bytes());
    put(120, &[9, 9, 0, 0, 6]);
    let found = xfs::probe(&tests::damaged::Endless(bytes))?.context("xfs")?;
    ensure!(
        matches!(&found.allocation, Allocation::Unsupported { reason } if reason.contains("log")),
        "{found:?}"
    );
    Ok(())
}

#[test]
fn a_filesystem_larger_than_its_partition_is_corrupt() -> Result<()> {
    if !ready("a_filesystem_larger_than_its_partition_is_corrupt", &TOOLS, false) {
        return Ok(());
    }
    let mut bytes = sample("-d agcount=1")?.disk.into_bytes();
    bytes.truncate(bytes.len() - 512);
    let found = xfs::probe(&MemoryDisk::new(bytes))?.context("xfs")?;
    let Allocation::Corrupt(corrupt) = found.allocation else {
        anyhow::bail!("{:?}", found.allocation);
    };
    ensure!(
        corrupt.to_string().contains("at most the 5119 of the partition, found 5120"),
        "{corrupt}"
    );
    Ok(())
}
