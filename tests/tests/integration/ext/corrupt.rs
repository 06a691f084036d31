//! Damaged filesystems: never a smaller map, never a panic, never a long wait.

use super::{TOOLS, make_worn, workspace};
use anyhow::{Context, Result, ensure};
use imagezip::disk::ReadDisk;
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::{Allocation, ext};
use imagezip::sector_set::SectorSet;
use std::time::{SystemTime, UNIX_EPOCH};
use tests::rng::Rng;
use tests::tools::{ready, run, text};

/// A small image in memory with the blocks dumpe2fs names in group 0.
struct Sample {
    bytes: Vec<u8>,
    map: SectorSet,
    block_bytes: u64,
    block_bitmap: u64,
    inode_bitmap: u64,
}

fn sample(options: &str) -> Result<Sample> {
    let dir = workspace()?;
    let image = make_worn(dir.path(), options, 12_000, 21)?;
    let dump = run("dumpe2fs", &[text(&image)])?;
    let block_of = |what: &str| -> Result<u64> {
        let rest = dump.split(&format!("{what} at ")).nth(1).context("no such block")?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse()?)
    };
    let bytes = std::fs::read(&image)?;
    Ok(Sample {
        map: map(&bytes)?.context("a sound image has a map")?,
        bytes,
        block_bytes: super::number(&dump, "Block size")?,
        block_bitmap: block_of("Block bitmap")?,
        inode_bitmap: block_of("Inode bitmap")?,
    })
}

/// The map, when one is given.
fn map(bytes: &[u8]) -> Result<Option<SectorSet>> {
    Ok(match ext::probe(&MemoryDisk::new(bytes.to_vec()))?.map(|found| found.allocation) {
        Some(Allocation::Known(set)) => Some(set),
        _ => None,
    })
}

fn flipped(bytes: &[u8], offset: u64, mask: u8) -> Result<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    *bytes.get_mut(usize::try_from(offset)?).context("offset")? ^= mask;
    Ok(bytes)
}

#[test]
fn every_flip_in_checked_metadata_is_found() -> Result<()> {
    if !ready("every_flip_in_checked_metadata_is_found", &TOOLS, false) {
        return Ok(());
    }
    let sample = sample("-t ext4 -b 1024 -N 500")?;
    let bitmap = sample.block_bitmap * sample.block_bytes;
    let descriptors = 2 * sample.block_bytes; // two groups of 64 bytes
    let spans = [(1024, 2048), (descriptors, descriptors + 128), (bitmap, bitmap + 1024)];
    for (from, to) in spans {
        for offset in from..to {
            let disk = MemoryDisk::new(flipped(&sample.bytes, offset, 1 << (offset % 8))?);
            let found = ext::probe(&disk)?.map(|found| found.allocation);
            // Without its magic number it is no ext at all, which keeps it whole as well.
            let magic = (1024 + 0x38..1024 + 0x3A).contains(&offset);
            // A flip may take metadata_csum itself away; what is then said is as good as true.
            let sound = match &found {
                None => magic,
                Some(Allocation::Known(set)) => *set == sample.map && offset == 1024 + 0x65,
                Some(Allocation::Unsupported { .. }) => offset < 2048,
                Some(Allocation::Corrupt(_)) => true,
            };
            ensure!(sound, "byte {offset}: {found:?}");
        }
    }
    Ok(())
}

