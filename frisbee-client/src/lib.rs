//! frisbee-client: load a disk from a frisbee server, together with any number of other machines.
//!
//! ```text
//! socket ─► receiver (session + chunk buffers) ─► work ─► workers: verify, decompress, write ─► disk
//!              ▲                                                     │
//!              └───────────── verdicts: done, rejected, over ◄───────┘
//! ```
//! What it is: the loops around a client session of `proto`, the sockets of `mcast` and the targets
//! of `imagezip`; a library, so that tests run it in their own process. What it owns: the chunk
//! buffers, the threads, and what the user is told. What it never does: decide what to ask for
//! (the session does) or what goes where on a disk (the image library does).
//!
//! One thread receives and never waits for the disk: it copies each block once, into the buffer of
//! its chunk, and hands whole chunks over. Buffers are credits: the session asks only for chunks
//! that it has a buffer for.

mod advice;
mod args;
mod buffers;
mod control;
mod error;
mod fallback;
mod gate;
mod host;
mod image;
mod load;
mod methods;
mod query;
mod raw_file;
mod receiver;
mod report;
mod show;
mod sockets;
mod status;
mod work;
mod workers;

pub use args::Args;
pub use error::ClientError;
pub use host::Found;
pub use load::load;
pub use methods::MethodList;
pub use query::query;
pub use report::{Report, Written, print, print_failed};
pub use show::Show;
pub use status::{Fallback, Status};
