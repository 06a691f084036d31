//! BSD slices: understood inside, and moved with their disklabel.

use crate::process::Place;
use crate::tools::{ready, run};

const SLICE_START: u32 = 63;
const SLICE_LEN: u32 = 20_000;
const VOLUME_LEN: u32 = 8_192;

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Sectors as bytes.
fn bytes_of(sectors: u32) -> usize {
    usize::try_from(sectors).unwrap() * 512
}

/// An MBR with one FreeBSD slice.
fn table(start: u32, len: u32) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[450] = 0xA5;
    put(&mut bytes, 454, start);
    put(&mut bytes, 458, len);
    bytes[510..].copy_from_slice(&[0x55, 0xAA]);
    bytes
}

/// A label of FreeBSD with `a` at the start of the slice, all counted from the start of the disk.
fn label(slice_start: u32, slice_len: u32) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    put(&mut bytes, 0, 0x8256_4557);
    put(&mut bytes, 40, 512);
    put(&mut bytes, 132, 0x8256_4557);
    bytes[138] = 8;
    for (entry, len, kind) in [(0, VOLUME_LEN, 7), (2, slice_len, 0)] {
        put(&mut bytes, 148 + entry * 16, len);
        put(&mut bytes, 152 + entry * 16, slice_start);
        bytes[160 + entry * 16] = kind;
    }
    let sum = bytes.chunks(2).fold(0, |sum, pair| sum ^ u16::from_le_bytes([pair[0], pair[1]]));
    bytes[136..138].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// A disk with a slice, in whose partition a is a UFS2.
fn disk(place: &Place, name: &str) -> Vec<u8> {
    std::fs::create_dir(place.path("tree")).unwrap();
    place.write("tree/file", &vec![b'x'; 300_000]);
    let (volume, tree) = (place.path("volume"), place.path("tree"));
    let mut words = ["-t", "ffs", "-s", "4m", "-o", "version=2"].map(std::ffi::OsStr::new).to_vec();
    words.extend([volume.as_os_str(), tree.as_os_str()]);
    run("makefs", &words);
    let mut bytes = table(SLICE_START, SLICE_LEN);
    bytes.resize(bytes_of(SLICE_START), 0);
    bytes.extend(place.read("volume"));
    bytes.resize(bytes_of(SLICE_START + SLICE_LEN + 500), 0);
    let at = bytes_of(SLICE_START + 1);
    bytes[at..at + 512].copy_from_slice(&label(SLICE_START, SLICE_LEN));
    place.write(name, &bytes);
    bytes
}

#[test]
fn a_slice_with_a_disklabel_moves() {
    if !ready("a_slice_with_a_disklabel_moves", &["makefs"], false) {
        return;
    }
    let place = Place::new();
    let bytes = disk(&place, "disk.raw");
    let told = place.imagezip("-i disk.raw").expect(0).text();
    assert!(told.contains("bsd-disklabel") && told.contains("ufs2"), "{told}");
    let range = |start: u32| bytes_of(start)..bytes_of(start + SLICE_LEN);

    for options in ["", "-3", "-5", "-1", "--no-relocations"] {
        let adjusted = !matches!(options, "-1" | "--no-relocations");
        let saved = place.imagezip(&format!("{options} -s 1 disk.raw slice.ndz"));
        let saved = saved.expect(0);
        assert_eq!(saved.stderr.contains("V1 has no relocations"), options == "-1");

        let (start, len) = (5_000, 30_000);
        let mut target = table(start, len);
        target.resize(bytes_of(start + len), 0);
        place.write("target.raw", &target);
        place.imageunzip("-s 1 slice.ndz target.raw").expect(0);
        let moved = place.read("target.raw");
        let moved_label = &moved[range(start)][512..1024];
        let expected = if adjusted { label(start, len) } else { label(SLICE_START, SLICE_LEN) };
        assert!(moved_label == expected, "{options}: the label is not the one of that place");

        // Back where it was.
        let mut same = table(SLICE_START, SLICE_LEN);
        same.resize(bytes.len(), 0);
        place.write("same.raw", &same);
        place.imageunzip("-s 1 slice.ndz same.raw").expect(0);
        let same = place.read("same.raw");
        assert!(same[range(SLICE_START)][512..1024] == label(SLICE_START, SLICE_LEN), "{options}");
        // What makefs leaves free is zero, but for the last sector.
        let last = bytes_of(SLICE_START + VOLUME_LEN - 1);
        let mut before = bytes.clone();
        before[last..last + 512].fill(0);
        assert!(same[range(SLICE_START)] == before[range(SLICE_START)], "{options}");
    }
}
