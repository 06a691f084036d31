//! Frames of an upload.

use super::Failure;
use crate::ImageId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A secret that says who may do something. Never shown by `Debug`.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// BLAKE3 of a whole file; 64 hexadecimal digits in JSON.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| "a BLAKE3 digest has 64 hexadecimal digits")
    }
}

/// UPLOAD: may I?
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Upload {
    /// The name it is to have.
    pub name: ImageId,
    /// Who asks, where the server wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Length of the file, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// True: an ndz image, to be verified chunk by chunk. False: any file.
    pub image: bool,
    /// Goes on with an upload that broke off: its `upload_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
}

/// An upload may begin, or go on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UploadStart {
    /// To be named for a resume.
    pub upload_id: String,
    /// Bytes that the server has durably; the sender goes on there.
    pub offset: u64,
    /// Longest file that the server takes; none: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
}

/// UPLOAD_REPLY. An object with an `error` is a refusal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum UploadReply {
    /// No.
    Refused {
        /// Why not.
        error: Failure,
    },
    /// Yes.
    Start(UploadStart),
}

/// ACK: bytes that the sender may forget.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ack {
    /// Bytes from the file's start that survive whatever happens to the server.
    pub durable_bytes: u64,
}

/// END: the sender's own account of the whole file, whatever was sent over this connection.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct End {
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub blake3: Digest,
}

/// VERDICT. An object with an `error` is a refusal: nothing was published.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Verdict {
    /// Not published.
    Refused {
        /// Why not.
        error: Failure,
    },
    /// Published under its name, whole and flushed.
    Published {
        /// Length as published.
        bytes: u64,
        /// Digest as published, of what the server stored.
        blake3: Digest,
    },
}

/// ABORT: the sender gives up, so that the server need not keep what it has for a resume. There is
/// no answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Abort {
    /// Why, for the server's log.
    pub reason: String,
}
