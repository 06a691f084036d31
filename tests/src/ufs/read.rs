//! Reads all files of a UFS1 or UFS2, of either byte order, and notes what they use.

use crate::content::Tree;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a filesystem holds.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Its files.
    pub tree: Tree,
    /// Bytes of a fragment.
    pub fragment: usize,
    /// Fragments that files, directories and the filesystem itself use.
    pub used: BTreeSet<usize>,
    /// Fragments it has.
    pub fragments: usize,
}

struct Volume<'a> {
    bytes: &'a [u8],
    big: bool,
    second: bool,
    superblock: usize,
    block: usize,
    fragment: usize,
    inodes: usize,
    group: usize,
    used: BTreeSet<usize>,
}

struct Inode {
    mode: u16,
    size: usize,
    /// Direct blocks, then the three indirect ones.
    blocks: Vec<usize>,
    /// Where the bytes of a short link are.
    inline: usize,
}

/// Reads the filesystem that starts at the first of `bytes`.
///
/// # Errors
/// When it cannot be followed.
pub fn read(bytes: &[u8]) -> Result<Contents> {
    let mut volume = Volume::open(bytes)?;
    volume.own()?;
    let mut tree = Tree::new();
    volume.walk(2, Path::new(""), &mut tree)?;
    let size = if volume.second { (1080, 8) } else { (36, 4) };
    let fragments = volume.number(volume.superblock + size.0, size.1)?;
    Ok(Contents { tree, fragment: volume.fragment, used: volume.used, fragments })
}

