//! The stream of events (server-sent events, as the HTML standard defines them).
//!
//! A reader that does not keep up is told so and dropped: events are for watching, not for records.

use crate::access::Caller;
use crate::api::Event;
use crate::backend::{Action, Backend};
use crate::problem::Problem;
use crate::routes::Shared;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;

/// Said first, so that headers go out at once; and when to come back after an end.
const HELLO: &str = ": events\nretry: 3000\n\n";
/// Keeps the connection open, and finds out whether anybody is there.
const KEEP_ALIVE: &str = ": still here\n\n";
/// Said last to a reader that did not keep up.
const LAGGED: &str = "event: lagged\ndata: {}\n\n";

struct Reader {
    events: Receiver<Arc<Event>>,
    ended: watch::Receiver<bool>,
    keep_alive: Duration,
    state: Phase,
    _permit: OwnedSemaphorePermit,
}

enum Phase {
    New,
    Running,
    Over,
}

/// `GET /api/v1/events`
pub(crate) async fn events<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Look, None)?;
    let permit = Arc::clone(&shared.event_readers).try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_readers",
            "too many read the stream of events already",
        )
        .retry_after(Duration::from_secs(30))
    })?;
    let reader = Reader {
        events: shared.backend.events(),
        ended: shared.ended.subscribe(),
        keep_alive: shared.config.event_keep_alive,
        state: Phase::New,
        _permit: permit,
    };
    let body = Body::from_stream(stream::unfold(reader, next));
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, body).into_response())
}

async fn next(mut reader: Reader) -> Option<(Result<Bytes, Infallible>, Reader)> {
    let text = match reader.state {
        Phase::New => {
            reader.state = Phase::Running;
            Bytes::from_static(HELLO.as_bytes())
        }
        Phase::Running => tokio::select! {
            event = reader.events.recv() => match event {
                Ok(event) => text(&event),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => {
                    reader.state = Phase::Over;
                    Bytes::from_static(LAGGED.as_bytes())
                }
            },
            // An error means that the server has gone.
            _ = reader.ended.wait_for(|ended| *ended) => return None,
            () = sleep(reader.keep_alive) => Bytes::from_static(KEEP_ALIVE.as_bytes()),
        },
        Phase::Over => return None,
    };
    Some((Ok(text), reader))
}

/// JSON holds no line ends, so that one `data:` line is enough.
fn text(event: &Event) -> Bytes {
    match serde_json::to_string(event) {
        Ok(json) => format!("event: {}\ndata: {json}\n\n", event.kind()).into(),
        Err(_) => Bytes::from_static(b": an event that cannot be written\n\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_data_whatever_it_holds() {
        let event = Event::ImageDeleted { name: "a\n\ndata: b\r".into() };
        let text = text(&event);
        let text = std::str::from_utf8(&text).unwrap();
        let expected = "event: image_deleted\ndata: {\"event\":\"image_deleted\",\"name\":\"a\\n\\ndata: b\\r\"}\n\n";
        assert_eq!(text, expected);
    }
}
