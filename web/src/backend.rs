//! The host, as HTTP sees it.
//!
//! What it owns: the trait [`Backend`] and what passes through it. What it never does: decide who
//! may do what, know where images are, or block.

use crate::api;
use bytes::Bytes;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::broadcast;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// See lists, sessions, clients, events, numbers.
    Look,
    /// Get an image: its content, its details, or a session that sends it.
    Get,
    /// Upload an image.
    Put,
    /// Delete an image.
    Delete,
    /// Stop a session.
    Stop,
}

/// Whether somebody may.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// Yes.
    Allowed,
    /// Not without a token, or not with this one. The text says what to do.
    TokenNeeded(String),
    /// No, with any token. The text says why.
    Denied(String),
}

/// Why the host does not do what it was asked. The texts are shown to whoever asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// No image of this name.
    #[error("no image named {0:?} is here")]
    NoSuchImage(String),
    /// No session of this id, or none sends this image.
    #[error("no session {0:?} is running")]
    NoSuchSession(String),
    /// The name, or another part of the request, cannot be.
    #[error("{0}")]
    Invalid(String),
    /// Not allowed, although [`Backend::allow`] did not mind: what is asked for decides.
    #[error("{0}")]
    Denied(String),
    /// Something else is going on with it: another upload, clients that are loading.
    #[error("{0}")]
    Busy(String),
    /// Later: the image is on its way from a parent, all groups are taken.
    #[error("{reason}")]
    TryAgain {
        /// Why.
        reason: String,
        /// When it is worth trying again.
        after_secs: u64,
    },
    /// The upload is larger than allowed.
    #[error("{0}")]
    TooBig(String),
    /// No space: the disk, or a quota.
    #[error("{0}")]
    Full(String),
    /// What was uploaded is no whole image, or not what its digest says.
    #[error("{0}")]
    Broken(String),
    /// Our fault. The text is shown; details belong in the log.
    #[error("{0}")]
    Failed(String),
}

/// What an upload should become.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub peer: IpAddr,
    /// Its size, when the sender knows it.
    pub bytes: Option<u64>,
}

/// Where the bytes of an upload go. Dropped before `publish` is done, it leaves nothing behind
/// that could be served.
pub trait Upload: Send + 'static {
    /// Takes the next bytes. Returns when there is room for more.
    ///
    /// # Errors
    /// `TooBig`, `Full`, `Broken`, `Failed`; the upload is over then.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), Error>> + Send;

    /// Publishes it under its name, whole and flushed, or says why not.
    /// `blake3` is the digest that the sender expects, when it told one.
    ///
    /// # Errors
    /// `Broken`, `Full`, `Busy`, `Failed`.
    fn publish(
        self,
        blake3: Option<[u8; 32]>,
    ) -> impl Future<Output = Result<api::Published, Error>> + Send;

    /// The sender broke off, or sent what it did not announce.
    fn abandon(self, reason: &str) -> impl Future<Output = ()> + Send;
}

/// An image that is open for reading; it stays the same even when another takes its name.
pub trait Content: Send + Sync + 'static {
    /// Its size.
    fn bytes(&self) -> u64;

    /// Changes whenever the content does; without quotation marks; visible ASCII only.
    fn etag(&self) -> String;

    /// When it was published.
    fn modified_secs(&self) -> u64;

    /// Reads exactly `length` bytes (at most 1 MiB) at `offset`; both lie within the image.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(
        &self,
        offset: u64,
        length: usize,
    ) -> impl Future<Output = std::io::Result<Bytes>> + Send;
}

/// A session that was asked for.
#[derive(Clone, Debug)]
pub struct SessionStart {
    /// The session.
    pub session: api::Session,
    /// True when it was running already.
    pub was_running: bool,
}

/// The image host. Calls that may wait are `async`; the others answer at once, from memory.
pub trait Backend: Send + Sync + 'static {
    /// Takes an upload's bytes.
    type Upload: Upload;
    /// Gives an image's bytes.
    type Content: Content;

    /// Whether `peer`, with this token, may do `action` with the image `name` (all of them when
    /// there is none).
    fn allow(
        &self,
        peer: IpAddr,
        token: Option<&str>,
        action: Action,
        name: Option<&str>,
    ) -> Access;

    /// The host as a whole.
    fn host(&self) -> api::Host;

    /// What it counted.
    fn counters(&self) -> api::Counters;

    /// Sessions that are running.
    fn sessions(&self) -> Vec<api::Session>;

    /// Clients of a session, those that left too. Nothing when there is no such session.
    fn clients(&self, session: &str) -> Option<Vec<api::Client>>;

    /// Uploads that are going on.
    fn uploads(&self) -> Vec<api::UploadStatus>;

    /// What happens from now on. The channel is bounded; a reader that lags is dropped.
    fn events(&self) -> broadcast::Receiver<Arc<api::Event>>;

    /// All images, by name.
    ///
    /// # Errors
    /// `Failed`.
    fn images(&self) -> impl Future<Output = Result<Vec<api::Image>, Error>> + Send;

    /// One image, with what imagedump would tell.
    ///
    /// # Errors
    /// `NoSuchImage`, `Invalid`, `Failed`.
    fn image(&self, name: &str) -> impl Future<Output = Result<api::ImageDetails, Error>> + Send;

    /// Opens an image for reading.
    ///
    /// # Errors
    /// `NoSuchImage`, `Invalid`, `TryAgain`, `Failed`.
    fn open(&self, name: &str) -> impl Future<Output = Result<Self::Content, Error>> + Send;

    /// Begins an upload.
    ///
    /// # Errors
    /// `Invalid`, `Busy`, `TooBig`, `Full`, `Failed`.
    fn begin_upload(
        &self,
        request: UploadRequest,
    ) -> impl Future<Output = Result<Self::Upload, Error>> + Send;

    /// Deletes an image. A session that sends it goes on with what it has open.
    ///
    /// # Errors
    /// `NoSuchImage`, `Invalid`, `Busy`, `Failed`.
    fn delete(&self, name: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Starts a session for an image, or finds the one that runs, and counts whoever asked.
    ///
    /// # Errors
    /// `NoSuchImage`, `Invalid`, `TryAgain`, `Failed`.
    fn start_session(
        &self,
        image: &str,
        peer: IpAddr,
    ) -> impl Future<Output = Result<SessionStart, Error>> + Send;

    /// Stops a session. Without `force` it is `Busy` while clients are loading.
    ///
    /// # Errors
    /// `NoSuchSession`, `Busy`, `Failed`.
    fn stop_session(
        &self,
        session: &str,
        force: bool,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
