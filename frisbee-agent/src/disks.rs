//! The disks of this machine, from `/sys/block`.
//!
//! What it owns: which files of sysfs tell what. What it never does: open a disk, or choose one.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// sysfs counts in sectors of 512 bytes, whatever the disk's own are.
const SYSFS_SECTOR: u64 = 512;

/// Devices looked at, at most.
const DISKS_MAX: usize = 4096;

/// A file of sysfs has a page at most.
const ATTRIBUTE_BYTES_MAX: usize = 4096;

/// A disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disk {
    /// The kernel's name, such as `sda` or `cciss/c0d0`.
    pub name: String,
    /// Where it is opened.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Bytes of a logical sector.
    pub sector_bytes: u32,
    /// What its maker calls it.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its World Wide Name, as the kernel writes it: `naa.5000…`, `eui.…`, `nvme.…`.
    pub wwn: Option<String>,
    /// How it is attached: `sata`, `sas`, `nvme`, `virtio`, `usb`, `mmc`; `scsi` if not known better.
    pub transport: Option<&'static str>,
    /// Why it is never taken.
    pub unfit: Option<Unfit>,
}

/// Why a disk is never taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfit {
    /// The medium can be taken out.
    Removable,
    /// It cannot be written.
    ReadOnly,
    /// There is no medium, or it has no sectors.
    Empty,
    /// This system lives on it.
    Mounted,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removable => "removable",
            Self::ReadOnly => "read-only",
            Self::Empty => "empty",
            Self::Mounted => "in use: a filesystem or swap on it is mounted",
        })
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        write!(
            f,
            "{}: {} ({} bytes), {}, model {}, serial {}, WWN {}",
            self.path.display(),
            Amount(self.bytes),
            self.bytes,
            self.transport.unwrap_or("?"),
            known(&self.model),
            known(&self.serial),
            known(&self.wwn)
        )?;
        match self.unfit {
            Some(why) => write!(f, ", never taken: {why}"),
            None => Ok(()),
        }
    }
}

/// Bytes as makers of disks count them: `500.1 GB`.
#[derive(Clone, Copy, Debug)]
pub struct Amount(pub u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB")];
        for (unit, name) in units {
            if self.0 >= unit {
                let tenths = self.0 / (unit / 10);
                return write!(f, "{}.{} {name}", tenths / 10, tenths % 10);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

/// Where the system says what it has. Tests give folders of their own.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/sys`.
    pub sys: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into(), proc: "/proc".into() }
    }
}

/// What is no disk, or one made of others.
fn is_virtual(name: &str) -> bool {
    const PREFIXES: [&str; 12] =
        ["loop", "ram", "zram", "sr", "scd", "fd", "dm-", "md", "drbd", "mtdblock", "ublkb", "zd"];
    let is_numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit() || c == '_');
    let is_boot_area =
        name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
    is_boot_area || PREFIXES.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(is_numbered))
}

/// An attribute's text, without spaces around it; none if it is not there or empty.
fn attribute(folder: &Path, name: &str) -> Option<String> {
    let bytes = fs::read(folder.join(name)).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..ATTRIBUTE_BYTES_MAX).unwrap_or(&bytes));
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| crate::words::printable(text))
}

/// The serial number in a SCSI page 0x80 (Unit Serial Number): four bytes of header, the length in
/// the last two, then text.
fn page_80(bytes: &[u8]) -> Option<String> {
    let len = usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
    let end = len.checked_add(4)?.min(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(4..end)?);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (bytes.get(1) == Some(&0x80) && !text.is_empty()).then(|| crate::words::printable(text))
}

/// The name of the unit in a SCSI page 0x83 (Device Identification): a row of designators, of which
/// an NAA (type 3) or, failing that, an EUI-64 (type 2) that is about the unit itself is taken.
fn page_83(bytes: &[u8]) -> Option<String> {
    let len = usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
    let mut rest = bytes.get(4..len.checked_add(4)?.min(bytes.len()))?;
    let mut best = None;
    while let Some(&[coding, kind, _, len]) = rest.first_chunk() {
        let end = usize::from(len).checked_add(4)?;
        let Some(name) = rest.get(4..end) else { break };
        let is_unit = kind & 0x30 == 0 && coding & 0x0f == 1;
        let hex = || name.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match kind & 0x0f {
            3 if is_unit => return Some(format!("naa.{}", hex())),
            2 if is_unit && best.is_none() => best = Some(format!("eui.{}", hex())),
            _ => {}
        }
        rest = rest.get(end..)?;
    }
    best
}

