//! What we call free in a physical volume is poisoned; lvm2's checks, the filesystems' checks and
//! all files in all volumes must not notice. And what is kept is exactly what must be.

use super::{
    Area, Sectors, TOOLS, Tools, blank, check, edit, filesystem, lvm, put, sectors_of, take,
    volume, workspace,
};
use anyhow::{Context, Result, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::{Allocation, Filesystem, VolumeVerdict};
use imagezip::ndz::{Codec, Version};
use imagezip::plan::{PlanOptions, plan};
use imagezip::sector_set::SectorSet;
use imagezip::units::{Sector, SectorCount, SectorRange};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tests::content::Tree;
use tests::samples::{self, From, content, load_onto, save_to_vec};
use tests::tools::{ready, run, text};

/// Volumes with a filesystem each, over physical volumes in files.
struct Group {
    images: Vec<PathBuf>,
    volumes: Vec<Filled>,
    dir: PathBuf,
}

struct Filled {
    name: String,
    kind: &'static str,
    sectors: Sectors,
    tree: Tree,
}

impl Group {
    fn images(&self) -> Vec<&Path> {
        self.images.iter().map(PathBuf::as_path).collect()
    }

    /// Fills volumes of a group that stands already.
    fn fill(dir: &Path, images: Vec<PathBuf>, volumes: &[(&str, &'static str)]) -> Result<Self> {
        let mut group = Self { images, volumes: Vec::new(), dir: dir.into() };
        for (seed, (name, kind)) in (1..).zip(volumes) {
            let sectors = sectors_of(&group.images(), name)?;
            let bytes = u64::try_from(sectors.len())? * 512;
            let made = filesystem(dir, kind, bytes, seed)?;
            let tree = check(dir, kind, &made)?;
            put(&group.images(), &sectors, &made)?;
            std::fs::remove_file(made)?;
            group.volumes.push(Filled { name: (*name).into(), kind, sectors, tree });
        }
        Ok(group)
    }

    /// Asserts that lvm2 and all filesystems are content with these files.
    fn check(&self, images: &[&Path]) -> Result<()> {
        let checks: Vec<String> = (0..images.len()).map(|n| format!("pvck {{{n}}}")).collect();
        let mut commands = vec!["vgck"];
        commands.extend(checks.iter().map(String::as_str));
        lvm(images, &commands)?;
        for filled in &self.volumes {
            let out = self.dir.join("taken");
            ensure!(sectors_of(images, &filled.name)? == filled.sectors, "extents moved");
            take(images, &filled.sectors, &out)?;
            let tree = check(&self.dir, filled.kind, &out).context(filled.name.clone())?;
            ensure!(tree == filled.tree, "{}: files differ", filled.name);
        }
        Ok(())
    }

    /// What must be kept of a physical volume of a group: all but what lies in `free_extents`, and
    /// but what the filesystem in a volume leaves free, when all of it is here.
    fn expected(&self, physical: usize, free_extents: &[SectorRange]) -> Result<SectorSet> {
        let all = std::fs::metadata(&self.images[physical])?.len() / 512;
        let mut used: BTreeMap<u64, bool> = BTreeMap::new();
        for filled in self.volumes.iter().filter(|f| f.sectors.iter().all(|s| s.0 == physical)) {
            let out = self.dir.join("taken");
            take(&self.images(), &filled.sectors, &out)?;
            let found = tests::poison::recognise(&out)?;
            let Allocation::Known(set) = &found.allocation else { anyhow::bail!("{found:?}") };
            for (index, (_, sector)) in (0..).zip(&filled.sectors) {
                let index = Sector::new(index).context("sector")?;
                used.insert(*sector, set.contains(index) || index.get() >= found.size.get());
            }
        }
        let unit = SectorCount::from_u32(1);
        let kept = (0..all).filter_map(|sector| {
            let at = Sector::new(sector)?;
            let is_free = free_extents.iter().any(|range| range.contains(at));
            let keep = used.get(&sector).copied().unwrap_or(!is_free);
            if keep { SectorRange::with_count(at, unit) } else { None }
        });
        Ok(kept.collect())
    }

    /// Proves one physical volume after the other; returns what was found on each.
    fn prove(&self, free: &[&[SectorRange]]) -> Result<Vec<Filesystem>> {
        self.check(&self.images()).context("before the poison")?;
        let mut all = Vec::new();
        for (index, image) in self.images.iter().enumerate() {
            let found = tests::poison::recognise(image)?;
            let Allocation::Known(set) = &found.allocation else { anyhow::bail!("{found:?}") };
            let expected = self.expected(index, free[index])?;
            ensure!(expected.difference(set).is_empty(), "too little: {:?}", found.volumes);
            ensure!(set.difference(&expected).is_empty(), "too much: {:?}", found.volumes);
            all.push((found.clone(), tests::poison::free(set, found.size)));
        }
        for (image, (_, free)) in self.images.iter().zip(&all) {
            tests::poison::poison(image, free)?;
        }
        self.check(&self.images()).context("after the poison")?;
        Ok(all.into_iter().map(|(found, _)| found).collect())
    }
}

/// Extents of 1 MiB, the first at 1 MiB.
fn extents(from: u32, to: u32) -> SectorRange {
    let at = |extent: u32| Sector::from_u32((extent + 1) * 2048);
    SectorRange::new(at(from), at(to)).unwrap()
}

fn ready_for(test: &str) -> bool {
    ready(test, &TOOLS, true)
}

fn ensure_allocated(found: &Filesystem, name: &str, kind: &str, filesystem: &str) -> Result<()> {
    let volume = volume(found, name)?;
    ensure!(volume.verdict == VolumeVerdict::Allocated, "{volume:?}");
    ensure!(volume.kind == kind && volume.filesystem == Some(filesystem), "{volume:?}");
    ensure!(volume.kept < volume.size, "{volume:?}");
    Ok(())
}

/// root is in three pieces, one volume was deleted, one is swap, one nobody knows.
#[test]
fn linear_volumes_of_several_segments() -> Result<()> {
    if !ready_for("linear_volumes_of_several_segments") {
        return Ok(());
    }
    let dir = workspace()?;
    let image = blank(dir.path(), "pv", 500)?;
    lvm(
        &[&image],
        &[
            "vgcreate -s 1M vg {0}",
            "lvcreate -an -Zn -L 16M -n root vg",  // 0..16
            "lvcreate -an -Zn -L 9M -n gone vg",   // 16..25
            "lvcreate -an -Zn -L 5M -n data vg",   // 25..30
            "lvextend -L +4M vg/root",             // 30..34
            "lvcreate -an -Zn -L 3M -n swap vg",   // 34..37
            "lvcreate -an -Zn -L 320M -n home vg", // 37..357
            "lvextend -L +20M vg/root",            // 357..377
            "lvremove -y vg/gone",
        ],
    )?;
    let swap = dir.path().join("swap");
    tests::image_file::create(&swap, 3 << 20)?;
    run("mkswap", &[text(&swap)])?;
    put(&[&image], &sectors_of(&[&image], "vg/swap")?, &swap)?;
    let volumes = [("vg/root", "ext4"), ("vg/home", "xfs")];
    let group = Group::fill(dir.path(), vec![image.clone()], &volumes)?;
    let swap_free = {
        // All of the swap area but its first 32 KiB.
        let range = extents(34, 37);
        range.split_at(SectorCount::from_u32(64)).1
    };
    let found = group.prove(&[&[extents(16, 25), swap_free, extents(377, 499)]])?;
    let [found] = found.as_slice() else { anyhow::bail!("one") };
    ensure_allocated(found, "vg/root", "linear", "ext4")?;
    ensure_allocated(found, "vg/home", "linear", "xfs")?;
    ensure_allocated(found, "vg/swap", "linear", "linux-swap")?;
    ensure!(volume(found, "vg/data")?.verdict == VolumeVerdict::WholeUnknown, "{found:?}");
    ensure!(found.volumes.len() == 4 && found.label.as_deref() == Some("vg"), "{found:?}");
    let uuid = lvm(&[&image], &["pvs --noheadings -o pv_uuid"])?;
    ensure!(uuid.contains(found.uuid.as_deref().context("uuid")?), "{uuid}");
    restore_elsewhere(&group)
}

/// Saves the physical volume, poisoned as it is, as a partition of a disk and restores it to another
/// place on a larger one, over garbage.
fn restore_elsewhere(group: &Group) -> Result<()> {
    let pv = std::fs::read(group.images.first().context("image")?)?;
    for (version, codec) in [(Version::Native, Codec::Zstd), (Version::V5, Codec::Zlib)] {
        let disk = MemoryDisk::new(pv.clone());
        let plan = plan(&disk, &PlanOptions::default())?;
        ensure!(plan.ranges.count().bytes() < disk_bytes(&pv) / 2, "{}", plan.ranges.count());
        let fields = samples::fields(version, codec, disk_bytes(&pv));
        let (saved, _) = save_to_vec(&disk, plan.ranges.ranges(), fields, &samples::options(2))?;
        let garbage = b"garbage!".repeat((pv.len() + (64 << 20)) / 8);
        let target = MemoryDisk::new(garbage);
        let options = imagezip::load::TargetOptions::default();
        load_onto(&saved, From::File, &target, options, 2)?;
        // The rest of the larger disk belongs to the partition too.
        let restored = group.dir.join("restored");
        std::fs::write(&restored, content(&target))?;
        group.check(&[&restored])?;
        std::fs::remove_file(&restored)?;
    }
    Ok(())
}

fn disk_bytes(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap()
}

/// lvm2 does not stripe over one disk of its own accord, but it works with what it finds.
#[test]
fn stripes_on_one_disk() -> Result<()> {
    if !ready_for("stripes_on_one_disk") {
        return Ok(());
    }
    for (stripe, areas) in [(8, 2), (128, 3), (2048, 2)] {
        let dir = workspace()?;
        let image = blank(dir.path(), "pv", 100)?;
        let commands = ["vgcreate -s 1M vg {0}", "lvcreate -an -Zn -l 36 -n root vg"];
        lvm(&[&image], &commands)?;
        edit(&image, &|text| {
            // In an order that is not that of the disk, with gaps.
            let places: String =
                (0..areas).rev().map(|n| format!("\"pv0\", {},", 3 + n * 30)).collect();
            let places = places.trim_end_matches(',');
            text.replace(
                "stripe_count = 1",
                &format!("stripe_count = {areas}\nstripe_size = {stripe}"),
            )
            .replace("\"pv0\", 0\n", places)
        })?;
        let volumes = [("vg/root", "ext4")];
        let group = Group::fill(dir.path(), vec![image], &volumes)?;
        let len = 36 / areas;
        let mut free = vec![extents(0, 3)];
        for n in 0..areas {
            let next = if n + 1 == areas { 99 } else { 3 + (n + 1) * 30 };
            free.push(extents(3 + n * 30 + len, next));
        }
        let found = group.prove(&[&free])?;
        ensure_allocated(&found[0], "vg/root", "striped", "ext4")?;
    }
    Ok(())
}

/// One volume on each, one over both end to end, one striped over both.
#[test]
fn two_physical_volumes() -> Result<()> {
    if !ready_for("two_physical_volumes") {
        return Ok(());
    }
    let dir = workspace()?;
    let images = [blank(dir.path(), "pv0", 100)?, blank(dir.path(), "pv1", 90)?];
    lvm(
        &[&images[0], &images[1]],
        &[
            "vgcreate -s 1M vg {0} {1}",
            "lvcreate -an -Zn -l 20 -n one vg {0}", // 0: 0..20
            "lvcreate -an -Zn -l 30 -n two vg {1}", // 1: 0..30
            "lvcreate -an -Zn -l 30 -i 2 -I 64k -n wide vg", // 0: 20..35, 1: 30..45
            "lvcreate -an -Zn -l 10 -n long vg {0}", // 0: 35..45
            "lvextend -l +12 vg/long {1}",          // 1: 45..57
        ],
    )?;
    let volumes =
        [("vg/one", "ext4"), ("vg/two", "ext4"), ("vg/wide", "ext4"), ("vg/long", "ext4")];
    let group = Group::fill(dir.path(), images.to_vec(), &volumes)?;
    let found = group.prove(&[&[extents(45, 99)], &[extents(57, 89)]])?;
    ensure_allocated(&found[0], "vg/one", "linear", "ext4")?;
    ensure_allocated(&found[1], "vg/two", "linear", "ext4")?;
    for found in &found {
        super::ensure_whole(found, "vg/wide", "other disks")?;
        super::ensure_whole(found, "vg/long", "other disks")?;
        ensure!(found.volumes.len() == 3, "{:?}", found.volumes);
    }
    Ok(())
}

/// So many changes that the text of the metadata goes around the end of its ring; and a second
/// metadata area at the end of the disk.
#[test]
fn metadata_that_wraps() -> Result<()> {
    if !ready_for("metadata_that_wraps") {
        return Ok(());
    }
    let dir = workspace()?;
    let image = blank(dir.path(), "pv", 40)?;
    lvm(
        &[&image],
        &[
            "pvcreate --pvmetadatacopies 2 {0}",
            "vgcreate -s 1M vg {0}",
            "lvcreate -an -Zn -l 12 -n root vg",
            "lvcreate -an -Zn -l 8 -n gone vg",
            "lvremove -y vg/gone",
        ],
    )?;
    // Long tags make a long text, and every change writes it anew.
    let tag = |number: u32| format!(" --addtag {number}{}", "x".repeat(900));
    let tags: String = (0..100).map(tag).collect();
    lvm(&[&image], &[&format!("vgchange{tags} vg")])?;
    for number in 0..30 {
        if Area::of(&image)?.is_wrapped() {
            break;
        }
        lvm(&[&image], &[&format!("vgchange --addtag tag{number} vg")])?;
    }
    let area = Area::of(&image)?;
    ensure!(area.is_wrapped(), "{} and {} of {}", area.text_at, area.text_len, area.size);
    let group = Group::fill(dir.path(), vec![image], &[("vg/root", "ext4")])?;
    let count = Tools::new(&group.images())?.report("pvs -o pv_pe_count")?;
    let count = count.first().and_then(|line| line.first()).context("extents")?.parse()?;
    let found = group.prove(&[&[extents(12, count)]])?;
    ensure_allocated(&found[0], "vg/root", "linear", "ext4")
}
