//! Targets of another size.

use crate::disks::{self, DISK_BYTES, MIB, TOOLS};
use crate::process::{Place, read_range};
use crate::tools::{ready, run};

#[test]
fn a_gpt_moves_to_the_end_of_a_larger_and_a_smaller_disk() {
    if !ready("a_gpt_moves_to_the_end_of_a_larger_and_a_smaller_disk", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    for options in ["", "-3", "-5", "-1"] {
        place.imagezip(&format!("{options} {} image.ndz", disk.name)).expect(0);
        // The last partition ends at 33 MiB.
        for bytes in [DISK_BYTES + 77 * 512, 2 * DISK_BYTES, DISK_BYTES - MIB, 34 * MIB] {
            place.blank("target.raw", bytes);
            place.imageunzip("--in-place --verify image.ndz target.raw").expect(0);
            assert_eq!(std::fs::metadata(place.path("target.raw")).unwrap().len(), bytes);
            let text = run("sgdisk", &["-v".as_ref(), place.path("target.raw").as_os_str()]);
            assert!(text.contains("No problems found"), "{options} {bytes}: {text}");
            disk.assert_files(&place, "target.raw", disk.ext4);
            let last = read_range(&place.path("target.raw"), bytes - 512..bytes);
            assert!(last.starts_with(b"EFI PART"), "{options} {bytes}");
            if bytes > DISK_BYTES {
                let old = read_range(&place.path("target.raw"), DISK_BYTES - 512..DISK_BYTES);
                assert!(!old.starts_with(b"EFI PART"), "the old backup is left out");
            }
        }
    }
    // From a pipe only the first chunk is known before the first write.
    let image = std::fs::File::open(place.path("image.ndz")).unwrap();
    place.blank("target.raw", 2 * DISK_BYTES);
    let mut piped = place.command("imageunzip", "--in-place - target.raw");
    crate::process::finish(piped.stdin(image).spawn().unwrap()).expect(0);
    let text = run("sgdisk", &["-v".as_ref(), place.path("target.raw").as_os_str()]);
    assert!(text.contains("No problems found"), "{text}");

    place.imagezip(&format!("{} image.ndz", disk.name)).expect(0);
    place.blank("target.raw", 2 * DISK_BYTES);
    place.imageunzip("--in-place --keep-gpt image.ndz target.raw").expect(0);
    let old = read_range(&place.path("target.raw"), DISK_BYTES - 512..DISK_BYTES);
    assert!(old.starts_with(b"EFI PART"), "--keep-gpt leaves it where it was");
}

#[test]
fn a_target_that_is_too_small_is_not_touched() {
    if !ready("a_target_that_is_too_small_is_not_touched", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    for disk in [disks::gpt(&place), disks::mbr(&place)] {
        for options in ["", "-3"] {
            place.imagezip(&format!("{options} {} image.ndz", disk.name)).expect(0);
            let old = vec![7; usize::try_from(20 * MIB).unwrap()];
            place.write("target.raw", &old);
            let ran = place.imageunzip("--in-place image.ndz target.raw").expect(3);
            let ran = ran.saying("does not fit").saying("partition").in_one_line();
            assert!(ran.stderr.contains("MiB"), "{}", ran.stderr);
            assert!(place.read("target.raw") == old, "a refused target is not touched");
        }
    }
}

#[test]
fn an_mbr_disk_goes_onto_other_sizes() {
    if !ready("an_mbr_disk_goes_onto_other_sizes", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::mbr(&place);
    place.imagezip(&format!("{} image.ndz", disk.name)).expect(0);
    // The extended partition ends at 41 MiB.
    for bytes in [41 * MIB, 3 * DISK_BYTES] {
        place.blank("target.raw", bytes);
        place.imageunzip("--in-place image.ndz target.raw").expect(0);
        disk.assert_restored(&place, "target.raw");
    }
    place.blank("target.raw", 40 * MIB);
    place.imageunzip("--in-place image.ndz target.raw").expect(3).saying("does not fit");
}
