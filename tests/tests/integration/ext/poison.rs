//! Every variant of ext: what we call free is poisoned, e2fsck and all files must not notice, and
//! what we keep is exactly what dumpe2fs counts as used.

use super::{TOOLS, check, field, files, make_worn, number, workspace};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use tests::image_file;
use tests::mount::{Loop, Mount};
use tests::poison;
use tests::tools::{ready, run, text};

/// What a variant must show in `dumpe2fs`, so that we know the test tests it.
struct Variant {
    options: &'static str,
    kib: u64,
    shows: &'static [&'static str],
}

fn prove(test: &str, variant: &Variant) -> Result<()> {
    if !ready(test, &TOOLS, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), variant.options, variant.kib, variant.kib)?;
    prove_image(&image, variant.shows)
}

fn prove_image(image: &Path, shows: &[&str]) -> Result<()> {
    let dump = run("dumpe2fs", &[text(image)])?;
    for word in shows {
        ensure!(dump.contains(word), "dumpe2fs does not show {word}");
    }
    let (found, set) = poison::prove(image, &check, &files)?;

    let blocks = number(&dump, "Block count")?;
    let free = number(&dump, "Free blocks")?;
    let block_sectors = number(&dump, "Block size")? / 512;
    ensure!(found.size.get() == blocks * block_sectors, "size {}", found.size);
    let kept = set.count().get();
    let used = (blocks - free) * block_sectors;
    ensure!(kept == used, "{kept} sectors kept, {used} used of {}", found.size);
    ensure!(found.uuid == Some(field(&dump, "Filesystem UUID")?), "uuid {:?}", found.uuid);

    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let theirs = field(&dump, "Filesystem features")?.replace("(none)", "");
    let theirs = sorted(theirs.split_whitespace().map(String::from).collect());
    ensure!(sorted(found.features.clone()) == theirs, "{:?}, not {theirs:?}", found.features);
    Ok(())
}

macro_rules! variants {
    ($($name:ident: $options:literal, $kib:literal, $shows:expr;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            prove(stringify!($name), &Variant { options: $options, kib: $kib, shows: &$shows })
        })*
    };
}

