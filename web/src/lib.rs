//! The image host's HTTP: the calls that ORBIT's controller makes, the v1 API, metrics, a stream of
//! events, and the page that operators look at.
//!
//! What it owns: everything that is HTTP, its limits and time-outs. It knows the host only as a
//! [`Backend`]. What it never does: decide who may do what, know where images are kept, or touch
//! the network that images are sent on.
//!
//! Start with [`Server`].

#[cfg(test)]
extern crate self as web;
#[cfg(test)]
#[path = "../tests/http/fake.rs"]
#[allow(dead_code, reason = "shared with the tests over sockets")]
mod fake;

mod access;
pub mod api;
mod backend;
mod config;
mod connection;
mod data;
mod events;
mod history;
mod images;
mod limits;
mod metrics;
mod orbit;
mod page;
pub mod parse;
mod problem;
mod routes;
mod server;
mod sessions;
mod tls;

pub use backend::{Access, Action, Backend, Content, Error, SessionStart, Upload, UploadRequest};
pub use config::Config;
pub use server::{Server, serve};
pub use tls::{Tls, TlsError};
