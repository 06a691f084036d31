//! LVM2 against lvm2's own tools, which make, change and check physical volumes in files. No volume
//! is ever activated: this needs loop devices, but no device mapper. What a volume holds is put
//! into it, and taken out again, through the extents that `lvs` and `pvs` tell.

mod damage;
mod kept;
mod poison;

use anyhow::{Context, Result, ensure};
use imagezip::fs::{Allocation, Filesystem, Volume, VolumeVerdict};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::content::{Tree, populate, read_tree};
use tests::image_file;
use tests::mount::Loop;
use tests::tools::{run, text};

/// Debian packages lvm2, e2fsprogs, xfsprogs, util-linux.
const TOOLS: [&str; 8] =
    ["lvm", "losetup", "mkfs.ext4", "e2fsck", "debugfs", "mkfs.xfs", "xfs_repair", "mount"];

/// A directory for one test, removed with everything in it at the end.
fn workspace() -> Result<TempDir> {
    tempfile::Builder::new().prefix("imagezip-lvm-").tempdir().context("temporary directory")
}

/// lvm2 with physical volumes in files, attached for as long as this lives, so that nothing of them
/// is left in a cache.
struct Tools {
    loops: Vec<Loop>,
    config: String,
}

impl Tools {
    fn new(images: &[&Path]) -> Result<Self> {
        let loops = images.iter().map(|image| Loop::new(image)).collect::<Result<Vec<_>>>()?;
        let accept: String =
            loops.iter().map(|one| format!("\"a|^{}$|\",", text(one.device()))).collect();
        let config = format!(
            "devices {{ scan_lvs=0 use_devicesfile=0 hints=\"none\" \
             filter=[{accept}\"r|.*|\"] }} \
             activation {{ udev_sync=0 udev_rules=0 monitoring=0 }} \
             backup {{ backup=0 archive=0 }} \
             global {{ event_activation=0 use_lvmpolld=0 notify_dbus=0 }}"
        );
        Ok(Self { loops, config })
    }

