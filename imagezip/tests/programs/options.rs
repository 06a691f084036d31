//! What the options promise.

use crate::disks::{self, MIB, TOOLS};
use crate::process::{Place, noise, objects, read_range};
use crate::tools::{ready, run};

#[test]
fn info_tells_and_writes_nothing() {
    if !ready("info_tells_and_writes_nothing", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    let before = place.names();
    let ran = place.imagezip(&format!("-i {}", disk.name)).expect(0);
    let text = ran.text();
    for words in
        ["GPT", "partition 1", "fat12 \"BOOT\"", "partition 2", "ext4", "\"root\"", "swap", "free"]
    {
        assert!(text.contains(words), "expected '{words}' in:\n{text}");
    }
    assert_eq!(ran.stderr, "");
    let info = place.imagezip(&format!("-i --json {}", disk.name)).expect(0).json();
    assert_eq!(info["bytes"], 48 << 20);
    assert_eq!(info["table"], "GPT");
    let partitions = info["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 3);
    assert_eq!(partitions[1]["number"], 2);
    assert_eq!(partitions[1]["first_sector"], 9 * 2048);
    assert_eq!(partitions[1]["filesystem"]["label"], "root");
    assert_eq!(partitions[1]["verdict"], "allocated");
    assert!(partitions[2]["kept_bytes"].as_u64().unwrap() < 1 << 20, "{info}");
    assert_eq!(place.names(), before);

    let saved = place.imagezip(&format!("--json {} image.ndz", disk.name)).expect(0);
    assert_eq!(saved.stderr, "");
    let saved = saved.json();
    assert_eq!(saved["save_bytes"], info["save_bytes"]);
    assert_eq!(saved["lost_sectors"], serde_json::json!([]));
    let image = u64::try_from(place.read("image.ndz").len()).unwrap();
    assert_eq!(saved["image_bytes"], image);
    // Where the image goes to standard output, the summary does not.
    let piped = place.imagezip(&format!("--json {} -", disk.name)).expect(0);
    let summary = objects(&piped.stderr).pop().unwrap();
    assert_eq!(summary["chunks"], saved["chunks"]);

    let loaded = place.imageunzip("--json --verify image.ndz out.raw").expect(0).json();
    assert_eq!(loaded["chunks"], saved["chunks"]);
    let written = loaded["data_bytes"].as_u64().unwrap() + loaded["zero_bytes"].as_u64().unwrap();
    assert_eq!(saved["save_bytes"], written);
    assert!(loaded["verified_bytes"].as_u64().unwrap() >= loaded["data_bytes"].as_u64().unwrap());
    let checked = place.imageunzip("--json --check image.ndz").expect(0).json();
    assert_eq!(checked["whole"], true);
    let dumped = place.imagedump("--json -dd image.ndz").expect(0).json();
    assert_eq!(dumped["source_bytes"], 48 << 20);
    let chunks = dumped["chunk_list"].as_array().unwrap();
    assert_eq!(Some(chunks.len()), saved["chunks"].as_u64().map(|n| usize::try_from(n).unwrap()));
    // Every region is what the disk holds there.
    let (disk, restored) = (place.path(disk.name), place.path("out.raw"));
    for region in chunks.iter().flat_map(|chunk| chunk["regions"].as_array().unwrap()) {
        let [from, to] = [0, 1].map(|end| region[1][end].as_u64().unwrap() * 512);
        assert!(read_range(&disk, from..to) == read_range(&restored, from..to), "{region}");
    }
}

#[test]
fn imagedump_tells_what_an_image_holds() {
    if !ready("imagedump_tells_what_an_image_holds", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    for (options, format) in [("", "native"), ("-1", "v1"), ("-3", "v3"), ("-5", "v5")] {
        place.imagezip(&format!("{options} {} image.ndz", disk.name)).expect(0);
        let text = place.imagedump("image.ndz").expect(0).text();
        assert!(text.contains(format) && text.contains("chunks"), "{options}:\n{text}");
        let chunks = place.imagedump("-d image.ndz").expect(0).text();
        assert!(chunks.contains("chunk 0:"), "{chunks}");
        let regions = place.imagedump("-dd image.ndz").expect(0).text();
        assert!(regions.len() > chunks.len() && regions.contains("  data "), "{regions}");
        assert!(place.imagedump("-q image.ndz").expect(0).text().is_empty());
        let verified = place.imagedump("-c image.ndz").expect(0).text();
        assert!(verified.contains("payloads: whole"), "{verified}");
        let several = place.imagedump("--json image.ndz image.ndz").expect(0).text();
        assert_eq!(several.lines().count(), 2);
        let image = std::fs::File::open(place.path("image.ndz")).unwrap();
        let mut piped = place.command("imagedump", "-c -");
        crate::process::finish(piped.stdin(image).spawn().unwrap()).expect(0);
    }
}

#[test]
fn levels_codecs_and_formats_go_together_or_are_refused() {
    let place = Place::new();
    let words = "Mesdames et messieurs, faites vos jeux; ".repeat(40_000);
    place.write("disk", &[words.as_bytes(), &noise(1, 1_400_000)].concat());
    let payload = |options: &str| {
        let saved = place.imagezip(&format!("-r --json {options} disk image.ndz")).expect(0).json();
        place.imageunzip("--check image.ndz").expect(0);
        saved["payload_bytes"].as_u64().unwrap()
    };
    assert!(payload("-z0") > payload("-z1"));
    assert!(payload("-z1") + 10_000 >= payload("-z19"));
    assert!(payload("-3 -z1") >= payload("-3 -z9"));
    payload("-z22");
    payload("-3 -z0");
    let stored = payload("--codec stored");
    assert_eq!(stored, payload("-z0"));
    for bad in [
        "-z23",
        "-z-1",
        "-zx",
        "-3 -z10",
        "--codec zlib -z12",
        "-3 --codec zstd",
        "-3 -5",
        "-3 --format native",
        "-3 -u 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "-u nonsense",
        "--threads 0",
        "--threads x",
        "--memory x",
        "--memory 1M",
        "--format v4",
        "-c 0",
        "--sector-size 513",
        "-s 0",
        "-f -r",
        "-f -s 1",
        "--no-such-option",
        "-F -1",
        "-o -q",
    ] {
        let ran = place.imagezip(&format!("{bad} disk x.ndz")).expect(2);
        assert!(!ran.stderr.is_empty(), "{bad}");
    }
    for bad in ["", "disk"] {
        place.imagezip(bad).expect(2).saying("Usage");
    }
    for bad in [
        "",
        "image.ndz",
        "-z -E image.ndz t",
        "-p x image.ndz t",
        "-z -p 1 image.ndz t",
        "--check image.ndz t",
        "-s x image.ndz t",
        "-W 0k image.ndz t",
        "--threads 0 image.ndz t",
    ] {
        place.imageunzip(bad).expect(2);
    }
    place.imagedump("").expect(2).saying("Usage");
    place.imagedump("-q -c image.ndz").expect(2);
    assert!(!place.names().contains(&"t".to_owned()));
    for program in [Place::imagezip, Place::imageunzip, Place::imagedump] {
        let help = program(&place, "--help").expect(0).text();
        assert!(help.contains("Examples:") && help.contains("Exit status:"), "{help}");
        let version = program(&place, "--version").expect(0).text();
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
        assert_eq!(program(&place, "-v").expect(0).text(), version);
    }
}

#[test]
fn short_gaps_are_closed() {
    if !ready("short_gaps_are_closed", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    let ranges = |gap: &str| {
        let json = place.imagezip(&format!("-i --json {gap} {}", disk.name)).expect(0).json();
        (json["ranges"].as_u64().unwrap(), json["save_bytes"].as_u64().unwrap())
    };
    let (none, default, large) = (ranges("-F 0"), ranges(""), ranges("-F 100000"));
    assert!(none.0 >= default.0 && default.0 > large.0, "{none:?} {default:?} {large:?}");
    assert!(none.1 <= default.1 && default.1 < large.1, "{none:?} {default:?} {large:?}");
}

#[test]
fn free_space_becomes_what_was_asked() {
    if !ready("free_space_becomes_what_was_asked", &TOOLS, false) {
        return;
    }
    let place = Place::new();
    let disk = disks::gpt(&place);
    for format in ["", "-3", "-1"] {
        place.imagezip(&format!("{format} {} image.ndz", disk.name)).expect(0);
        place.imageunzip("image.ndz zero.raw").expect(0);
        let zero = place.read("zero.raw");
        let restore = |options: &str| {
            place.write("used.raw", &vec![0x77; zero.len()]);
            place.imageunzip(&format!("--in-place {options} image.ndz used.raw")).expect(0);
            place.read("used.raw")
        };
        let swap_data = usize::try_from(32 * MIB).unwrap();
        assert_eq!(restore("").get(swap_data), Some(&0x77), "{format}: left as it is");
        assert!(restore("-z") == zero, "{format}: zero");
        assert!(restore("-E") == zero, "{format}: a punched hole reads as zero");
        assert!(restore("--verify -z") == zero, "{format}: zero and verified");
        let filled = restore("-p 0xdeadbeef");
        assert_eq!(filled.get(swap_data..swap_data + 4), Some(&[0xef, 0xbe, 0xad, 0xde][..]));
        let differs = |(i, (a, b)): (usize, (&u8, &u8))| {
            (a != b && *a != [0xef, 0xbe, 0xad, 0xde][i % 4]).then_some(i)
        };
        let wrong = filled.iter().zip(&zero).enumerate().find_map(differs);
        assert_eq!(wrong, None, "{format}: neither data nor pattern");
    }
}

#[test]
fn memory_stays_below_the_limit() {
    if !ready("memory_stays_below_the_limit", &["time"], false) {
        return;
    }
    let place = Place::new();
    place.write("disk", &noise(11, 100 << 20));
    let peak = |program: &str, words: &str| {
        let path = crate::process::executable(program).to_owned();
        let mut args = vec!["-f".to_owned(), "%M".into(), "-o".into()];
        args.extend([place.path("peak").to_str().unwrap().to_owned(), path]);
        args.extend(words.split(' ').map(|word| match word.starts_with("@") {
            true => place.path(&word[1..]).to_str().unwrap().to_owned(),
            false => word.to_owned(),
        }));
        run("time", &args);
        String::from_utf8(place.read("peak")).unwrap().trim().parse::<u64>().unwrap() << 10
    };
    for (options, limit) in [
        ("--threads 2 --memory 48M", 48 << 20),
        ("--threads 8 --memory 128M", 128 << 20),
        ("--threads 2 --memory 64M --format v3", 64 << 20),
        ("--threads 2", (256 + 32) << 20),
    ] {
        let used = peak("imagezip", &format!("-r -q -z1 {options} @disk @image.ndz"));
        assert!(used <= limit, "imagezip {options}: {} MiB", used >> 20);
    }
    for (options, limit) in [("-W 64M", 64 << 20), ("--threads 8 -W 48M", 48 << 20)] {
        let used = peak("imageunzip", &format!("-q {options} @image.ndz @out.raw"));
        assert!(used <= limit, "imageunzip {options}: {} MiB", used >> 20);
    }
}

#[test]
fn what_is_said_is_as_much_as_was_asked() {
    let place = Place::new();
    place.write("disk", &noise(5, 3_000_000));
    let quiet = place.imagezip("-r -q disk image.ndz").expect(0);
    assert_eq!((quiet.text().as_str(), quiet.stderr.as_str()), ("", ""));
    let quiet = place.imageunzip("-q image.ndz out").expect(0);
    assert_eq!((quiet.text().as_str(), quiet.stderr.as_str()), ("", ""));
    place.imagezip("-r -o disk image.ndz").expect(0).saying("...").saying("3 MiB");
    place.imageunzip("-o image.ndz out").expect(0).saying("...").saying("3 MiB");
    let plain = place.imagezip("-r disk image.ndz").expect(0);
    assert!(!plain.stderr.contains('\u{1b}') && !plain.stderr.contains("..."), "no bar in a file");
    for debug in ["-d", "-dd"] {
        place.imagezip(&format!("{debug} -r disk image.ndz")).expect(0);
        place.imageunzip(&format!("{debug} image.ndz out")).expect(0);
    }
    for direct in ["--direct -D -x", "--direct -X"] {
        place.imagezip(&format!("-r {direct} disk image.ndz")).expect(0);
        place.imageunzip("-f --verify image.ndz out").expect(0).saying("read back");
        assert!(place.read("out")[..3_000_000] == place.read("disk"));
    }
}

#[test]
fn objects_tell_progress_and_the_end_whatever_it_is() {
    let place = Place::new();
    place.write("disk", &noise(9, 4 << 20));
    let whole = place.imagezip("-r --json disk image.ndz").expect(0);
    let told = objects(&whole.text());
    let (done, steps) = told.split_last().unwrap();
    assert_eq!(done["event"], "done");
    let percents: Vec<_> = steps.iter().map(|step| step["percent"].as_u64().unwrap()).collect();
    assert!(percents.is_sorted() && percents.last() == Some(&100), "{percents:?}");
    let last = steps.last().unwrap();
    assert_eq!((&last["event"], &last["bytes_read"]), (&"progress".into(), &(4 << 20).into()));
    assert_eq!((&last["bytes_left"], &last["image_bytes"]), (&0.into(), &done["image_bytes"]));

    let failed = |words: &str, status: i32| {
        let ran = place.imagezip(words).expect(status);
        let text = if words.ends_with(" -") { ran.stderr.clone() } else { ran.text() };
        let mut lines = text.lines().filter(|line| line.starts_with('{'));
        let object = objects(lines.next_back().expect("an object")).pop().unwrap();
        assert_eq!(object["event"], "failed");
        assert!(ran.stderr.contains(object["error"].as_str().unwrap()), "{}", ran.stderr);
        (object["class"].as_str().unwrap().to_owned(), object["refused"].as_bool().unwrap())
    };
    place.blank("empty", 0);
    assert_eq!(failed("--json nothing image.ndz", 1), ("disk".into(), false));
    assert_eq!(failed("--json empty image.ndz", 3), ("refused".into(), true));
    assert_eq!(failed("--json empty -", 3), ("refused".into(), true));
    assert_eq!(failed("--json --codec zstd -3 disk image.ndz", 2), ("usage".into(), false));
    let closed = "--json -r disk frisbee://127.0.0.1:1/image.ndz";
    assert_eq!(failed(closed, 1), ("server".into(), false));
}
