//! Answers that say why not, as RFC 9457 wants them.

use crate::backend::Error;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;

/// Why a request is not answered as wished.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// A word for programs; part of the API.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) detail: String,
    retry_after_secs: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'static str,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after_secs: None }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// Come back later.
    pub(crate) fn retry_after(mut self, time: Duration) -> Self {
        let secs = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        self.retry_after_secs = Some(secs.max(1));
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::NoSuchImage(_) => (StatusCode::NOT_FOUND, "no_such_image"),
            Error::NoSuchSession(_) => (StatusCode::NOT_FOUND, "no_such_session"),
            Error::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            Error::Denied(_) => (StatusCode::FORBIDDEN, "denied"),
            Error::Busy(_) => (StatusCode::CONFLICT, "busy"),
            Error::TryAgain { .. } => (StatusCode::SERVICE_UNAVAILABLE, "try_again"),
            Error::TooBig(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_big"),
            Error::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, "full"),
            Error::Broken(_) => (StatusCode::UNPROCESSABLE_ENTITY, "broken"),
            Error::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        };
        let problem = Self::new(status, code, error.to_string());
        match error {
            Error::TryAgain { after_secs, .. } => {
                problem.retry_after(Duration::from_secs(after_secs))
            }
            _ => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(secs) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, secs.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"image host\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