impl<'a> Volume<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        for superblock in [65_536, 8192, 0, 262_144] {
            let Some(magic) = bytes.get(superblock + 1372..superblock + 1376) else { continue };
            let (second, big) = match magic {
                [0x19, 0x01, 0x54, 0x19] => (true, false),
                [0x19, 0x54, 0x01, 0x19] => (true, true),
                [0x54, 0x19, 0x01, 0x00] if superblock < 65_536 => (false, false),
                [0x00, 0x01, 0x19, 0x54] if superblock < 65_536 => (false, true),
                _ => continue,
            };
            let mut volume = Volume {
                bytes,
                big,
                second,
                superblock,
                block: 0,
                fragment: 0,
                inodes: 0,
                group: 0,
                used: BTreeSet::new(),
            };
            volume.block = volume.field(48)?;
            volume.fragment = volume.field(52)?;
            volume.inodes = volume.field(184)?;
            volume.group = volume.field(188)?;
            return Ok(volume);
        }
        bail!("no superblock")
    }

    fn at(&self, offset: usize, len: usize) -> Result<&'a [u8]> {
        self.bytes.get(offset..offset + len).with_context(|| format!("{len} bytes at {offset}"))
    }

    fn number(&self, offset: usize, len: usize) -> Result<usize> {
        let mut bytes = self.at(offset, len)?.to_vec();
        if !self.big {
            bytes.reverse();
        }
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn field(&self, offset: usize) -> Result<usize> {
        self.number(self.superblock + offset, 4)
    }

    /// The first fragment of a group that has its own things.
    fn start(&self, group: usize) -> Result<usize> {
        let stagger = if self.second { 0 } else { self.field(24)? * (group & !self.field(28)?) };
        Ok(group * self.group + stagger)
    }

    /// Notes what the filesystem itself uses.
    fn own(&mut self) -> Result<()> {
        for group in 0..self.field(44)? {
            let start = self.start(group)?;
            let first = if group == 0 { 0 } else { start + self.field(8)? };
            self.used.extend(first..start + self.field(20)?);
        }
        let at = if self.second { (1096, 8) } else { (152, 4) };
        let summary = self.number(self.superblock + at.0, at.1)?;
        self.used.extend(summary..summary + self.field(156)?.div_ceil(self.fragment));
        Ok(())
    }

    fn inode(&self, number: usize) -> Result<Inode> {
        let (group, index) = (number / self.inodes, number % self.inodes);
        let table = (self.start(group)? + self.field(16)?) * self.fragment;
        let (len, size_at, size_len, blocks_at, width) =
            if self.second { (256, 16, 8, 112, 8) } else { (128, 8, 8, 40, 4) };
        let at = table + index * len;
        let blocks = (0..15).map(|i| self.number(at + blocks_at + i * width, width));
        Ok(Inode {
            mode: u16::try_from(self.number(at, 2)?)?,
            size: self.number(at + size_at, size_len)?,
            blocks: blocks.collect::<Result<_>>()?,
            inline: at + blocks_at,
        })
    }

    /// The bytes of a file.
    fn content(&mut self, inode: &Inode) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let (direct, indirect) = inode.blocks.split_at(12);
        for block in direct {
            self.take(*block, inode.size, &mut content)?;
        }
        for (depth, block) in (1..).zip(indirect) {
            self.descend(*block, depth, inode.size, &mut content)?;
        }
        ensure!(content.len() == inode.size, "{} of {} bytes", content.len(), inode.size);
        Ok(content)
    }

    fn descend(&mut self, block: usize, depth: u32, size: usize, to: &mut Vec<u8>) -> Result<()> {
        if to.len() >= size {
            return Ok(());
        }
        if depth == 0 {
            return self.take(block, size, to);
        }
        let width = if self.second { 8 } else { 4 };
        if block != 0 {
            self.used.extend(block..block + self.block / self.fragment);
        }
        for i in 0..self.block / width {
            let next = match block {
                0 => 0,
                _ => self.number(block * self.fragment + i * width, width)?,
            };
            self.descend(next, depth - 1, size, to)?;
        }
        Ok(())
    }

    /// Appends a block, or what of it belongs to a file of `size`.
    fn take(&mut self, block: usize, size: usize, to: &mut Vec<u8>) -> Result<()> {
        let len = self.block.min(size.saturating_sub(to.len()));
        if block == 0 {
            to.resize(to.len() + len, 0);
            return Ok(());
        }
        // Only a file without indirect blocks ends in fragments.
        let whole = size > 12 * self.block;
        let fragments = if whole { self.block } else { len }.div_ceil(self.fragment);
        self.used.extend(block..block + fragments);
        to.extend_from_slice(self.at(block * self.fragment, len)?);
        Ok(())
    }

    fn walk(&mut self, number: usize, path: &Path, tree: &mut Tree) -> Result<()> {
        ensure!(tree.len() < 10_000, "a tree without end");
        let inode = self.inode(number)?;
        let content = match inode.mode >> 12 {
            0o12 if inode.blocks[0] > 0 && inode.size < 15 * if self.second { 8 } else { 4 } => {
                let target = self.at(inode.inline, inode.size)?;
                tree.insert(path.into(), format!("link to {}", String::from_utf8_lossy(target)));
                return Ok(());
            }
            _ => self.content(&inode)?,
        };
        let kind = match inode.mode >> 12 {
            0o4 => "directory".into(),
            0o10 => format!("{} bytes {}", content.len(), blake3::hash(&content)),
            0o12 => format!("link to {}", String::from_utf8_lossy(&content)),
            other => format!("kind {other:o}"),
        };
        if inode.mode >> 12 == 0o4 {
            for (number, name) in self.entries(&content)? {
                self.walk(number, &path.join(name), tree)?;
            }
        }
        tree.insert(path.into(), kind);
        Ok(())
    }

    /// The entries of a directory but `.` and `..`.
    fn entries(&self, content: &[u8]) -> Result<Vec<(usize, PathBuf)>> {
        let ordered = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            if !self.big {
                bytes.reverse();
            }
            bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
        };
        let (mut entries, mut at) = (Vec::new(), 0);
        while at + 8 <= content.len() {
            let number = ordered(&content[at..at + 4]);
            let len = ordered(&content[at + 4..at + 6]);
            let name =
                content.get(at + 8..at + 8 + usize::from(content[at + 7])).context("name")?;
            let name = PathBuf::from(String::from_utf8_lossy(name).into_owned());
            ensure!(len >= 8, "an entry of {len} bytes");
            if number != 0 && name != Path::new(".") && name != Path::new("..") {
                entries.push((number, name));
            }
            at += len;
        }
        Ok(entries)
    }
}
