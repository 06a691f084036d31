//! An upload by F01.
//!
//! What it owns: the connection, which may be replaced, a thread that receives on it, and when to
//! try again. What it never does: keep bytes that the server has for good.

use super::window::{OutOfWindow, Window};
use super::{Account, Published, UploadError, UploadOptions};
use crate::client::{ClientError, Connection, Patience, Server};
use crate::frame::{
    Abort, Ack, DATA_LEN_MAX, Digest, End, Header, Kind, Message, Upload, UploadReply, UploadStart,
    Verdict,
};
use crate::{ErrorCode, ImageId};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A wish to stop is seen this late at most.
const SLICE: Duration = Duration::from_millis(100);

/// A server that closes the connection may have said why just before.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How long an abort tries to reach the server.
const ABORT_TIME: Duration = Duration::from_secs(2);

/// The back-off doubles so often at most.
const DOUBLINGS_MAX: u32 = 4;

/// An upload by F01.
#[derive(Debug)]
pub(super) struct Framed {
    server: Server,
    image: ImageId,
    options: UploadOptions,
    link: Option<Link>,
    start: UploadStart,
    window: Window,
    hasher: blake3::Hasher,
    resumed: u32,
    /// Since when nothing could be handed in, and how often that was tried.
    trouble: Option<(Instant, u32)>,
    is_over: bool,
}

/// What is to be so before the caller goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Goal {
    /// Room for so many bytes.
    Room(u64),
    /// Everything is sent.
    Sent,
    /// The verdict.
    Verdict,
}

