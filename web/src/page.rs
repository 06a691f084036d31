//! The page at `/`: a few files that are part of the program.
//!
//! The page may load nothing from anywhere else and run no script but its own; it shows names as
//! text, never as HTML.

use crate::parse;
use crate::routes::nothing_here;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

const INDEX: Asset =
    Asset { name: "index.html", kind: HTML, text: include_str!("../assets/index.html") };

/// What the page loads.
const ASSETS: [Asset; 5] = [
    Asset { name: "charts.js", kind: SCRIPT, text: include_str!("../assets/charts.js") },
    Asset { name: "clients.js", kind: SCRIPT, text: include_str!("../assets/clients.js") },
    Asset { name: "page.css", kind: STYLE, text: include_str!("../assets/page.css") },
    Asset { name: "page.js", kind: SCRIPT, text: include_str!("../assets/page.js") },
    Asset { name: "words.js", kind: SCRIPT, text: include_str!("../assets/words.js") },
];

/// `GET /`
pub(crate) async fn index(headers: HeaderMap) -> Response {
    INDEX.answer(&headers)
}

/// `GET /assets/NAME`
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => asset.answer(&headers),
        None => nothing_here().await.into_response(),
    }
}

impl Asset {
    /// Browsers ask each time; the digest tells them whether what they have will do.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let digest = Sha256::digest(self.text);
        let tag: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let common = [
            (header::ETAG, format!("\"{tag}\"")),
            (header::CACHE_CONTROL, "no-cache".into()),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.into()),
            (header::REFERRER_POLICY, "no-referrer".into()),
        ];
        let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
        match known.is_some_and(|known| parse::names_tag(known, &tag)) {
            true => (StatusCode::NOT_MODIFIED, common).into_response(),
            false => (common, [(header::CONTENT_TYPE, self.kind)], self.text).into_response(),
        }
    }
}
