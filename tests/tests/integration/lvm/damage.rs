//! Bits flipped in everything of LVM2 that is on the disk: never a panic, never less kept.

use super::{Area, TOOLS, blank, filesystem, lvm, put, sectors_of, workspace};
use anyhow::{Context, Result, ensure};
use imagezip::fs::{Allocation, probe};
use tests::damaged::Damaged;
use tests::image_file::ImageFile;
use tests::rng::Rng;
use tests::tools::ready;

#[test]
fn flipped_bits() -> Result<()> {
    if !ready("flipped_bits", &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = blank(dir.path(), "pv", 32)?;
    let commands = [
        "vgcreate -s 1M vg {0}",
        "lvcreate -an -Zn -l 9 -n root vg",
        "lvcreate -an -Zn -l 4 -n two vg",
        "lvextend -l +6 vg/root",
        "lvcreate -an -Zn -l 4 -n three vg",
        "lvremove -y vg/two",
    ];
    lvm(&[&image], &commands)?;
    let made = filesystem(dir.path(), "ext4", 15 << 20, 1)?;
    put(&[&image], &sectors_of(&[&image], "vg/root")?, &made)?;
    let disk = ImageFile::open(&image)?;
    let clean = probe(&disk)?.context("recognised")?;
    let Allocation::Known(clean) = clean.allocation else { anyhow::bail!("{clean:?}") };
    let area = Area::of(&image)?;
    let text = 4096 + area.text_at..4096 + area.text_at + area.text_len;
    let mut rng = Rng::new(77);
    let (mut refused, mut same) = (0, 0);
    // Label and header of the area byte by byte, the text and what is around it in some places.
    let places = (0..2048).chain(4096..4608).chain(text.step_by(7)).chain((4608..8000).step_by(50));
    for offset in places {
        let flips = [(offset, 1 << rng.below(8))];
        match probe(&Damaged::new(&disk, &flips))?.map(|found| found.allocation) {
            Some(Allocation::Known(set)) => {
                ensure!(clean.difference(&set).is_empty(), "byte {offset}");
                same += 1;
            }
            _ => refused += 1,
        }
    }
    ensure!(refused > 900 && same > 500, "{refused} refused, {same} the same");
    Ok(())
}
