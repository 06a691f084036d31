//! Disks in files, partitioned by sfdisk, with filesystems made by their own tools.

use anyhow::{Context, Result, ensure};
use imagezip::disk::{SourceOptions, open_source};
use imagezip::partition::{self, Table};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tests::programs::built;
use tests::tools::{find, run, text};

/// What most of these tests need.
pub(crate) const TOOLS: [&str; 5] = ["sfdisk", "sgdisk", "mkfs.ext4", "e2fsck", "dd"];

pub(crate) const MIB: u64 = 1 << 20;

/// A file of so many MiB with a partition table, given as to sfdisk.
pub(crate) fn disk(path: &Path, mib: u64, layout: &str) -> Result<()> {
    File::create(path)?.set_len(mib * MIB)?;
    sfdisk(path, layout)
}

/// Writes a partition table.
pub(crate) fn sfdisk(path: &Path, layout: &str) -> Result<()> {
    use std::io::Write;
    let mut child = Command::new(find("sfdisk").context("sfdisk")?)
        .args(["-q", "--no-reread", "--no-tell-kernel", "--wipe=never", text(path)])
        .stdin(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("stdin")?.write_all(layout.as_bytes())?;
    ensure!(child.wait()?.success(), "sfdisk: {layout}");
    Ok(())
}

/// Makes a file longer.
pub(crate) fn lengthen(path: &Path, mib: u64) -> Result<()> {
    Ok(File::options().write(true).open(path)?.set_len(mib * MIB)?)
}

/// Puts a file into a disk, at so many MiB.
pub(crate) fn put(disk: &Path, at_mib: u64, part: &Path) -> Result<()> {
    let (from, to) = (format!("if={}", text(part)), format!("of={}", text(disk)));
    let seek = format!("seek={at_mib}");
    run("dd", &[&from, &to, &seek, "bs=1M", "conv=notrunc,sparse", "status=none"]).map(drop)
}

/// A filesystem of so many MiB with the content of a directory, in a file.
pub(crate) fn ext(path: &Path, mib: u64, options: &str, content: &Path) -> Result<()> {
    let blocks = format!("{}k", mib << 10);
    let mut args: Vec<&str> = options.split_whitespace().collect();
    args.extend(["-q", "-F", "-d", text(content), text(path), &blocks]);
    run("mke2fs", &args).map(drop)
}

/// The table, which must leave no doubt.
pub(crate) fn table(path: &Path, sector_bytes: u32) -> Result<Table> {
    let options =
        SourceOptions { logical_sector_bytes: Some(sector_bytes), ..SourceOptions::default() };
    let table = partition::read(&open_source(path, options)?)?;
    ensure!(table.problem.is_none() && table.warnings.is_empty(), "{table:?}");
    Ok(table)
}

/// First sector of a partition and the one after its last.
pub(crate) fn range(table: &Table, number: u32) -> Result<(u64, u64)> {
    let found = table.partition(number).with_context(|| format!("partition {number}"))?;
    Ok((found.declared.start().get(), found.declared.end().get()))
}

/// Asserts that tools find nothing wrong with the table.
pub(crate) fn check_table(path: &Path, is_gpt: bool) -> Result<()> {
    if is_gpt {
        let said = run("sgdisk", &["-v", text(path)])?;
        ensure!(said.contains("No problems found"), "{said}");
    }
    let said = run("sfdisk", &["--verify", text(path)])?;
    ensure!(said.contains("No errors detected"), "{said}");
    Ok(())
}

/// imagegrow.
pub(crate) fn imagegrow() -> Result<PathBuf> {
    built("imagezip", "imagegrow")
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit status.
    pub(crate) fn expect(self, status: i32) -> Result<Self> {
        ensure!(self.status == status && !self.stderr.contains("panicked"), "{self:#?}");
        Ok(self)
    }

    /// Asserts that it said this, on either stream.
    pub(crate) fn saying(self, words: &str) -> Result<Self> {
        ensure!(self.stdout.contains(words) || self.stderr.contains(words), "{words}: {self:#?}");
        Ok(self)
    }

    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("{self:#?}"))
    }
}

/// Runs imagegrow.
pub(crate) fn grow(options: &str, disk: &Path) -> Result<Ran> {
    let mut command = Command::new(imagegrow()?);
    command.args(options.split_whitespace()).arg(disk).stdin(Stdio::null()).env("LC_ALL", "C");
    Ok(Ran::of(&command.output()?))
}
