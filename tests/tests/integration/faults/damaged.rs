//! Images that were damaged: cut off, flipped, out of order.

use super::{BEFORE, assert_broken, faulty, sample};
use imagezip::load::{LoadError, TargetOptions, check};
use imagezip::ndz::{Codec, Decoder, VerifiedChunk, Version};
use imagezip::progress::Progress;
use imagezip::{disk::faulty::FaultyDisk, disk::memory::MemoryDisk, interrupt::Interrupt};
use tests::independent::{CHUNK, Chunk, Image};
use tests::rng::Rng;
use tests::samples::{From, Sample, load_onto};

const FORMATS: [(Version, Codec); 4] = [
    (Version::Native, Codec::Zstd),
    (Version::Native, Codec::Stored),
    (Version::V3, Codec::Zlib),
    (Version::V5, Codec::Zlib),
];

/// How a load of a damaged image went.
#[derive(Debug, Eq, PartialEq)]
enum Outcome {
    /// Nothing was written.
    Untouched,
    /// It was refused on the way; the target is broken.
    Broken,
    /// It was loaded.
    Loaded,
}

/// Loads an image that may be damaged; whatever happens, no byte of the target is wrong.
fn outcome(image: &[u8], from: From, sample: &Sample, what: &str) -> Outcome {
    let disk = faulty();
    let result = load_onto(image, from, &disk, TargetOptions::default(), 2);
    let written = disk.written_bytes();
    let after = disk.into_disk().into_bytes();
    match result {
        Ok(_) => Outcome::Loaded,
        Err(error) => {
            let known = matches!(error, LoadError::Format(_) | LoadError::Refused(_));
            assert!(known, "{what}: {error}");
            if written == 0 {
                return Outcome::Untouched;
            }
            assert_broken(&after, sample, what);
            Outcome::Broken
        }
    }
}

fn is_right(image: &[u8], sample: &Sample) -> bool {
    let mut disk = vec![BEFORE; sample.bytes.len()];
    Image::read(image).unwrap().restore(&mut disk);
    disk == sample.over(&vec![BEFORE; disk.len()])
}

#[test]
fn an_image_that_is_cut_off_is_refused() {
    let sample = sample();
    for (version, codec) in FORMATS {
        let image = sample.image(version, codec, 2);
        let chunks = image.len() / CHUNK;
        assert!(chunks >= 3, "{version}");
        let lengths = [0, 1, 23, 255, 4_096, CHUNK - 1, CHUNK + 1, CHUNK + 300, 2 * CHUNK + 4_096];
        for len in lengths.into_iter().chain([image.len() - 1, image.len() - CHUNK]) {
            let what = format!("{version} {codec} cut to {len} bytes");
            let cut = &image[..len];
            let native = version == Version::Native;
            let between_chunks = len > 0 && len.is_multiple_of(CHUNK);
            let file = outcome(cut, From::File, &sample, &what);
            let stream = outcome(cut, From::Stream, &sample, &what);
            if between_chunks && !native {
                // Nothing marks the last chunk of these formats.
                continue;
            }
            assert_eq!(file, Outcome::Untouched, "{what}");
            let expected = if len < CHUNK { Outcome::Untouched } else { Outcome::Broken };
            assert_eq!(stream, expected, "{what}");
        }
    }
}

#[test]
fn no_flipped_bit_of_a_native_image_puts_a_wrong_byte_on_the_disk() {
    let sample = sample();
    let seed = 20_261_122;
    let mut rng = Rng::new(seed);
    for codec in [Codec::Zstd, Codec::Stored] {
        let mut image = sample.image(Version::Native, codec, 2);
        let area = 512;
        // Every byte of the header and its tables once, then a few.
        let step = if codec == Codec::Zstd { 1 } else { 9 };
        let header = (0..288).step_by(step).filter(|at| !(128..192).contains(at));
        let somewhere = (0..20).map(|_| usize::try_from(rng.below(500_000)).unwrap() + area);
        for at in header.chain(somewhere.collect::<Vec<_>>()) {
            for chunk in [0, 1] {
                let bit = rng.below(8);
                let what = format!("seed {seed}, {codec}: bit {bit} of byte {at} of chunk {chunk}");
                image[chunk * CHUNK + at] ^= 1 << bit;
                let from = if rng.below(2) == 0 { From::File } else { From::Stream };
                let outcome = outcome(&image, from, &sample, &what);
                let allowed = match (chunk, at < area) {
                    (0, _) => outcome == Outcome::Untouched,
                    _ => outcome != Outcome::Loaded,
                };
                assert!(allowed, "{what}: {outcome:?}");
                image[chunk * CHUNK + at] ^= 1 << bit;
            }
        }
        assert!(is_right(&image, &sample));
    }
}

