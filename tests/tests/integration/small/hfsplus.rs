//! HFS+ and HFSX against the kernel, and against what xorriso makes.

use super::{Damage, files, formatted, prove, reason, workspace, worn};
use anyhow::{Context, Result, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::{Allocation, hfsplus};
use std::path::Path;
use tests::hfsplus::{Plan, make};
use tests::tools::{ready, run, text};
use tests::uml::{self, Kind, Session};
use tests::{content, image_file, poison};

/// With `force`, as the kernel does not write to a volume with a journal without it.
const KIND: Kind = Kind {
    name: "hfsplus",
    modules: &["drivers/cdrom/cdrom", "fs/nls/nls_utf8", "fs/hfsplus/hfsplus"],
    options: "force,noatime",
};

/// Debian's checker, `hpfsck`, knows nothing of volumes this large; what the kernel says must do.
fn check(_: &Path) -> Result<()> {
    Ok(())
}

const PLAIN: Plan = Plan { block: 4096, case_sensitive: false, journal: false };

fn prove_variant(test: &str, plan: Plan, bytes: u64) -> Result<()> {
    if !ready(test, &uml::TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), bytes, &|image| make(image, plan))?;
    worn(KIND, &image, bytes >> 20, 3, "")?;
    let session = Session::new(KIND)?.mount("ro").then("stat -f -c 'free=%f\nunit=%s' $M");
    let said = session.unmount().run(&[&image])?;
    let free = said.number("free")? * said.number("unit")?;
    let (found, set) = prove(KIND, &image, &check)?;
    let name = if plan.case_sensitive { "hfsx" } else { "hfsplus" };
    ensure!(found.name == name && found.size.get() == bytes / 512, "{found:?}");
    let kept = set.count().get();
    let used = (bytes - free) / 512;
    ensure!(kept == used, "{kept} sectors kept, {used} in use");
    Ok(())
}

macro_rules! variants {
    ($($name:ident: $plan:expr, $bytes:expr;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            prove_variant(stringify!($name), $plan, $bytes)
        })*
    };
}

variants! {
    hfsplus_4k: PLAIN, 60 << 20;
    hfsplus_512: Plan { block: 512, ..PLAIN }, 40 << 20;
    hfsplus_1k_odd_end: Plan { block: 1024, ..PLAIN }, (50 << 20) + 512;
    hfsplus_8k_odd_end: Plan { block: 8192, ..PLAIN }, (50 << 20) + 5 * 512;
    hfsplus_sensitive: Plan { case_sensitive: true, ..PLAIN }, 70 << 20;
    hfsplus_journal: Plan { journal: true, ..PLAIN }, 64 << 20;
}

#[test]
fn hfsplus_not_unmounted_or_with_a_full_journal_is_kept() -> Result<()> {
    let dir = workspace()?;
    let plan = Plan { journal: true, ..PLAIN };
    let image = formatted(dir.path(), 30 << 20, &|image| make(image, plan))?;
    ensure!(matches!(poison::recognise(&image)?.allocation, Allocation::Known(_)));
    // Bit 8 of the attributes.
    poison::flip(&image, 1024 + 6, 1)?;
    let why = reason(&poison::recognise(&image)?)?;
    ensure!(why.contains("not unmounted cleanly"), "{why}");
    // Bit 11.
    poison::flip(&image, 1024 + 6, 1 | 8)?;
    let why = reason(&poison::recognise(&image)?)?;
    ensure!(why.contains("not unmounted cleanly"), "{why}");
    poison::flip(&image, 1024 + 6, 8)?;
    ensure!(matches!(poison::recognise(&image)?.allocation, Allocation::Known(_)));
    // The journal on another device: behind the map, of one block, is its info block.
    poison::flip(&image, 2 * 4096 + 3, 3)?;
    let why = reason(&poison::recognise(&image)?)?;
    ensure!(why.contains("another device"), "{why}");
    Ok(())
}

