//! How long the allocation map of a volume of 1 TiB takes, for each filesystem with a maker here, as the
//! table of docs/performance.md. `make bench` runs it.
//!
//! The volumes are sparse files. "worn" has pieces of 1 to 4 MiB that are in use and free in turns,
//! all over the volume: ext4, XFS and btrfs get them from the kernel, by files of which every second
//! is removed (needs root); FAT, exFAT, NTFS and ReiserFS by a pattern in their own bitmaps. The
//! others are measured as their makers leave them: their readers read all of the map anyway.

use anyhow::{Context, Result, bail, ensure};
use benches::median;
use imagezip::disk::{DiskError, ReadDisk, SourceOptions, open_source};
use imagezip::fs::{Allocation, probe};
use imagezip::units::SectorRange;
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::mount::Mount;
use tests::tools::{is_root, output, ready, run, text};

/// Size of the volumes.
const VOLUME_BYTES: u64 = 1 << 40;
/// Used and free pieces, where a pattern makes them.
const PIECE_BYTES: u64 = 1 << 20;
/// Size of a file, where files make them.
const FILE_BYTES: u64 = 4 << 20;
/// Runs of each kind; the median is shown.
const ROUNDS: usize = 3;

/// Makes a fresh volume worn.
type Wear = fn(&Path, &Path) -> Result<()>;

/// One filesystem to measure.
struct Volume {
    name: &'static str,
    bytes: u64,
    /// The maker and its options.
    maker: &'static [&'static str],
    wear: Option<Wear>,
}

