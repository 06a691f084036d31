//! NTFS against ntfs-3g, and a volume that Windows made.

use anyhow::{Context, Result, bail, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::{Allocation, ProbeOptions, ntfs, probe_with};
use imagezip::units::SectorRange;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::content::{Tree, churn, populate, read_tree};
use tests::foreign;
use tests::image_file::{self, ImageFile};
use tests::mount::FuseMount;
use tests::poison::{self, flip, recognise};
use tests::rng::Rng;
use tests::tools::{ready, run, text};

/// Debian packages ntfs-3g and attr.
pub(super) const TOOLS: [&str; 6] =
    ["mkntfs", "ntfsresize", "ntfsinfo", DRIVER, "losetup", "setfattr"];
const DRIVER: &str = "ntfs-3g";

pub(super) fn workspace() -> Result<TempDir> {
    tempfile::Builder::new().prefix("imagezip-ntfs-").tempdir().context("temporary directory")
}

/// Makes a filesystem by `mkntfs OPTIONS` in a file of `kib` KiB.
pub(super) fn make(dir: &Path, options: &str, kib: u64) -> Result<PathBuf> {
    let image = dir.join("image");
    image_file::create(&image, kib * 1024)?;
    let mut args = vec!["-F", "-Q", "-q", "-L", "Worn"];
    args.extend(options.split_whitespace());
    args.push(text(&image));
    run("mkntfs", &args)?;
    Ok(image)
}

/// Fills and wears it.
pub(super) fn wear(dir: &Path, image: &Path, seed: u64) -> Result<()> {
    let mount = FuseMount::new(DRIVER, image, &dir.join("m"), "compression")?;
    let point = mount.point();
    populate(point, seed, 40)?;
    // Files in a compressed directory are compressed.
    let packed = point.join("packed");
    fs::create_dir(&packed)?;
    run("setfattr", &["-n", "system.ntfs_attrib_be", "-v", "0x00000810", text(&packed)])?;
    fs::write(packed.join("text"), "compressible ".repeat(20_000))?;
    churn(point, seed, 3)?;
    for i in (0..40).step_by(3) {
        fs::remove_file(point.join(format!("d{}/e{}/file{i}", i % 7, i % 3)))?;
    }
    mount.unmount()
}

/// ntfsresize compares `$Bitmap` with the runs of every file.
pub(super) fn check(image: &Path) -> Result<()> {
    run("ntfsresize", &["--info", "--force", "--no-progress-bar", text(image)]).map(drop)
}

/// The many files of a worn volume.
pub(super) fn files(image: &Path) -> Result<Tree> {
    let tree = all_files(image)?;
    ensure!(tree.len() >= 20, "read only {} files", tree.len());
    Ok(tree)
}

/// All files, read by ntfs-3g.
fn all_files(image: &Path) -> Result<Tree> {
    let dir = workspace()?;
    let mount = FuseMount::new(DRIVER, image, &dir.path().join("m"), "ro")?;
    let tree = read_tree(mount.point())?;
    mount.unmount()?;
    Ok(tree)
}

/// A number of `ntfsinfo -m`.
fn number(info: &str, name: &str) -> Result<u64> {
    let rest = info.split(&format!("{name}: ")).nth(1);
    let digits = rest.and_then(|rest| rest.split_whitespace().next());
    Ok(digits.with_context(|| format!("no {name} in\n{info}"))?.parse()?)
}

fn prove_image(image: &Path) -> Result<()> {
    let (found, set) = poison::prove(image, &check, &files)?;
    ensure!((found.name, found.label.as_deref()) == ("ntfs", Some("Worn")), "{found:?}");
    ensure!(set.len() > 3, "{} ranges: nothing is in pieces", set.len());
    // Exactly what ntfsinfo counts, besides what is behind the last cluster.
    let info = run("ntfsinfo", &["-m", "-f", text(image)])?;
    let cluster = number(&info, "Cluster Size")?;
    let free = number(&info, "Free Clusters")?;
    let size = found.size.get() * 512;
    let kept = set.count().get() * 512;
    ensure!(kept == size - free * cluster, "{kept} of {size} kept, {free} clusters free:\n{info}");
    let last = SectorRange::whole(found.size).end().get() - 1;
    let last = imagezip::units::Sector::new(last).context("size")?;
    ensure!(set.contains(last), "the copy of the boot sector is called free");
    Ok(())
}

fn prove(test: &str, options: &str, kib: u64) -> Result<()> {
    if !ready(test, &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make(dir.path(), options, kib)?;
    wear(dir.path(), &image, kib)?;
    prove_image(&image)
}

macro_rules! variants {
    ($($test:ident: $options:literal, $kib:literal;)*) => {
        $(#[test]
        fn $test() -> Result<()> {
            prove(stringify!($test), $options, $kib)
        })*
    };
}

variants! {
    clusters_512: "-c 512", 30_000;
    clusters_1k: "-c 1024", 30_001;
    clusters_2k: "-c 2048", 40_001;
    clusters_4k: "-c 4096", 50_003;
    clusters_8k: "-c 8192", 60_005;
    clusters_16k: "-c 16384", 80_000;
    clusters_32k: "-c 32768", 90_001;
    clusters_64k: "-c 65536", 120_000;
    clusters_256k: "-c 262144", 300_000;
    sectors_4k: "-s 4096 -c 4096", 60_000;
}

/// Free space in single clusters, into which the MFT then has to grow.
#[test]
fn mft_in_pieces() -> Result<()> {
    if !ready("mft_in_pieces", &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make(dir.path(), "-c 1024", 24_000)?;
    let mount = FuseMount::new(DRIVER, &image, &dir.path().join("m"), "noatime")?;
    let point = mount.point();
    let mut made = 0;
    // Until it is full: larger than what fits into a record.
    while fs::write(point.join(format!("f{made}")), vec![7; 1000]).is_ok() {
        made += 1;
    }
    for i in (0..made).step_by(2) {
        fs::remove_file(point.join(format!("f{i}")))?;
    }
    for i in 0..made * 2 {
        if fs::write(point.join(format!("empty{i}")), "").is_err() {
            break;
        }
    }
    let grown = (0..made).step_by(2).take(400);
    for i in grown.filter(|i| i % 4 == 0) {
        let _ = fs::remove_file(point.join(format!("f{}", i + 1)));
    }
    mount.unmount()?;
    let info = run("ntfsinfo", &["-v", "-i", "0", "-f", text(&image)])?;
    ensure!(info.contains("$ATTRIBUTE_LIST"), "no attribute list:\n{info}");
    prove_image(&image)
}

fn assert_kept(image: &Path, why: &str) -> Result<()> {
    match recognise(image)?.allocation {
        Allocation::Unsupported { reason } if reason.contains(why) => {}
        other => bail!("{why:?} expected: {other:?}"),
    }
    let options = ProbeOptions { force: true, ..ProbeOptions::default() };
    let forced = probe_with(&ImageFile::open(image)?, options)?.context("NTFS")?;
    ensure!(matches!(forced.allocation, Allocation::Known(_)), "{:?}", forced.allocation);
    Ok(())
}

#[test]
fn not_at_rest() -> Result<()> {
    if !ready("not_at_rest", &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make(dir.path(), "-c 4096", 20_000)?;
    ensure!(matches!(recognise(&image)?.allocation, Allocation::Known(_)));
    let mount = FuseMount::new(DRIVER, &image, &dir.path().join("m"), "noatime")?;
    for name in ["pagefile.sys", "SwapFile.sys", "HIBERFIL.SYS"] {
        fs::write(mount.point().join(name), vec![0; 1_000_000])?;
    }
    mount.unmount()?;

    // Left out on request, but for the first cluster of each.
    let options = ProbeOptions { leave_out_page_files: true, ..ProbeOptions::default() };
    let kept = |options| -> Result<u64> {
        match probe_with(&ImageFile::open(&image)?, options)?.context("NTFS")?.allocation {
            Allocation::Known(set) => Ok(set.count().get() * 512),
            other => bail!("{other:?}"),
        }
    };
    let left_out = kept(ProbeOptions::default())? - kept(options)?;
    ensure!(left_out == 3 * (1_000_000u64.div_ceil(4096) - 1) * 4096, "{left_out} left out");

    for mark in ["hibr", "WAKE"] {
        let mount = FuseMount::new(DRIVER, &image, &dir.path().join("m"), "remove_hiberfile")?;
        let mut content = vec![0; 1_000_000];
        content[..4].copy_from_slice(mark.as_bytes());
        fs::write(mount.point().join("hiberfil.sys"), content)?;
        mount.unmount()?;
        assert_kept(&image, "hibernated")?;
        let forced = ProbeOptions { force: true, leave_out_page_files: true };
        ensure!(kept(forced)? == kept(ProbeOptions { force: true, ..forced })?, "sleep is kept");
    }
    Ok(())
}

/// A restart page of 4 KiB, as Windows writes them.
fn restart_page(lsn: u64, major: u16, client: u16, flags: u16) -> Vec<u8> {
    const AREA: usize = 48;
    let mut page = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"RSTR");
    put(4, &30_u16.to_le_bytes()); // the update sequence: its number and 8 words
    put(6, &9_u16.to_le_bytes());
    put(16, &4096_u32.to_le_bytes());
    put(20, &4096_u32.to_le_bytes());
    put(24, &48_u16.to_le_bytes());
    put(26, &1_u16.to_le_bytes());
    put(28, &major.to_le_bytes());
    put(AREA, &lsn.to_le_bytes());
    put(AREA + 12, &client.to_le_bytes());
    put(AREA + 14, &flags.to_le_bytes());
    put(30, &[7, 0]);
    for end in (512..=4096).step_by(512) {
        put(end - 2, &[7, 0]);
    }
    page
}

/// The log of a volume that Windows did not unmount, or only as fast startup does.
#[test]
fn log_not_clean() -> Result<()> {
    if !ready("log_not_clean", &TOOLS, true) {
        return Ok(());
    }
    const OPEN: u16 = 0;
    const CLOSED: u16 = 0xFFFF;
    const CLEAN: u16 = 2;
    let dir = workspace()?;
    let image = make(dir.path(), "-c 4096", 20_000)?;
    let bytes = fs::read(&image)?;
    // mkntfs fills it with ones.
    let log = bytes.chunks(1 << 16).position(|piece| piece.iter().all(|byte| *byte == 0xFF));
    let log = log.context("$LogFile")? << 16;
    let start = bytes[..log].chunks(4096).rev().take_while(|page| page.iter().all(|b| *b == 0xFF));
    let log = log - start.count() * 4096;
    let torn = {
        let mut page = restart_page(9, 1, CLOSED, CLEAN);
        page[1022] = 8;
        page
    };
    let page = restart_page;
    for (first, second, expected) in [
        (page(5, 1, CLOSED, 0), page(4, 1, OPEN, 0), None),
        (page(5, 1, OPEN, CLEAN), page(5, 1, OPEN, CLEAN), None),
        (torn.clone(), page(8, 1, CLOSED, CLEAN), None),
        (page(5, 1, OPEN, 0), page(4, 1, CLOSED, CLEAN), Some("work that is not done")),
        (page(5, 1, CLOSED, CLEAN), page(6, 1, OPEN, 0), Some("work that is not done")),
        (torn.clone(), page(8, 1, OPEN, 0), Some("work that is not done")),
        (page(5, 2, CLOSED, CLEAN), page(5, 2, CLOSED, CLEAN), Some("fast startup")),
        (page(5, 2, OPEN, 0), page(4, 1, CLOSED, CLEAN), Some("work that is not done")),
        (torn.clone(), torn, Some("no whole restart page")),
    ] {
        let mut bytes = bytes.clone();
        bytes[log..log + 4096].copy_from_slice(&first);
        bytes[log + 4096..log + 8192].copy_from_slice(&second);
        fs::write(&image, &bytes)?;
        match expected {
            Some(why) => assert_kept(&image, why)?,
            None => {
                let found = recognise(&image)?;
                ensure!(matches!(found.allocation, Allocation::Known(_)), "{found:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn marks_and_damage() -> Result<()> {
    if !ready("marks_and_damage", &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make(dir.path(), "-c 4096", 12_000)?;
    let bytes = fs::read(&image)?;
    let find = |what: &[u8], from: usize| {
        bytes[from..].windows(what.len()).position(|w| w == what).map(|at| at + from)
    };
    let mft = find(b"FILE", 4096).context("MFT")?;
    // $VOLUME_INFORMATION of record 3: type, length; the value is 24 bytes on, its flags at 10.
    let information = find(&[0x70, 0, 0, 0, 0x28, 0, 0, 0], mft + 3 * 1024).context("record 3")?;
    for (flag, why) in [(1, "dirty"), (2, "resized"), (4, "upgraded")] {
        let image = dir.path().join("marked");
        fs::write(&image, &bytes)?;
        flip(&image, u64::try_from(information + 24 + 10)?, flag)?;
        match recognise(&image)?.allocation {
            Allocation::Unsupported { reason } if reason.contains(why) => {}
            other => bail!("{why:?} expected: {other:?}"),
        }
    }
    // The mirror differs; a fixup is wrong; any bit of the first records.
    for (at, why) in [
        (mft + 1024 + 200, "$MFTMirr"),
        (mft + 510, "MFT record 0"),
        (mft + 6 * 1024 + 1022, "MFT record 6"),
    ] {
        let image = dir.path().join("damaged");
        fs::write(&image, &bytes)?;
        flip(&image, u64::try_from(at)?, 0x10)?;
        match recognise(&image)?.allocation {
            Allocation::Corrupt(corrupt) if corrupt.what == why => {}
            other => bail!("{why:?} expected: {other:?}"),
        }
    }
    // Any damage: an answer, whichever.
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    for _ in 0..1500 {
        let mut damaged = bytes[..2 << 20].to_vec();
        damaged.resize(bytes.len(), 0);
        for _ in 0..=rng.below(6) {
            let at = match rng.below(3) {
                0 => rng.below(80),
                _ => u64::try_from(mft)? + rng.below(8 * 1024),
            };
            damaged[usize::try_from(at)?] ^= rng.next_u64().to_le_bytes()[3];
        }
        let len = u64::try_from(damaged.len())?;
        let options = ProbeOptions { force: true, leave_out_page_files: true };
        let found = ntfs::probe(&MemoryDisk::new(damaged), options)?;
        if let Some(Allocation::Known(set)) = found.map(|found| found.allocation) {
            ensure!(set.end().get() * 512 <= len);
        }
    }
    Ok(())
}

/// A volume that Windows 10 formatted and used, on sectors that all held "PTRN" before.
#[test]
fn made_by_windows() -> Result<()> {
    let Some(packed) = foreign::find("made_by_windows", "ntfs-windows10.raw.gz") else {
        return Ok(());
    };
    if !ready("made_by_windows", &[&TOOLS[..], &["zcat", "tail", "head"]].concat(), true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = dir.path().join("image");
    // Its one partition.
    let command = "zcat \"$0\" | tail -c +$((128 * 512 + 1)) | head -c $((2091008 * 512)) > \"$1\"";
    run("sh", &["-c", command, text(&packed), text(&image)])?;
    let before = all_files(&image)?;
    let found = recognise(&image)?;
    let Allocation::Known(set) = &found.allocation else { bail!("{found:?}") };
    println!(
        "{} {:?} {:?}: {} of {} sectors",
        found.name,
        found.label,
        found.features,
        set.count(),
        found.size
    );
    // Sectors we call free mostly were never written.
    let free = poison::free(set, found.size);
    let (mut untouched, mut looked) = (0, 0);
    let disk = ImageFile::open(&image)?;
    for range in free.ranges() {
        let mut start = [0; 512];
        imagezip::disk::ReadDisk::read_at(&disk, &mut start, range.byte_offset())?;
        looked += 1;
        untouched += u32::from(start.windows(4).any(|w| w == b"PTRN"));
    }
    println!("{untouched} of {looked} free ranges start with a sector never written");
    ensure!(untouched > 0, "the free ranges were all written once");
    poison::poison(&image, &free)?;
    check(&image)?;
    ensure!(all_files(&image)? == before, "files differ after the poison");
    Ok(())
}
