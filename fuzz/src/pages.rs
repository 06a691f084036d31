//! Partitions of which only the pages count that are not zero: filesystems that need many mebibytes
//! or have something at their end.
//!
//! What it owns: the form of such inputs, and the filesystems that tools make here. An input is the
//! size of the partition in sectors (four bytes, little-endian), then pages: a number of four bytes
//! and 1024 bytes of content. What it never does: keep an order; a page that comes twice counts as
//! it came last.

use crate::seeds::made_by;
use imagezip::partition::Excerpt;

/// Bytes of a page.
const PAGE: usize = 1024;
/// A page with its number.
const ENTRY: usize = PAGE + 4;
/// Most pages in an input; what is behind them is left out.
const PAGES_MAX: usize = 1 << 12;

/// The disk that an input describes.
pub(crate) fn disk(data: &[u8]) -> Excerpt {
    let (size, pages) =
        data.split_first_chunk().map_or(([0; 4], data), |(size, rest)| (*size, rest));
    let sectors = u32::from_le_bytes(size);
    let mut disk = Excerpt::new(u64::from(sectors) * 512, 512);
    for entry in pages.chunks(ENTRY).take(PAGES_MAX) {
        if let Some((number, content)) = entry.split_first_chunk() {
            let at = u64::from(u32::from_le_bytes(*number)) * 1024;
            disk = disk.with(at, content);
        }
    }
    disk
}

/// An input for these bytes.
fn paged(bytes: &[u8]) -> Vec<u8> {
    let sectors = u32::try_from(bytes.len() / 512).unwrap_or(u32::MAX);
    let mut input = sectors.to_le_bytes().to_vec();
    for (number, page) in (0u32..).zip(bytes.chunks(PAGE)) {
        if page.iter().any(|byte| *byte != 0) {
            input.extend(number.to_le_bytes());
            input.extend(page);
        }
    }
    input
}

/// What these shell commands make of blank files of these sizes, in KiB.
fn made(commands: &[(&str, u64)]) -> Vec<Vec<u8>> {
    let made = commands.iter().filter_map(|(command, kib)| made_by(command, kib << 10));
    made.map(|bytes| paged(&bytes)).filter(|input| input.len() <= PAGES_MAX * ENTRY).collect()
}

/// exFAT with small and large clusters.
pub(crate) fn exfat() -> Vec<Vec<u8>> {
    made(&[("mkfs.exfat -q -c 4K $DISK", 2 << 10), ("mkfs.exfat -q -c 512 $DISK", 1 << 10)])
}

/// NTFS with small and large clusters.
pub(crate) fn ntfs() -> Vec<Vec<u8>> {
    let ntfs = |cluster: u32| format!("mkntfs -q -Q -F -c {cluster} -s 512 $DISK");
    made(&[(&ntfs(4096), 4 << 10), (&ntfs(512), 2 << 10)])
}

/// XFS with and without checksums.
pub(crate) fn xfs() -> Vec<Vec<u8>> {
    let xfs = |options| format!("mkfs.xfs -q -f --unsupported {options} $DISK");
    let commands = ["-d agcount=1", "-m crc=0 -b size=1024", "-m rmapbt=1 -d agcount=1"].map(xfs);
    made(&commands.each_ref().map(|command| (command.as_str(), 24 << 10)))
}

/// btrfs with mixed block groups and with others.
pub(crate) fn btrfs() -> Vec<Vec<u8>> {
    made(&[
        ("mkfs.btrfs -q -f -M -n 4096 $DISK", 20 << 10),
        ("mkfs.btrfs -q -f -m dup -d single -n 4096 --csum xxhash $DISK", 120 << 10),
    ])
}

/// F2FS.
pub(crate) fn f2fs() -> Vec<Vec<u8>> {
    made(&[
        ("mkfs.f2fs -q -f $DISK", 64 << 10),
        ("mkfs.f2fs -q -f -O extra_attr,sb_checksum -i $DISK", 72 << 10),
    ])
}

/// NILFS2 with blocks of two sizes.
pub(crate) fn nilfs2() -> Vec<Vec<u8>> {
    made(&[
        ("mkfs.nilfs2 -q -f -b 1024 -B 64 $DISK", 4 << 10),
        ("mkfs.nilfs2 -q -f -B 16 -O block_count $DISK", 4 << 10),
    ])
}

/// JFS of Linux and of OS/2.
pub(crate) fn jfs() -> Vec<Vec<u8>> {
    made(&[("jfs_mkfs -q $DISK", 16 << 10), ("jfs_mkfs -q -O $DISK", 18 << 10)])
}

/// ReiserFS of both formats with small journals.
pub(crate) fn reiserfs() -> Vec<Vec<u8>> {
    made(&[
        ("mkreiserfs -q -ff -s 600 $DISK", 5 << 10),
        ("mkreiserfs -q -ff --format 3.5 -b 1024 -s 600 $DISK", 3 << 10),
        ("mkreiserfs -q -ff $DISK", 36 << 10),
    ])
}

/// HFS+ with as much as an allocation map needs, with and without a journal; and HFS.
pub(crate) fn hfsplus() -> Vec<Vec<u8>> {
    let mut inputs: Vec<_> = [false, true].map(|journal| paged(&hfsplus_volume(journal))).into();
    inputs.extend(made(&[("hformat -l old $DISK", 2 << 10)]));
    inputs
}

/// A volume of 256 blocks of 1 KiB: header, allocation file, journal, but no trees.
fn hfsplus_volume(journal: bool) -> Vec<u8> {
    let mut bytes = vec![0; 256 << 10];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    // Blocks 0 to 6 and the last one are in use.
    put(3 << 10, &[0xFE]);
    put((3 << 10) + 31, &[1]);
    for header in [1 << 10, 255 << 10] {
        let attributes = if journal { 0x2100 } else { 0x100 };
        put(header, &words(&[0x482B_0004, attributes, 0x3130_2E30, 4]));
        put(header + 40, &words(&[1024, 256, 248]));
        // The allocation file: bytes, clump, blocks, and the first extent.
        put(header + 112, &words(&[0, 32, 1024, 1, 3, 1]));
    }
    // The journal info block, and the header of an empty journal.
    put(4 << 10, &words(&[1]));
    put((4 << 10) + 36, &words(&[0, 5 << 10, 0, 2 << 10]));
    let mut header = words(&[0x4A4E_4C78, 0x1234_5678, 0, 512, 0, 512, 0, 2 << 10, 512, 0, 512]);
    let sum = header.iter().fold(0u32, |sum, byte| (sum << 8) ^ sum.wrapping_add((*byte).into()));
    header[36..40].copy_from_slice(&(!sum).to_be_bytes());
    put(5 << 10, &header);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use imagezip::fs::{Allocation, probe};

    /// Seeds that no reader accepts would lead nowhere.
    #[test]
    fn seeds_have_maps() {
        let all = [exfat, ntfs, xfs, btrfs, f2fs, nilfs2, jfs, reiserfs, hfsplus];
        for (number, seeds) in all.into_iter().enumerate() {
            for seed in seeds() {
                let found = probe(&disk(&seed)).expect("memory can be read").expect("a filesystem");
                let is_known = matches!(found.allocation, Allocation::Known(_));
                assert!(is_known || found.name == "hfs", "{number}: {found:?}");
            }
        }
    }
}
