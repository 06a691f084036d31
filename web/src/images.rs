//! Images: list, details, upload, delete.

use crate::access::Caller;
use crate::backend::{Action, Backend, Content, Error, Upload, UploadRequest};
use crate::parse::{self, Digests};
use crate::problem::Problem;
use crate::routes::{ImageName, Query, Shared};
use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What needs no percent sign in a path.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Serialize)]
struct List<T> {
    images: T,
}

/// `GET /api/v1/images`
pub(crate) async fn list<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Look, None)?;
    Ok(Json(List { images: shared.backend.images().await? }).into_response())
}

/// `GET /api/v1/images/NAME`
pub(crate) async fn details<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    ImageName(name): ImageName,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Get, Some(&name))?;
    Ok(Json(shared.backend.image(&name).await?).into_response())
}

/// `DELETE /api/v1/images/NAME`
pub(crate) async fn delete<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    ImageName(name): ImageName,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Delete, Some(&name))?;
    shared.backend.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
pub(crate) struct UploadQuery {
    blake3: Option<String>,
}

/// `PUT /api/v1/images/NAME`
pub(crate) async fn upload<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    ImageName(name): ImageName,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Put, Some(&name))?;
    let digests = expected_digests(&headers, query.blake3.as_deref())?;
    refuse_what_we_cannot(&headers)?;
    check_conditions(&*shared.backend, &headers, &name).await?;
    let request =
        UploadRequest { name: name.clone(), peer: caller.peer, bytes: content_length(&headers)? };
    let upload = shared.backend.begin_upload(request).await?;
    let pause_max = shared.config.body_idle_timeout;
    let upload = receive(upload, body.into_data_stream(), digests, pause_max).await?;
    // A sender that goes away now must not stop what is complete.
    let publishing = tokio::spawn(upload.publish(digests.blake3));
    let published = publishing.await.map_err(|_| {
        Error::Failed("publishing the image failed; the server's log says why".into())
    })??;
    let location = format!("/api/v1/images/{}", utf8_percent_encode(&name, PATH));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(published)).into_response())
}

/// Passes the body on, and checks what can be checked on the way.
async fn receive<U: Upload>(
    mut upload: U,
    mut body: BodyDataStream,
    digests: Digests,
    pause_max: Duration,
) -> Result<U, Problem> {
    let mut sha256 = digests.sha256.map(|expected| (Sha256::new(), expected));
    let mut sha512 = digests.sha512.map(|expected| (Sha512::new(), expected));
    loop {
        let bytes = match timeout(pause_max, body.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(bytes))) => bytes,
            Ok(Some(Err(error))) => {
                let why = format!("the upload broke off: {error}");
                upload.abandon(&why).await;
                return Err(Problem::new(StatusCode::BAD_REQUEST, "broken_off", why));
            }
            Err(_) => {
                let why = format!("nothing arrived for {} s", pause_max.as_secs());
                upload.abandon(&why).await;
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "broken_off", why));
            }
        };
        if let Some((hash, _)) = &mut sha256 {
            hash.update(&bytes);
        }
        if let Some((hash, _)) = &mut sha512 {
            hash.update(&bytes);
        }
        upload.write(bytes).await?;
    }
    let differs = sha256.is_some_and(|(hash, expected)| hash.finalize()[..] != expected)
        || sha512.is_some_and(|(hash, expected)| hash.finalize()[..] != expected);
    if differs {
        let why = "what arrived does not have the digest that Content-Digest says";
        upload.abandon(why).await;
        return Err(Error::Broken(why.into()).into());
    }
    Ok(upload)
}

fn expected_digests(headers: &HeaderMap, blake3: Option<&str>) -> Result<Digests, Problem> {
    let invalid = |error: &dyn Display| Problem::invalid(error.to_string());
    let mut digests = match text(headers, header::HeaderName::from_static("content-digest"))? {
        Some(value) => parse::content_digest(value).map_err(|error| invalid(&error))?,
        None => Digests::default(),
    };
    if let Some(text) = blake3 {
        let digest = parse::blake3_digest(text).map_err(|error| invalid(&error))?;
        if digests.blake3.replace(digest).is_some_and(|other| other != digest) {
            return Err(Problem::invalid("two different BLAKE3 digests"));
        }
    }
    Ok(digests)
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = text(headers, header::CONTENT_LENGTH)? else { return Ok(None) };
    value.parse().map(Some).map_err(|_| Problem::invalid("Content-Length is no number"))
}

/// A header's text, if it is there.
pub(crate) fn text(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(&name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| Problem::invalid(format!("{name} is not ASCII")))
}

/// What would be dangerous to ignore.
fn refuse_what_we_cannot(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Problem::invalid("parts of an image cannot be uploaded; send all of it"));
    }
    match text(headers, header::CONTENT_ENCODING)? {
        None | Some("identity") => Ok(()),
        Some(other) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "encoded",
            format!("Content-Encoding {other} is not understood; send the image as it is"),
        )),
    }
}

/// `If-None-Match: *` protects an image that is there, `If-Match` one that changed.
async fn check_conditions<B: Backend>(
    backend: &B,
    headers: &HeaderMap,
    name: &str,
) -> Result<(), Problem> {
    let none_match = text(headers, header::IF_NONE_MATCH)?;
    let matches = text(headers, header::IF_MATCH)?;
    if none_match.is_none() && matches.is_none() {
        return Ok(());
    }
    let tag = match backend.open(name).await {
        Ok(content) => Some(content.etag()),
        Err(Error::NoSuchImage(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let is_named =
        |list: &str| tag.as_deref().is_some_and(|tag| parse::names_tag_strongly(list, tag));
    if none_match.is_some_and(is_named) || matches.is_some_and(|list| !is_named(list)) {
        return Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "condition_failed",
            "the image that is there is not the one that If-Match or If-None-Match want",
        ));
    }
    Ok(())
}
