//! Partition tables against the tools that make them: sfdisk, sgdisk, partx and mkfs.

use anyhow::{Context, Result, bail, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::partition::gpt::{Relocation, RelocationError};
use imagezip::partition::{
    Patch, Problem, Scheme, Table, Warning, detect_sector_size, read, set_type,
};
use imagezip::units::SectorCount;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::tools::{find, ready};

const MIB: u64 = 1 << 20;

/// Runs a tool with this input; what it printed.
fn run(tool: &str, args: &[&str], input: &str) -> Result<String> {
    let program = find(tool).with_context(|| format!("{tool} is not installed"))?;
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no stdin")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if !output.status.success() {
        bail!("{tool} {args:?} ({}):\n{text}", output.status);
    }
    Ok(text)
}

/// A disk in a file.
struct Image {
    _dir: TempDir,
    path: PathBuf,
    sector_bytes: u32,
}

impl Image {
    fn new(bytes: u64) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        fs::File::create(&path)?.set_len(bytes)?;
        Ok(Self { _dir: dir, path, sector_bytes: 512 })
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("paths in tests are UTF-8")
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        Ok(fs::read(&self.path)?)
    }

    fn disk(&self) -> Result<MemoryDisk> {
        Ok(MemoryDisk::new(self.bytes()?).with_logical_sector_bytes(self.sector_bytes))
    }

    fn table(&self) -> Result<Table> {
        Ok(read(&self.disk()?)?)
    }

    fn write(&self, patches: &[Patch]) -> Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        for patch in patches {
            file.write_all_at(&patch.bytes, patch.offset)?;
        }
        Ok(())
    }

    fn damage(&self, offset: u64) -> Result<()> {
        self.write(&[Patch { offset, bytes: vec![0x5A; 16] }])
    }
}

/// A loop device over an image, for tools that ask the device for its sector size.
struct LoopDevice {
    path: String,
}

impl LoopDevice {
    fn new(image: &Image) -> Result<Self> {
        let size = image.sector_bytes.to_string();
        let args = ["-f", "--show", "--sector-size", &size, image.path()];
        Ok(Self { path: run("losetup", &args, "")?.trim().to_owned() })
    }

    /// Number, start and length in 512-byte sectors of the partitions partx would tell the kernel.
    fn partitions(&self) -> Result<Vec<(u32, u64, u64)>> {
        let text = run("partx", &["-g", "-r", "-o", "NR,START,SECTORS", &self.path], "")?;
        let line = |line: &str| {
            let mut fields = line.split_whitespace();
            let mut next = || fields.next().context("three fields").and_then(|f| Ok(f.parse()?));
            Ok((u32::try_from(next()?)?, next()?, next()?))
        };
        text.lines().map(line).collect()
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Err(error) = run("losetup", &["-d", &self.path], "") {
            eprintln!("{error:#}");
        }
    }
}

/// Number, start and length in 512-byte sectors.
fn places(table: &Table) -> Vec<(u32, u64, u64)> {
    let place = |p: &imagezip::partition::Partition| {
        (p.number, p.range.start().get(), p.range.count().get())
    };
    table.partitions.iter().map(place).collect()
}

/// The partitions sfdisk sees, as JSON, by number.
fn sfdisk(path: &str) -> Result<Vec<(u32, Value)>> {
    let json: Value = serde_json::from_str(&run("sfdisk", &["-J", path], "")?)?;
    let partitions = json["partitiontable"]["partitions"].as_array().cloned().unwrap_or_default();
    let numbered = |p: Value| {
        let node = p["node"].as_str().unwrap_or_default();
        let number = node.trim_start_matches(path).trim_start_matches('p').parse();
        Ok((number.with_context(|| format!("node {node}"))?, p))
    };
    partitions.into_iter().map(numbered).collect()
}