#[test]
fn a_flipped_bit_of_a_legacy_payload_is_found_before_its_data_are_used() {
    let sample = sample();
    let seed = 9_001;
    let mut rng = Rng::new(seed);
    for version in [Version::V1, Version::V2, Version::V3, Version::V5] {
        let mut image = sample.image(version, Codec::Zlib, 2);
        for i in 0..40 {
            let chunk = i % 2;
            // Not the two bytes of the zlib header, which say nothing about the data.
            let at = chunk * CHUNK + 4_098 + usize::try_from(rng.below(1_000_000)).unwrap();
            let bit = rng.below(8);
            image[at] ^= 1 << bit;
            let what = format!("seed {seed}, {version}: bit {bit} of byte {at}");
            let outcome = outcome(&image, From::File, &sample, &what);
            assert_ne!(outcome, Outcome::Loaded, "{what}");
            image[at] ^= 1 << bit;
        }
    }
}

#[test]
fn both_readers_judge_a_flipped_bit_of_a_legacy_header_alike() {
    // These formats cannot prove a header. What contradicts itself is refused; nothing panics.
    let sample = sample();
    for (version, len) in [(Version::V1, 40), (Version::V3, 60), (Version::V5, 104)] {
        let image = sample.image(version, Codec::Zlib, 2);
        let mut chunk = image[CHUNK..2 * CHUNK].to_vec();
        let mut decoder = Decoder::default();
        let mut refused = 0;
        for bit in 0..len * 8 {
            chunk[bit / 8] ^= 1 << (bit % 8);
            let theirs = Chunk::parse(&chunk).and_then(|header| header.inflate(&chunk));
            let ours = VerifiedChunk::verify(&chunk, 1).and_then(|chunk| decoder.check(&chunk));
            assert_eq!(ours.is_err(), theirs.is_err(), "{version}, bit {bit}: {ours:?}");
            refused += usize::from(ours.is_err());
            chunk[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(refused > len * 3, "{version}: only {refused} of {} refused", len * 8);
    }
}

#[test]
fn chunks_out_of_order_are_refused_before_the_first_write() {
    let sample = sample();
    let mut other = sample.clone();
    other.bytes.rotate_left(512);
    for (version, codec) in FORMATS {
        let image = sample.image(version, codec, 2);
        let chunk = |i: usize| &image[i * CHUNK..(i + 1) * CHUNK];
        let rest = &image[2 * CHUNK..];
        let foreign = {
            let mut fields = other.fields(version, codec);
            fields.image_id = Some([7; 16]);
            let options = tests::samples::options(1);
            tests::samples::save_to_vec(&other.disk(), &other.ranges, fields, &options).unwrap().0
        };
        let mut cases = vec![
            ("swapped", [chunk(1), chunk(0), rest].concat()),
            ("missing", [chunk(0), rest].concat()),
            ("doubled", [chunk(0), chunk(1), chunk(1), rest].concat()),
        ];
        if version != Version::V3 {
            let foreign = &foreign[CHUNK..2 * CHUNK];
            cases.push(("foreign", [chunk(0), foreign, rest].concat()));
        }
        for (what, image) in cases {
            let what = format!("{version} {codec}: {what}");
            assert_eq!(outcome(&image, From::File, &sample, &what), Outcome::Untouched, "{what}");
            let stream = outcome(&image, From::Stream, &sample, &what);
            assert_ne!(stream, Outcome::Loaded, "{what}");
        }
    }
}

#[test]
fn checking_an_image_finds_what_a_load_would() {
    let sample = sample();
    for (version, codec) in FORMATS {
        let mut image = sample.image(version, codec, 2);
        let check = |image: &[u8]| {
            let (input, _file) = tests::samples::input(image, From::File).unwrap();
            check(&input, 2, &Progress::new(), &Interrupt::never())
        };
        let info = check(&image).unwrap();
        assert_eq!(info.chunks, u64::try_from(image.len() / CHUNK).unwrap());
        assert_eq!((info.data.get() + info.zero.get()), 63 + 2_952 + 2_890);
        image[CHUNK + 300_000] ^= 0x10;
        let error = check(&image).unwrap_err().to_string();
        assert!(error.starts_with("chunk 1 (sectors "), "{error}");
    }
}

#[test]
fn an_image_larger_than_its_target_is_refused_before_the_first_write() {
    let sample = sample();
    for (version, codec) in FORMATS {
        let image = sample.image(version, codec, 2);
        for sectors in [7_989, 5_000, 100] {
            let disk = FaultyDisk::new(MemoryDisk::new(vec![BEFORE; sectors * 512]));
            let error =
                load_onto(&image, From::File, &disk, TargetOptions::default(), 1).unwrap_err();
            assert!(matches!(error, LoadError::Refused(_)), "{error}");
            let text = error.to_string();
            let sectors = sectors.to_string();
            assert!(text.contains("7990") && text.contains(&sectors), "sizes in: {text}");
            assert_eq!(disk.written_bytes(), 0);
        }
        let disk = MemoryDisk::new(vec![BEFORE; 7_990 * 512]);
        load_onto(&image, From::File, &disk, TargetOptions::default(), 1).unwrap();
    }
}
