//! GET: where is this image to be had?

use super::raw::{RawGetReply, RawGetRequest, zeroed};
use super::{
    Kind, RecordError, Signature, host, host_field, image_id, image_id_field, joined, read, split,
    write,
};
use crate::{ErrorCode, ImageId};
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::BitOr;
use zerocopy::byteorder::network_endian::U16;

/// Ways of sending: any of unicast, multicast and broadcast.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Methods(u8);

impl Methods {
    /// None of them; only in replies.
    pub const NONE: Self = Self(0);
    /// To each client by itself.
    pub const UNICAST: Self = Self(1);
    /// To a group.
    pub const MULTICAST: Self = Self(2);
    /// To all of a network.
    pub const BROADCAST: Self = Self(4);
    /// Any of them.
    pub const ANY: Self = Self(7);

    /// The known ones of these bits: 1 unicast, 2 multicast, 4 broadcast.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ANY.0)
    }

    /// As bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// True if all of `other` are in it.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Methods {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (Self::UNICAST, "unicast"),
            (Self::MULTICAST, "multicast"),
            (Self::BROADCAST, "broadcast"),
        ];
        let names: Vec<_> = all.iter().filter(|m| self.contains(m.0)).map(|m| m.1).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

/// A client asks for an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GetRequest {
    /// Whom it is for, if not for the one who asks.
    pub host: Option<Ipv4Addr>,
    /// What the client can receive; at least one.
    pub methods: Methods,
    /// Only asks; no session is started.
    pub status: bool,
    /// The image.
    pub image: ImageId,
}

impl GetRequest {
    /// What is behind the header.
    pub fn decode(body: &[u8]) -> Result<Self, RecordError> {
        let raw: &RawGetRequest = read(Kind::GetRequest, body)?;
        let methods = Methods::from_bits(raw.methods);
        if methods.is_empty() {
            return Err(RecordError::Methods(raw.methods));
        }
        let image = image_id(&raw.imageid, raw.idlen)?;
        Ok(Self { host: host(raw.hostip), methods, status: raw.status != 0, image })
    }

    /// Header and body.
    pub fn encode(&self) -> Vec<u8> {
        let (imageid, idlen) = image_id_field(&self.image);
        let raw = RawGetRequest {
            hostip: host_field(self.host),
            methods: self.methods.bits(),
            status: self.status.into(),
            idlen,
            imageid,
        };
        write(Kind::GetRequest, &raw)
    }
}

/// Where a session is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionAddress {
    /// The machine that serves it.
    pub server: Ipv4Addr,
    /// The group; for unicast an address of the server.
    pub group: Ipv4Addr,
    /// The UDP port.
    pub port: u16,
}

/// The image exists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GetAnswer {
    /// How it is sent; for a status request, how it could be.
    pub methods: Methods,
    /// The session, if one is running: always after a GET that is not a status request.
    pub session: Option<SessionAddress>,
    /// What tells this state of the image from another.
    pub signature: Signature,
    /// Length of the image file.
    pub bytes: u64,
}

/// The answer to a [`GetRequest`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GetReply {
    /// The image exists.
    Found(GetAnswer),
    /// Why not.
    Error(ErrorCode),
}

impl GetReply {
    /// What is behind the header. The fields beside an error mean nothing.
    pub fn decode(body: &[u8]) -> Result<Self, RecordError> {
        let raw: &RawGetReply = read(Kind::GetReply, body)?;
        if raw.error.get() != 0 {
            return Ok(Self::Error(raw.error.get().into()));
        }
        let session = SessionAddress {
            server: raw.servaddr.into(),
            group: raw.addr.into(),
            port: raw.port.get(),
        };
        Ok(Self::Found(GetAnswer {
            methods: Methods::from_bits(raw.method),
            session: Some(session).filter(|_| raw.isrunning != 0),
            signature: Signature::decode(raw.sigtype, &raw.signature),
            bytes: joined(raw.hisize, raw.losize),
        }))
    }

    /// Header and body.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw: RawGetReply = zeroed();
        match self {
            Self::Error(code) => raw.error = U16::new(u16::from(*code).max(1)),
            Self::Found(answer) => {
                raw.method = answer.methods.bits();
                if let Some(session) = answer.session {
                    raw.isrunning = 1;
                    raw.servaddr = session.server.octets();
                    raw.addr = session.group.octets();
                    raw.port = U16::new(session.port);
                }
                (raw.sigtype, raw.signature) = answer.signature.encode();
                (raw.hisize, raw.losize) = split(answer.bytes);
            }
        }
        write(Kind::GetReply, &raw)
    }
}
