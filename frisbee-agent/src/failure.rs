//! Why something came to nothing, in a class that a controller can decide by.

use crate::words::printable;
use std::fmt;
use thiserror::Error;

/// The classes. docs/control.md says what a controller may make of each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// The command line or the command makes no sense.
    Order,
    /// Something else is being done.
    Busy,
    /// There is no such disk.
    NoDisk,
    /// More than one disk is meant.
    AmbiguousDisk,
    /// Image or disk do not qualify; nothing was written.
    Refused,
    /// The image host: not reached, no such image, no access.
    Server,
    /// Nothing comes, or it broke.
    Network,
    /// The disk failed.
    Disk,
    /// A digest or a structure of the image is wrong.
    Damaged,
    /// Done, but something could not be read.
    Losses,
    /// The disk is loaded, but what was to be done to it afterwards failed.
    Hook,
    /// It was cancelled.
    Interrupted,
    /// None of these.
    Failed,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Order,
        Self::Busy,
        Self::NoDisk,
        Self::AmbiguousDisk,
        Self::Refused,
        Self::Server,
        Self::Network,
        Self::Disk,
        Self::Damaged,
        Self::Losses,
        Self::Hook,
        Self::Interrupted,
        Self::Failed,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Busy => "busy",
            Self::NoDisk => "no-disk",
            Self::AmbiguousDisk => "ambiguous-disk",
            Self::Refused => "refused",
            Self::Server => "server",
            Self::Network => "network",
            Self::Disk => "disk",
            Self::Damaged => "damaged",
            Self::Losses => "losses",
            Self::Hook => "hook",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    /// The class of a word; what is not known is [`Self::Failed`]. The programs say `usage` for
    /// what is an order here.
    pub fn of(word: &str) -> Self {
        match word {
            "usage" => Self::Order,
            word => {
                Self::ALL.into_iter().find(|class| class.name() == word).unwrap_or(Self::Failed)
            }
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why something came to nothing.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{class}: {message}")]
pub struct Failure {
    /// What kind.
    pub class: Class,
    /// A sentence in one line: what happened and, where something can be done, what.
    pub message: String,
    /// True if trying the same again may help.
    pub may_pass: bool,
}

impl Failure {
    /// Trying again will not help.
    pub fn lasting(class: Class, message: impl fmt::Display) -> Self {
        Self { class, message: printable(&message.to_string()), may_pass: false }
    }

    /// Trying again may help.
    pub fn passing(class: Class, message: impl fmt::Display) -> Self {
        Self { may_pass: true, ..Self::lasting(class, message) }
    }

    /// An order that makes no sense.
    pub fn order(message: impl fmt::Display) -> Self {
        Self::lasting(Class::Order, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_go_both_ways() {
        for class in Class::ALL {
            assert_eq!(Class::of(class.name()), class);
        }
        assert_eq!((Class::of("usage"), Class::of("x")), (Class::Order, Class::Failed));
        assert_eq!(Failure::order("a\nb").to_string(), "order: a b");
    }
}
