//! Uploads by F01 frames: resumable, with a verdict.
//!
//! What it owns: the conversation. What it never does: say that an image is safe before the store
//! has flushed it.

use super::{Arriving, Remembered, blocking};
use crate::host::Host;
use crate::host::access::Action;
use crate::host::error::HostError;
use crate::host::rendezvous::image_name;
use image_store::{UploadId, UploadOptions};
use rendezvous::ErrorCode;
use rendezvous::frame::{
    ACK_EVERY_BYTES, Ack, Digest, Failure, HEADER_LEN, Header, Kind, Message, Upload, UploadReply,
    UploadStart, Verdict,
};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a sender may go on sending after its verdict, so that it gets to read it.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Takes an upload whose first frame has been read.
pub(crate) async fn receive_frames(
    host: &Arc<Host>,
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    upload: Upload,
) -> io::Result<()> {
    let stream = blocking(stream, host.arrivals.limits().idle)?;
    let host = Arc::clone(host);
    let from = peer.ip().to_canonical();
    let work = move || receive(&host, stream, from, &upload);
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn receive(
    host: &Arc<Host>,
    mut stream: TcpStream,
    peer: IpAddr,
    upload: &Upload,
) -> io::Result<()> {
    let mut arriving = match begin(host, peer, upload) {
        Ok(Begun::Arriving(arriving)) => arriving,
        Ok(Begun::Over(verdict)) => return say_again(&mut stream, verdict),
        Err(error) => {
            tracing::info!("{peer} wants to send {}: {error}", upload.name);
            let reply = UploadReply::Refused { error: failure(&error) };
            return send(&mut stream, &Message::UploadReply(reply));
        }
    };
    let start = UploadStart {
        upload_id: arriving.id(),
        offset: arriving.bytes(),
        bytes_max: Some(host.arrivals.limits().bytes_max).filter(|bytes| *bytes < u64::MAX),
    };
    send(&mut stream, &Message::UploadReply(UploadReply::Start(start)))?;
    let verdict = match take_all(&mut arriving, &mut stream)? {
        Ok(Taken::Abort(reason)) => {
            arriving.discard(&reason);
            return Ok(());
        }
        Ok(Taken::All(bytes, digest)) => match arriving.publish(Some((bytes, digest))) {
            Ok(published) => Verdict::Published {
                bytes: published.entry.bytes,
                blake3: Digest(published.blake3),
            },
            Err(error) => Verdict::Refused { error: failure(&error) },
        },
        Err(error) => Verdict::Refused { error: failure(&error) },
    };
    send(&mut stream, &Message::Verdict(verdict))?;
    hear_out(&mut stream)
}

/// An upload that a sender may send.
enum Begun {
    Arriving(Box<Arriving>),
    /// It is published already; the sender has not heard.
    Over(Remembered),
}

/// How the sender ended.
enum Taken {
    /// With what it says of the whole.
    All(u64, [u8; 32]),
    /// For a reason of its own.
    Abort(String),
}

fn begin(host: &Arc<Host>, peer: IpAddr, upload: &Upload) -> Result<Begun, HostError> {
    let name = image_name(&upload.name)?;
    let token = upload.token.as_ref().map(|token| token.0.as_str());
    host.check_access(peer, token, Action::Put, Some(&name))?;
    let over = upload.resume.as_ref().and_then(|id| host.arrivals.verdict(id, &name));
    if let Some(verdict) = over {
        return Ok(Begun::Over(verdict));
    }
    let resume = match &upload.resume {
        Some(text) => Some(UploadId::parse(text).ok_or_else(|| HostError::NoUpload(text.clone()))?),
        None => None,
    };
    let options = UploadOptions {
        image: upload.image,
        bytes: upload.bytes,
        resume,
        ..UploadOptions::default()
    };
    host.arrivals.begin(&name, peer, options).map(|arriving| Begun::Arriving(Box::new(arriving)))
}

/// Repeats a verdict to a sender whose connection broke before it came.
fn say_again(stream: &mut TcpStream, verdict: Remembered) -> io::Result<()> {
    let Remembered { id, bytes, blake3, .. } = verdict;
    let start = UploadStart { upload_id: id, offset: bytes, bytes_max: None };
    send(stream, &Message::UploadReply(UploadReply::Start(start)))?;
    let mut body = Vec::new();
    match read_frame(stream, &mut body)? {
        Kind::End => {}
        kind => return Err(io::Error::other(format!("expected END, not {kind:?}"))),
    }
    let Message::End(end) = Message::decode(Kind::End, &body).map_err(io::Error::other)? else {
        return Err(io::Error::other("expected END"));
    };
    let verdict = if (end.bytes, end.blake3.0) == (bytes, blake3) {
        Verdict::Published { bytes, blake3: Digest(blake3) }
    } else {
        let message = "another file was published by this upload".into();
        Verdict::Refused { error: Failure { code: ErrorCode::Invalid, message } }
    };
    send(stream, &Message::Verdict(verdict))?;
    hear_out(stream)
}

/// Reads a frame's body; returns its kind.
pub(crate) fn read_frame(stream: &mut TcpStream, body: &mut Vec<u8>) -> io::Result<Kind> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header)?;
    let header = Header::parse(header).map_err(io::Error::other)?;
    body.resize(header.body_len(), 0);
    stream.read_exact(body)?;
    Ok(header.kind())
}

/// Takes data until the sender says that it was all; returns what it says of the whole. The outer
/// error is a broken connection or protocol: there is nobody to answer.
fn take_all(
    arriving: &mut Arriving,
    stream: &mut TcpStream,
) -> io::Result<Result<Taken, HostError>> {
    let mut body = Vec::new();
    let mut acknowledged = arriving.bytes();
    loop {
        match read_frame(stream, &mut body)? {
            Kind::Data => {
                if let Err(error) = arriving.write(&body) {
                    return Ok(Err(error));
                }
                // Half of what is asked for, so that the sender need not wait.
                if arriving.bytes() - acknowledged >= ACK_EVERY_BYTES / 2 {
                    match arriving.make_durable() {
                        Ok(durable_bytes) => {
                            acknowledged = arriving.bytes();
                            send(stream, &Message::Ack(Ack { durable_bytes }))?;
                        }
                        Err(error) => return Ok(Err(error)),
                    }
                }
            }
            kind => match Message::decode(kind, &body).map_err(io::Error::other)? {
                Message::End(end) => return Ok(Ok(Taken::All(end.bytes, end.blake3.0))),
                Message::Abort(abort) => return Ok(Ok(Taken::Abort(abort.reason))),
                _ => return Err(io::Error::other("expected DATA, END or ABORT")),
            },
        }
    }
}

fn failure(error: &HostError) -> Failure {
    Failure { code: error.code(), message: error.to_string() }
}

fn send(stream: &mut TcpStream, message: &Message) -> io::Result<()> {
    stream.write_all(&message.encode().map_err(io::Error::other)?)
}

/// Reads what the sender still has on its way: closing a connection with unread data would take
/// the verdict back.
fn hear_out(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(LAST_WORDS))?;
    let (end, mut buffer) = (Instant::now() + LAST_WORDS, [0; 1 << 16]);
    while Instant::now() < end && stream.read(&mut buffer).is_ok_and(|len| len > 0) {}
    Ok(())
}
