//! A loaded disk with a root filesystem, and run-hooks on it with nothing but busybox.

use super::disks::{self, Ran, disk, ext, imagegrow, put};
use super::lab::{self, Attached, Mounted, is_unmounted};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::content::{Tree, read_tree};
use tests::tools::{find, ready, run};

/// Where run-hooks and its hooks are.
pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../initfs/root/usr/lib/frisbee")
}

/// True when tests of hooks can run.
pub(crate) fn can_run(test: &str, more: &[&str]) -> bool {
    ready(test, &[&disks::TOOLS[..], &lab::TOOLS, &["busybox"], more].concat(), true)
}

/// Partition 1 is blank, partition 2 has the root filesystem, 1 MiB is left for the GPT.
pub(crate) const LAYOUT: &str = "label: gpt\nstart=1MiB,size=4MiB\nsize=24MiB\n";
pub(crate) const ROOT_MIB: u64 = 24;
pub(crate) const ROOT_AT_MIB: u64 = 5;
pub(crate) const DISK_MIB: u64 = 30;

/// A directory to work in, busybox in it, and a disk.
#[derive(Debug)]
pub(crate) struct Rooted {
    // In this order: the disk is detached before its file goes.
    pub(crate) attached: Attached,
    root: PathBuf,
    dir: TempDir,
}

impl Rooted {
    /// A disk whose second partition holds what `fill` makes, beside what every root filesystem
    /// has.
    pub(crate) fn new(fill: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        Self::with(|dir, file| {
            let tree = dir.join("tree");
            usual(&tree)?;
            fill(&tree)?;
            disk(file, DISK_MIB, LAYOUT)?;
            let part = dir.join("part.raw");
            ext(&part, ROOT_MIB, "-t ext4", &tree)?;
            put(file, ROOT_AT_MIB, &part)
        })
    }

    /// Any disk, which `make` makes in a file.
    pub(crate) fn with(make: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        applets(&dir.path().join("bin"))?;
        fs::create_dir(dir.path().join("tmp"))?;
        let file = dir.path().join("disk.raw");
        make(dir.path(), &file)?;
        let attached = Attached::new(&file, 512)?;
        let root = attached.partition(2);
        Ok(Self { attached, root, dir })
    }

    /// The same with the root filesystem elsewhere.
    pub(crate) fn at(mut self, root: &Path) -> Self {
        self.root = root.into();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs run-hooks with these words behind the disk's name, and nothing of this machine in its
    /// path or its environment.
    pub(crate) fn hooks(&self, words: &str, environment: &[(&str, &str)]) -> Result<Ran> {
        let ran = Ran::of(&self.command(words, environment)?.output()?);
        ensure!(is_unmounted(self.attached.disk())?, "something is still mounted: {ran:#?}");
        let left: Vec<_> = fs::read_dir(self.path("tmp"))?.collect();
        ensure!(left.is_empty(), "{left:?} is left: {ran:#?}");
        Ok(ran)
    }

    /// The command that does that.
    pub(crate) fn command(&self, words: &str, environment: &[(&str, &str)]) -> Result<Command> {
        let mut command = Command::new(self.path("bin/sh"));
        command
            .arg(scripts().join("run-hooks"))
            .arg(self.attached.disk())
            .args(words.split_whitespace())
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("TMPDIR", self.path("tmp"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Mounts the root filesystem.
    pub(crate) fn mount(&self) -> Result<(Mounted, PathBuf)> {
        self.mount_with("rw")
    }

    /// Mounts the root filesystem with options.
    pub(crate) fn mount_with(&self, options: &str) -> Result<(Mounted, PathBuf)> {
        let at = self.path("m");
        Ok((Mounted::new(&self.root, &at, options)?, at))
    }

    /// What is in the root filesystem.
    pub(crate) fn tree(&self) -> Result<Tree> {
        let (mounted, at) = self.mount()?;
        let tree = read_tree(&at)?;
        mounted.end()?;
        Ok(tree)
    }

    /// A file of the root filesystem as text; `None` when it is not there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>> {
        let (mounted, at) = self.mount()?;
        let path = at.join(name);
        let there = path.exists() && !path.is_symlink();
        let text = there.then(|| fs::read_to_string(&path)).transpose()?;
        mounted.end()?;
        Ok(text)
    }
}

/// What every root filesystem has.
pub(crate) fn usual(tree: &Path) -> Result<()> {
    for folder in ["etc/ssh", "usr/lib", "usr/bin", "var/lib/dbus", "run"] {
        fs::create_dir_all(tree.join(folder))?;
    }
    fs::write(tree.join("usr/lib/os-release"), "ID=debian\n")?;
    symlink("../usr/lib/os-release", tree.join("etc/os-release"))?;
    symlink("usr/lib", tree.join("lib"))?;
    symlink("/run", tree.join("var/run"))?;
    fs::write(tree.join("etc/hostname"), "image\n")?;
    fs::write(tree.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n")?;
    fs::write(
        tree.join("etc/hosts"),
        "127.0.0.1\tlocalhost\n127.0.1.1\timage\n\n::1\tlocalhost\n",
    )?;
    Ok(())
}

/// A directory with every applet of busybox, and imagegrow.
fn applets(bin: &Path) -> Result<()> {
    fs::create_dir(bin)?;
    let busybox = find("busybox").context("busybox")?;
    for applet in run("busybox", &["--list"])?.lines().filter(|name| *name != "busybox") {
        symlink(&busybox, bin.join(applet))?;
    }
    Ok(symlink(imagegrow()?, bin.join("imagegrow"))?)
}
