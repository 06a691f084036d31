//! Downloads, whole or in part.

use crate::access::Caller;
use crate::backend::{Action, Backend, Content};
use crate::images::text;
use crate::parse::{self, Ranged};
use crate::problem::Problem;
use crate::routes::{ImageName, Shared};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes read at once.
const PIECE_BYTES: u64 = 256 << 10;

/// `GET` and `HEAD /api/v1/data/NAME`
pub(crate) async fn download<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    ImageName(name): ImageName,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Get, Some(&name))?;
    let content = shared.backend.open(&name).await?;
    let bytes = content.bytes();
    let tag = content.etag();
    let modified = UNIX_EPOCH.checked_add(Duration::from_secs(content.modified_secs()));
    let modified = modified.unwrap_or(UNIX_EPOCH);
    let mut answer = match conditions(&headers, &tag, modified)? {
        Some(status) => status.into_response(),
        None => match wanted(&headers, &tag, bytes)? {
            Ranged::Whole => body(StatusCode::OK, &method, content, 0..bytes),
            Ranged::Part(part) => {
                let range = format!("bytes {}-{}/{bytes}", part.start, part.end.saturating_sub(1));
                let mut answer = body(StatusCode::PARTIAL_CONTENT, &method, content, part);
                insert(&mut answer, header::CONTENT_RANGE, &range)?;
                answer
            }
            Ranged::Unsatisfiable => {
                let detail = format!("the image has {bytes} bytes");
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                let mut answer = Problem::new(status, "no_such_range", detail).into_response();
                insert(&mut answer, header::CONTENT_RANGE, &format!("bytes */{bytes}"))?;
                return Ok(answer);
            }
        },
    };
    insert(&mut answer, header::ETAG, &format!("\"{tag}\""))?;
    insert(&mut answer, header::LAST_MODIFIED, &httpdate::fmt_http_date(modified))?;
    insert(&mut answer, header::CONTENT_DISPOSITION, &attachment(&name))?;
    insert(&mut answer, header::ACCEPT_RANGES, "bytes")?;
    insert(&mut answer, header::CACHE_CONTROL, "no-cache")?;
    Ok(answer)
}

/// Whether the conditions of RFC 9110, section 13 forbid sending the content.
fn conditions(
    headers: &HeaderMap,
    tag: &str,
    modified: SystemTime,
) -> Result<Option<StatusCode>, Problem> {
    let date = |name| -> Result<Option<SystemTime>, Problem> {
        // A date that is none is ignored, as the RFC wants.
        Ok(text(headers, name)?.and_then(|text| httpdate::parse_http_date(text).ok()))
    };
    let failed = match text(headers, header::IF_MATCH)? {
        Some(list) => !parse::names_tag_strongly(list, tag),
        None => date(header::IF_UNMODIFIED_SINCE)?.is_some_and(|date| modified > date),
    };
    if failed {
        return Ok(Some(StatusCode::PRECONDITION_FAILED));
    }
    let same = match text(headers, header::IF_NONE_MATCH)? {
        Some(list) => parse::names_tag(list, tag),
        None => date(header::IF_MODIFIED_SINCE)?.is_some_and(|date| modified <= date),
    };
    Ok(same.then_some(StatusCode::NOT_MODIFIED))
}

/// The part that is wanted. `If-Range` counts with our own tag only: a date is too coarse.
fn wanted(headers: &HeaderMap, tag: &str, bytes: u64) -> Result<Ranged, Problem> {
    let Some(range) = text(headers, header::RANGE)? else { return Ok(Ranged::Whole) };
    match text(headers, header::IF_RANGE)? {
        Some(condition) if condition.trim() != format!("\"{tag}\"") => Ok(Ranged::Whole),
        _ => Ok(parse::range(range, bytes)),
    }
}

fn body<C: Content>(status: StatusCode, method: &Method, content: C, part: Range<u64>) -> Response {
    let length = part.end.saturating_sub(part.start);
    let body = match *method == Method::HEAD {
        true => Body::empty(),
        false => Body::from_stream(stream::try_unfold((content, part), next_piece)),
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer
}

async fn next_piece<C: Content>(
    (content, part): (C, Range<u64>),
) -> io::Result<Option<(Bytes, (C, Range<u64>))>> {
    let length = part.end.saturating_sub(part.start).min(PIECE_BYTES);
    let Some(length) = usize::try_from(length).ok().filter(|length| *length > 0) else {
        return Ok(None);
    };
    let piece = content.read(part.start, length).await?;
    if piece.len() != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let start = part.start.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    Ok(Some((piece, (content, start..part.end))))
}

/// Saved under its last part, whatever characters that holds.
fn attachment(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(last, NON_ALPHANUMERIC))
}

fn insert(answer: &mut Response, name: header::HeaderName, value: &str) -> Result<(), Problem> {
    let value = HeaderValue::from_str(value).map_err(|_| {
        let detail = format!("the {name} header cannot hold what it should");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", detail)
    })?;
    answer.headers_mut().insert(name, value);
    Ok(())
}
