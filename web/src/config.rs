//! Limits of the HTTP server.

use std::time::Duration;

/// Limits that keep one peer, or many, from doing harm. The defaults suit 400 nodes behind one
/// controller.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connections at once.
    pub connections_max: usize,
    /// ... of them from one address (IPv6: from one /64).
    pub connections_per_address_max: usize,
    /// Requests a second from one address in the long run.
    pub requests_per_sec: u32,
    /// Requests from one address at once.
    pub requests_burst: u32,
    /// A connection without a complete request for so long is closed; so is a TLS handshake that
    /// takes longer.
    pub request_timeout: Duration,
    /// The longest pause in a body, of either direction.
    pub body_idle_timeout: Duration,
    /// Bytes of a request's headers, URI included. At least 8192.
    pub header_bytes_max: usize,
    /// Readers of events at once.
    pub event_readers_max: usize,
    /// Time between two comments that keep a stream of events open.
    pub event_keep_alive: Duration,
    /// How long requests may go on after the server was told to end.
    pub shutdown_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 2048,
            connections_per_address_max: 256,
            requests_per_sec: 200,
            requests_burst: 1000,
            request_timeout: Duration::from_secs(15),
            body_idle_timeout: Duration::from_secs(60),
            header_bytes_max: 16 << 10,
            event_readers_max: 64,
            event_keep_alive: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
