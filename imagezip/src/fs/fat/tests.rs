//! Small images made here: what is refused, and that damage does no harm.

use super::*;
use crate::disk::memory::MemoryDisk;
use crate::fs::Allocation;
use crate::units::Sector;
use proptest::prelude::*;

/// A filesystem of one-sector clusters with these entries from cluster 2 on.
struct Maker {
    kind: boot::Kind,
    sector: usize,
    clusters: usize,
    entries: Vec<u32>,
}

impl Maker {
    fn new(kind: boot::Kind, sector: usize) -> Self {
        let clusters = match kind {
            boot::Kind::Fat12 => 300,
            boot::Kind::Fat16 => 4085,
            boot::Kind::Fat32 => 700,
        };
        Self { kind, sector, clusters, entries: vec![0x0FFF_FFFF, 0, 5, 0x0FFF_FFF7, 0, 1] }
    }

    fn bits(&self) -> usize {
        usize::try_from(self.kind.entry_bits()).unwrap()
    }

    fn fat_sectors(&self) -> usize {
        ((self.clusters + 2) * self.bits()).div_ceil(8 * self.sector)
    }

    fn root_sectors(&self) -> usize {
        if self.kind == boot::Kind::Fat32 { 0 } else { (64 * 32usize).div_ceil(self.sector) }
    }

    /// Sectors in front of the clusters.
    fn first(&self) -> usize {
        8 + 2 * self.fat_sectors() + self.root_sectors()
    }

    fn image(&self) -> Vec<u8> {
        let total = self.first() + self.clusters;
        let mut image = vec![0; (total + 3) * self.sector];
        let boot = &mut image[..512];
        boot[..3].copy_from_slice(&[0xEB, 0x3C, 0x90]);
        boot[11..13].copy_from_slice(&u16::try_from(self.sector).unwrap().to_le_bytes());
        boot[13] = 1;
        boot[14] = 8;
        boot[16] = 2;
        boot[21] = 0xF8;
        boot[32..36].copy_from_slice(&u32::try_from(total).unwrap().to_le_bytes());
        let fat = u32::try_from(self.fat_sectors()).unwrap().to_le_bytes();
        let identity = if self.kind == boot::Kind::Fat32 {
            boot[36..40].copy_from_slice(&fat);
            boot[44] = 2;
            64
        } else {
            boot[17] = 64;
            boot[22..24].copy_from_slice(&fat[..2]);
            36
        };
        boot[identity + 2] = 0x29;
        boot[identity + 3..identity + 7].copy_from_slice(&0x12AB_34CDu32.to_le_bytes());
        boot[identity + 7..identity + 18].copy_from_slice(b"DISK 1     ");
        let text = format!("{:<8}", self.kind.name().to_uppercase());
        boot[identity + 18..identity + 26].copy_from_slice(text.as_bytes());
        boot[510..].copy_from_slice(&[0x55, 0xAA]);
        let head = [0x0FFF_FFF8, 0x0FFF_FFFF];
        for (i, entry) in head.iter().chain(&self.entries).enumerate() {
            let mask = if self.bits() == 32 { u32::MAX } else { (1 << self.bits()) - 1 };
            let shifted = (entry & mask) << (i * self.bits() % 8);
            for copy in 0..2 {
                let at = (8 + copy * self.fat_sectors()) * self.sector + i * self.bits() / 8;
                for (to, from) in image[at..at + 4].iter_mut().zip(shifted.to_le_bytes()) {
                    *to |= from;
                }
            }
        }
        image
    }
}

fn found(image: Vec<u8>, options: ProbeOptions) -> Filesystem {
    probe(&MemoryDisk::new(image), options).unwrap().unwrap()
}

fn reason(image: Vec<u8>) -> String {
    match found(image, ProbeOptions::default()).allocation {
        Allocation::Known(_) => panic!("a map was given"),
        Allocation::Unsupported { reason } => reason,
        Allocation::Corrupt(corrupt) => corrupt.to_string(),
    }
}

const KINDS: [boot::Kind; 3] = [boot::Kind::Fat12, boot::Kind::Fat16, boot::Kind::Fat32];

#[test]
fn every_entry_but_zero_is_in_use() {
    for kind in KINDS {
        for sector in [512, 1024, 2048, 4096] {
            let maker = Maker::new(kind, sector);
            let fat = found(maker.image(), ProbeOptions::default());
            assert_eq!((fat.name, fat.label.as_deref()), (kind.name(), Some("DISK 1")));
            assert_eq!(fat.uuid.as_deref(), Some("12AB-34CD"));
            let per = sector / 512;
            let expected = [(0, maker.first() + 1), (maker.first() + 2, maker.first() + 4)];
            let last = (maker.first() + 5, maker.first() + 6);
            let Allocation::Known(set) = fat.allocation else { panic!("{:?}", fat.allocation) };
            let ranges: Vec<_> =
                set.ranges().iter().map(|r| (r.start().get(), r.end().get())).collect();
            let in_sectors = |n: usize| u64::try_from(n * per).unwrap();
            let expected: Vec<_> = expected
                .into_iter()
                .chain([last])
                .map(|(from, to)| (in_sectors(from), in_sectors(to)))
                .collect();
            assert_eq!(ranges, expected, "{kind:?} with sectors of {sector}");
            assert_eq!(fat.size.get(), in_sectors(maker.first() + maker.clusters));
        }
    }
}

