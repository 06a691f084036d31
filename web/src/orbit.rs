//! The calls that ORBIT's controller makes (OMF 5.4), as its deployed clients expect them.
//!
//! | call | answers |
//! |---|---|
//! | `getAddress?img=NAME` | `group:port`, plain; a session is started if none runs |
//! | `checkImage?img=NAME` | `<OK>…</OK>` or `<ERROR>…</ERROR>` |
//! | `stop?img=NAME` | the same; refused while clients are loading |
//! | `status[?img=NAME]` | `<frisbee_status>` with a `<daemon>` for each session |
//!
//! `domain=` is accepted and changes nothing. `user=` is what OMF 5.4 sends with getAddress when it
//! wants `<OK>group:port</OK>`. `format=text`, `xml` or `json`, or `Accept: application/json`,
//! choose another form. In XML a plain "no" has status 200, as deployed; in the other forms it has
//! the status that HTTP has for it. Whoever may not ask gets 401 or 403 in every form.

use crate::access::Caller;
use crate::api::Session;
use crate::backend::{Action, Backend, Error};
use crate::parse;
use crate::problem::Problem;
use crate::routes::{Query, Shared};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a call may say.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    img: Option<String>,
    user: Option<String>,
    format: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Text,
    Xml,
    Json,
}

impl Asked {
    /// The form of the answer: what was asked for, otherwise `usual`.
    fn form(&self, headers: &HeaderMap, usual: Form) -> Result<Form, Problem> {
        match self.format.as_deref() {
            Some("text") => return Ok(Form::Text),
            Some("xml") => return Ok(Form::Xml),
            Some("json") => return Ok(Form::Json),
            Some(_) => return Err(Problem::invalid("format= knows text, xml and json")),
            None => {}
        }
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let wants_json = accept.is_some_and(|accept| {
            accept.split(',').any(|kind| {
                kind.split(';')
                    .next()
                    .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
            })
        });
        Ok(if wants_json { Form::Json } else { usual })
    }

    fn image(&self) -> Result<&str, Problem> {
        let Some(image) = self.img.as_deref() else {
            return Err(Problem::invalid("img= is missing: which image?"));
        };
        parse::image_name(image).map_err(|error| Problem::invalid(error.to_string()))
    }
}

/// `GET /frisbee/getAddress`
pub(crate) async fn get_address<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let usual = if asked.user.is_some() { Form::Xml } else { Form::Text };
    let form = asked.form(&headers, usual)?;
    let result = address(&shared, &caller, &asked).await;
    answer(form, result, |session| SocketAddr::new(session.group, session.port).to_string())
}

async fn address<B: Backend>(
    shared: &Shared<B>,
    caller: &Caller,
    asked: &Asked,
) -> Result<Session, Problem> {
    let image = asked.image()?;
    shared.check(caller, Action::Get, Some(image))?;
    Ok(shared.backend.start_session(image, caller.peer).await?.session)
}

#[derive(Serialize)]
struct Checked<'a> {
    image: &'a str,
    found: bool,
}

/// `GET /frisbee/checkImage`
pub(crate) async fn check_image<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let form = asked.form(&headers, Form::Xml)?;
    let result = check(&shared, &caller, &asked).await;
    let text = match form {
        // What older controllers compare with.
        Form::Text => "OK",
        Form::Xml | Form::Json => "Image found and readable",
    };
    answer(form, result, |_| text.to_owned())
}

async fn check<'a, B: Backend>(
    shared: &Shared<B>,
    caller: &Caller,
    asked: &'a Asked,
) -> Result<Checked<'a>, Problem> {
    let image = asked.image()?;
    shared.check(caller, Action::Get, Some(image))?;
    match shared.backend.open(image).await {
        // One that is being fetched from a parent can be had.
        Ok(_) | Err(Error::TryAgain { .. }) => Ok(Checked { image, found: true }),
        Err(error) => Err(error.into()),
    }
}

#[derive(Serialize)]
struct Stopped {
    image: String,
    address: SocketAddr,
}

/// `GET /frisbee/stop`
pub(crate) async fn stop<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let form = asked.form(&headers, Form::Xml)?;
    let result = stop_session(&shared, &caller, &asked).await;
    answer(form, result, |stopped| match form {
        Form::Text => "OK".to_owned(),
        Form::Xml | Form::Json => {
            format!("Stopped serving '{}' at {}", stopped.image, stopped.address)
        }
    })
}

async fn stop_session<B: Backend>(
    shared: &Shared<B>,
    caller: &Caller,
    asked: &Asked,
) -> Result<Stopped, Problem> {
    let image = asked.image()?;
    if caller.is_browser {
        // A link on any page could do it.
        let detail = "a browser may not stop a session by this call; the page at / does it";
        return Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail));
    }
    shared.check(caller, Action::Stop, Some(image))?;
    let sessions = shared.backend.sessions();
    let session = sessions.into_iter().find(|session| session.image == image);
    let session = session.ok_or_else(|| Error::NoSuchSession(image.into()))?;
    shared.backend.stop_session(&session.id, false).await?;
    let address = SocketAddr::new(session.group, session.port);
    Ok(Stopped { image: session.image, address })
}

