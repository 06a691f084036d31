//! The frisbee protocol, sans IO: one server, a group of clients, one image.
//!
//! What it is: messages ([`wire`]), how a file is cut up ([`geometry`], [`block_set`]) and the two
//! session state machines ([`server`], [`client`]). What it never does: IO, read a clock, start a
//! thread, copy a payload, or contain unsafe code. Equal inputs give equal outputs; randomness
//! comes from a seed.
//!
//! Both sessions are driven the same way, and only with these verbs:
//!
//! - `handle_datagram(now, from, bytes)`: something arrived;
//! - `handle_timeout(now)`: `poll_timeout()` has passed;
//! - `poll_transmit(now, buffer)`: until it returns `None`, send what it says;
//! - `poll_event()`: until it returns `None`, do what it says;
//! - `poll_timeout()`: sleep until then, or until something arrives.
//!
//! `now` must never go backwards. docs/protocol.md describes the protocol for implementers of peers.

pub mod block_set;
pub mod client;
pub mod geometry;
pub mod random;
pub mod server;
pub mod time;
pub mod wire;

/// The group of a server and clients that were told no other. It is in the organisation-local scope
/// (RFC 2365: 239.192.0.0/14), which no provider forwards, and shares its Ethernet address with no
/// control group, so that switches which snoop IGMP send it only where it is wanted.
pub const DEFAULT_GROUP: std::net::Ipv4Addr = std::net::Ipv4Addr::new(239, 192, 70, 82);

/// The port of a server and clients that were told no other.
pub const DEFAULT_PORT: u16 = 64494;
