//! Chunks: where runs of logical addresses stand on the device.
//!
//! What it owns: the map, first of the system chunks that the superblock lists, then of all chunks
//! in the tree of chunks. What it never does: hold two chunks that overlap, in logical addresses or
//! on the device, or one that reaches past the device.

use super::raw;
use super::superblock::{Volume, corrupt};
use super::tree::{Key, Reader};
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// More chunks than 100 TB can need; each is 16 MiB at least on any disk of that size.
const CHUNKS_MAX: usize = 1 << 22;

/// Most copies of a chunk (`RAID1C4`).
const COPIES_MAX: usize = 4;

/// A run of logical addresses, all of it at each of its places on the device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Chunk {
    /// First logical address.
    pub(super) start: u64,
    /// Bytes.
    pub(super) bytes: u64,
    /// What it holds, and its profile.
    pub(super) kind: u64,
    /// Byte offsets on the device, one for each copy.
    pub(super) places: Vec<u64>,
}

impl Chunk {
    /// The first logical address after it.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes)
    }

    fn parse(key: Key, item: &[u8], volume: &Volume) -> Result<Self, Refusal> {
        let start = key.offset;
        let wrong = |field: &str, expected: &str, found: String| {
            let what = format!("{field} of the chunk at logical address {start}");
            Err(Refusal::corrupt(what, raw::SUPERBLOCK_OFFSET, expected, found))
        };
        let Ok((chunk, stripes)) = raw::Chunk::ref_from_prefix(item) else {
            return wrong("length", "48 bytes and its stripes", item.len().to_string());
        };
        let (bytes, kind) = (chunk.length.get(), chunk.kind.get());
        let count = usize::from(chunk.num_stripes.get());
        let profile = kind & !raw::KINDS;
        if profile & !(raw::PROFILES_OF_COPIES | raw::PROFILES_STRIPED) != 0 {
            return Err(Refusal::unsupported(format!(
                "this version does not know the type {kind:#x} of one of its chunks"
            )));
        }
        let is_linear = count == 1 || (profile != 0 && profile & raw::PROFILES_STRIPED == 0);
        if count == 0 || !is_linear || count > COPIES_MAX {
            return Err(Refusal::unsupported(format!(
                "a chunk of it is striped over {count} places, as on several devices"
            )));
        }
        let aligned = |number: u64| number.is_multiple_of(volume.sector_bytes);
        if bytes == 0 || !aligned(bytes) || !aligned(start) || start.checked_add(bytes).is_none() {
            return wrong("length", "whole sectors", bytes.to_string());
        }
        let mut places = Vec::with_capacity(count);
        for stripe in stripes.chunks_exact(size_of::<raw::Stripe>()).take(count) {
            let Ok(stripe) = raw::Stripe::ref_from_bytes(stripe) else { continue };
            if stripe.devid.get() != volume.device {
                return Err(Refusal::unsupported(format!(
                    "it is device {}, but has a chunk on device {}: they belong together",
                    volume.device, stripe.devid
                )));
            }
            let place = stripe.offset.get();
            if !aligned(place)
                || place.checked_add(bytes).is_none_or(|end| end > volume.device_bytes)
            {
                return wrong("place", "whole sectors on the device", place.to_string());
            }
            places.push(place);
        }
        if places.len() != count {
            return wrong("stripes", "all of them", places.len().to_string());
        }
        Ok(Self { start, bytes, kind, places })
    }
}

/// Chunks by logical address.
#[derive(Debug)]
pub(super) struct ChunkMap {
    chunks: Vec<Chunk>,
}

