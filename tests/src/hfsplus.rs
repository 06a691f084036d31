//! A maker of empty HFS+ and HFSX volumes: Debian has none.
//!
//! What it owns: a layout by Apple's Technical Note TN1150, written down without a look at the
//! reader. That it is right shows the kernel, which mounts and fills what is made here.

use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What the volume shall be like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Bytes in an allocation block.
    pub block: u32,
    /// HFSX with case-sensitive names.
    pub case_sensitive: bool,
    /// An empty journal, written by a machine of the other byte order.
    pub journal: bool,
}

/// Bytes in a node of a tree.
const NODE: usize = 4096;
/// The name of the volume.
const NAME: &str = "Volume";
/// Bytes of the journal.
const JOURNAL: u32 = 512 << 10;
/// Some time in 2020, since 1904.
const TIME: u32 = 3_660_000_000;

/// Numbers of any size, one after the other.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u8(mut self, n: u8) -> Self {
        self.0.push(n);
        self
    }

    fn u16(mut self, n: u16) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }

    fn u32(mut self, n: u32) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }

    fn u64(mut self, n: u64) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn name(self) -> Self {
        let units: Vec<u16> = NAME.encode_utf16().collect();
        let mut named = self.u16(units.len().try_into().expect("short"));
        for unit in units {
            named = named.u16(unit);
        }
        named
    }

    /// Content of one extent.
    fn fork(self, start: u32, blocks: u32, bytes: u64, clump: u32) -> Self {
        self.u64(bytes).u32(clump).u32(blocks).u32(start).u32(blocks).zeros(56)
    }
}

/// A node of a tree with these records.
fn node(kind: u8, height: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let count = records.len().try_into().expect("few");
    let mut node = Bytes::default().zeros(8).u8(kind).u8(height).u16(count).u16(0).0;
    let mut ends = Vec::new();
    for record in records {
        ends.push(u16::try_from(node.len()).expect("a node is small"));
        node.extend(record);
    }
    ends.push(u16::try_from(node.len()).expect("a node is small"));
    node.resize(NODE - 2 * ends.len(), 0);
    ends.iter().rev().for_each(|end| node.extend(end.to_be_bytes()));
    node
}

/// The header node of a tree with one leaf or none.
fn tree_header(
    nodes: u32,
    leaf_records: u32,
    key_max: u16,
    attributes: u32,
    compare: u8,
) -> Vec<u8> {
    let leaf = u32::from(leaf_records > 0);
    let header = Bytes::default()
        .u16(leaf.try_into().expect("0 or 1"))
        .u32(leaf)
        .u32(leaf_records)
        .u32(leaf)
        .u32(leaf)
        .u16(NODE.try_into().expect("4096"))
        .u16(key_max)
        .u32(nodes)
        .u32(nodes - 1 - leaf)
        .u16(0)
        .u32(nodes * 4096)
        .u8(0)
        .u8(compare)
        .u32(attributes)
        .zeros(64);
    let used = if leaf == 1 { 0xC0 } else { 0x80 };
    let map = Bytes::default().u8(used).zeros(NODE - 14 - 106 - 128 - 8 - 1);
    node(1, 0, &[header.0, vec![0; 128], map.0])
}

/// The leaf of a catalog with nothing but the root directory.
fn catalog_leaf() -> Vec<u8> {
    let key_len = u16::try_from(6 + 2 * NAME.len()).expect("short");
    let folder = Bytes::default().u16(key_len).u32(1).name().u16(1).u16(0).u32(0).u32(2);
    let folder = (0..5).fold(folder, |folder, _| folder.u32(TIME));
    let folder = folder.u32(0).u32(0).u16(0).u16(0o40755).u32(1).zeros(32 + 8);
    let thread = Bytes::default().u16(6).u32(2).u16(0).u16(3).u16(0).u32(1).name();
    node(0xFF, 1, &[folder.0, thread.0])
}

