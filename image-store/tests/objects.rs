//! An object store, against a real S3-speaking server.

use image_store::{ImageName, Source, Store, StoreError, StoreOptions, UploadId, UploadOptions};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

mod images;

use images::{name, native_image, seeded_image};
use tests::moto::Moto;

const CHUNK: u64 = 1 << 20;

fn length(bytes: &[u8]) -> u64 {
    bytes.len().try_into().unwrap()
}

fn ended(bytes: &[u8]) -> Option<(u64, [u8; 32])> {
    Some((length(bytes), *blake3::hash(bytes).as_bytes()))
}

fn options_of(moto: &Moto, cache: &Path) -> StoreOptions {
    let cache_dir = Some(cache.into());
    StoreOptions { cache_dir, settings: moto.environment(), ..StoreOptions::default() }
}

fn open(moto: &Moto, location: &str, cache: &Path) -> Store {
    Store::open(location, options_of(moto, cache)).unwrap()
}

fn upload(store: &Store, name: &ImageName, bytes: &[u8]) {
    let mut upload = store.begin_upload(name, UploadOptions::default()).unwrap();
    upload.write(bytes).unwrap();
    upload.publish(ended(bytes)).unwrap();
}

fn read(source: &Source, at: u64, len: u64) -> Vec<u8> {
    source.fetch(at, len).unwrap();
    assert!(source.is_here(at, len));
    let mut bytes = vec![0; len.try_into().unwrap()];
    source.file().read_exact_at(&mut bytes, at).unwrap();
    bytes
}

#[test]
fn images_come_and_go() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("come-and-go");
    let cache = tempfile::tempdir().unwrap();
    for location in ["s3://come-and-go", "s3://come-and-go/some/prefix/"] {
        let store = open(&moto, location, cache.path());
        assert!(store.list().unwrap().is_empty());
        // One request, and several parts.
        for (text, chunks) in [("small.ndz", 2), ("project/large #1%.ndz", 21)] {
            let (name, image) = (name(text), native_image(chunks));
            assert!(store.find(&name).unwrap().is_none());
            let error = store.open_image(&name).unwrap_err();
            assert!(matches!(error, StoreError::NoSuchImage { .. }), "{error}");
            let mut upload = store.begin_upload(&name, UploadOptions::default()).unwrap();
            for piece in image.chunks(700_000) {
                upload.write(piece).unwrap();
            }
            assert_eq!(upload.make_durable().unwrap(), length(&image));
            assert!(store.find(&name).unwrap().is_none());
            let published = upload.publish(ended(&image)).unwrap();
            assert_eq!(store.find(&name).unwrap().unwrap(), published.entry);
            assert!(published.entry.modified > 1_600_000_000);
            let source = store.open_image(&name).unwrap();
            assert_eq!(read(&source, 0, source.bytes()), image);
            let details = store.describe(&name).unwrap();
            assert_eq!((details.chunks, details.headers_checked), (u64::from(chunks), true));
        }
        let listed: Vec<_> =
            store.list().unwrap().into_iter().map(|e| e.name.to_string()).collect();
        assert_eq!(listed, ["project/large #1%.ndz", "small.ndz"]);
        // Somebody else sees the same, and tells what two headers tell.
        let other = open(&moto, location, cache.path());
        let details = other.describe(&name("project/large #1%.ndz")).unwrap();
        assert_eq!((details.chunks, details.headers_checked), (21, false));
        assert_eq!(details.source_bytes, 21 * 2000 * 512);
        for name in listed.iter().map(|text| name(text)) {
            store.delete(&name).unwrap();
            assert!(matches!(store.delete(&name), Err(StoreError::NoSuchImage { .. })));
        }
        assert!(store.list().unwrap().is_empty());
    }
    assert!(!moto.has_unfinished("come-and-go"));
}

#[test]
fn what_is_not_an_image_in_the_bucket_is_not_listed() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("strange");
    for key in ["p/a.ndz", "p/.hidden", "p/.aside/x.txt", "p/folder/", "other", "pp/b"] {
        moto.request("PUT", &format!("/strange/{key}"), if key.ends_with('/') { "" } else { "x" });
    }
    let cache = tempfile::tempdir().unwrap();
    let store = open(&moto, "s3://strange/p", cache.path());
    let listed: Vec<_> = store.list().unwrap().into_iter().map(|e| e.name.to_string()).collect();
    assert_eq!(listed, ["a.ndz"]);
}

