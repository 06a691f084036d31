//! The image host: where an image is to be had, and who hears of trouble.
//!
//! What it owns: what the command line says of the host, and the order in which ways of sending are
//! asked for. What it never does: open a group's socket.

use crate::args::Args;
use crate::methods::MethodList;
use imagezip::interrupt::Interrupt;
use rendezvous::client::{ClientError, Limits, Patience, Server, Stop, get, trouble};
use rendezvous::frame::{Trouble, What};
use rendezvous::record::{GetAnswer, GetRequest, Methods, SessionAddress};
use rendezvous::{ErrorCode, ImageId};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Time between two questions when `-B` is not given.
const INTERVAL_DEFAULT: u64 = 10;

/// With `-B`, a host that cannot be reached is asked for so long.
const UNREACHABLE_MAX: Duration = Duration::from_secs(300);

/// A host that is there but hangs up or says nothing is asked for so long; it may have hundreds of
/// clients that start at once.
const UNANSWERED_MAX: Duration = Duration::from_secs(120);

/// A host that is to hear of trouble, or to name another session, is waited for so long.
const SHORT: Duration = Duration::from_secs(5);

/// An image at a host.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    server: Server,
    image: ImageId,
    methods: MethodList,
    patience: Patience,
    limits: Limits,
}

/// A session that a host has named.
#[derive(Clone, Debug)]
pub struct Found {
    /// The host.
    pub host: String,
    /// The image.
    pub image: String,
    /// The session's address; for unicast the server's.
    pub group: SocketAddr,
    /// The address that blocks come from.
    pub server: IpAddr,
    /// How it is sent.
    pub methods: Methods,
    /// Length of the image file.
    pub bytes: u64,
}

impl Host {
    /// The host of the command line; none if it names none.
    pub(crate) fn of(args: &Args, interrupt: &Interrupt) -> Option<Self> {
        let server = args.server.clone()?.or_port(args.port);
        let interval = args.busy_interval.unwrap_or(INTERVAL_DEFAULT);
        let unreachable = args.busy_interval.map_or(Duration::ZERO, |_| UNREACHABLE_MAX);
        let interrupt = interrupt.clone();
        let stop = Stop::when(move || interrupt.is_set());
        Some(Self {
            server,
            image: args.image.clone()?,
            methods: args.methods.clone(),
            patience: Patience {
                interval: Duration::from_secs(interval),
                busy: args.timeout.map(Duration::from_secs),
                unreachable,
                unanswered: UNANSWERED_MAX,
            },
            limits: Limits { stop, ..Limits::default() },
        })
    }

    fn request(&self, methods: Methods, status: bool) -> GetRequest {
        GetRequest { host: None, methods, status, image: self.image.clone() }
    }

    /// Asks what is known of the image, and starts nothing.
    pub(crate) fn status(&self) -> Result<GetAnswer, ClientError> {
        get(&self.server, &self.request(self.methods.all(), true), &self.patience, &self.limits)
    }

    /// Asks for a session, in the preferred way or else the next one.
    pub(crate) fn find(&self) -> Result<Found, ClientError> {
        let mut refused = None;
        for methods in self.methods.iter() {
            match get(&self.server, &self.request(methods, false), &self.patience, &self.limits) {
                Err(error) if error.code() == Some(ErrorCode::NoMethod) => refused = Some(error),
                answer => return self.found(&answer?),
            }
        }
        // There is at least one method.
        Err(refused.unwrap_or(ClientError::Stopped))
    }

    /// Asks once for a session of our own.
    pub(crate) fn find_unicast(&self) -> Result<Found, ClientError> {
        let limits = Limits { answer: SHORT, ..self.limits.clone() };
        let request = self.request(Methods::UNICAST, false);
        self.found(&get(&self.server, &request, &Patience::NONE, &limits)?)
    }

    fn found(&self, answer: &GetAnswer) -> Result<Found, ClientError> {
        let session = answer.session.filter(|session| session.port != 0);
        let Some(SessionAddress { server, group, port }) = session else {
            return Err(ClientError::Unexpected {
                server: self.server.clone(),
                expected: "the address and port of a session",
                found: "none".into(),
            });
        };
        let ip = if group.is_unspecified() { server } else { group };
        Ok(Found {
            host: self.server.to_string(),
            image: self.image.to_string(),
            group: SocketAddr::new(IpAddr::V4(ip), port),
            server: IpAddr::V4(server),
            methods: answer.methods,
            bytes: answer.bytes,
        })
    }

    /// Tells the host of trouble with a session.
    pub(crate) fn report(&self, seen: &Seen, fallback: bool) -> Result<(), ClientError> {
        let report = Trouble {
            image: self.image.clone(),
            address: seen.group.ip(),
            port: seen.group.port(),
            what: seen.what,
            seconds: seen.silent.as_secs(),
            received_blocks: seen.blocks,
            fallback,
            client: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        let limits = Limits { answer: SHORT, ..self.limits.clone() };
        trouble(&self.server, &report, &limits)
    }

    /// Its name, for people.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

/// Trouble as this client sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    /// The session.
    pub(crate) group: SocketAddr,
    /// What does not work.
    pub(crate) what: What,
    /// For how long.
    pub(crate) silent: Duration,
    /// Blocks that came in all.
    pub(crate) blocks: u64,
}
