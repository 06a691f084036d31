//! Handing an image in, with a verdict at the end.
//!
//! What it owns: the conversation with the server, and the bytes that may have to be sent again.
//! What it never does: know what an image is.
//!
//! [`Sender`] speaks F01: bytes are acknowledged when they are safe at the server, a broken
//! connection is resumed where the server says, and at the end length and BLAKE3 digest are agreed:
//! what [`Sender::finish`] returns is what the server published. A deployed server, which does not
//! know F01, is sent the file by PUT; what it then says it has is compared with what was sent, by
//! length alone.

mod deployed;
mod error;
mod framed;
mod window;

pub use error::{Account, UploadError};

use crate::ImageId;
use crate::client::{ClientError, Limits, Server};
use crate::frame::{Digest, Token};
use deployed::Deployed;
use framed::Framed;
use std::io;
use std::time::Duration;

/// How to upload.
#[derive(Clone, Debug)]
pub struct UploadOptions {
    /// Says who uploads, where the server wants to know.
    pub token: Option<Token>,
    /// Length of the file, if it is known.
    pub bytes: Option<u64>,
    /// An ndz image, to be verified chunk by chunk; else any file.
    pub image: bool,
    /// Bytes in memory that the server has not acknowledged, at most; 32 MiB at least make sense.
    pub window_bytes: u64,
    /// Gives up when a connection broke and nothing could be handed in for this long.
    pub patience: Duration,
    /// Time before the first attempt to connect again; it doubles up to 16 times this. A server
    /// that says "try again" at the start is asked after 20 times this.
    pub back_off: Duration,
    /// How long the server may take for its verdict once it has everything.
    pub verdict: Duration,
    /// For connections and answers; also how long a transfer may stand still before the
    /// connection counts as broken.
    pub limits: Limits,
}

impl Default for UploadOptions {
    /// An image of unknown length; 64 MiB of window, five minutes of patience.
    fn default() -> Self {
        Self {
            token: None,
            bytes: None,
            image: true,
            window_bytes: 64 << 20,
            patience: Duration::from_secs(300),
            back_off: Duration::from_millis(500),
            verdict: Duration::from_secs(600),
            limits: Limits { answer: Duration::from_secs(60), ..Limits::default() },
        }
    }
}

/// What the server says it has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Published {
    /// Length of the file, the same here and there.
    pub bytes: u64,
    /// Its digest, the same here and there; none from a deployed server, which does not check.
    pub digest: Option<Digest>,
    /// How often a broken connection was resumed.
    pub resumed: u32,
}

/// An upload under way. Dropped without [`finish`](Self::finish), it is given up, and the server is
/// told.
#[derive(Debug)]
pub struct Sender {
    way: Way,
}

#[derive(Debug)]
enum Way {
    Framed(Box<Framed>),
    Deployed(Box<Deployed>),
}

impl Sender {
    /// Asks the server whether it takes the image, by F01, or else by PUT.
    ///
    /// # Errors
    /// When it cannot be reached, or says no.
    pub fn start(
        server: &Server,
        image: &ImageId,
        options: UploadOptions,
    ) -> Result<Self, UploadError> {
        match Framed::start(server, image, options.clone()) {
            Ok(framed) => Ok(Self { way: Way::Framed(Box::new(framed)) }),
            Err(UploadError::Client(ClientError::Old { .. } | ClientError::Silent { .. })) => {
                tracing::warn!(
                    "{server} does not know verified uploads; using the deployed protocol, which \
                     checks no digest"
                );
                let deployed = Deployed::start(server, image, options)?;
                Ok(Self { way: Way::Deployed(Box::new(deployed)) })
            }
            Err(error) => Err(error),
        }
    }

    /// Hands in the next bytes of the file. Waits while the server has too much to acknowledge.
    ///
    /// # Errors
    /// When the server refuses the file, or the connection broke for good. Nothing more can be
    /// sent then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        match &mut self.way {
            Way::Framed(framed) => framed.append(bytes),
            Way::Deployed(deployed) => deployed.append(bytes),
        }
    }

    /// Says that this was all, and waits for the verdict.
    ///
    /// # Errors
    /// When it is not published, or one cannot know.
    pub fn finish(mut self) -> Result<Published, UploadError> {
        match &mut self.way {
            Way::Framed(framed) => framed.finish(),
            Way::Deployed(deployed) => deployed.finish(),
        }
    }

    /// Bytes handed in so far.
    pub fn bytes(&self) -> u64 {
        match &self.way {
            Way::Framed(framed) => framed.bytes(),
            Way::Deployed(deployed) => deployed.bytes(),
        }
    }

    /// False for a deployed server, which checks nothing.
    pub fn is_verified(&self) -> bool {
        matches!(self.way, Way::Framed(_))
    }

    /// Gives up and tells the server why.
    pub fn abort(mut self, reason: &str) {
        match &mut self.way {
            Way::Framed(framed) => framed.abort(reason),
            Way::Deployed(deployed) => deployed.abort(),
        }
    }
}

/// Errors are [`UploadError`] inside.
impl io::Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
