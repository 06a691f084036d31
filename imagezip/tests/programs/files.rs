//! Plain files, with `-f`.

use crate::process::{Place, noise};

#[test]
fn a_file_is_restored_to_its_length() {
    let place = Place::new();
    for len in [1, 511, 512, 513, 70_001, 2_500_000] {
        let content = noise(u64::try_from(len).unwrap(), len);
        place.write("file", &content);
        for format in ["", "--format=v2", "-3", "-5", "--codec=stored"] {
            place.imagezip(&format!("-f {format} file image.ndz")).expect(0);
            place.imageunzip("image.ndz back").expect(0);
            assert!(place.read("back") == content, "{format} {len}: {}", place.read("back").len());
            let out = place.imageunzip("image.ndz -").expect(0).stdout;
            assert!(out == content, "{format} {len}: {} bytes to standard output", out.len());
            let image = std::fs::File::open(place.path("image.ndz")).unwrap();
            let mut piped = place.command("imageunzip", "- back");
            crate::process::finish(piped.stdin(image).spawn().unwrap()).expect(0);
            assert!(place.read("back") == content, "{format} {len}: from a pipe");
        }
        // V1, and no relocations: whole sectors.
        for format in ["-1", "-3 -x"] {
            place.imagezip(&format!("-f {format} file image.ndz")).expect(0);
            place.imageunzip("image.ndz back").expect(0);
            let mut padded = content.clone();
            padded.resize(len.next_multiple_of(512), 0);
            assert!(place.read("back") == padded, "{format} {len}");
        }
    }
}

#[test]
fn holes_and_zeros_need_no_room() {
    let place = Place::new();
    place.blank("disk", 3 << 30);
    crate::process::write_at(&place.path("disk"), 2 << 30, &noise(8, 100_000));
    let ran = place.imagezip("-r --json disk image.ndz").expect(0).json();
    assert_eq!(ran["image_bytes"], 1 << 20);
    place.imageunzip("image.ndz back").expect(0);
    let blocks = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(place.path(name)).unwrap().blocks()
    };
    assert!(blocks("back") < 4096, "{} blocks", blocks("back"));
    crate::tools::run("cmp", &[place.path("disk"), place.path("back")]);
}
