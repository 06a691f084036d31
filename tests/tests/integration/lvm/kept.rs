//! What is kept whole, volume by volume or all of it, and why.

use super::{
    Area, TOOLS, blank, edit, ensure_all, ensure_whole, filesystem, lvm, put, sectors_of, volume,
    workspace,
};
use anyhow::{Result, ensure};
use imagezip::fs::{Allocation, Filesystem, VolumeVerdict};
use std::path::{Path, PathBuf};
use tests::poison::recognise;
use tests::tools::{ready, run, text};

/// A volume `root` of 20 MiB with ext4 and a volume `two` of 10 MiB, both at the start.
fn make(dir: &Path) -> Result<PathBuf> {
    let image = blank(dir, "pv", 64)?;
    lvm(
        &[&image],
        &[
            "vgcreate -s 1M vg {0}",
            "lvcreate -an -Zn -l 20 -n root vg",
            "lvcreate -an -Zn -l 10 -n two vg",
        ],
    )?;
    let made = filesystem(dir, "ext4", 20 << 20, 1)?;
    put(&[&image], &sectors_of(&[&image], "vg/root")?, &made)?;
    Ok(image)
}

/// What is found after an edit of the metadata.
fn after(image: &Path, dir: &Path, change: &dyn Fn(&str) -> String) -> Result<Filesystem> {
    let copy = dir.join("copy");
    run("cp", &["--sparse=always", text(image), text(&copy)])?;
    edit(&copy, change)?;
    recognise(&copy)
}

/// Adds a logical volume with one segment of 1 extent.
fn with(text: &str, name: &str, status: &str, segment: &str) -> String {
    let volume = format!(
        "logical_volumes {{\n{name} {{\nid = \"a\"\nstatus = [{status}]\nflags = []\n\
         segment_count = 1\nsegment1 {{\nstart_extent = 0\nextent_count = 1\n{segment}\n}}\n}}\n"
    );
    text.replacen("logical_volumes {\n", &volume, 1)
}

