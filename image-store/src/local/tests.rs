//! The directory's own rules: names, links, leftovers.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};

fn name(text: &str) -> ImageName {
    ImageName::parse(text).unwrap()
}

fn store(path: &Path) -> LocalStore {
    LocalStore::open(path, StoreOptions::default(), Arc::new(CheckPool::new())).unwrap()
}

/// The same store with and without the kernel's help.
fn both(path: &Path) -> [LocalStore; 2] {
    let mut plain = store(path);
    plain.root = Root::open(path).unwrap().without_openat2();
    [store(path), plain]
}

fn listed(store: &LocalStore) -> Vec<String> {
    store.list().unwrap().into_iter().map(|entry| entry.name.to_string()).collect()
}

#[test]
fn images_at_any_depth_are_listed_and_found() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("project/deep")).unwrap();
    fs::create_dir_all(dir.path().join(".uploads")).unwrap();
    for file in ["b", "a", "project/x.ndz", "project/deep/y", ".hidden", ".uploads/z", "a\\b"] {
        fs::write(dir.path().join(file), file).unwrap();
    }
    for store in both(dir.path()) {
        assert_eq!(listed(&store), ["a", "a\\b", "b", "project/deep/y", "project/x.ndz"]);
        let found = store.find(&name("project/x.ndz")).unwrap().unwrap();
        assert_eq!(found.bytes, 13);
        assert!(found.modified > 1_600_000_000);
        assert_eq!(store.open_image(&name("b")).unwrap().entry().bytes, 1);
        for missing in ["c", "project", "b/c", "project/deep"] {
            assert!(store.find(&name(missing)).unwrap().is_none(), "{missing}");
            let error = store.open_image(&name(missing)).unwrap_err();
            assert!(matches!(error, StoreError::NoSuchImage { .. }), "{error}");
            assert!(store.delete(&name(missing)).is_err());
        }
    }
}

#[test]
fn links_never_lead_out() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    fs::write(dir.path().join("in/image"), "image").unwrap();
    let link = |target: &Path, at: &str| symlink(target, dir.path().join(at)).unwrap();
    link(&outside.path().join("secret"), "absolute");
    link(outside.path(), "folder");
    link(Path::new("../../../../../../etc/passwd"), "relative");
    link(Path::new("loop"), "loop");
    link(Path::new("/proc/self/root/etc/passwd"), "magic");
    link(Path::new("nothing"), "dangling");
    link(Path::new("in/image"), "inside");
    for (store, keeps_inside) in both(dir.path()).into_iter().zip([true, false]) {
        for bad in ["absolute", "folder/secret", "relative", "loop", "magic", "dangling"] {
            let found = store.find(&name(bad));
            assert!(!matches!(found, Ok(Some(_))), "{bad}: {found:?}");
            store.open_image(&name(bad)).unwrap_err();
            store.delete(&name(bad)).unwrap_err();
        }
        // A link that stays inside is an image where the kernel can keep it inside.
        let inside = store.open_image(&name("inside"));
        assert_eq!(inside.is_ok(), keeps_inside && store.root.has_openat2_for_tests());
        if inside.is_ok() {
            assert_eq!(listed(&store), ["in/image", "inside"]);
        } else {
            assert_eq!(listed(&store), ["in/image"]);
        }
    }
}

#[test]
fn only_regular_files_are_images() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for store in both(dir.path()) {
        assert!(store.find(&name("fifo")).unwrap().is_none());
        assert!(store.open_image(&name("fifo")).is_err()); // and does not block
        assert!(listed(&store).is_empty());
    }
}

#[test]
fn an_open_image_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "old").unwrap();
    let store = store(dir.path());
    let source = store.open_image(&name("a")).unwrap();
    fs::write(dir.path().join("new"), "other").unwrap();
    fs::rename(dir.path().join("new"), dir.path().join("a")).unwrap();
    let mut bytes = [0; 3];
    source.file().read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"old");
    assert_ne!(store.find(&name("a")).unwrap().unwrap().version, source.entry().version);
    store.delete(&name("a")).unwrap();
    source.file().read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!((&bytes, source.bytes()), (b"old", 3));
    assert!(source.is_here(0, 3) && source.fetch(0, 3).is_ok());
}

#[test]
fn a_store_needs_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [&file, &dir.path().join("missing")] {
        let pool = Arc::new(CheckPool::new());
        let error = LocalStore::open(path, StoreOptions::default(), pool).unwrap_err();
        assert!(matches!(error, StoreError::Location { .. }), "{error}");
    }
}

proptest! {
    /// Whatever name passes, what is found by it lies in the directory, whatever links are there.
    #[test]
    fn no_name_leaves_the_directory(
        parts in prop::collection::vec(
            prop::sample::select(vec!["up", "out", "in", "..", ".", "", "secret", "a\\b", "x"]), 1..6,
        ),
    ) {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir_all(root.join("in/in")).unwrap();
        fs::write(top.path().join("secret"), "out").unwrap();
        fs::write(root.join("in/x"), "in").unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("..", root.join("in/up")).unwrap();
        symlink(top.path(), root.join("out")).unwrap();
        symlink(top.path(), root.join("in/out")).unwrap();
        let Ok(name) = ImageName::parse(&parts.join("/")) else { return Ok(()) };
        for store in both(&root) {
            if let Ok(source) = store.open_image(&name) {
                let mut bytes = [0; 2];
                source.file().read_exact_at(&mut bytes, 0).unwrap();
                prop_assert_eq!(&bytes, b"in");
            }
        }
    }
}
