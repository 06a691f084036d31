//! A small volume made here, with one FAT or two: what is refused, and that damage does no harm.

use super::*;
use crate::disk::memory::MemoryDisk;
use crate::fs::Allocation;
use crate::units::Sector;
use proptest::prelude::*;

const CLUSTERS: usize = 100;
const FAT: usize = 24;
const HEAP: usize = 32;

/// Clusters of two sectors; the second bitmap, where there is one, has more in use.
struct Maker {
    fats: u8,
    sector: usize,
}

impl Maker {
    fn cluster(&self, number: usize) -> usize {
        (HEAP + (number - 2) * 2) * self.sector
    }

    fn image(&self) -> Vec<u8> {
        let sectors = HEAP + CLUSTERS * 2 + 1;
        let mut image = vec![0; (sectors + 5) * self.sector];
        let number = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0xEB, 0x76, 0x90]);
        put(3, b"EXFAT   ");
        put(72, &number(sectors));
        put(80, &number(FAT));
        put(84, &number(2));
        put(88, &number(HEAP));
        put(92, &number(CLUSTERS));
        put(96, &number(5));
        put(100, &[0xCD, 0x34, 0xAB, 0x12]);
        put(105, &[1]);
        put(108, &[u8::try_from(self.sector.trailing_zeros()).unwrap(), 1, self.fats]);
        put(510, &[0x55, 0xAA]);
        // Bitmap in 2, up-case table in 3 and 7, root directory in 5 and 6, second bitmap in 4.
        for fat in 0..usize::from(self.fats) {
            let at = (FAT + fat * 2) * self.sector;
            let entries = [(0, 0xFFFF_FFF8), (1, u32::MAX), (2, u32::MAX), (3, 7), (7, u32::MAX)];
            for (entry, next) in entries.into_iter().chain([(4, u32::MAX), (5, 6), (6, u32::MAX)]) {
                put(at + entry * 4, &next.to_le_bytes());
            }
        }
        let bitmap = [0b0010_1011 | 0b0001_0000, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0xF0];
        put(self.cluster(2), &bitmap);
        let mut root = vec![0x83, 4];
        root.extend("Disk".encode_utf16().flat_map(u16::to_le_bytes));
        root.resize(32, 0);
        let mut stream = |kind: u8, flags: u8, first: usize, bytes: usize| {
            root.extend([kind, flags]);
            root.extend([0; 18]);
            root.extend(number(first));
            root.extend(number(bytes));
            root.extend([0; 4]);
        };
        stream(0x81, 0, 2, 13);
        if self.fats == 2 {
            stream(0x81, 1, 4, 13);
            let mut second = bitmap;
            second[0] |= 0b0100_0100;
            put(self.cluster(4), &second);
        }
        stream(0x82, 0, 3, self.sector * 2 + 1);
        put(self.cluster(5), &root);
        seal(&mut image, self.sector);
        image
    }
}

/// Makes the checksum right and copies the main boot region to the backup.
fn seal(image: &mut [u8], sector: usize) {
    let sum = boot::checksum(&image[..11 * sector]).to_le_bytes();
    image[11 * sector..12 * sector].chunks_exact_mut(4).for_each(|to| to.copy_from_slice(&sum));
    image.copy_within(..12 * sector, 12 * sector);
}

fn found(image: Vec<u8>, force: bool) -> Filesystem {
    let options = ProbeOptions { force, ..ProbeOptions::default() };
    probe(&MemoryDisk::new(image), options).unwrap().unwrap()
}

fn reason(image: Vec<u8>) -> String {
    match found(image, false).allocation {
        Allocation::Known(_) => panic!("a map was given"),
        Allocation::Unsupported { reason } => reason,
        Allocation::Corrupt(corrupt) => corrupt.to_string(),
    }
}

fn ranges(found: &Filesystem) -> Vec<(u64, u64)> {
    let Allocation::Known(set) = &found.allocation else { panic!("{:?}", found.allocation) };
    set.ranges().iter().map(|r| (r.start().get(), r.end().get())).collect()
}

#[test]
fn bits_beyond_the_volume_are_ignored() {
    for sector in [512, 1024, 2048, 4096] {
        let exfat = found(Maker { fats: 1, sector }.image(), false);
        assert_eq!(
            (exfat.label.as_deref(), exfat.uuid.as_deref()),
            (Some("Disk"), Some("12AB-34CD"))
        );
        let per = u64::try_from(sector / 512).unwrap();
        // Clusters 2, 3, 5 to 7, 41, and the sector behind the last cluster.
        let expected = [(0, 36), (38, 44), (110, 112), (232, 233)];
        assert_eq!(ranges(&exfat), expected.map(|(from, to)| (from * per, to * per)));
        assert_eq!(exfat.size.get(), 233 * per);
    }
}

