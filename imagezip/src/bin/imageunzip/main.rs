//! imageunzip: restore an image onto a disk, into a partition, or into a file.

mod args;
mod place;
mod report;

use anyhow::{Context, Result};
use args::Args;
use clap::Parser;
use imagezip::cli::{Display, Exit, Shown, init_log};
use imagezip::disk::{FileDisk, WriteDisk};
use imagezip::interrupt::{self, Interrupt};
use imagezip::load::{
    self, GrowingFile, ImageInput, LoadError, Loaded, MEMORY_PER_WORKER, Prepared, Target,
    TargetOptions, load_stream,
};
use imagezip::output::Output;
use imagezip::progress::Progress;
use place::Place;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

fn main() -> ExitCode {
    let args = Args::parse();
    init_log(args.debug);
    let interrupt = match interrupt::install() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            eprintln!("imageunzip: cannot react to signals: {error}");
            return Exit::Failed.into();
        }
    };
    let mut touched = false;
    let exit = run(&args, &interrupt, &mut touched).unwrap_or_else(|error| {
        eprintln!("imageunzip: {error:#}");
        if touched {
            eprintln!("imageunzip: the target is incomplete; it has no partition table");
            return Exit::Failed;
        }
        match error.downcast_ref::<LoadError>() {
            Some(error) if error.is_refusal() => Exit::Refused,
            _ => Exit::Failed,
        }
    });
    interrupt.finish();
    exit.into()
}

/// Workers that the memory allows.
fn threads(args: &Args) -> usize {
    let Some(memory) = args.memory else { return args.threads };
    let most = usize::try_from(memory / MEMORY_PER_WORKER).unwrap_or(usize::MAX);
    args.threads.min(most).max(1)
}

fn run(args: &Args, interrupt: &Interrupt, touched: &mut bool) -> Result<Exit> {
    let start = Instant::now();
    let progress = Arc::new(Progress::new());
    let shown = Shown::from_flags(args.quiet, args.dots);
    let input = ImageInput::open(&args.image)?;
    let Some(target) = args.target.as_deref().filter(|_| !args.check) else {
        let display = Display::start(Arc::clone(&progress), shown);
        let info = load::check(&input, threads(args), &progress, interrupt)?;
        drop(display);
        report::print_checked(args, &info, start.elapsed());
        return Ok(Exit::Done);
    };
    let prepared = load::prepare(&input)?;
    if target == Path::new("-") {
        let mut out = Output::stdout()?;
        let display = Display::start(Arc::clone(&progress), shown);
        let info = load_stream(&input, &prepared, &mut out, threads(args), &progress, interrupt)?;
        out.commit()?;
        drop(display);
        let loaded = Loaded { info, not_applied: Vec::new() };
        report::print_loaded(args, target, &loaded, None, &progress, start.elapsed());
        return Ok(Exit::Done);
    }
    let place = Place::open(args, target, &prepared)?;
    let display = Display::start(Arc::clone(&progress), shown);
    let written = write(args, &input, &prepared, &place, &progress, interrupt, touched);
    drop(display);
    let (loaded, verified) = written?;
    *touched = false;
    place.commit(args).context("the data are on the disk, but")?;
    report::print_loaded(args, target, &loaded, verified, &progress, start.elapsed());
    Ok(Exit::Done)
}

/// Loads, and verifies if asked to; returns how many bytes were read back.
fn write(
    args: &Args,
    input: &ImageInput,
    prepared: &Prepared,
    place: &Place,
    progress: &Progress,
    interrupt: &Interrupt,
    touched: &mut bool,
) -> Result<(Loaded, Option<u64>)> {
    let fit = place.fit(args, prepared)?;
    *touched = !place.is_new();
    let growing;
    let disk: &dyn WriteDisk = if place.grows() {
        growing = GrowingFile::new(place.disk());
        &growing
    } else {
        place.disk()
    };
    let options = TargetOptions {
        partition: place.partition(),
        free: args.free_space(),
        blank: place.is_new(),
        read_back: args.verify,
    };
    let target = Target::new(disk, fit, options, progress);
    let threads = threads(args);
    let loaded = load::load(input, prepared, &target, threads, progress, interrupt)?;
    if place.grows() {
        place.disk().set_len(loaded.info.source_bytes)?;
        place.disk().sync()?;
    }
    let verified = match args.verify {
        true => Some(verify(place.disk(), target, threads, interrupt)?),
        false => None,
    };
    Ok((loaded, verified))
}

fn verify(
    disk: &FileDisk,
    target: Target<'_>,
    threads: usize,
    interrupt: &Interrupt,
) -> Result<u64> {
    let (uncached, _) = disk.reopen_uncached()?;
    Ok(target.verify(&uncached, threads, interrupt)?)
}
