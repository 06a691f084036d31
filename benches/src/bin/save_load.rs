//! Whole-process runs of imagezip and imageunzip against baselines in the same run, as the table of
//! docs/performance.md. `make bench` runs it; `save_load DISK` takes a disk image of your own.
//!
//! Baselines are what the deployed C tools do, one thread of zlib (the C library) over the same
//! allocated bytes, and `zstd -T0` at the same level. Every figure is the median of several runs
//! that take turns, because machines are noisy.

use anyhow::{Context, Result, bail, ensure};
use benches::{copy_system_files, file_len, median, memory_dir, program, ratio};
use imagezip::disk::{ReadDisk, SourceOptions, open_source};
use imagezip::plan::{PlanOptions, plan};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs of each kind; the median is shown.
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let work = work_dir()?;
    let disk = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => make_disk(&work)?,
    };
    let bytes = allocated_bytes(&disk)?;
    let flat = work.join("allocated.bin");
    File::create(&flat)?.write_all(&bytes)?;
    println!("allocated: {} MiB of {}\n", bytes.len() >> 20, disk.display());

    let mut table = Table::new(bytes.len());
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        one_round(&work, &disk, &bytes, &flat, &mut table)?;
    }
    table.print();
    std::fs::remove_dir_all(&work)?;
    Ok(())
}

fn one_round(work: &Path, disk: &Path, bytes: &[u8], flat: &Path, table: &mut Table) -> Result<()> {
    let zlib =
        table.time("save", "one thread of zlib -4 (baseline)", || Ok(zlib::deflate(bytes, 4)))?;
    table.size("one thread of zlib -4 (baseline)", zlib.len());
    table.time("load", "one thread of inflate (baseline)", || {
        ensure!(zlib::inflate(&zlib, bytes.len()) == bytes.len(), "inflate lost bytes");
        Ok(())
    })?;
    drop(zlib);
    let packed = work.join("flat.zst");
    if have("zstd") {
        let name = "zstd -T0 -3 (baseline)";
        table.time("save", name, || {
            run(Command::new("zstd")
                .args(["-q", "-f", "-3", "-T0"])
                .arg(flat)
                .arg("-o")
                .arg(&packed))
        })?;
        table.size(name, file_len(&packed)?);
    }
    for (name, options) in [
        ("imagezip, native", &[][..]),
        ("imagezip, native, 1 thread", &["--threads", "1"]),
        ("imagezip, native, -z1", &["-z1"]),
        ("imagezip, v3", &["-3"]),
        ("imagezip, v3, 1 thread", &["-3", "--threads", "1"]),
    ] {
        let image = work.join("image.ndz");
        table.time("save", name, || {
            run(program("imagezip")?.arg("-q").args(options).arg(disk).arg(&image))
        })?;
        table.size(name, file_len(&image)?);
        let unzip = name.replace("imagezip", "imageunzip");
        if !name.contains("-z1") {
            let threads: &[&str] =
                if name.contains("1 thread") { &["--threads", "1"] } else { &[] };
            let target = memory_dir(work).join("imagezip-bench.raw");
            table.time("load", &unzip, || {
                run(program("imageunzip")?.arg("-q").args(threads).arg(&image).arg(&target))
            })?;
            std::fs::remove_file(&target)?;
        }
    }
    Ok(())
}

fn work_dir() -> Result<PathBuf> {
    let work = std::env::current_exe()?.with_file_name("bench-save-load");
    std::fs::create_dir_all(&work)?;
    Ok(work)
}

/// An ext4 disk of 2 GiB with a gigabyte of this machine's own files.
fn make_disk(work: &Path) -> Result<PathBuf> {
    let (files, disk) = (work.join("files"), work.join("disk.raw"));
    std::fs::create_dir_all(&files)?;
    copy_system_files(&files, 1 << 30)?;
    File::create(&disk)?.set_len(2 << 30)?;
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(&files).arg(&disk))?;
    std::fs::remove_dir_all(&files)?;
    Ok(disk)
}