/// An answer in the form wanted. Only what is no question of access is answered in XML with
/// status 200.
fn answer<T: Serialize>(
    form: Form,
    result: Result<T, Problem>,
    text: impl FnOnce(&T) -> String,
) -> Result<Response, Problem> {
    match (form, result) {
        (Form::Json, Ok(value)) => Ok(Json(value).into_response()),
        (Form::Xml, Ok(value)) => Ok(xml(&element("OK", &text(&value)))),
        (Form::Text, Ok(value)) => Ok(plain(StatusCode::OK, text(&value))),
        (Form::Json, Err(problem)) => Err(problem),
        (_, Err(problem)) if is_about_access(problem.status) => Err(problem),
        (Form::Xml, Err(problem)) => Ok(xml(&element("ERROR", &problem.detail))),
        (Form::Text, Err(problem)) => {
            let mut answer = plain(problem.status, format!("{}\n", problem.detail));
            let headers = problem.into_response().headers_mut().remove(header::RETRY_AFTER);
            if let Some(retry_after) = headers {
                answer.headers_mut().insert(header::RETRY_AFTER, retry_after);
            }
            Ok(answer)
        }
    }
}

fn is_about_access(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

#[derive(Serialize)]
struct Status {
    bandwidth_bits_per_sec: u64,
    mc_address: Option<String>,
    daemons: Vec<Daemon>,
}

#[derive(Serialize)]
struct Daemon {
    img: String,
    address: String,
    port: u16,
    time_left_secs: Option<u64>,
    clients: u64,
}

/// `GET /frisbee/status`
pub(crate) async fn status<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let form = asked.form(&headers, Form::Xml)?;
    shared.check(&caller, Action::Look, None)?;
    let mut sessions = shared.backend.sessions();
    if let Some(image) = asked.img.as_deref() {
        sessions.retain(|session| session.image == image);
    }
    let host = shared.backend.host();
    // There is one such element for all sessions, from the days when they shared a group.
    let group = match sessions.as_slice() {
        [session] => Some(session.group),
        _ => host.group,
    };
    let status = Status {
        bandwidth_bits_per_sec: host.rate_bits_per_sec,
        mc_address: group.map(|group| group.to_string()),
        daemons: sessions.into_iter().map(Daemon::from).collect(),
    };
    Ok(match form {
        Form::Json => Json(status).into_response(),
        Form::Xml | Form::Text => xml(&status.xml()),
    })
}

impl From<Session> for Daemon {
    fn from(session: Session) -> Self {
        Self {
            img: session.image,
            address: session.group.to_string(),
            port: session.port,
            time_left_secs: session.idle_secs_left,
            clients: session.clients_loading,
        }
    }
}

impl Status {
    fn xml(&self) -> String {
        let mut xml = String::from("<frisbee_status>");
        xml.push_str(&element("bandwidth", &megabits(self.bandwidth_bits_per_sec)));
        xml.push_str(&element("mc_address", self.mc_address.as_deref().unwrap_or_default()));
        for daemon in &self.daemons {
            let left = daemon.time_left_secs.map(|secs| secs.to_string());
            // Writing to a string cannot fail.
            let _ = write!(
                xml,
                "<daemon img='{}' port='{}' timeLeft='{}' address='{}' clients='{}'/>",
                Escaped(&daemon.img),
                daemon.port,
                left.as_deref().unwrap_or_default(),
                Escaped(&daemon.address),
                daemon.clients,
            );
        }
        xml.push_str("</frisbee_status>");
        xml
    }
}

/// As Ruby writes a float: at least one digit after the point.
fn megabits(bits_per_sec: u64) -> String {
    let fraction = format!("{:06}", bits_per_sec % 1_000_000);
    let fraction = match fraction.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    format!("{}.{fraction}", bits_per_sec / 1_000_000)
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", Escaped(text))
}

fn xml(root: &str) -> Response {
    let body = format!("<?xml version='1.0' encoding='UTF-8'?>\n{root}\n");
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], body).into_response()
}

fn plain(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

/// Text within XML, as content or in an attribute. What XML 1.0 cannot hold becomes U+FFFD.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&apos;")?,
                '\t' | '\n' | '\r' => write!(f, "&#{};", u32::from(character))?,
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => f.write_str("\u{fffd}")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_what_the_controller_reads() {
        let mut status = Status {
            bandwidth_bits_per_sec: 50_000_000,
            mc_address: Some("224.0.0.2".into()),
            daemons: Vec::new(),
        };
        let start = "<frisbee_status><bandwidth>50.0</bandwidth><mc_address>224.0.0.2</mc_address>";
        assert_eq!(status.xml(), format!("{start}</frisbee_status>"));
        status.daemons.push(Daemon {
            img: "a'\"<&>\u{1}.ndz".into(),
            address: "224.0.0.2".into(),
            port: 7000,
            time_left_secs: Some(3599),
            clients: 2,
        });
        let daemon = "<daemon img='a&apos;&quot;&lt;&amp;&gt;\u{fffd}.ndz' port='7000' timeLeft='3599' address='224.0.0.2' clients='2'/>";
        assert_eq!(status.xml(), format!("{start}{daemon}</frisbee_status>"));
    }

    #[test]
    fn megabits_as_ruby_writes_them() {
        assert_eq!(megabits(50_000_000), "50.0");
        assert_eq!(megabits(1_500_000), "1.5");
        assert_eq!(megabits(999), "0.000999");
        assert_eq!(megabits(0), "0.0");
    }
}
