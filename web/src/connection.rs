//! One connection: whether it still does anything.
//!
//! What it owns: the requests of a connection that are under way, when it last made progress, and
//! so the moment at which it is not worth keeping. What it never does: look at what is sent.

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Writes up to this size are no progress: HTTP/2 answers pings and settings with such.
const SMALL_WRITE_BYTES: usize = 64;

/// An answer whose last part is still on its way to a slow reader may take so many times the
/// time-out for requests.
const SLOW_END_FACTOR: u32 = 10;

/// What a connection is doing.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Requests from their headers to the end of their answer.
    requests: usize,
    /// ... of them those whose answer is being sent.
    answers: usize,
    /// When the last request ended; at first, when the connection began.
    ended: Instant,
    /// When something was last taken from an answer, or written.
    progress: Instant,
}

impl State {
    /// When this connection is not worth keeping any more, if nothing changes.
    fn deadline(&self, request: Duration, body: Duration) -> Option<Instant> {
        if self.requests == 0 {
            let silent = self.ended.max(self.progress) + request;
            return Some(silent.min(self.ended + request * SLOW_END_FACTOR));
        }
        // While only the host works, the host decides how long.
        (self.answers > 0).then(|| self.progress + body)
    }
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    state: watch::Sender<State>,
    is_answering: bool,
}

impl Activity {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let state = State { requests: 0, answers: 0, ended: now, progress: now };
        Self { state: watch::Sender::new(state) }
    }

    pub(crate) fn begin(&self) -> UnderWay {
        self.state.send_modify(|state| state.requests += 1);
        UnderWay { state: self.state.clone(), is_answering: false }
    }

    fn wrote(&self, bytes: usize) {
        if bytes > SMALL_WRITE_BYTES {
            progress(&self.state);
        }
    }

    /// Is done when there was no request for the time `request`, or an answer has not moved for the
    /// time `body`.
    pub(crate) async fn idle(&self, request: Duration, body: Duration) {
        let mut changes = self.state.subscribe();
        loop {
            let deadline = changes.borrow_and_update().deadline(request, body);
            let Some(deadline) = deadline else {
                // Cannot fail: `self` holds the other end.
                let _ = changes.changed().await;
                continue;
            };
            if deadline <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(deadline) => {}
                _ = changes.changed() => {}
            }
        }
    }
}

/// Notes progress. Nobody is woken: it only moves a deadline away.
fn progress(state: &watch::Sender<State>) {
    state.send_if_modified(|state| {
        state.progress = Instant::now();
        false
    });
}

impl UnderWay {
    /// The answer is `body`; holds on until it has been sent.
    pub(crate) fn answer(mut self, body: Body) -> HeldBody {
        self.is_answering = true;
        self.state.send_modify(|state| {
            state.answers += 1;
            state.progress = Instant::now();
        });
        HeldBody { body, under_way: self }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.state.send_modify(|state| {
            state.requests = state.requests.saturating_sub(1);
            if self.is_answering {
                state.answers = state.answers.saturating_sub(1);
            }
            state.ended = Instant::now();
        });
    }
}

/// A body whose request is under way until it is sent.
#[derive(Debug)]
pub(crate) struct HeldBody {
    body: Body,
    under_way: UnderWay,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            progress(&self.under_way.state);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that notes what is written to it.
#[derive(Debug)]
pub(crate) struct Noted<S> {
    stream: S,
    activity: Activity,
}

impl<S> Noted<S> {
    pub(crate) fn new(stream: S, activity: Activity) -> Self {
        Self { stream, activity }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.activity.wrote(*bytes);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