fn assert_sfdisk_agrees(table: &Table, path: &str) -> Result<()> {
    let each = u64::from(table.lba_size.bytes() / 512);
    let mut seen = 0;
    for (number, json) in sfdisk(path)? {
        let kind = json["type"].as_str().unwrap_or_default().to_lowercase();
        let number_of = |name: &str| json[name].as_u64().unwrap_or_default() * each;
        if let Some(container) = table.container(number) {
            ensure!(container.declared.start().get() == number_of("start"));
            ensure!(container.declared.count().get() == number_of("size"));
            continue;
        }
        let p = table.partition(number).with_context(|| format!("partition {number}"))?;
        ensure!(p.range.start().get() == number_of("start"), "{number}: {p:?} {json}");
        ensure!(p.range.count().get() == number_of("size"), "{number}: {p:?} {json}");
        ensure!(Ok(p.kind) == kind.parse(), "{number}: {p:?} {json}");
        ensure!(p.name.as_deref() == json["name"].as_str(), "{number}: {p:?} {json}");
        let uuid = json["uuid"].as_str().map(str::to_lowercase);
        ensure!(p.guid.map(|guid| guid.to_string()) == uuid, "{number}: {p:?} {json}");
        seen += 1;
    }
    ensure!(seen == table.partitions.len(), "sfdisk sees {seen}, we {:?}", places(table));
    Ok(())
}

/// `sgdisk -v` on a file or device.
fn verify(path: &str) -> Result<()> {
    let text = run("sgdisk", &["-v", path], "")?;
    ensure!(text.contains("No problems found"), "{text}");
    Ok(())
}

fn assert_clean(table: &Table) {
    assert_eq!((&table.warnings, &table.problem), (&vec![], &None));
}

/// Two primaries, an extended partition, and logical ones not in disk order, some deleted again.
fn many_logicals(device: &str) -> Result<()> {
    let mut script = "label: dos\nsize=2M, bootable\nsize=2M, type=7\ntype=f\n".to_owned();
    for place in [3, 1, 2, 19, 9, 7, 18, 8, 5, 12, 14, 13, 11, 4, 6] {
        let start = 20480 + place * 4096;
        let kind = if place % 2 == 0 { "83" } else { "82" };
        script += &format!("start={start}, size={}, type={kind}\n", 2000 + place);
    }
    run("sfdisk", &[device], &script)?;
    run("sfdisk", &["--delete", device, "6", "9", "14"], "")?;
    Ok(())
}

#[test]
fn logical_partitions_as_sfdisk_and_partx_see_them() -> Result<()> {
    if !ready("logical_partitions", &["sfdisk", "partx", "losetup"], true) {
        return Ok(());
    }
    for sector_bytes in [512, 4096] {
        let mut image = Image::new(96 * MIB)?;
        image.sector_bytes = sector_bytes;
        let device = LoopDevice::new(&image)?;
        if sector_bytes == 512 {
            many_logicals(&device.path)?;
        } else {
            let script = "label: dos\nsize=8M\ntype=5\nsize=8M\nsize=9M, type=82\nsize=10M\n";
            run("sfdisk", &[&device.path], script)?;
        }
        run("sync", &["-f", image.path()], "")?;
        let table = image.table()?;
        assert!(matches!(table.scheme, Scheme::Mbr { signature } if signature != 0));
        assert_clean(&table);
        assert_sfdisk_agrees(&table, &device.path)?;
        // For an extended partition partx shows a stub of two sectors.
        let mut seen = device.partitions()?;
        seen.retain(|(number, ..)| table.container(*number).is_none());
        assert_eq!(places(&table), seen);
        let records = table.partitions.iter().filter(|p| p.number > 4).count();
        assert!(table.metadata.count().get() > u64::try_from(records)?);
    }
    Ok(())
}

const GPT_SCRIPT: &str = "label: gpt\n\
    size=1M, type=21686148-6449-6E6F-744E-656564454649, name=\"grub\", attrs=\"LegacyBIOSBootable\"\n\
    size=4M, type=U, name=\"Système EFI ü\"\nsize=5M, type=L\nsize=3M, type=S, name=swap\n";

#[test]
fn a_gpt_as_sfdisk_made_it() -> Result<()> {
    if !ready("a_gpt_as_sfdisk_made_it", &["sfdisk"], false) {
        return Ok(());
    }
    let image = Image::new(24 * MIB)?;
    run("sfdisk", &[image.path()], GPT_SCRIPT)?;
    run("sfdisk", &["--delete", image.path(), "3"], "")?;
    let table = image.table()?;
    assert!(matches!(table.scheme, Scheme::Gpt { .. }));
    assert_clean(&table);
    assert_sfdisk_agrees(&table, image.path())?;
    assert_eq!(places(&table).len(), 3);
    assert!(table.partition(1).context("1")?.bootable);
    assert_eq!(table.partition(2).context("2")?.kind.to_string(), "EFI System");
    Ok(())
}

