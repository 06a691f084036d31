//! A disk as an installer makes it today: a volume group in a partition.

use crate::devices::Loop;
use crate::process::{Place, noise, write_at};
use crate::tools::{ready, run};

const MIB: u64 = 1 << 20;

/// GPT; partition 1 is a physical volume with the volumes root (ext4) and secret (LUKS), and room.
fn make(place: &Place) {
    place.write("pv", &noise(1, 60 << 20));
    write_at(&place.path("pv"), 0, &[0; 8192]);
    {
        let device = Loop::new(&place.path("pv"), 512);
        let config = format!(
            "devices {{ scan_lvs=0 use_devicesfile=0 hints=\"none\" filter=[\"a|^{}$|\",\"r|.*|\"] }} \
             activation {{ udev_sync=0 udev_rules=0 monitoring=0 }} backup {{ backup=0 archive=0 }}",
            device.0
        );
        for command in [
            format!("vgcreate -y -s 1M vg {}", device.0),
            "lvcreate -y -an -Zn -l 20 -n root vg".into(),
            "lvcreate -y -an -Zn -l 8 -n secret vg".into(),
        ] {
            let mut words: Vec<&str> = command.split_whitespace().collect();
            words.extend(["--driverloaded", "n", "--config", &config]);
            run("lvm", &words);
        }
    }
    let mut args = ["-q", "-F", "-L", "root", "-E", "offset=1048576"].map(AsRef::as_ref).to_vec();
    let pv = place.path("pv");
    args.extend([pv.as_os_str(), "20m".as_ref()]);
    run("mkfs.ext4", &args);
    write_at(&pv, 21 * MIB, b"LUKS\xba\xbe\x00\x02");
    place.blank("disk.raw", 64 << 20);
    run(
        "sgdisk",
        &["-n1:2048:+60M".as_ref(), "-t1:8e00".as_ref(), place.path("disk.raw").as_os_str()],
    );
    write_at(&place.path("disk.raw"), MIB, &place.read("pv"));
}

#[test]
fn volumes_have_lines_of_their_own() {
    let tools = ["lvm", "losetup", "mkfs.ext4", "e2fsck", "sgdisk"];
    if !ready("volumes_have_lines_of_their_own", &tools, true) {
        return;
    }
    let place = Place::new();
    make(&place);
    let ran = place.imagezip("-i disk.raw").expect(0).saying("partition 1, vg/secret kept whole");
    let text = ran.text();
    for words in [
        "partition 1: 60.0 MiB (Linux LVM), lvm2 \"vg\"",
        "    vg/root: 20.0 MiB (linear), ext4 \"root\": ",
        "      features: ",
        "    vg/secret: 8.0 MiB (linear), LUKS2: 8.0 MiB kept: all of it, because it is encrypted",
        "  image: about ",
        "(native zstd)",
    ] {
        assert!(text.contains(words), "expected '{words}' in:\n{text}");
    }
    let info = place.imagezip("-i --json disk.raw").expect(0).json();
    let volumes = &info["partitions"][0]["volumes"];
    assert_eq!(info["partitions"][0]["verdict"], "allocated");
    assert_eq!(volumes[0]["name"], "vg/root");
    assert_eq!(volumes[0]["filesystem"]["name"], "ext4");
    assert_eq!(volumes[0]["verdict"], "allocated");
    assert_eq!(volumes[1]["verdict"], "whole-doubtful");
    assert!(volumes[1]["reason"].as_str().unwrap().contains("encrypted"));
    place.imagezip("--strict -i disk.raw").expect(3).saying("partition 1, vg/secret").in_one_line();

    for format in ["", "-5"] {
        let info = place.imagezip(&format!("-i --json {format} disk.raw")).expect(0).json();
        let about = info["estimated_image_bytes"].as_u64().unwrap();
        place.imagezip(&format!("{format} disk.raw image.ndz")).expect(0);
        let image = u64::try_from(place.read("image.ndz").len()).unwrap();
        // Of such a small disk all is looked at.
        assert!(about.abs_diff(image) <= MIB, "about {about}, {image} in fact");
        // What is not in a volume, and what is free in root, is noise and would not compress.
        assert!(image < 16 * MIB, "{image}");
        place.imageunzip("image.ndz out.raw").expect(0);
        let root = format!("{}?offset={}", place.path("out.raw").display(), 2 * MIB);
        run("e2fsck", &["-fn", &root]);
        let (disk, out) = (place.read("disk.raw"), place.read("out.raw"));
        let secret = 22 << 20..30 << 20;
        assert!(disk[secret.clone()] == out[secret], "the encrypted volume is whole");
        assert!(disk[1 << 20..2 << 20] == out[1 << 20..2 << 20], "label and metadata");
    }
}
