//! The demo: a disk with this machine's own files is saved, restored twice, served to several
//! clients at once, saved to an image host and loaded from it, and compared each time.
//!
//! Each step has a module and prints what it does. Everything happens in one directory below
//! `target`, which is removed at the end. No root is needed.

mod disk;
mod files;
mod image_host;
mod multicast;
mod process;
mod prove;
mod restore;
mod save;
mod steps;
mod tools;
mod work;

use anyhow::Result;
use steps::{say, step};
use work::Work;

/// Runs all steps.
///
/// # Errors
/// When a tool is missing or a step fails: then the demo has found a bug.
pub(crate) fn run() -> Result<()> {
    tools::check()?;
    let work = Work::create()?;

    step("Make a disk with this machine's own files");
    let made = disk::make(&work)?;

    step("Save it");
    let image = save::save(&work, &made)?;

    step("Restore it on a blank disk of the same size");
    let same = restore::onto_blank(&work, &image, "restored.raw", made.bytes)?;
    prove::all(&work, &same, &made)?;

    step("Restore it on a larger disk: the GPT has to move to its end");
    let larger = restore::onto_blank(&work, &image, "larger.raw", made.bytes + (1 << 30))?;
    prove::moved(&larger, &same, &made)?;

    step("Serve it, and load it on three clients at once by multicast");
    for disk in multicast::load(&work, &image)? {
        prove::same_disk(&disk, &same)?;
        std::fs::remove_file(&disk)?;
    }

    step("Save it straight to an image host, and load it from there by its name");
    let disk = image_host::round_trip(&work, &made)?;
    prove::same_disk(&disk, &same)?;

    step("Done");
    say("Nothing is missing, and everything is where it belongs.");
    Ok(())
}
