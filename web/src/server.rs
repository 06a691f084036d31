//! Listening: connections in, requests to the routes, time-outs.
//!
//! What it owns: sockets, TLS handshakes, how long a connection may be silent, and the end. A
//! connection that has no request under way for [`Config::request_timeout`] is closed, whatever it
//! sends meanwhile: so half-open connections, headers that trickle in, and connections kept alive
//! for nothing all cost the same, and little. One whose answer does not move for
//! [`Config::body_idle_timeout`] is closed, too.

use crate::backend::Backend;
use crate::config::Config;
use crate::connection::{Activity, Noted};
use crate::limits::{ConnectionPermit, Connections};
use crate::routes::{self, Shared};
use crate::tls::Tls;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// Streams of one HTTP/2 connection at once.
const HTTP2_STREAMS_MAX: u32 = 64;

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The peer of a connection, as routes see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// An HTTP server. It may listen on several sockets, which share their limits and counters.
pub struct Server<B> {
    shared: Arc<Shared<B>>,
    router: Router,
}

impl<B> Clone for Server<B> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), router: self.router.clone() }
    }
}

impl<B> std::fmt::Debug for Server<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl<B: Backend> Server<B> {
    /// A server for `backend`.
    #[must_use]
    pub fn new(backend: Arc<B>, config: Config) -> Self {
        let shared = Arc::new(Shared::new(backend, config));
        let router = routes::router(Arc::clone(&shared));
        Self { shared, router }
    }

    /// Serves connections of `listener` until `shutdown` is done; then lets requests under way
    /// finish within [`Config::shutdown_grace`]. With `tls` the socket speaks nothing else.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<Tls>>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let (ending, ended) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let mut sampling = pin!(self.shared.sample());
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = &mut sampling => {}

                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if let Some(permit) = self.admit(peer) {
                            let connection =
                                self.clone().connection(stream, peer, tls.clone(), ended.clone(), permit);
                            connections.spawn(connection);
                        }
                    }
                    Err(error) => self.accept_failed(&error).await,
                },
            }
        }
        drop(listener);
        // Tasks that have gone hold no receiver; nobody listening is fine.
        let _ = ending.send(true);
        self.shared.end();
        let all_done = async { while connections.join_next().await.is_some() {} };
        if timeout(self.shared.config.shutdown_grace, all_done).await.is_err() {
            tracing::info!("some requests were still under way; they are cut off");
        }
    }

    fn admit(&self, peer: SocketAddr) -> Option<ConnectionPermit> {
        Connections::admit(&self.shared.connections, peer.ip(), &self.shared.config)
    }

    async fn accept_failed(&self, error: &io::Error) {
        // The peer may have gone before it was accepted: nothing to wait for. Out of descriptors:
        // the others must end first.
        let gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        );
        if !gone {
            tracing::warn!("no connection can be accepted: {error}");
            sleep(ACCEPT_PAUSE).await;
        }
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<Arc<Tls>>,
        ended: watch::Receiver<bool>,
        _permit: ConnectionPermit,
    ) {
        // Small answers should not wait for an acknowledgement; without it they are only late.
        let _ = stream.set_nodelay(true);
        let config = &self.shared.config;
        let activity = Activity::new();
        let stream = Noted::new(stream, activity.clone());
        match tls {
            None => self.http(stream, peer, activity, ended).await,
            Some(tls) => {
                let handshake = tls.acceptor().accept(stream);
                match timeout(config.request_timeout, handshake).await {
                    Ok(Ok(stream)) => self.http(stream, peer, activity, ended).await,
                    Ok(Err(error)) => tracing::debug!("{peer}: TLS handshake failed: {error}"),
                    Err(_) => tracing::debug!("{peer}: TLS handshake timed out"),
                }
            }
        }
    }

    async fn http<S>(
        &self,
        stream: S,
        peer: SocketAddr,
        activity: Activity,
        mut ended: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let config = &self.shared.config;
        let service = {
            let router = self.router.clone();
            let activity = activity.clone();
            let peer = Peer(peer.ip().to_canonical());
            hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                let under_way = activity.begin();
                request.extensions_mut().insert(peer);
                let answer = router.clone().oneshot(request.map(axum::body::Body::new));
                async move { answer.await.map(|response| response.map(|body| under_way.answer(body))) }
            })
        };
        let builder = builder(config);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut idle = pin!(activity.idle(config.request_timeout, config.body_idle_timeout));
        let mut is_ending = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!("{peer}: {error}");
                    }
                    return;
                }
                () = &mut idle => return,
                _ = ended.wait_for(|ended| *ended), if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn builder(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.request_timeout)
        .max_buf_size(config.header_bytes_max.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(config.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .keep_alive_interval(config.body_idle_timeout / 2)
        .keep_alive_timeout(config.body_idle_timeout / 2);
    builder
}

/// Serves HTTP on one socket; see [`Server`].
pub async fn serve<B: Backend>(
    listener: TcpListener,
    backend: Arc<B>,
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
) {
    Server::new(backend, config).serve(listener, None, shutdown).await;
}
