//! Images for tests.

#![allow(dead_code, reason = "each test program uses what it needs")]

use image_store::ImageName;
use imagezip::ndz::header::Integrity;
use imagezip::ndz::{
    CHUNK_LEN, ChunkHeader, Codec, NativeFields, Region, RegionKind, Version, seal,
};
use imagezip::units::{SECTOR_SIZE, Sector, SectorCount, SectorRange};
use std::path::Path;

/// A name.
pub(crate) fn name(text: &str) -> ImageName {
    ImageName::parse(text).unwrap()
}

/// Sectors stored in each chunk: nearly all of it.
const STORED: u64 = 2000;

/// A native image of this many chunks, each full of bytes that do not repeat. Made without a
/// compressor, so that it is quick.
pub(crate) fn native_image(chunks: u32) -> Vec<u8> {
    seeded_image(chunks, 0)
}

/// The same with other bytes in it for every seed.
pub(crate) fn seeded_image(chunks: u32, seed: u64) -> Vec<u8> {
    let sector = |index| Sector::new(index).unwrap();
    let mut image = vec![0; usize::try_from(chunks).unwrap() * CHUNK_LEN];
    for (index, chunk) in (0..chunks).zip(image.chunks_exact_mut(CHUNK_LEN)) {
        let start = u64::from(index) * STORED;
        let bounds = SectorRange::new(sector(start), sector(start + STORED)).unwrap();
        let payload_len = usize::try_from(STORED * SECTOR_SIZE).unwrap();
        let header = ChunkHeader {
            version: Version::Native,
            index,
            header_area: 512,
            payload_len,
            codec: Codec::Stored,
            bounds: Some(bounds),
            image_id: Some([seed.to_le_bytes()[0] | 1; 16]),
            regions: vec![Region { range: bounds, kind: RegionKind::Data }],
            relocations: vec![],
            integrity: Integrity::Blake3,
            native: Some(NativeFields {
                last: index + 1 == chunks,
                slice: false,
                source_bytes: u64::from(chunks) * STORED * SECTOR_SIZE,
                logical_sector_bytes: 512,
                allocated: SectorCount::new(u64::from(chunks) * STORED).unwrap(),
            }),
        };
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(index);
        for word in chunk[512..512 + payload_len].chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            word.copy_from_slice(&state.to_le_bytes());
        }
        seal(&header, chunk).unwrap();
    }
    image
}

/// Images that deployed programs made, with their names.
pub(crate) fn golden() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut images: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "ndz"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect();
    images.sort();
    assert!(!images.is_empty());
    images
}
