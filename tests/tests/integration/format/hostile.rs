//! Chunks that break one rule of the page each: both readers must refuse them. And chunks that use
//! the freedom the page gives: both must take them.

use imagezip::ndz::{Codec, Decoder, ImageSet, Relocation, VerifiedChunk, Version};
use imagezip::units::Sector;
use tests::independent::{CHUNK, Image};
use tests::samples::{Content, Sample, options, range, save_to_vec};

/// Makes header check and digest of a native chunk right again.
fn reseal(chunk: &mut [u8]) {
    if !chunk.starts_with(b"NDZ2") {
        return;
    }
    let length = |at: usize| {
        usize::try_from(u32::from_le_bytes(chunk[at..at + 4].try_into().unwrap())).unwrap()
    };
    let area = length(8).clamp(192, CHUNK);
    let end = (length(8) + length(12)).clamp(192, CHUNK);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&chunk[..88]).update(&[0; 104]).update(&chunk[192..area]);
    chunk[88..96].copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&chunk[..96]).update(&[0; 96]).update(&chunk[192..end]);
    let digest = hasher.finalize();
    chunk[96..128].copy_from_slice(digest.as_bytes());
}

/// Whether the library reads an image: its headers as a set, and every payload.
fn library(image: &[u8]) -> Result<(), String> {
    let mut set = ImageSet::new();
    let mut decoder = Decoder::default();
    for (i, chunk) in image.chunks(CHUNK).enumerate() {
        let chunk = VerifiedChunk::verify(chunk, u64::try_from(i).unwrap());
        let chunk = chunk.map_err(|error| error.to_string())?;
        set.push(chunk.header()).map_err(|error| error.to_string())?;
        decoder.check(&chunk).map_err(|error| error.to_string())?;
    }
    set.finish().map(|_| ()).map_err(|error| error.to_string())
}

/// An image with room for mischief: two or more chunks, data and (native) zeros, relocations.
fn image(version: Version, codec: Codec) -> Vec<u8> {
    let mut sample = Sample::random(77, 6_000, Content::Noise);
    sample.bytes[1024 * 512..2048 * 512].fill(0);
    sample.ranges = vec![range(3, 100), range(128, 3_500), range(3_600, 5_990)];
    let mut fields = sample.fields(version, codec);
    if version != Version::V1 {
        fields.relocations = vec![Relocation::short_sector(Sector::from_u32(5_989), 100)];
    }
    save_to_vec(&sample.disk(), &sample.ranges, fields, &options(2)).unwrap().0
}

/// Changes bytes of chunk 1 and makes it right again but for that.
fn with(image: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    image[CHUNK + at..CHUNK + at + bytes.len()].copy_from_slice(bytes);
    reseal(&mut image[CHUNK..2 * CHUNK]);
    image
}

fn u32_of(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(image[CHUNK + at..CHUNK + at + 4].try_into().unwrap())
}

fn refused(image: &[u8], what: &str) {
    let theirs = Image::read(image).err();
    assert!(theirs.is_some(), "{what}: the independent reader takes it");
    let ours = library(image).err();
    assert!(ours.is_some(), "{what}: the library takes it ({theirs:?})");
}

fn taken(image: &[u8], what: &str) {
    Image::read(image).unwrap_or_else(|fault| panic!("{what}: independent reader: {fault}"));
    library(image).unwrap_or_else(|error| panic!("{what}: {error}"));
}

