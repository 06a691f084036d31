//! The HTTP server against a host that is not there, over real sockets on loopback.

mod api;
mod client;
mod fake;
mod harm;
mod orbit;
mod page;
mod stream;
mod tls;
