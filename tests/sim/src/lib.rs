//! A seeded simulator of one server, many clients, and the network and disks between them.
//!
//! What it owns: a clock, an event queue and models of everything outside the two sessions. One
//! seed decides everything; the same seed gives the same sequence of events, to the hash. What it
//! never does: look inside a session. First safety (no wrong byte is ever called complete), then
//! liveness (everybody finishes in bounded time once the world is kind).

pub mod client;
pub mod deployed_client;
pub mod deployed_server;
mod faults;
pub mod network;
pub mod rough;
pub mod scenario;
pub mod server;
pub mod setup;
pub mod table;
pub mod world;
