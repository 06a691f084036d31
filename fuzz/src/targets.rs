//! The targets: each takes any bytes and checks what must hold.

use crate::pages;
use imagezip::disk::ReadDisk;
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::{Allocation, ProbeOptions, probe_with};
use imagezip::ndz::AnyOrder;
use imagezip::ndz::relocation::apply;
use imagezip::ndz::{
    CHUNK_LEN, ChunkHeader, Decoder, ImageSet, NATIVE_HEADER_AREA_MAX, VerifiedChunk,
};
use imagezip::partition::gpt::Relocation;
use imagezip::partition::{Excerpt, detect_sector_size, grow, read};
use imagezip::save::label_form;
use imagezip::units::{Sector, SectorCount, SectorRange};

/// Most sectors of data that a chunk may claim here. More is legal in old versions, but shows
/// nothing new and takes long.
const DATA_SECTORS_MAX: u64 = 40_000;

/// Length of a partition with a filesystem: room for the smallest FAT32.
const PARTITION_BYTES: u64 = 40 << 20;

/// Makes header check and digest of a native chunk right, or nothing behind them would ever be
/// reached.
fn seal_native(chunk: &mut [u8]) {
    if !chunk.starts_with(b"NDZ2") {
        return;
    }
    let length = |at: usize| {
        let bytes = chunk.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        usize::try_from(u32::from_le_bytes(bytes.unwrap_or_default())).unwrap_or(CHUNK_LEN)
    };
    let area = length(8).clamp(192, CHUNK_LEN);
    let end = area.saturating_add(length(12)).min(CHUNK_LEN);
    let mut check = blake3::Hasher::new();
    check.update(&chunk[..88]).update(&[0; 104]).update(&chunk[192..area]);
    chunk[88..96].copy_from_slice(&check.finalize().as_bytes()[..8]);
    let mut digest = blake3::Hasher::new();
    digest.update(&chunk[..96]).update(&[0; 96]).update(&chunk[192..end]);
    chunk[96..128].copy_from_slice(digest.finalize().as_bytes());
}

/// A chunk, made as long as one: header, digest, payload.
pub(crate) fn chunk(data: &[u8]) {
    let mut chunk = data.to_vec();
    chunk.resize(CHUNK_LEN, 0);
    let _ = ChunkHeader::parse(&chunk, 0).map_err(|error| error.to_string());
    seal_native(&mut chunk);
    let Ok(header) = ChunkHeader::parse(&chunk, 0) else { return };
    assert!(header.header_area + header.payload_len <= CHUNK_LEN);
    let disjoint = header.regions.windows(2).all(|r| r[0].range.end() <= r[1].range.start());
    assert!(disjoint, "regions overlap");
    if let Ok(verified) = VerifiedChunk::verify(&chunk, 0)
        && header.data_sectors().get() <= DATA_SECTORS_MAX
    {
        let _ = Decoder::default().check(&verified).map_err(|error| error.to_string());
    }
}

/// Headers of an image, 1 KiB of each, in order and in any order.
pub(crate) fn image_set(data: &[u8]) {
    let (mut set, mut any) = (ImageSet::new(), AnyOrder::default());
    let mut whole = true;
    for (at, bytes) in (0u32..).zip(data.chunks(1024)) {
        let mut area = bytes.to_vec();
        area.resize(NATIVE_HEADER_AREA_MAX, 0);
        let Ok(header) = ChunkHeader::parse(&area, at.into()) else { return };
        whole &= set.push(&header).is_ok();
        let _ = any.push(&header, header.index);
    }
    if whole && let Ok(info) = set.finish() {
        assert!(info.allocated.count().get() >= info.data.get(), "sectors got lost");
        let chunks = u32::try_from(info.chunks).unwrap_or(u32::MAX);
        let whole = any.finish(chunks).expect("whole in order, whole in any order");
        assert_eq!((whole.source_bytes, whole.data), (info.source_bytes, info.data));
    }
}

/// A relocation's kind, then the bytes it is about.
pub(crate) fn relocation(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let mut after = bytes.to_vec();
    let (start, len) = (Sector::from_u32(63), SectorCount::from_u32(1_000));
    if apply((*kind).into(), &mut after, start, len).is_err() {
        assert_eq!(after, bytes, "what is not adjusted stays as it is");
    }
}