const fn volume(name: &'static str, maker: &'static [&'static str], wear: Option<Wear>) -> Volume {
    Volume { name, bytes: VOLUME_BYTES, maker, wear }
}

/// makefs writes every byte of a volume, so it is a smaller one.
const UFS: Volume = Volume {
    name: "UFS2",
    bytes: 8 << 30,
    maker: &["makefs", "-t", "ffs", "-s", "8g", "-o", "version=2,bsize=32768,fsize=4096"],
    wear: None,
};

const VOLUMES: [Volume; 12] = [
    volume(
        "ext4",
        &["mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1"],
        Some(wear_by_files),
    ),
    volume("XFS", &["mkfs.xfs", "-q", "-f"], Some(wear_by_files)),
    volume("btrfs", &["mkfs.btrfs", "-q", "-f"], Some(wear_by_files)),
    volume("NTFS", &["mkntfs", "-F", "-Q", "-q"], Some(wear_ntfs)),
    volume("exFAT", &["mkfs.exfat"], Some(wear_exfat)),
    volume("FAT32", &["mkfs.fat", "-F", "32", "-s", "64"], Some(wear_fat)),
    volume("F2FS", &["mkfs.f2fs", "-q", "-f"], None),
    volume("NILFS2", &["mkfs.nilfs2", "-q", "-f"], None),
    volume("JFS", &["mkfs.jfs", "-q"], None),
    volume("ReiserFS", &["mkreiserfs", "-q", "-f", "-f"], Some(wear_reiserfs)),
    UFS,
    volume("swap", &["mkswap"], None),
];

fn main() -> Result<()> {
    let work = std::env::current_exe()?.with_file_name("bench-maps");
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    println!(
        "| filesystem | sectors kept | ranges | read, MiB | reads | cold, s | warm, s | \
         warm but reading, s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for volume in &VOLUMES {
        let (tool, _) = volume.maker.split_first().context("maker")?;
        let is_wanted = wanted.is_empty() || wanted.iter().any(|name| name == volume.name);
        if is_wanted && ready(volume.name, &[*tool], false) {
            std::fs::create_dir_all(&work)?;
            let result = measure(volume, &work).with_context(|| volume.name);
            std::fs::remove_dir_all(&work)?;
            result?;
        }
    }
    Ok(())
}

fn measure(volume: &Volume, work: &Path) -> Result<()> {
    let image = work.join("image");
    let (tool, options) = volume.maker.split_first().context("maker")?;
    if *tool == "makefs" {
        let content = work.join("content");
        std::fs::create_dir(&content)?;
        run(tool, &[options, &[text(&image), text(&content)]].concat())?;
    } else {
        File::create(&image)?.set_len(volume.bytes)?;
        run(tool, &[options, &[text(&image)]].concat())?;
    }
    let size = volume.bytes >> 30;
    row(&format!("{}, {size} GiB, empty", volume.name), &image)?;
    let Some(wear) = volume.wear else { return Ok(()) };
    if is_root() {
        wear(&image, work)?;
        row(&format!("{}, {size} GiB, worn", volume.name), &image)?;
    } else {
        eprintln!("SKIPPED: {}, worn: needs root", volume.name);
    }
    Ok(())
}

/// A disk that notes what is read of it.
struct Counted<D> {
    disk: D,
    bytes: AtomicU64,
    reads: AtomicU64,
    nanoseconds: AtomicU64,
}

impl<D: ReadDisk> ReadDisk for Counted<D> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        let start = Instant::now();
        let result = self.disk.read_at(buf, offset);
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(took, Ordering::Relaxed);
        self.bytes.fetch_add(u64::try_from(buf.len()).unwrap_or(0), Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn next_data(&self, range: SectorRange) -> Result<Option<SectorRange>, DiskError> {
        self.disk.next_data(range)
    }
}

fn row(name: &str, image: &Path) -> Result<()> {
    File::open(image)?.sync_all()?; // what is dirty stays in the page cache
    let (mut cold, mut warm, mut thinking) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen = String::new();
    for _ in 0..ROUNDS {
        fadvise(File::open(image)?, 0, None::<NonZeroU64>, Advice::DontNeed)?;
        let (first, _, _) = map(name, image)?;
        let (second, reading, what) = map(name, image)?;
        cold.push(first);
        warm.push(second);
        thinking.push(second.saturating_sub(reading));
        seen = what;
    }
    println!(
        "| {name} | {seen} | {:.2} | {:.2} | {:.2} |",
        median(&cold),
        median(&warm),
        median(&thinking)
    );
    Ok(())
}

/// One map: the time it took, the part of it that was reading, and what was found.
fn map(name: &str, image: &Path) -> Result<(Duration, Duration, String)> {
    let start = Instant::now();
    let disk = Counted {
        disk: open_source(image, SourceOptions::default())?,
        bytes: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        nanoseconds: AtomicU64::new(0),
    };
    let found = probe(&disk)?.context("not recognised")?;
    let took = start.elapsed();
    let Allocation::Known(set) = &found.allocation else {
        bail!("{name}: no map: {:?}", found.allocation);
    };
    let reading = Duration::from_nanos(disk.nanoseconds.load(Ordering::Relaxed));
    let mib = disk.bytes.load(Ordering::Relaxed) >> 20;
    let reads = disk.reads.load(Ordering::Relaxed);
    Ok((took, reading, format!("{} | {} | {mib} | {reads}", set.count(), set.len())))
}

/// Fills a mounted volume with preallocated files, and removes every second one.
fn wear_by_files(image: &Path, work: &Path) -> Result<()> {
    let mount = Mount::new(image, &work.join("mount"), "")?;
    let count = VOLUME_BYTES / 100 * 95 / FILE_BYTES;
    let place =
        |number: u64| mount.point().join((number / 2000).to_string()).join(number.to_string());
    for number in 0..count {
        let path = place(number);
        if number % 2000 == 0 {
            std::fs::create_dir(path.parent().context("directory")?)?;
        }
        let file = File::create(&path)?;
        fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES)
            .with_context(|| format!("file {number} of {count}"))?;
    }
    run("sync", &["-f", text(mount.point())])?; // until then nothing may have its place
    for number in (0..count).step_by(2) {
        std::fs::remove_file(place(number))?;
    }
    mount.unmount()
}

