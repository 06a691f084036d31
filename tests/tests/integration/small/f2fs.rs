//! F2FS against fsck.f2fs and the kernel.

use super::{Damage, files, formatted, prove, reason, workspace, worn};
use anyhow::{Context, Result, ensure};
use imagezip::fs::f2fs;
use std::path::Path;
use tests::tools::{output, ready, run, text};
use tests::uml::{self, Kind, Session};
use tests::{image_file, poison, rng::Rng};

const KIND: Kind =
    Kind { name: "f2fs", modules: &["crypto/crc32_generic", "fs/f2fs/f2fs"], options: "noatime" };

fn tools() -> Vec<&'static str> {
    [&["mkfs.f2fs", "fsck.f2fs", "dump.f2fs"][..], &uml::TOOLS].concat()
}

fn make(options: &str) -> impl Fn(&Path) -> Result<()> + '_ {
    move |image| {
        let mut args = vec!["-q", "-f"];
        args.extend(options.split_whitespace());
        args.push(text(image));
        run("mkfs.f2fs", &args).map(drop)
    }
}

/// fsck.f2fs must find nothing at all.
fn check(image: &Path) -> Result<()> {
    fsck(image).map(drop)
}

fn fsck(image: &Path) -> Result<String> {
    let output = output("fsck.f2fs", &["-f", "--dry-run", text(image)])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_sound = output.status.success() && said.contains("[Ok..]");
    ensure!(is_sound && !said.contains("[Fail]") && !said.contains("[ASSERT]"), "{said}");
    Ok(said)
}

/// A number that fsck.f2fs prints in brackets behind this, in hexadecimal.
fn bracketed(said: &str, name: &str) -> Result<u64> {
    let line = said.lines().find(|line| line.contains(name));
    let line = line.with_context(|| format!("{name} in {said}"))?;
    let last = line.rsplit(['[', ' ']).find(|word| word.contains("0x"));
    let hex = last.context("number")?.trim_matches(['0', ']', '\t']).trim_start_matches('x');
    u64::from_str_radix(hex, 16).with_context(|| line.to_owned())
}

fn prove_variant(test: &str, options: &str, mib: u64, mount: &str) -> Result<()> {
    if !ready(test, &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), mib << 20, &make(options))?;
    let outcome = worn(KIND, &image, mib, 3, mount)?;
    let (found, set) = prove_exact(&image).with_context(|| outcome.kernel.clone())?;
    ensure!(found.name == "f2fs" && found.size.get() == mib << 11, "{found:?}");
    ensure!(set.count().get() < found.size.get(), "nothing free");
    Ok(())
}

/// Poison, and compares with what fsck.f2fs counts.
fn prove_exact(
    image: &Path,
) -> Result<(imagezip::fs::Filesystem, imagezip::sector_set::SectorSet)> {
    let valid = bracketed(&fsck(image)?, "valid_block_count matching with CP")?;
    let bytes = std::fs::read(image)?;
    let word = |at: usize| {
        let bytes = bytes.get(1024 + at..1028 + at).and_then(|b| b.try_into().ok());
        u64::from(u32::from_le_bytes(bytes.unwrap_or_default()))
    };
    let (main, segments, blocks) = (word(92), word(68), word(36));
    let (found, set) = prove(KIND, image, &check)?;
    let used = blocks - segments * 512 + valid;
    let kept = set.count().get() / 8;
    // All that is not main area, what is in use there, and perhaps one block behind a log.
    ensure!(main > 0 && (used..=used + 1).contains(&kept), "{kept} blocks kept, {used} used");
    Ok((found, set))
}

macro_rules! variants {
    ($($name:ident: $options:literal, $mib:literal, $more:literal;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            prove_variant(stringify!($name), $options, $mib, $more)
        })*
    };
}

variants! {
    f2fs_default: "", 100, "";
    f2fs_features: "-O extra_attr,inode_checksum,sb_checksum,inode_crtime,lost_found -l Name", 64, "";
    f2fs_compression: "-O extra_attr,compression,project_quota,flexible_inline_xattr", 80, "";
    f2fs_sections: "-s 2 -z 2", 200, "";
    f2fs_large_nat: "-i -O extra_attr", 72, "";
    f2fs_full_summaries: "", 90, "for i in $(seq 600); do echo $i > $M/n$i; done; sync";
}

