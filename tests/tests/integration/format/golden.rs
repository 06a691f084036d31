//! Images made by the deployed tools: both readers must find in them what a third one found, and
//! restore what it restored.

use imagezip::disk::memory::MemoryDisk;
use imagezip::disk::{RegularFile, TargetOptions as OpenOptions, open_target};
use imagezip::load::TargetOptions;
use imagezip::ndz::ChunkHeader;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use tests::independent::{CHUNK, Image};
use tests::samples::{From, content, load_onto, range};

const NAMES: [&str; 15] = [
    "file.v3",
    "file.v5",
    "g1-slice1.v3",
    "g1.v1",
    "g1.v3",
    "g1.v4",
    "g1.v5",
    "g2-slice3.v5",
    "g2.v3",
    "g2.v5",
    "g3-fragmented.v3",
    "g3-fragmented.v5",
    "g4.v3",
    "g4.v5",
    "mbr.v2",
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn image(name: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{name}.ndz"))).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Length and SHA-256 of the restored disk, from MANIFEST.
fn expected(name: &str) -> (usize, String) {
    let manifest = std::fs::read_to_string(path("MANIFEST")).unwrap();
    let start = format!("{name}.ndz ");
    let line = manifest.lines().find(|line| line.starts_with(&start)).unwrap();
    let mut values = line.split(' ').skip(1).map(|word| word.split_once('=').unwrap().1);
    (values.next().unwrap().parse().unwrap(), values.next().unwrap().to_owned())
}

/// What the third reader found, as text that can be compared.
fn from_json(chunk: &Value) -> String {
    let pairs = |list: &Value| -> Vec<(u64, u64)> {
        let pair = |p: &Value| (p[0].as_u64().unwrap(), p[1].as_u64().unwrap());
        list.as_array().unwrap().iter().map(pair).collect()
    };
    let relocation = |r: &Value| {
        let number = |key: &str| r[key].as_u64().unwrap();
        (number("type"), number("sector"), number("offset"), number("size"))
    };
    let relocations = chunk["relocations"].as_array().unwrap().iter().map(relocation);
    let bounds = chunk["first"].as_u64().zip(chunk["last"].as_u64());
    let uuid = chunk["uuid"].as_str().unwrap_or("00000000000000000000000000000000");
    let number = |key: &str| chunk[key].as_u64().unwrap();
    format!(
        "v{} chunk {} payload {} {bounds:?} {uuid} {:?} {:?}",
        number("version"),
        number("index"),
        number("size"),
        pairs(&chunk["regions"]),
        relocations.collect::<Vec<_>>(),
    )
}

fn from_library(header: &ChunkHeader) -> String {
    let regions = header.regions.iter().map(|r| (r.range.start().get(), r.range.count().get()));
    let relocations =
        header.relocations.iter().map(|r| (u64::from(r.kind), r.sector.get(), r.offset, r.size));
    let bounds = header.bounds.map(|bounds| (bounds.start().get(), bounds.end().get()));
    format!(
        "{} chunk {} payload {} {bounds:?} {} {:?} {:?}",
        header.version,
        header.index,
        header.payload_len,
        hex(&header.image_id.unwrap_or_default()),
        regions.collect::<Vec<_>>(),
        relocations.collect::<Vec<_>>(),
    )
}

fn from_independent(chunk: &tests::independent::Chunk) -> String {
    let regions = chunk.regions.iter().map(|r| (r.start, r.count));
    let relocations = chunk.relocations.iter().map(|r| (r.kind, r.sector, r.offset, r.size));
    format!(
        "v{} chunk {} payload {} {:?} {} {:?} {:?}",
        chunk.version,
        chunk.index,
        chunk.payload,
        chunk.bounds,
        hex(&chunk.image_id),
        regions.collect::<Vec<_>>(),
        relocations.collect::<Vec<_>>(),
    )
}

#[test]
fn three_readers_find_the_same_in_every_chunk() {
    for name in NAMES.iter().chain(&["big.v5"]) {
        let bytes = image(name);
        let json = std::fs::read_to_string(path(&format!("{name}.chunks.json"))).unwrap();
        let chunks: Vec<Value> = serde_json::from_str(&json).unwrap();
        let ours = Image::read(&bytes).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(chunks.len(), ours.chunks.len(), "{name}");
        for (i, chunk) in chunks.iter().enumerate() {
            let at = u64::try_from(i).unwrap();
            let header = ChunkHeader::parse(&bytes[i * CHUNK..(i + 1) * CHUNK], at).unwrap();
            assert_eq!(from_library(&header), from_json(chunk), "{name}");
            assert_eq!(from_independent(&ours.chunks[i]), from_json(chunk), "{name}");
            let payload = hex(&Sha256::digest(&ours.data[i]));
            assert_eq!(payload, chunk["sha256"].as_str().unwrap(), "{name} chunk {i}");
        }
    }
}

#[test]
fn every_image_restores_exactly() {
    for (i, name) in NAMES.iter().enumerate() {
        let (len, digest) = expected(name);
        let bytes = image(name);
        let ours = Image::read(&bytes).unwrap();
        let mut disk = vec![0; len];
        ours.restore(&mut disk);
        assert_eq!(hex(&Sha256::digest(&disk)), digest, "{name}: independent reader");

        // A stream of V1 does not say how long its disk is: its partitions would have to fit.
        let stream = i % 2 == 1 && *name != "g1.v1";
        let from = if stream { From::Stream } else { From::File };
        let target = MemoryDisk::new(vec![0; len]);
        let loaded = load_onto(&bytes, from, &target, TargetOptions::default(), 2).unwrap();
        assert!(loaded.not_applied.is_empty(), "{name}: {:?}", loaded.not_applied);
        assert_eq!(loaded.info.source_bytes, ours.source_bytes(), "{name}");
        let sectors = usize::try_from(loaded.info.source_sectors().bytes()).unwrap();
        assert_eq!(sectors, len, "{name}");
        assert!(target.into_bytes() == disk, "{name}: the library restores something else");
    }
}

#[test]
fn the_short_sector_of_a_file_is_cut_off() {
    for name in ["file.v3", "file.v5"] {
        let dir = tempfile::tempdir().unwrap();
        let bytes = image(name);
        let len = Image::read(&bytes).unwrap().source_bytes();
        assert_eq!(len, 5000 - 5000 % 512 + 392, "{name}");
        let file = dir.path().join("restored");
        let regular_file = RegularFile::Fresh { size_bytes: len };
        let disk = open_target(&file, OpenOptions { regular_file, ..Default::default() }).unwrap();
        let options = TargetOptions { blank: true, ..Default::default() };
        load_onto(&bytes, From::File, &disk, options, 1).unwrap();
        let mut restored = std::fs::read(&file).unwrap();
        assert_eq!(restored.len(), usize::try_from(len).unwrap());
        restored.resize(5120, 0);
        assert_eq!(hex(&Sha256::digest(&restored)), expected(name).1, "{name}");
    }
}

#[test]
fn a_disk_of_3_tib_restores_to_a_sparse_file() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = image("big.v5");
    let ours = Image::read(&bytes).unwrap();
    assert_eq!(ours.source_bytes(), 3 << 40);
    let path = dir.path().join("big");
    let regular_file = RegularFile::Fresh { size_bytes: ours.source_bytes() };
    let disk = open_target(&path, OpenOptions { regular_file, ..Default::default() }).unwrap();
    let options = TargetOptions { blank: true, ..Default::default() };
    load_onto(&bytes, From::File, &disk, options, 2).unwrap();
    let restored = File::open(&path).unwrap();
    let mut regions = 0;
    ours.for_all(|offset, data, _| {
        let mut found = vec![0; data.unwrap().len()];
        restored.read_exact_at(&mut found, offset).unwrap();
        assert!(found == data.unwrap(), "the region at byte {offset}");
        regions += 1;
    });
    assert_eq!(regions, 9);
    let metadata = restored.metadata().unwrap();
    assert_eq!(metadata.len(), 3 << 40);
    assert!(metadata.blocks() * 512 < 32 << 20, "it is not sparse");
}

#[test]
fn a_slice_image_goes_into_a_partition() {
    let bytes = image("g1-slice1.v3");
    let (len, digest) = expected("g1-slice1.v3");
    let partition = range(2048, 2048 + u64::try_from(len / 512).unwrap());
    let target = MemoryDisk::new(vec![0; len + (4 << 20)]);
    let options = TargetOptions { partition: Some(partition), ..Default::default() };
    load_onto(&bytes, From::File, &target, options, 2).unwrap();
    let restored = content(&target);
    assert_eq!(hex(&Sha256::digest(&restored[1 << 20..len + (1 << 20)])), digest);
    assert!(restored[..1 << 20].iter().all(|byte| *byte == 0), "in front of the partition");
    assert!(restored[len + (1 << 20)..].iter().all(|byte| *byte == 0), "behind the partition");
}
