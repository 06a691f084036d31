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
