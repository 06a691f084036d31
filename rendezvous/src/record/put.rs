//! PUT: may I hand in this image, and where?

use super::raw::{RawPutReply, RawPutRequest, zeroed};
use super::{
    Kind, RecordError, Signature, host, host_field, image_id, image_id_field, joined, read, split,
    write,
};
use crate::{ErrorCode, ImageId};
use std::net::{Ipv4Addr, SocketAddrV4};
use zerocopy::byteorder::network_endian::{U16, U32};

/// A client wants to upload a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PutRequest {
    /// Whom it is for, if not for the one who asks.
    pub host: Option<Ipv4Addr>,
    /// Only asks what is there; nothing is opened.
    pub status: bool,
    /// The image.
    pub image: ImageId,
    /// Length of the file; 0: not known.
    pub bytes: u64,
    /// Time of modification it is to have, seconds since 1970; 0: not told.
    pub modified: u32,
    /// Longest time that the upload may take, seconds; 0: the host's own limit.
    pub timeout: u32,
}

impl PutRequest {
    /// What is behind the header.
    pub fn decode(body: &[u8]) -> Result<Self, RecordError> {
        let raw: &RawPutRequest = read(Kind::PutRequest, body)?;
        Ok(Self {
            host: host(raw.hostip),
            status: raw.status != 0,
            image: image_id(&raw.imageid, raw.idlen)?,
            bytes: joined(raw.hisize, raw.losize),
            modified: raw.mtime.get(),
            timeout: raw.timeout.get(),
        })
    }

    /// Header and body.
    pub fn encode(&self) -> Vec<u8> {
        let (imageid, idlen) = image_id_field(&self.image);
        let (hisize, losize) = split(self.bytes);
        let raw = RawPutRequest {
            hostip: host_field(self.host),
            status: self.status.into(),
            idlen,
            imageid,
            hisize,
            losize,
            mtime: U32::new(self.modified),
            timeout: U32::new(self.timeout),
        };
        write(Kind::PutRequest, &raw)
    }
}

/// An image that is there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Existing {
    /// What tells this state of it from another.
    pub signature: Signature,
    /// Its length.
    pub bytes: u64,
}

/// The upload is welcome, or, for a status request, would be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PutAnswer {
    /// Where to send the bytes of the file, and nothing else, by TCP; none in a status reply.
    pub address: Option<SocketAddrV4>,
    /// What is there under the name.
    pub existing: Option<Existing>,
    /// Longest file that the host takes; 0: no limit.
    pub bytes_max: u64,
}

/// The answer to a [`PutRequest`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PutReply {
    /// Welcome.
    Accepted(PutAnswer),
    /// Not so.
    Error {
        /// Why.
        code: ErrorCode,
        /// Longest file that the host takes; 0: no limit, or not told.
        bytes_max: u64,
    },
}

impl PutReply {
    /// What is behind the header.
    pub fn decode(body: &[u8]) -> Result<Self, RecordError> {
        let raw: &RawPutReply = read(Kind::PutReply, body)?;
        let bytes_max = joined(raw.himaxsize, raw.lomaxsize);
        if raw.error.get() != 0 {
            return Ok(Self::Error { code: raw.error.get().into(), bytes_max });
        }
        let address = SocketAddrV4::new(Ipv4Addr::from(raw.addr), raw.port.get());
        let existing = Existing {
            signature: Signature::decode(raw.sigtype, &raw.signature),
            bytes: joined(raw.hisize, raw.losize),
        };
        Ok(Self::Accepted(PutAnswer {
            address: Some(address).filter(|address| address.port() != 0),
            existing: Some(existing).filter(|_| raw.exists != 0),
            bytes_max,
        }))
    }

    /// Header and body.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw: RawPutReply = zeroed();
        let bytes_max = match self {
            Self::Error { code, bytes_max } => {
                raw.error = U16::new(u16::from(*code).max(1));
                *bytes_max
            }
            Self::Accepted(answer) => {
                if let Some(address) = answer.address {
                    raw.addr = address.ip().octets();
                    raw.port = U16::new(address.port());
                }
                if let Some(existing) = answer.existing {
                    raw.exists = 1;
                    (raw.sigtype, raw.signature) = existing.signature.encode();
                    (raw.hisize, raw.losize) = split(existing.bytes);
                }
                answer.bytes_max
            }
        };
        (raw.himaxsize, raw.lomaxsize) = split(bytes_max);
        write(Kind::PutReply, &raw)
    }
}
