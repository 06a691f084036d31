//! Why a save ended: exit status, class, and the words.
//!
//! What it owns: which error means what to those who run the program. What it never does: know what
//! was being saved.

use crate::args::Args;
use crate::destination::is_refusal;
use anyhow::Error;
use imagezip::cli::{Class, Exit, chain, say};
use imagezip::disk::{DiskError, OpenError};
use imagezip::output::OutputError;
use imagezip::plan::PlanError;
use imagezip::save::SaveError;
use rendezvous::client::LocationError;
use rendezvous::upload::UploadError;
use serde_json::json;

/// A wrong word on the command line that only shows once it is put together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// The source and the output do not qualify.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// The output would overwrite the source.
    #[error(
        "refusing to write: {0}. Write the image to another disk, or to - and over the network"
    )]
    OntoSource(String),
    /// There is no sector to save.
    #[error("{0}: is empty; there is nothing to save")]
    Empty(String),
}

/// What an image host says, if that is the error.
fn upload_error(error: &Error) -> Option<&UploadError> {
    let output = error.downcast_ref().or_else(|| match error.downcast_ref() {
        Some(SaveError::Output(error)) => Some(error),
        _ => None,
    });
    match output {
        Some(OutputError::Remote(error)) => error.downcast_ref(),
        _ => None,
    }
}

/// The exit status.
pub(crate) fn exit_of(error: &Error) -> Exit {
    let usage = error.is::<UsageError>()
        || error.is::<LocationError>()
        || matches!(error.downcast_ref(), Some(SaveError::Memory { .. }))
        || matches!(error.downcast_ref(), Some(OpenError::SectorSize { .. }))
        || matches!(
            error.downcast_ref(),
            Some(OutputError::Terminal | OutputError::Directory { .. })
        );
    let refused = error.is::<Unfit>()
        || upload_error(error).is_some_and(is_refusal)
        || matches!(
            error.downcast_ref(),
            Some(
                PlanError::Strict { .. }
                    | PlanError::Table { .. }
                    | PlanError::NoPartition { .. }
                    | PlanError::Extended { .. }
            )
        )
        || matches!(error.downcast_ref(), Some(SaveError::TooLarge { .. }))
        || matches!(error.downcast_ref(), Some(OutputError::Busy { .. }))
        || matches!(
            error.downcast_ref(),
            Some(OpenError::NotADisk { .. } | OpenError::TooLong { .. })
        );
    match (usage, refused) {
        (true, _) => Exit::Usage,
        (_, true) => Exit::Refused,
        _ => Exit::Failed,
    }
}

/// The class of a failure that ends with this status.
fn class_of(error: &Error, exit: Exit) -> Class {
    let save = error.downcast_ref::<SaveError>();
    let disk = error.is::<OpenError>()
        || error.is::<OutputError>()
        || error.is::<PlanError>()
        || error.is::<DiskError>()
        || matches!(save, Some(SaveError::Disk(_) | SaveError::Output(_)));
    match upload_error(error) {
        _ if exit == Exit::Usage => Class::Usage,
        _ if matches!(save, Some(SaveError::Interrupted)) => Class::Interrupted,
        Some(error) if error.is_stopped() => Class::Interrupted,
        Some(UploadError::GaveUp { .. } | UploadError::VerdictLost { .. }) => Class::Network,
        Some(UploadError::Different { .. }) => Class::Damaged,
        Some(_) => Class::Server,
        None if exit == Exit::Refused => Class::Refused,
        None if disk => Class::Disk,
        None => Class::Failed,
    }
}

/// Says why the save failed, to people and, if asked to, to programs.
pub(crate) fn tell(args: &Args, error: &Error, exit: Exit) {
    let words = chain(error.as_ref());
    if args.json {
        args.stream().line(&json!({
            "event": "failed",
            "class": class_of(error, exit).name(),
            "error": words,
            "refused": exit == Exit::Refused,
        }));
    }
    say(format_args!("imagezip: {words}"));
}