#[test]
fn what_either_of_two_bitmaps_has_in_use_is_kept() {
    for active in [0, 1] {
        let mut image = Maker { fats: 2, sector: 512 }.image();
        image[106] = active;
        image[12 * 512 + 106] = active;
        let expected = [(0, 46), (110, 112), (232, 233)];
        assert_eq!(ranges(&found(image, false)), expected);
    }
    let mut image = Maker { fats: 2, sector: 512 }.image();
    let at = Maker { fats: 2, sector: 512 }.cluster(5);
    image[at + 64] = 0x01; // the entry of the second bitmap is deleted
    assert!(reason(image).contains("each allocation bitmap"));
}

#[test]
fn a_volume_not_at_rest_is_kept_unless_forced() {
    for (flag, why) in [(2, "VolumeDirty"), (4, "MediaFailure")] {
        let mut image = Maker { fats: 1, sector: 512 }.image();
        image[106] = flag; // not part of the checksum
        assert!(reason(image.clone()).contains(why));
        assert_eq!(ranges(&found(image, true)).len(), 4);
    }
}

#[test]
fn contradictions_keep_it() {
    let maker = Maker { fats: 1, sector: 512 };
    let (bitmap, root, fat) = (maker.cluster(2), maker.cluster(5), FAT * 512);
    for (at, mask, expected) in [
        (200, 1, "main boot region"),
        (11 * 512 + 40, 1, "main boot region"),
        (12 * 512 + 200, 1, "backup boot region"),
        (12 * 512 + 92, 1, "backup boot region"),
        (106, 1, "active FAT"),
        (bitmap, 0x01, "allocation bitmap"),
        (bitmap, 0x02, "up-case table"),
        (bitmap, 0x20, "up-case table"),
        (bitmap, 0x10, "root directory"),
        (bitmap, 0x08, "root directory"),
        (root + 32, 0x80, "an entry for each allocation bitmap"),
        (root + 64, 0x80, "an entry for the up-case table"),
        (root + 64, 0x03, "one allocation bitmap"),
        (root + 33, 1, "an entry for each allocation bitmap"),
        (root + 32 + 24, 1, "13 bytes for 100 clusters"),
        (root + 64 + 25, 4, "chain of the up-case table"),
        (root + 64 + 25, 8, "a chain of 4 clusters"),
        (root + 32 + 20, 1, "chain of the allocation bitmap"),
        (fat + 20, 3, "chain of the root directory"), // a ring
        (fat + 23, 1, "chain of the root directory"),
        (fat + 12, 0xFF, "chain of the up-case table"),
    ] {
        let mut image = maker.image();
        image[at] ^= mask;
        let text = reason(image);
        assert!(text.contains(expected), "{at} ^ {mask:#x}: {text}");
    }
    for (at, value, expected) in [
        (72, 0xFF, "length of the volume"),
        (80, 23, "place of the FAT"),
        (80, 31, "place of the FAT"),
        (84, 0, "place of the FAT"),
        (88, 90, "number of clusters"),
        (92, 0, "number of clusters"),
        (92, 101, "number of clusters"),
        (96, 1, "root directory"),
        (96, 102, "root directory"),
        (105, 2, "exFAT 2.0"),
        (108, 13, "sector size"),
        (109, 17, "cluster size"),
        (110, 3, "number of FATs"),
        (30, 1, "form"),
    ] {
        let mut image = maker.image();
        image[at] = value;
        seal(&mut image, 512);
        let text = reason(image);
        assert!(text.contains(expected), "{at} = {value}: {text}");
    }
}

proptest! {
    #[test]
    fn damage_does_no_harm(
        fats in 1u8..=2,
        flips in prop::collection::vec((0usize..3, any::<u16>(), any::<u8>()), 1..8),
    ) {
        let maker = Maker { fats, sector: 512 };
        let mut image = maker.image();
        for (place, at, mask) in flips {
            let at = usize::from(at);
            image[match place {
                0 => 64 + at % 48,
                1 => FAT * 512 + at % 32,
                _ => maker.cluster(2) + at % (10 * 512),
            }] ^= mask;
        }
        seal(&mut image, 512);
        let len = u64::try_from(image.len()).unwrap();
        let found = found(image, true);
        if let Allocation::Known(set) = found.allocation {
            prop_assert!(set.end().get() * 512 <= len);
            prop_assert!(set.contains(Sector::ZERO));
            prop_assert!(set.end().get() <= found.size.get());
        }
    }
}
