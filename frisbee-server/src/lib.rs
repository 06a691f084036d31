//! Serves one file to many machines at once: the program around a server session.
//!
//! What it is: an image or any file ([`image`]), read ahead so that the network never waits for the
//! disk; the sockets ([`network`]); and the loop that connects them with sessions of `proto`
//! ([`serve`]). What it owns: one thread that receives, paces and sends, and one that reads. What it
//! never does: decide what a client gets, or when; the sessions do.
//!
//! [`host`] serves a whole store of images this way, a session for each that is asked for.
//!
//! A group of clients shares one session. Clients that ask this machine alone (unicast) have a
//! session each, so that each is served at its own pace; see [`settings::Settings::unicast`].

mod clock;
mod exit_rule;
mod gate;
pub mod host;
pub mod image;
pub mod network;
mod outbox;
mod page_cache;
mod peer;
mod peers;
mod read_ahead;
mod reader;
pub mod report;
pub mod serve;
pub mod settings;
mod source;

pub use exit_rule::{IdleExit, idle_exit_from_secs};
pub use gate::Budget;
pub use image::{Image, ImageError};
pub use network::{Network, NetworkError};
pub use report::{Ended, Report, Summary};
pub use serve::{ServeError, Server};
pub use settings::Settings;
pub use source::Source;