/// Made by a tool that is not ours: in the middle of an ISO image.
#[test]
fn hfsplus_by_xorriso() -> Result<()> {
    if !ready("hfsplus_by_xorriso", &["xorriso"], false) {
        return Ok(());
    }
    let dir = workspace()?;
    let source = dir.path().join("source");
    content::populate(&source, 6, 30)?;
    let iso = dir.path().join("iso");
    let args = ["-as", "mkisofs", "-quiet", "-hfsplus", "-o", text(&iso), text(&source)];
    run("xorriso", &args)?;
    let mut bytes = std::fs::read(&iso)?;
    // The Apple partition map names it.
    let entry = bytes
        .chunks(512)
        .take(64)
        .find(|sector| sector.starts_with(b"PM") && sector.get(48..57) == Some(&b"Apple_HFS"[..]));
    let entry = entry.context("no HFS+ in the partition map")?;
    let number = |at: usize| -> Result<usize> {
        let bytes = entry.get(at..at + 4).context("number")?;
        Ok(usize::try_from(u32::from_be_bytes(bytes.try_into()?))?)
    };
    // In blocks of the map, whose size is in the first block of the disk.
    let unit = bytes.get(2..4).map_or(512, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
    let (start, count) = (number(8)? * unit, number(12)? * unit);
    let volume = bytes.drain(start..start + count).collect::<Vec<u8>>();
    let found = hfsplus::probe(&MemoryDisk::new(volume))?.context("no HFS+")?;
    println!("{found:?}");
    ensure!(found.name.starts_with("hfs"), "{found:?}");
    Ok(())
}

/// Plain HFS, and a wrapper around HFS+, which differs by two letters.
#[test]
fn hfs_without_plus_is_kept() -> Result<()> {
    if !ready("hfs_without_plus_is_kept", &["hformat"], false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = dir.path().join("image");
    image_file::create(&image, 10 << 20)?;
    run("hformat", &["-l", "old", text(&image)])?;
    let found = poison::recognise(&image)?;
    ensure!(found.name == "hfs" && reason(&found)?.contains("without the plus"), "{found:?}");
    for (at, letter) in [(0x7C, b'H'), (0x7D, b'+')] {
        poison::flip(&image, 1024 + at, letter)?;
    }
    let found = poison::recognise(&image)?;
    ensure!(found.name == "hfs-wrapper" && reason(&found)?.contains("embedded"), "{found:?}");
    Ok(())
}

#[test]
fn hfsplus_damage_loses_nothing() -> Result<()> {
    if !ready("hfsplus_damage_loses_nothing", &uml::TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image =
        formatted(dir.path(), 30 << 20, &|image| make(image, Plan { journal: true, ..PLAIN }))?;
    worn(KIND, &image, 5, 1, "")?;
    ensure!(files(KIND, &image)?.len() > 20);
    let mut bytes = std::fs::read(&image)?;
    let end = u64::try_from(bytes.len())?;
    let checked = [
        (1024, 1040),
        (1064, 1076),
        (end - 1024, end - 1022),
        (end - 1024 + 40, end - 1024 + 48),
        (4096, 4096 + 960),
        (2 * 4096, 2 * 4096 + 4),
        (3 * 4096, 3 * 4096 + 44),
    ];
    let unchecked = [(1024, 1536), (4096, 8192), (2 * 4096, 2 * 4096 + 52), (end - 1024, end)];
    let damage =
        Damage { reader: hfsplus::probe, bytes: &bytes, checked: &checked, unchecked: &unchecked };
    damage.prove()?;
    bytes.truncate(bytes.len() - 512);
    reason(&hfsplus::probe(&MemoryDisk::new(bytes))?.context("hfsplus")?)?;
    Ok(())
}

/// Saved from one place and loaded to another.
pub(crate) fn replanted(test: &str) -> Result<()> {
    if !ready(test, &uml::TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 50 << 20, &|image| make(image, PLAIN))?;
    worn(KIND, &image, 6, 1, "")?;
    tests::replant::prove(&image, &check, &|image| files(KIND, image))
}
