//! The error codes of V01, which F01 uses too.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a host says no. Its text is a sentence's end: what happened and, where something can be
/// done, what.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(from = "u16", into = "u16")]
pub enum ErrorCode {
    /// 1: something went wrong at the host.
    Failed,
    /// 2: the host that the request is for is unknown.
    NoSuchHost,
    /// 3: the image is unknown.
    NoSuchImage,
    /// 4: this client may not have or do that.
    NoAccess,
    /// 5: the host cannot send in the way that was asked for.
    NoMethod,
    /// 6: the request makes no sense.
    Invalid,
    /// 7: not now: the image is being uploaded or fetched.
    TryAgain,
    /// 8: an upload exceeds what the host takes.
    TooBig,
    /// 9: an upload's time of modification is not acceptable.
    BadModified,
    /// 10: the host cannot do that.
    NotImplemented,
    /// A code that is none of these (0 never is an error).
    Other(u16),
}

impl From<u16> for ErrorCode {
    fn from(code: u16) -> Self {
        match code {
            1 => Self::Failed,
            2 => Self::NoSuchHost,
            3 => Self::NoSuchImage,
            4 => Self::NoAccess,
            5 => Self::NoMethod,
            6 => Self::Invalid,
            7 => Self::TryAgain,
            8 => Self::TooBig,
            9 => Self::BadModified,
            10 => Self::NotImplemented,
            other => Self::Other(other),
        }
    }
}

impl From<ErrorCode> for u16 {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Failed => 1,
            ErrorCode::NoSuchHost => 2,
            ErrorCode::NoSuchImage => 3,
            ErrorCode::NoAccess => 4,
            ErrorCode::NoMethod => 5,
            ErrorCode::Invalid => 6,
            ErrorCode::TryAgain => 7,
            ErrorCode::TooBig => 8,
            ErrorCode::BadModified => 9,
            ErrorCode::NotImplemented => 10,
            ErrorCode::Other(other) => other,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "something went wrong at the server; its log says what",
            Self::NoSuchHost => "the server does not know the host that asks",
            Self::NoSuchImage => "there is no such image",
            Self::NoAccess => "this host has no access to it",
            Self::NoMethod => "the server does not send in the way that was asked for",
            Self::Invalid => "the server finds the request invalid, perhaps the image's name",
            Self::TryAgain => "not now, the image is being uploaded or fetched; try again",
            Self::TooBig => "it is larger than the server takes",
            Self::BadModified => "the server does not accept the time of modification",
            Self::NotImplemented => "the server cannot do that",
            Self::Other(code) => return write!(f, "an error of unknown code {code}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_both_ways() {
        for code in 1..=20 {
            assert_eq!(u16::from(ErrorCode::from(code)), code);
        }
        assert_eq!(serde_json::to_string(&ErrorCode::TryAgain).unwrap(), "7");
    }
}
