//! Whole disks, saved and restored in every format, through files and pipes.

use crate::disks::{self, TOOLS};
use crate::process::{Place, finish};
use crate::tools::ready;
use std::process::Stdio;

#[test]
fn a_gpt_disk_survives_every_format() {
    if !ready("a_gpt_disk_survives_every_format", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    let size = place.read(disk.name).len();
    let mut first: Option<Vec<u8>> = None;
    for options in ["", "-1", "--format=v2", "-3", "-5", "--codec=zlib", "-z0", "-z19"] {
        let saved = place.imagezip(&format!("{options} {} image.ndz", disk.name)).expect(0);
        // Garbage in free space is left out: it does not compress, and would be 48 MiB.
        let image = place.read("image.ndz").len();
        assert!(image <= 7 << 20, "{options}: {image} bytes\n{}", saved.stderr);
        place.imagedump("-c image.ndz").expect(0);
        place.imageunzip("--check image.ndz").expect(0).saying("whole");
        place.imageunzip("image.ndz restored.raw").expect(0);
        let restored = place.read("restored.raw");
        assert_eq!(restored.len(), size, "{options}");
        match &first {
            None => {
                disk.assert_restored(&place, "restored.raw");
                first = Some(restored);
            }
            // What was left out is zero in a new file, whatever the format.
            Some(first) => assert!(*first == restored, "{options}: differs from native"),
        }
    }
}

#[test]
fn an_mbr_disk_with_logical_partitions_survives() {
    if !ready("an_mbr_disk_with_logical_partitions_survives", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::mbr(&place);
    for options in ["", "-3", "-5"] {
        let saved = place.imagezip(&format!("{options} {} image.ndz", disk.name)).expect(0);
        let saved = saved.saying("partition 5").saying("partition 6").saying("MBR");
        assert!(!saved.stderr.contains("warning"), "{}", saved.stderr);
        place.imageunzip("image.ndz restored.raw").expect(0);
        disk.assert_restored(&place, "restored.raw");
    }
}

#[test]
fn pipes_carry_images_and_disks() {
    if !ready("pipes_carry_images_and_disks", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    for options in ["", "-3", "-1"] {
        let words = format!("{options} {} -", disk.name);
        let mut save = place.command("imagezip", &words).spawn().unwrap();
        let pipe = save.stdout.take().unwrap();
        let load = place.command("imageunzip", "- a.raw").stdin(Stdio::from(pipe)).spawn();
        finish(load.unwrap()).expect(0);
        finish(save).expect(0);
        disk.assert_files(&place, "a.raw", disk.ext4);

        // The same through a file, and to standard output.
        place.imagezip(&format!("{options} {} image.ndz", disk.name)).expect(0);
        let out = place.imageunzip("image.ndz -").expect(0).stdout;
        assert!(out == place.read("a.raw"), "{options}: standard output differs");
        let image = std::fs::File::open(place.path("image.ndz")).unwrap();
        let load = place.command("imageunzip", "- -").stdin(Stdio::from(image)).spawn();
        assert!(finish(load.unwrap()).expect(0).stdout == out, "{options}: - to - differs");
    }
}

#[test]
fn the_same_uuid_makes_the_same_bytes() {
    if !ready("the_same_uuid_makes_the_same_bytes", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::mbr(&place);
    for format in ["native", "v5", "native --codec=zlib", "native --memory=64M"] {
        let uuid = "-u 6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        let mut first = Vec::new();
        for threads in [1, 2, 5] {
            let words = format!("--format {format} {uuid} --threads {threads} {} -", disk.name);
            let image = place.imagezip(&words).expect(0).stdout;
            if threads == 1 {
                first = image;
            } else {
                assert!(first == image, "{format}: {threads} threads make another image");
            }
        }
        place.write("image.ndz", &first);
        let text = place.imagedump("image.ndz").expect(0).text();
        assert!(text.contains("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), "{text}");
    }
    let random = |_| place.imagezip(&format!("{} -", disk.name)).expect(0).stdout;
    let [a, b] = [0, 1].map(random);
    assert!(a != b, "without --uuid every image has its own");
}
