//! One connection: whether it does anything.
//!
//! What it owns: the count of requests under way, and the time a peer may take to read what was
//! written for it.

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Requests of a connection that are under way: from their headers to the end of the answer.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    under_way: watch::Sender<usize>,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    count: watch::Sender<usize>,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self { under_way: watch::Sender::new(0) }
    }

    pub(crate) fn begin(&self) -> UnderWay {
        self.under_way.send_modify(|count| *count += 1);
        UnderWay { count: self.under_way.clone() }
    }

    /// Is done when no request was under way for so long.
    pub(crate) fn silent_for(&self, time: Duration) -> impl Future<Output = ()> + use<> {
        let mut count = self.under_way.subscribe();
        async move {
            loop {
                // An error means that the connection has gone, and this with it.
                if count.wait_for(|count| *count == 0).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = sleep(time) => return,
                    changed = count.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

impl UnderWay {
    /// Holds on until `body` has been sent.
    pub(crate) fn hold(self, body: Body) -> HeldBody {
        HeldBody { body, _under_way: self }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A body whose request is under way until it is sent.
#[derive(Debug)]
pub(crate) struct HeldBody {
    body: Body,
    _under_way: UnderWay,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that fails when its peer reads nothing for so long although there is something to read.
#[derive(Debug)]
pub(crate) struct StallTimeout<S> {
    stream: S,
    time: Duration,
    deadline: Pin<Box<Sleep>>,
    is_stalled: bool,
}

impl<S> StallTimeout<S> {
    pub(crate) fn new(stream: S, time: Duration) -> Self {
        Self { stream, time, deadline: Box::pin(sleep(time)), is_stalled: false }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_stalled = false;
            return written;
        }
        if !self.is_stalled {
            self.is_stalled = true;
            self.deadline.set(sleep_until(Instant::now() + self.time));
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has nothing to flush; what could stall is writing.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
