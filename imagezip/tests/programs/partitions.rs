//! One partition saved, restored, left out, or kept whole.

use crate::disks::{self, DISK_BYTES, MIB, TOOLS};
use crate::process::{Place, read_range, write_at};
use crate::tools::{ready, run};

fn partition_types(place: &Place, name: &str) -> Vec<String> {
    let text = run("sfdisk", &["--json".as_ref(), place.path(name).as_os_str()]);
    let table: serde_json::Value = serde_json::from_str(&text).unwrap();
    let partitions = table.pointer("/partitiontable/partitions").unwrap().as_array().unwrap();
    partitions.iter().map(|p| p["type"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_partition_goes_into_a_partition_of_another_disk() {
    if !ready("a_partition_goes_into_a_partition_of_another_disk", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let (gpt, mbr) = (disks::gpt(&place), disks::mbr(&place));
    for options in ["", "-3", "-5", "-1"] {
        place.imagezip(&format!("{options} -s 2 {} slice.ndz", gpt.name)).expect(0);
        place.copy(mbr.name, "target.raw");
        // A disk in the middle of whose tables and data nothing else may change.
        place.imageunzip("-s 5 -D 0x8e slice.ndz target.raw").expect(0);
        gpt.assert_files(&place, "target.raw", mbr.ext4);
        assert_eq!(partition_types(&place, "target.raw"), ["c", "5", "8e", "82"], "{options}");
        let (old, new) = (place.path(mbr.name), place.path("target.raw"));
        let end = mbr.ext4 + 20 * MIB;
        assert!(read_range(&old, 0..9 * MIB) == read_range(&new, 0..9 * MIB), "{options}");
        assert!(read_range(&old, end..DISK_BYTES) == read_range(&new, end..DISK_BYTES));

        // As a filesystem in a file. V1 does not tell how long its source was.
        if options == "-1" {
            continue;
        }
        place.imageunzip("slice.ndz slice.raw").expect(0);
        assert_eq!(place.read("slice.raw").len(), usize::try_from(20 * MIB).unwrap());
        gpt.assert_files(&place, "slice.raw", 0);
    }
    place.imagezip(&format!("-s 5 {} slice.ndz", mbr.name)).expect(0);
    place.copy(gpt.name, "target.raw");
    let lvm = "e6d6d379-f507-44c2-a23c-238f2a3df928";
    place.imageunzip(&format!("-s 2 -D {lvm} --verify slice.ndz target.raw")).expect(0);
    mbr.assert_files(&place, "target.raw", gpt.ext4);
    assert_eq!(partition_types(&place, "target.raw")[1].to_lowercase(), lvm);
    let text = run("sgdisk", &["-v".as_ref(), place.path("target.raw").as_os_str()]);
    assert!(text.contains("No problems found"), "{text}");
}

#[test]
fn a_partition_that_does_not_suit_is_refused_and_nothing_is_touched() {
    if !ready("a_partition_that_does_not_suit_is_refused", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let (gpt, mbr) = (disks::gpt(&place), disks::mbr(&place));
    place.imagezip(&format!("-s 2 {} slice.ndz", gpt.name)).expect(0);
    place.imagezip(&format!("{} disk.ndz", gpt.name)).expect(0);
    let before = place.read(mbr.name);
    let load = |words: &str| place.imageunzip(&format!("{words} {}", mbr.name));
    load("-s 1 slice.ndz").expect(3).saying("does not fit").in_one_line();
    load("-s 9 slice.ndz").expect(3).saying("no partition 9; it has 1, 5, 6").in_one_line();
    load("-s 2 slice.ndz").expect(3).saying("extended").in_one_line();
    load("-s 5 disk.ndz").expect(3).saying("holds a whole disk").in_one_line();
    let guid = "11111111-2222-3333-4444-555555555555";
    load(&format!("-s 5 -D {guid} slice.ndz")).expect(3).saying(guid).in_one_line();
    load("-D 0x83 slice.ndz").expect(2);
    load("-s 5 -D nonsense slice.ndz").expect(2);
    assert!(place.read(mbr.name) == before, "a refused target is not touched");
    place.write("text", b"no disk");
    place.imageunzip("-s 1 slice.ndz text").expect(3).saying("it has none");
    place.imageunzip("-s 1 slice.ndz nowhere").expect(1).saying("No such file");

    let save = |words: &str| place.imagezip(&format!("{words} {} x.ndz", mbr.name));
    save("-s 7").expect(3).saying("no partition 7; the disk has 1, 5, 6").in_one_line();
    save("-s 2").expect(3).saying("extended").saying("5, 6").in_one_line();
    save("-I 7").expect(3).saying("no partition 7");
    save("-R 7").expect(3).saying("no partition 7");
    save("-s 1 -I 1").expect(2);
    save("-s x").expect(2);
    save("-r -I 1").expect(2);
    assert!(!place.names().contains(&"x.ndz".to_owned()));
}

#[test]
fn partitions_are_left_out_or_kept_whole_as_asked() {
    if !ready("partitions_are_left_out_or_kept_whole_as_asked", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    let (made, restored) = (place.path(disk.name), place.path("restored.raw"));
    let same = |from: u64, to: u64| {
        read_range(&made, from * MIB..to * MIB) == read_range(&restored, from * MIB..to * MIB)
    };
    let go = |options: &str| {
        let saved = place.imagezip(&format!("{options} {} image.ndz", disk.name)).expect(0);
        place.imageunzip("image.ndz restored.raw").expect(0);
        saved
    };

    go("-I 2 -I 3").saying("left out, as asked");
    let zeros = |from: u64, to: u64| {
        read_range(&restored, from * MIB..to * MIB).iter().all(|byte| *byte == 0)
    };
    assert!(zeros(9, 33) && !same(1, 9) && same(0, 1));

    go("-R 2").saying("all of it, as asked");
    assert!(same(9, 29) && !same(1, 9), "all of partition 2, garbage too");

    go("-r");
    assert!(same(0, 48), "raw is every sector");
    go("-r -s 2");
    assert!(place.read("restored.raw") == read_range(&made, 9 * MIB..29 * MIB));

    // The first 12 MiB, whatever is there.
    go("-c 24576");
    assert_eq!(place.read("restored.raw").len(), usize::try_from(12 * MIB).unwrap());
    assert!(same(0, 1) && same(9, 12));
}

#[test]
fn a_dirty_journal_is_kept_whole_and_named() {
    if !ready("a_dirty_journal_is_kept_whole_and_named", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    let image = format!("{}?offset={}", place.path(disk.name).display(), disk.ext4);
    run("debugfs", &["-w", "-R", "feature needs_recovery", &image]);
    let ran = place.imagezip(&format!("{} image.ndz", disk.name)).expect(0);
    ran.saying("warning: partition 2 kept whole").saying("journal");
    place.imageunzip("image.ndz restored.raw").expect(0);
    let range = disk.ext4..disk.ext4 + 20 * MIB;
    let same = read_range(&place.path(disk.name), range.clone())
        == read_range(&place.path("restored.raw"), range);
    assert!(same, "all of partition 2");
    let strict = place.imagezip(&format!("--strict {} strict.ndz", disk.name)).expect(3);
    strict.saying("partition 2").saying("--strict").in_one_line();
    assert!(!place.names().contains(&"strict.ndz".to_owned()));
    let json = place.imagezip(&format!("-i --json {}", disk.name)).expect(0).json();
    assert_eq!(json["partitions"][1]["verdict"], "whole-doubtful");
    assert!(json["partitions"][1]["reason"].as_str().unwrap().contains("journal"), "{json}");
}

#[test]
fn a_broken_table_keeps_everything() {
    if !ready("a_broken_table_keeps_everything", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    // Both headers: nothing on the disk can be trusted any more.
    write_at(&place.path(disk.name), 512 + 30, &[0x55; 4]);
    let ran = place.imagezip(&format!("{} image.ndz", disk.name)).expect(0);
    ran.saying("warning").saying("backup");
    place.imageunzip("image.ndz restored.raw").expect(0);
    disk.assert_files(&place, "restored.raw", disk.ext4);
    write_at(&place.path(disk.name), DISK_BYTES - 512 + 30, &[0x55; 4]);
    let ran = place.imagezip(&format!("{} image.ndz", disk.name)).expect(0);
    ran.saying("kept whole");
    place.imageunzip("image.ndz restored.raw").expect(0);
    assert!(place.read("restored.raw") == place.read(disk.name));
    place.imagezip(&format!("--strict {} x.ndz", disk.name)).expect(3).saying("--strict");
    place.imagezip(&format!("-s 2 {} x.ndz", disk.name)).expect(3).in_one_line();
}
