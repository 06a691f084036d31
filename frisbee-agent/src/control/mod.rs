//! Taking orders from a control server.
//!
//! What it owns: what can be ordered and answered, whatever it travels by; [`Connector`] is what a
//! carrier has to offer. Lines on TCP ([`tcp`]) are one; an XMPP client would be another: it reports
//! `Connected` when it is logged in, turns each message into a [`Request`] by [`Request::parse`], and
//! sends each [`Reply`] as text. What it never does: decide whether an order is obeyed.
//!
//! Carriers keep nothing: after each `Connected` the agent says who it is, what came of its last job,
//! and how it is.

pub mod lines;
pub mod reply;
pub mod request;
pub mod session;
pub mod tcp;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use reply::Reply;
pub use request::{Command, Rejected, Request};

/// What a carrier reports.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// The server can be spoken to.
    Connected,
    /// It wants something.
    Request(Request),
    /// It wants something that makes no sense.
    Rejected(Rejected),
    /// It cannot be spoken to any more, or still not; the carrier tries again by itself.
    Lost(String),
    /// After [`Link::close`]: the server has got everything.
    Closed,
}

/// Where a carrier reports to. It may wait there, so that a server cannot fill the memory.
pub type Sink = Box<dyn Fn(Incoming) + Send>;

/// A way to speak to a control server.
pub trait Connector: Send {
    /// Who is spoken to, for people.
    fn name(&self) -> String;

    /// Begins to connect, and to connect again whenever that is lost.
    fn start(self: Box<Self>, sink: Sink) -> Box<dyn Link>;
}

/// The sending half. Dropping it ends the carrier.
pub trait Link {
    /// Sends something, if the server can be spoken to; never waits.
    fn send(&self, reply: Reply);

    /// Says goodbye; [`Incoming::Closed`] follows when the server has got everything.
    fn close(&self);
}
