//! Every filesystem with a map, saved from one place and loaded to another on a larger disk.

use super::{btrfs, exfat, ext, fat, ntfs, small, ufs, xfs};
use anyhow::Result;
use tests::replant;
use tests::tools::ready;

#[test]
fn ext() -> Result<()> {
    if !ready("replant ext", &ext::TOOLS, false) {
        return Ok(());
    }
    for options in ["-t ext4", "-t ext2 -b 1024"] {
        let dir = ext::workspace()?;
        let image = ext::make_worn(dir.path(), options, 50_000, 1)?;
        replant::prove(&image, &ext::check, &ext::files)?;
    }
    Ok(())
}

#[test]
fn fat() -> Result<()> {
    if !ready("replant fat", &fat::TOOLS, false) {
        return Ok(());
    }
    for options in ["-F 16", "-F 32 -s 1"] {
        let dir = fat::workspace()?;
        let image = fat::make_worn(dir.path(), options, 40_000, 2)?;
        replant::prove(&image, &fat::check, &fat::files)?;
    }
    Ok(())
}

#[test]
fn exfat() -> Result<()> {
    if !ready("replant exfat", &exfat::TOOLS, true) {
        return Ok(());
    }
    let dir = exfat::workspace()?;
    let image = exfat::make_worn(dir.path(), "-c 4k", 40_000, 3)?;
    replant::prove(&image, &exfat::check, &exfat::files)
}

#[test]
fn ntfs() -> Result<()> {
    if !ready("replant ntfs", &ntfs::TOOLS, true) {
        return Ok(());
    }
    let dir = ntfs::workspace()?;
    let image = ntfs::make(dir.path(), "", 50_000)?;
    ntfs::wear(dir.path(), &image, 4)?;
    replant::prove(&image, &ntfs::check, &ntfs::files)
}

#[test]
fn xfs() -> Result<()> {
    if !ready("replant xfs", &xfs::TOOLS, false) {
        return Ok(());
    }
    let dir = xfs::workspace()?;
    let image = xfs::make_worn(dir.path(), "", 64, 5)?;
    replant::prove(&image, &xfs::check, &xfs::files)
}

#[test]
fn btrfs() -> Result<()> {
    if !ready("replant btrfs", &btrfs::TOOLS, false) {
        return Ok(());
    }
    let dir = btrfs::workspace()?;
    let image = btrfs::make_worn(dir.path(), "", 200, 7)?;
    replant::prove(&image, &btrfs::check, &btrfs::files)
}

#[test]
fn ufs() -> Result<()> {
    ufs::replanted("replant ufs")
}

#[test]
fn f2fs() -> Result<()> {
    small::f2fs::replanted("replant f2fs")
}

#[test]
fn nilfs2() -> Result<()> {
    small::nilfs2::replanted("replant nilfs2")
}

#[test]
fn jfs() -> Result<()> {
    small::jfs::replanted("replant jfs")
}

#[test]
fn reiserfs() -> Result<()> {
    small::reiserfs::replanted("replant reiserfs")
}

#[test]
fn hfsplus() -> Result<()> {
    small::hfsplus::replanted("replant hfsplus")
}
