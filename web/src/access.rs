//! Who asks, and whether they may.

use crate::backend::{Access, Action, Backend};
use crate::problem::Problem;
use crate::routes::Shared;
use crate::server::Peer;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use std::net::IpAddr;

/// The longest token.
const TOKEN_BYTES_MAX: usize = 1024;

/// Whoever makes a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) peer: IpAddr,
    token: Option<String>,
    /// A browser says that a page of another site made it do this.
    is_cross_site: bool,
    /// A browser. It may have been made to follow a link or load a picture without saying by whom.
    pub(crate) is_browser: bool,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>().copied();
        let Some(Peer(peer)) = peer else {
            return Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                "the address of the peer is not known",
            ));
        };
        let agent = parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
        Ok(Self {
            peer,
            token: token(&parts.headers)?,
            is_cross_site: is_cross_site(parts),
            is_browser: agent.is_some_and(|agent| agent.starts_with(b"Mozilla/")),
        })
    }
}

/// Browsers name the relation on encrypted connections and on their own host, and the origin
/// whenever a request may change something.
fn is_cross_site(parts: &Parts) -> bool {
    if let Some(site) = parts.headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = parts.headers.get(header::ORIGIN) else { return false };
    let host = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| parts.headers.get(header::HOST).map(HeaderValue::as_bytes));
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_none_or(|(_, authority)| Some(authority.as_bytes()) != host)
}

/// The token of an `Authorization: Bearer` header.
fn token(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let unusable = |what: &str| {
        let detail = format!("{what}; send `Authorization: Bearer TOKEN`, or nothing");
        Problem::new(StatusCode::UNAUTHORIZED, "token_needed", detail)
    };
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| unusable("the Authorization header is not ASCII"))?;
    let Some((scheme, token)) = text.split_once(' ') else {
        return Err(unusable("the Authorization header has no token"));
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unusable("only bearer tokens are known"));
    }
    match token.trim() {
        "" => Err(unusable("the token is empty")),
        token if token.len() > TOKEN_BYTES_MAX => Err(unusable("the token is too long")),
        token => Ok(Some(token.to_owned())),
    }
}

impl<B: Backend> Shared<B> {
    /// Asks the backend whether `caller` may.
    ///
    /// # Errors
    /// 401 when a token is needed, 403 when none would help.
    pub(crate) fn check(
        &self,
        caller: &Caller,
        action: Action,
        name: Option<&str>,
    ) -> Result<(), Problem> {
        let changes = matches!(action, Action::Put | Action::Delete | Action::Stop);
        if changes && caller.is_cross_site {
            let detail = "a page of another site may not change anything here";
            return Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail));
        }
        match self.backend.allow(caller.peer, caller.token.as_deref(), action, name) {
            Access::Allowed => Ok(()),
            Access::TokenNeeded(why) => {
                Err(Problem::new(StatusCode::UNAUTHORIZED, "token_needed", why))
            }
            Access::Denied(why) => Err(Problem::new(StatusCode::FORBIDDEN, "denied", why)),
        }
    }
}