    /// Runs a command. In its words `{0}` is the device of the first file, and so on.
    fn run(&self, command: &str) -> Result<String> {
        let mut words: Vec<String> = command.split_whitespace().map(String::from).collect();
        for word in &mut words {
            for (number, one) in self.loops.iter().enumerate() {
                *word = word.replace(&format!("{{{number}}}"), text(one.device()));
            }
        }
        words.extend(["--config".into(), self.config.clone()]);
        words.extend(["--driverloaded".into(), "n".into()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run("lvm", &words)
    }

    /// The fields that a report has in its lines, without warnings.
    fn report(&self, command: &str) -> Result<Vec<Vec<String>>> {
        let said =
            self.run(&format!("{command} --noheadings --units s --nosuffix --separator ;"))?;
        let lines = said.lines().filter(|line| !line.contains("WARNING"));
        let fields = |line: &str| line.trim().split(';').map(String::from).collect();
        Ok(lines.filter(|line| !line.contains("leaked")).map(fields).collect())
    }

    /// The file behind a device.
    fn physical(&self, device: &str) -> Result<usize> {
        let found = self.loops.iter().position(|one| text(one.device()) == device);
        found.with_context(|| format!("{device} is none of ours"))
    }
}

/// Runs commands of lvm2 on physical volumes in files; see [`Tools::run`].
fn lvm(images: &[&Path], commands: &[&str]) -> Result<String> {
    let tools = Tools::new(images)?;
    commands.iter().map(|command| tools.run(command)).collect()
}

/// A physical volume in a file of so many MiB.
fn blank(dir: &Path, name: &str, mib: u64) -> Result<PathBuf> {
    let image = dir.join(name);
    image_file::create(&image, mib << 20)?;
    Ok(image)
}

/// Where the sectors of a logical volume are: the number of the physical volume, and the sector.
type Sectors = Vec<(usize, u64)>;

/// A run of extents of a physical volume: which one, the first, the one behind the last.
type Extents = (usize, u64, u64);

/// The sectors of a logical volume, one by one, as the tools tell them.
fn sectors_of(images: &[&Path], volume: &str) -> Result<Sectors> {
    let tools = Tools::new(images)?;
    let mut starts = vec![0; images.len()];
    for line in tools.report("pvs -o pv_name,pe_start")? {
        let [device, start] = line.as_slice() else { anyhow::bail!("{line:?}") };
        starts[tools.physical(device)?] = start.parse::<u64>()?;
    }
    let extent = tools.report("vgs -o vg_extent_size")?;
    let extent: u64 = extent.first().and_then(|line| line.first()).context("extent")?.parse()?;
    let mut segments = Vec::new();
    let fields = "seg_start,stripes,stripe_size,seg_pe_ranges";
    for line in tools.report(&format!("lvs --segments -o {fields} {volume}"))? {
        let [start, stripes, stripe, ranges] = line.as_slice() else {
            anyhow::bail!("{line:?}");
        };
        let mut areas: Vec<Extents> = Vec::new();
        for range in ranges.split_whitespace() {
            let (device, extents) = range.rsplit_once(':').context("range")?;
            let (from, to) = extents.split_once('-').context("extents")?;
            areas.push((tools.physical(device)?, from.parse()?, to.parse::<u64>()? + 1));
        }
        ensure!(areas.len() == stripes.parse::<usize>()?, "{line:?}");
        segments.push((start.parse::<u64>()?, stripe.parse::<u64>()?, areas));
    }
    segments.sort();
    let mut sectors = Sectors::new();
    for (start, stripe, areas) in segments {
        ensure!(start == u64::try_from(sectors.len())?, "segments in order");
        let count = u64::try_from(areas.len())?;
        let all: u64 = areas.iter().map(|(_, from, to)| (to - from) * extent).sum();
        let stripe = if count == 1 { all } else { stripe };
        for sector in 0..all {
            let (chunk, within) = (sector / stripe, sector % stripe);
            let (physical, first, _) = areas[usize::try_from(chunk % count)?];
            let place = starts[physical] + first * extent + chunk / count * stripe + within;
            sectors.push((physical, place));
        }
    }
    Ok(sectors)
}

/// Puts a file into a logical volume.
fn put(images: &[&Path], sectors: &Sectors, content: &Path) -> Result<()> {
    let bytes = std::fs::read(content)?;
    ensure!(bytes.len() == sectors.len() * 512, "{} bytes for {}", bytes.len(), sectors.len());
    let open = |image: &&Path| Ok(OpenOptions::new().write(true).open(image)?);
    let files = images.iter().map(open).collect::<Result<Vec<_>>>()?;
    for (bytes, (physical, sector)) in bytes.chunks(512).zip(sectors) {
        files.get(*physical).context("volume")?.write_all_at(bytes, sector * 512)?;
    }
    Ok(())
}

/// Takes the content of a logical volume out into a file.
fn take(images: &[&Path], sectors: &Sectors, to: &Path) -> Result<()> {
    let files = images.iter().map(|i| Ok(File::open(i)?)).collect::<Result<Vec<_>>>()?;
    let mut bytes = vec![0; sectors.len() * 512];
    for (bytes, (physical, sector)) in bytes.chunks_mut(512).zip(sectors) {
        files.get(*physical).context("volume")?.read_exact_at(bytes, sector * 512)?;
    }
    Ok(std::fs::write(to, bytes)?)
}

/// An ext4 or XFS with files in it.
fn filesystem(dir: &Path, kind: &str, bytes: u64, seed: u64) -> Result<PathBuf> {
    let image = dir.join(format!("{kind}-{seed}"));
    image_file::create(&image, bytes)?;
    let source = dir.join(format!("source-{seed}"));
    populate(&source, seed, 20)?;
    match kind {
        "ext4" => {
            run("mkfs.ext4", &["-q", "-F", "-d", text(&source), text(&image)])?;
        }
        _ => {
            run("mkfs.xfs", &["-q", "-f", "--unsupported", text(&image)])?;
            let mount = tests::mount::Mount::new(&image, &dir.join("mounted"), "")?;
            run("cp", &["-r", text(&source), text(mount.point())])?;
            mount.unmount()?;
        }
    }
    std::fs::remove_dir_all(source)?;
    Ok(image)
}

/// Checks a filesystem in a file, and reads its files.
fn check(dir: &Path, kind: &str, image: &Path) -> Result<Tree> {
    let out = dir.join("files");
    std::fs::create_dir_all(&out)?;
    let tree = if kind == "ext4" {
        run("e2fsck", &["-fn", text(image)])?;
        run("debugfs", &["-R", &format!("rdump / {}", text(&out)), text(image)])?;
        read_tree(&out)?
    } else {
        run("xfs_repair", &["-n", "-f", text(image)])?;
        let mount = tests::mount::Mount::new(image, &out, "ro,norecovery,nouuid")?;
        let tree = read_tree(mount.point())?;
        mount.unmount()?;
        tree
    };
    std::fs::remove_dir_all(&out)?;
    ensure!(tree.len() > 20, "{} files", tree.len());
    Ok(tree)
}

/// The line about a volume.
fn volume<'a>(found: &'a Filesystem, name: &str) -> Result<&'a Volume> {
    let volume = found.volumes.iter().find(|volume| volume.name == name);
    volume.with_context(|| format!("{name} in {:?}: {:?}", found.volumes, found.allocation))
}

