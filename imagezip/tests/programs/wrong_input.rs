//! What a tired operator types at three in the morning: every mistake gets one line that helps.

use crate::process::{Place, Ran, noise};
use crate::tools::is_root;
use std::os::unix::fs::PermissionsExt;

#[track_caller]
fn says(ran: Ran, status: i32, words: &[&str]) {
    let mut ran = ran.expect(status).in_one_line();
    for words in words {
        ran = ran.saying(words);
    }
}

/// A directory with a file that is no disk, a file that is none, an image, and more.
fn place() -> Place {
    let place = Place::new();
    place.write("text", "Dear diary, today I lost a disk.\n".repeat(3).as_bytes());
    place.write("empty", b"");
    place.write("disk", &noise(1, 2 << 20));
    place.write("long-noise", &noise(2, 3 << 20));
    std::fs::create_dir(place.path("directory")).unwrap();
    place.imagezip("disk image.ndz").expect(0);
    place
}

#[test]
fn sources_that_are_none() {
    let place = place();
    says(place.imagezip("missing out"), 1, &["missing", "No such file"]);
    says(place.imagezip("directory out"), 3, &["directory", "block device"]);
    says(place.imagezip("/dev/null out"), 3, &["character device"]);
    says(place.imagezip("empty out"), 3, &["empty"]);
    says(place.imagezip("- out"), 1, &["No such file"]);
    says(place.imagezip("disk/ out"), 1, &["Not a directory"]);
    // Text is a disk of 99 bytes; nothing is lost.
    place.imagezip("text text.ndz").expect(0).saying("no partition table");
    // An image of an image is strange, not wrong.
    place.imagezip("image.ndz again.ndz").expect(0);
    assert!(!place.names().contains(&"out".to_owned()));
}

#[test]
fn images_that_are_none() {
    let place = place();
    for (name, status, words) in [
        ("missing", 1, &["missing", "No such file"][..]),
        ("directory", 1, &["directory"]),
        ("empty", 3, &["empty", "0 bytes"]),
        ("text", 3, &["text", "no image"]),
        ("disk", 3, &["disk", "chunk 0", "magic"]),
    ] {
        says(place.imageunzip(&format!("{name} out")), status, words);
        says(place.imageunzip(&format!("--check {name}")), status, words);
        says(place.imagedump(name), status, words);
        says(place.imagedump(&format!("-c {name}")), status, words);
        if status == 3 {
            let mut piped = place.command("imageunzip", "- out");
            let file = std::fs::File::open(place.path(name)).unwrap();
            let ran = crate::process::finish(piped.stdin(file).spawn().unwrap());
            says(ran, 3, &["standard input"]);
        }
    }
    // The right way round, as `imageunzip TARGET IMAGE`.
    says(place.imageunzip("disk image.ndz"), 3, &["disk", "magic"]);
    assert!(!place.names().contains(&"out".to_owned()));
}

#[test]
fn outputs_that_are_none() {
    let place = place();
    says(place.imagezip("disk directory"), 2, &["directory", "name a file in it"]);
    says(place.imagezip("disk no/such/out"), 1, &["no/such", "No such file"]);
    says(place.imagezip("disk /dev/full"), 1, &["/dev/full", "No space left"]);
    says(place.imagezip("disk disk"), 3, &["refusing", "the same"]);
    std::os::unix::fs::symlink("disk", place.path("symlink")).unwrap();
    std::fs::hard_link(place.path("disk"), place.path("hardlink")).unwrap();
    says(place.imagezip("disk symlink"), 3, &["refusing"]);
    says(place.imagezip("disk hardlink"), 3, &["refusing"]);
    says(place.imagezip("disk ./directory/../disk"), 3, &["refusing"]);

    says(place.imageunzip("image.ndz directory"), 3, &["directory", "block device"]);
    says(place.imageunzip("image.ndz no/such/out"), 1, &["no/such", "No such file"]);
    says(place.imageunzip("image.ndz /dev/null"), 3, &["character device"]);
    says(place.imageunzip("--in-place image.ndz missing"), 1, &["missing", "No such file"]);
    says(place.imageunzip("image.ndz image.ndz"), 3, &["refusing", "the same"]);
    says(place.imageunzip("--in-place image.ndz image.ndz"), 3, &["refusing", "the same"]);
    place.imageunzip("--check image.ndz").expect(0);
    assert_eq!(
        place.names(),
        ["directory", "disk", "empty", "hardlink", "image.ndz", "long-noise", "symlink", "text"]
    );
}

#[test]
fn no_permission() {
    use std::os::unix::process::CommandExt;
    let place = place();
    let mode = |name: &str, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path(name), permissions).unwrap();
    };
    mode("", 0o755);
    mode("disk", 0);
    mode("long-noise", 0o444);
    mode("directory", 0o555);
    for (program, words, named) in [
        ("imagezip", "disk -", "disk"),
        ("imagezip", "long-noise directory/out", "directory"),
        ("imageunzip", "disk -", "disk"),
        ("imageunzip", "image.ndz directory/out", "directory"),
        ("imageunzip", "--in-place image.ndz long-noise", "long-noise"),
        ("imagedump", "disk", "disk"),
    ] {
        let mut command = place.command(program, words);
        if is_root() {
            // Whom nothing is forbidden has to become somebody else.
            command.uid(65534).gid(65534);
        }
        match command.spawn() {
            Ok(child) => says(crate::process::finish(child), 1, &["Permission denied", named]),
            Err(error) => eprintln!("SKIPPED: no_permission: nobody may not run it: {error}"),
        }
    }
    assert_eq!(crate::process::names(&place.path("directory")).len(), 0);
}
