//! What must not be lost: servers that are killed, disks that are full.

use image_store::{ImageName, Store, StoreError, StoreOptions, UploadOptions};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod images;
use images::{name, seeded_image};

/// Servers killed.
const KILLS: u64 = 25;

fn open(dir: &Path) -> Store {
    let options = StoreOptions { keep_old: true, ..StoreOptions::default() };
    Store::open(dir.to_str().unwrap(), options).unwrap()
}

fn image_name() -> ImageName {
    name("project/a.ndz")
}

/// Not a test of its own: uploads one image after another until it is killed, and says the number
/// of each that was published.
#[test]
fn child_that_uploads_until_it_is_killed() {
    let Ok(dir) = std::env::var("UPLOAD_UNTIL_KILLED") else { return };
    let store = open(Path::new(&dir));
    println!("begun");
    for number in 0.. {
        let image = seeded_image(3, number);
        let mut upload = store.begin_upload(&image_name(), UploadOptions::default()).unwrap();
        for piece in image.chunks(300_000) {
            upload.write(piece).unwrap();
        }
        upload.make_durable().unwrap();
        if number % 3 == 2 {
            upload.suspend().unwrap();
            continue;
        }
        upload.publish(Some((3 << 20, *blake3::hash(&image).as_bytes()))).unwrap();
        println!("published {number}");
    }
}

#[test]
fn a_killed_server_loses_nothing_that_was_published() {
    let dir = tempfile::tempdir().unwrap();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = seed;
    let image = dir.path().join("project/a.ndz");
    let whole: Vec<Vec<u8>> = (0..200).map(|number| seeded_image(3, number)).collect();
    let number_of = |path: &Path| {
        let found = fs::read(path).unwrap();
        whole.iter().position(|image| *image == found).expect("a whole image")
    };
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "child_that_uploads_until_it_is_killed"])
            .env("UPLOAD_UNTIL_KILLED", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.by_ref().any(|line| line.ends_with("begun")));
        // A random moment: the time is the fault being tried, nothing waits for it to be right.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let moment = Instant::now() + Duration::from_micros((random >> 33) % 60_000);
        let mut published = None;
        while Instant::now() < moment {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            let number = line.strip_prefix("published ").and_then(|n| n.parse::<usize>().ok());
            published = number.or(published);
        }
        // The next server: whole images only, the one told of or a later one.
        let store = open(dir.path());
        if let Some(published) = published {
            let found = number_of(&image);
            assert!(found >= published, "published {published}, found {found}");
        }
        for path in [image.clone(), dir.path().join(".old/project%2Fa.ndz")] {
            if path.exists() {
                number_of(&path);
            }
        }
        let listed = store.list().unwrap();
        assert!(listed.iter().all(|entry| entry.name == image_name() && entry.bytes == 3 << 20));
        // What is left can be gone on with, and nothing else is left.
        let mut left: Vec<PathBuf> = fs::read_dir(dir.path().join(".uploads"))
            .map(|items| items.map(|item| item.unwrap().path()).collect())
            .unwrap_or_default();
        left.retain(|path| path.extension().is_some());
        left.sort();
        for pair in left.chunks(2) {
            let [journal, part] = pair else { panic!("left over: {left:?}") };
            let id = part.file_stem().unwrap().to_str().unwrap();
            assert_eq!(journal.file_stem().unwrap(), id);
            let resume = image_store::UploadId::parse(id);
            let options = UploadOptions { resume, ..UploadOptions::default() };
            let upload = store.begin_upload(&image_name(), options).unwrap();
            assert!(upload.offset() <= 3 << 20);
            upload.discard().unwrap();
        }
        assert!(!dir.path().join(".aside").exists());
    }
}

/// A small file system of its own, unmounted with this.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None`, said loudly, where that is not allowed.
    fn mount(dir: &'a Path, bytes: u64) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(dir)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        let must = std::env::var("CI").is_ok_and(|ci| ci == "true")
            && rustix::process::geteuid().is_root();
        assert!(!must, "cannot mount a small disk");
        eprintln!("SKIPPED: mounting a small disk needs root");
        None
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_the_old_image() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path(), 8 << 20) else { return };
    let store = Store::open(disk.0.to_str().unwrap(), StoreOptions::default()).unwrap();
    let a = name("a.ndz");
    let old = seeded_image(3, 1);
    let mut upload = store.begin_upload(&a, UploadOptions::default()).unwrap();
    upload.write(&old).unwrap();
    upload.publish(None).unwrap();
    // Told at once when the length is known ...
    let announced = UploadOptions { bytes: Some(6 << 20), ..UploadOptions::default() };
    let error = store.begin_upload(&a, announced).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.to_string().contains("6.0 MiB needed"), "{error}");
    // ... and two cannot both be promised the same room.
    let announced = UploadOptions { bytes: Some(3 << 20), ..UploadOptions::default() };
    let first = store.begin_upload(&a, announced.clone()).unwrap();
    let error = store.begin_upload(&name("b"), announced.clone()).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    // Suspended, an upload gives back what it does not need yet.
    first.suspend().unwrap();
    store.begin_upload(&name("b"), announced).unwrap().discard().unwrap();
    // Otherwise when it is full.
    let image = seeded_image(7, 2);
    let mut upload = store.begin_upload(&a, UploadOptions::default()).unwrap();
    let error = upload.write(&image).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    let id = upload.id();
    assert!(matches!(upload.make_durable(), Err(StoreError::Full { .. })));
    drop(upload);
    assert_eq!(fs::read(disk.0.join("a.ndz")).unwrap(), old);
    // With room again, the same upload goes on.
    store.delete(&a).unwrap();
    let resume = UploadOptions { resume: Some(id), ..UploadOptions::default() };
    let mut upload = store.begin_upload(&a, resume).unwrap();
    assert!(upload.offset() >= 4 << 20, "what had room is kept: {}", upload.offset());
    let offset = usize::try_from(upload.offset()).unwrap();
    upload.write(&image[offset..]).unwrap();
    upload.publish(Some((7 << 20, *blake3::hash(&image).as_bytes()))).unwrap();
    assert_eq!(fs::read(disk.0.join("a.ndz")).unwrap(), image);
}

#[test]
fn an_image_never_appears_in_two_steps() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("other");
    fs::create_dir(&inner).unwrap();
    let Some(_disk) = SmallDisk::mount(&inner, 4 << 20) else { return };
    fs::write(inner.join("a"), "there").unwrap();
    let store = open(dir.path());
    // What lies on another disk is served, but cannot be replaced in one step.
    assert_eq!(store.list().unwrap().len(), 1);
    let error = store.begin_upload(&name("other/a"), UploadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("another file system"), "{error}");
}