#[test]
fn broken_copies_are_replaced_by_sound_ones() -> Result<()> {
    if !ready("broken_copies", &["sfdisk"], false) {
        return Ok(());
    }
    let image = Image::new(24 * MIB)?;
    run("sfdisk", &[image.path()], GPT_SCRIPT)?;
    let sound = image.table()?;
    let bytes = image.bytes()?;
    let last = 24 * MIB - 512;
    for (offset, primary) in
        [(530, true), (1024, true), (last + 20, false), (last - 32 * 512, false)]
    {
        fs::write(&image.path, &bytes)?;
        image.damage(offset)?;
        let table = image.table()?;
        assert_eq!(table.partitions, sound.partitions);
        assert_eq!(table.metadata, sound.metadata);
        match table.warnings.as_slice() {
            [Warning::PrimaryGptBroken { .. }] => assert!(primary),
            [Warning::BackupGptBroken { .. }] => assert!(!primary),
            other => bail!("{other:?}"),
        }
    }
    fs::write(&image.path, &bytes)?;
    image.damage(530)?;
    image.damage(last)?;
    assert!(matches!(image.table()?.problem, Some(Problem::GptBroken { .. })));
    Ok(())
}

/// Restores `source` to a target of this size as a load would, and asks sgdisk.
fn relocate(source: &Image, target_bytes: u64) -> Result<Image> {
    let disk = source.disk()?;
    let target = SectorCount::whole_in_bytes(target_bytes).context("size")?;
    let plan = Relocation::plan(&disk, target)?;
    let mut bytes = source.bytes()?;
    for range in plan.obsolete.ranges() {
        let span = usize::try_from(range.byte_offset())?..usize::try_from(range.byte_end())?;
        bytes.get_mut(span).context("obsolete range")?.fill(0);
    }
    bytes.resize(usize::try_from(target_bytes)?, 0);
    let mut image = Image::new(0)?;
    image.sector_bytes = source.sector_bytes;
    fs::write(&image.path, &bytes)?;
    image.write(&plan.patches)?;
    let (before, after) = (source.table()?, image.table()?);
    ensure!(before.partitions == after.partitions, "{before:?}\n{after:?}");
    ensure!(after.problem.is_none(), "{after:?}");
    ensure!(before.scheme == after.scheme);
    if source.sector_bytes == 512 {
        verify(image.path())?;
        assert_sfdisk_agrees(&after, image.path())?;
    } else {
        let device = LoopDevice::new(&image)?;
        verify(&device.path)?;
        assert_sfdisk_agrees(&after, &device.path)?;
        ensure!(device.partitions()? == places(&after));
    }
    Ok(image)
}

#[test]
fn sgdisk_finds_no_problem_after_relocation() -> Result<()> {
    if !ready("relocation", &["sgdisk", "sfdisk"], false) {
        return Ok(());
    }
    for entries in ["128", "8", "56", "200", "1000"] {
        let image = Image::new(24 * MIB)?;
        let args =
            ["-S", entries, "-n", "1:2048:+4M", "-n", "2:0:+6M", "-c", "2:Daten", "-t", "2:8200"];
        run("sgdisk", &[args.as_slice(), &[image.path()]].concat(), "")?;
        assert_clean(&image.table()?);
        let bytes = image.bytes()?;
        for damage in [None, Some(530), Some(1024 + 130), Some(24 * MIB - 500)] {
            fs::write(&image.path, &bytes)?;
            damage.map_or(Ok(()), |offset| image.damage(offset))?;
            for target in [24 * MIB, 12 * MIB, 37 * MIB + 512] {
                relocate(&image, target)
                    .with_context(|| format!("{entries} entries, {damage:?}, {target} bytes"))?;
            }
        }
        // Back to where it came from, byte for byte.
        fs::write(&image.path, &bytes)?;
        let back = relocate(&relocate(&image, 37 * MIB)?, 24 * MIB)?;
        let first_mib = usize::try_from(MIB)?;
        assert_eq!(back.bytes()?.get(512..first_mib), bytes.get(512..first_mib));
        assert_eq!(back.bytes()?.get(23 * first_mib..), bytes.get(23 * first_mib..));
        let error = relocate(&image, 11 * MIB).err().context("11 MiB is too small")?;
        let error = error.downcast::<RelocationError>()?;
        assert!(matches!(&error, RelocationError::DoesNotFit(fit) if fit.number == 2), "{error}");
        assert!(error.to_string().contains("\"Daten\""), "{error}");
    }
    Ok(())
}

