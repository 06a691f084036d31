//! imagezip: save what is allocated on a disk as an image.

mod args;
mod destination;
mod failure;
mod report;

use anyhow::{Context, Result};
use args::Args;
use clap::Parser;
use destination::{Destination, Remote, location};
use failure::{Unfit, UsageError, exit_of};
use imagezip::cli::{Display, Exit, catch_signals, init_log, say};
use imagezip::disk::in_use::{same_storage, uses_of};
use imagezip::disk::{FileDisk, Kind, Patched, ReadDisk, SourceOptions, Window, open_source};
use imagezip::interrupt::Interrupt;
use imagezip::ndz::{Relocation, Version};
use imagezip::plan::{self, SavePlan};
use imagezip::progress::Progress;
use imagezip::save::{
    ImageFields, LabelForm, SaveError, SaveOptions, Saved, SliceLabel, label_form, save,
};
use imagezip::units::{Sector, SectorCount, SectorRange};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

fn main() -> ExitCode {
    let args = Args::parse();
    init_log(args.debug);
    let interrupt = match catch_signals("imagezip") {
        Ok(interrupt) => interrupt,
        Err(exit) => return exit.into(),
    };
    let exit = run(&args, &interrupt).unwrap_or_else(|error| {
        let exit = exit_of(&error);
        failure::tell(&args, &error, exit);
        exit
    });
    interrupt.finish();
    exit.into()
}

fn run(args: &Args, interrupt: &Interrupt) -> Result<Exit> {
    let start = Instant::now();
    let encoding = args.encoding().map_err(UsageError)?;
    let options = SourceOptions { logical_sector_bytes: args.sector_size, direct: args.direct };
    let file = open_source(&args.source, options)?;
    if file.size_bytes() == 0 {
        return Err(Unfit::Empty(args.source.display().to_string()).into());
    }
    let counted;
    let disk: &dyn ReadDisk = match args.count.and_then(SectorCount::new) {
        Some(count) => {
            counted = Window::new(&file, SectorRange::whole(count));
            &counted
        }
        None => &file,
    };
    if let (Some(output), false) = (&args.output, args.info) {
        check_output(&args.source, output)?;
    }
    warn_if_mounted(&file);
    let plan = plan::plan(disk, &args.plan_options())
        .with_context(|| args.source.display().to_string())?;
    let report = report::Report { args, disk, plan: &plan, encoding: &encoding };
    report.warn();
    let Some(output) = args.output.as_deref().filter(|_| !args.info) else {
        report.print_info()?;
        return Ok(Exit::Done);
    };

    let label = slice_label(args, disk, &plan, encoding.version);
    let mut image = image_fields(args, disk, &plan, &encoding);
    image.relocations.extend(label.iter().map(|label| label.relocation));
    let patched;
    let disk: &dyn ReadDisk = match label {
        Some(label) => {
            patched = Patched::new(disk, plan.window.byte_offset() + label.at, label.bytes);
            &patched
        }
        None => disk,
    };
    let save_options = SaveOptions {
        level: encoding.level,
        threads: args.threads,
        memory: args.memory,
        rescue: args.rescue,
    };
    let progress = Arc::new(Progress::new());
    let (saved, remote) = {
        let _display = Display::start(Arc::clone(&progress), args.shown());
        write_image(disk, &plan, image, &save_options, &progress, interrupt, (args, output))?
    };
    report.print_saved((output, remote.as_ref()), &saved, &progress, start.elapsed())?;
    Ok(if saved.lost.is_empty() { Exit::Done } else { Exit::DoneWithLosses })
}

/// Refuses an output that would land on the source.
fn check_output(source: &Path, output: &Path) -> Result<()> {
    if output.as_os_str() == "-" || location(output)?.is_some() {
        return Ok(());
    }
    match same_storage(source, output) {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(Unfit::OntoSource(why).into()),
        Err(error) => Err(error).context("cannot tell whether the output would land on the source"),
    }
}

