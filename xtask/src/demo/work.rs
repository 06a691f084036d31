//! The directory in which the demo happens.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A directory below `target`, removed when dropped.
#[derive(Debug)]
pub(super) struct Work {
    root: PathBuf,
    programs: PathBuf,
}

impl Work {
    /// Makes the directory; what a demo that was killed has left behind is removed first.
    pub(super) fn create() -> Result<Self> {
        let exe = std::env::current_exe().context("cannot tell where this program is")?;
        let programs = exe.parent().context("this program has no directory")?.to_path_buf();
        let root = programs.join("demo-work");
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("cannot remove {root:?}"))?;
        }
        fs::create_dir_all(&root).with_context(|| format!("cannot make {root:?}"))?;
        Ok(Self { root, programs })
    }

    /// A path in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// One of the project's programs, built beside this one.
    pub(super) fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs.join(name);
        anyhow::ensure!(path.is_file(), "{path:?} is not built; run `make demo`");
        Ok(path)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

/// Removes a directory that is not needed any more.
pub(super) fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory) {
        eprintln!("xtask: cannot remove {}: {error}", directory.display());
    }
}