/// Growing the last partition of a disk that was one of 32 MiB, as the seeds were: of a table that is
/// taken, nothing else changes.
fn grow_last(data: &[u8], sector_bytes: u32) {
    let (head, tail) = data.split_at(data.len().saturating_sub(34 * 512));
    let tail_at = (32 << 20) - u64::try_from(tail.len()).unwrap_or(0);
    let mut disk = Excerpt::new(40 << 20, sector_bytes).with(0, head).with(tail_at, tail);
    let Ok(Some(growth)) = grow::plan(&disk).map_err(|error| error.to_string()) else { return };
    let before = read(&disk).expect("memory can be read");
    assert_eq!(growth.old.start(), growth.new.start(), "a start was moved");
    assert!(growth.new.contains_range(growth.old), "a partition became smaller");
    for patch in growth.steps().iter().flatten() {
        let end = patch.offset + u64::try_from(patch.bytes.len()).unwrap_or(u64::MAX);
        assert!(end <= 40 << 20, "the table is written beyond the end of the disk");
        disk.add(patch.clone());
    }
    let after = read(&disk).expect("memory can be read");
    assert_eq!(after.problem, None, "{growth:?}");
    assert_eq!(after.partitions.len(), before.partitions.len(), "{growth:?}");
    for (old, new) in before.partitions.iter().zip(&after.partitions) {
        let expected = if old.number == growth.number { growth.new } else { old.declared };
        assert_eq!((old.number, expected), (new.number, new.declared), "{growth:?}");
    }
    let again = grow::plan(&disk).expect("what we wrote leaves no doubt");
    assert!(again.is_some_and(|growth| growth.is_nothing()), "there is more to do: {growth:?}");
}

/// A disk with a partition table, of both logical sector sizes; its move to other disks; and the
/// growth of its last partition.
pub(crate) fn partition(data: &[u8]) {
    let mut bytes = data.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4096).clamp(4096, 1 << 20), 0);
    for sector in [512, 4096] {
        let disk = MemoryDisk::new(bytes.clone()).with_logical_sector_bytes(sector);
        let table = read(&disk).expect("memory can be read");
        let _ = format!("{table:?}");
        let _ = detect_sector_size(&disk).expect("memory can be read");
        for target in [100u32, 2_048, 4_000_000] {
            let _ = Relocation::plan(&disk, SectorCount::from_u32(target))
                .map_err(|error| error.to_string());
        }
        grow_last(data, sector);
    }
}

/// The start of a partition of [`PARTITION_BYTES`] with a filesystem of whatever kind; the rest of
/// it is zero.
pub(crate) fn filesystem(data: &[u8]) {
    probe_all(&Excerpt::new(PARTITION_BYTES, 512).with(0, data));
}

/// A partition with a filesystem of whatever kind, as pages; the rest of it is zero.
pub(crate) fn pages(data: &[u8]) {
    probe_all(&pages::disk(data));
}

/// Asks all readers.
fn probe_all(disk: &Excerpt) {
    for force in [false, true] {
        let options = ProbeOptions { force, ..ProbeOptions::default() };
        let found = probe_with(disk, options).expect("memory can be read");
        if let Some(found) = found {
            match &found.allocation {
                Allocation::Known(set) => {
                    assert!(set.end().get() <= found.size.get(), "{}: beyond its end", found.name);
                }
                other => drop(format!("{other:?}")),
            }
        }
    }
}

/// The same, with the checksum of a disklabel in the second sector made right: nothing behind it
/// would ever be reached otherwise.
pub(crate) fn disklabel(data: &[u8]) {
    const LABEL: usize = 512;
    let mut data = data.to_vec();
    let entries = usize::from(data.get(LABEL + 138).copied().unwrap_or_default());
    if let Some(label) = data.get_mut(LABEL..LABEL + 148 + 16 * entries) {
        label[136..138].fill(0);
        let words = label.chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]]));
        let sum = words.fold(0, |sum, word| sum ^ word);
        label[136..138].copy_from_slice(&sum.to_le_bytes());
    }
    filesystem(&data);
    let disk = Excerpt::new(PARTITION_BYTES, 512).with(0, &data);
    let place = SectorRange::with_count(Sector::from_u32(63), disk.sectors()).expect("it fits");
    let _ = label_form(&disk, place, ProbeOptions::default()).expect("memory can be read");
}
