//! UFS against a maker of our own, makefs, and volumes that a BSD system made. The oracle is a
//! reader that shares no code with the library.

use anyhow::{Context, Result, bail, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::{Allocation, Filesystem, ProbeOptions, probe, probe_with};
use imagezip::sector_set::SectorSet;
use imagezip::units::SectorRange;
use std::fs;
use std::path::Path;
use tests::content::populate;
use tests::damaged::Damaged;
use tests::foreign;
use tests::poison::free;
use tests::replant;
use tests::rng::Rng;
use tests::samples::{bytes_of, range};
use tests::tools::{ready, run, text};
use tests::ufs::{Maker, Shape, read};

const SMALL: Shape = Shape {
    second: true,
    block: 8192,
    fragment: 1024,
    fragments: 9_001,
    group: 2_048,
    inodes: 256,
    clusters: true,
    check_hashes: true,
    stagger: 0,
};

fn recognise(bytes: &[u8]) -> Result<Filesystem> {
    probe(&MemoryDisk::new(bytes.to_vec()))?.context("nothing known")
}

/// The map is exactly what the files and the filesystem use, and when all else is overwritten every
/// file reads the same.
fn prove(bytes: &[u8], name: &str, least: usize) -> Result<SectorSet> {
    let before = read(bytes)?;
    ensure!(before.tree.len() >= least, "only {} files", before.tree.len());
    let found = recognise(bytes)?;
    ensure!(found.name == name, "{found:?}");
    let Allocation::Known(set) = &found.allocation else { bail!("no map: {found:?}") };
    let sectors = u64::try_from(before.fragment / 512)?;
    let used = before.used.iter().map(|at| u64::try_from(*at).map(|at| at * sectors));
    let used: SectorSet = used
        .map(|at| at.map(|at| range(at, at + sectors)))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .collect();
    let size = u64::try_from(before.fragments)? * sectors;
    ensure!(found.size.get() == size, "{} sectors, not {size}", found.size);
    let (less, more) = (used.difference(set), set.difference(&used));
    ensure!(less.is_empty(), "called free: {:?}", less.ranges());
    ensure!(more.is_empty(), "in use by nothing: {:?}", more.ranges());
    let mut poisoned = bytes.to_vec();
    for range in free(set, found.size).ranges() {
        let (start, end) = bytes_of(*range);
        poisoned[start..end].fill(0xB5);
    }
    let after = read(&poisoned)?;
    ensure!(after.tree == before.tree, "files differ after the poison");
    Ok(set.clone())
}

fn made(shape: Shape, seed: u64) -> Vec<u8> {
    let mut maker = Maker::new(shape, seed);
    maker.wear(70);
    maker.finish()
}

fn prove_made(shape: Shape, seed: u64) -> Result<()> {
    let bytes = made(shape, seed);
    let name = if shape.second { "ufs2" } else { "ufs1" };
    let set = prove(&bytes, name, 8).with_context(|| format!("{shape:?}"))?;
    ensure!(set.len() > 4, "nothing is in pieces");
    let found = recognise(&bytes)?;
    ensure!(found.label.as_deref() == Some("Made"), "{found:?}");
    ensure!(found.uuid.as_deref() == Some("5eed00010badcafe"), "{found:?}");
    let hashes = found.features.iter().any(|name| name == "check-hashes");
    ensure!(hashes == shape.check_hashes, "{found:?}");
    Ok(())
}

#[test]
fn shapes_of_ufs2() -> Result<()> {
    prove_made(SMALL, 1)?;
    prove_made(Shape { clusters: false, check_hashes: false, ..SMALL }, 2)?;
    prove_made(Shape { block: 4096, fragment: 512, fragments: 20_011, group: 4_800, ..SMALL }, 3)?;
    prove_made(Shape { block: 4096, fragment: 4096, fragments: 3_000, group: 700, ..SMALL }, 4)?;
    prove_made(Shape { block: 16_384, fragment: 4096, fragments: 4_002, group: 900, ..SMALL }, 5)?;
    prove_made(Shape { block: 16_384, fragment: 8192, fragments: 2_001, group: 702, ..SMALL }, 6)?;
    prove_made(
        Shape { block: 32_768, fragment: 4096, fragments: 6_003, group: 1_600, ..SMALL },
        7,
    )?;
    prove_made(Shape { block: 65_536, fragment: 8192, fragments: 6_005, group: 1_600, ..SMALL }, 8)
}

#[test]
fn shapes_of_ufs1() -> Result<()> {
    let small = Shape { second: false, check_hashes: false, ..SMALL };
    prove_made(small, 1)?;
    prove_made(Shape { stagger: 64, ..small }, 2)?;
    prove_made(Shape { block: 4096, fragment: 512, fragments: 20_003, group: 4_800, ..small }, 3)?;
    prove_made(Shape { block: 4096, fragment: 2048, fragments: 5_001, group: 1_200, ..small }, 4)?;
    prove_made(
        Shape { clusters: false, block: 16_384, fragment: 2048, fragments: 8_007, ..small },
        5,
    )?;
    prove_made(
        Shape {
            block: 65_536,
            fragment: 8192,
            fragments: 6_001,
            group: 1_600,
            inodes: 512,
            ..small
        },
        6,
    )
}

/// 1996 and before: sizes, flags and counts in other places.
#[test]
fn old_ufs1() -> Result<()> {
    let mut bytes = made(Shape { second: false, check_hashes: false, clusters: false, ..SMALL }, 9);
    let superblock = &mut bytes[8192..8192 + 1376];
    superblock[211] = 0;
    superblock[680..1360].fill(0);
    superblock[1356] = 1;
    let before = read(&bytes)?;
    let found = recognise(&bytes)?;
    let Allocation::Known(set) = &found.allocation else { bail!("{found:?}") };
    ensure!(set.count().get() == u64::try_from(before.used.len() * before.fragment / 512)?);
    bytes[8192 + 1356..8192 + 1360].fill(0xFF);
    let found = recognise(&bytes)?;
    ensure!(
        matches!(&found.allocation, Allocation::Unsupported { reason } if reason.contains("4.2BSD"))
    );
    Ok(())
}

#[test]
fn made_by_bsd() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (name, packed) in [("ufs1", "ufs1.raw.gz"), ("ufs2", "ufs2.raw.gz")] {
        let Some(packed) = foreign::find("made_by_bsd", packed) else { return Ok(()) };
        let image = dir.path().join(name);
        foreign::unpack(&packed, &image)?;
        let set = prove(&fs::read(&image)?, name, 2).context(name)?;
        println!("{name}: {} sectors in {} ranges", set.count(), set.len());
    }
    Ok(())
}