#[test]
fn marks_of_a_volume_in_use_keep_it_unless_forced() {
    for kind in KINDS {
        let maker = Maker::new(kind, 512);
        let fat = 8 * 512;
        let identity = if kind == boot::Kind::Fat32 { 64 } else { 36 };
        let mut marks = vec![(identity + 1, 1, "dirty mark"), (identity + 1, 2, "failed to read")];
        match kind {
            boot::Kind::Fat12 => {}
            boot::Kind::Fat16 => {
                marks.extend([(fat + 3, 0x80, "dirty mark"), (fat + 3, 0x40, "failed to read")])
            }
            boot::Kind::Fat32 => {
                marks.extend([(fat + 7, 8, "dirty mark"), (fat + 7, 4, "failed to read")])
            }
        }
        for (at, mask, why) in marks {
            let mut image = maker.image();
            image[at] ^= mask;
            if at >= fat {
                image[at + maker.fat_sectors() * 512] ^= mask;
            }
            let text = reason(image.clone());
            assert!(text.contains(why), "{kind:?}: {text}");
            let forced = ProbeOptions { force: true, ..ProbeOptions::default() };
            assert!(matches!(found(image, forced).allocation, Allocation::Known(_)));
        }
    }
}

#[test]
fn contradictions_keep_it() {
    for kind in KINDS {
        let maker = Maker::new(kind, 512);
        let second = (8 + maker.fat_sectors()) * 512 + 9;
        let media = 8 * 512;
        for (at, expected) in
            [(second, "FAT 2 of 2"), (media, "first FAT"), (32 + 2, "number of sectors")]
        {
            let mut image = maker.image();
            image[at] ^= 0x10;
            let text = reason(image);
            assert!(text.contains(expected), "{kind:?}: {text}");
        }
        let mut image = maker.image();
        image.truncate((maker.first() + maker.clusters) * 512 - 1);
        assert!(reason(image).contains("at most the"), "larger than its partition");
    }
}

#[test]
fn forms_of_fat32_that_systems_read_differently_keep_it() {
    let maker = Maker::new(boot::Kind::Fat32, 512);
    for (at, value, expected) in [
        (40, 0x81, "only FAT 1"),
        (42, 1, "version 0.1"),
        (44, 1, "cluster of the root"),
        (44, 3, "the root directory starts, in use"),
        (17, 16, "fixed root directory"),
        (36, 1, "size of the FAT"),
    ] {
        let mut image = maker.image();
        image[at] = value;
        let text = reason(image);
        assert!(text.contains(expected), "{at}: {text}");
    }
    let mut image = maker.image();
    image[424..440].copy_from_slice(&raw::BITLOCKER_TO_GO);
    assert!(reason(image).contains("BitLocker"));
    // A backup with another geometry.
    let mut image = maker.image();
    let boot: Vec<u8> = image[..512].to_vec();
    image[3 * 512..4 * 512].copy_from_slice(&boot);
    image[50] = 3;
    image[3 * 512 + 50] = 3;
    assert!(matches!(
        found(image.clone(), ProbeOptions::default()).allocation,
        Allocation::Known(_)
    ));
    image[3 * 512 + 32] -= 1;
    assert!(reason(image).contains("backup boot sector"));
}

#[test]
fn the_name_of_another_kind_keeps_it() {
    let mut image = Maker::new(boot::Kind::Fat16, 512).image();
    image[36 + 18 + 4] = b'2'; // FAT12
    assert!(reason(image).contains("name of its kind"));
    let mut image = Maker::new(boot::Kind::Fat16, 512).image();
    image[36 + 18 + 3..36 + 18 + 8].fill(b' ');
    assert!(matches!(found(image, ProbeOptions::default()).allocation, Allocation::Known(_)));
}

#[test]
fn other_first_sectors_are_not_fat() {
    let image = Maker::new(boot::Kind::Fat16, 512).image();
    for (at, bytes) in [
        (3, &b"NTFS    "[..]),
        (3, b"EXFAT   "),
        (3, b"-FVE-FS-"),
        (0, &[0; 3]),
        (510, &[0, 0]),
        (16, &[0]),
        (13, &[3]),
        (21, &[0xF1]),
    ] {
        let mut image = image.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        let found = probe(&MemoryDisk::new(image), ProbeOptions::default()).unwrap();
        assert_eq!(found, None, "{bytes:?} at {at}");
    }
}

proptest! {
    #[test]
    fn damage_does_no_harm(
        kind in 0usize..3,
        flips in prop::collection::vec((0usize..8 * 512, any::<u8>()), 1..8),
    ) {
        let maker = Maker::new(KINDS[kind], 512);
        let mut image = maker.image();
        for (at, mask) in flips {
            // Half of all flips hit the fields of the boot sector.
            image[if at % 2 == 0 { at % 96 } else { at }] ^= mask;
        }
        let len = u64::try_from(image.len()).unwrap();
        let disk = MemoryDisk::new(image);
        if let Some(found) = probe(&disk, ProbeOptions { force: true, ..ProbeOptions::default() }).unwrap()
            && let Allocation::Known(set) = found.allocation
        {
            prop_assert!(set.end().get() * 512 <= len);
            prop_assert!(set.contains(Sector::ZERO));
            prop_assert!(set.end().get() <= found.size.get());
        }
    }
}