#[test]
fn a_chunk_is_fetched_once_and_only_when_wanted() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("sparse");
    let cache = tempfile::tempdir().unwrap();
    let store = open(&moto, "s3://sparse", cache.path());
    let image = native_image(24);
    let name = name("herd.ndz");
    upload(&store, &name, &image);
    let source = store.open_image(&name).unwrap();
    assert!(!source.is_here(0, 1));
    let gets = || moto.requests("GET /sparse/herd.ndz");
    assert_eq!(read(&source, 5 * CHUNK + 100, 10), image[(5 << 20) + 100..][..10]);
    assert!(source.is_here(5 * CHUNK, CHUNK) && !source.is_here(5 * CHUNK, CHUNK + 1));
    assert!(!source.is_here(4 * CHUNK, 1));
    // Sparse: what was not asked for takes no room.
    assert!(source.file().metadata().unwrap().blocks() * 512 < 2 * CHUNK);
    // All of it, by many at once: the 23 chunks that are missing come once, in long runs.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(read(&source, 0, source.bytes()), image));
        }
    });
    assert!(gets() <= 1 + 5, "{} requests", gets());
    // Beyond the end there is nothing to fetch; another user finds it all here.
    source.fetch(u64::MAX - 5, 100).unwrap();
    assert!(store.open_image(&name).unwrap().is_here(0, u64::MAX));
    // The cache has no names that could be left over.
    let left = fs::read_dir(cache.path()).unwrap().count();
    assert_eq!(left, 1, "only the folder of journals");
}

#[test]
fn a_replaced_object_is_noticed_and_never_mixed() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("replaced");
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&moto, "s3://replaced", here.path());
    let other = open(&moto, "s3://replaced", there.path());
    let name = name("a.ndz");
    let (old, new) = (seeded_image(3, 2), seeded_image(3, 4));
    upload(&store, &name, &old);
    let source = store.open_image(&name).unwrap();
    read(&source, 0, 10);
    upload(&other, &name, &new);
    let error = source.fetch(CHUNK, 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StaleNetworkFileHandle, "{error}");
    assert!(error.to_string().contains("replaced"), "{error}");
    assert_eq!(read(&source, 0, CHUNK), old[..1 << 20]);
    let fresh = store.open_image(&name).unwrap();
    assert_eq!(read(&fresh, 0, fresh.bytes()), new);
    assert_ne!(fresh.entry().version, source.entry().version);
    other.delete(&name).unwrap();
    assert_eq!(source.fetch(CHUNK, 10).unwrap_err().kind(), ErrorKind::StaleNetworkFileHandle);
}

#[test]
fn a_bucket_with_versions_goes_on_with_the_old_one() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("versions");
    moto.request(
        "PUT",
        "/versions?versioning",
        "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Status>Enabled</Status></VersioningConfiguration>",
    );
    let cache = tempfile::tempdir().unwrap();
    let store = open(&moto, "s3://versions", cache.path());
    let (name, old) = (name("a.ndz"), seeded_image(2, 2));
    upload(&store, &name, &old);
    let source = store.open_image(&name).unwrap();
    upload(&store, &name, &seeded_image(2, 4));
    assert_eq!(read(&source, 0, source.bytes()), old);
}

#[test]
fn the_cache_is_bounded() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("bounded");
    let cache = tempfile::tempdir().unwrap();
    let options = StoreOptions { cache_bytes: 5 * CHUNK, ..options_of(&moto, cache.path()) };
    let store = Store::open("s3://bounded", options).unwrap();
    for n in ["a", "b", "c"] {
        upload(&store, &name(n), &native_image(2));
    }
    let open = |n: &str| store.open_image(&name(n));
    let a = open("a").unwrap();
    read(&a, 0, a.bytes());
    let b = open("b").unwrap();
    let error = open("c").unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    drop(b);
    drop(a);
    // Unused ones stay until there is need: `a` was used last before `b`.
    assert!(open("a").unwrap().is_here(0, 2 * CHUNK));
    drop(open("b").unwrap());
    drop(open("c").unwrap());
    assert!(!open("a").unwrap().is_here(0, 1));
    upload(&store, &name("large"), &native_image(6));
    let error = open("large").unwrap_err();
    assert!(error.to_string().contains("make the cache larger"), "{error}");
}