fn warn_if_mounted(file: &FileDisk) {
    match uses_of(file.path()) {
        Ok(uses) => {
            for one in uses.iter().filter(|one| one.changes_content()) {
                say(format_args!(
                    "imagezip: warning: {one}. What changes during the save may be torn: unmount \
                     it, or remount it read-only, for an image you can trust"
                ));
            }
        }
        Err(error) if file.kind() == Kind::BlockDevice => {
            say(format_args!(
                "imagezip: warning: cannot tell whether the source is mounted: {error}"
            ));
        }
        Err(_) => {}
    }
}

fn image_fields(
    args: &Args,
    disk: &dyn ReadDisk,
    plan: &SavePlan,
    encoding: &args::Encoding,
) -> ImageFields {
    let native = encoding.version == Version::Native;
    let source_bytes = match plan.slice {
        true => plan.window.byte_len(),
        false => disk.size_bytes(),
    };
    let image_id = match args.uuid {
        Some(id) => Some(id.into_bytes()),
        None => native.then(|| uuid::Uuid::new_v4().into_bytes()),
    };
    // Formats without the exact length say it in a relocation.
    let has_relocations = !matches!(encoding.version, Version::Native | Version::V1);
    let short = (has_relocations && !args.no_relocations).then(|| short_sector(source_bytes));
    ImageFields {
        version: encoding.version,
        codec: encoding.codec,
        image_id,
        source_bytes,
        logical_sector_bytes: disk.logical_sector_bytes(),
        allocated: plan.ranges.count(),
        slice: plan.slice,
        relocations: short.flatten().into_iter().collect(),
    }
}

/// What is stored of a slice's disklabel in another form, with warnings about what cannot be.
fn slice_label(
    args: &Args,
    disk: &dyn ReadDisk,
    plan: &SavePlan,
    version: Version,
) -> Option<SliceLabel> {
    if !plan.slice || args.no_relocations || args.raw {
        return None;
    }
    let slice = Window::new(disk, plan.window);
    let warn = |text: &str| say(format_args!("imagezip: warning: {text}"));
    let form = match label_form(&slice, plan.window, args.plan_options().probe) {
        Ok(form) => form,
        Err(error) => {
            warn(&format!("cannot tell whether this slice has a disklabel to adjust: {error}"));
            return None;
        }
    };
    match form {
        LabelForm::Relative(label) if plan.ranges.contains(label.relocation.sector) => {
            if version == Version::V1 {
                warn(
                    "format V1 has no relocations: the disklabel of this slice fits this place only",
                );
                return None;
            }
            if let Some(warning) = &label.warning {
                warn(warning);
            }
            Some(label)
        }
        LabelForm::CannotFollow(why) => {
            warn(&why);
            None
        }
        LabelForm::Relative(_) | LabelForm::AsItIs => None,
    }
}

fn short_sector(source_bytes: u64) -> Option<Relocation> {
    let rest = source_bytes % imagezip::units::SECTOR_SIZE;
    let sector = Sector::containing_byte(source_bytes)?;
    (rest != 0).then(|| Relocation::short_sector(sector, rest))
}

fn write_image(
    disk: &dyn ReadDisk,
    plan: &SavePlan,
    image: ImageFields,
    options: &SaveOptions,
    progress: &Progress,
    interrupt: &Interrupt,
    (args, output): (&Args, &Path),
) -> Result<(Saved, Option<Remote>)> {
    let mut out = Destination::open(output, args.token.as_deref(), interrupt)?;
    let window;
    let source: &dyn ReadDisk = if plan.slice {
        window = Window::new(disk, plan.window);
        &window
    } else {
        disk
    };
    let ranges = plan.ranges.ranges();
    let saved =
        save(source, ranges, image, options, progress, interrupt, &mut |chunk| out.append(chunk));
    let saved = match saved {
        Ok(saved) => saved,
        Err(error) => {
            out.abandon(&error);
            return Err(match error {
                // Which sector is in the error; which disk is not.
                SaveError::Disk(_) => {
                    anyhow::Error::from(error).context(args.source.display().to_string())
                }
                _ => error.into(),
            });
        }
    };
    Ok((saved, out.commit()?))
}
