//! Every variant of btrfs: what we call free is poisoned, btrfs check, scrub and all files must not
//! notice, and what we keep is exactly what the block groups call used, once for each copy.

use super::{TOOLS, check, files, make_worn, workspace};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use tests::content::churn;
use tests::mount::Mount;
use tests::poison;
use tests::tools::{ready, run, text};

fn prove(test: &str, options: &str, mib: u64, shows: &[&str]) -> Result<()> {
    if !ready(test, &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), options, mib, mib)?;
    prove_image(&image, shows)
}

/// `shows` are features, or absent ones as `!no-holes`, or a type of a block group as `=DATA|DUP`.
pub(super) fn prove_image(image: &Path, shows: &[&str]) -> Result<()> {
    let tree = if shows.contains(&"block-group-tree") { "11" } else { "extent" };
    let groups = run("btrfs", &["inspect-internal", "dump-tree", "-t", tree, text(image)])?;
    let superblock = run("btrfs", &["inspect-internal", "dump-super", text(image)])?;
    let (found, set) = poison::prove(image, &check, &files)?;
    ensure!(found.name == "btrfs", "{found:?}");

    let mut kept = 1 << 20;
    let mut kinds = Vec::new();
    for line in groups.lines().filter_map(|line| line.trim().strip_prefix("block group used ")) {
        let (used, rest) = line.split_once(' ').context("used")?;
        let kind = rest.rsplit(' ').next().context("flags")?;
        let copies = if kind.contains("DUP") { 2 } else { 1 };
        kept += used.parse::<u64>()? * copies;
        kinds.push(format!("={kind}"));
    }
    for word in shows {
        let is_shown = match word.strip_prefix('!') {
            Some(absent) => !found.features.iter().any(|name| name == absent),
            None if word.starts_with('=') => kinds.iter().any(|kind| kind == word),
            None => found.features.iter().any(|name| name == word),
        };
        ensure!(is_shown, "{word} expected in {:?} or {kinds:?}", found.features);
    }
    if found.size.bytes() > 64 << 20 {
        kept += 4096;
    }
    ensure!(set.count().bytes() == kept, "{} bytes kept, {kept} used", set.count().bytes());
    let field = |name: &str| {
        let line = superblock.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()).map(String::from)
    };
    ensure!(found.uuid == field("fsid"), "{:?}", found.uuid);
    ensure!(field("dev_item.total_bytes") == Some(found.size.bytes().to_string()), "{found:?}");
    Ok(())
}

macro_rules! variants {
    ($($name:ident: $options:literal, $mib:literal, $shows:expr;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            prove(stringify!($name), $options, $mib, &$shows)
        })*
    };
}

variants! {
    default: "", 200, ["crc32c", "skinny-metadata", "no-holes", "free-space-tree", "=METADATA|DUP", "=DATA|single"];
    compressed_odd_size: "", 201, ["crc32c"];
    small_nodes: "-n 4096", 180, ["skinny-metadata"];
    large_nodes: "-n 65536", 300, ["big-metadata"];
    xxhash: "--csum xxhash", 190, ["xxhash64"];
    sha256: "--csum sha256", 191, ["sha256"];
    blake2: "--csum blake2", 192, ["blake2b"];
    mixed: "-M -n 4096", 120, ["mixed-bg"];
    mixed_single: "-M -m single -d single", 100, ["=DATA|METADATA|single"];
    data_twice: "-d dup", 400, ["=DATA|DUP"];
    single: "-m single -L label", 200, ["=METADATA|single", "=SYSTEM|single"];
    striped_on_one_device: "-m raid0 -d raid0", 300, ["=METADATA|RAID0", "=DATA|RAID0"];
    old_format: "-O ^skinny-metadata,^no-holes,^extref -R ^free-space-tree", 200, ["!skinny-metadata", "!no-holes", "!free-space-tree"];
    quota: "-R quota", 200, ["crc32c"];
    uuid_changed: "-U 11111111-2222-3333-4444-555555555555", 200, ["crc32c"];
}

/// Tree blocks then carry another UUID than the superblock.
#[test]
fn metadata_uuid() -> Result<()> {
    if !ready("metadata_uuid", &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "", 200, 7)?;
    run("btrfstune", &["-f", "-m", text(&image)])?;
    prove_image(&image, &["metadata-uuid"])
}

/// The first form of the free-space cache, in files of the tree of roots.
#[test]
fn free_space_cache() -> Result<()> {
    if !ready("free_space_cache", &[&TOOLS[..], &["mount"]].concat(), true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "-R ^free-space-tree", 300, 11)?;
    let mount = Mount::new(&image, &dir.path().join("m"), "space_cache=v1")?;
    churn(&mount.point().join("d2"), 11, 2)?;
    mount.unmount()?;
    let superblock = run("btrfs", &["inspect-internal", "dump-super", text(&image)])?;
    let line = superblock.lines().find_map(|line| line.strip_prefix("cache_generation"));
    let generation = line.map(str::trim).context("no cache_generation")?;
    ensure!(!["0", "18446744073709551615"].contains(&generation), "{superblock}");
    prove_image(&image, &["!free-space-tree"])
}

/// Many small files and their deletion: trees with levels, free space in many pieces.
#[test]
fn many_holes() -> Result<()> {
    if !ready("many_holes", &[&TOOLS[..], &["mount"]].concat(), true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "-n 4096", 300, 9)?;
    let mount = Mount::new(&image, &dir.path().join("m"), "max_inline=0")?;
    for i in 0..6000 {
        std::fs::write(mount.point().join(format!("f{i}")), vec![7; 3000])?;
    }
    run("sync", &["-f", text(mount.point())])?; // until then nothing has its place
    for i in (0..6000).step_by(2) {
        std::fs::remove_file(mount.point().join(format!("f{i}")))?;
    }
    mount.unmount()?;
    let found = poison::recognise(&image)?;
    let imagezip::fs::Allocation::Known(set) = &found.allocation else {
        anyhow::bail!("{found:?}");
    };
    ensure!(set.len() > 2000, "{} ranges", set.len());
    prove_image(&image, &["crc32c"])
}

/// The filesystem ends before its partition does, or was made smaller or larger.
#[test]
fn resized() -> Result<()> {
    if !ready("resized", &[&TOOLS[..], &["mount"]].concat(), true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "", 300, 5)?;
    std::fs::OpenOptions::new().write(true).open(&image)?.set_len((400 << 20) + 777)?;
    prove_image(&image, &["crc32c"])?;
    for size in ["max", "280m"] {
        let mount = Mount::new(&image, &dir.path().join("m"), "")?;
        run("btrfs", &["filesystem", "resize", size, text(mount.point())])?;
        mount.unmount()?;
        prove_image(&image, &["crc32c"])?;
    }
    Ok(())
}
