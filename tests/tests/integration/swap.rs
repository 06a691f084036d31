//! Linux swap areas as mkswap makes them.

use anyhow::{Context, Result, ensure};
use imagezip::fs::Allocation;
use tests::image_file;
use tests::poison::{free, poison, recognise};
use tests::tools::{ready, run, text};

/// Debian packages util-linux and, for `blkid`, the same.
const TOOLS: [&str; 2] = ["mkswap", "blkid"];

#[test]
fn what_mkswap_makes_survives_poison() -> Result<()> {
    if !ready("what_mkswap_makes_survives_poison", &TOOLS, false) {
        return Ok(());
    }
    for page in [4096u64, 8192, 16384, 32768, 65536] {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("swap");
        image_file::create(&image, 3_000_001)?;
        let page_text = page.to_string();
        run("mkswap", &["-q", "-p", &page_text, "-L", "swaplabel", text(&image)])
            .or_else(|_| run("mkswap", &["-p", &page_text, "-L", "swaplabel", text(&image)]))?;
        let uuid = run("blkid", &["-p", "-s", "UUID", "-o", "value", text(&image)])?;

        let found = recognise(&image)?;
        ensure!(found.name == "linux-swap" && found.label.as_deref() == Some("swaplabel"));
        ensure!(found.uuid.as_deref() == Some(uuid.trim()), "{found:?}");
        ensure!(found.size.bytes() == 3_000_001 / page * page, "{found:?}");
        let Allocation::Known(set) = &found.allocation else {
            anyhow::bail!("{found:?}");
        };
        ensure!(set.count().bytes() == page.max(32768), "{set:?}");

        poison(&image, &free(set, found.size))?;
        let again = run("blkid", &["-p", "-s", "UUID", "-o", "value", text(&image)])?;
        ensure!(uuid == again);
        ensure!(recognise(&image)? == found);
    }
    Ok(())
}

/// ext4 leaves the first 1024 bytes alone, so the marks of two systems can stand side by side.
#[test]
fn two_claims_keep_everything() -> Result<()> {
    if !ready("two_claims_keep_everything", &["mke2fs"], false) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let image = dir.path().join("image");
    image_file::create(&image, 8 << 20)?;
    run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "4096", text(&image)])?;
    ensure!(recognise(&image)?.name == "ext4");
    // The signature of a swap area of a machine with 64 KiB pages, in room kept for descriptors.
    let file = std::fs::OpenOptions::new().write(true).open(&image)?;
    std::os::unix::fs::FileExt::write_all_at(&file, b"SWAP-SPACE", 65_536 - 10)?;
    let found = recognise(&image)?;
    ensure!(found.name == "ambiguous", "{found:?}");
    let Allocation::Unsupported { reason } = found.allocation else {
        anyhow::bail!("{:?}", found.allocation);
    };
    reason.find("ext4 and of linux-swap").context(reason.clone())?;
    Ok(())
}
