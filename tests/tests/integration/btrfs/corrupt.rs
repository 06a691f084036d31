//! Damaged filesystems: never a smaller map, never a panic, never a long wait.

use super::{TOOLS, make_worn, workspace};
use anyhow::{Context, Result, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::disk::{DiskError, ReadDisk};
use imagezip::fs::{Allocation, btrfs};
use imagezip::sector_set::SectorSet;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use tests::damaged::Damaged;
use tests::rng::Rng;
use tests::tools::ready;

/// Another disk that remembers what was read of it: byte offsets and lengths.
struct Recording<'a> {
    disk: &'a MemoryDisk,
    reads: Mutex<Vec<(u64, usize)>>,
}

impl ReadDisk for Recording<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.reads.lock().expect("no panic holds it").push((offset, buf.len()));
        self.disk.read_at(buf, offset)
    }
}

/// Another disk on which every block that starts with a checksum has a valid one, so that lies in
/// it are believed.
struct Signed<'a> {
    disk: Damaged<'a>,
}

impl ReadDisk for Signed<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.disk.read_at(buf, offset)?;
        if buf.len() >= 4096 {
            let sum = crc32c(&buf[32..]);
            buf[..4].copy_from_slice(&sum.to_le_bytes());
        }
        Ok(())
    }
}

/// CRC-32C, a bit at a time.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0x82F6_3B78 } else { sum >> 1 }
        })
    })
}

/// A small image in memory.
struct Sample {
    disk: MemoryDisk,
    map: SectorSet,
    /// What was read for the map, each once: byte offsets and lengths.
    reads: Vec<(u64, usize)>,
}

fn sample(options: &str) -> Result<Sample> {
    let dir = workspace()?;
    let image = make_worn(dir.path(), options, 120, 21)?;
    let disk = MemoryDisk::new(std::fs::read(&image)?);
    let recording = Recording { disk: &disk, reads: Mutex::default() };
    let map = map(&recording)?.context("a sound image has a map")?;
    let mut reads = recording.reads.into_inner().expect("no panic held it");
    reads.sort_unstable();
    reads.dedup();
    ensure!(reads.len() > 3, "{reads:?}");
    Ok(Sample { map, disk, reads })
}

/// The map, when one is given.
fn map(disk: &dyn ReadDisk) -> Result<Option<SectorSet>> {
    Ok(match btrfs::probe(disk)?.map(|found| found.allocation) {
        Some(Allocation::Known(set)) => Some(set),
        _ => None,
    })
}

/// Everything that is read has a checksum, so every flip is found, but for those in the unused
/// rest of the checksum's own field.
#[test]
fn every_flip_is_found() -> Result<()> {
    if !ready("every_flip_is_found", &TOOLS, false) {
        return Ok(());
    }
    let Sample { disk, map: sound, reads } = sample("-M -n 4096")?;
    for (number, (offset, len)) in reads.iter().enumerate() {
        let first = number % 7;
        for at in (0..*len).skip(first).step_by(7) {
            let place = offset + u64::try_from(at)?;
            let found = map(&Damaged::new(&disk, &[(place, 1 << (at % 8))]))?;
            let is_unused = (4..32).contains(&at);
            ensure!(
                found.is_none() || (is_unused && found.as_ref() == Some(&sound)),
                "byte {place}"
            );
        }
    }
    Ok(())
}

/// Random damage under valid checksums: any answer will do, as long as there is one.
#[test]
fn random_lies_neither_panic_nor_hang() -> Result<()> {
    if !ready("random_lies_neither_panic_nor_hang", &TOOLS, false) {
        return Ok(());
    }
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let Sample { disk, map: sound, reads } = sample("-M -n 4096")?;
    let mut known = 0;
    for _ in 0..1500 {
        let mut flips = Vec::new();
        for _ in 0..=rng.below(3) {
            let read = usize::try_from(rng.below(reads.len().try_into()?))?;
            let (offset, len) = reads.get(read).copied().context("read")?;
            let [mask, ..] = rng.next_u64().to_le_bytes();
            let reach = if rng.below(2) == 0 { 300 } else { u64::try_from(len)? };
            flips.push((offset + rng.below(reach), mask));
        }
        if let Some(found) = map(&Signed { disk: Damaged::new(&disk, &flips) })? {
            known += 1;
            ensure!(found.end().get() * 512 <= disk.size_bytes());
        }
    }
    println!("{known} still known, {} ranges", sound.len());
    Ok(())
}
