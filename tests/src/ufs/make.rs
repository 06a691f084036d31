//! Makes small UFS1 and UFS2, fills them and deletes from them.
//!
//! What it owns: a filesystem in memory, with one directory. Blocks and fragments of files are
//! placed at random. What it never does: be quick, or be large.

use crate::rng::Rng;
use std::collections::BTreeMap;

/// What a filesystem is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// UFS2, not UFS1.
    pub second: bool,
    /// Bytes of a block.
    pub block: usize,
    /// Bytes of a fragment.
    pub fragment: usize,
    /// Fragments of the filesystem.
    pub fragments: usize,
    /// Fragments of a cylinder group, a multiple of a block.
    pub group: usize,
    /// Inodes of a group, such that they fill whole blocks.
    pub inodes: usize,
    /// Maps of free blocks beside those of free fragments.
    pub clusters: bool,
    /// FreeBSD's check hashes.
    pub check_hashes: bool,
    /// UFS1: how many fragments further into its group the own things of each next one are.
    pub stagger: usize,
}

/// A filesystem that is being made.
#[derive(Clone, Debug)]
pub struct Maker {
    shape: Shape,
    rng: Rng,
    bytes: Vec<u8>,
    free: Vec<bool>,
    free_inodes: Vec<usize>,
    /// Inode and fragments of each file.
    files: BTreeMap<String, (usize, Vec<usize>)>,
}

const ROOT: usize = 2;

fn put(bytes: &mut [u8], at: usize, len: usize, value: usize) {
    bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
}

/// The register of CRC-32C after these bytes, from all ones, bit by bit.
fn crc(bytes: &[u8]) -> usize {
    let mut register = u32::MAX;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            register = if register & 1 == 1 { register >> 1 ^ 0x82F6_3B78 } else { register >> 1 };
        }
    }
    usize::try_from(register).unwrap()
}

impl Shape {
    fn block_fragments(&self) -> usize {
        self.block / self.fragment
    }

    /// `bytes` in fragments, rounded up to blocks.
    fn in_blocks(&self, bytes: usize) -> usize {
        bytes.div_ceil(self.block) * self.block_fragments()
    }

    fn place(&self) -> usize {
        if self.second { 65_536 } else { 8192 }
    }

    fn inode_len(&self) -> usize {
        if self.second { 256 } else { 128 }
    }

    fn groups(&self) -> usize {
        self.fragments.div_ceil(self.group)
    }

    /// Fragments of a group.
    fn len_of(&self, group: usize) -> usize {
        (self.fragments - group * self.group).min(self.group)
    }

    fn start(&self, group: usize) -> usize {
        group * self.group + self.stagger * (group % 4)
    }

    /// Backup, group block, inodes and data, from the start of a group.
    fn layout(&self) -> [usize; 4] {
        let backup = self.in_blocks(self.place() + 8192);
        let group = backup + self.in_blocks(8192);
        let inodes = group + self.block_fragments();
        [backup, group, inodes, inodes + self.in_blocks(self.inodes * self.inode_len())]
    }

    fn summary_len(&self) -> usize {
        (self.groups() * 16).next_multiple_of(self.fragment)
    }

    /// Offsets in a group block: inode map, fragment map, cluster sums, cluster map, end.
    fn maps(&self) -> [usize; 5] {
        let inodes = 168;
        let fragments = inodes + self.inodes.div_ceil(8);
        let end = fragments + self.group.div_ceil(8);
        if !self.clusters {
            return [inodes, fragments, 0, 0, end];
        }
        let sums = end.next_multiple_of(4);
        let clusters = sums + 4 * 17;
        let blocks = self.group / self.block_fragments();
        [inodes, fragments, sums, clusters, clusters + blocks.div_ceil(8)]
    }
}

