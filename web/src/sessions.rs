//! Sessions: list, one, start, stop, their clients and their history.

use crate::access::Caller;
use crate::api;
use crate::backend::{Action, Backend, Error};
use crate::parse;
use crate::problem::Problem;
use crate::routes::{Query, SessionId, Shared};
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::time::timeout;

/// The longest body that says which session to start.
const START_BYTES_MAX: usize = 4096;

#[derive(Serialize)]
struct List {
    sessions: Vec<api::Session>,
}

#[derive(Serialize)]
struct Clients {
    clients: Vec<api::Client>,
}

#[derive(Deserialize)]
struct Start {
    image: String,
}

#[derive(Deserialize)]
pub(crate) struct StopQuery {
    #[serde(default)]
    force: bool,
}

/// `GET /api/v1/sessions`
pub(crate) async fn list<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Look, None)?;
    Ok(Json(List { sessions: shared.backend.sessions() }).into_response())
}

/// `POST /api/v1/sessions`
pub(crate) async fn start<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    body: Body,
) -> Result<Response, Problem> {
    let reading = timeout(shared.config.request_timeout, to_bytes(body, START_BYTES_MAX));
    let body = match reading.await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Err(Problem::invalid("the body is too long, or broke off")),
        Err(_) => {
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(Problem::new(status, "broken_off", "the body did not arrive in time"));
        }
    };
    let Start { image } = serde_json::from_slice(&body).map_err(|error| {
        Problem::invalid(format!("the body is not of the form {{\"image\": \"NAME\"}}: {error}"))
    })?;
    parse::image_name(&image).map_err(|error| Problem::invalid(error.to_string()))?;
    shared.check(&caller, Action::Get, Some(&image))?;
    let started = shared.backend.start_session(&image, caller.peer).await?;
    let status = match started.was_running {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    let location = format!("/api/v1/sessions/{}", started.session.id);
    Ok((status, [(header::LOCATION, location)], Json(started.session)).into_response())
}

/// `GET /api/v1/sessions/ID`
pub(crate) async fn one<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    SessionId(id): SessionId,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Look, None)?;
    Ok(Json(find(&*shared.backend, &id)?).into_response())
}

/// `DELETE /api/v1/sessions/ID`
pub(crate) async fn stop<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    SessionId(id): SessionId,
    Query(query): Query<StopQuery>,
) -> Result<Response, Problem> {
    // Whether it is there is told only to those who may look.
    shared.check(&caller, Action::Look, None)?;
    let session = find(&*shared.backend, &id)?;
    shared.check(&caller, Action::Stop, Some(&session.image))?;
    shared.backend.stop_session(&id, query.force).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /api/v1/sessions/ID/clients`
pub(crate) async fn clients<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    SessionId(id): SessionId,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Look, None)?;
    let clients = shared.backend.clients(&id).ok_or(Error::NoSuchSession(id))?;
    Ok(Json(Clients { clients }).into_response())
}

/// `GET /api/v1/sessions/ID/history`
pub(crate) async fn history<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    SessionId(id): SessionId,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Look, None)?;
    find(&*shared.backend, &id)?;
    Ok(Json(shared.history.of(&id)).into_response())
}

fn find<B: Backend>(backend: &B, id: &str) -> Result<api::Session, Error> {
    let found = backend.sessions().into_iter().find(|session| session.id == id);
    found.ok_or_else(|| Error::NoSuchSession(id.into()))
}

#[derive(Serialize)]
struct Uploads {
    uploads: Vec<api::UploadStatus>,
}

/// `GET /api/v1/uploads`
pub(crate) async fn uploads<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Look, None)?;
    Ok(Json(Uploads { uploads: shared.backend.uploads() }).into_response())
}

/// `GET /api/v1/host`
pub(crate) async fn host<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Look, None)?;
    Ok(Json(shared.backend.host()).into_response())
}
