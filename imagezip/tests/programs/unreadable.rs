//! A source with sectors that cannot be read. The bad disk is a file on btrfs of which one block was
//! changed behind the filesystem's back: its checksum is wrong, and reading it is an I/O error.

use crate::devices::{Loop, Mount};
use crate::process::{Place, noise};
use crate::tools::{ready, run};

const DISK_BYTES: usize = 8 << 20;

/// The file's block that cannot be read, in bytes.
const BAD: std::ops::Range<usize> = 5 * MIB + 4096..5 * MIB + 8192;
const MIB: usize = 1 << 20;

/// Calls `work` with a directory in which `bad/disk.raw` has one unreadable block, and what the file
/// held.
fn with_bad_disk(test: &str, work: impl FnOnce(&Place, &[u8])) {
    if !ready(test, &["mkfs.btrfs", "losetup", "mount", "umount"], true) {
        return;
    }
    let place = Place::new();
    let content = noise(7, DISK_BYTES);
    std::fs::create_dir(place.path("files")).unwrap();
    place.write("files/disk.raw", &content);
    place.blank("volume.raw", 256 << 20);
    let files = place.path("files");
    let volume = place.path("volume.raw");
    run("mkfs.btrfs", &["-q", "--rootdir", files.to_str().unwrap(), volume.to_str().unwrap()]);
    let mut bytes = place.read("volume.raw");
    let block = &content[BAD];
    let at = bytes.chunks_exact(4096).position(|found| found == block).unwrap() * 4096;
    bytes[at] ^= 1;
    place.write("volume.raw", &bytes);
    drop(bytes);
    let device = Loop::new(&volume, 512);
    let mounted = Mount::new(&["-o", "ro", &device.0], place.path("bad"));
    work(&place, &content);
    drop(mounted);
}

#[test]
fn an_unreadable_sector_ends_the_save_with_its_number_and_a_hint() {
    with_bad_disk("an_unreadable_sector_ends_the_save", |place, _| {
        let sector = (BAD.start / 512).to_string();
        let ran = place.imagezip("bad/disk.raw out.ndz").expect(1).saying("--rescue");
        ran.saying(&format!("sector {sector} ")).in_one_line();
        assert!(!place.names().iter().any(|name| name.contains("out")), "{:?}", place.names());
    });
}

#[test]
fn a_rescue_loses_the_unreadable_sectors_and_no_others() {
    with_bad_disk("a_rescue_loses_the_unreadable_sectors", |place, content| {
        let lost = format!("{}", BAD.start / 512);
        place.imagezip("--rescue bad/disk.raw out.ndz").expect(4).saying(&lost);
        let summary = place.imagezip("-X --json -3 bad/disk.raw v3.ndz").expect(4).json();
        assert_eq!(summary["lost_sectors"], serde_json::json!([[BAD.start / 512, 8]]));
        for image in ["out.ndz", "v3.ndz"] {
            place.imageunzip(&format!("{image} restored.raw")).expect(0);
            let mut expected = content.to_vec();
            expected[BAD].fill(0);
            assert!(place.read("restored.raw") == expected, "{image}: other bytes are lost too");
        }
    });
}
