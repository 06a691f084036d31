//! Inputs to begin with: golden files, images of our own, and what mkfs makes here.

use imagezip::disk::memory::MemoryDisk;
use imagezip::interrupt::Interrupt;
use imagezip::ndz::{CHUNK_LEN, ChunkHeader, Codec, Version};
use imagezip::progress::Progress;
use imagezip::save::{ImageFields, SaveOptions, save};
use imagezip::units::{Sector, SectorCount, SectorRange};
use std::path::Path;
use std::process::Command;

/// The golden images of the deployed tools.
fn golden() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("tests/golden is part of the repository")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "ndz"))
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// Small images of our own, of every codec: data, zeros, free space.
fn ours() -> Vec<Vec<u8>> {
    let mut disk: Vec<u8> = (0..400 * 512u32).map(|n| (n / 5).to_le_bytes()[0]).collect();
    disk[128 * 512..256 * 512].fill(0);
    let range = |start, end| SectorRange::new(Sector::from_u32(start), Sector::from_u32(end));
    let ranges: Vec<_> =
        [range(0, 9), range(20, 300), range(350, 399)].into_iter().flatten().collect();
    let options = SaveOptions { level: 1, threads: 1, memory: None, rescue: false };
    let mut images = Vec::new();
    for codec in [Codec::Stored, Codec::Zlib, Codec::Zstd] {
        let image = ImageFields {
            version: Version::Native,
            codec,
            image_id: Some([5; 16]),
            source_bytes: 400 * 512,
            logical_sector_bytes: 512,
            allocated: SectorCount::ZERO,
            slice: false,
            relocations: Vec::new(),
        };
        let mut bytes = Vec::new();
        let mut write = |chunk: &[u8]| {
            bytes.extend_from_slice(chunk);
            Ok(())
        };
        let (progress, never) = (Progress::new(), Interrupt::never());
        let disk = MemoryDisk::new(disk.clone());
        save(&disk, &ranges, image, &options, &progress, &never, &mut write).expect("it is small");
        images.push(bytes);
    }
    images
}

/// First chunks, without the padding.
pub(crate) fn chunks() -> Vec<Vec<u8>> {
    let mut images = golden();
    images.extend(ours());
    for image in &mut images {
        let header = ChunkHeader::parse(&image[..CHUNK_LEN], 0).expect("a sound image");
        image.truncate(header.header_area + header.payload_len);
    }
    // Those with little payload: the fuzzer is after headers and ends of streams.
    images.retain(|chunk| chunk.len() < 100_000);
    images
}

/// The first KiB of every header of an image.
pub(crate) fn headers() -> Vec<Vec<u8>> {
    let starts = |image: &Vec<u8>| -> Vec<u8> {
        image.chunks(CHUNK_LEN).flat_map(|chunk| chunk[..1024].to_vec()).collect()
    };
    golden().iter().chain(&ours()).map(starts).collect()
}

/// Disklabels, with the kind of relocation in front.
pub(crate) fn disklabels() -> Vec<Vec<u8>> {
    let mut label = vec![0; 404];
    label[..4].copy_from_slice(&0x8256_4557u32.to_le_bytes());
    label[132..136].copy_from_slice(&0x8256_4557u32.to_le_bytes());
    label[138] = 16;
    for entry in label[148..].chunks_mut(16) {
        entry[1] = 7;
        entry[5] = 2;
    }
    (1..=7).map(|kind| [&[kind], &label[..]].concat()).collect()
}

/// The start of disks that a shell command partitions; `$DISK` is the disk.
pub(crate) fn partition_tables() -> Vec<Vec<u8>> {
    let logical = "label: dos\nsize=40960\ntype=5\nsize=2048\nsize=2048\nsize=2048\n";
    let sfdisk = format!("printf '{logical}' | sfdisk --quiet $DISK");
    let gpt = "sgdisk -n1:2048:+1M -n2:0:+4M -n0:0:0 $DISK";
    // Its whole chain is at the start of the disk.
    let short = "label: dos\nfirst-lba: 1\ngrain: 512\nstart=2,size=10\nstart=20,size=150,type=5\n\
                 start=22,size=8\nstart=40,size=8\nstart=60,size=8\n";
    let short = format!("printf '{short}' | sfdisk --quiet $DISK");
    [&sfdisk, &short, gpt, "printf 'label: dos\n' | sfdisk --quiet $DISK"]
        .into_iter()
        .filter_map(|command| made_by(command, 32 << 20))
        .map(|mut disk| {
            // A small disk with the primary table and, at its end, the backup.
            let end = disk.split_off(disk.len() - 34 * 512);
            disk.truncate(96 << 10);
            disk.extend(end);
            disk
        })
        .collect()
}

/// ext2, ext3 and ext4 as mkfs makes them.
pub(crate) fn ext() -> Vec<Vec<u8>> {
    let options = [
        "-t ext4 -b 1024",
        "-t ext4 -b 4096",
        "-t ext3 -b 1024",
        "-t ext2 -b 1024",
        "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg",
        "-t ext4 -b 1024 -O meta_bg,^resize_inode",
        "-t ext4 -b 1024 -O bigalloc",
        "-t ext4 -b 1024 -O sparse_super2,64bit",
    ];
    let made = |options| filesystem_by(&format!("mkfs.ext4 -q -F {options} $DISK"), 2 << 20);
    options.into_iter().filter_map(made).collect()
}

