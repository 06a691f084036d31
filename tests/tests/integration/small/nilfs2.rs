//! NILFS2 against lssu and the kernel; it has no checker.

use super::{Damage, files, formatted, prove, reason, workspace, worn};
use anyhow::{Context, Result, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::nilfs2;
use std::path::Path;
use tests::tools::{ready, run, text};
use tests::uml::{self, Kind, Session};
use tests::{image_file, poison};

const KIND: Kind = Kind { name: "nilfs2", modules: &["fs/nilfs2/nilfs2"], options: "noatime" };

fn tools() -> Vec<&'static str> {
    [&["mkfs.nilfs2", "lssu"][..], &uml::TOOLS].concat()
}

fn make(options: &str) -> impl Fn(&Path) -> Result<()> + '_ {
    move |image| {
        let mut args = vec!["-q", "-f"];
        args.extend(options.split_whitespace());
        args.push(text(image));
        run("mkfs.nilfs2", &args).map(drop)
    }
}

/// It has no checker: what the kernel says when it reads all files must do.
fn check(_: &Path) -> Result<()> {
    Ok(())
}

/// Blocks of 4 KiB or smaller: the kernel of the tests has pages of 4 KiB.
fn prove_variant(test: &str, options: &str, bytes: u64, lines: &str) -> Result<()> {
    if !ready(test, &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), bytes, &make(options))?;
    worn(KIND, &image, bytes >> 20, 3, lines)?;
    prove_exact(&image, bytes)
}

/// Poison, and compares with the segments that lssu lists.
fn prove_exact(image: &Path, bytes: u64) -> Result<()> {
    let bytes_of_it = std::fs::read(image)?;
    let number = |at: usize| {
        let bytes = bytes_of_it.get(1024 + at..1032 + at).and_then(|b| b.try_into().ok());
        u64::from_le_bytes(bytes.unwrap_or_default())
    };
    let block = 1024u64 << (number(20) & 0xFF);
    let segment = (number(48) & 0xFFFF_FFFF) * block;
    let segments = number(24);
    let session = Session::new(KIND)?.mount("ro").then("lssu -a /dev/ubda");
    let listed = session.unmount().run(&[image])?.said;
    // SEGNUM DATE TIME STAT NBLOCKS, with STAT as `ad--` or `-d--`.
    let in_use = |line: &&str| line.split_whitespace().any(|word| word.contains("d-"));
    let clean_zero =
        listed.lines().filter(|l| l.trim_start().starts_with("0 ")).all(|l| !in_use(&l));
    let used: u64 = listed.lines().filter(in_use).count().try_into()?;
    ensure!(used > 1 && used < segments, "{listed}");
    let (found, set) = prove(KIND, image, &check)?;
    ensure!(found.name == "nilfs2" && found.size.get() == bytes / 512, "{found:?}");
    let kept = set.count().get() * 512;
    let front = if clean_zero { block.max(2048) } else { 0 };
    let expected = used * segment + front + (bytes / 512 * 512 - segments * segment).max(1024);
    ensure!(kept == expected, "{kept} bytes kept, {expected} in use\n{listed}");
    Ok(())
}

macro_rules! variants {
    ($($name:ident: $options:literal, $bytes:expr, $more:literal;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            prove_variant(stringify!($name), $options, $bytes, $more)
        })*
    };
}

variants! {
    nilfs2_default: "-L name", 200 << 20, "";
    nilfs2_1k: "-b 1024", 150 << 20, "";
    nilfs2_2k_odd_end: "-b 2048 -B 512", (100 << 20) + 123 * 512, "";
    nilfs2_small_segments: "-B 32", 150 << 20, "";
    nilfs2_block_count: "-O block_count -B 128", 150 << 20, "";
}

