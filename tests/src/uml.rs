//! Another Linux, as a program: User-Mode Linux of Debian, which mounts what the kernel of the test
//! machine cannot, and needs no root.
//!
//! What it owns: starting it with image files as its disks, running a shell script in it, and
//! filling, wearing and reading a filesystem by it. What it never does: write outside of a
//! directory it made and of the images it was given.

use crate::content::{Tree, populate};
use crate::tools::{output, run, text};
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// What must be installed: Debian package user-mode-linux, and coreutils.
pub const TOOLS: [&str; 2] = ["linux.uml", "timeout"];

/// Seconds after which it is taken for dead.
const SECONDS_MAX: &str = "300";

/// A filesystem as the kernel knows it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The type to mount.
    pub name: &'static str,
    /// Modules that it needs, below `kernel/`.
    pub modules: &'static [&'static str],
    /// Options to mount it for writing.
    pub options: &'static str,
}

/// What is done to a filesystem in one go.
#[derive(Debug)]
pub struct Session {
    dir: TempDir,
    kind: Kind,
    script: String,
}

impl Session {
    /// Nothing yet. The first image is `/dev/ubda`, and `$M` where it will be mounted.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn new(kind: Kind) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("imagezip-uml-").tempdir()?;
        Ok(Self { dir, kind, script: String::new() })
    }

    /// Adds lines of shell.
    #[must_use]
    pub fn then(mut self, lines: &str) -> Self {
        self.script.push_str(lines);
        self.script.push('\n');
        self
    }

    /// Mounts the first image with options besides those of its kind.
    #[must_use]
    pub fn mount(self, options: &str) -> Self {
        let Kind { name, options: own, .. } = self.kind;
        self.then(&format!("mount -i -n -t {name} -o {own},{options} /dev/ubda $M"))
    }

    /// Unmounts it.
    #[must_use]
    pub fn unmount(self) -> Self {
        self.then("umount -i -n $M")
    }

    /// Copies a tree of files made from a seed.
    ///
    /// # Errors
    /// When that cannot be made.
    pub fn fill(self, seed: u64, files: u64) -> Result<Self> {
        let source = self.dir.path().join("source");
        populate(&source, seed, files)?;
        Ok(self.then("cp -r --no-dereference /mnt/w/source/. $M/"))
    }

    /// Rounds of writing files and deleting every other one, some grown in turns.
    #[must_use]
    pub fn wear(self, rounds: u32) -> Self {
        self.then(&format!(
            "for round in $(seq {rounds}); do
               mkdir $M/w$round
               for i in $(seq 40); do
                 head -c $((i * 997 % 30000)) /mnt/w/source/large > $M/w$round/f$i
                 head -c 4000 /mnt/w/source/large >> $M/w$round/grow$((i % 5))
                 [ $((i % 10)) != 0 ] || sync
               done
               for i in $(seq 1 2 39); do rm $M/w$round/f$i; done
               rm $M/w$round/grow0 $M/w$round/grow3
               rm -r $M/d$round
               sync
             done"
        ))
    }

    /// Writes the digests of all files, for [`Outcome::tree`].
    #[must_use]
    pub fn read_all(self) -> Self {
        self.then(
            "(cd $M
              find . -type f -exec sha256sum {} +
              find . -type l -printf '%l %p\\n'
              find . -type d -printf 'directory %p\\n') > /mnt/w/tree",
        )
    }

    /// Boots, does all of it, and halts.
    ///
    /// # Errors
    /// When any of it fails, with what was printed.
    pub fn run(self, images: &[&Path]) -> Result<Outcome> {
        let work = text(self.dir.path()).to_owned();
        let mut init = format!(
            "#!/bin/sh\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C M=/mnt/m\n\
             mount -n -t proc proc /proc\nmount -n -t tmpfs t /mnt\nmkdir /mnt/m /mnt/w\n\
             mount -n -t hostfs -o {work} none /mnt/w\n\
             mkdir -p /dev/shm\nfor t in /dev/shm /run; do mount -n -t tmpfs t $t; done\n"
        );
        for module in self.kind.modules {
            writeln!(init, "insmod /usr/lib/uml/modules/$(uname -r)/kernel/{module}.ko")?;
        }
        init.push_str(
            "sh -e /mnt/w/script > /mnt/w/said 2>&1\necho $? > /mnt/w/status\n\
             dmesg | tail -n 15 > /mnt/w/dmesg\nhalt -f -p\n",
        );
        let path = self.dir.path().join("init");
        fs::write(&path, init)?;
        run("chmod", &["755", text(&path)])?;
        fs::write(self.dir.path().join("script"), &self.script)?;
        let mut args: Vec<String> = [SECONDS_MAX, "linux.uml", "rootfstype=hostfs", "rootflags=/"]
            .map(String::from)
            .to_vec();
        args.extend(["ro", "mem=160M", "quiet", "con=null", "con0=null,fd:1"].map(String::from));
        args.push(format!("init={}", text(&path)));
        args.push(format!("uml_dir={work}/"));
        for (number, image) in images.iter().enumerate() {
            args.push(format!("ubd{number}={}", text(image)));
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // Its exit status says nothing: now and then it aborts after it has halted. What the script
        // left behind does.
        let console = output("timeout", &args)?;
        let console = String::from_utf8_lossy(&console.stdout).into_owned();
        let read = |name| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        ensure!(
            read("status").trim() == "0",
            "{}\n{}\n{}\n{console}",
            self.script,
            read("said"),
            read("dmesg")
        );
        Ok(Outcome { said: read("said"), kernel: read("dmesg"), digests: read("tree") })
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What the script printed.
    pub said: String,
    /// What the kernel said.
    pub kernel: String,
    digests: String,
}

impl Outcome {
    /// The files read by [`Session::read_all`].
    ///
    /// # Errors
    /// When there are none.
    pub fn tree(&self) -> Result<Tree> {
        let lines = self.digests.lines().filter_map(|line| line.split_once(" ./"));
        let tree: Tree =
            lines.map(|(digest, path)| (path.into(), digest.trim().to_owned())).collect();
        ensure!(!tree.is_empty(), "no files");
        Ok(tree)
    }

    /// A number the script printed as `NAME=NUMBER`.
    ///
    /// # Errors
    /// When it did not.
    pub fn number(&self, name: &str) -> Result<u64> {
        let prefix = format!("{name}=");
        let found = self.said.lines().find_map(|line| line.strip_prefix(&prefix));
        let found = found.with_context(|| format!("no {name} in {}", self.said))?;
        Ok(found.trim().parse()?)
    }
}