#[test]
fn what_is_in_use_but_marked_free_is_found_without_checksums() -> Result<()> {
    if !ready("what_is_in_use_but_marked_free_is_found_without_checksums", &TOOLS, false) {
        return Ok(());
    }
    for options in ["-t ext2 -b 1024 -N 500", "-t ext4 -b 1024 -O ^metadata_csum -N 500"] {
        let sample = sample(options)?;
        let bit = sample.inode_bitmap - 1;
        let bitmap = sample.block_bitmap * sample.block_bytes;
        // The count in the descriptor betrays a single flip.
        let bytes = flipped(&sample.bytes, bitmap + bit / 8, 1 << (bit % 8))?;
        ensure!(map(&bytes)?.is_none(), "{options}: a wrong count was believed");
        // A second flip makes the count right again; the inode bitmap itself is now free.
        let free = (0..8000).rev().find(|i| {
            usize::try_from(bitmap + i / 8)
                .ok()
                .and_then(|at| sample.bytes.get(at))
                .is_some_and(|byte| byte >> (i % 8) & 1 == 0)
        });
        let free = free.context("a free block")?;
        let bytes = flipped(&bytes, bitmap + free / 8, 1 << (free % 8))?;
        let found = ext::probe(&MemoryDisk::new(bytes))?.context("ext")?;
        ensure!(
            matches!(&found.allocation, Allocation::Corrupt(c) if c.what == "inode bitmap of group 0"),
            "{options}: {:?}",
            found.allocation
        );
    }
    Ok(())
}

#[test]
fn a_filesystem_larger_than_its_partition_is_corrupt() -> Result<()> {
    if !ready("a_filesystem_larger_than_its_partition_is_corrupt", &TOOLS, false) {
        return Ok(());
    }
    let mut sample = sample("-t ext4 -b 1024")?;
    sample.bytes.truncate(11_999 << 10);
    let found = ext::probe(&MemoryDisk::new(sample.bytes))?.context("ext")?;
    let text = match found.allocation {
        Allocation::Corrupt(corrupt) => corrupt.to_string(),
        other => anyhow::bail!("{other:?}"),
    };
    let expected = "number of blocks in the superblock (at sector 2 of it): \
                    expected at most the 11999 of the partition, found 12000";
    ensure!(text == expected, "{text}");
    Ok(())
}

#[test]
fn a_huge_claim_in_a_small_file_is_refused_at_once() -> Result<()> {
    let mut bytes = vec![0; 65_536];
    let mut put = |at: usize, value: &[u8]| {
        bytes[1024 + at..1024 + at + value.len()].copy_from_slice(value);
    };
    put(0x00, &u32::MAX.to_le_bytes());
    put(0x04, &u32::MAX.to_le_bytes());
    put(0x20, &8u32.to_le_bytes());
    put(0x28, &8u32.to_le_bytes());
    put(0x38, &[0x53, 0xEF, 1, 0]);
    put(0x4C, &[1]);
    put(0x58, &256u16.to_le_bytes());
    put(0x60, &0x80u32.to_le_bytes());
    put(0xFE, &64u16.to_le_bytes());
    put(0x150, &0xFFFFu32.to_le_bytes()); // 2^48 - 1 blocks
    let found = ext::probe(&MemoryDisk::new(bytes))?.context("ext")?;
    ensure!(matches!(found.allocation, Allocation::Corrupt(_)), "{found:?}");
    Ok(())
}

/// A disk of 2^60 zero bytes but for a superblock, so that any loop over its groups would show.
struct Endless(Vec<u8>);

impl ReadDisk for Endless {
    fn size_bytes(&self) -> u64 {
        1 << 60
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), imagezip::disk::DiskError> {
        buf.fill(0);
        if offset == 1024 {
            buf.copy_from_slice(&self.0);
        }
        Ok(())
    }
}

#[test]
fn a_huge_claim_on_a_huge_empty_disk_ends_at_the_first_group() -> Result<()> {
    if !ready("a_huge_claim_on_a_huge_empty_disk", &TOOLS, false) {
        return Ok(());
    }
    let sample = sample("-t ext4 -b 1024 -O ^metadata_csum,^has_journal")?;
    let mut superblock = sample.bytes.get(1024..2048).context("superblock")?.to_vec();
    superblock[0x00..0x04].copy_from_slice(&(1u32 << 31).to_le_bytes()); // inodes
    superblock[0x28..0x2C].copy_from_slice(&8u32.to_le_bytes()); // of these in a group
    superblock[0x04..0x08].copy_from_slice(&1u32.to_le_bytes()); // blocks, lower half
    superblock[0x150..0x154].copy_from_slice(&(1u32 << 9).to_le_bytes()); // 2^41 blocks + 1
    let found = ext::probe(&Endless(superblock))?.context("ext")?;
    ensure!(
        matches!(&found.allocation, Allocation::Corrupt(c) if c.what.contains("group 0")),
        "{:?}",
        found.allocation
    );
    Ok(())
}

