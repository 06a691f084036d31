//! Damaged images: what is refused before the first write, what fails later, and what is left.

use crate::process::{Place, finish, noise, write_at};
use std::process::Stdio;

/// An image of some chunks, and its source.
fn saved(options: &str) -> Place {
    let place = Place::new();
    place.write("disk", &noise(21, 6 << 20));
    place.imagezip(&format!("-r {options} disk image.ndz")).expect(0);
    place.write("target", &[9; 7 << 20]);
    place
}

const CHUNK: u64 = 1 << 20;

#[test]
fn a_damaged_header_is_refused_before_the_first_write() {
    for options in ["", "-3", "-5"] {
        let place = saved(options);
        let image = place.read("image.ndz");
        let damage = |offset: u64, bytes: &[u8], words: &str| {
            place.write("bad.ndz", &image);
            write_at(&place.path("bad.ndz"), offset, bytes);
            refused(&place, words);
        };
        damage(0, b"XXXX", "chunk 0");
        damage(2 * CHUNK, &[0xff; 16], "chunk 2");
        damage(3 * CHUNK, &image[usize::try_from(4 * CHUNK).unwrap()..][..4096], "chunk 4");
        place.write("bad.ndz", &image[..image.len() - 1]);
        refused(&place, "cut off");
        if options.is_empty() {
            // The deployed formats do not say which chunk is the last.
            place.write("bad.ndz", &image[..image.len() - usize::try_from(CHUNK).unwrap()]);
            refused(&place, "chunk");
        }
        place.write("bad.ndz", &[&image[..], &image[..]].concat());
        refused(&place, "chunk");
    }
}

/// bad.ndz is refused by everyone, and no target is touched or made.
#[track_caller]
fn refused(place: &Place, words: &str) {
    let old = place.read("target");
    let names = place.names();
    for target in ["new", "--in-place target", "--check", "-"] {
        let ran = place.imageunzip(&format!("bad.ndz {target}")).expect(3).in_one_line();
        ran.saying("bad.ndz").saying(words);
    }
    place.imagedump("bad.ndz").expect(3).saying("bad.ndz");
    assert!(place.read("target") == old && place.names() == names, "something was touched");
}

#[test]
fn a_damaged_payload_fails_and_names_itself() {
    for options in ["", "-3", "--codec zlib"] {
        let place = saved(options);
        write_at(&place.path("image.ndz"), 2 * CHUNK + 500_000, &[0xff; 64]);
        let names = place.names();
        for words in ["image.ndz new", "--in-place image.ndz target"] {
            let ran = place.imageunzip(words).expect(1).saying("chunk 2").saying("image.ndz");
            let new = words.ends_with("new");
            assert_eq!(ran.stderr.contains("incomplete"), !new, "{}", ran.stderr);
        }
        assert_eq!(place.names(), names, "a file that is not complete does not appear");
        assert!(place.read("target")[..512] == [0; 512], "an incomplete disk has no table");
        place.imageunzip("image.ndz -").expect(1).saying("chunk 2");
        place.imageunzip("--check image.ndz").expect(3).saying("chunk 2").in_one_line();
        place.imagedump("-c image.ndz").expect(3).saying("chunk 2").in_one_line();
    }
}

#[test]
fn a_stream_that_breaks_off_fails() {
    let place = saved("");
    let image = place.read("image.ndz");
    for len in [image.len() - 1000, image.len() - usize::try_from(CHUNK).unwrap()] {
        place.write("bad.ndz", &image[..len]);
        for target in ["new", "--in-place target", "-"] {
            let (flag, target) = target.rsplit_once(' ').unwrap_or(("", target));
            let mut load = place.command("imageunzip", &format!("{flag} - {target}"));
            load.stdin(std::fs::File::open(place.path("bad.ndz")).unwrap());
            finish(load.spawn().unwrap()).expect(1).saying("standard input").saying("chunk");
        }
    }
    assert!(!place.names().contains(&"new".to_owned()));
}

#[test]
fn a_reader_that_goes_away_is_one_clear_error() {
    let place = saved("");
    for (program, words) in [("imagezip", "-r disk -"), ("imageunzip", "image.ndz -")] {
        let mut child = place.command(program, words).spawn().unwrap();
        let mut pipe = child.stdout.take().unwrap();
        crate::process::take(&mut pipe, 1000);
        drop(pipe);
        let ran = finish(child).expect(1).in_one_line();
        ran.saying("the reading program has ended");
    }
    for words in ["--json -dd image.ndz", "-dd image.ndz"] {
        // What imagedump prints is for people and their pagers: no error at all.
        let mut child = place.command("imagedump", words).spawn().unwrap();
        drop(child.stdout.take());
        let ran = finish(child);
        assert_eq!(ran.stderr, "");
    }
    let closed = place.command("imagezip", "-i disk").stdout(Stdio::piped()).spawn();
    let mut child = closed.unwrap();
    drop(child.stdout.take());
    finish(child);
}