fn allocated_bytes(disk: &Path) -> Result<Vec<u8>> {
    let source = open_source(disk, SourceOptions::default())?;
    let plan = plan(&source, &PlanOptions::default())?;
    let mut bytes = vec![0; usize::try_from(plan.ranges.count().bytes())?];
    let mut rest = bytes.as_mut_slice();
    for range in plan.ranges.ranges() {
        let (now, later) = rest.split_at_mut(usize::try_from(range.byte_len())?);
        source.read_at(now, range.byte_offset())?;
        rest = later;
    }
    Ok(bytes)
}

fn have(name: &str) -> bool {
    let status = Command::new(name).arg("--version").stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// One line of the table.
struct Row {
    stage: &'static str,
    name: String,
    times: Vec<Duration>,
    size: Option<usize>,
}

/// The results.
struct Table {
    allocated: usize,
    rows: Vec<Row>,
}

impl Table {
    fn new(allocated: usize) -> Self {
        Self { allocated, rows: Vec::new() }
    }

    fn time<T>(
        &mut self,
        stage: &'static str,
        name: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let result = work()?;
        let time = start.elapsed();
        match self.rows.iter_mut().find(|row| row.stage == stage && row.name == name) {
            Some(row) => row.times.push(time),
            None => {
                self.rows.push(Row { stage, name: name.into(), times: vec![time], size: None });
            }
        }
        Ok(result)
    }

    fn size(&mut self, name: &str, size: usize) {
        for row in self.rows.iter_mut().filter(|row| row.stage == "save" && row.name == name) {
            row.size = Some(size);
        }
    }

    fn print(&self) {
        println!("| what | s | MB/s | x baseline | image, x baseline |");
        println!("|---|---|---|---|---|");
        for stage in ["save", "load"] {
            let rows: Vec<_> = self.rows.iter().filter(|row| row.stage == stage).collect();
            let Some(baseline) = rows.first() else { continue };
            for row in &rows {
                let seconds = median(&row.times);
                let size = row.size.zip(baseline.size).map_or_else(String::new, |(size, base)| {
                    format!("{} MiB, {:.3}", size >> 20, ratio(size, base))
                });
                println!(
                    "| {} | {seconds:.2} | {:.0} | {:.2} | {size} |",
                    row.name,
                    ratio(self.allocated, 1_000_000) / seconds,
                    median(&baseline.times) / seconds,
                );
            }
        }
    }
}

/// The C library, as the deployed tools use it.
#[expect(unsafe_code, reason = "the baseline is the C library itself, called here only")]
mod zlib {
    use libz_sys as z;

    /// `bytes` as one zlib stream.
    pub(crate) fn deflate(bytes: &[u8], level: i32) -> Vec<u8> {
        // SAFETY: compressBound has no requirement on its argument.
        let mut len = unsafe { z::compressBound(bytes.len() as z::uLong) };
        let mut out = vec![0; usize::try_from(len).unwrap_or(0)];
        // SAFETY: both pointers are valid for the lengths given with them.
        let status = unsafe {
            let source = (bytes.as_ptr(), bytes.len() as z::uLong);
            z::compress2(out.as_mut_ptr(), &raw mut len, source.0, source.1, level)
        };
        assert_eq!(status, z::Z_OK, "compress2");
        out.truncate(usize::try_from(len).unwrap_or(0));
        out
    }

    /// Inflates a zlib stream of which the length is known; returns the length found.
    pub(crate) fn inflate(stream: &[u8], len: usize) -> usize {
        let mut out = vec![0_u8; len];
        let mut found = len as z::uLong;
        // SAFETY: both pointers are valid for the lengths given with them.
        let status = unsafe {
            let source = (stream.as_ptr(), stream.len() as z::uLong);
            z::uncompress(out.as_mut_ptr(), &raw mut found, source.0, source.1)
        };
        assert_eq!(status, z::Z_OK, "uncompress");
        usize::try_from(found).unwrap_or(0)
    }
}
