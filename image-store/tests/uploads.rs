//! Uploads into a directory: what is published, what is kept, what is refused.

use image_store::{ImageName, Store, StoreError, StoreOptions, UploadId, UploadOptions};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod images;
use images::{golden, name, native_image};

fn open(dir: &Path) -> Store {
    open_with(dir, StoreOptions::default())
}

fn open_with(dir: &Path, options: StoreOptions) -> Store {
    Store::open(dir.to_str().unwrap(), options).unwrap()
}

fn any_file() -> UploadOptions {
    UploadOptions { image: false, ..UploadOptions::default() }
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len().try_into().unwrap()
}

fn ended(bytes: &[u8]) -> Option<(u64, [u8; 32])> {
    Some((length(bytes), *blake3::hash(bytes).as_bytes()))
}

fn upload(store: &Store, name: &ImageName, bytes: &[u8]) {
    let mut upload = store.begin_upload(name, any_file()).unwrap();
    upload.write(bytes).unwrap();
    upload.publish(ended(bytes)).unwrap();
}

fn files(dir: &Path) -> Vec<String> {
    let Ok(items) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> =
        items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What is left in `.uploads` besides the lock.
fn under_way(dir: &Path) -> Vec<String> {
    files(&dir.join(".uploads")).into_iter().filter(|name| name != "lock").collect()
}

fn aside(dir: &Path) -> Vec<PathBuf> {
    files(&dir.join(".aside")).into_iter().map(|name| dir.join(".aside").join(name)).collect()
}

#[test]
fn nothing_is_seen_of_an_image_before_it_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let image = native_image(5);
    let name = name("project/new.ndz");
    let options = UploadOptions { bytes: Some(length(&image)), ..UploadOptions::default() };
    let mut upload = store.begin_upload(&name, options).unwrap();
    for piece in image.chunks(100_000) {
        upload.write(piece).unwrap();
        assert!(store.list().unwrap().is_empty());
    }
    assert_eq!(upload.make_durable().unwrap(), length(&image));
    assert!(store.find(&name).unwrap().is_none());
    assert!(!dir.path().join("project").exists());
    let published = upload.publish(ended(&image)).unwrap();
    assert_eq!(store.find(&name).unwrap().unwrap(), published.entry);
    assert_eq!(published.blake3, *blake3::hash(&image).as_bytes());
    assert_eq!(published.info.unwrap().chunks, 5);
    assert_eq!(fs::read(dir.path().join("project/new.ndz")).unwrap(), image);
    assert!(under_way(dir.path()).is_empty());
}

#[test]
fn images_of_every_version_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (file, image) in golden() {
        let name = name(&file);
        let mut upload = store.begin_upload(&name, UploadOptions::default()).unwrap();
        upload.write(&image).unwrap();
        let published = upload.publish(ended(&image)).unwrap();
        assert_eq!(published.entry.bytes, length(&image), "{file}");
    }
}

#[test]
fn a_replaced_image_differs_in_its_signature_and_can_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), StoreOptions { keep_old: true, ..Default::default() });
    let name = name("project/100%");
    upload(&store, &name, b"one");
    let first = store.find(&name).unwrap().unwrap();
    upload(&store, &name, b"two");
    let second = store.find(&name).unwrap().unwrap();
    // Within one second, and of the same length.
    assert!(second.modified > first.modified);
    let old = dir.path().join(".old/project%2F100%25");
    assert_eq!(fs::read(&old).unwrap(), b"one");
    upload(&store, &name, b"three");
    assert_eq!(fs::read(&old).unwrap(), b"two");
    assert_eq!(store.list().unwrap().len(), 1);
    let mut dated =
        store.begin_upload(&name, UploadOptions { modified: Some(12345), ..any_file() }).unwrap();
    dated.write(b"four").unwrap();
    assert_eq!(dated.publish(None).unwrap().entry.modified, 12345);
}

