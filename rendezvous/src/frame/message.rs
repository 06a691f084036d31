//! Frames whose body is JSON.

use super::{
    Abort, Ack, End, FrameError, Header, Kind, Test, TestDone, TestReply, Trouble, TroubleReply,
    Upload, UploadReply, Verdict,
};
use crate::ErrorCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Failure {
    /// The class, for programs.
    pub code: ErrorCode,
    /// A sentence for people: where, what, what to do.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message.is_empty() {
            true => self.code.fmt(f),
            false => f.write_str(&self.message),
        }
    }
}

/// A frame that is not data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// Type 1.
    Upload(Upload),
    /// Type 2.
    UploadReply(UploadReply),
    /// Type 4.
    Ack(Ack),
    /// Type 5.
    End(End),
    /// Type 6.
    Verdict(Verdict),
    /// Type 7.
    Trouble(Trouble),
    /// Type 8.
    TroubleReply(TroubleReply),
    /// Type 9.
    Test(Test),
    /// Type 10.
    TestReply(TestReply),
    /// Type 11.
    TestDone(TestDone),
    /// Type 12.
    Abort(Abort),
}

impl Message {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Upload(_) => Kind::Upload,
            Self::UploadReply(_) => Kind::UploadReply,
            Self::Ack(_) => Kind::Ack,
            Self::End(_) => Kind::End,
            Self::Verdict(_) => Kind::Verdict,
            Self::Trouble(_) => Kind::Trouble,
            Self::TroubleReply(_) => Kind::TroubleReply,
            Self::Test(_) => Kind::Test,
            Self::TestReply(_) => Kind::TestReply,
            Self::TestDone(_) => Kind::TestDone,
            Self::Abort(_) => Kind::Abort,
        }
    }

    /// What is behind a header of this kind.
    pub fn decode(kind: Kind, body: &[u8]) -> Result<Self, FrameError> {
        fn json<T: DeserializeOwned>(kind: Kind, body: &[u8]) -> Result<T, FrameError> {
            serde_json::from_slice(body).map_err(|source| FrameError::Body { kind, source })
        }
        Ok(match kind {
            Kind::Upload => Self::Upload(json(kind, body)?),
            Kind::UploadReply => Self::UploadReply(json(kind, body)?),
            Kind::Data => return Err(FrameError::Data),
            Kind::Ack => Self::Ack(json(kind, body)?),
            Kind::End => Self::End(json(kind, body)?),
            Kind::Verdict => Self::Verdict(json(kind, body)?),
            Kind::Trouble => Self::Trouble(json(kind, body)?),
            Kind::TroubleReply => Self::TroubleReply(json(kind, body)?),
            Kind::Test => Self::Test(json(kind, body)?),
            Kind::TestReply => Self::TestReply(json(kind, body)?),
            Kind::TestDone => Self::TestDone(json(kind, body)?),
            Kind::Abort => Self::Abort(json(kind, body)?),
        })
    }

    /// Header and body. An error if the body would be longer than allowed, which only an
    /// unreasonable text in it can cause.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let kind = self.kind();
        let body = match self {
            Self::Upload(body) => serde_json::to_vec(body),
            Self::UploadReply(body) => serde_json::to_vec(body),
            Self::Ack(body) => serde_json::to_vec(body),
            Self::End(body) => serde_json::to_vec(body),
            Self::Verdict(body) => serde_json::to_vec(body),
            Self::Trouble(body) => serde_json::to_vec(body),
            Self::TroubleReply(body) => serde_json::to_vec(body),
            Self::Test(body) => serde_json::to_vec(body),
            Self::TestReply(body) => serde_json::to_vec(body),
            Self::TestDone(body) => serde_json::to_vec(body),
            Self::Abort(body) => serde_json::to_vec(body),
        };
        let body = body.map_err(|source| FrameError::Body { kind, source })?;
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let header = Header::new(kind, body.len()).ok_or(FrameError::TooLong { kind, len })?;
        Ok([header.encode().as_slice(), &body].concat())
    }
}