fn makefs(source: &Path, image: &Path, options: &[&str]) -> Result<Vec<u8>> {
    let args = [&["-t", "ffs", "-s", "12m"], options, &[text(image), text(source)]].concat();
    run("makefs", &args)?;
    Ok(fs::read(image)?)
}

#[test]
fn made_by_makefs() -> Result<()> {
    if !ready("made_by_makefs", &["makefs"], false) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (source, image) = (dir.path().join("source"), dir.path().join("image"));
    fs::create_dir(&source)?;
    populate(&source, 7, 40)?;
    for version in ["1", "2"] {
        for sizes in [
            "bsize=4096,fsize=512",
            "bsize=8192,fsize=1024,density=4096",
            "bsize=16384,fsize=4096",
            "bsize=32768,fsize=32768",
            "bsize=65536,fsize=8192,density=16384",
        ] {
            for order in ["le", "be"] {
                let options = format!("version={version},{sizes}");
                let bytes = makefs(&source, &image, &["-B", order, "-o", &options])?;
                prove(&bytes, &format!("ufs{version}"), 40)
                    .with_context(|| format!("{options} {order}"))?;
                let big = recognise(&bytes)?.features.contains(&"big-endian".to_owned());
                ensure!(big == (order == "be"), "{options}: wrong byte order");
            }
        }
    }
    Ok(())
}

/// Both versions, from makefs and from our own maker, which wears them.
pub(crate) fn replanted(test: &str) -> Result<()> {
    if !ready(test, &["makefs"], false) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (source, image) = (dir.path().join("source"), dir.path().join("image"));
    fs::create_dir(&source)?;
    populate(&source, 8, 40)?;
    // Our reader fails on the least contradiction.
    let files = |image: &Path| Ok(read(&fs::read(image)?)?.tree);
    let check = |image: &Path| files(image).map(drop);
    for second in [false, true] {
        let version = if second { "version=2" } else { "version=1" };
        makefs(&source, &image, &["-o", version])?;
        replant::prove(&image, &check, &files).with_context(|| version.to_owned())?;
        fs::write(&image, made(Shape { second, check_hashes: second, ..SMALL }, 12))?;
        replant::prove(&image, &check, &files).with_context(|| format!("made, {version}"))?;
    }
    Ok(())
}