#[test]
fn a_broken_upload_leaves_nothing_but_the_reason() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("broken");
    let cache = tempfile::tempdir().unwrap();
    let store = open(&moto, "s3://broken/p", cache.path());
    let name = name("a.ndz");
    upload(&store, &name, &seeded_image(2, 9));
    let mut image = native_image(20);
    image[(12 << 20) + 999] ^= 4;
    let mut broken = store.begin_upload(&name, UploadOptions::default()).unwrap();
    let id = broken.id();
    let error = broken.write(&image).and_then(|()| broken.publish(None).map(|_| ())).unwrap_err();
    assert!(error.to_string().contains("chunk 12"), "{error}");
    let text = moto.request("GET", &format!("/broken/p/.aside/{id}.txt"), "");
    assert!(text.contains("chunk 12") && text.contains("a.ndz"), "{text}");
    // Cut off, after some parts and before the first.
    for len in [17 << 20, 1 << 20] {
        let mut cut = store.begin_upload(&name, UploadOptions::default()).unwrap();
        cut.write(&native_image(20)[..len]).unwrap();
        assert!(matches!(cut.publish(None), Err(StoreError::Broken { .. })));
    }
    let mut wrong = store.begin_upload(&name, UploadOptions::default()).unwrap();
    wrong.write(&native_image(2)).unwrap();
    wrong.publish(Some((2 * CHUNK, [1; 32]))).unwrap_err();
    assert!(!moto.has_unfinished("broken"));
    let source = store.open_image(&name).unwrap();
    assert_eq!(read(&source, 0, source.bytes()), seeded_image(2, 9));
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(fs::read_dir(cache.path().join("uploads")).unwrap().count(), 0);
}

#[test]
fn an_upload_can_be_gone_on_with() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("resumed");
    let cache = tempfile::tempdir().unwrap();
    let store = open(&moto, "s3://resumed", cache.path());
    let (a, image) = (name("a.ndz"), native_image(20));
    let mut first = store.begin_upload(&a, UploadOptions::default()).unwrap();
    let id = first.id();
    first.write(&image[..18_000_001]).unwrap();
    for resume in [None, Some(id)] {
        let again = store.begin_upload(&a, UploadOptions { resume, ..UploadOptions::default() });
        assert!(matches!(again, Err(StoreError::Busy { .. })));
    }
    first.suspend().unwrap();
    let resume = |id| UploadOptions { resume: Some(id), ..UploadOptions::default() };
    let refused = |name: &ImageName, options| {
        let error = store.begin_upload(name, options).unwrap_err();
        assert!(matches!(error, StoreError::NoSuchUpload { .. }), "{error}");
    };
    refused(&name("b"), resume(id));
    refused(&a, resume(UploadId::parse(&"1".repeat(32)).unwrap()));
    refused(&a, UploadOptions { image: false, ..resume(id) });
    let mut second = store.begin_upload(&a, resume(id)).unwrap();
    assert_eq!((second.id(), second.offset()), (id, 18_000_001));
    second.write(&image[18_000_001..]).unwrap();
    second.publish(ended(&image)).unwrap();
    let source = store.open_image(&a).unwrap();
    assert_eq!(read(&source, 0, source.bytes()), image);

    // What nobody goes on with is aborted: in time, when a newer image comes, and at the end.
    let begin = |store: &Store| {
        let mut upload = store.begin_upload(&a, UploadOptions::default()).unwrap();
        upload.write(&image[..9 << 20]).unwrap();
        upload.suspend().unwrap();
        assert!(moto.has_unfinished("resumed"));
    };
    begin(&store);
    upload(&store, &a, &image);
    assert!(!moto.has_unfinished("resumed"));
    begin(&store);
    drop(store);
    assert!(!moto.has_unfinished("resumed"));
    let options =
        StoreOptions { unfinished_for: Duration::ZERO, ..options_of(&moto, cache.path()) };
    let hasty = Store::open("s3://resumed", options).unwrap();
    begin(&hasty);
    hasty.sweep();
    assert!(!moto.has_unfinished("resumed"));
    let discarded = hasty.begin_upload(&a, UploadOptions::default()).unwrap();
    discarded.discard().unwrap();
}

