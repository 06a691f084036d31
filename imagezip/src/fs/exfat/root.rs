//! The root directory, as far as the allocation map needs it.
//!
//! What it owns: finding the allocation bitmaps, the up-case table and the label. What it never
//! does: look at files.

use super::boot::Geometry;
use super::chain::{Fat, Run};
use super::raw;
use crate::disk::ReadDisk;
use crate::fs::identity::utf16_text;
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// A directory is never longer (section 7.4: 256 MiB).
const DIRECTORY_BYTES_MAX: u64 = 256 << 20;

/// Bytes of the directory read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// A bitmap or the up-case table.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// What it is, for messages.
    pub(super) name: &'static str,
    /// First cluster.
    pub(super) first: u64,
    /// Bytes.
    pub(super) bytes: u64,
}

/// What the root directory tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Root {
    /// Its own clusters.
    pub(super) runs: Vec<Run>,
    /// The bitmaps of the first and of the second FAT.
    pub(super) bitmaps: [Option<Stream>; 2],
    /// The up-case table.
    pub(super) upcase: Option<Stream>,
    /// The label.
    pub(super) label: Option<String>,
}

impl Root {
    /// Reads the root directory by its chain in `fat`.
    pub(super) fn read(
        disk: &dyn ReadDisk,
        geometry: &Geometry,
        fat: &mut Fat<'_>,
    ) -> Result<Self, Refusal> {
        let clusters_max = (DIRECTORY_BYTES_MAX / geometry.cluster_bytes).max(1);
        let runs = fat.chain("root directory", geometry.root_cluster, clusters_max)?;
        let mut root = Self::default();
        'runs: for (start, end) in &runs {
            let mut offset = geometry.cluster_offset(*start);
            let end = geometry.cluster_offset(*end);
            while offset < end {
                let len = (end - offset).min(PIECE_BYTES);
                let mut piece = vec![0; usize::try_from(len).unwrap_or_default()];
                disk.read_at(&mut piece, offset)?;
                if root.add_entries(&piece, offset)? {
                    break 'runs;
                }
                offset += len;
            }
        }
        root.runs = runs;
        Ok(root)
    }

    /// Takes in some entries; true at the end of the directory.
    fn add_entries(&mut self, entries: &[u8], offset: u64) -> Result<bool, Refusal> {
        for entry in entries.chunks_exact(raw::ENTRY_LEN) {
            match entry.first() {
                None | Some(0) => return Ok(true),
                Some(&raw::TYPE_LABEL) => {
                    if let Ok(entry) = raw::LabelEntry::ref_from_bytes(entry) {
                        let len = usize::from(entry.characters) * 2;
                        self.label = utf16_text(entry.label.get(..len).unwrap_or_default());
                    }
                }
                Some(&(raw::TYPE_BITMAP | raw::TYPE_UPCASE)) => {
                    if let Ok(entry) = raw::StreamEntry::ref_from_bytes(entry) {
                        self.add_stream(entry, offset)?;
                    }
                }
                Some(_) => {}
            }
        }
        Ok(false)
    }

    fn add_stream(&mut self, entry: &raw::StreamEntry, offset: u64) -> Result<(), Refusal> {
        let [bitmap, bitmap_2] = &mut self.bitmaps;
        let (place, name) = match (entry.entry_type, entry.flags & 1) {
            (raw::TYPE_BITMAP, 0) => (bitmap, "allocation bitmap"),
            (raw::TYPE_BITMAP, _) => (bitmap_2, "second allocation bitmap"),
            _ => (&mut self.upcase, "up-case table"),
        };
        let first = u64::from(entry.first_cluster.get());
        let stream = Stream { name, first, bytes: entry.data_length.get() };
        if place.replace(stream).is_some() {
            let what = "root directory";
            return Err(Refusal::corrupt(what, offset, format!("one {name}"), "several"));
        }
        Ok(())
    }
}