#[test]
fn a_broken_chunk_is_an_error_at_once_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let name = name("a.ndz");
    let mut image = native_image(40);
    image[(3 << 20) + 5000] ^= 1;
    let mut upload = store.begin_upload(&name, UploadOptions::default()).unwrap();
    let mut taken = 0;
    let error = image
        .chunks(64 << 10)
        .find_map(|piece| {
            taken += piece.len();
            upload.write(piece).err()
        })
        .unwrap();
    assert!(matches!(error, StoreError::Broken { .. }), "{error}");
    assert!(error.to_string().contains("chunk 3"), "{error}");
    let threads = std::thread::available_parallelism().unwrap().get().min(8);
    assert!(taken <= (4 + threads * 2 + 5) << 20, "noticed after {taken} bytes only");
    // It stays broken, and what arrived is kept with the reason.
    assert!(upload.write(b"more").is_err());
    assert!(upload.make_durable().is_err());
    drop(upload);
    assert!(store.list().unwrap().is_empty() && under_way(dir.path()).is_empty());
    let kept = aside(dir.path());
    assert_eq!(kept.len(), 2);
    let text = fs::read_to_string(&kept[1]).unwrap();
    assert!(text.contains("chunk 3") && text.contains("a.ndz"), "{text}");
}

#[test]
fn a_payload_without_digest_must_at_least_inflate() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (file, mut image) = golden().into_iter().find(|(f, _)| f.contains("g1.v3")).unwrap();
    image[6000] ^= 0x55;
    let mut upload = store.begin_upload(&name(&file), UploadOptions::default()).unwrap();
    let error = upload.write(&image).and_then(|()| upload.publish(None).map(|_| ())).unwrap_err();
    assert!(error.to_string().contains("chunk 0"), "{error}");
}

#[test]
fn a_truncated_image_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let name = name("a.ndz");
    upload(&store, &name, b"the old one");
    let image = native_image(3);
    // At the end of a chunk, inside one, and before the first byte.
    for (len, why) in [(2 << 20, "cut off"), ((2 << 20) + 7, "cut off"), (0, "1 chunk or more")] {
        let mut upload = store.begin_upload(&name, UploadOptions::default()).unwrap();
        upload.write(&image[..len]).unwrap();
        let error = upload.publish(None).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(fs::read(dir.path().join("a.ndz")).unwrap(), b"the old one");
    }
    assert_eq!(aside(dir.path()).len(), 6);
    assert!(under_way(dir.path()).is_empty());
    let mut cut = store.begin_upload(&name, UploadOptions::default()).unwrap();
    cut.write(&image[..(1 << 20) + 5]).unwrap();
    cut.set_aside("the connection ended inside a chunk").unwrap();
    let texts: Vec<_> = aside(dir.path())
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert!(texts.iter().any(|text| text.contains("bytes:  1048581, kept")
        && text.contains("the connection ended inside a chunk")));
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn size_and_digest_must_be_what_the_sender_says() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let name = name("a");
    let (bytes, digest) = ended(b"hello").unwrap();
    for expected in [(bytes + 1, digest), (bytes, [7; 32])] {
        let mut upload = store.begin_upload(&name, any_file()).unwrap();
        upload.write(b"hello").unwrap();
        let error = upload.publish(Some(expected)).unwrap_err();
        assert!(matches!(error, StoreError::Broken { .. }), "{error}");
    }
    let announced = UploadOptions { bytes: Some(5), ..any_file() };
    let mut upload = store.begin_upload(&name, announced.clone()).unwrap();
    upload.write(b"hell").unwrap();
    assert!(upload.publish(None).unwrap_err().to_string().contains("4 bytes arrived of 5"));
    let mut upload = store.begin_upload(&name, announced).unwrap();
    assert!(matches!(upload.write(b"hello!").unwrap_err(), StoreError::Broken { .. }));
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn one_writer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let name = name("a");
    let mut first = store.begin_upload(&name, any_file()).unwrap();
    first.write(b"first").unwrap();
    let id = first.id();
    // Neither another sender, nor one of another server on the same directory, nor a thief of ids.
    for other in [&store, &open(dir.path())] {
        for resume in [None, Some(id)] {
            let error =
                other.begin_upload(&name, UploadOptions { resume, ..any_file() }).unwrap_err();
            assert!(matches!(error, StoreError::Busy { .. }), "{error}");
        }
    }
    drop(store.begin_upload(&images::name("b"), any_file()).unwrap());
    first.suspend().unwrap();
    // Suspended, it hinders nobody; and an older one does not replace a newer.
    upload(&store, &name, b"second");
    let error =
        store.begin_upload(&name, UploadOptions { resume: Some(id), ..any_file() }).unwrap_err();
    assert!(matches!(error, StoreError::NoSuchUpload { .. }), "{error}");
}