/// Not a test of its own: what the next test runs and what dies in the middle of an upload.
#[test]
fn child_that_dies_in_an_upload() {
    let Ok(settings) = std::env::var("DYING_UPLOAD") else { return };
    let mut settings = settings.lines();
    let cache = settings.next().unwrap();
    let settings = settings.map(|line| line.split_once('=').unwrap());
    let settings = settings.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let options =
        StoreOptions { cache_dir: Some(cache.into()), settings, ..StoreOptions::default() };
    let store = Store::open("s3://dying", options).unwrap();
    let mut upload = store.begin_upload(&name("a.ndz"), UploadOptions::default()).unwrap();
    upload.write(&native_image(20)[..18 << 20]).unwrap();
    std::process::abort();
}

#[test]
fn what_a_killed_server_left_is_aborted_by_the_next() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("dying");
    let cache = tempfile::tempdir().unwrap();
    let options = options_of(&moto, cache.path());
    let lines: Vec<_> = options.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_dies_in_an_upload"])
        .env("DYING_UPLOAD", format!("{}\n{}", cache.path().display(), lines.join("\n")))
        .output()
        .unwrap();
    assert!(!status.status.success());
    assert!(moto.has_unfinished("dying"));
    let store = open(&moto, "s3://dying", cache.path());
    assert!(!moto.has_unfinished("dying"));
    assert!(store.list().unwrap().is_empty());
    // An upload of a server that lives is left alone.
    let mut alive = store.begin_upload(&name("b"), UploadOptions::default()).unwrap();
    alive.write(&native_image(10)[..9 << 20]).unwrap();
    drop(open(&moto, "s3://dying", cache.path()));
    assert!(moto.has_unfinished("dying"));
    alive.discard().unwrap();
    assert!(!moto.has_unfinished("dying"));
}

#[test]
fn limits_and_wrong_places_are_told() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("limits");
    let cache = tempfile::tempdir().unwrap();
    let options = StoreOptions { quota_bytes: Some(5 * CHUNK), ..options_of(&moto, cache.path()) };
    let store = Store::open("s3://limits", options).unwrap();
    upload(&store, &name("a"), &native_image(3));
    let announced = |bytes| UploadOptions { bytes: Some(bytes), ..UploadOptions::default() };
    let error = store.begin_upload(&name("b"), announced(3 * CHUNK)).unwrap_err();
    assert!(matches!(error, StoreError::Quota { .. }), "{error}");
    upload(&store, &name("b"), &native_image(2));
    upload(&store, &name("a"), &native_image(3)); // replaces
    let fails = |location: &str, options: StoreOptions, text: &str| {
        let error = Store::open(location, options).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    fails("s3://missing", options_of(&moto, cache.path()), "cannot list the bucket");
    let keep_old = StoreOptions { keep_old: true, ..options_of(&moto, cache.path()) };
    fails("s3://limits", keep_old, "versions");
    fails(
        "s3://limits",
        StoreOptions { cache_dir: None, ..options_of(&moto, cache.path()) },
        "cache",
    );
    let nowhere = Path::new("/proc/nowhere");
    fails("s3://limits", options_of(&moto, nowhere), "/proc/nowhere");
}

#[test]
fn calls_may_come_from_threads_of_another_runtime() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("runtime");
    let cache = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let options = options_of(&moto, cache.path());
    let task = runtime.spawn(async move {
        let store = Store::open("s3://runtime", options).unwrap();
        upload(&store, &name("a"), &native_image(1));
        let source = store.open_image(&name("a")).unwrap();
        assert_eq!(read(&source, 0, source.bytes()), native_image(1));
        let unfinished = store.begin_upload(&name("b"), UploadOptions::default()).unwrap();
        drop(unfinished);
        drop(store);
        source.fetch(0, 1).unwrap(); // what is open outlives the store
    });
    runtime.block_on(task).unwrap();
}
