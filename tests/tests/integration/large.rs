//! How long the map of a very large volume takes. Run with `--ignored --nocapture`.

use anyhow::{Result, ensure};
use imagezip::fs::Allocation;
use std::time::{Duration, Instant};
use tests::image_file;
use tests::poison::recognise;
use tests::tools::{ready, run, text};

#[test]
#[ignore = "writes some 300 MB of metadata"]
fn maps_of_large_volumes() -> Result<()> {
    for (tool, options, gib) in [
        ("mkfs.fat", "-F 32 -s 64", 2047),
        ("mkfs.exfat", "-c 128k", 8 << 10),
        ("mkntfs", "-F -Q -q", 1 << 10),
        ("mkntfs", "-F -Q -q", 8 << 10),
    ] {
        if !ready("maps_of_large_volumes", &[tool], false) {
            continue;
        }
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("image");
        image_file::create(&image, gib << 30)?;
        let mut args: Vec<_> = options.split_whitespace().collect();
        args.push(text(&image));
        run(tool, &args)?;
        let start = Instant::now();
        let found = recognise(&image)?;
        let took = start.elapsed();
        println!("{tool} {options}, {gib} GiB: {took:?}");
        ensure!(matches!(found.allocation, Allocation::Known(_)), "{:?}", found.allocation);
        ensure!(took < Duration::from_secs(30), "{took:?}");
    }
    Ok(())
}