impl Maker {
    /// An empty filesystem; boot code and free space hold noise.
    ///
    /// # Panics
    /// When a group has no room for its own things.
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let bytes = rng.bytes(shape.fragments * shape.fragment);
        let mut free = vec![true; shape.fragments];
        let [backup, .., data] = shape.layout();
        for group in 0..shape.groups() {
            let start = shape.start(group);
            let first = if group == 0 { 0 } else { start + backup };
            free[first..start + data].fill(false);
        }
        free[data..data + shape.summary_len() / shape.fragment].fill(false);
        let free_inodes = (ROOT + 1..shape.groups() * shape.inodes).rev().collect();
        Self { shape, rng, bytes, free, free_inodes, files: BTreeMap::new() }
    }

    /// Free fragments.
    pub fn free(&self) -> usize {
        self.free.iter().filter(|free| **free).count()
    }

    /// A free run of `len` fragments inside a block, preferring blocks that are in use already when
    /// it is not a whole one.
    fn allocate(&mut self, len: usize) -> Option<usize> {
        let per_block = self.shape.block_fragments();
        let mut candidates = Vec::new();
        for group in 0..self.shape.groups() {
            let base = group * self.shape.group;
            let blocks = self.shape.len_of(group) / per_block;
            for block in 0..blocks {
                let at = base + block * per_block;
                let there = &self.free[at..at + per_block];
                let whole = there.iter().all(|free| *free);
                if len == per_block || whole {
                    candidates.extend(whole.then_some(at));
                } else {
                    let fit = there.windows(len).position(|run| run.iter().all(|free| *free));
                    // Three times, so that they fill up.
                    candidates.extend(fit.into_iter().flat_map(|i| [at + i; 3]));
                }
            }
        }
        let chosen = self.rng.below(u64::try_from(candidates.len()).unwrap());
        let at = *candidates.get(usize::try_from(chosen).unwrap())?;
        self.free[at..at + len].fill(false);
        Some(at)
    }

    /// Allocates a block and writes it.
    fn store(&mut self, content: &[u8], used: &mut Vec<usize>) -> Option<usize> {
        let fragment = self.shape.fragment;
        let len = content.len().div_ceil(fragment);
        let at = self.allocate(len)?;
        used.extend(at..at + len);
        self.bytes[at * fragment..at * fragment + content.len()].copy_from_slice(content);
        Some(at)
    }

    /// Stores content and fills an inode; `None` when there is no room, with nothing changed.
    fn fill(&mut self, inode: usize, mode: usize, content: &[u8]) -> Option<Vec<usize>> {
        let shape = self.shape;
        let width = if shape.second { 8 } else { 4 };
        let (mut used, mut direct, mut indirect) = (Vec::new(), Vec::new(), Vec::new());
        let outcome = (|| {
            for (i, piece) in content.chunks(shape.block).enumerate() {
                let whole = content.len() > 12 * shape.block;
                let mut piece = piece.to_vec();
                if whole {
                    piece.resize(shape.block, 0);
                }
                // Now and then a hole.
                let hole = i > 0 && i % 7 == 5 && piece.iter().all(|byte| *byte == 0);
                let at = if hole { 0 } else { self.store(&piece, &mut used)? };
                if i < 12 { direct.push(at) } else { indirect.push(at) }
            }
            let mut roots = Vec::new();
            let per_block = shape.block / width;
            let (single, double) = indirect.split_at(per_block.min(indirect.len()));
            for (depth, blocks) in [(1, single), (2, double)] {
                if blocks.is_empty() {
                    continue;
                }
                let mut level = blocks.to_vec();
                for _ in 0..depth {
                    let mut next = Vec::new();
                    for pointers in level.chunks(per_block) {
                        let mut block = vec![0; shape.block];
                        for (i, pointer) in pointers.iter().enumerate() {
                            put(&mut block, i * width, width, *pointer);
                        }
                        next.push(self.store(&block, &mut used)?);
                    }
                    level = next;
                }
                roots.push(level[0]);
            }
            Some(roots)
        })();
        let Some(roots) = outcome else {
            used.iter().for_each(|at| self.free[*at] = true);
            return None;
        };
        let [_, _, table, _] = shape.layout();
        let (group, index) = (inode / shape.inodes, inode % shape.inodes);
        let at = (shape.start(group) + table) * shape.fragment + index * shape.inode_len();
        let bytes = &mut self.bytes[at..at + shape.inode_len()];
        bytes.fill(0);
        put(bytes, 0, 2, mode);
        put(bytes, 2, 2, 1);
        put(bytes, if shape.second { 16 } else { 8 }, 8, content.len());
        let blocks = if shape.second { 112 } else { 40 };
        for (i, block) in direct.iter().enumerate() {
            put(bytes, blocks + i * width, width, *block);
        }
        for (i, block) in roots.iter().enumerate() {
            put(bytes, blocks + (12 + i) * width, width, *block);
        }
        Some(used)
    }

    /// Writes a new file of `len` bytes, noise with a few zeros; false when there is no room.
    ///
    /// # Panics
    /// When there is no inode left.
    pub fn write(&mut self, name: &str, len: usize) -> bool {
        let mut content = self.rng.bytes(len);
        if len > 6 * self.shape.block {
            content[5 * self.shape.block..6 * self.shape.block].fill(0);
        }
        let inode = self.free_inodes.pop().unwrap();
        match self.fill(inode, 0o100_644, &content) {
            Some(used) => {
                self.files.insert(name.into(), (inode, used));
                true
            }
            None => {
                self.free_inodes.push(inode);
                false
            }
        }
    }

    /// Deletes a file, if it is there.
    pub fn delete(&mut self, name: &str) {
        if let Some((inode, used)) = self.files.remove(name) {
            used.iter().for_each(|at| self.free[*at] = true);
            self.free_inodes.insert(0, inode);
        }
    }

    /// Wears it: writes files of all sizes and deletes every other one, until `full` of 100
    /// fragments are in use.
    pub fn wear(&mut self, full: usize) {
        let blocks = [1, 3, 9, 14, 40];
        for i in 0..400 {
            let most = blocks[i % blocks.len()] * self.shape.block;
            let len = self.rng.below(u64::try_from(most).unwrap());
            self.write(&format!("file{i}"), usize::try_from(len).unwrap());
            if i % 2 == 1 {
                self.delete(&format!("file{}", i - 1));
            }
            if self.free() * 100 < self.shape.fragments * (100 - full) {
                break;
            }
        }
    }

    /// The finished filesystem, cleanly unmounted.
    ///
    /// # Panics
    /// When the root directory does not fit.
    pub fn finish(mut self) -> Vec<u8> {
        let mut directory = Vec::new();
        let mut names: Vec<_> = self.files.iter().map(|(n, (i, _))| (n.clone(), *i)).collect();
        names.push((".".into(), ROOT));
        names.push(("..".into(), ROOT));
        for block in names.chunks(16) {
            let end = directory.len() + 512;
            for (i, (name, inode)) in block.iter().enumerate() {
                let mut entry = vec![0; 8 + (name.len() + 1).next_multiple_of(4)];
                let last = i + 1 == block.len();
                let len = if last { end - directory.len() } else { entry.len() };
                put(&mut entry, 0, 4, *inode);
                put(&mut entry, 4, 2, len);
                entry[6] = if *inode == ROOT { 4 } else { 8 };
                put(&mut entry, 7, 1, name.len());
                entry[8..8 + name.len()].copy_from_slice(name.as_bytes());
                directory.extend(entry);
            }
            directory.resize(end, 0);
        }
        let used = self.fill(ROOT, 0o40_755, &directory).unwrap();
        self.files.insert(".".into(), (ROOT, used));
        let shape = self.shape;
        let mut summary = vec![0; shape.summary_len()];
        let mut totals = [0; 4];
        for group in 0..shape.groups() {
            let counts = self.finish_group(group);
            for (i, count) in counts.into_iter().enumerate() {
                totals[i] += count;
                put(&mut summary, group * 16 + i * 4, 4, count);
            }
        }
        let [backup, .., data] = shape.layout();
        let at = data * shape.fragment;
        self.bytes[at..at + summary.len()].copy_from_slice(&summary);
        let superblock = self.superblock(totals);
        let place = shape.place();
        self.bytes[place..place + 8192].copy_from_slice(&superblock);
        for group in 0..shape.groups() {
            let at = (shape.start(group) + backup) * shape.fragment;
            self.bytes[at..at + 8192].copy_from_slice(&superblock);
        }
        self.bytes
    }

    /// Writes a group block; returns directories, free blocks, free inodes, free fragments.
    fn finish_group(&mut self, group: usize) -> [usize; 4] {
        let shape = self.shape;
        let per_block = shape.block_fragments();
        let (base, len) = (group * shape.group, shape.len_of(group));
        let maps = shape.maps();
        let mut block = vec![0; shape.block];
        let (mut blocks, mut fragments, mut runs) = (0, 0, [0usize; 8]);
        for at in (0..len).step_by(per_block) {
            let there = &self.free[base + at..base + (at + per_block).min(len)];
            if there.len() == per_block && there.iter().all(|free| *free) {
                blocks += 1;
                let bit = at / per_block;
                if shape.clusters {
                    block[maps[3] + bit / 8] |= 1 << (bit % 8);
                }
            } else {
                for run in there.split(|free| !free).filter(|run| !run.is_empty()) {
                    runs[run.len()] += 1;
                    fragments += run.len();
                }
            }
            for i in (0..there.len()).filter(|i| there[*i]) {
                block[maps[1] + (at + i) / 8] |= 1 << ((at + i) % 8);
            }
        }
        let mut inodes = shape.inodes;
        for (inode, _) in self.files.values().filter(|(inode, _)| inode / shape.inodes == group) {
            let index = inode % shape.inodes;
            block[maps[0] + index / 8] |= 1 << (index % 8);
            inodes -= 1;
        }
        let counts = [usize::from(group == 0), blocks, inodes, fragments];
        put(&mut block, 4, 4, 0x0009_0255);
        put(&mut block, 12, 4, group);
        put(&mut block, 20, 4, len);
        for (i, count) in counts.into_iter().enumerate() {
            put(&mut block, 24 + i * 4, 4, count);
        }
        for (i, count) in runs.into_iter().enumerate() {
            put(&mut block, 52 + i * 4, 4, count);
        }
        for (at, value) in [(92, maps[0]), (96, maps[1]), (100, maps[4]), (104, maps[2])] {
            put(&mut block, at, 4, value);
        }
        if shape.clusters {
            put(&mut block, 108, 4, maps[3]);
            put(&mut block, 112, 4, len / per_block);
        }
        put(&mut block, 116, 4, shape.inodes);
        assert!(maps[4] <= shape.block, "group block too small");
        if shape.check_hashes {
            let check = crc(&block[..maps[4]]);
            put(&mut block, 132, 4, check);
        }
        let at = (shape.start(group) + shape.layout()[1]) * shape.fragment;
        self.bytes[at..at + maps[4]].copy_from_slice(&block[..maps[4]]);
        counts
    }

    fn superblock(&self, totals: [usize; 4]) -> Vec<u8> {
        let shape = &self.shape;
        let [backup, group, inodes, data] = shape.layout();
        let mut bytes = vec![0; 8192];
        let mut set = |at: usize, value: usize| put(&mut bytes, at, 4, value);
        set(8, backup);
        set(12, group);
        set(16, inodes);
        set(20, data);
        set(44, shape.groups());
        set(48, shape.block);
        set(52, shape.fragment);
        set(56, shape.block_fragments());
        set(104, 1376usize.next_multiple_of(shape.fragment).min(8192));
        set(144, 0x5EED_0001);
        set(148, 0x0BAD_CAFE);
        set(156, shape.summary_len());
        set(160, shape.maps()[4]);
        set(184, shape.inodes);
        set(188, shape.group);
        set(1312, 0x82);
        set(1316, if shape.clusters { 16 } else { 0 });
        if shape.second {
            set(1372, 0x1954_0119);
        } else {
            set(24, shape.stagger);
            set(28, !3 & 0xFFFF_FFFF);
            set(36, shape.fragments);
            set(152, data);
            for (i, total) in totals.into_iter().enumerate() {
                set(192 + i * 4, total);
            }
            set(1356, 1);
            set(1372, 0x0001_1954);
        }
        bytes[209] = 1;
        bytes[211] = 0x80;
        bytes[680..684].copy_from_slice(b"Made");
        put(&mut bytes, 1000, 8, shape.place());
        for (i, total) in totals.into_iter().enumerate() {
            put(&mut bytes, 1008 + i * 8, 8, total);
        }
        put(&mut bytes, 1080, 8, shape.fragments);
        put(&mut bytes, 1096, 8, data);
        if shape.check_hashes {
            put(&mut bytes, 1308, 4, 3);
            put(&mut bytes, 1312, 4, 0x282);
            let len = 1376usize.next_multiple_of(shape.fragment).min(8192);
            let check = crc(&bytes[..len]);
            put(&mut bytes, 1304, 4, check);
        }
        bytes
    }
}