/// FAT12, FAT16 and FAT32 as mkfs makes them.
pub(crate) fn fat() -> Vec<Vec<u8>> {
    let options = [("-F 12", 1), ("-F 16 -s 1", 8), ("-F 32 -s 1", 34)];
    let made = |(options, mib): (&str, u64)| {
        filesystem_by(&format!("mkfs.vfat {options} $DISK"), mib << 20)
    };
    options.into_iter().filter_map(made).collect()
}

/// Marks of what is known by name, each where it belongs.
pub(crate) fn recognised() -> Vec<Vec<u8>> {
    let md = |version: u64| {
        // Superblocks of RAID 1; the sum of their words is not made right.
        let mut bytes = vec![0; 512];
        bytes[..8].copy_from_slice(&[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]);
        bytes[144..152].copy_from_slice(&version.to_le_bytes());
        bytes
    };
    let minix = [32, 0, 64, 0, 1, 0, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0x8F, 0x13];
    let marks: [(usize, Vec<u8>); 9] = [
        (0, md(0)),
        (4096, md(8)),
        (0, b"LUKS\xba\xbe\x00\x02".to_vec()),
        (0, b"hsqs".to_vec()),
        (1024, minix.to_vec()),
        (1024, b"\xe2\xe1\xf5\xe0".to_vec()),
        (4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81".to_vec()),
        (32769, b"CD001\x01".to_vec()),
        (128 << 10, 0x00BA_B10Cu64.to_be_bytes().to_vec()),
    ];
    marks.into_iter().map(|(at, mark)| [vec![0; at], mark].concat()).collect()
}

/// Linux swap as mkswap makes it.
pub(crate) fn swap() -> Vec<Vec<u8>> {
    let made = |options| filesystem_by(&format!("mkswap {options} $DISK"), 1 << 20);
    ["", "-L label"].into_iter().filter_map(made).collect()
}

/// UFS1 and UFS2 as makefs makes them.
pub(crate) fn ufs() -> Vec<Vec<u8>> {
    let options = [
        "-B le -o version=1,bsize=4096,fsize=512",
        "-B le -o version=2,bsize=4096,fsize=512",
        "-B le -o version=2,bsize=16384,fsize=4096",
        "-B be -o version=2,bsize=8192,fsize=1024",
        "-B be -o version=1,bsize=8192,fsize=8192",
    ];
    let made = |options| {
        let makefs = format!("makefs -t ffs -s 1m {options} $DISK $EMPTY");
        filesystem_by(&format!("EMPTY=$(mktemp -d) && {makefs} && rmdir $EMPTY"), 0)
    };
    options.into_iter().filter_map(made).collect()
}

/// Slices with a disklabel and two UFS; the labels count from the slice, and from the disk as
/// FreeBSD and as OpenBSD do.
pub(crate) fn slices() -> Vec<Vec<u8>> {
    let volumes = ufs();
    let (Some(first), Some(second)) = (volumes.first(), volumes.get(1)) else { return Vec::new() };
    let (length, slice) = (2_048u32, 81_920);
    let labelled = |origin: u32, whole: (u32, u32)| {
        let mut bytes = vec![0; 1024];
        bytes[512..516].copy_from_slice(&0x8256_4557u32.to_le_bytes());
        bytes[512 + 40..512 + 44].copy_from_slice(&512u32.to_le_bytes());
        bytes[512 + 132..512 + 136].copy_from_slice(&0x8256_4557u32.to_le_bytes());
        bytes[512 + 138] = 8;
        let entries =
            [(origin + 16, length, 7), (origin + 2_100, length, 7), (whole.0, whole.1, 0)];
        for (i, (offset, size, kind)) in entries.into_iter().enumerate() {
            let at = 512 + 148 + 16 * i;
            bytes[at..at + 4].copy_from_slice(&size.to_le_bytes());
            bytes[at + 4..at + 8].copy_from_slice(&offset.to_le_bytes());
            bytes[at + 12] = kind;
        }
        for (volume, sector) in [(first, 16), (second, 2_100)] {
            bytes.resize(sector * 512, 0);
            bytes.extend(volume);
        }
        bytes
    };
    vec![labelled(0, (0, slice)), labelled(63, (63, slice)), labelled(63, (0, 2 * slice))]
}

/// A file of this size after a shell command; `None`, said aloud, when the command fails.
pub(crate) fn made_by(command: &str, bytes: u64) -> Option<Vec<u8>> {
    let file = tempfile::NamedTempFile::new().ok()?;
    file.as_file().set_len(bytes).ok()?;
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", command])
        .env("DISK", file.path())
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .ok()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        eprintln!("SKIPPED: seed `{command}`: {}", said.trim());
        return None;
    }
    std::fs::read(file.path()).ok()
}

/// A filesystem without the zeros at its end, which a target adds again.
fn filesystem_by(command: &str, bytes: u64) -> Option<Vec<u8>> {
    let mut made = made_by(command, bytes)?;
    let end = made.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    made.truncate(end);
    Some(made)
}
