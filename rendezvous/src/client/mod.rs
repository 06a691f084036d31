//! The client's end of both protocols, blocking.
//!
//! What it owns: connecting (every address of a name in turn), time limits, and asking again while
//! the host says "try again". What it never does: decide what to do with an answer.
//!
//! [`get`] and [`put`] speak V01; [`trouble`] and [`Connection`] speak F01.

mod ask;
mod connection;
mod error;
mod resolve;
mod server;

pub use ask::{Patience, get, put, trouble};
pub use connection::{Connection, Limits, Stop};
pub use error::ClientError;
pub use resolve::addresses;
pub use server::{Location, LocationError, Server, ServerError};

#[cfg(test)]
mod tests;