impl ChunkMap {
    /// The system chunks that the superblock lists.
    pub(super) fn of_system_array(array: &[u8], volume: &Volume) -> Result<Self, Refusal> {
        let mut chunks = Vec::new();
        let mut rest = array;
        while !rest.is_empty() {
            let short = || corrupt("array of system chunks", "whole chunks", array.len());
            let (key, after) = raw::Key::ref_from_prefix(rest).map_err(|_| short())?;
            let (chunk, _) = raw::Chunk::ref_from_prefix(after).map_err(|_| short())?;
            let stripes = usize::from(chunk.num_stripes.get()) * size_of::<raw::Stripe>();
            let (item, next) =
                after.split_at_checked(size_of::<raw::Chunk>() + stripes).ok_or_else(short)?;
            if key.kind != raw::CHUNK_ITEM {
                let expected = format!("items of type {}", raw::CHUNK_ITEM);
                return Err(corrupt("array of system chunks", expected, key.kind));
            }
            chunks.push(Chunk::parse(Key::of(key), item, volume)?);
            rest = next;
        }
        chunks.sort_by_key(|chunk| chunk.start);
        Self { chunks }.checked()
    }

    /// All chunks, from the tree that these chunks hold.
    pub(super) fn read_all(&self, disk: &dyn ReadDisk, volume: &Volume) -> Result<Self, Refusal> {
        let mut chunks = Vec::new();
        let mut devices = 0u64;
        let reader = Reader { disk, volume, chunks: self };
        reader.walk(volume.chunks, Key::MIN..=Key::MAX, &mut |key, item| {
            match key.kind {
                raw::CHUNK_ITEM if chunks.len() < CHUNKS_MAX => {
                    chunks.push(Chunk::parse(key, item, volume)?);
                }
                raw::CHUNK_ITEM => return Err(Refusal::unsupported("it has too many chunks")),
                raw::DEVICE_ITEM => devices += 1,
                _ => {}
            }
            Ok(())
        })?;
        if devices != 1 {
            return Err(Refusal::unsupported(format!(
                "it is one of {devices} devices of one filesystem, which belong together"
            )));
        }
        let map = Self { chunks }.checked()?;
        if let Some(lost) = self.chunks.iter().find(|chunk| !map.chunks.contains(chunk)) {
            let expected = "chunks that are in the tree of chunks";
            return Err(corrupt("array of system chunks", expected, lost.start));
        }
        Ok(map)
    }

    /// Refuses chunks that overlap.
    fn checked(self) -> Result<Self, Refusal> {
        let mut places: Vec<(u64, u64)> = Vec::new();
        for chunk in &self.chunks {
            places.extend(chunk.places.iter().map(|place| (*place, chunk.bytes)));
        }
        places.sort_unstable();
        let logical =
            self.chunks.iter().map(|chunk| (chunk.start, chunk.bytes)).collect::<Vec<_>>();
        for (what, list) in [("logical addresses", logical), ("places", places)] {
            let pairs = list.iter().zip(list.iter().skip(1));
            let overlap = pairs
                .into_iter()
                .find(|((start, bytes), (next, _))| start.saturating_add(*bytes) > *next);
            if let Some((_, (next, _))) = overlap {
                return Err(Refusal::corrupt(
                    format!("{what} of the chunks"),
                    raw::SUPERBLOCK_OFFSET,
                    "apart from each other",
                    format!("two at {next}"),
                ));
            }
        }
        Ok(self)
    }

    /// The chunks, by logical address.
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The index of the chunk that holds all these logical addresses.
    pub(super) fn find(&self, start: u64, bytes: u64) -> Option<usize> {
        let index = self.chunks.partition_point(|chunk| chunk.end() <= start);
        let chunk = self.chunks.get(index)?;
        let is_inside = chunk.start <= start && start.checked_add(bytes)? <= chunk.end();
        is_inside.then_some(index)
    }

    /// Where the first copy of these logical addresses stands on the device, in bytes.
    pub(super) fn place(&self, start: u64, bytes: u64) -> Option<u64> {
        let chunk = self.chunks.get(self.find(start, bytes)?)?;
        chunk.places.first()?.checked_add(start - chunk.start)
    }
}