impl Framed {
    pub(super) fn start(
        server: &Server,
        image: &ImageId,
        options: UploadOptions,
    ) -> Result<Self, UploadError> {
        let upload = Upload {
            name: image.clone(),
            token: options.token.clone(),
            bytes: options.bytes,
            image: options.image,
            resume: None,
        };
        let patience = Patience {
            interval: options.back_off * 20,
            busy: Some(options.patience),
            unreachable: Duration::ZERO,
            unanswered: Duration::ZERO,
        };
        let (link, start) =
            patience.ask(&options.limits, || Link::open(server, &upload, &options))?;
        let mut framed = Self {
            server: server.clone(),
            image: image.clone(),
            options,
            link: None,
            start,
            window: Window::default(),
            hasher: blake3::Hasher::new(),
            resumed: 0,
            trouble: None,
            is_over: false,
        };
        framed.go_on(link)?;
        Ok(framed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.window.end()
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        let most = usize::try_from(DATA_LEN_MAX).unwrap_or(usize::MAX);
        for piece in bytes.chunks(most) {
            let len = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if let Some(bytes_max) = self.start.bytes_max
                && self.window.end().saturating_add(len) > bytes_max
            {
                return Err(UploadError::TooBig { server: self.server.clone(), bytes_max });
            }
            self.drive(Goal::Room(len))?;
            self.hasher.update(piece);
            self.window.append(piece.to_vec());
            self.drive(Goal::Sent)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<Published, UploadError> {
        let verdict = self.drive(Goal::Verdict)?;
        self.is_over = true;
        let sent = self.account();
        if let Some(Verdict::Published { bytes, blake3: digest }) = verdict {
            let found = Account { bytes, digest };
            if found != sent {
                return Err(UploadError::Different {
                    server: self.server.clone(),
                    image: self.image.clone(),
                    accounts: Box::new([sent, found]),
                });
            }
        }
        Ok(Published { bytes: sent.bytes, digest: Some(sent.digest), resumed: self.resumed })
    }

    pub(super) fn abort(&mut self, reason: &str) {
        self.is_over = true;
        if let Some(mut link) = self.link.take() {
            let abort = Message::Abort(Abort { reason: reason.to_owned() });
            link.connection.send_last(&abort, ABORT_TIME);
            // An acknowledgement for a closed connection would make the kernel throw away what
            // it has not sent yet: the server closes first.
            let start = Instant::now();
            while let Some(left) = ABORT_TIME.checked_sub(start.elapsed())
                && let Ok(Ok(_)) = link.incoming.recv_timeout(left)
            {}
        }
    }

    /// Our own count and digest.
    fn account(&self) -> Account {
        let digest = Digest(*self.hasher.finalize().as_bytes());
        Account { bytes: self.window.end(), digest }
    }

    /// Sends, listens and connects again until `goal` is reached; then a verdict, if that was it.
    fn drive(&mut self, goal: Goal) -> Result<Option<Verdict>, UploadError> {
        let mut moved = Instant::now();
        loop {
            if self.options.limits.stop.is_set() {
                return Err(self.stopped());
            }
            let has_room = self.has_room(goal);
            let Some(link) = &mut self.link else {
                self.connect_again(goal == Goal::Verdict && self.window.is_sent())?;
                moved = Instant::now();
                continue;
            };
            if let Ok(heard) = link.incoming.try_recv() {
                moved = Instant::now();
                if let Some(verdict) = self.hear(heard, goal)? {
                    return Ok(Some(verdict));
                }
                continue;
            }
            if has_room {
                return Ok(None);
            }
            if let Some(data) = self.window.next() {
                match link.send_data(data) {
                    Ok(len) => self.window.advance(len),
                    Err(error) => self.last_word(error, goal)?,
                }
                moved = Instant::now();
                continue;
            }
            if goal == Goal::Sent {
                return Ok(None);
            }
            if goal == Goal::Verdict && !link.has_ended {
                let Account { bytes, digest: blake3 } = self.account();
                if let Err(error) = self.end(End { bytes, blake3 }) {
                    self.last_word(error, goal)?;
                }
                moved = Instant::now();
                continue;
            }
            let patience = match goal {
                Goal::Verdict => self.options.verdict,
                Goal::Room(_) | Goal::Sent => self.options.limits.answer,
            };
            match link.incoming.recv_timeout(SLICE) {
                Ok(heard) => {
                    moved = Instant::now();
                    if let Some(verdict) = self.hear(heard, goal)? {
                        return Ok(Some(verdict));
                    }
                }
                Err(RecvTimeoutError::Timeout) if moved.elapsed() < patience => {}
                Err(_) => {
                    let doing = match goal {
                        Goal::Verdict => "waiting for the verdict",
                        Goal::Room(_) | Goal::Sent => "waiting for an acknowledgement",
                    };
                    let waited = moved.elapsed();
                    let server = self.server.clone();
                    self.broken(ClientError::Silent { server, doing, waited }, goal)?;
                }
            }
        }
    }

    /// The caller wished to stop. Once the end was said, the server may publish all the same.
    fn stopped(&self) -> UploadError {
        let source = ClientError::Stopped;
        match self.link.as_ref().is_some_and(|link| link.has_ended) {
            true => {
                let (image, bytes) = (self.image.clone(), self.window.end());
                UploadError::VerdictLost { image, bytes, source }
            }
            false => source.into(),
        }
    }

    /// True when room was wanted and there is.
    fn has_room(&self, goal: Goal) -> bool {
        let Goal::Room(need) = goal else { return false };
        let held = self.window.held_bytes();
        held == 0 || held.saturating_add(need) <= self.options.window_bytes
    }

    fn end(&mut self, end: End) -> Result<(), ClientError> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.has_ended = true;
        link.connection.send_message(&Message::End(end), "saying that this was all")
    }

    /// Takes what came. A verdict that is not expected is one too: the server will not go on.
    fn hear(
        &mut self,
        heard: Result<Message, ClientError>,
        goal: Goal,
    ) -> Result<Option<Verdict>, UploadError> {
        match heard {
            Ok(Message::Ack(Ack { durable_bytes })) => {
                if durable_bytes > self.window.durable() {
                    self.trouble = None;
                }
                self.window
                    .acknowledge(durable_bytes)
                    .map_err(|OutOfWindow| self.cannot_resume(durable_bytes))?;
                Ok(None)
            }
            Ok(Message::Verdict(Verdict::Refused { error })) => {
                self.is_over = true;
                let (server, what) = (self.server.clone(), format!("image {}", self.image));
                let message = format!("not published: {error}");
                Err(ClientError::Denied { server, what, code: error.code, message }.into())
            }
            Ok(Message::Verdict(verdict)) if goal == Goal::Verdict => Ok(Some(verdict)),
            Ok(other) => Err(ClientError::Unexpected {
                server: self.server.clone(),
                expected: "ACK or VERDICT",
                found: format!("{:?}", other.kind()),
            }
            .into()),
            Err(error) => {
                self.broken(error, goal)?;
                Ok(None)
            }
        }
    }

    /// Sending failed. Whatever the server said before it closed the connection counts more.
    fn last_word(&mut self, error: ClientError, goal: Goal) -> Result<(), UploadError> {
        if matches!(error, ClientError::Stopped) {
            return Err(error.into());
        }
        while let Some(link) = &self.link {
            match link.incoming.recv_timeout(LAST_WORD) {
                Ok(Ok(message)) => {
                    self.hear(Ok(message), goal)?;
                }
                Ok(Err(_)) | Err(_) => break,
            }
        }
        self.broken(error, goal)
    }

    /// The connection is of no use any more.
    fn broken(&mut self, error: ClientError, goal: Goal) -> Result<(), UploadError> {
        if matches!(error, ClientError::Frame { .. } | ClientError::NotAHost { .. }) {
            return Err(error.into());
        }
        self.link = None;
        let (since, attempts) = *self.trouble.get_or_insert((Instant::now(), 0));
        tracing::warn!("{error}; the upload goes on when the server answers again");
        self.be_patient(since, attempts, error, goal == Goal::Verdict && self.window.is_sent())
    }

    /// Waits before the next attempt, or gives up.
    fn be_patient(
        &mut self,
        since: Instant,
        attempts: u32,
        source: ClientError,
        is_complete: bool,
    ) -> Result<(), UploadError> {
        let after = since.elapsed();
        if after >= self.options.patience {
            if is_complete {
                let (image, bytes) = (self.image.clone(), self.window.end());
                return Err(UploadError::VerdictLost { image, bytes, source });
            }
            return Err(UploadError::GaveUp { after, source });
        }
        let wait = self.options.back_off * 2_u32.pow(attempts.min(DOUBLINGS_MAX));
        self.trouble = Some((since, attempts.saturating_add(1)));
        Ok(self.options.limits.stop.wait(wait)?)
    }

    /// One attempt to connect and to go on.
    fn connect_again(&mut self, is_complete: bool) -> Result<(), UploadError> {
        let upload = Upload {
            name: self.image.clone(),
            token: self.options.token.clone(),
            bytes: self.options.bytes,
            image: self.options.image,
            resume: Some(self.start.upload_id.clone()).filter(|id| !id.is_empty()),
        };
        let error = match Link::open(&self.server, &upload, &self.options) {
            Ok((link, start)) => {
                self.start = start;
                self.resumed = self.resumed.saturating_add(1);
                tracing::info!(offset = self.start.offset, "the upload goes on");
                return self.go_on(link);
            }
            Err(error) => error,
        };
        let is_refused = error.code().is_some_and(|code| code != ErrorCode::TryAgain);
        match error {
            // The server does not know the upload any more, but everything is still here.
            _ if is_refused && upload.resume.is_some() && self.window.durable() == 0 => {
                self.start.upload_id.clear();
                Ok(())
            }
            error if is_refused && is_complete => {
                let (image, bytes) = (self.image.clone(), self.window.end());
                Err(UploadError::VerdictLost { image, bytes, source: error })
            }
            // A server that is being restarted closes connections.
            error if error.may_pass() || matches!(error, ClientError::Old { .. }) => {
                let (since, attempts) = *self.trouble.get_or_insert((Instant::now(), 0));
                self.be_patient(since, attempts, error, is_complete)
            }
            error => Err(error.into()),
        }
    }

    fn go_on(&mut self, link: Link) -> Result<(), UploadError> {
        let offset = self.start.offset;
        if offset > self.window.durable() {
            self.trouble = None;
        }
        self.link = Some(link);
        self.window.go_on_at(offset).map_err(|OutOfWindow| self.cannot_resume(offset))
    }

    fn cannot_resume(&self, offset: u64) -> UploadError {
        UploadError::CannotResume {
            server: self.server.clone(),
            offset,
            held_from: self.window.durable(),
            held_to: self.window.end(),
        }
    }
}

impl Drop for Framed {
    fn drop(&mut self) {
        if !self.is_over {
            self.abort("the sender gave up");
        }
    }
}

/// A connection, and the thread that receives on it.
#[derive(Debug)]
struct Link {
    connection: Connection,
    incoming: Receiver<Result<Message, ClientError>>,
    receiving: Option<JoinHandle<()>>,
    has_ended: bool,
}

impl Link {
    /// Connects and asks.
    fn open(
        server: &Server,
        upload: &Upload,
        options: &UploadOptions,
    ) -> Result<(Self, UploadStart), ClientError> {
        const DOING: &str = "asking to upload the image";
        let mut connection = Connection::open(server, &options.limits)?;
        connection.send_message(&Message::Upload(upload.clone()), DOING)?;
        let start = match connection.receive_message(DOING)? {
            Message::UploadReply(UploadReply::Start(start)) => start,
            Message::UploadReply(UploadReply::Refused { error }) => {
                let (server, message) = (server.clone(), error.to_string());
                let what = format!("image {}", upload.name);
                return Err(ClientError::Denied { server, what, code: error.code, message });
            }
            other => {
                return Err(ClientError::Unexpected {
                    server: server.clone(),
                    expected: "UPLOAD_REPLY",
                    found: format!("{:?}", other.kind()),
                });
            }
        };
        let receiving = connection.split()?;
        let (heard, incoming) = channel();
        let thread = std::thread::spawn(move || listen(receiving, &heard));
        Ok((Self { connection, incoming, receiving: Some(thread), has_ended: false }, start))
    }

    /// Sends a frame of data; returns how many bytes it carries.
    fn send_data(&mut self, data: &[u8]) -> Result<usize, ClientError> {
        const DOING: &str = "sending the image";
        // A piece never is longer than a frame may be.
        let header = Header::new(Kind::Data, data.len()).map(Header::encode).unwrap_or_default();
        self.connection.send(&[header.as_slice(), data].concat(), DOING)?;
        Ok(data.len())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.shut_down();
        if let Some(thread) = self.receiving.take() {
            let _ = thread.join();
        }
    }
}

/// Receives until the connection ends.
fn listen(mut connection: Connection, heard: &Sender<Result<Message, ClientError>>) {
    loop {
        let message = match connection.receive_message("uploading the image") {
            Err(ClientError::Old { server }) => {
                Err(ClientError::Closed { server, doing: "uploading the image" })
            }
            message => message,
        };
        let is_last = message.is_err();
        if heard.send(message).is_err() || is_last {
            return;
        }
    }
}
