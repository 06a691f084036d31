//! Where an image goes: a file, a device, a pipe, or an image host.
//!
//! What it owns: the choice, by what the name looks like, and what becomes of an upload that does
//! not come to its end. What it never does: know how either way works.

use anyhow::Result;
use imagezip::interrupt::Interrupt;
use imagezip::output::{Output, OutputError};
use imagezip::save::SaveError;
use rendezvous::ErrorCode;
use rendezvous::client::{Limits, Location, LocationError, Stop};
use rendezvous::frame::Token;
use rendezvous::upload::{Published, Sender, UploadError, UploadOptions};
use std::path::Path;

/// The environment variable that holds the token; the command line is seen by all users of a machine.
const TOKEN_VARIABLE: &str = "FRISBEE_TOKEN";

/// The host that a name on the command line is about; none: it is a file's name.
///
/// # Errors
/// When it begins as a location does, and is none.
pub(crate) fn location(name: &Path) -> Result<Option<Location>, LocationError> {
    match name.to_str().filter(|name| name.starts_with(Location::SCHEME)) {
        Some(name) => Ok(Some(name.parse()?)),
        None => Ok(None),
    }
}

/// True for a refusal that will be repeated whenever the same is tried.
pub(crate) fn is_refusal(error: &UploadError) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::NoAccess
                | ErrorCode::Invalid
                | ErrorCode::TooBig
                | ErrorCode::BadModified
                | ErrorCode::NotImplemented
        )
    )
}

/// An image that a host says it has.
#[derive(Debug)]
pub(crate) struct Remote {
    /// Where.
    pub(crate) location: Location,
    /// What.
    pub(crate) published: Published,
}

/// Where an image goes.
#[derive(Debug)]
pub(crate) enum Destination {
    /// To a file, a device or a pipe.
    Local(Output),
    /// To a host.
    Remote(Location, Box<Sender>),
}

impl Destination {
    /// Opens it; a host has agreed to take the image then.
    pub(crate) fn open(name: &Path, token: Option<&str>, interrupt: &Interrupt) -> Result<Self> {
        let Some(location) = location(name)? else { return Ok(Self::Local(Output::open(name)?)) };
        let (defaults, interrupt) = (UploadOptions::default(), interrupt.clone());
        let token = token.map(str::to_owned).or_else(|| std::env::var(TOKEN_VARIABLE).ok());
        let options = UploadOptions {
            token: token.map(Token),
            image: true,
            limits: Limits { stop: Stop::when(move || interrupt.is_set()), ..defaults.limits },
            ..defaults
        };
        let started = Sender::start(&location.server, &location.image, options);
        let sender = started.map_err(failed)?;
        Ok(Self::Remote(location, Box::new(sender)))
    }

    /// Writes the next chunk.
    pub(crate) fn append(&mut self, chunk: &[u8]) -> Result<(), SaveError> {
        match self {
            Self::Local(output) => Ok(output.append(chunk)?),
            Self::Remote(_, sender) => sender.append(chunk).map_err(failed),
        }
    }

    /// Makes it permanent; for a host, waits for its verdict.
    pub(crate) fn commit(self) -> Result<Option<Remote>, OutputError> {
        match self {
            Self::Local(output) => output.commit().map(|()| None),
            Self::Remote(location, sender) => match sender.finish() {
                Ok(published) => Ok(Some(Remote { location, published })),
                Err(error) => Err(OutputError::Remote(Box::new(error))),
            },
        }
    }

    /// Gives up; a host is told why.
    pub(crate) fn abandon(self, why: &SaveError) {
        if let Self::Remote(_, sender) = self {
            sender.abort(&why.to_string());
        }
    }
}

fn failed(error: UploadError) -> SaveError {
    match error.is_stopped() {
        true => SaveError::Interrupted,
        false => OutputError::Remote(Box::new(error)).into(),
    }
}
