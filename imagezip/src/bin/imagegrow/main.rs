//! imagegrow: extend the last partition of a disk, and the filesystem in it, to the disk's end.

mod args;
mod content;
mod kernel;
mod report;

use anyhow::{Context, Result};
use args::Args;
use clap::Parser;
use content::{Content, Kind as ContentKind};
use imagezip::cli::{Exit, chain, init_log, say};
use imagezip::disk::{FileDisk, Kind, OpenError, ReadDisk, TargetOptions, open_target};
use imagezip::partition::grow::{GrowError, Growth, plan};
use imagezip::units::SectorRange;
use report::Report;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    init_log(0);
    let mut report = Report::new(&args);
    let exit = match run(&args, &mut report) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let text = chain(error.as_ref());
            say(format_args!("imagegrow: {text}"));
            report.error = Some(text);
            exit_of(&error)
        }
    };
    if exit == Exit::Refused {
        return exit.into();
    }
    match report.print(&args) {
        Ok(()) => exit.into(),
        Err(error) => {
            say(format_args!("imagegrow: cannot say what was done: {error}"));
            Exit::Failed.into()
        }
    }
}

/// A disk that does not qualify; nothing was written.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}: is a partition; name the disk it is on")]
    Partition(String),
    #[error(
        "partition {number} is a {name}, which has its mark at the end of the partition and would \
         not be found again; grow it by its own tools"
    )]
    MarkAtEnd { number: u32, name: &'static str },
}

fn exit_of(error: &anyhow::Error) -> Exit {
    let grow = error.downcast_ref::<GrowError>();
    let open = error.downcast_ref::<OpenError>();
    match (grow, open) {
        (Some(GrowError::Disk(_)), _) | (_, Some(OpenError::Io { .. })) => Exit::Failed,
        (Some(_), _) | (_, Some(_)) => Exit::Refused,
        _ if error.is::<Refusal>() => Exit::Refused,
        _ => Exit::Failed,
    }
}

fn run(args: &Args, report: &mut Report) -> Result<()> {
    let name = args.disk.display().to_string();
    let options = TargetOptions {
        // A disk in use may grow: its partitions stay where they are. A file may not, as nobody
        // can tell what whoever has it attached makes of it.
        allow_busy: std::fs::metadata(&args.disk).is_ok_and(|found| !found.is_file()),
        logical_sector_bytes: args.sector_size,
        ..TargetOptions::default()
    };
    let disk = open_target(&args.disk, options)?;
    if disk.is_partition().with_context(|| name.clone())? {
        return Err(Refusal::Partition(name).into());
    }
    let growth = match plan(&disk) {
        Ok(Some(growth)) => growth,
        Ok(None) => {
            report.left = Some("the disk has a partition table and no partition".into());
            return Ok(());
        }
        Err(GrowError::NoTable) => return whole_disk(args, &disk, report),
        Err(error) => return Err(anyhow::Error::from(error).context(name)),
    };
    partition(args, &disk, &growth, report).with_context(|| name)
}

/// Grows the last partition and what is in it.
fn partition(args: &Args, disk: &FileDisk, growth: &Growth, report: &mut Report) -> Result<()> {
    let number = growth.number;
    report.plan(growth);
    let shown = disk.kernel_partition(number).context("the kernel's partitions")?;
    report.device = shown.as_ref().map(|shown| shown.path.clone());
    let here = shown.filter(|shown| shown.range.start() == growth.old.start());
    let content = match &here {
        // What a mounted filesystem has written is seen through the device it is mounted from.
        Some(shown) => Content::of_device(&shown.path)?,
        None => Content::of_range(disk, growth.old)?,
    };
    report.filesystem = content.name;
    if let (Some(name), true) = (content.marked_at_end, growth.new != growth.old) {
        return Err(Refusal::MarkAtEnd { number, name }.into());
    }
    if content.kind == ContentKind::Swap {
        report.nothing_grows();
        let why = "swap is the last on the disk; growing it would take the space and give nothing";
        report.left = Some(why.into());
        return Ok(());
    }
    if args.check_only {
        let damage = content.damage(report.device.as_deref().unwrap_or(&args.disk))?;
        report.left = damage.or_else(|| content.left()).or_else(|| file_is_left(disk, &content));
        report.filesystem_grows = report.left.is_none() && content.gains(growth.new.count());
        return Ok(());
    }
    growth.apply(disk).context(
        "the partition table was not written to its end; the disk still has a valid one. Run \
         imagegrow again",
    )?;
    report.table_written = !growth.is_nothing();
    if disk.kind() == Kind::RegularFile {
        report.left = content.left().or_else(|| file_is_left(disk, &content));
        return Ok(());
    }
    let known = here.is_some_and(|shown| shown.range == growth.new);
    let gains = content.gains(growth.new.count());
    if !known && (report.table_written || gains) {
        let shown = kernel::tell(disk, number, growth.new)
            .with_context(|| grown_but(number, "the kernel still has the old end"))?;
        report.device = Some(shown.path);
    }
    report.left = content.left();
    let (Some(device), None, true) = (report.device.clone(), &report.left, gains) else {
        return Ok(());
    };
    let filesystem = content.name.unwrap_or_default();
    let whose = format!("its {filesystem} was not");
    grow_filesystem(&content, &device, growth.new, report)
        .with_context(|| grown_but(number, &whose))
}

/// A filesystem on a disk without a partition table.
fn whole_disk(args: &Args, disk: &FileDisk, report: &mut Report) -> Result<()> {
    let name = args.disk.display().to_string();
    let content = Content::of_range(disk, SectorRange::whole(disk.sectors()))?;
    if content.kind == ContentKind::Other || disk.kind() == Kind::RegularFile {
        return Err(anyhow::Error::from(GrowError::NoTable).context(name));
    }
    report.filesystem = content.name;
    report.device = Some(args.disk.clone());
    report.left = content.left();
    if report.left.is_some() || !content.gains(disk.sectors()) {
        return Ok(());
    }
    if args.check_only {
        report.filesystem_grows = true;
        return Ok(());
    }
    let whole = SectorRange::whole(disk.sectors());
    grow_filesystem(&content, &args.disk, whole, report).with_context(|| name)
}

/// Grows a filesystem to the length of its device.
fn grow_filesystem(
    content: &Content,
    device: &Path,
    range: SectorRange,
    report: &mut Report,
) -> Result<()> {
    let [before, after] = content.grow(device, range.byte_len())?;
    report.filesystem_grows = after > before;
    report.capacity = Some([before, after]);
    Ok(())
}

fn file_is_left(disk: &FileDisk, content: &Content) -> Option<String> {
    let is_file = disk.kind() == Kind::RegularFile && content.name.is_some();
    is_file.then(|| {
        "the disk is a file; attach it (losetup -P --find --show FILE) and run imagegrow on the \
         loop device"
            .into()
    })
}

fn grown_but(number: u32, what: &str) -> String {
    format!("partition {number} is grown in the partition table, but {what}")
}