/// Sets the bits of every second piece. `unit` is what a bit stands for; the bitmap is padded, so
/// that pieces are whole bytes.
fn set_pieces(bitmap: &mut [u8], unit: u64) -> Result<()> {
    let piece = usize::try_from((PIECE_BYTES / unit / 8).max(1))?;
    for used in bitmap.chunks_mut(piece).step_by(2) {
        used.fill(0xFF);
    }
    Ok(())
}

/// `$Bitmap` by its number, through the tools of ntfs-3g.
fn wear_ntfs(image: &Path, work: &Path) -> Result<()> {
    let said = output("ntfscat", &["-f", "-i", "6", text(image)])?;
    ensure!(said.status.success(), "ntfscat: {said:?}");
    let mut bitmap = said.stdout;
    set_pieces(&mut bitmap, 4096)?;
    let file = work.join("bitmap");
    std::fs::write(&file, bitmap)?;
    run("ntfscp", &["-f", "-i", text(image), text(&file), "6"]).map(drop)
}

/// The bitmap stands in cluster 2, where the maker puts it.
fn wear_exfat(image: &Path, _: &Path) -> Result<()> {
    let file = File::options().read(true).write(true).open(image)?;
    let mut boot = [0; 512];
    file.read_exact_at(&mut boot, 0)?;
    let word =
        |at: usize| boot.get(at..).and_then(<[u8]>::first_chunk).map(|b| u32::from_le_bytes(*b));
    let (heap, clusters) = (word(88).context("heap")?, word(92).context("clusters")?);
    let cluster = 1 << (boot[108] + boot[109]);
    update(&file, u64::from(heap) << boot[108], u64::from(clusters / 8), |bitmap| {
        set_pieces(bitmap, cluster)
    })
}

/// Both FATs: ends of chains in the first 32 entries of each 64.
fn wear_fat(image: &Path, _: &Path) -> Result<()> {
    let file = File::options().read(true).write(true).open(image)?;
    let mut boot = [0; 512];
    file.read_exact_at(&mut boot, 0)?;
    let [low, high] = [boot[14], boot[15]];
    let sector = u64::from(u16::from_le_bytes([boot[11], boot[12]]));
    let reserved = u64::from(u16::from_le_bytes([low, high])) * sector;
    let sectors = u32::from_le_bytes([boot[36], boot[37], boot[38], boot[39]]);
    let len = u64::from(sectors) * sector;
    for number in 0..2 {
        update(&file, reserved + number * len, len, |fat| {
            let piece = usize::try_from(PIECE_BYTES / (64 * sector))? * 4;
            // The first piece holds the entries of the root directory, and is left.
            for used in fat.chunks_mut(piece).skip(2).step_by(2) {
                for entry in used.chunks_mut(4) {
                    entry.copy_from_slice(&0x0FFF_FFFF_u32.to_le_bytes());
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// All bitmaps but the first, and the number of free blocks in the superblock.
fn wear_reiserfs(image: &Path, _: &Path) -> Result<()> {
    const BLOCK: u64 = 4096;
    let file = File::options().read(true).write(true).open(image)?;
    let mut used = 0;
    for number in 1..VOLUME_BYTES / BLOCK / (8 * BLOCK) {
        update(&file, number * 8 * BLOCK * BLOCK, BLOCK, |bitmap| {
            let before: u32 = bitmap.iter().map(|byte| byte.count_ones()).sum();
            set_pieces(bitmap, BLOCK)?;
            used += bitmap.iter().map(|byte| byte.count_ones()).sum::<u32>() - before;
            Ok(())
        })?;
    }
    update(&file, (64 << 10) + 4, 4, |free| {
        let now = u32::from_le_bytes(free.try_into()?) - used;
        free.copy_from_slice(&now.to_le_bytes());
        Ok(())
    })
}

fn update(
    file: &File,
    offset: u64,
    len: u64,
    change: impl FnOnce(&mut [u8]) -> Result<()>,
) -> Result<()> {
    let mut bytes = vec![0; usize::try_from(len)?];
    file.read_exact_at(&mut bytes, offset)?;
    change(&mut bytes)?;
    file.write_all_at(&bytes, offset)?;
    Ok(())
}