/// Files written without a mount, by sload.f2fs.
#[test]
fn f2fs_filled_by_sload() -> Result<()> {
    let tools = [&tools()[..], &["sload.f2fs"]].concat();
    if !ready("f2fs_filled_by_sload", &tools, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 128 << 20, &make(""))?;
    let source = dir.path().join("source");
    tests::content::populate(&source, 8, 40)?;
    run("sload.f2fs", &["-f", text(&source), text(&image)])?;
    prove_exact(&image).map(drop)
}

/// What an unclean one needs beyond its map is not to be guessed.
#[test]
fn f2fs_not_unmounted_is_kept() -> Result<()> {
    if !ready("f2fs_not_unmounted_is_kept", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 64 << 20, &make(""))?;
    let session = Session::new(KIND)?.mount("rw").fill(3, 20)?;
    // A copy taken while it is mounted, after a checkpoint and an fsync.
    let copy = dir.path().join("copy");
    image_file::create(&copy, 64 << 20)?;
    let lines = "sync; echo x > $M/x; sync $M/x; cat /dev/ubda > /dev/ubdb; sync";
    session.then(lines).unmount().run(&[&image, &copy])?;
    let why = reason(&poison::recognise(&copy)?)?;
    ensure!(why.contains("not unmounted cleanly"), "{why}");
    Ok(())
}

#[test]
fn f2fs_on_several_devices_or_zoned_is_kept() -> Result<()> {
    if !ready("f2fs_on_several_devices_or_zoned_is_kept", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let second = dir.path().join("second");
    image_file::create(&second, 64 << 20)?;
    let options = format!("-c {}", text(&second));
    let image = formatted(dir.path(), 64 << 20, &make(&options))?;
    let why = reason(&poison::recognise(&image)?)?;
    ensure!(why.contains("several devices"), "{why}");
    // `blkzoned`, which mkfs.f2fs only sets on such a device, in both superblocks.
    let image = formatted(dir.path(), 64 << 20, &make(""))?;
    for superblock in [1024, 5120] {
        poison::flip(&image, superblock + 2180, 2)?;
    }
    let why = reason(&poison::recognise(&image)?)?;
    ensure!(why.contains("blkzoned"), "{why}");
    Ok(())
}

#[test]
fn f2fs_damage_loses_nothing() -> Result<()> {
    if !ready("f2fs_damage_loses_nothing", &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 64 << 20, &make("-O extra_attr,sb_checksum"))?;
    worn(KIND, &image, 5, 1, "")?;
    ensure!(files(KIND, &image)?.len() > 20);
    let mut bytes = std::fs::read(&image)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).context("empty")?;
    let word = |at: usize| {
        let bytes = bytes.get(1024 + at..1028 + at).and_then(|b| b.try_into().ok());
        u64::from(u32::from_le_bytes(bytes.unwrap_or_default())) * 4096
    };
    let (checkpoints, sit, nat) = (word(76), word(80), word(84));
    ensure!(u64::try_from(end)? > sit);
    let checked = [
        (1024, 1024 + 108),
        (1024 + 2180, 1024 + 2184),
        (5120, 5120 + 108),
        (checkpoints, checkpoints + 4096),
        (checkpoints + (2 << 20), checkpoints + (2 << 20) + 4096),
        (sit, sit + 4096),
        (sit + (nat - sit) / 2, sit + (nat - sit) / 2 + 4096),
    ];
    let unchecked = [(checkpoints, sit), (sit, nat), (0, 8192)];
    let damage =
        Damage { reader: f2fs::probe, bytes: &bytes, checked: &checked, unchecked: &unchecked };
    damage.prove()?;
    // Noise all over the metadata.
    let noise = Rng::new(4).bytes(4096);
    for copy in [sit, sit + (nat - sit) / 2] {
        let at = usize::try_from(copy)?;
        bytes.get_mut(at..at + 4096).context("SIT")?.copy_from_slice(&noise);
    }
    reason(&f2fs::probe(&imagezip::disk::memory::MemoryDisk::new(bytes))?.context("f2fs")?)?;
    Ok(())
}

/// Saved from one place and loaded to another.
pub(crate) fn replanted(test: &str) -> Result<()> {
    if !ready(test, &tools(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = formatted(dir.path(), 64 << 20, &make(""))?;
    worn(KIND, &image, 6, 1, "")?;
    tests::replant::prove(&image, &check, &|image| files(KIND, image))
}