/// Random damage to the metadata: any answer will do, as long as there is one.
#[test]
fn random_damage_neither_panics_nor_hangs() -> Result<()> {
    if !ready("random_damage_neither_panics_nor_hangs", &TOOLS, false) {
        return Ok(());
    }
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    for options in [
        "-t ext2 -b 1024 -N 200",
        "-t ext3 -b 1024 -N 200",
        "-t ext4 -b 1024 -N 200 -O ^metadata_csum,^uninit_bg",
        "-t ext4 -b 1024 -N 200 -O ^metadata_csum,uninit_bg,mmp",
        "-t ext4 -b 1024 -N 200 -O ^metadata_csum,meta_bg,^resize_inode -g 256",
        "-t ext4 -b 4096 -O ^metadata_csum,bigalloc -C 16384 -N 200",
    ] {
        let sample = sample(options)?;
        // All metadata of these small images stands at their start.
        let small = MemoryDisk::new(sample.bytes);
        for _ in 0..1500 {
            let mut damaged = Damaged { disk: &small, flips: Vec::new() };
            for _ in 0..=rng.below(6) {
                let end = if rng.below(2) == 0 { 2048 } else { 80_000 };
                let random = rng.next_u64().to_le_bytes();
                damaged.flips.push((1024 + rng.below(end - 1024), random[3]));
            }
            let found = ext::probe(&damaged)?;
            if let Some(Allocation::Known(set)) = found.map(|found| found.allocation) {
                ensure!(set.end().get() * 512 <= small.size_bytes());
            }
        }
    }
    Ok(())
}

/// Another disk with some bytes changed.
struct Damaged<'a> {
    disk: &'a MemoryDisk,
    flips: Vec<(u64, u8)>,
}

impl ReadDisk for Damaged<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), imagezip::disk::DiskError> {
        self.disk.read_at(buf, offset)?;
        for (at, mask) in &self.flips {
            let place = at.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
            if let Some(byte) = place.and_then(|at| buf.get_mut(at)) {
                *byte ^= mask;
            }
        }
        Ok(())
    }
}

/// `flex_bg` puts the inode tables of many groups into a few. Should one of these few say that its
/// bitmap was never written, the tables in it are in use all the same.
#[test]
fn inode_tables_in_a_group_never_written_are_kept() -> Result<()> {
    if !ready("inode_tables_in_a_group_never_written_are_kept", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = dir.path().join("image");
    tests::image_file::create(&image, 40_000 << 10)?;
    let layout = ["-t", "ext4", "-b", "1024", "-g", "1024", "-G", "64", "-N", "40000"];
    run("mke2fs", &[&["-q", "-F", "-O", "^has_journal"], &layout[..], &[text(&image)]].concat())?;
    let before = map(&std::fs::read(&image)?)?.context("map")?;

    // Group 4 holds nothing but tables of other groups.
    let script = dir.path().join("script");
    std::fs::write(
        &script,
        "set_bg 4 flags 7\nset_bg 4 free_blocks_count 1024\nset_bg 4 checksum calc\n",
    )?;
    run("debugfs", &["-w", "-f", text(&script), text(&image)])?;
    let dump = run("dumpe2fs", &[text(&image)])?;
    let group = dump.split("Group 4:").nth(1).context("group 4")?;
    ensure!(group.lines().next().is_some_and(|line| line.contains("BLOCK_UNINIT")), "{group}");
    ensure!(group.contains("1024 free blocks"), "{group}");

    let after = map(&std::fs::read(&image)?)?.context("map with an unwritten group")?;
    ensure!(before == after, "{:?} lost", before.difference(&after));
    Ok(())
}