#[test]
fn a_broken_connection_costs_only_what_was_not_safe() {
    let image = native_image(6);
    // By the same server, by one that was restarted, and by one that was killed.
    for how in ["same", "restarted", "killed"] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let name = name("a.ndz");
        let mut first = store.begin_upload(&name, UploadOptions::default()).unwrap();
        let id = first.id();
        first.write(&image[..2_500_000]).unwrap();
        assert_eq!(first.make_durable().unwrap(), 2_500_000);
        first.write(&image[2_500_000..4_000_000]).unwrap();
        let safe = if how == "killed" {
            // What a killed process leaves: more bytes than are known to be safe.
            let copy = tempfile::tempdir_in(dir.path()).unwrap().keep();
            fs::create_dir(copy.join(".uploads")).unwrap();
            for file in under_way(dir.path()) {
                let file = Path::new(".uploads").join(file);
                fs::copy(dir.path().join(&file), copy.join(&file)).unwrap();
            }
            store = open(&copy);
            2_500_000
        } else {
            first.suspend().unwrap();
            4_000_000
        };
        if how == "restarted" {
            store = open(dir.path());
        }
        let resume = UploadOptions { resume: Some(id), ..UploadOptions::default() };
        let mut second = store.begin_upload(&name, resume).unwrap();
        assert_eq!((second.id(), second.offset()), (id, safe), "{how}");
        second.write(&image[usize::try_from(safe).unwrap()..]).unwrap();
        let published = second.publish(ended(&image)).unwrap();
        assert_eq!(published.info.unwrap().chunks, 6);
    }
}

#[test]
fn what_was_changed_on_the_disk_is_noticed_when_going_on() {
    let dir = tempfile::tempdir().unwrap();
    let name = name("a.ndz");
    let mut first = open(dir.path()).begin_upload(&name, UploadOptions::default()).unwrap();
    let id = first.id();
    first.write(&native_image(3)[..2_500_000]).unwrap();
    first.suspend().unwrap();
    let part = dir.path().join(format!(".uploads/{id}.part"));
    let mut bytes = fs::read(&part).unwrap();
    bytes[9000] ^= 1;
    fs::write(&part, bytes).unwrap();
    let resume = UploadOptions { resume: Some(id), ..UploadOptions::default() };
    let error = open(dir.path()).begin_upload(&name, resume).unwrap_err();
    assert!(error.to_string().contains("chunk 0"), "{error}");
    assert_eq!(aside(dir.path()).len(), 2);
}

#[test]
fn only_the_same_upload_can_be_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let a = name("a");
    let announced = UploadOptions { bytes: Some(10), ..any_file() };
    let mut first = store.begin_upload(&a, announced.clone()).unwrap();
    first.write(b"hello").unwrap();
    let id = first.id();
    drop(first); // dropping is suspending
    let resume = UploadOptions { resume: Some(id), ..announced };
    let refused = |name: &ImageName, options: UploadOptions| {
        let error = store.begin_upload(name, options).unwrap_err();
        assert!(matches!(error, StoreError::NoSuchUpload { .. }), "{error}");
    };
    refused(&name("b"), resume.clone());
    refused(&a, UploadOptions { image: true, bytes: None, ..resume.clone() });
    refused(&a, UploadOptions { bytes: Some(11), ..resume.clone() });
    let other = UploadId::parse(&"0".repeat(32)).unwrap();
    refused(&a, UploadOptions { resume: Some(other), ..resume.clone() });
    let small = UploadOptions { bytes: None, bytes_max: 4, ..resume.clone() };
    let error = store.begin_upload(&a, small).unwrap_err();
    assert!(matches!(error, StoreError::TooBig { bytes: 5, .. }), "{error}");
    let mut second = store.begin_upload(&a, UploadOptions { bytes: None, ..resume }).unwrap();
    assert_eq!(second.offset(), 5);
    second.write(b"world").unwrap();
    // What was announced at the beginning still holds.
    assert!(matches!(second.write(b"!"), Err(StoreError::Broken { .. })));
    drop(second);
    let mut third = store.begin_upload(&a, any_file()).unwrap();
    third.write(b"helloworld").unwrap();
    third.publish(ended(b"helloworld")).unwrap();
}