/// With segments that the garbage collector has freed, and a snapshot that it must not free.
#[test]
fn nilfs2_cleaned() -> Result<()> {
    let tools = [&tools()[..], &["nilfs_cleanerd", "nilfs-clean", "mkcp"]].concat();
    if !ready("nilfs2_cleaned", &tools, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 120 << 20, &make("-B 64"))?;
    let first = worn(KIND, &image, 4, 3, "mkcp -s /dev/ubda; rm -r $M/w2; sync")?;
    let config = "protection_period 0\\nmin_clean_segments 100%%\\nmax_clean_segments 100%%\\n\
                  clean_check_interval 1\\nnsegments_per_clean 64\\nmc_nsegments_per_clean 64\\n\
                  cleaning_interval 0.1\\nmc_cleaning_interval 0.1\\nselection_policy timestamp\\n\
                  use_mmap\\nretry_interval 1\\nlog_priority info\\n";
    let before = poison::recognise(&image)?;
    let session = Session::new(KIND)?.mount("rw").then(&format!(
        "printf '{config}' > /mnt/w/conf
         nilfs_cleanerd -n -c /mnt/w/conf /dev/ubda $M; sleep 8; kill $(pidof nilfs_cleanerd)
         while pidof nilfs_cleanerd; do sleep 0.2; done"
    ));
    let outcome = session.unmount().run(&[&image])?;
    let after = poison::recognise(&image)?;
    println!("{} {}", first.said, outcome.said);
    let kept = |found: &imagezip::fs::Filesystem| match &found.allocation {
        imagezip::fs::Allocation::Known(set) => Ok(set.count().get()),
        other => anyhow::bail!("{other:?}"),
    };
    let (before, after) = (kept(&before)?, kept(&after)?);
    ensure!(after < before, "{before} {after} {}", outcome.said);
    prove_exact(&image, 120 << 20)
}

#[test]
fn nilfs2_not_unmounted_is_kept() -> Result<()> {
    if !ready("nilfs2_not_unmounted_is_kept", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 100 << 20, &make("-B 256"))?;
    let copy = dir.path().join("copy");
    image_file::create(&copy, 100 << 20)?;
    let session = Session::new(KIND)?.mount("rw").fill(3, 20)?;
    session.then("sync; cat /dev/ubda > /dev/ubdb; sync").unmount().run(&[&image, &copy])?;
    let why = reason(&poison::recognise(&copy)?)?;
    ensure!(why.contains("not unmounted cleanly"), "{why}");
    Ok(())
}

#[test]
fn nilfs2_damage_loses_nothing() -> Result<()> {
    if !ready("nilfs2_damage_loses_nothing", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let size = 40u64 << 20;
    let image = formatted(dir.path(), size, &make("-B 64"))?;
    worn(KIND, &image, 5, 1, "")?;
    ensure!(files(KIND, &image)?.len() > 20);
    let bytes = std::fs::read(&image)?;
    let log = bytes.get(1024 + 64..1024 + 72).and_then(|b| b.try_into().ok());
    let log = u64::from_le_bytes(log.context("superblock")?) * 4096;
    let second = (size / 4096 - 1) * 4096;
    let at = usize::try_from(log)?;
    let blocks = bytes.get(at + 40..at + 44).and_then(|b| b.try_into().ok());
    let blocks = u64::from(u32::from_le_bytes(blocks.context("log")?)) * 4096;
    // All that is read stands in the last log or in one before it; other blocks have no checksum
    // that can be verified without reading a whole log.
    let checked = [(1024, 2048), (second, second + 1024), (log, log + blocks)];
    let unchecked = [(log, log + blocks), (4096, 8 << 20)];
    let damage =
        Damage { reader: nilfs2::probe, bytes: &bytes, checked: &checked, unchecked: &unchecked };
    damage.prove()?;
    let mut short = bytes;
    short.truncate(short.len() - 512);
    reason(&nilfs2::probe(&MemoryDisk::new(short))?.context("nilfs2")?)?;
    Ok(())
}

/// Saved from one place and loaded to another.
pub(crate) fn replanted(test: &str) -> Result<()> {
    if !ready(test, &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 60 << 20, &make("-B 64"))?;
    worn(KIND, &image, 6, 1, "")?;
    tests::replant::prove(&image, &check, &|image| files(KIND, image))
}
