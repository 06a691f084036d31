//! Which path leads where, and what every answer has in common.
//!
//! What it owns: the table of routes, the limit on the rate of requests, headers that every answer
//! carries, counting.

use crate::access::Caller;
use crate::backend::{Action, Backend};
use crate::config::Config;
use crate::limits::{Connections, Requests};
use crate::problem::Problem;
use crate::server::Peer;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// What all requests share.
pub(crate) struct Shared<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) config: Config,
    pub(crate) connections: Arc<Connections>,
    requests: Requests,
    /// True once the server ends: streams that would never end by themselves stop then.
    pub(crate) ended: watch::Sender<bool>,
}

impl<B: Backend> Shared<B> {
    pub(crate) fn new(backend: Arc<B>, config: Config) -> Self {
        Self {
            backend,
            connections: Arc::default(),
            requests: Requests::new(&config, Instant::now()),
            ended: watch::Sender::new(false),
            config,
        }
    }

    /// Ends streams of events.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }
}

/// All routes.
pub(crate) fn router<B: Backend>(shared: Arc<Shared<B>>) -> Router {
    Router::new()
        .route("/api/v1/host", get(host::<B>))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&shared), common::<B>))
        .with_state(shared)
}

async fn host<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Look, None)?;
    Ok(Json(shared.backend.host()).into_response())
}

async fn nothing_here() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_path",
        "nothing is at this path; /api/v1/openapi.json lists what there is",
    )
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        "this path does not know this method; the Allow header lists those it knows",
    )
}

/// Limits the rate; adds the headers that every answer has.
async fn common<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let taken = peer.map_or(Ok(()), |Peer(peer)| shared.requests.take(peer, Instant::now()));
    let mut response = match taken {
        Ok(()) => next.run(request).await,
        Err(wait) => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "too many requests from this address; wait as long as Retry-After says",
        )
        .retry_after(wait)
        .into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
