//! What `/proc` and `/sys` say about devices, mounts and swap.
//!
//! What it owns: reading those trees, which may stand elsewhere (a test's). What it never does:
//! judge.

use super::InUseError;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A block device as the kernel numbers it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeviceId {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

/// What is found at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// A block device.
    Device(DeviceId),
    /// A regular file or a directory.
    File {
        /// The filesystem it is in; major 0 is one that has no device of its own.
        filesystem: DeviceId,
        /// Its number there.
        inode: u64,
    },
    /// Something else: a pipe, a terminal, a socket.
    Other,
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct System {
    proc: PathBuf,
    sys: PathBuf,
    identify: fn(&Path) -> io::Result<Identity>,
}

impl System {
    /// The running system.
    pub fn real() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), identify }
    }

    /// Another tree, where `identify` tells what stands at a path.
    pub fn at(proc: PathBuf, sys: PathBuf, identify: fn(&Path) -> io::Result<Identity>) -> Self {
        Self { proc, sys, identify }
    }
}

fn identify(path: &Path) -> io::Result<Identity> {
    let metadata = fs::metadata(path)?;
    let id = |dev| DeviceId { major: rustix::fs::major(dev), minor: rustix::fs::minor(dev) };
    let file_type = metadata.file_type();
    Ok(if file_type.is_block_device() {
        Identity::Device(id(metadata.rdev()))
    } else if file_type.is_file() || file_type.is_dir() {
        Identity::File { filesystem: id(metadata.dev()), inode: metadata.ino() }
    } else {
        Identity::Other
    })
}

/// A device or a file among others.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Device(DeviceId),
    File { filesystem: DeviceId, inode: u64, path: PathBuf },
}

/// A file is the same under each of its names.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Device(a), Self::Device(b)) => a == b,
            (
                Self::File { filesystem: a, inode: i, .. },
                Self::File { filesystem: b, inode: j, .. },
            ) => a == b && i == j,
            _ => false,
        }
    }
}

/// A line of the mount table.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) at: PathBuf,
    pub(super) writable: bool,
    /// The block devices the filesystem lies on.
    pub(super) devices: Vec<DeviceId>,
    filesystem: DeviceId,
    /// Where an overlay puts what is written.
    upper: Option<PathBuf>,
}

/// What was read, once.
pub(super) struct Facts<'a> {
    system: &'a System,
    pub(super) mounts: Vec<Mount>,
    pub(super) swaps: Vec<Node>,
    /// Loop devices, and what each stands on.
    loops: Vec<(DeviceId, Node)>,
}

impl<'a> Facts<'a> {
    pub(super) fn read(system: &'a System) -> Result<Self, InUseError> {
        let table = system.proc.join("self/mountinfo");
        let text = fs::read(&table).map_err(|source| InUseError { path: table, source })?;
        let mut facts = Self { system, mounts: Vec::new(), swaps: Vec::new(), loops: Vec::new() };
        facts.mounts = lines(&text).filter_map(|line| facts.parse_mount(line)).collect();
        facts.loops = facts.read_loops();
        // A kernel without swap has no such file.
        let swaps = fs::read(system.proc.join("swaps")).unwrap_or_default();
        facts.swaps = lines(&swaps)
            .skip(1)
            .filter_map(|line| facts.node(&unescape(line.split(is_space).next()?)).ok()?)
            .collect();
        Ok(facts)
    }

    /// What stands at a path; `None` for what is no storage.
    pub(super) fn node(&self, path: &Path) -> Result<Option<Node>, InUseError> {
        let identity = (self.system.identify)(path)
            .map_err(|source| InUseError { path: path.into(), source })?;
        Ok(match identity {
            Identity::Device(id) => Some(Node::Device(id)),
            Identity::File { filesystem, inode } => {
                let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
                Some(Node::File { filesystem, inode, path })
            }
            Identity::Other => None,
        })
    }

    /// `36 35 98:0 /root /at rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue`, see
    /// proc_pid_mountinfo(5).
    fn parse_mount(&self, line: &[u8]) -> Option<Mount> {
        let mut fields = line.split(|b| *b == b' ').skip(2);
        let filesystem = parse_id(fields.next()?)?;
        let at = unescape(fields.nth(1)?);
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let (kind, source, options) = (fields.next()?, fields.next()?, fields.next()?);
        // The filesystem's own options: a read-only view of one that is written elsewhere changes.
        let writable = options.split(|b| *b == b',').any(|option| option == b"rw");
        let upper = options
            .split(|b| *b == b',')
            .find_map(|option| option.strip_prefix(b"upperdir="))
            .map(unescape);
        let mut devices = Vec::new();
        if filesystem.major != 0 {
            devices.push(filesystem);
        } else if source.first() == Some(&b'/')
            && let Ok(Identity::Device(id)) = (self.system.identify)(&unescape(source))
        {
            devices.push(id);
        }
        if kind == b"btrfs" {
            self.add_btrfs_members(&mut devices);
        }
        Some(Mount { at, writable, devices, filesystem, upper })
    }

