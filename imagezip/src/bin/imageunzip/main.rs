//! imageunzip: restore an image onto a disk, into a partition, or into a file.

mod args;
mod report;

use anyhow::{Context, Result};
use args::Args;
use clap::Parser;
use imagezip::cli::{Display, Exit, Shown, catch_signals, chain, init_log, say};
use imagezip::disk::in_use::same_storage;
use imagezip::interrupt::Interrupt;
use imagezip::load::{
    self, ImageInput, LoadError, Loaded, MEMORY_PER_WORKER, Place, Prepared, Refusal, StreamError,
    Wishes, load_stream,
};
use imagezip::output::{Output, OutputError};
use imagezip::progress::Progress;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

fn main() -> ExitCode {
    let args = Args::parse();
    init_log(args.debug);
    let interrupt = match catch_signals("imageunzip") {
        Ok(interrupt) => interrupt,
        Err(exit) => return exit.into(),
    };
    let mut state = State::Untouched;
    let exit = run(&args, &interrupt, &mut state).unwrap_or_else(|error| {
        say(format_args!("imageunzip: {}", chain(error.as_ref())));
        exit_of(&error, &args, state)
    });
    interrupt.finish();
    exit.into()
}

/// What has become of the target when an error ends the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing has been written.
    Untouched,
    /// A new file or a pipe is being written; a file that is not complete does not appear.
    Unnamed,
    /// A disk is being written.
    Incomplete,
    /// Everything has been written.
    Complete,
}

fn exit_of(error: &anyhow::Error, args: &Args, state: State) -> Exit {
    if state == State::Incomplete {
        match args.slice {
            Some(number) => say(format_args!("imageunzip: partition {number} is incomplete")),
            None => {
                say(format_args!("imageunzip: the target is incomplete; it has no partition table"))
            }
        }
    }
    if state != State::Untouched {
        return Exit::Failed;
    }
    if error.is::<UsageError>() {
        return Exit::Usage;
    }
    let load = error.downcast_ref::<LoadError>();
    let output = match load {
        Some(LoadError::Output(error)) => Some(error),
        _ => error.downcast_ref(),
    };
    match (load, output) {
        (Some(error), _) if error.is_refusal() => Exit::Refused,
        (_, Some(OutputError::Terminal | OutputError::Directory { .. })) => Exit::Usage,
        (_, Some(OutputError::Busy { .. })) => Exit::Refused,
        _ => Exit::Failed,
    }
}

/// Refuses a target that is the image, or holds it.
fn check_not_image(image: &Path, target: &Path) -> Result<()> {
    if image.as_os_str() == "-" {
        return Ok(());
    }
    match same_storage(image, target) {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(LoadError::from(Refusal::OntoImage(why)).into()),
        Err(error) => Err(error).context("cannot tell whether the target holds the image"),
    }
}

/// An error with the name of the image or of the target, where that is what is wrong.
fn named(error: LoadError, args: &Args) -> anyhow::Error {
    if let (LoadError::Disk(_), Some(target)) = (&error, &args.target) {
        // Which sector is in the error; which disk is not.
        let name = target.display().to_string();
        return anyhow::Error::from(error).context(name);
    }
    if !error.is_about_image() {
        return error.into();
    }
    let standard_input = args.image.as_os_str() == "-";
    let name =
        if standard_input { "standard input".into() } else { args.image.display().to_string() };
    anyhow::Error::from(error).context(name)
}

/// A wrong word on the command line that only shows once it is understood.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Workers that the memory allows.
fn threads(args: &Args) -> Result<usize, UsageError> {
    let Some(memory) = args.memory else { return Ok(args.threads) };
    match usize::try_from(memory / MEMORY_PER_WORKER).unwrap_or(usize::MAX) {
        0 => Err(UsageError(format!(
            "{} KiB of memory is too little; give at least {} MiB",
            memory >> 10,
            MEMORY_PER_WORKER >> 20
        ))),
        most => Ok(args.threads.min(most)),
    }
}

fn run(args: &Args, interrupt: &Interrupt, state: &mut State) -> Result<Exit> {
    let start = Instant::now();
    let threads = threads(args)?;
    let progress = Arc::new(Progress::new());
    let shown = Shown::from_flags(args.quiet, args.dots);
    let input = ImageInput::open(&args.image).map_err(|error| named(error, args))?;
    let Some(target) = args.target.as_deref().filter(|_| !args.check) else {
        let display = Display::start(Arc::clone(&progress), shown);
        let info = load::check(&input, threads, &progress, interrupt);
        drop(display);
        let info = info.map_err(|error| named(error, args))?;
        report::print_checked(args, &info, start.elapsed())?;
        return Ok(Exit::Done);
    };
    let prepared = load::prepare(&input).map_err(|error| named(error, args))?;
    if target == Path::new("-") {
        let mut out = Output::stdout()?;
        let display = Display::start(Arc::clone(&progress), shown);
        *state = State::Unnamed;
        let info = load_stream(&input, &prepared, &mut out, threads, &progress, interrupt);
        drop(display);
        let info = info.map_err(|error| match error {
            StreamError::Load(error) => named(error, args),
            StreamError::Output(error) => error.into(),
        })?;
        out.commit()?;
        let loaded = Loaded { info, not_applied: Vec::new() };
        report::print_loaded(args, target, &loaded, None, &progress, start.elapsed())?;
        return Ok(Exit::Done);
    }
    check_not_image(&args.image, target)?;
    let place = Place::open(target, args.place(), prepared.facts.source_bytes)?;
    let display = Display::start(Arc::clone(&progress), shown);
    let way = Way { threads, progress: &progress, interrupt };
    let written = write(args, &input, &prepared, &place, &way, state);
    drop(display);
    let (loaded, verified) = written?;
    if let Some(warning) = place.commit().context("the data are on the disk, but")? {
        say(format_args!("imageunzip: warning: {warning}"));
    }
    report::print_loaded(args, target, &loaded, verified, &progress, start.elapsed())?;
    Ok(Exit::Done)
}

/// What work is done with.
struct Way<'a> {
    threads: usize,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
}

/// Loads, and verifies if asked to; returns how many bytes were read back.
fn write(
    args: &Args,
    input: &ImageInput,
    prepared: &Prepared,
    place: &Place,
    way: &Way<'_>,
    state: &mut State,
) -> Result<(Loaded, Option<u64>)> {
    let Way { threads, progress, interrupt } = *way;
    let fit = place.fit(&prepared.facts, &prepared.tables)?;
    *state = if place.is_new() { State::Unnamed } else { State::Incomplete };
    let wishes = Wishes { free: args.free_space(), read_back: args.verify };
    place.with_target(fit, wishes, progress, |target| {
        let loaded = load::load(input, prepared, &target, threads, progress, interrupt)
            .map_err(|error| named(error, args))?;
        place.end_at(loaded.info.source_bytes)?;
        *state = State::Complete;
        let verified = match args.verify {
            true => Some(place.read_back(target, threads, interrupt)?),
            false => None,
        };
        Ok((loaded, verified))
    })
}