/// An empty journal in the byte order that the volume header does not have.
fn journal_header() -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(0x4A4E_4C78u32.to_le_bytes());
    header.extend(0x1234_5678u32.to_le_bytes());
    header.extend(512u64.to_le_bytes());
    header.extend(512u64.to_le_bytes());
    header.extend(u64::from(JOURNAL).to_le_bytes());
    header.extend(4096u32.to_le_bytes());
    header.extend(0u32.to_le_bytes());
    header.extend(512u32.to_le_bytes());
    // Start, end, size, size of a block header, checksum, size of this header: 44 bytes.
    let sum = header.iter().fold(0u32, |sum, byte| (sum << 8) ^ sum.wrapping_add((*byte).into()));
    let at = header.len() - 8;
    header.splice(at..at + 4, (!sum).to_le_bytes());
    header
}

/// Makes a volume of all of an image file.
///
/// # Errors
/// When the file cannot be written.
pub fn make(image: &Path, plan: Plan) -> Result<()> {
    let file = OpenOptions::new().write(true).read(true).open(image)?;
    let bytes = file.metadata()?.len() / 512 * 512;
    let block = plan.block;
    let blocks = u32::try_from(bytes / u64::from(block))?;
    let in_blocks = |bytes: u32| bytes.div_ceil(block);

    let mut next = in_blocks(1536);
    let mut take = |bytes: u32| {
        let start = next;
        next += in_blocks(bytes);
        (start, in_blocks(bytes))
    };
    let map_bytes = blocks.div_ceil(8);
    let (map, map_blocks) = take(map_bytes);
    let (info, _) = if plan.journal { take(block) } else { (0, 0) };
    let (journal, _) = if plan.journal { take(JOURNAL) } else { (0, 0) };
    let extents_nodes = 16;
    let (extents, extents_blocks) = take(extents_nodes * 4096);
    let catalog_nodes = 64;
    let (catalog, catalog_blocks) = take(catalog_nodes * 4096);

    // In use: all up to here, and the blocks under the last 1024 bytes.
    let tail = u32::try_from((bytes - 1024) / u64::from(block))?.min(blocks);
    let mut bitmap = vec![0u8; usize::try_from(map_blocks * block)?];
    for used in (0..next).chain(tail..blocks) {
        *bitmap.get_mut(usize::try_from(used / 8)?).context("map")? |= 0x80 >> (used % 8);
    }
    let free = tail - next;

    let signature: &[u8] = if plan.case_sensitive { b"HX" } else { b"H+" };
    let version = if plan.case_sensitive { 5 } else { 4 };
    let attributes = if plan.journal { 0x2100 } else { 0x100 };
    let header = Bytes::default().bytes(signature).u16(version).u32(attributes).bytes(b"10.0");
    let header = header.u32(info).u32(TIME).u32(TIME).u32(0).u32(TIME).u32(0).u32(0);
    let header = header.u32(block).u32(blocks).u32(free).u32(next).u32(block).u32(block);
    let header = header.u32(16).u32(1).u64(1).zeros(24).u64(0x0123_4567_89AB_CDEF);
    let extents_bytes = u64::from(extents_nodes) * 4096;
    let catalog_bytes = u64::from(catalog_nodes) * 4096;
    let header = header
        .fork(map, map_blocks, u64::from(map_blocks * block), block)
        .fork(extents, extents_blocks, extents_bytes, extents_nodes * 4096)
        .fork(catalog, catalog_blocks, catalog_bytes, catalog_nodes * 4096)
        .zeros(160);
    let write = |bytes: &[u8], at: u64| file.write_all_at(bytes, at);
    let place = |number: u32| u64::from(number) * u64::from(block);
    write(&header.0, 1024)?;
    write(&header.0, bytes - 1024)?;
    write(&bitmap, place(map))?;
    write(&tree_header(extents_nodes, 0, 10, 2, 0), place(extents))?;
    let compare = if plan.case_sensitive { 0xBC } else { 0 };
    write(&tree_header(catalog_nodes, 2, 516, 6, compare), place(catalog))?;
    write(&catalog_leaf(), place(catalog) + 4096)?;
    if plan.journal {
        let described = Bytes::default().u32(1).zeros(32).u64(place(journal)).u64(JOURNAL.into());
        write(&described.zeros(128).0, place(info))?;
        write(&journal_header(), place(journal))?;
    }
    Ok(())
}
