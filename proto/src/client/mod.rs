//! The client's half of the protocol: what has arrived, and what to ask for.
//!
//! What it is: a value. Datagrams and the time go in; where each block belongs, datagrams to send,
//! the next deadline and events come out. What it owns: marks, measurements and timers. What it
//! never does: IO, read a clock, hold payload bytes, or ask for a chunk it has no buffer for.

mod asking;
mod config;
mod delay;
mod event;
mod join;
mod joining;
mod marks;
mod outgoing;
mod report;
mod session;

pub use config::{Config, JoinKind};
pub use event::{Counters, Destination, Event, Received, Seen, Transmit};
pub use session::Session;
