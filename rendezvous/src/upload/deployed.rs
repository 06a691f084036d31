//! An upload by the deployed protocol: PUT, then the bare bytes over a connection of their own.
//!
//! Such a server says nothing at the end, and takes a regular end of the connection for the end of
//! the file. So an upload that is given up ends by a reset; and whether one arrived is seen by
//! asking what is there: the length must be right, and what tells its state must be new.

use super::{Published, UploadError, UploadOptions};
use crate::ImageId;
use crate::client::{ClientError, Connection, Patience, Server, put};
use crate::record::{Existing, PutRequest, Signature};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// How long a deployed server may take to put a complete upload in its place.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// An upload by PUT.
#[derive(Debug)]
pub(super) struct Deployed {
    server: Server,
    image: ImageId,
    options: UploadOptions,
    connection: Option<Connection>,
    before: Option<Existing>,
    modified: u32,
    bytes_max: u64,
    bytes: u64,
}

impl Deployed {
    pub(super) fn start(
        server: &Server,
        image: &ImageId,
        options: UploadOptions,
    ) -> Result<Self, UploadError> {
        let patience = Patience {
            interval: options.back_off * 20,
            busy: Some(options.patience),
            unreachable: Duration::ZERO,
            unanswered: Duration::ZERO,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let modified = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let request = PutRequest {
            host: None,
            status: true,
            image: image.clone(),
            bytes: options.bytes.unwrap_or(0),
            modified,
            timeout: 0,
        };
        let limits = &options.limits;
        let before = put(server, &request, &patience, limits)?.existing;
        let answer = put(server, &PutRequest { status: false, ..request }, &patience, limits)?;
        let addresses: Vec<_> = answer.address.into_iter().map(SocketAddr::V4).collect();
        let connection = Connection::open_any(server, &addresses, limits)?;
        Ok(Self {
            server: server.clone(),
            image: image.clone(),
            connection: Some(connection),
            before,
            modified,
            bytes_max: answer.bytes_max,
            bytes: 0,
            options,
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let end = self.bytes.saturating_add(len);
        if self.bytes_max != 0 && end > self.bytes_max {
            let (server, bytes_max) = (self.server.clone(), self.bytes_max);
            return Err(UploadError::TooBig { server, bytes_max });
        }
        if let Some(connection) = &mut self.connection {
            connection.send(bytes, "sending the image (a deployed server cannot resume)")?;
        }
        self.bytes = end;
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<Published, UploadError> {
        if let Some(connection) = &mut self.connection {
            connection.end("ending the upload")?;
            connection.await_end("waiting for the server to take the image")?;
        }
        self.connection = None;
        let start = Instant::now();
        loop {
            let shown = self.shown()?;
            match shown {
                Some(existing) if self.is_this(&existing) => {
                    return Ok(Published { bytes: self.bytes, digest: None, resumed: 0 });
                }
                _ if start.elapsed() >= SHOWN_WITHIN.min(self.options.patience) => {
                    return Err(UploadError::NotShown {
                        server: self.server.clone(),
                        image: self.image.clone(),
                        bytes: self.bytes,
                        shown: match shown {
                            None => "no such image".into(),
                            Some(old) if old.bytes == self.bytes => "an older image".into(),
                            Some(other) => format!("{} bytes", other.bytes),
                        },
                    });
                }
                _ => self.options.limits.stop.wait(self.options.back_off)?,
            }
        }
    }

    /// What is there now.
    fn shown(&self) -> Result<Option<Existing>, UploadError> {
        let request = PutRequest {
            host: None,
            status: true,
            image: self.image.clone(),
            // Not told, so that it cannot be what the server repeats.
            bytes: 0,
            modified: 0,
            timeout: 0,
        };
        let lost = |source| match source {
            ClientError::Stopped => UploadError::Client(source),
            source => {
                UploadError::VerdictLost { image: self.image.clone(), bytes: self.bytes, source }
            }
        };
        let patience = Patience {
            interval: self.options.back_off,
            busy: Some(self.options.patience),
            unreachable: self.options.patience,
            unanswered: self.options.patience,
        };
        let answer = put(&self.server, &request, &patience, &self.options.limits);
        Ok(answer.map_err(lost)?.existing)
    }

    /// The right length; and not what was there before, unless the server cannot tell.
    fn is_this(&self, existing: &Existing) -> bool {
        let was_there = self.before.is_some_and(|before| before == *existing);
        let is_ours = existing.signature == Signature::Modified(self.modified);
        let is_new = !was_there || is_ours || existing.signature == Signature::None;
        existing.bytes == self.bytes && is_new
    }

    pub(super) fn abort(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.reset();
        }
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        self.abort();
    }
}