#[test]
fn leftovers_are_removed_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut old = store.begin_upload(&name("a"), any_file()).unwrap();
    old.write(b"abc").unwrap();
    let id = old.id();
    old.suspend().unwrap();
    let busy = store.begin_upload(&name("b"), any_file()).unwrap();
    let uploads = dir.path().join(".uploads");
    for junk in
        ["00000000000000000000000000000001.part", "00000000000000000000000000000002.journal"]
    {
        fs::write(uploads.join(junk), "junk").unwrap();
    }
    store.sweep();
    assert_eq!(under_way(dir.path()).len(), 4, "the two that can be gone on with");
    let hasty = StoreOptions { unfinished_for: Duration::ZERO, ..Default::default() };
    let reopened = open_with(dir.path(), hasty);
    assert_eq!(under_way(dir.path()).len(), 2, "what is being written stays");
    let resume = UploadOptions { resume: Some(id), ..any_file() };
    reopened.begin_upload(&name("a"), resume).unwrap_err();
    busy.discard().unwrap();
    assert!(under_way(dir.path()).is_empty());
}

#[test]
fn what_is_set_aside_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        StoreOptions { aside_files_max: 3, aside_bytes_max: 25, ..StoreOptions::default() };
    let store = open_with(dir.path(), options);
    for (n, len) in [(0, 10), (1, 10), (2, 10), (3, 1), (4, 1), (5, 26)] {
        let mut upload = store.begin_upload(&name("a"), any_file()).unwrap();
        upload.write(&vec![0; len]).unwrap();
        upload.set_aside(&format!("number {n}")).unwrap();
        let bytes: u64 = aside(dir.path())
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "part"))
            .map(|path| fs::metadata(path).unwrap().len())
            .sum();
        assert!(bytes <= 25, "{bytes}");
        assert!(aside(dir.path()).len() <= 6);
    }
}

#[test]
fn limits_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store =
        open_with(dir.path(), StoreOptions { quota_bytes: Some(100), ..Default::default() });
    let a = name("a");
    let limited = UploadOptions { bytes_max: 10, ..any_file() };
    let announced = UploadOptions { bytes: Some(11), ..limited.clone() };
    let error = store.begin_upload(&a, announced).unwrap_err();
    assert!(matches!(error, StoreError::TooBig { bytes: 11, bytes_max: 10, .. }), "{error}");
    for bytes in [0, 1, (1 << 20) + 1] {
        let image = UploadOptions { bytes: Some(bytes), ..UploadOptions::default() };
        let error = store.begin_upload(&a, image).unwrap_err();
        assert!(matches!(error, StoreError::Broken { .. }), "{error}");
    }
    let mut upload = store.begin_upload(&a, limited).unwrap();
    upload.write(&[1; 10]).unwrap();
    let error = upload.write(&[1; 1]).unwrap_err();
    assert!(matches!(error, StoreError::TooBig { .. }), "{error}");
    upload.discard().unwrap();

    let bytes = |bytes| UploadOptions { bytes: Some(bytes), ..any_file() };
    let mut first = store.begin_upload(&a, bytes(70)).unwrap();
    let error = store.begin_upload(&name("b"), bytes(31)).unwrap_err();
    assert!(matches!(error, StoreError::Quota { quota_bytes: 100, .. }), "{error}");
    let mut second = store.begin_upload(&name("b"), any_file()).unwrap();
    second.write(&[1; 31]).unwrap(); // still in memory
    let error = second.make_durable().unwrap_err();
    assert!(matches!(error, StoreError::Quota { .. }), "{error}");
    second.discard().unwrap();
    first.write(&[1; 70]).unwrap();
    first.publish(None).unwrap();
    // The image that is replaced makes room for its successor.
    let mut again = store.begin_upload(&a, bytes(100)).unwrap();
    again.write(&[2; 100]).unwrap();
    again.publish(None).unwrap();
    assert!(store.begin_upload(&name("c"), bytes(1)).is_err());
    store.delete(&a).unwrap();
    drop(store.begin_upload(&name("c"), bytes(100)).unwrap());
}