    /// All devices of the btrfs filesystem that one of `devices` belongs to.
    fn add_btrfs_members(&self, devices: &mut Vec<DeviceId>) {
        for filesystem in entries(&self.system.sys.join("fs/btrfs")) {
            let members = device_ids(entries(&filesystem.join("devices")));
            if members.iter().any(|member| devices.contains(member)) {
                devices.extend(members);
            }
        }
    }

    fn read_loops(&self) -> Vec<(DeviceId, Node)> {
        let backed = |directory: PathBuf| {
            let mut name = fs::read(directory.join("loop/backing_file")).ok()?;
            name.pop_if(|last| *last == b'\n');
            let path = PathBuf::from(std::ffi::OsString::from_vec(name));
            Some((device_id(&directory)?, self.node(&path).ok()??))
        };
        entries(&self.system.sys.join("block")).into_iter().filter_map(backed).collect()
    }

    fn directory(&self, node: &Node) -> Option<PathBuf> {
        let Node::Device(id) = node else { return None };
        fs::canonicalize(self.system.sys.join(format!("dev/block/{id}"))).ok()
    }

    /// Name of a device as in `/dev`, with the volume's name; the path of a file.
    pub(super) fn name(&self, node: &Node) -> String {
        let id = match node {
            Node::File { path, .. } => return path.display().to_string(),
            Node::Device(id) => id,
        };
        let Some(directory) = self.directory(node) else { return id.to_string() };
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match fs::read_to_string(directory.join("dm/name")) {
            Ok(volume) => format!("{name} ({})", volume.trim_end()),
            Err(_) => name,
        }
    }

    pub(super) fn partitions(&self, node: &Node) -> Vec<Node> {
        let directory = self.directory(node).map(|d| entries(&d)).unwrap_or_default();
        nodes(directory.into_iter().filter(|entry| entry.join("partition").exists()).collect())
    }

    /// The disk that a partition is on.
    pub(super) fn parent(&self, node: &Node) -> Option<Node> {
        let directory = self.directory(node)?;
        if !directory.join("partition").exists() {
            return None;
        }
        device_id(directory.parent()?).map(Node::Device)
    }

    pub(super) fn holders(&self, node: &Node) -> Vec<Node> {
        self.linked(node, "holders")
    }

    /// Devices that a volume or a RAID is made of.
    pub(super) fn members(&self, node: &Node) -> Vec<Node> {
        self.linked(node, "slaves")
    }

    fn linked(&self, node: &Node, kind: &str) -> Vec<Node> {
        nodes(self.directory(node).map(|d| entries(&d.join(kind))).unwrap_or_default())
    }

    pub(super) fn loops_on(&self, node: &Node) -> Vec<Node> {
        let on = self.loops.iter().filter(|(_, backing)| backing == node);
        on.map(|(id, _)| Node::Device(*id)).collect()
    }

    /// What a loop device stands on.
    pub(super) fn backing(&self, node: &Node) -> Option<Node> {
        let found = self.loops.iter().find(|(id, _)| *node == Node::Device(*id))?;
        Some(found.1.clone())
    }

    /// What the filesystem of a file lies on.
    pub(super) fn filesystem_under(&self, node: &Node) -> Vec<Node> {
        let Node::File { filesystem, path, .. } = node else { return Vec::new() };
        let mut under = Vec::new();
        if filesystem.major != 0 {
            under.push(Node::Device(*filesystem));
        }
        // Of mounts on top of each other the last is seen.
        let by_path = self
            .mounts
            .iter()
            .filter(|mount| path.starts_with(&mount.at))
            .max_by_key(|mount| mount.at.components().count());
        let by_id = self.mounts.iter().filter(|mount| mount.filesystem == *filesystem);
        for mount in by_path.into_iter().chain(by_id) {
            under.extend(mount.devices.iter().map(|id| Node::Device(*id)));
            let upper = mount.upper.as_ref().and_then(|upper| self.node(upper).ok().flatten());
            // An overlay whose upper directory shows inside itself ends here.
            under.extend(upper.filter(|upper| upper != node));
        }
        under
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What is in a directory, in a fixed order; nothing for one that cannot be read.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = list.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn nodes(directories: Vec<PathBuf>) -> Vec<Node> {
    device_ids(directories).into_iter().map(Node::Device).collect()
}

fn device_ids(directories: Vec<PathBuf>) -> Vec<DeviceId> {
    directories.iter().filter_map(|directory| device_id(directory)).collect()
}

/// The number of the device that a directory of `/sys` is about.
fn device_id(directory: &Path) -> Option<DeviceId> {
    parse_id(fs::read(directory.join("dev")).ok()?.trim_ascii_end())
}

fn parse_id(text: &[u8]) -> Option<DeviceId> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(DeviceId { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

fn is_space(byte: &u8) -> bool {
    byte.is_ascii_whitespace()
}

/// A name with `\040` for a space and so on.
fn unescape(text: &[u8]) -> PathBuf {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match byte {
            Some(byte) if *first == b'\\' => {
                name.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                name.push(*first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_are_read() {
        assert_eq!(unescape(br"/mnt/a\040b\134c"), Path::new(r"/mnt/a b\c"));
        assert_eq!(unescape(br"/mnt/\04"), Path::new(r"/mnt/\04"));
    }
}