#[test]
fn native_fields_outside_the_rules_are_refused() {
    let image = image(Version::Native, Codec::Zstd);
    taken(&image, "as written");
    let area = u32_of(&image, 8);
    let payload = u32_of(&image, 12);
    let number = |n: u32| n.to_le_bytes().to_vec();
    let wide = |n: u64| n.to_le_bytes().to_vec();
    let cases: &[(&str, usize, Vec<u8>)] = &[
        ("magic", 0, b"NDZ3".to_vec()),
        ("header version", 4, vec![2, 0]),
        ("header length", 6, vec![0, 2]),
        ("header length", 6, vec![255, 0]),
        ("header area of 0", 8, number(0)),
        ("header area off the grid", 8, number(area + 1)),
        ("header area too long", 8, number(65_536 + 512)),
        ("header area above the payload", 8, number(area + 512)),
        ("payload beyond the chunk", 12, number(1_048_577 - area)),
        ("payload too short", 12, number(payload - 1)),
        ("payload too long", 12, number(payload + 1)),
        ("no payload", 12, number(0)),
        ("chunk number", 16, number(2)),
        ("chunk number", 16, number(u32::MAX)),
        ("last flag too early", 20, number(1)),
        ("slice in one chunk only", 20, number(2)),
        ("unknown flag", 20, number(4)),
        ("unknown codec", 24, number(3)),
        ("wrong codec", 24, number(1)),
        ("sector size", 28, number(513)),
        ("sector size", 28, number(256)),
        ("sector size", 28, number(131_072)),
        ("another sector size", 28, number(4096)),
        ("image id", 32, vec![1]),
        ("source length", 48, wide(5_999 * 512)),
        ("source length", 48, wide(u64::MAX)),
        ("allocated sectors", 56, wide(1)),
        ("allocated sectors", 56, wide(u64::MAX)),
        ("bounds leave a gap", 64, wide(u64::from(u32_of(&image, 64)) + 1)),
        ("bounds overlap", 64, wide(u64::from(u32_of(&image, 64)) - 1)),
        ("bounds end too early", 72, wide(u64::from(u32_of(&image, 72)) - 200)),
        ("bounds end before they start", 72, wide(0)),
        ("bounds end too late", 72, wide(1 << 60)),
        ("no regions", 80, number(0)),
        ("more regions than room", 80, number(4_081)),
        ("more regions than memory", 80, number(u32::MAX)),
        ("more relocations than room", 84, number(u32::MAX)),
        ("cipher", 208, number(1)),
        ("region before the bounds", 256, wide(0)),
        ("region far away", 256, wide(u64::MAX)),
        ("region of nothing", 264, number(0)),
        ("region too short", 264, number(u32_of(&image, 264) - 1)),
        ("region too long", 264, number(u32_of(&image, 264) + 1)),
        ("region much too long", 264, number(u32::MAX)),
        ("region of no kind", 268, vec![0, 0]),
        ("region of unknown kind", 268, vec![3, 0]),
        ("data called zero", 268, vec![2, 0]),
    ];
    for (what, at, bytes) in cases {
        assert_ne!(&image[CHUNK + at..CHUNK + at + bytes.len()], &bytes[..], "{what}: no change");
        refused(&with(&image, *at, bytes), what);
    }
}

#[test]
fn what_the_page_leaves_open_is_taken() {
    let image = image(Version::Native, Codec::Zstd);
    let (area, payload) = (u32_of(&image, 8), u32_of(&image, 12));
    let padding = usize::try_from(area + payload).unwrap();
    let tables = 256 + 16 * usize::try_from(u32_of(&image, 80)).unwrap();
    let cases: &[(&str, usize, &[u8])] = &[
        ("reserved bytes", 88, &[1; 8]),
        ("signature", 128, &[9; 64]),
        ("key id", 192, &[7; 16]),
        ("signature kind", 212, &[1, 0, 0, 0]),
        ("nonce", 216, &[3; 24]),
        ("more reserved bytes", 240, &[1; 16]),
        ("reserved bytes of a region", 256 + 14, &[1, 1]),
        ("behind the tables", tables + 100, &[5; 8]),
        ("padding", padding, &[0xFF; 5]),
    ];
    for (what, at, bytes) in cases {
        taken(&with(&image, *at, bytes), what);
    }
    // Signature and padding are outside the digest: no need to seal again.
    let mut signed = image.clone();
    signed[CHUNK + 128..CHUNK + 192].fill(0xAB);
    taken(&signed, "a signature added later");
}

