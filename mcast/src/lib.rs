//! Group sockets: one UDP port shared by a sender and any number of receivers.
//!
//! What it is: addresses of groups, network interfaces, and [`GroupSocket`], which sends and
//! receives equal-size datagrams in batches, with segmentation by the kernel or the device where
//! they offer it and one datagram at a time where they do not. What it owns: every socket option,
//! the sizes of the kernel's buffers, and the counters of what was lost in them. What it never
//! does: know what is inside a datagram, or start a thread.
//!
//! The style is blocking and for plain threads: [`GroupSocket::receive`] waits for datagrams, a
//! time-out or a [`Waker`]; [`GroupSocket::send`] never waits and says how far it got.
//!
//! Read the modules in this order: [`group`], [`interface`], [`options`], [`socket`], [`send`],
//! [`receive`].

pub mod buffers;
pub mod clock;
pub mod counters;
mod endpoint;
pub mod error;
pub mod group;
pub mod igmp;
pub mod interface;
mod open;
pub mod options;
pub mod probe;
pub mod receive;
mod report;
pub mod send;
pub mod socket;
mod sys;
pub mod waker;

pub use buffers::BufferSize;
pub use counters::Counters;
pub use error::{GroupError, InterfaceError, OpenError, SetupError, SocketError};
pub use group::{GroupAddress, GroupKind};
pub use interface::{Interface, InterfaceSelector};
pub use options::Options;
pub use probe::{Arrival, ProbeReceiver, ProbeSender};
pub use receive::{Datagram, ReceiveBatch, Received};
pub use send::{SendBatch, Sent, Stop};
pub use socket::{GroupSocket, Role, Warning};
pub use waker::Waker;
