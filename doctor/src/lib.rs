//! The doctor: says in plain sentences whether multicast gets through, and what to do.
//!
//! ```text
//! client: connect ─► ask for test datagrams ─► measure ─► evidence ─► conclude ─► findings
//! server: look at the machine ─► send to itself ─► listen ─► findings
//! ```
//! What it is: the checks behind `frisbee-server doctor` ([`server`]) and `frisbee-client doctor`
//! ([`client`]), and what an image host does for the latter ([`sender`]). What it owns: the words:
//! each [`Finding`] is one sentence that says what is so and one that says what to do. What it never
//! does: change anything on the machine or the network, except that the two ends send each other
//! test datagrams, within limits.
//!
//! It takes at most 20 seconds, unless `--for` asks for a longer test. The line between measuring and
//! concluding is sharp: [`client::conclude`] is a pure function of what was seen.

mod args;
pub mod client;
mod datagram;
mod facts;
mod finding;
mod firewall;
mod listen;
pub mod sender;
pub mod server;
mod tally;

pub use args::{ClientArgs, ServerArgs, asked};
pub use datagram::{DATAGRAM_LEN_MIN, TestDatagram};
pub use finding::{Finding, Findings, Mark};
pub use firewall::{Suspicion, Traffic, suspicions};
pub use tally::{Stretch, Tally};