/// Not at rest: kept whole, unless told otherwise.
#[test]
fn not_at_rest() -> Result<()> {
    let clean = made(Shape { check_hashes: false, ..SMALL }, 10);
    for (at, value, why) in [
        (209, 0, "not unmounted"),
        (209, 2, "not unmounted"),
        (1312, 0x83, "not unmounted"),
        (1312, 0x84, "not unmounted"),
        (1312, 0xC0, "gjournal"),
        (1313, 1, "WAPBL"),
    ] {
        let mut bytes = clean.clone();
        bytes[65_536 + at] = value;
        if why == "WAPBL" {
            // Without a version of a journal the flag is FreeBSD's, for ACLs.
            ensure!(recognise(&bytes)?.features.contains(&"nfsv4-acls".to_owned()));
            bytes[65_536 + 864] = 1;
        }
        match recognise(&bytes)?.allocation {
            Allocation::Unsupported { reason } if reason.contains(why) => {}
            other => bail!("{why:?} expected: {other:?}"),
        }
        let forced = ProbeOptions { force: true, ..ProbeOptions::default() };
        let found = probe_with(&MemoryDisk::new(bytes), forced)?.context("UFS")?;
        ensure!(matches!(found.allocation, Allocation::Known(_)), "{:?}", found.allocation);
    }
    // A flag of nobody, and a superblock left over from a UFS1.
    let mut bytes = clean.clone();
    bytes[65_536 + 1315] = 0x40;
    ensure!(matches!(recognise(&bytes)?.allocation, Allocation::Unsupported { .. }));
    let mut bytes = clean;
    let old = made(Shape { second: false, check_hashes: false, ..SMALL }, 11);
    bytes[8192..16_384].copy_from_slice(&old[8192..16_384]);
    match recognise(&bytes)?.allocation {
        Allocation::Unsupported { reason } if reason.contains("two places") => {}
        other => bail!("{other:?}"),
    }
    Ok(())
}

/// One bit of the metadata flipped: found out, or nothing that is in use is called free.
#[test]
fn single_bits() -> Result<()> {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    for (second, check_hashes, clusters) in
        [(true, true, true), (true, false, true), (false, false, false), (true, false, false)]
    {
        let shape = Shape { second, check_hashes, clusters, fragments: 5_001, ..SMALL };
        let bytes = made(shape, seed);
        let disk = MemoryDisk::new(bytes);
        let clean = probe(&disk)?.context("UFS")?;
        let Allocation::Known(clean) = clean.allocation else { bail!("{clean:?}") };
        let superblock = if second { 65_536 } else { 8192 };
        let backup = if second { 73_728 } else { 16_384 };
        let mut places = vec![(superblock, 1376)];
        for group in 0..3 {
            places.push((group * 2_048 * 1024 + backup + 8192, 168 + 32 + 256 + 120));
        }
        let (mut known, mut refused, mut other) = (0, 0, 0);
        for (start, len) in places {
            for at in start..start + len {
                let mask = 1u8 << rng.below(8);
                let damaged = Damaged::new(&disk, &[(at, mask)]);
                let forced = ProbeOptions { force: rng.below(2) == 1, ..ProbeOptions::default() };
                match probe_with(&damaged, forced)?.map(|found| (found.size, found.allocation)) {
                    Some((size, Allocation::Known(set))) => {
                        known += 1;
                        // What is behind a filesystem that says it is shorter is kept.
                        let lost = clean
                            .difference(&set)
                            .intersection(&SectorSet::from_range(SectorRange::whole(size)));
                        ensure!(
                            lost.is_empty(),
                            "byte {at}, mask {mask:#x}: {:?} called free",
                            lost.ranges()
                        );
                    }
                    Some(_) => refused += 1,
                    None => other += 1,
                }
            }
        }
        println!("{shape:?}: {known} harmless, {refused} refused, {other} not recognised");
        ensure!(refused > 100, "damage is not noticed");
        ensure!(!check_hashes || known < 600, "check hashes are not verified");
    }
    Ok(())
}

/// Several bytes at once: an answer, whichever.
#[test]
fn wild_damage() -> Result<()> {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let bytes = made(Shape { check_hashes: false, fragments: 5_001, ..SMALL }, 12);
    let (len, disk) = (u64::try_from(bytes.len())?, MemoryDisk::new(bytes));
    for _ in 0..4_000 {
        let mut flips = Vec::new();
        for _ in 0..=rng.below(5) {
            let at = match rng.below(3) {
                0 => 65_536 + rng.below(1376),
                1 => 65_536 + 1080 + rng.below(300),
                _ => 81_920 + rng.below(600),
            };
            flips.push((at, rng.next_u64().to_le_bytes()[3]));
        }
        let damaged = Damaged::new(&disk, &flips);
        let forced = ProbeOptions { force: true, ..ProbeOptions::default() };
        if let Some(Allocation::Known(set)) = probe_with(&damaged, forced)?.map(|f| f.allocation) {
            ensure!(set.end().get() * 512 <= len, "{flips:?}: a map beyond the end");
        }
    }
    Ok(())
}
