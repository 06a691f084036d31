//! BSD disklabels: in slices, in bare disks, and slices that move.

use anyhow::{Context, Result, bail, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::disk::{Patched, ReadDisk, Window};
use imagezip::fs::{Allocation, Filesystem, ProbeOptions, probe, probe_with};
use imagezip::load::{FreeSpace, TargetOptions};
use imagezip::ndz::{Codec, ImageSet, Version};
use imagezip::plan::{self, PlanOptions, SavePlan};
use imagezip::save::{LabelForm, label_form};
use imagezip::sector_set::SectorSet;
use imagezip::units::SectorRange;
use tests::bsd_label::{Entry, checksum, entry, freebsd, openbsd, place, seal};
use tests::content::Tree;
use tests::rng::Rng;
use tests::samples::{From, bytes_of, content, fields, load_onto, options, range, save_to_vec};
use tests::ufs::{Maker, Shape, read};

/// Sectors of both filesystems and of the swap between them.
const FIRST: u32 = 6_000;
const SWAP: u32 = 700;
const SECOND: u32 = 7_000;
/// Sectors of a slice: what is in it, and some more.
const SLICE: u32 = 15_000;

const SHAPE: Shape = Shape {
    second: true,
    block: 4096,
    fragment: 512,
    fragments: 6_000,
    group: 3_200,
    inodes: 128,
    clusters: true,
    check_hashes: true,
    stagger: 0,
};

fn volume(shape: Shape, seed: u64) -> Vec<u8> {
    let mut maker = Maker::new(shape, seed);
    maker.wear(60);
    maker.finish()
}

/// A slice with a UFS2, swap and a UFS1, the first of which starts at sector `first` of it.
fn slice(label: &[u8], first: u32) -> Result<Vec<u8>> {
    let mut bytes = Rng::new(5).bytes(usize::try_from(SLICE)? * 512);
    let second = Shape { second: false, check_hashes: false, fragments: 7_000, ..SHAPE };
    for (at, volume) in [(first, volume(SHAPE, 1)), (first + FIRST + SWAP, volume(second, 2))] {
        let at = usize::try_from(at)? * 512;
        bytes[at..at + volume.len()].copy_from_slice(&volume);
    }
    // Boot code that looks like a table of partitions.
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    bytes[512..1024].copy_from_slice(label);
    Ok(bytes)
}

/// The partitions of a slice, counted from `origin`.
fn entries(origin: u32, first: u32) -> [Entry; 3] {
    let at = origin + first;
    [
        entry('a', at, FIRST, 7),
        entry('b', at + FIRST, SWAP, 1),
        entry('d', at + FIRST + SWAP, SECOND, 7),
    ]
}

/// A disk with one slice, at `start`, of this type.
fn disk(slice: &[u8], start: u32, kind: u8, more: u32) -> Result<Vec<u8>> {
    let start_at = usize::try_from(start)? * 512;
    let mut bytes = vec![0; start_at];
    bytes[446] = 0x80;
    bytes[450] = kind;
    bytes[454..458].copy_from_slice(&start.to_le_bytes());
    bytes[458..462].copy_from_slice(&u32::try_from(slice.len() / 512)?.to_le_bytes());
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    bytes.extend(slice);
    bytes.resize(bytes.len() + usize::try_from(more)? * 512, 0x77);
    Ok(bytes)
}

/// The files of both filesystems of a slice.
fn files(slice: &[u8], first: u32) -> Result<(Tree, Tree)> {
    let at = |sector: u32| usize::try_from(sector).map(|sector| sector * 512);
    let first_end = at(first + FIRST)?;
    let second = at(first + FIRST + SWAP)?;
    let trees = (
        read(&slice[at(first)?..first_end])?.tree,
        read(&slice[second..second + at(SECOND)?])?.tree,
    );
    ensure!(trees.0.len() > 5 && trees.1.len() > 5, "few files");
    Ok(trees)
}

/// What must be kept of a slice: all but what the filesystems do not use.
fn expected(slice: &[u8], first: u32) -> Result<SectorSet> {
    let mut kept = SectorSet::from_range(range(0, SLICE.into()));
    for (start, len) in [(first, FIRST), (first + FIRST + SWAP, SECOND)] {
        let (from, to) = bytes_of(range(start.into(), u64::from(start + len)));
        let contents = read(&slice[from..to])?;
        let free = (0..contents.fragments).filter(|at| !contents.used.contains(at));
        let free: SectorSet = free
            .map(|at| {
                u64::try_from(at).map(|at| range(u64::from(start) + at, u64::from(start) + at + 1))
            })
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .collect();
        kept = kept.difference(&free);
    }
    // Boot blocks and label, also where a filesystem begins there.
    Ok(kept.union(&SectorSet::from_range(range(0, 16))))
}

fn known(found: Option<Filesystem>) -> Result<(Filesystem, SectorSet)> {
    let found = found.context("nothing known")?;
    match found.allocation.clone() {
        Allocation::Known(set) => Ok((found, set)),
        other => bail!("no map: {other:?}"),
    }
}

fn prove_slice(slice: &[u8], first: u32) -> Result<Filesystem> {
    let (found, set) = known(probe(&MemoryDisk::new(slice.to_vec()))?)?;
    ensure!(found.name == "bsd-disklabel" && found.size.get() == u64::from(SLICE), "{found:?}");
    let told: Vec<_> =
        found.volumes.iter().map(|v| (v.name.as_str(), v.filesystem, v.kind.as_str())).collect();
    ensure!(
        told == [("a", Some("ufs2"), "4.2BSD"), ("b", None, "swap"), ("d", Some("ufs1"), "4.2BSD")],
        "{told:?}"
    );
    ensure!(set == expected(slice, first)?, "not the map that the files make");
    Ok(found)
}

struct Variant {
    name: &'static str,
    label: Vec<u8>,
    start: u32,
    first: u32,
    /// The kind of relocation that a slice image needs.
    relocation: Option<u32>,
}

/// Slices as systems label them. The last OpenBSD one names a partition elsewhere on the disk.
fn variants() -> Vec<Variant> {
    let with = |label: &[Entry], c: Entry| [label, &[c]].concat();
    let (start, disk_len) = (64, 20_000);
    let i = entry('i', 16_000, 1_000, 8);
    vec![
        Variant {
            name: "FreeBSD, relative, from sector 16",
            label: freebsd(&with(&entries(0, 16), entry('c', 0, SLICE, 0))),
            start: 63,
            first: 16,
            relocation: None,
        },
        Variant {
            name: "FreeBSD, relative, from sector 0",
            label: freebsd(&with(&entries(0, 0), entry('c', 0, SLICE, 0))),
            start: 63,
            first: 0,
            relocation: None,
        },
        Variant {
            name: "FreeBSD, absolute",
            label: freebsd(&with(&entries(63, 0), entry('c', 63, SLICE, 0))),
            start: 63,
            first: 0,
            relocation: Some(1),
        },
        Variant {
            name: "FreeBSD, absolute, with a gap",
            label: freebsd(&with(&entries(63, 200), entry('c', 63, SLICE, 0))),
            start: 63,
            first: 200,
            relocation: Some(1),
        },
        Variant {
            name: "OpenBSD",
            label: openbsd(
                &with(&entries(start, 0), entry('c', 0, disk_len, 0)),
                start,
                start + SLICE,
            ),
            start,
            first: 0,
            relocation: Some(2),
        },
        Variant {
            name: "OpenBSD, before it had bounds",
            label: openbsd(
                &[&entries(start, 0)[..], &[entry('c', 0, disk_len, 0), i]].concat(),
                0,
                0,
            ),
            start,
            first: 0,
            relocation: Some(2),
        },
    ]
}

#[test]
fn labels_in_slices() -> Result<()> {
    for variant in variants() {
        let slice = slice(&variant.label, variant.first)?;
        let found = prove_slice(&slice, variant.first).context(variant.name)?;
        ensure!(variant.relocation.is_none() == found.features.is_empty(), "{found:?}");
        // In a disk, where everything else must not be needed.
        let mut bytes = disk(&slice, variant.start, 0xA5, 900)?;
        let plan = plan_of(&bytes, None)?;
        ensure!(
            plan.items.len() == 1
                && plan.items[0].kept.get() == expected(&slice, variant.first)?.count().get()
        );
        let before = files(&slice, variant.first)?;
        let all = range(0, u64::try_from(bytes.len() / 512)?);
        for range in plan.ranges.complement(all).ranges() {
            let (from, to) = bytes_of(*range);
            bytes[from..to].fill(0xB5);
        }
        let (from, to) = bytes_of(range(variant.start.into(), u64::from(variant.start + SLICE)));
        ensure!(files(&bytes[from..to], variant.first)? == before, "{}", variant.name);
    }
    Ok(())
}

/// The whole disk is labelled, with and without something like a table of partitions before it.
#[test]
fn bare_disk() -> Result<()> {
    let label = freebsd(&[&entries(0, 16)[..], &[entry('c', 0, SLICE, 0)]].concat());
    let mut bytes = slice(&label, 16)?;
    for table in [false, true] {
        bytes[440..510].fill(0);
        if table {
            // What FreeBSD's boot0 on a "dangerously dedicated" disk has.
            bytes[494..510].copy_from_slice(&[
                0x80, 0, 1, 0, 0xA5, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0, 0x50, 0xC3, 0, 0,
            ]);
        }
        let plan = plan_of(&bytes, None)?;
        ensure!(plan.items.len() == 1 && plan.items[0].partition.is_none(), "{:?}", plan.items);
        let kept = expected(&bytes, 16)?.count();
        ensure!(plan.items[0].kept == kept, "{} kept, not {kept}", plan.items[0].kept);
    }
    Ok(())
}

#[test]
fn swap_is_left_out_on_request() -> Result<()> {
    let variant = &variants()[0];
    let slice = slice(&variant.label, variant.first)?;
    let options = ProbeOptions { leave_out_page_files: true, ..ProbeOptions::default() };
    let (_, set) = known(probe_with(&MemoryDisk::new(slice.clone()), options)?)?;
    let kept = expected(&slice, variant.first)?;
    ensure!(kept.difference(&set).count().get() == u64::from(SWAP), "the swap partition is free");
    Ok(())
}

/// Contradictions keep everything.
#[test]
fn what_does_not_fit_is_kept() -> Result<()> {
    let c = entry('c', 0, SLICE, 0);
    let [a, b, d] = entries(0, 16);
    let longer = Entry { size: SECOND + 5_000, ..d };
    let earlier = Entry { offset: b.offset - 1, ..b };
    let beyond = entry('e', SLICE + 9, 50, 7);
    let nothing = entry('e', 5, 0, 7);
    let doubtful = [
        ("not inside", freebsd(&[a, b, longer, c])),
        ("not inside", freebsd(&[a, b, d, beyond, c])),
        ("overlap", freebsd(&[a, earlier, d, c])),
    ];
    for (why, label) in doubtful {
        match probe(&MemoryDisk::new(slice(&label, 16)?))?.context("label")?.allocation {
            Allocation::Unsupported { reason } if reason.contains(why) => {}
            other => bail!("{why:?} expected: {other:?}"),
        }
    }
    let sound = freebsd(&[a, b, d, nothing, c]);
    prove_slice(&slice(&sound, 16)?, 16)?;
    let mut bytes = slice(&sound, 16)?;
    let seen = |bytes: &[u8]| probe(&MemoryDisk::new(bytes.to_vec()));
    // Any one bit of the label.
    for at in 512..512 + 148 + 128 {
        bytes[at] ^= 1 << (at % 8);
        match seen(&bytes)?.map(|found| found.allocation) {
            None | Some(Allocation::Corrupt(_)) => {}
            other => bail!("byte {at}: {other:?}"),
        }
        bytes[at] ^= 1 << (at % 8);
    }
    // A label inside a partition is not followed, and no reason to lose the others.
    let (from, _) = bytes_of(range(u64::from(d.offset), u64::from(d.offset) + 1));
    let mut nested = bytes.clone();
    nested[from + 512..from + 1024].copy_from_slice(&sound);
    let (found, set) = known(seen(&nested)?)?;
    ensure!(found.volumes[2].doubt().is_some(), "{:?}", found.volumes[2]);
    ensure!(range_is_kept(&set, d), "what holds another label is kept");
    // An unclean filesystem is kept, the other is not.
    let mut unclean = bytes.clone();
    unclean[from + 8192 + 209] = 0;
    let (found, set) = known(seen(&unclean)?)?;
    ensure!(found.volumes[2].doubt().is_some_and(|why| why.contains("unmounted")));
    ensure!(range_is_kept(&set, d) && !range_is_kept(&set, a));
    // A filesystem that is longer than its partition.
    let shorter = freebsd(&[a, b, Entry { size: SECOND - 8, ..d }, c]);
    let (found, set) = known(seen(&slice(&shorter, 16)?)?)?;
    ensure!(found.volumes[2].doubt().is_some() && range_is_kept(&set, d));
    Ok(())
}

/// A filesystem that began at the start of the slice before it was labelled: nobody knows.
#[test]
fn left_over_filesystem() -> Result<()> {
    let label = freebsd(&[entry('a', 8_000, SECOND, 7), entry('c', 0, SLICE, 0)]);
    let mut bytes = vec![0; usize::try_from(SLICE)? * 512];
    let old = volume(SHAPE, 3);
    bytes[..old.len()].copy_from_slice(&old);
    bytes[512..1024].copy_from_slice(&label);
    let found = probe(&MemoryDisk::new(bytes))?.context("both")?;
    ensure!(found.name == "ambiguous", "{found:?}");
    Ok(())
}

fn range_is_kept(set: &SectorSet, entry: Entry) -> bool {
    let range = range(entry.offset.into(), u64::from(entry.offset + entry.size));
    SectorSet::from_range(range).difference(set).is_empty()
}

fn plan_of(bytes: &[u8], slice: Option<u32>) -> Result<SavePlan> {
    let options = PlanOptions { slice, gap_min: Default::default(), ..PlanOptions::default() };
    Ok(plan::plan(&MemoryDisk::new(bytes.to_vec()), &options)?)
}

/// Saves slice 1 as imagezip does.
fn save_slice(bytes: &[u8], version: Version, codec: Codec) -> Result<Vec<u8>> {
    let plan = plan_of(bytes, Some(1))?;
    let disk = MemoryDisk::new(bytes.to_vec());
    let window = Window::new(&disk, plan.window);
    let mut fields = fields(version, codec, plan.window.byte_len());
    fields.slice = true;
    let form = label_form(&window, plan.window, ProbeOptions::default())?;
    let patched;
    let source: &dyn ReadDisk = match form {
        LabelForm::Relative(label) => {
            ensure!(label.warning.is_none(), "{label:?}");
            fields.relocations.push(label.relocation);
            patched = Patched::new(&window, label.at, label.bytes);
            &patched
        }
        LabelForm::AsItIs => &window,
        LabelForm::CannotFollow(why) => bail!(why),
    };
    Ok(save_to_vec(source, plan.ranges.ranges(), fields, &options(2))?.0)
}

fn load(image: &[u8], sectors: u32, partition: SectorRange) -> Result<Vec<u8>> {
    let target = MemoryDisk::new(vec![0xE1; usize::try_from(sectors)? * 512]);
    let options = TargetOptions {
        partition: Some(partition),
        free: FreeSpace::Leave,
        blank: false,
        read_back: false,
    };
    let loaded = load_onto(image, From::File, &target, options, 2)?;
    ensure!(loaded.not_applied.is_empty(), "{:?}", loaded.not_applied);
    Ok(content(&target))
}

#[test]
fn slices_move() -> Result<()> {
    for variant in variants() {
        let slice = slice(&variant.label, variant.first)?;
        let bytes = disk(&slice, variant.start, 0xA5, 900)?;
        let before = files(&slice, variant.first)?;
        for (version, codec) in
            [(Version::Native, Codec::Zstd), (Version::V5, Codec::Zlib), (Version::V3, Codec::Zlib)]
        {
            let image = save_slice(&bytes, version, codec).context(variant.name)?;
            let mut kinds = Vec::new();
            let mut set = ImageSet::new();
            for chunk in image.chunks(1 << 20) {
                let header = imagezip::ndz::ChunkHeader::parse(chunk, u64::try_from(kinds.len())?)?;
                kinds.extend(header.relocations.iter().map(|r| r.kind));
                set.push(&header)?;
            }
            ensure!(kinds == Vec::from_iter(variant.relocation), "{}: {kinds:?}", variant.name);

            // To the same place: the same bytes.
            let here = range(variant.start.into(), u64::from(variant.start + SLICE));
            let same = load(&image, 20_000, here)?;
            let (from, to) = bytes_of(here);
            for range in expected(&slice, variant.first)?.ranges() {
                let (start, end) = bytes_of(*range);
                ensure!(
                    same[from + start..from + end] == slice[start..end],
                    "{} {version}: {range} changed",
                    variant.name
                );
            }
            ensure!(files(&same[from..to], variant.first)? == before, "{}", variant.name);

            // To another place of a larger disk, in a longer slice.
            let there = range(40_000, 40_000 + u64::from(SLICE) + 5_000);
            let moved = load(&image, 70_000, there)?;
            let (from, to) = bytes_of(there);
            let moved = &moved[from..to];
            ensure!(files(moved, variant.first)? == before, "{}: files differ", variant.name);
            let label = &moved[512..1024];
            ensure!(checksum(label) == 0, "checksum");
            let by = if variant.relocation.is_some() { 40_000 - variant.start } else { 0 };
            for letter in ['a', 'b', 'd'] {
                let ((old, len), now) = (place(&variant.label, letter), place(label, letter));
                ensure!(now == (old + by, len), "{} {version}, {letter}: {now:?}", variant.name);
            }
            let c = place(label, 'c');
            let c_expected = match variant.relocation {
                Some(1) => (40_000, SLICE + 5_000),
                _ => place(&variant.label, 'c'),
            };
            ensure!(c == c_expected, "{}: c at {c:?}", variant.name);
            // And what stands there now is understood again.
            let found = probe(&MemoryDisk::new(moved.to_vec()))?;
            let (found, _) = known(found).context(variant.name)?;
            ensure!(found.volumes.iter().filter(|v| v.filesystem.is_some()).count() == 2);
        }
    }
    Ok(())
}

/// A label before many zeros: the chunk must not inflate to more than a loader holds.
#[test]
fn label_before_zeros() -> Result<()> {
    let (long, first) = (46_000, 40_000);
    let label = freebsd(&[entry('a', 63 + first, FIRST, 7), entry('c', 63, long, 0)]);
    let mut slice = vec![0; usize::try_from(long)? * 512];
    slice[512..1024].copy_from_slice(&label);
    let at = usize::try_from(first)? * 512;
    slice[at..at + usize::try_from(FIRST)? * 512].copy_from_slice(&volume(SHAPE, 1));
    let bytes = disk(&slice, 63, 0xA5, 900)?;
    for (version, codec) in
        [(Version::Native, Codec::Zstd), (Version::V5, Codec::Zlib), (Version::V3, Codec::Zlib)]
    {
        let image = save_slice(&bytes, version, codec)?;
        let moved = load(&image, 50_000, range(1_000, 1_000 + u64::from(long)))?;
        let label = &moved[1_001 * 512..1_002 * 512];
        ensure!(place(label, 'a').0 == 1_000 + first, "{version}: {:?}", place(label, 'a'));
        ensure!(place(label, 'c') == (1_000, long) && checksum(label) == 0, "{version}");
    }
    Ok(())
}

/// Labels that a loader could not adjust rightly are stored as they are, and it is said.
#[test]
fn labels_that_cannot_follow() -> Result<()> {
    // c is shorter than the slice: a loader would make it longer.
    let short = freebsd(&[&entries(63, 0)[..], &[entry('c', 63, SLICE - 1, 0)]].concat());
    let slice_bytes = slice(&short, 0)?;
    let disk = MemoryDisk::new(slice_bytes.clone());
    let window = Window::new(&disk, range(0, SLICE.into()));
    let form = |start: u64| {
        label_form(&window, range(start, start + u64::from(SLICE)), ProbeOptions::default())
    };
    ensure!(matches!(form(63)?, LabelForm::CannotFollow(_)), "{:?}", form(63)?);
    ensure!(matches!(form(64)?, LabelForm::CannotFollow(_)), "{:?}", form(64)?);
    // OpenBSD's partitions from i on stay as they are.
    let [a, b, d] = entries(64, 0);
    let many = [a, b, Entry { letter: 'k', ..d }, entry('c', 0, 20_000, 0)];
    let bytes = slice(&openbsd(&many, 64, 64 + SLICE), 0)?;
    let disk = MemoryDisk::new(bytes);
    let form = label_form(&disk, range(64, 64 + u64::from(SLICE)), ProbeOptions::default())?;
    let LabelForm::Relative(label) = form else { bail!("{form:?}") };
    ensure!(label.warning.is_some_and(|warning| warning.contains("disklabel -e")));
    ensure!(place(&label.bytes, 'a').0 == 0 && place(&label.bytes, 'k').0 == d.offset);
    // Nothing to adjust without a sound label.
    let mut broken = slice(&short, 0)?;
    seal(&mut broken[512..1024]);
    broken[520] ^= 1;
    let disk = MemoryDisk::new(broken);
    let form = label_form(&disk, range(63, 63 + u64::from(SLICE)), ProbeOptions::default())?;
    ensure!(form == LabelForm::AsItIs, "{form:?}");
    Ok(())
}
