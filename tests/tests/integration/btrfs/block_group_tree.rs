//! Block groups in a tree of their own, which Debian's btrfs-progs read but cannot make: converted
//! here from an image of theirs. The kernel and btrfs check say whether that was right, and the
//! kernel then writes to it.

use super::corrupt::crc32c;
use super::poison::prove_image;
use super::{TOOLS, check, wear, workspace};
use anyhow::{Context, Result, ensure};
use std::ops::Range;
use std::path::Path;
use tests::content::populate;
use tests::image_file;
use tests::tools::{ready, run, text};

const HEADER: usize = 101;
const ITEM: usize = 25;
const NODE: usize = 16384;
const SUPERBLOCK: usize = 65536;

/// Key types.
const ROOT_ITEM: u8 = 132;
const METADATA_ITEM: u8 = 169;
const TREE_BLOCK_REF: u8 = 176;
const BLOCK_GROUP_ITEM: u8 = 192;
const FREE_SPACE_EXTENT: u8 = 199;

#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
struct Item {
    key: (u64, u8, u64),
    data: Vec<u8>,
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> Result<usize> {
    Ok(u32::from_le_bytes(bytes[at..at + 4].try_into()?).try_into()?)
}

fn sign(block: &mut [u8]) {
    let sum = crc32c(&block[32..]);
    block[..4].copy_from_slice(&sum.to_le_bytes());
}

fn items(leaf: &[u8]) -> Result<Vec<Item>> {
    ensure!(leaf[100] == 0, "not a leaf");
    let mut items = Vec::new();
    for index in 0..u32_at(leaf, 96)? {
        let at = HEADER + index * ITEM;
        let start = HEADER + u32_at(leaf, at + 17)?;
        let data = leaf[start..start + u32_at(leaf, at + 21)?].to_vec();
        items.push(Item { key: (u64_at(leaf, at), leaf[at + 8], u64_at(leaf, at + 9)), data });
    }
    Ok(items)
}

fn write_items(leaf: &mut [u8], items: &mut [Item]) -> Result<()> {
    items.sort();
    leaf[HEADER..].fill(0);
    leaf[96..100].copy_from_slice(&u32::try_from(items.len())?.to_le_bytes());
    let mut end = NODE;
    for (index, item) in items.iter().enumerate() {
        let at = HEADER + index * ITEM;
        let start = end - item.data.len();
        leaf[start..end].copy_from_slice(&item.data);
        put(leaf, at, item.key.0);
        leaf[at + 8] = item.key.1;
        put(leaf, at + 9, item.key.2);
        leaf[at + 17..at + 21].copy_from_slice(&u32::try_from(start - HEADER)?.to_le_bytes());
        leaf[at + 21..at + 25].copy_from_slice(&u32::try_from(item.data.len())?.to_le_bytes());
        end = start;
    }
    sign(leaf);
    Ok(())
}

/// The bytes in the image of a tree of one leaf.
fn only_leaf(image: &Path, tree: &str) -> Result<Range<usize>> {
    let dump = run("btrfs", &["inspect-internal", "dump-tree", "-t", tree, text(image)])?;
    let line = dump.lines().find_map(|line| line.strip_prefix("leaf ")).context("no leaf")?;
    let address = line.split(' ').next().context("address")?;
    let printed = run("btrfs-map-logical", &["-l", address, text(image)])?;
    let word = printed.split("physical ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let start: usize = word.context(printed.clone())?.parse()?;
    Ok(start..start + NODE)
}

fn convert(image: &Path) -> Result<()> {
    let mut bytes = std::fs::read(image)?;
    let node = u64::try_from(NODE)?;
    let extent_leaf = only_leaf(image, "extent")?;
    let root_leaf = only_leaf(image, "root")?;
    let space_leaf = only_leaf(image, "10")?;

    let (mut groups, mut extents): (Vec<_>, Vec<_>) = items(&bytes[extent_leaf.clone()])?
        .into_iter()
        .partition(|item| item.key.1 == BLOCK_GROUP_ITEM);
    let is_metadata = |item: &&mut Item| u64_at(&item.data, 16) & 4 != 0;
    let group = groups.iter_mut().find(is_metadata).context("metadata")?;
    let used = u64_at(&group.data, 0);
    put(&mut group.data, 0, used + node);

    // The new block is the first of the longest free run.
    let mut spaces = items(&bytes[space_leaf.clone()])?;
    let inside = group.key.0..group.key.0 + group.key.2;
    let longest = spaces
        .iter_mut()
        .filter(|item| item.key.1 == FREE_SPACE_EXTENT && inside.contains(&item.key.0))
        .max_by_key(|item| item.key.2)
        .context("free space")?;
    let address = longest.key.0;
    ensure!(longest.key.2 > 2 * node, "no room");
    longest.key = (address + node, FREE_SPACE_EXTENT, longest.key.2 - node);
    write_items(&mut bytes[space_leaf], &mut spaces)?;

    let mut leaf = bytes[extent_leaf.clone()].to_vec();
    let generation = u64_at(&leaf, 80);
    put(&mut leaf, 48, address);
    put(&mut leaf, 88, 11);
    write_items(&mut leaf, &mut groups)?;
    // One copy, in the same chunk as the tree of extents.
    let distance = usize::try_from(address - u64_at(&bytes[extent_leaf.clone()], 48))?;
    let start = extent_leaf.start + distance;
    bytes[start..start + NODE].copy_from_slice(&leaf);

    let mut data = [1, generation, 2].map(u64::to_le_bytes).concat();
    data.push(TREE_BLOCK_REF);
    data.extend(11u64.to_le_bytes());
    extents.push(Item { key: (address, METADATA_ITEM, 0), data });
    write_items(&mut bytes[extent_leaf], &mut extents)?;

    let mut roots = items(&bytes[root_leaf.clone()])?;
    let extent_root = roots.iter().find(|item| item.key == (2, ROOT_ITEM, 0));
    let mut data = extent_root.context("extent root")?.data.clone();
    put(&mut data, 176, address);
    roots.push(Item { key: (11, ROOT_ITEM, 0), data });
    write_items(&mut bytes[root_leaf], &mut roots)?;

    let superblock = &mut bytes[SUPERBLOCK..SUPERBLOCK + 4096];
    put(superblock, 120, u64_at(superblock, 120) + node);
    put(superblock, 180, u64_at(superblock, 180) | 8);
    sign(superblock);
    Ok(std::fs::write(image, bytes)?)
}

#[test]
fn block_groups_in_a_tree_of_their_own() -> Result<()> {
    let tools = [&TOOLS[..], &["btrfs-map-logical"]].concat();
    if !ready("block_groups_in_a_tree_of_their_own", &tools, false) {
        return Ok(());
    }
    let dir = workspace()?;
    let source = dir.path().join("source");
    populate(&source, 3, 60)?;
    let image = dir.path().join("image");
    image_file::create(&image, 160 << 20)?;
    run("mkfs.btrfs", &["-q", "-m", "single", "--rootdir", text(&source), text(&image)])?;
    convert(&image)?;
    check(&image).context("converted")?;
    prove_image(&image, &["block-group-tree"])?;
    wear(dir.path(), &image, 3)?;
    prove_image(&image, &["block-group-tree"])
}