#[test]
fn folders_are_no_images() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    upload(&store, &name("folder/a"), b"a");
    let error = store.begin_upload(&name("folder"), any_file()).unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    let error = store.begin_upload(&name("folder/a/b"), any_file()).unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    // The same when it becomes so meanwhile; then the upload can go on later.
    for (taken, is_folder) in [("late/x", false), ("late", true)] {
        let mut late = store.begin_upload(&name(taken), any_file()).unwrap();
        late.write(b"late").unwrap();
        let place = dir.path().join("late");
        if is_folder {
            fs::create_dir(&place).unwrap();
        } else {
            fs::write(&place, "an image").unwrap();
        }
        let error = late.publish(None).unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        if is_folder {
            fs::remove_dir(&place).unwrap();
        } else {
            fs::remove_file(&place).unwrap();
        }
    }
    assert_eq!(under_way(dir.path()).len(), 4);
    assert_eq!(fs::read(dir.path().join("folder/a")).unwrap(), b"a");
}

#[test]
fn uploads_do_not_follow_links() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
    let store = open(dir.path());
    assert!(store.begin_upload(&name("out/secret"), any_file()).is_err());
    assert!(store.begin_upload(&name("out/new"), any_file()).is_err());
    // A link that stays inside is replaced by the image, and what it pointed at stays.
    upload(&store, &name("real"), b"real");
    std::os::unix::fs::symlink("real", dir.path().join("latest")).unwrap();
    upload(&store, &name("latest"), b"latest");
    assert_eq!(fs::read(dir.path().join("real")).unwrap(), b"real");
    assert_eq!(files(outside.path()), ["secret"]);
    // The hidden folder itself must not be a link.
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join(".uploads")).unwrap();
    assert!(open(dir.path()).begin_upload(&name("a"), any_file()).is_err());
    assert_eq!(files(outside.path()), ["secret"]);
}

#[test]
fn images_are_described_as_imagedump_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (file, image) in golden() {
        fs::write(dir.path().join(&file), &image).unwrap();
        let details = store.describe(&name(&file)).unwrap();
        let version = file.split('.').nth(1).unwrap();
        assert_eq!(details.format, version, "{file}");
        assert_eq!(details.image_bytes, length(&image));
        assert!(details.headers_checked && details.source_bytes > 0);
        // The same is told while it arrives, and again from memory.
        let mut upload = store.begin_upload(&name("copy"), UploadOptions::default()).unwrap();
        upload.write(&image).unwrap();
        upload.publish(None).unwrap();
        let copy = store.describe(&name("copy")).unwrap();
        assert_eq!(copy, details);
        assert!(std::sync::Arc::ptr_eq(&copy, &store.describe(&name("copy")).unwrap()));
    }
    // A changed image is looked at again; what is no image says so.
    let a = name("a");
    upload(&store, &a, &native_image(2));
    assert_eq!(store.describe(&a).unwrap().chunks, 2);
    upload(&store, &a, &native_image(3));
    assert_eq!(store.describe(&a).unwrap().chunks, 3);
    upload(&store, &a, &native_image(3)[..2 << 20]);
    assert!(store.describe(&a).unwrap_err().to_string().contains("cut off"));
    upload(&store, &a, b"text");
    for _ in 0..2 {
        assert!(matches!(store.describe(&a), Err(StoreError::Broken { .. })));
    }
    assert!(matches!(store.describe(&name("none")), Err(StoreError::NoSuchImage { .. })));
}
