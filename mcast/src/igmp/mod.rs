//! IGMP: how switches and routers learn which machines want which IPv4 groups, and the querier that
//! keeps them knowing it.
//!
//! A switch that snoops IGMP forwards a group only to the ports where it heard a member report. It
//! forgets a member that it does not hear again for about 260 s, and members report only when
//! somebody asks: the *querier*, usually a router or the switch itself. Where there is none,
//! multicast dies some minutes after it began, or never begins.
//!
//! What it owns: the packets ([`packet`]), the state machine of a querier without sockets and clock
//! ([`querier`]), a thread that runs it ([`QuerierThread`]), and an ear for what others say
//! ([`Listener`]). What it never does: forward anything, or keep the list of members that a router
//! keeps. IPv6 has MLD for the same purpose; it is not implemented.
//!
//! Raw sockets need root (CAP_NET_RAW).

mod listen;
pub mod packet;
pub mod querier;
mod socket;
mod thread;

pub use listen::{Heard, HeardQuerier, Listener};
pub use packet::{GroupRecord, Message, Packet, PacketError, Query, RecordKind, Version};
pub use querier::{Config, Querier};
pub use socket::{Arrived, IgmpError, IgmpSocket};
pub use thread::{QuerierStatus, QuerierThread};
