//! `initfs/publish`: what a TFTP root looks like before, while and after a boot image is brought to it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tempfile::TempDir;

/// The project's folder.
fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What `make extract` leaves, with small files instead of a kernel, and an empty root.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        site.extract("one");
        site
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn extract(&self, content: &str) {
        let out = self.out();
        let loaders = out.join("pxe/loaders");
        fs::create_dir_all(loaders.join("pxelinux.cfg")).unwrap();
        fs::write(out.join("vmlinuz"), format!("kernel {content}")).unwrap();
        fs::write(out.join("initfs.gz"), format!("boot image {content}")).unwrap();
        fs::write(loaders.join("lpxelinux.0"), format!("loader {content}")).unwrap();
        let pxe = project().join("initfs/pxe");
        for kind in ["pxelinux", "ipxe", "grub"] {
            let name = format!("node.{kind}");
            fs::copy(pxe.join(&name), out.join("pxe").join(&name)).unwrap();
        }
        fs::copy(pxe.join("default.pxelinux"), loaders.join("pxelinux.cfg/default")).unwrap();
        let digests = Command::new("sha256sum")
            .args(["vmlinuz", "initfs.gz"])
            .current_dir(&out)
            .output()
            .unwrap();
        fs::write(out.join("MANIFEST"), digests.stdout).unwrap();
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new(project().join("initfs/publish"))
            .arg(self.root())
            .args(arguments)
            .env("OUT", self.out())
            .env_remove("ORDERS")
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    fn publish(&self, arguments: &[&str]) {
        let output = self.run(arguments, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// The release that nodes of a path are told to load.
    fn release(&self, path: &str) -> String {
        self.read(&format!("frisbee/{path}/RELEASE")).trim().to_owned()
    }

    fn count(&self, path: &str) -> usize {
        fs::read_dir(self.root().join(path)).unwrap().count()
    }
}

/// Every file that a configuration names is there.
fn is_bootable(root: &Path, path: &str) -> bool {
    let Ok(text) = fs::read_to_string(root.join(format!("frisbee/{path}/node.pxelinux"))) else {
        return false;
    };
    let named = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key))?;
        fs::read_to_string(root.join(line.trim())).ok()
    };
    match (named("KERNEL"), named("INITRD")) {
        (Some(kernel), Some(image)) => {
            kernel.strip_prefix("kernel ") == image.strip_prefix("boot image ")
        }
        _ => false,
    }
}

#[test]
fn the_test_path_comes_first_and_production_when_it_is_said() {
    let site = Site::new();
    site.publish(&[]);
    assert!(is_bootable(&site.root(), "test") && !site.root().join("frisbee/production").exists());
    let output = site.run(&["production"], &[("ORDERS", "frisbee.load=boss/a.ndz")]);
    assert!(output.status.success());
    assert_eq!(site.release("test"), site.release("production"));
    for kind in ["pxelinux", "ipxe", "grub"] {
        let text = site.read(&format!("frisbee/production/node.{kind}"));
        assert!(text.contains("frisbee.load=boss/a.ndz") && text.contains("panic=30"), "{text}");
        assert!(!text.replace("@RELEASE@ ...", "").contains('@'), "{kind} has holes: {text}");
        let text = site.read(&format!("frisbee/test/node.{kind}"));
        assert!(text.contains("frisbee.control=next-server"), "{text}");
    }
    assert_eq!(site.count("frisbee/releases"), 1);
    assert!(site.read("pxelinux.cfg/default").contains("frisbee/production/node.pxelinux"));
}

#[test]
fn the_version_before_is_kept_and_can_be_had_again() {
    let site = Site::new();
    site.publish(&["production"]);
    let first = site.release("production");
    assert!(!site.run(&["production", "--back"], &[]).status.success(), "nothing was before");
    site.extract("two");
    site.publish(&["production"]);
    let second = site.release("production");
    assert_ne!(first, second);
    assert_eq!(site.release("production.previous"), first);
    site.publish(&["production", "--back"]);
    assert_eq!((site.release("production"), site.release("production.previous")), (first, second));
    assert!(is_bootable(&site.root(), "production"));
}

#[test]
fn what_the_operator_changed_stays_and_loaders_are_brought_up_to_date() {
    let site = Site::new();
    site.publish(&["production"]);
    fs::write(site.root().join("pxelinux.cfg/default"), "mine").unwrap();
    fs::write(site.root().join("frisbee/note"), "mine too").unwrap();
    site.extract("two");
    site.publish(&["production"]);
    assert_eq!(site.read("pxelinux.cfg/default"), "mine");
    assert_eq!(site.read("frisbee/note"), "mine too");
    assert_eq!(site.read("lpxelinux.0"), "loader two");
}

#[test]
fn old_versions_go_but_never_one_that_is_pointed_to() {
    let site = Site::new();
    site.publish(&["test"]);
    let tested = site.release("test");
    for content in 0..12 {
        site.extract(&format!("number {content}"));
        let output = site.run(&["production"], &[("KEEP", "3")]);
        assert!(output.status.success());
        assert!(is_bootable(&site.root(), "production") && is_bootable(&site.root(), "test"));
    }
    assert_eq!(site.release("test"), tested);
    // Three former versions and the present one of production, and that of the test path.
    assert_eq!((site.count("frisbee/channels"), site.count("frisbee/releases")), (5, 5));
}

#[test]
fn files_that_do_not_match_their_manifest_are_not_published() {
    let site = Site::new();
    site.publish(&["production"]);
    let before = site.release("production");
    fs::write(site.out().join("initfs.gz"), "cut off").unwrap();
    let output = site.run(&["production"], &[]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("MANIFEST"));
    assert_eq!(site.release("production"), before);

    fs::remove_file(site.out().join("initfs.gz")).unwrap();
    let output = site.run(&["production"], &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("make extract"), "{output:?}");
    assert_eq!(site.release("production"), before);
}

#[test]
fn a_node_that_boots_meanwhile_gets_the_old_or_the_new_one_whole() {
    let site = Site::new();
    site.publish(&["production"]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                assert!(is_bootable(&site.root(), "production"));
                looks += 1;
            }
            looks
        });
        for content in 0..5 {
            site.extract(&format!("number {content}"));
            site.publish(&["production"]);
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn nonsense_is_refused_with_the_reason() {
    let site = Site::new();
    for (arguments, environment, word) in [
        (&["prod"][..], &[][..], "expected test or production"),
        (&["test", "--undo"], &[], "--back"),
        (&["test"], &[("ORDERS", "a|b")], "cannot hold"),
    ] {
        let output = site.run(arguments, environment);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(word), "{said}");
    }
    // A root that is a link, as /srv/tftp often is.
    let real = site.folder.path().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, site.root()).unwrap();
    site.publish(&["production"]);
    assert!(is_bootable(&real, "production"));
}