variants! {
    // The three generations, and every block size.
    ext2_1k: "-t ext2 -b 1024", 50_001, ["Block size:               1024"];
    ext2_2k: "-t ext2 -b 2048 -g 8192", 60_003, ["Block size:               2048"];
    ext2_4k: "-t ext2 -b 4096 -g 2048", 60_005, ["Block size:               4096"];
    ext2_revision_0: "-t ext2 -b 1024 -r 0", 40_000, ["revision #:    0"];
    ext2_revision_0_4k: "-t ext2 -b 4096 -r 0 -g 1024", 40_000, ["revision #:    0"];
    ext2_without_sparse_super: "-t ext2 -b 1024 -O ^sparse_super,^resize_inode", 40_000, ["Backup superblock at 16385"];
    ext3_1k: "-t ext3 -b 1024", 60_000, ["has_journal"];
    ext3_4k: "-t ext3 -b 4096 -g 2048", 60_000, ["has_journal"];
    ext4_default: "-t ext4", 300_001, ["metadata_csum", "flex_bg", "64bit"];
    ext4_1k: "-t ext4 -b 1024", 70_001, ["BLOCK_UNINIT", "64bit"];
    ext4_2k: "-t ext4 -b 2048 -g 4096", 70_001, ["metadata_csum"];
    ext4_4k_small_groups: "-t ext4 -b 4096 -g 1024", 100_001, ["BLOCK_UNINIT"];
    ext4_16k: "-t ext4 -b 16384 -g 2048", 120_000, ["Block size:               16384"];
    ext4_64k: "-t ext4 -b 65536", 200_000, ["Block size:               65536"];

    // Group descriptors and their place.
    ext4_32bit: "-t ext4 -b 1024 -O ^64bit", 60_000, ["metadata_csum"];
    ext4_no_flex: "-t ext4 -b 1024 -O ^flex_bg", 60_000, ["BLOCK_UNINIT"];
    ext4_flex_4: "-t ext4 -b 1024 -G 4", 90_000, ["Flex block group size:    4"];
    ext4_flex_64: "-t ext4 -b 1024 -G 64 -g 2048", 90_000, ["Flex block group size:    64"];
    ext4_meta_bg: "-t ext4 -b 1024 -O meta_bg,^resize_inode -g 512", 60_000, ["meta_bg"];
    ext4_meta_bg_no_flex: "-t ext4 -b 1024 -O meta_bg,^resize_inode,^flex_bg -g 1024", 60_000, ["meta_bg"];
    ext2_meta_bg: "-t ext2 -b 1024 -O meta_bg,^resize_inode -g 1024", 60_000, ["meta_bg"];
    ext4_sparse_super2: "-t ext4 -b 1024 -O sparse_super2,^resize_inode", 60_000, ["sparse_super2"];
    ext4_sparse_super2_one: "-t ext4 -b 1024 -O sparse_super2,^resize_inode -E num_backup_sb=1", 60_000, ["sparse_super2"];
    ext4_resize_reserve: "-t ext4 -b 1024 -E resize=4000000", 60_000, ["Reserved GDT blocks:      30"];
    ext4_no_resize_inode: "-t ext4 -b 1024 -O ^resize_inode", 60_000, ["flex_bg"];
    ext4_large_groups_table: "-t ext4 -b 1024 -g 256 -O ^resize_inode -N 6000", 60_000, ["Group 230:"];

    // Clusters.
    ext4_bigalloc: "-t ext4 -O bigalloc -C 65536", 90_000, ["bigalloc"];
    ext4_bigalloc_odd_end: "-t ext4 -O bigalloc -C 16384", 90_012, ["bigalloc"];
    ext4_bigalloc_groups: "-t ext4 -b 1024 -O bigalloc -C 4096 -g 1024", 90_001, ["BLOCK_UNINIT"];
    ext4_bigalloc_no_flex: "-t ext4 -b 1024 -O bigalloc,^flex_bg -C 4096 -g 1024", 90_001, ["BLOCK_UNINIT"];
    ext4_bigalloc_4k_groups: "-t ext4 -b 4096 -O bigalloc -C 16384 -g 1024", 90_001, ["BLOCK_UNINIT"];
    ext4_bigalloc_uninit_bg: "-t ext4 -b 1024 -O bigalloc,^metadata_csum,uninit_bg -C 2048 -g 1024", 60_001, ["BLOCK_UNINIT"];
    ext4_bigalloc_1k: "-t ext4 -b 1024 -O bigalloc -C 8192", 90_000, ["First block:              0"];

    // Checksums.
    ext4_uninit_bg: "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg", 60_000, ["uninit_bg", "BLOCK_UNINIT"];
    ext4_uninit_bg_32bit: "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg,^64bit", 60_000, ["BLOCK_UNINIT"];
    ext4_no_checksums: "-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg", 60_000, ["flex_bg"];
    ext4_checksum_seed: "-t ext4 -b 1024 -O metadata_csum_seed", 60_000, ["metadata_csum_seed"];

    // Journals, inodes, and features that must not matter.
    ext4_no_journal: "-t ext4 -b 1024 -O ^has_journal", 60_000, ["flex_bg"];
    ext4_fast_commit: "-t ext4 -b 1024 -O fast_commit", 60_000, ["fast_commit"];
    ext4_large_journal: "-t ext4 -b 1024 -J size=20", 60_000, ["has_journal"];
    ext4_lazy_init: "-t ext4 -b 1024 -E lazy_itable_init=1,lazy_journal_init=1", 60_000, ["INODE_UNINIT"];
    ext4_no_lazy_init: "-t ext4 -b 1024 -E lazy_itable_init=0,lazy_journal_init=0", 60_000, ["ITABLE_ZEROED"];
    ext4_inline_data: "-t ext4 -b 1024 -O inline_data", 60_000, ["inline_data"];
    ext4_orphan_file: "-t ext4 -b 1024 -O orphan_file", 60_000, ["orphan_file"];
    ext4_quota_project: "-t ext4 -b 1024 -O quota,project -E quotatype=usrquota:grpquota:prjquota", 60_000, ["quota", "project"];
    ext4_many_features: "-t ext4 -b 1024 -O casefold,encrypt,verity,ea_inode,large_dir,stable_inodes", 60_000, ["casefold", "verity", "ea_inode"];
    ext4_mmp: "-t ext4 -b 1024 -O mmp", 60_000, ["mmp"];
    ext4_large_inodes: "-t ext4 -b 4096 -g 2048 -I 1024", 60_000, ["Inode size:\t          1024"];
    ext4_small_inodes: "-t ext4 -b 1024 -I 128", 60_000, ["Inode size:\t          128"];
    ext4_few_inodes: "-t ext4 -b 1024 -N 400", 60_000, ["Inodes per group:         4"];
    ext4_stride: "-t ext4 -b 1024 -E stride=16,stripe_width=64", 60_000, ["RAID stripe width:        64"];
    ext4_packed_meta_blocks: "-t ext4 -b 1024 -E packed_meta_blocks=1", 60_000, ["flex_bg"];
}