#[test]
fn any_flipped_bit_of_a_native_header_is_found() {
    for codec in [Codec::Zstd, Codec::Stored] {
        let image = image(Version::Native, codec);
        let chunk = &image[CHUNK..2 * CHUNK];
        let area = usize::try_from(u32_of(&image, 8)).unwrap();
        let mut flipped = chunk.to_vec();
        for bit in (0..area * 8).filter(|bit| !(128 * 8..192 * 8).contains(bit)) {
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(VerifiedChunk::verify(&flipped, 1).is_err(), "bit {bit}");
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
        VerifiedChunk::verify(&flipped, 1).unwrap();
    }
}

#[test]
fn legacy_fields_outside_the_rules_are_refused() {
    let number = |n: u32| n.to_le_bytes().to_vec();
    let wide = |n: u64| n.to_le_bytes().to_vec();
    for version in [Version::V2, Version::V3, Version::V5] {
        let image = image(version, Codec::Zlib);
        taken(&image, "as written");
        let payload = u32_of(&image, 4);
        let mut cases = vec![
            ("magic", 0, number(0x6969_6968)),
            ("magic of V7", 0, number(0x6969_696f)),
            ("another version", 0, number(0x6969_6969)),
            ("payload beyond the chunk", 4, number(1_044_481)),
            ("payload too short", 4, number(payload - 1)),
            ("payload too long", 4, number(payload + 1)),
            ("no payload", 4, number(0)),
            ("chunk number", 8, number(2)),
            ("negative chunk number", 8, number(u32::MAX)),
            ("header area of 0", 16, number(0)),
            ("header area shorter than the header", 16, number(35)),
            ("negative header area", 16, number(u32::MAX)),
            ("header area above the payload", 16, number(4095)),
            ("header area too long", 16, number(8192)),
            ("no regions", 20, number(0)),
            ("negative regions", 20, number(u32::MAX)),
            ("more regions than room", 20, number(508)),
            ("more relocations than room", 32, number(300)),
            ("negative relocations", 32, number(u32::MAX)),
        ];
        let table = if version == Version::V5 {
            cases.extend([
                ("bounds leave a gap", 40, wide(u64::from(u32_of(&image, 40)) + 1)),
                ("bounds end too early", 48, wide(u64::from(u32_of(&image, 48)) - 200)),
                ("bounds end too late", 48, wide(u64::MAX)),
                ("image id", 56, vec![1]),
                ("region far away", 72, wide(u64::MAX)),
            ]);
            72
        } else {
            cases.extend([
                ("bounds leave a gap", 24, number(u32_of(&image, 24) + 1)),
                ("bounds end too early", 28, number(u32_of(&image, 28) - 200)),
            ]);
            36
        };
        let count = if version == Version::V5 { table + 8 } else { table + 4 };
        cases.extend([
            ("region before the bounds", table, number(0)),
            ("region of nothing", count, number(0)),
            ("region too short", count, number(u32_of(&image, count) - 1)),
            ("region too long", count, number(u32_of(&image, count) + 1)),
            ("region much too long", count, number(u32::MAX)),
        ]);
        for (what, at, bytes) in cases {
            refused(&with(&image, at, &bytes), &format!("{version}: {what}"));
        }
        taken(&with(&image, 12, &number(99)), "blocktotal");
        taken(&with(&image, 4096 - 8, &[9; 8]), "old bytes in the header area");
    }
}

#[test]
fn chunks_out_of_place_are_refused() {
    for (version, codec) in [(Version::Native, Codec::Zstd), (Version::V5, Codec::Zlib)] {
        let image = image(version, codec);
        let chunks: Vec<_> = image.chunks(CHUNK).collect();
        assert!(chunks.len() >= 3);
        let mut other = Sample::random(78, 6_000, Content::Noise);
        other.ranges = vec![range(3, 100), range(128, 3_500), range(3_600, 5_990)];
        let mut fields = other.fields(version, codec);
        fields.image_id = Some([9; 16]);
        let other = save_to_vec(&other.disk(), &other.ranges, fields, &options(1)).unwrap().0;
        let foreign = &other[CHUNK..2 * CHUNK];
        let cases: [(&str, Vec<&[u8]>); 6] = [
            ("the first is missing", chunks[1..].to_vec()),
            ("one is missing", [&chunks[..1], &chunks[2..]].concat()),
            ("one is doubled", [&chunks[..2], &chunks[1..]].concat()),
            ("two are swapped", [&[chunks[1], chunks[0]], &chunks[2..]].concat()),
            ("one is foreign", [&[chunks[0], foreign], &chunks[2..]].concat()),
            ("one is zero", [&[chunks[0], &[0; CHUNK]], &chunks[2..]].concat()),
        ];
        for (what, chunks) in cases {
            refused(&chunks.concat(), &format!("{version}: {what}"));
        }
        if version == Version::Native {
            refused(&chunks[..chunks.len() - 1].concat(), "the last is missing");
            let again = [&chunks[..], &chunks[chunks.len() - 1..]].concat();
            refused(&again.concat(), "one more than the last");
        }
    }
}

#[test]
fn bytes_behind_a_stream_are_refused() {
    // Small chunks: there is room behind the payload.
    let sample = Sample::random(5, 300, Content::Text);
    let formats = [
        (Version::Native, Codec::Zstd),
        (Version::Native, Codec::Zlib),
        (Version::Native, Codec::Stored),
        (Version::V3, Codec::Zlib),
    ];
    for (version, codec) in formats {
        let image = sample.image(version, codec, 1);
        let field = if version == Version::Native { 12 } else { 4 };
        let payload = u32::from_le_bytes(image[field..field + 4].try_into().unwrap());
        for more in [1u32, 2, 8, 64] {
            let mut longer = image.clone();
            longer[field..field + 4].copy_from_slice(&(payload + more).to_le_bytes());
            reseal(&mut longer);
            refused(&longer, &format!("{version} {codec}: {more} bytes behind the payload"));
        }
    }
}
