//! The root directory: whether Windows sleeps on the volume, and its page files.
//!
//! What it owns: finding three files by name, and the mark of hibernation. What it never does:
//! trust the order of a directory; every node is read, so that names need no collation.

use super::boot::Geometry;
use super::mft::{self, Mft, Value};
use super::record::{NUMBER_MASK, Record};
use super::runs::Runs;
use super::{fixup, raw};
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use crate::sector_set::SectorSet;
use zerocopy::FromBytes;

/// A root directory of more than this (a million names) is not searched.
const DIRECTORY_BYTES_MAX: u64 = 256 << 20;

/// Byte offset of the entries in a node: where its own header stands.
const ROOT_HEADER: usize = 16;
const BLOCK_HEADER: usize = 24;

/// Starts of a `hiberfil.sys` that holds a sleeping or waking system, in either case.
const SLEEPING: [&[u8; 4]; 3] = [b"hibr", b"wake", b"rstr"];

/// The file of a hibernated system.
const HIBERNATION_FILE: &str = "hiberfil.sys";
/// All files whose content Windows makes anew.
const PAGE_FILES: [&str; 3] = [HIBERNATION_FILE, "pagefile.sys", "swapfile.sys"];

/// A page file that is there.
#[derive(Clone, Debug)]
pub(super) struct PageFile {
    name: &'static str,
    content: Option<Value>,
}

impl PageFile {
    /// True for the file of a hibernated system.
    pub(super) fn is_asleep(&self, mft: &Mft<'_>) -> Result<bool, Refusal> {
        let Some(content) = self.content.as_ref().filter(|_| self.name == HIBERNATION_FILE) else {
            return Ok(false);
        };
        let mut start = [0; 4];
        let len = mft.read_start(content, &mut start)?;
        Ok(len == 4 && SLEEPING.iter().any(|mark| start.eq_ignore_ascii_case(*mark)))
    }

    /// The name of the file.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The sectors of its content but for the first cluster, whose start tells Windows whether to
    /// wake up.
    pub(super) fn sectors(&self, geometry: &Geometry) -> SectorSet {
        let Some(Value::Mapped(mapped)) = &self.content else {
            return SectorSet::empty();
        };
        let all = mapped.runs.list().iter().filter_map(|run| {
            let cluster = run.cluster?;
            let kept = u64::from(run.vcn == 0);
            Some(geometry.clusters(cluster.saturating_add(kept), cluster.saturating_add(run.count)))
        });
        let mut ranges: Vec<_> = all.collect();
        ranges.sort_unstable();
        ranges.into_iter().collect()
    }
}

/// Finds the page files in the root directory.
pub(super) fn page_files(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    mft: &Mft<'_>,
    root: &Record,
) -> Result<Vec<PageFile>, Refusal> {
    let mut found = Vec::new();
    let Some(Value::Resident(node)) = mft.value_of(root, mft::INDEX_ROOT)? else {
        return Err(root.corrupt("$INDEX_ROOT of the root directory", "none".into()));
    };
    search(root, &node, ROOT_HEADER, &mut found)?;
    if let Some(Value::Mapped(blocks)) = mft.value_of(root, mft::INDEX_ALLOCATION)? {
        if blocks.bytes > DIRECTORY_BYTES_MAX {
            return Err(Refusal::unsupported(
                "its root directory is too large to look for a hibernated Windows",
            ));
        }
        search_blocks(disk, geometry, root, &blocks.runs, blocks.bytes, &mut found)?;
    }
    let mut files = Vec::new();
    for (name, reference) in found {
        let record = match mft.record(reference & NUMBER_MASK) {
            Ok(record) => record,
            // Blocks that are no longer part of the tree name files that are gone.
            Err(Refusal::Corrupt(_)) => continue,
            Err(other) => return Err(other),
        };
        if u64::from(record.sequence_number()?) == reference >> 48 && record.base()? == 0 {
            let content = mft.value_of(&record, mft::DATA)?;
            files.push(PageFile { name, content });
        }
    }
    Ok(files)
}

fn search_blocks(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    root: &Record,
    runs: &Runs,
    bytes: u64,
    found: &mut Vec<(&'static str, u64)>,
) -> Result<(), Refusal> {
    let mut block = vec![0; usize::try_from(geometry.index_block_bytes).unwrap_or_default()];
    let mut at = 0;
    while at + geometry.index_block_bytes <= bytes {
        if !runs.read(disk, geometry, &mut block, at)? {
            return Err(root.corrupt("all blocks of the root directory", "less".into()));
        }
        // Blocks never used hold anything.
        if block.starts_with(b"INDX") {
            fixup::restore(&mut block, &[*b"INDX"])
                .map_err(|found| root.corrupt("whole blocks of the root directory", found))?;
            search(root, &block, BLOCK_HEADER, found)?;
        }
        at += geometry.index_block_bytes;
    }
    Ok(())
}

/// Looks through the entries of a node, whose header stands at `header`.
fn search(
    root: &Record,
    node: &[u8],
    header: usize,
    found: &mut Vec<(&'static str, u64)>,
) -> Result<(), Refusal> {
    let bad = || root.corrupt("whole entries in the root directory", "another".into());
    let node = node.get(header..).ok_or_else(bad)?;
    let first = node.first_chunk().map_or(0, |first| u32::from_le_bytes(*first));
    let mut at = usize::try_from(first).unwrap_or(usize::MAX);
    loop {
        let rest = node.get(at..).ok_or_else(bad)?;
        let (entry, key) = raw::IndexEntry::ref_from_prefix(rest).map_err(|_| bad())?;
        if entry.flags.get() & raw::INDEX_ENTRY_END != 0 {
            return Ok(());
        }
        let key = key.get(..usize::from(entry.key_length.get())).ok_or_else(bad)?;
        let name = file_name(key).ok_or_else(bad)?;
        if let Some(name) = PAGE_FILES.into_iter().find(|wanted| is_name(name, wanted)) {
            found.push((name, entry.record.get()));
        }
        let len = usize::from(entry.length.get());
        if len < size_of::<raw::IndexEntry>() {
            return Err(bad());
        }
        at = at.checked_add(len).ok_or_else(bad)?;
    }
}

/// The name in a `$FILE_NAME`, in UTF-16.
fn file_name(key: &[u8]) -> Option<&[u8]> {
    let start = raw::FILE_NAME_LENGTH_OFFSET;
    let len = usize::from(*key.get(start)?) * 2;
    key.get(start + 2..start + 2 + len)
}

fn is_name(name: &[u8], wanted: &str) -> bool {
    let letters = name
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[low, high]| if *high == 0 { low.to_ascii_lowercase() } else { 0 });
    letters.eq(wanted.bytes())
}
