//! Frames about the network between server and client: reports of trouble, and tests.

use super::Failure;
use crate::ImageId;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What does not work.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// No reply to a join.
    NoReply,
    /// A reply, but no block ever.
    NoData,
    /// Blocks came, and stopped.
    Stopped,
}

/// TROUBLE: a session does not work for this client.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trouble {
    /// The image.
    pub image: ImageId,
    /// The group, or the server's address for unicast.
    pub address: IpAddr,
    /// Its UDP port.
    pub port: u16,
    /// What does not work.
    pub what: What,
    /// Since when.
    pub seconds: u64,
    /// Blocks that have come in all.
    pub received_blocks: u64,
    /// True: the client will ask for unicast now.
    pub fallback: bool,
    /// What the client calls itself: its host name.
    pub client: String,
}

/// TROUBLE_REPLY: noted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TroubleReply {}

/// TEST: please send test datagrams.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Test {
    /// For how long, at most; servers limit it to 10.
    pub seconds: u32,
    /// How fast, counting UDP payload.
    pub bits_per_sec: u64,
    /// UDP payload of a datagram.
    pub datagram_bytes: u32,
    /// To this group; none: one of the server's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<IpAddr>,
    /// To the client's own address instead.
    pub unicast: bool,
    /// To this port; none: one of the server's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What a server will send.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TestStart {
    /// Where to; for unicast, the client's address.
    pub group: IpAddr,
    /// The UDP port.
    pub port: u16,
    /// How many.
    pub datagrams: u64,
    /// How fast, counting UDP payload.
    pub bits_per_sec: u64,
    /// Their time to live.
    pub ttl: u32,
    /// The server's network interface.
    pub interface: String,
    /// The IGMP querier that the server has heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub querier: Option<IpAddr>,
    /// 16 hexadecimal digits; their 8 bytes are in each datagram.
    pub nonce: String,
}

/// TEST_REPLY. An object with an `error` is a refusal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TestReply {
    /// No.
    Refused {
        /// Why not.
        error: Failure,
    },
    /// They follow.
    Start(TestStart),
}

/// TEST_DONE: all were sent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TestDone {
    /// How many.
    pub sent: u64,
}
