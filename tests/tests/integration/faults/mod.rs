//! What fails: disks while saving and loading, and damaged images. Never a wrong byte, never a
//! target that looks whole, always an error that says where.

mod damaged;
mod disks;

use imagezip::disk::faulty::FaultyDisk;
use imagezip::disk::memory::MemoryDisk;
use imagezip::load::HEAD;
use tests::samples::{Content, Sample, range};

/// What stands on a target before the load.
const BEFORE: u8 = 0xB5;

/// Two chunks and more of noise and zeros, with free space, from the first sector to the last.
fn sample() -> Sample {
    let mut sample = Sample::random(4711, 8_000, Content::Noise);
    sample.bytes[2_560 * 512..3_000 * 512].fill(0);
    sample.ranges = vec![range(0, 63), range(2_048, 5_000), range(5_100, 7_990)];
    sample
}

/// A target that looks like a disk in use: a boot sector, and a backup GPT at its end.
fn target(sectors: usize) -> Vec<u8> {
    let mut bytes = vec![BEFORE; sectors * 512];
    let last = bytes.len() - 512;
    bytes[last..last + 8].copy_from_slice(b"EFI PART");
    bytes
}

/// A disk with faults to come, holding [`target`].
fn faulty() -> FaultyDisk<MemoryDisk> {
    FaultyDisk::new(MemoryDisk::new(target(8_000)))
}

/// Checks a target after a load that failed: the first MiB is zero, the backup GPT is gone, and
/// every other byte is that of the image or was there before.
fn assert_broken(disk: &[u8], sample: &Sample, what: &str) {
    let head = usize::try_from(HEAD.bytes()).unwrap();
    assert!(disk[..head].iter().all(|byte| *byte == 0), "{what}: the head is not zero");
    assert_ne!(&disk[disk.len() - 512..disk.len() - 504], b"EFI PART", "{what}: a backup GPT");
    let restored = sample.over(&target(8_000));
    let wrong =
        (head..disk.len() - 512).find(|at| disk[*at] != restored[*at] && disk[*at] != BEFORE);
    assert_eq!(wrong, None, "{what}: a byte that is neither old nor new");
}