/// Asserts that a volume is kept whole for a reason with these words.
fn ensure_whole(found: &Filesystem, name: &str, words: &str) -> Result<()> {
    let volume = volume(found, name)?;
    let is_so = matches!(&volume.verdict, VolumeVerdict::WholeDoubtful(r) if r.contains(words));
    ensure!(is_so && volume.kept == volume.size, "{name}, {words}: {volume:?}");
    Ok(())
}

/// Asserts that nothing is left out, for a reason with these words.
fn ensure_all(found: &Filesystem, words: &str) -> Result<()> {
    let reason = match &found.allocation {
        Allocation::Known(_) => anyhow::bail!("{words}: a map of {:?}", found.volumes),
        Allocation::Unsupported { reason } => reason.clone(),
        Allocation::Corrupt(corrupt) => corrupt.to_string(),
    };
    ensure!(reason.contains(words), "expected '{words}': {reason}");
    Ok(())
}

/// The checksum of labels and metadata, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = 0xF597_A6CFu32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    crc
}

/// The first metadata area of a physical volume: header at 4096.
struct Area {
    header: Vec<u8>,
    size: u64,
    text_at: u64,
    text_len: u64,
}

fn le64(bytes: &[u8], at: usize) -> Result<u64> {
    Ok(u64::from_le_bytes(bytes.get(at..at + 8).context("short")?.try_into()?))
}

impl Area {
    fn of(image: &Path) -> Result<Self> {
        let mut header = vec![0; 512];
        File::open(image)?.read_exact_at(&mut header, 4096)?;
        let (size, text_at) = (le64(&header, 32)?, le64(&header, 40)?);
        let text_len = le64(&header, 48)?;
        Ok(Self { header, size, text_at, text_len })
    }

    /// The text goes around the end of the ring.
    fn is_wrapped(&self) -> bool {
        self.text_at + self.text_len > self.size
    }

    /// Writes the header with this place and text, with sound checksums.
    fn write(mut self, image: &Path, text: &[u8]) -> Result<()> {
        let file = OpenOptions::new().write(true).open(image)?;
        self.header[40..48].copy_from_slice(&512u64.to_le_bytes());
        self.header[48..56].copy_from_slice(&u64::try_from(text.len())?.to_le_bytes());
        self.header[56..60].copy_from_slice(&crc(text).to_le_bytes());
        file.write_all_at(text, 4096 + 512)?;
        self.write_header(image)
    }

    fn write_header(mut self, image: &Path) -> Result<()> {
        let sum = crc(&self.header[4..]);
        self.header[..4].copy_from_slice(&sum.to_le_bytes());
        OpenOptions::new().write(true).open(image)?.write_all_at(&self.header, 4096)?;
        Ok(())
    }
}

/// Changes the metadata as an editor would, with sound checksums.
fn edit(image: &Path, change: &dyn Fn(&str) -> String) -> Result<()> {
    let area = Area::of(image)?;
    ensure!(!area.is_wrapped(), "not for texts in two parts");
    let mut text = vec![0; usize::try_from(area.text_len)?];
    File::open(image)?.read_exact_at(&mut text, 4096 + area.text_at)?;
    let before = String::from_utf8(text)?;
    let after = change(&before);
    ensure!(before != after, "nothing changed in {before}");
    area.write(image, after.as_bytes())
}
