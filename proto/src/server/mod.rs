//! The server's half of the protocol: which blocks go out, and when.
//!
//! What it is: a value. Datagrams and the time go in, datagrams to send, the next deadline and
//! events come out. What it owns: the work queue, the pace, the rate, the roster. What it never
//! does: IO, read a clock, touch payload bytes, or need to know any client: all of its state can be
//! lost, and clients ask again.

mod config;
mod event;
mod pacer;
mod queue;
mod rate;
mod recent;
mod roster;
mod session;

pub use config::{Config, IDLE_DEFAULT, IdleExit, RateConfig};
pub use event::{Counters, Event, FinishReason, Transmit};
pub use rate::{RATE_MAX, RATE_MIN, RATE_START};
pub use roster::{CLIENTS_MAX, Client, Stage};
pub use session::Session;
