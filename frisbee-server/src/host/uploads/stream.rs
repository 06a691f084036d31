//! Uploads without a protocol: whatever a connection brings until it ends.
//!
//! What it owns: telling an image from other files by its first bytes, and the end. What it never
//! does: take the end of a connection for a proof; an image that is not whole is kept aside, not
//! published.

use super::{Arriving, PIECE, blocking};
use crate::host::Host;
use crate::host::access::Action;
use crate::host::doors::Doors;
use crate::host::error::HostError;
use image_store::{ImageName, UploadOptions};
use imagezip::ndz::Version;
use std::io::Read;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// Takes plain streams (`imagezip DISK - | nc HOST PORT`) and names them.
pub(crate) async fn serve_streams(host: Arc<Host>, listener: TcpListener) {
    let doors = Doors::new(host.config.limits);
    loop {
        let Some((stream, peer, pass)) = doors.accept(&listener).await else { continue };
        let host = Arc::clone(&host);
        let work = move || {
            let peer = peer.ip().to_canonical();
            let taken = blocking(stream, host.arrivals.limits().idle)
                .map_err(HostError::Connection)
                .and_then(|stream| take_stream(&host, stream, peer));
            if let Err(error) = taken {
                tracing::warn!("{peer}: a stream was not published: {error}");
            }
            drop(pass);
        };
        tokio::task::spawn_blocking(work);
    }
}

fn take_stream(host: &Arc<Host>, stream: TcpStream, peer: IpAddr) -> Result<(), HostError> {
    let name = stream_name(&host.config.uploads.stream_name, peer, unique_millis())?;
    host.check_access(peer, None, Action::Put, Some(&name))?;
    let mut incoming = Incoming::new(stream)?;
    if !incoming.is_image() {
        return Err(HostError::NoImage);
    }
    let options = UploadOptions { image: true, ..UploadOptions::default() };
    let arriving = host.arrivals.begin(&name, peer, options)?;
    incoming.take(arriving, None)
}

/// The configured name with address and time in it.
fn stream_name(template: &str, peer: IpAddr, millis: u64) -> Result<ImageName, HostError> {
    // Colons of IPv6 addresses are awkward in file names.
    let address = peer.to_string().replace(':', "-");
    let name = template
        .replace("{address}", &address)
        .replace("{time}", &format!("{}.{:03}", millis / 1000, millis % 1000));
    Ok(ImageName::parse(&name)?)
}

/// Milliseconds since 1970, but never the same twice: each stream gets a name of its own.
fn unique_millis() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let later = |last: u64| now.max(last.saturating_add(1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)));
    later(last.unwrap_or_default())
}

/// A connection of which the first bytes have been read.
pub(super) struct Incoming {
    stream: TcpStream,
    start: Vec<u8>,
}

impl Incoming {
    /// Reads the first bytes.
    pub(super) fn new(mut stream: TcpStream) -> Result<Self, HostError> {
        let mut start = vec![0; 4];
        let mut len = 0;
        while len < start.len() {
            let read = stream.read(start.get_mut(len..).unwrap_or_default());
            match read.map_err(HostError::Connection)? {
                0 => break,
                more => len += more,
            }
        }
        start.truncate(len);
        Ok(Self { stream, start })
    }

    /// True when they are those of an image.
    pub(super) fn is_image(&self) -> bool {
        Version::of_image(&self.start).is_some()
    }

    /// Takes everything up to the connection's end; `bytes` is the length that was announced.
    pub(super) fn take(
        &mut self,
        mut arriving: Arriving,
        bytes: Option<u64>,
    ) -> Result<(), HostError> {
        arriving.write(&self.start)?;
        let mut buffer = vec![0; PIECE];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => arriving.write(buffer.get(..len).unwrap_or_default())?,
                // Such a sender cannot go on where it was.
                Err(error) => {
                    return Err(arriving.set_aside(&format!("the connection broke: {error}")));
                }
            }
        }
        match bytes {
            Some(expected) if expected != arriving.bytes() => {
                let why =
                    format!("{} bytes came of {expected} that were announced", arriving.bytes());
                Err(arriving.set_aside(&why))
            }
            _ => arriving.publish(None).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_streams_are_names() {
        let name = stream_name("saves/{address}-{time}.ndz", "fe80::1".parse().unwrap(), 1_234_005)
            .unwrap();
        assert_eq!(name.to_string(), "saves/fe80--1-1234.005.ndz");
        assert!(stream_name("../{time}", "10.0.0.1".parse().unwrap(), 1).is_err());
        assert_ne!(unique_millis(), unique_millis());
    }
}