fn transport(folder: &Path, name: &str) -> Option<&'static str> {
    if name.starts_with("nvme") {
        return Some("nvme");
    }
    if name.starts_with("mmcblk") {
        return Some("mmc");
    }
    // The path of the device names what it hangs on: .../ata1/host0/target0:0:0/0:0:0:0/block/sda.
    let place = fs::canonicalize(folder).unwrap_or_default();
    let place = format!("{}/", place.to_string_lossy());
    let kinds = [("/virtio", "virtio"), ("/usb", "usb"), ("/ata", "sata"), ("/end_device-", "sas")];
    let found = kinds.iter().find(|(part, _)| place.contains(part)).map(|(_, kind)| *kind);
    let is_scsi = || folder.join("device/vpd_pg80").exists() || name.starts_with("sd");
    match name.starts_with("vd") {
        true => Some("virtio"),
        false => found.or_else(|| is_scsi().then_some("scsi")),
    }
}

/// All disks, those that are never taken too, by name; without loop, RAM, optical and mapped devices.
///
/// # Errors
/// When `/sys/block` cannot be listed.
pub fn inventory(roots: &Roots) -> io::Result<Vec<Disk>> {
    let block = roots.sys.join("block");
    let wrong =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", block.display()));
    let mounted = mounted(&roots.proc);
    let mut disks = Vec::new();
    for entry in fs::read_dir(&block).map_err(wrong)?.take(DISKS_MAX) {
        let entry = entry.map_err(wrong)?;
        let Ok(file_name) = entry.file_name().into_string() else { continue };
        let folder = entry.path();
        let is_hidden = attribute(&folder, "hidden").is_some_and(|hidden| hidden == "1");
        if is_virtual(&file_name) || is_hidden {
            continue;
        }
        disks.push(disk(&folder, &file_name, roots, &mounted));
    }
    disks.sort_by(|a, b| a.name.len().cmp(&b.name.len()).then_with(|| a.name.cmp(&b.name)));
    Ok(disks)
}

fn disk(folder: &Path, file_name: &str, roots: &Roots, mounted: &BTreeSet<String>) -> Disk {
    // sysfs writes ! for the slashes of names such as cciss/c0d0.
    let name = file_name.replace('!', "/");
    let number = |name| attribute(folder, name).and_then(|text| text.parse::<u64>().ok());
    let is_set = |name| number(name).is_some_and(|value| value != 0);
    let bytes = number("size").and_then(|sectors| sectors.checked_mul(SYSFS_SECTOR)).unwrap_or(0);
    let sector_bytes = number("queue/logical_block_size").and_then(|size| size.try_into().ok());
    let page = |name| fs::read(folder.join(name)).unwrap_or_default();
    let unfit = match () {
        () if is_set("removable") => Some(Unfit::Removable),
        () if bytes == 0 => Some(Unfit::Empty),
        () if is_set("ro") => Some(Unfit::ReadOnly),
        () if is_mounted(folder, &name, mounted) => Some(Unfit::Mounted),
        () => None,
    };
    Disk {
        path: roots.dev.join(&name),
        bytes,
        sector_bytes: sector_bytes.unwrap_or(512),
        model: attribute(folder, "device/model").or_else(|| attribute(folder, "device/name")),
        serial: attribute(folder, "serial")
            .or_else(|| attribute(folder, "device/serial"))
            .or_else(|| page_80(&page("device/vpd_pg80"))),
        wwn: attribute(folder, "wwid")
            .or_else(|| attribute(folder, "device/wwid"))
            .or_else(|| page_83(&page("device/vpd_pg83"))),
        transport: transport(folder, &name),
        unfit,
        name,
    }
}

/// Names of the devices below `/dev` that hold a mounted filesystem or swap.
fn mounted(proc: &Path) -> BTreeSet<String> {
    let read = |name| fs::read_to_string(proc.join(name)).unwrap_or_default();
    let (mounts, swaps) = (read("mounts"), read("swaps"));
    let devices =
        mounts.lines().chain(swaps.lines()).filter_map(|line| line.split_whitespace().next());
    devices.filter_map(|device| device.strip_prefix("/dev/")).map(str::to_owned).collect()
}

/// True when the disk or one of its partitions is among `mounted`.
fn is_mounted(folder: &Path, name: &str, mounted: &BTreeSet<String>) -> bool {
    mounted.contains(name) || partitions(folder).iter().any(|part| mounted.contains(part))
}

/// Names of the partitions that the kernel knows of a disk, in their order.
pub fn partitions(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(DISKS_MAX).flatten();
    let mut found: Vec<(u64, String)> = entries
        .filter_map(|entry| {
            let number = attribute(&entry.path(), "partition")?.parse().ok()?;
            Some((number, entry.file_name().to_string_lossy().replace('!', "/")))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
#[path = "disks_tests.rs"]
mod tests;
