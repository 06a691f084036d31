//! One question, one answer, and asking again.

use super::{ClientError, Connection, Limits, Server};
use crate::ImageId;
use crate::frame::{Message, Trouble};
use crate::record::{GetAnswer, GetReply, GetRequest, Kind, PutAnswer, PutReply, PutRequest};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// How often and how long to ask.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Time between two questions.
    pub interval: Duration,
    /// While the host says "try again", for this long; none: for ever.
    pub busy: Option<Duration>,
    /// While the host cannot be reached, for this long.
    pub unreachable: Duration,
    /// While the host is there, but hangs up or says nothing, for this long: it may have more
    /// clients than it can answer at once.
    pub unanswered: Duration,
}

impl Patience {
    /// Asks once.
    pub const NONE: Self = Self {
        interval: Duration::ZERO,
        busy: Some(Duration::ZERO),
        unreachable: Duration::ZERO,
        unanswered: Duration::ZERO,
    };

    /// Asks until there is an answer that will not pass, or patience ends.
    pub(crate) fn ask<T>(
        &self,
        limits: &Limits,
        mut ask: impl FnMut() -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let start = Instant::now();
        // Since when there was no answer at all; one that says "try again" is an answer.
        let mut silent = None;
        loop {
            let error = match ask() {
                Err(error) if error.may_pass() => error,
                answer => return answer,
            };
            let (longest, since) = match error {
                ClientError::Denied { .. } => {
                    silent = None;
                    (self.busy, start)
                }
                ClientError::Connect { .. } => {
                    (Some(self.unreachable), *silent.get_or_insert_with(Instant::now))
                }
                _ => (Some(self.unanswered), *silent.get_or_insert_with(Instant::now)),
            };
            let ends = longest.is_some_and(|most| since.elapsed() + self.interval > most);
            if ends || longest == Some(Duration::ZERO) {
                return Err(error);
            }
            tracing::warn!("{error}; asking again in {} s", self.interval.as_secs_f32());
            limits.stop.wait(spread(self.interval))?;
        }
    }
}

/// Three to five quarters of it: hundreds of clients that were sent away together shall not come
/// back together.
fn spread(interval: Duration) -> Duration {
    // Each state is seeded at random.
    let random = RandomState::new().build_hasher().finish() % 1024;
    let part = u32::try_from(random).unwrap_or(0);
    interval * 3 / 4 + interval / 2 * part / 1024
}

fn denied(server: &Server, image: &ImageId, code: crate::ErrorCode, more: &str) -> ClientError {
    let (what, message) = (format!("image {image}"), format!("{code}{more}"));
    ClientError::Denied { server: server.clone(), what, code, message }
}

/// Asks for an image. After a request that is not for the status only, the answer has a session.
///
/// # Errors
/// See [`ClientError`]; what may pass is asked again as long as patience lasts.
pub fn get(
    server: &Server,
    request: &GetRequest,
    patience: &Patience,
    limits: &Limits,
) -> Result<GetAnswer, ClientError> {
    const DOING: &str = "asking for the image";
    patience.ask(limits, || {
        let mut connection = Connection::open(server, limits)?;
        connection.send(&request.encode(), DOING)?;
        let body = connection.receive_record(Kind::GetReply, DOING)?;
        let reply = GetReply::decode(&body);
        let wrong = |source| ClientError::Record { server: server.clone(), source };
        match reply.map_err(wrong)? {
            GetReply::Error(code) => Err(denied(server, &request.image, code, "")),
            GetReply::Found(answer) if answer.session.is_none() && !request.status => {
                Err(ClientError::Unexpected {
                    server: server.clone(),
                    expected: "the address of a session",
                    found: "none".into(),
                })
            }
            GetReply::Found(answer) => Ok(answer),
        }
    })
}

/// Asks where an image may be handed in the way of deployed clients, or, for the status only, what
/// is there. `address` of the answer is complete: a host that does not name its own is meant.
///
/// # Errors
/// See [`ClientError`]; what may pass is asked again as long as patience lasts.
pub fn put(
    server: &Server,
    request: &PutRequest,
    patience: &Patience,
    limits: &Limits,
) -> Result<PutAnswer, ClientError> {
    const DOING: &str = "asking to upload the image";
    patience.ask(limits, || {
        let mut connection = Connection::open(server, limits)?;
        let peer = connection.peer()?;
        connection.send(&request.encode(), DOING)?;
        let body = connection.receive_record(Kind::PutReply, DOING)?;
        let reply = PutReply::decode(&body);
        let wrong = |source| ClientError::Record { server: server.clone(), source };
        match reply.map_err(wrong)? {
            PutReply::Error { code, bytes_max: 0 } => Err(denied(server, &request.image, code, "")),
            PutReply::Error { code, bytes_max } => {
                let most = format!(" (the most is {bytes_max} bytes)");
                Err(denied(server, &request.image, code, &most))
            }
            PutReply::Accepted(mut answer) => {
                if let (Some(address), std::net::IpAddr::V4(peer)) =
                    (&mut answer.address, peer.ip())
                    && address.ip().is_unspecified()
                {
                    address.set_ip(peer);
                }
                match answer.address {
                    None if !request.status => Err(ClientError::Unexpected {
                        server: server.clone(),
                        expected: "an address to upload to",
                        found: "none".into(),
                    }),
                    _ => Ok(answer),
                }
            }
        }
    })
}

/// Tells the host that a session does not work.
///
/// # Errors
/// See [`ClientError`]; [`ClientError::Old`] from a deployed server, which cannot be told.
pub fn trouble(server: &Server, trouble: &Trouble, limits: &Limits) -> Result<(), ClientError> {
    const DOING: &str = "reporting trouble";
    let mut connection = Connection::open(server, limits)?;
    connection.send_message(&Message::Trouble(trouble.clone()), DOING)?;
    match connection.receive_message(DOING)? {
        Message::TroubleReply(_) => Ok(()),
        other => Err(ClientError::Unexpected {
            server: server.clone(),
            expected: "TROUBLE_REPLY",
            found: format!("{:?}", other.kind()),
        }),
    }
}