#[test]
fn a_hybrid_keeps_its_entries() -> Result<()> {
    if !ready("a_hybrid_keeps_its_entries", &["sgdisk", "sfdisk"], false) {
        return Ok(());
    }
    let image = Image::new(24 * MIB)?;
    let args = ["-n", "1:2048:+4M", "-n", "2:0:+6M", "-h", "1:2", image.path()];
    run("sgdisk", &args, "")?;
    let table = image.table()?;
    assert!(matches!(table.scheme, Scheme::HybridGpt { .. }));
    assert_eq!(
        (&table.warnings, &table.problem),
        (&vec![Warning::HybridMbr { entries: 2 }], &None)
    );
    for target in [12 * MIB, 40 * MIB] {
        let moved = relocate(&image, target)?;
        assert_eq!(moved.bytes()?.get(..512), image.bytes()?.get(..512));
        assert_eq!(moved.table()?.warnings, table.warnings);
    }
    Ok(())
}

#[test]
fn a_disk_of_4096_byte_sectors() -> Result<()> {
    if !ready("a_disk_of_4096_byte_sectors", &["sgdisk", "sfdisk", "partx", "losetup"], true) {
        return Ok(());
    }
    let mut image = Image::new(48 * MIB)?;
    image.sector_bytes = 4096;
    let device = LoopDevice::new(&image)?;
    let args = ["-S", "200", "-n", "1:256:+8M", "-n", "2:0:+9M", "-c", "2:zwei", &device.path];
    run("sgdisk", &args, "")?;
    drop(device);
    let table = image.table()?;
    assert_clean(&table);
    assert_eq!(places(&table).first(), Some(&(1, 2048, 16384)));
    let device = LoopDevice::new(&image)?;
    assert_sfdisk_agrees(&table, &device.path)?;
    assert_eq!(device.partitions()?, places(&table));
    drop(device);
    for target in [24 * MIB, 48 * MIB, 96 * MIB] {
        relocate(&image, target).with_context(|| format!("{target} bytes"))?;
    }
    // The same file without knowledge of its sector size.
    image.sector_bytes = 512;
    let problem = image.table()?.problem;
    assert_eq!(problem, Some(Problem::SectorSize { configured: 512, found: 4096 }));
    assert_eq!(detect_sector_size(&image.disk()?)?.map(|size| size.bytes()), Some(4096));
    Ok(())
}

#[test]
fn types_are_what_the_tools_see() -> Result<()> {
    if !ready("types_are_what_the_tools_see", &["sgdisk", "sfdisk"], false) {
        return Ok(());
    }
    let image = Image::new(96 * MIB)?;
    many_logicals(image.path())?;
    for number in [1, 5, 12, 16] {
        image.write(&set_type(&image.disk()?, number, "0xa6".parse()?)?)?;
        let kind = run("sfdisk", &["--part-type", image.path(), &number.to_string()], "")?;
        assert_eq!(kind.trim(), "a6");
    }
    let image = Image::new(24 * MIB)?;
    run("sfdisk", &[image.path()], GPT_SCRIPT)?;
    for kind in ["0xfd", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"] {
        image.write(&set_type(&image.disk()?, 3, kind.parse()?)?)?;
        verify(image.path())?;
        assert_clean(&image.table()?);
        assert_sfdisk_agrees(&image.table()?, image.path())?;
    }
    let kind = run("sfdisk", &["--part-type", image.path(), "3"], "")?;
    assert_eq!(kind.trim(), "C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
    Ok(())
}

#[test]
fn filesystems_on_bare_disks_are_not_tables() -> Result<()> {
    let makers: [(&str, &[&str]); 6] = [
        ("mkfs.fat", &["-F", "16"]),
        ("mkfs.fat", &["-F", "32", "--mbr=yes"]),
        ("mkfs.fat", &["-F", "12", "--mbr=no"]),
        ("mkfs.ntfs", &["-F", "-Q", "-q"]),
        ("mkfs.exfat", &[]),
        ("mkfs.ext4", &["-q", "-F"]),
    ];
    for (tool, args) in makers {
        if !ready(tool, &[tool], false) {
            continue;
        }
        let image = Image::new(40 * MIB)?;
        run(tool, &[args, &[image.path()]].concat(), "")?;
        let table = image.table()?;
        assert_eq!((table.scheme, &table.problem), (Scheme::None, &None), "{tool} {args:?}");
        assert_eq!(table.keep_end.byte_offset(), 40 * MIB);
    }
    Ok(())
}
