//! Which path leads where, and what every answer has in common.
//!
//! What it owns: the table of routes, the limit on the rate of requests, headers that every answer
//! carries, counting.

use crate::backend::Backend;
use crate::config::Config;
use crate::history::{self, History};
use crate::limits::{Connections, Requests};
use crate::metrics::HttpCounts;
use crate::problem::Problem;
use crate::server::Peer;
use crate::{data, events, images, metrics, orbit, page, parse, sessions};
use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

/// The longest path with its query.
const URI_BYTES_MAX: usize = 4096;

/// The description of the API.
const OPENAPI: &str = include_str!("../assets/openapi.json");

/// What all requests share.
pub(crate) struct Shared<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) config: Config,
    pub(crate) connections: Arc<Connections>,
    pub(crate) http_counts: HttpCounts,
    pub(crate) history: History,
    pub(crate) event_readers: Arc<Semaphore>,
    /// True once the server ends: streams that would never end by themselves stop then.
    pub(crate) ended: watch::Sender<bool>,
    requests: Requests,
    /// Held by the listener that takes samples for all.
    sampling: Mutex<()>,
}

impl<B: Backend> Shared<B> {
    pub(crate) fn new(backend: Arc<B>, config: Config) -> Self {
        Self {
            backend,
            connections: Arc::default(),
            http_counts: HttpCounts::default(),
            history: History::default(),
            event_readers: Arc::new(Semaphore::new(config.event_readers_max)),
            ended: watch::Sender::new(false),
            requests: Requests::new(&config, Instant::now()),
            sampling: Mutex::new(()),
            config,
        }
    }

    /// Ends streams of events.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Takes samples of the sessions until it is dropped.
    pub(crate) async fn sample(&self) {
        let _turn = self.sampling.lock().await;
        let mut ticks = interval(history::INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.history.sample(now.as_secs(), &self.backend.sessions());
        }
    }
}

/// Each path and what answers there.
fn table<B: Backend>() -> Vec<(&'static str, MethodRouter<Arc<Shared<B>>>)> {
    let one_image = get(images::details::<B>).put(images::upload::<B>).delete(images::delete::<B>);
    vec![
        ("/", get(page::index)),
        ("/assets/{name}", get(page::asset)),
        ("/metrics", get(metrics::metrics::<B>)),
        ("/frisbee/getAddress", get(orbit::get_address::<B>)),
        ("/frisbee/checkImage", get(orbit::check_image::<B>)),
        ("/frisbee/status", get(orbit::status::<B>)),
        ("/frisbee/stop", get(orbit::stop::<B>)),
        ("/api/v1/openapi.json", get(openapi)),
        ("/api/v1/host", get(sessions::host::<B>)),
        ("/api/v1/images", get(images::list::<B>)),
        ("/api/v1/images/{*name}", one_image),
        ("/api/v1/data/{*name}", get(data::download::<B>)),
        ("/api/v1/uploads", get(sessions::uploads::<B>)),
        ("/api/v1/sessions", get(sessions::list::<B>).post(sessions::start::<B>)),
        ("/api/v1/sessions/{id}", get(sessions::one::<B>).delete(sessions::stop::<B>)),
        ("/api/v1/sessions/{id}/clients", get(sessions::clients::<B>)),
        ("/api/v1/sessions/{id}/history", get(sessions::history::<B>)),
        ("/api/v1/events", get(events::events::<B>)),
    ]
}

/// All routes.
pub(crate) fn router<B: Backend>(shared: Arc<Shared<B>>) -> Router {
    let routes = table::<B>();
    let add = |router: Router<_>, (path, methods)| router.route(path, methods);
    routes
        .into_iter()
        .fold(Router::new(), add)
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&shared), common::<B>))
        .with_state(shared)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(crate) async fn nothing_here() -> Problem {
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

/// Limits the rate; counts; adds the headers that every answer has.
async fn common<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let asked = Asked::of(&request);
    let mut response = match admit(&shared, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    shared.http_counts.count(route, response.status());
    asked.log(response.status());
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What the log says of a request.
struct Asked {
    peer: Option<IpAddr>,
    method: Method,
    uri: Uri,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let peer = request.extensions().get::<Peer>().map(|Peer(peer)| *peer);
        Self { peer, method: request.method().clone(), uri: request.uri().clone() }
    }

    /// What changes something, or fails by our fault, is worth a line; a URI holds ASCII only.
    fn log(&self, status: StatusCode) {
        let Self { peer, method, uri } = self;
        let path = uri.path();
        let peer = peer.map_or_else(String::new, |peer| peer.to_string());
        let changes = !method.is_safe() || matches!(path, "/frisbee/getAddress" | "/frisbee/stop");
        match (status.is_server_error(), changes) {
            (true, _) => tracing::warn!("{peer} {method} {uri}: {status}"),
            (false, true) => tracing::info!("{peer} {method} {uri}: {status}"),
            (false, false) => tracing::debug!("{peer} {method} {uri}: {status}"),
        }
    }
}

fn admit<B: Backend>(shared: &Shared<B>, request: &Request) -> Result<(), Problem> {
    let peer = request.extensions().get::<Peer>().copied();
    let taken = peer.map_or(Ok(()), |Peer(peer)| shared.requests.take(peer, Instant::now()));
    taken.map_err(|wait| {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let detail = "too many requests from this address; wait as long as Retry-After says";
        Problem::new(status, "too_many_requests", detail).retry_after(wait)
    })?;
    let uri_bytes = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if uri_bytes > URI_BYTES_MAX {
        let status = StatusCode::URI_TOO_LONG;
        let detail = format!("the path and its query are longer than {URI_BYTES_MAX} bytes");
        return Err(Problem::new(status, "uri_too_long", detail));
    }
    Ok(())
}

/// The name of an image, at the end of a path.
pub(crate) struct ImageName(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for ImageName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|_| {
            Problem::invalid("the name of the image is not UTF-8 with percent signs")
        })?;
        parse::image_name(&name).map_err(|error| Problem::invalid(error.to_string()))?;
        Ok(Self(name))
    }
}

/// The id of a session, in a path. Any text will do: what is no id is not found.
pub(crate) struct SessionId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for SessionId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(id) = path.map_err(|_| Problem::invalid("the id of the session is not UTF-8"))?;
        Ok(Self(id))
    }
}

/// What a query says.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        let axum::extract::Query(value) =
            query.map_err(|error| Problem::invalid(error.body_text()))?;
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use std::collections::BTreeSet;

    #[test]
    fn the_openapi_document_has_all_paths() {
        let served: BTreeSet<_> =
            table::<Fake>().iter().map(|(path, _)| path.replace("{*", "{")).collect();
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let documented: BTreeSet<_> =
            document["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(served, documented);
    }
}
