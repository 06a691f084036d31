//! Disks beyond 2 TiB, with sectors of both sizes, in sparse files.

use crate::devices::{self, Loop};
use crate::process::{Place, write_at};
use crate::tools::{ready, run};

const TIB: u64 = 1 << 40;

/// Byte offset of the second partition: beyond what 32 bits can count in sectors.
const FAR: u64 = 5 * (TIB >> 1);

/// A disk of 3 TiB with a small ext4 near its start and one beyond 2 TiB. Between them is swap: what
/// is in no partition would be kept.
fn make(place: &Place, device: &str, sector: u64) {
    let part = |number: u64, from: u64, to: u64| {
        format!("-n{number}:{}:{}", from / sector, to / sector - 1)
    };
    let parts = [(1, 1 << 20, 17 << 20), (2, FAR, FAR + (16 << 20)), (3, 17 << 20, FAR)];
    let [one, two, three] = parts.map(|(number, from, to)| part(number, from, to));
    run("sgdisk", &["-a1", &one, &two, &three, device]);
    let disk = place.path("disk.raw");
    let last_page = u32::try_from((FAR - (17 << 20)) / 4096 - 1).unwrap();
    write_at(&disk, (17 << 20) + 1024, &1u32.to_le_bytes());
    write_at(&disk, (17 << 20) + 1028, &last_page.to_le_bytes());
    write_at(&disk, (17 << 20) + 4086, b"SWAPSPACE2");
    for offset in [1 << 20, FAR] {
        let offset = format!("offset={offset}");
        let mut args = ["-q", "-F", "-E", &offset].map(AsRef::as_ref).to_vec();
        args.extend([disk.as_os_str(), "16m".as_ref()]);
        run("mkfs.ext4", &args);
    }
}

fn check(place: &Place, name: &str) {
    for offset in [1 << 20, FAR] {
        run("e2fsck", &["-fn", &format!("{}?offset={offset}", place.path(name).display())]);
    }
}

#[test]
fn disks_over_2_tib() {
    let tools = ["sgdisk", "mkfs.ext4", "e2fsck"];
    if !ready("disks_over_2_tib", &tools, false) {
        return;
    }
    let place = Place::new();
    place.blank("disk.raw", 3 * TIB);
    make(&place, place.path("disk.raw").to_str().unwrap(), 512);
    let info = place.imagezip("-i --json disk.raw").expect(0).json();
    assert_eq!(info["format"], "native");
    assert_eq!(info["partitions"][1]["first_sector"], FAR / 512);
    assert_eq!(info["partitions"][1]["verdict"], "allocated");
    assert!(info["save_bytes"].as_u64().unwrap() < 16 << 20, "{info}");
    for old in ["-1", "--format=v2", "-3"] {
        let ran = place.imagezip(&format!("{old} disk.raw image.ndz")).expect(3);
        ran.saying("cannot hold sector").saying("v5 or native").in_one_line();
        assert!(!place.names().contains(&"image.ndz".into()), "nothing is left behind");
    }
    // The first partition alone fits the old formats.
    place.imagezip("-3 -s 1 disk.raw slice.ndz").expect(0);
    for format in ["", "-5"] {
        place.imagezip(&format!("{format} disk.raw image.ndz")).expect(0);
        place.imageunzip("image.ndz out.raw").expect(0);
        assert_eq!(std::fs::metadata(place.path("out.raw")).unwrap().len(), 3 * TIB);
        check(&place, "out.raw");
        let text = run("sgdisk", &["-v".as_ref(), place.path("out.raw").as_os_str()]);
        assert!(text.contains("No problems found"), "{text}");
    }
}

#[test]
fn disks_of_4096_byte_sectors_over_2_tib() {
    if !devices::can_run("disks_of_4096_byte_sectors_over_2_tib") {
        return;
    }
    let place = Place::new();
    place.blank("disk.raw", 3 * TIB);
    {
        let device = Loop::new(&place.path("disk.raw"), 4096);
        make(&place, &device.0, 4096);
        let info = place.imagezip(&format!("-i --json {}", device.0)).expect(0).json();
        assert_eq!(info["logical_sector_bytes"], 4096);
        assert_eq!(info["partitions"][1]["first_sector"], FAR / 512);
        assert_eq!(info["partitions"][1]["verdict"], "allocated");
        place.imagezip(&format!("-3 {} no.ndz", device.0)).expect(3).saying("cannot hold sector");
        place.imagezip(&format!("{} image.ndz", device.0)).expect(0);
    }
    place.blank("out.raw", 3 * TIB);
    let target = Loop::new(&place.path("out.raw"), 4096);
    place.imageunzip(&format!("image.ndz {}", target.0)).expect(0);
    let text = run("sgdisk", &["-v", &target.0]);
    assert!(text.contains("No problems found"), "{text}");
    drop(target);
    check(&place, "out.raw");
}
