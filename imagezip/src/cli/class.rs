//! What kind of failure ended a program: the word that `--json` gives as `class`.

/// The kinds. A controller decides by them; people read the sentence beside them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// The command line makes no sense.
    Usage,
    /// Image or disk do not qualify; nothing was written.
    Refused,
    /// The image host: it cannot be reached, has no such image, or denies access.
    Server,
    /// Nothing comes through the network, or it broke.
    Network,
    /// A disk or a file cannot be read or written.
    Disk,
    /// The image is not what it should be: a digest or a structure is wrong.
    Damaged,
    /// A signal.
    Interrupted,
    /// None of these.
    Failed,
}

impl Class {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Server => "server",
            Self::Network => "network",
            Self::Disk => "disk",
            Self::Damaged => "damaged",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}