/// resize2fs grows it over several groups, then shrinks it again.
#[test]
fn ext4_grown() -> Result<()> {
    if !ready("ext4_grown", &[&TOOLS[..], &["resize2fs"]].concat(), false) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make_worn(dir.path(), "-t ext4 -b 1024 -E resize=100000", 40_000, 1)?;
    run("e2fsck", &["-fp", text(&image)])?;
    run("resize2fs", &[text(&image), "90001"])?;
    prove_image(&image, &["Block count:              90001"])?;
    run("resize2fs", &[text(&image), "50000"])?;
    prove_image(&image, &["Block count:              50000"])
}

#[test]
fn external_journal() -> Result<()> {
    let tools = [&TOOLS[..], &["mount", "umount", "losetup"]].concat();
    if !ready("external_journal", &tools, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let journal = dir.path().join("journal");
    image_file::create(&journal, 8 << 20)?;
    run("mke2fs", &["-q", "-F", "-O", "journal_dev", "-b", "4096", text(&journal)])?;
    let found = poison::recognise(&journal)?;
    ensure!(found.name == "ext-journal", "{found:?}");
    ensure!(
        matches!(&found.allocation, imagezip::fs::Allocation::Unsupported { reason } if reason.contains("journal")),
        "{found:?}"
    );

    let device = Loop::new(&journal)?;
    let options = format!("-t ext4 -b 4096 -g 2048 -J device={}", text(device.device()));
    let image = make_worn(dir.path(), &options, 60_000, 3)?;
    prove_image(&image, &["Journal device:"]).or_else(|_| prove_image(&image, &["Journal UUID:"]))
}

/// A disk as a real one is: default sizes, several block groups of 128 MiB, free space in pieces.
#[test]
fn ext4_many_holes() -> Result<()> {
    if !ready("ext4_many_holes", &[&TOOLS[..], &["mount"]].concat(), true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = dir.path().join("image");
    image_file::create(&image, 64 << 20)?;
    run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "1024", "-N", "8000", text(&image)])?;
    let mount = Mount::new(&image, &dir.path().join("m"), "")?;
    for i in 0..5000 {
        std::fs::write(mount.point().join(format!("f{i}")), vec![7; 3000])?;
    }
    run("sync", &["-f", text(mount.point())])?; // until then nothing has its place
    for i in (0..5000).step_by(2) {
        std::fs::remove_file(mount.point().join(format!("f{i}")))?;
    }
    mount.unmount()?;
    let found = poison::recognise(&image)?;
    let imagezip::fs::Allocation::Known(set) = &found.allocation else {
        anyhow::bail!("{found:?}");
    };
    ensure!(set.len() > 2000, "{} ranges", set.len());
    prove_image(&image, &["metadata_csum"]).context("many holes")
}