/// All kinds of volumes that stand on others: those below are kept whole, and say why.
#[test]
fn volumes_below_others() -> Result<()> {
    if !ready("volumes_below_others", &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make(dir.path())?;
    let visible = "\"READ\", \"WRITE\", \"VISIBLE\"";
    for (segment, root, two) in [
        (
            "type = \"snapshot\"\norigin = \"root\"\ncow_store = \"two\"",
            "snapshot",
            "needs of its origin",
        ),
        (
            "type = \"thin-pool\"\nmetadata = \"two\"\npool = \"root\"",
            "thin pool vg/upper",
            "thin pool",
        ),
        (
            "type = \"thin\"\nthin_pool = \"two\"\nexternal_origin = \"root\"",
            "thin volume",
            "thin volume",
        ),
        ("type = \"cache\"\ncache_pool = \"two\"\norigin = \"root\"", "cache vg/upper", "cache"),
        (
            "type = \"cache-pool\"\ndata = \"root\"\nmetadata = \"two\"\npolicy_settings { a = 1 }",
            "cache",
            "cache",
        ),
        (
            "type = \"cache+CACHE_USES_CACHEVOL\"\ncache_pool = \"two\"\norigin = \"root\"",
            "cache",
            "cache",
        ),
        ("type = \"writecache\"\norigin = \"root\"\nwritecache = \"two\"", "cache", "cache"),
        ("type = \"vdo-pool\"\ndata = \"root\"", "VDO", ""),
        (
            "type = \"mirror\"\nmirror_count = 2\nmirrors = [\"root\", 0, \"two\", 0]",
            "mirror",
            "mirror",
        ),
        (
            "type = \"raid1\"\ndevice_count = 2\nraids = [\"two\", \"root\"]",
            "raid1 volume vg/upper",
            "raid1",
        ),
        ("type = \"raid6_zr\"\nraids = [\"two\", \"root\"]", "raid6_zr", "raid6_zr"),
        ("type = \"integrity\"\norigin = \"root\"\nmeta_dev = \"two\"", "integrity", "integrity"),
        ("type = \"striped\"\nstripe_count = 1\nstripes = [\"root\", 0]", "striped", ""),
    ] {
        let found = after(&image, dir.path(), &|text| with(text, "upper", visible, segment))?;
        ensure_whole(&found, "vg/root", root)?;
        if two.is_empty() {
            ensure!(volume(&found, "vg/two")?.verdict == VolumeVerdict::WholeUnknown);
        } else {
            ensure_whole(&found, "vg/two", two)?;
        }
        ensure!(found.volumes.len() == 2, "{:?}", found.volumes);
        let Allocation::Known(set) = &found.allocation else { anyhow::bail!("{found:?}") };
        // The first mebibyte and all extents of both.
        ensure!(set.count().get() == (1 + 30) * 2048, "{set:?}");
    }
    // The same edit, undisturbed: root is looked into.
    let found = after(&image, dir.path(), &|text| text.replace("seqno = ", "seqno = 9"))?;
    ensure!(volume(&found, "vg/root")?.verdict == VolumeVerdict::Allocated, "{found:?}");
    Ok(())
}

#[test]
fn volumes_that_are_odd_themselves() -> Result<()> {
    if !ready("volumes_that_are_odd_themselves", &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make(dir.path())?;
    // In the text root comes first.
    for (from, to, words) in [
        ("\"VISIBLE\"]", "\"SOMETHING\", \"VISIBLE\"]", "SOMETHING"),
        (", \"VISIBLE\"]", "]", "internal"),
        ("segment_count", "reshape = 7\nsegment_count", "reshape"),
        ("type = \"striped\"", "type = \"striped+NEW\"", "not looked into"),
        ("type = \"striped\"", "type = \"striped\"\ndata_offset = 9", "not looked into"),
    ] {
        let found = after(&image, dir.path(), &|text| text.replacen(from, to, 1))?;
        ensure_whole(&found, "vg/root", words)?;
    }
    // A partition table, encryption and a volume group inside a volume.
    let sectors = sectors_of(&[&image], "vg/two")?;
    let content = dir.path().join("content");
    tests::image_file::create(&content, 10 << 20)?;
    run("mkfs.ext4", &["-q", "-F", text(&content)])?;
    run("sgdisk", &["-n1:2048:+4M", text(&content)])?;
    put(&[&image], &sectors, &content)?;
    ensure_whole(&recognise(&image)?, "vg/two", "partition table")?;
    tests::image_file::create(&content, 10 << 20)?;
    lvm(&[&content], &["vgcreate inner {0}"])?;
    put(&[&image], &sectors, &content)?;
    ensure_whole(&recognise(&image)?, "vg/two", "inside a volume")?;
    let mut luks = vec![0; 10 << 20];
    luks[..8].copy_from_slice(b"LUKS\xba\xbe\x00\x02");
    std::fs::write(&content, luks)?;
    put(&[&image], &sectors, &content)?;
    ensure_whole(&recognise(&image)?, "vg/two", "encrypted")?;
    // The mark of --strict.
    let disk = tests::image_file::ImageFile::open(&image)?;
    let strict = imagezip::plan::PlanOptions { strict: true, ..Default::default() };
    let error = imagezip::plan::plan(&disk, &strict).unwrap_err().to_string();
    ensure!(error.contains("vg/two") && error.contains("encrypted"), "{error}");
    Ok(())
}

/// Contradictions, and groups that are not at rest: everything is kept.
#[test]
fn groups_that_cannot_be_trusted() -> Result<()> {
    if !ready("groups_that_cannot_be_trusted", &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make(dir.path())?;
    for (from, to, words) in [
        ("\"RESIZEABLE\"", "\"EXPORTED\", \"RESIZEABLE\"", "exported"),
        ("\"RESIZEABLE\"", "\"PARTIAL\"", "partial"),
        ("\"RESIZEABLE\"", "\"CLUSTERED\"", "CLUSTERED"),
        ("flags = []\ndev_size", "flags = [\"MISSING\"]\ndev_size", "partial"),
        ("[\"ALLOCATABLE\"]", "[\"EXPORTED\"]", "EXPORTED"),
        ("\"VISIBLE\"]", "\"VISIBLE\", \"LOCKED\"]", "pvmove"),
        ("\"VISIBLE\"]", "\"PVMOVE\"]", "pvmove"),
        ("\"pv0\", 20\n", "\"pv0\", 19\n", "both at sector"),
        ("\"pv0\", 20\n", "\"pv0\", 54\n", "extents below"),
        ("\"pv0\", 20\n", "\"pv0\", -1\n", "an extent from 0"),
        ("\"pv0\", 20\n", "\"pv0\"\n", "stripes"),
        ("pe_count = 63", "pe_count = 64", "extents behind the label"),
        ("pe_count = 63", "pe_count = 99999999999999999", "beyond any disk"),
        ("pe_start = 2048", "pe_start = 2040", "where data begins"),
        ("extent_size = 2048", "extent_size = 0", "1 sector or more"),
        ("type = \"striped\"", "type = \"future\"", "future"),
        ("start_extent = 0", "start_extent = 1", "start_extent 0"),
        ("segment_count = 1", "segment_count = 2", "segment2"),
        ("segment_count = 1", "segment_count = 0", "0 segments"),
        ("stripe_count = 1", "stripe_count = 0", "as many places"),
        ("extent_count = 10", "extent_count = 0", "1 extent or more"),
        ("logical_volumes {", "future_volumes { }\nlogical_volumes {", "future_volumes"),
        ("format = \"lvm2\"", "format = \"lvm3\"", "format"),
        ("contents = \"Text", "contents = \"Test", "version of its metadata"),
        ("\nversion = 1", "\nversion = 2", "version of its metadata"),
        ("two {", "root {", "there twice"),
        ("two {", "two {{", "name was expected"),
    ] {
        let found = after(&image, dir.path(), &|text| text.replacen(from, to, 1))?;
        ensure_all(&found, words)?;
        ensure!(found.name == "lvm2", "{found:?}");
    }
    let other = |text: &str| {
        let at = text.find("pv0 {\nid = \"").unwrap() + 12;
        let mut text = text.to_owned();
        text.replace_range(at..at + 6, "qqqqqq");
        text
    };
    ensure_all(&after(&image, dir.path(), &other)?, "the identity that its label has")?;
    Ok(())
}

/// Volumes without metadata that counts.
#[test]
fn areas_that_cannot_be_trusted() -> Result<()> {
    if !ready("areas_that_cannot_be_trusted", &TOOLS, true) {
        return Ok(());
    }
    let dir = workspace()?;
    let image = make(dir.path())?;
    let changed = |change: &dyn Fn(&mut Area)| -> Result<Filesystem> {
        let copy = dir.path().join("copy");
        run("cp", &["--sparse=always", text(&image), text(&copy)])?;
        let mut area = Area::of(&copy)?;
        change(&mut area);
        area.write_header(&copy)?;
        recognise(&copy)
    };
    ensure_all(&changed(&|area| area.header[64] = 1)?, "not completed")?;
    ensure_all(&changed(&|area| area.header[60] = 1)?, "ignored")?;
    ensure_all(&changed(&|area| area.header[20] = 2)?, "magic")?;
    ensure_all(&changed(&|area| area.header[24] ^= 1)?, "place of the metadata area")?;
    ensure_all(&changed(&|area| area.header[48] ^= 1)?, "checksum of the metadata")?;
    ensure_all(&changed(&|area| area.header[47] = 0x80)?, "place of the metadata")?;
    ensure_all(&changed(&|area| area.header[55] = 0x80)?, "place of the metadata")?;
    // No text at all: the header of the volume says that it has a group.
    ensure_all(&changed(&|area| area.header[40..64].fill(0))?, "on other disks")?;

    // Cut: the label says how long it was.
    std::fs::OpenOptions::new().write(true).open(&image)?.set_len(50 << 20)?;
    ensure_all(&recognise(&image)?, "made on a device of")?;

    let alone = blank(dir.path(), "alone", 20)?;
    lvm(&[&alone], &["pvcreate {0}"])?;
    ensure_all(&recognise(&alone)?, "no volume group")?;

    // Two areas that differ, and a volume whose metadata is on another.
    let images = [blank(dir.path(), "a", 20)?, blank(dir.path(), "b", 20)?];
    lvm(
        &[&images[0], &images[1]],
        &[
            "pvcreate --pvmetadatacopies 2 {0}",
            "pvcreate --pvmetadatacopies 0 {1}",
            "vgcreate -s 1M vg {0} {1}",
            "lvcreate -an -Zn -l 3 -n root vg",
        ],
    )?;
    ensure!(matches!(recognise(&images[0])?.allocation, Allocation::Known(_)));
    ensure_all(&recognise(&images[1])?, "on other disks")?;
    edit(&images[0], &|text| text.replace("seqno = ", "seqno = 9"))?;
    ensure_all(&recognise(&images[0])?, "areas differ")?;
    Ok(())
}
