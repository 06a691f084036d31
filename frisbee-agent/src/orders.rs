//! What the agent is to do: the words of the kernel's command line and of control commands, once
//! they are understood.

use crate::selector::Selector;
use rendezvous::ImageId;
use rendezvous::client::Server;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// An image at an image host: `SERVER[:PORT]/NAME`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostImage {
    /// The host.
    pub server: Server,
    /// The image.
    pub image: ImageId,
}

impl FromStr for HostImage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (server, image) = text
            .split_once('/')
            .ok_or_else(|| format!("{text:?}: expected SERVER/IMAGE or SERVER:PORT/IMAGE"))?;
        let server = host(server)?;
        let harmless = !image.starts_with('-') && !image.contains(char::is_control);
        match image.parse() {
            Ok(image) if harmless => Ok(Self { server, image }),
            Ok(_) => Err(format!("{image:?} is no name of an image")),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Display for HostImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server, self.image)
    }
}

/// A host's name or address, with or without a port: nothing that a program takes for an option.
///
/// # Errors
/// When it is none.
pub fn host(text: &str) -> Result<Server, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]%".contains(c);
    match text.starts_with('-') || text.len() > 255 || !text.chars().all(is_plain) {
        true => Err(format!("{text:?} is no name of a host")),
        false => text.parse().map_err(|error: rendezvous::client::ServerError| error.to_string()),
    }
}

/// Where an image comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// Whoever sends to this group.
    Group(SocketAddr),
    /// An image host.
    Image(HostImage),
}

impl FromStr for Source {
    type Err = String;

    /// The first `/` decides.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return text.parse().map(Self::Image);
        }
        match text.parse::<SocketAddr>() {
            Ok(group) if group.port() != 0 => Ok(Self::Group(group)),
            _ => Err(format!("{text:?}: expected GROUP:PORT, SERVER/IMAGE or SERVER:PORT/IMAGE")),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => group.fmt(f),
            Self::Image(image) => image.fmt(f),
        }
    }
}

/// Where an image goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// To an image host, which verifies it.
    Image(HostImage),
    /// As bare bytes to whoever listens there. Nobody verifies them.
    Stream(Server),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(image) => image.fmt(f),
            Self::Stream(server) => server.fmt(f),
        }
    }
}

/// What is done with the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Work {
    /// It is written.
    Load {
        /// With what.
        from: Source,
        /// Read it back and compare.
        verify: bool,
        /// What is done to the loaded system, by the names of the hooks.
        hooks: Vec<String>,
    },
    /// It is read.
    Save {
        /// Where the image goes.
        to: Target,
    },
}

impl Work {
    /// `load` or `save`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Load { .. } => "load",
            Self::Save { .. } => "save",
        }
    }
}

/// What follows a job that succeeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// The machine starts again.
    Reboot,
    /// It is switched off.
    PowerOff,
    /// The system on the disk is started at once.
    Kexec,
    /// Nothing.
    Wait,
    /// Somebody wants to look around.
    Shell,
}

impl Then {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Reboot, Self::PowerOff, Self::Kexec, Self::Wait, Self::Shell];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "poweroff",
            Self::Kexec => "kexec",
            Self::Wait => "wait",
            Self::Shell => "shell",
        }
    }
}

impl FromStr for Then {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|then| then.name() == text);
        found.ok_or_else(|| format!("{text:?}: expected reboot, poweroff, kexec, wait or shell"))
    }
}

/// What holds for all jobs unless one says otherwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// More arguments for the program, as they are.
    pub options: Vec<String>,
    /// Hooks after loads.
    pub hooks: Vec<String>,
    /// Verify loads.
    pub verify: bool,
    /// The node's name, for the hook `hostname`.
    pub hostname: Option<String>,
    /// Where the hook `drop-files` gets its archive.
    pub files: Option<String>,
    /// Shown to image hosts on saves.
    pub token: Option<String>,
    /// A program that hears nothing for this long fails.
    pub timeout: Duration,
    /// How often a job is tried, at least once.
    pub tries: u32,
    /// Time between two tries; up to a quarter of it is added at random.
    pub retry_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            options: Vec::new(),
            hooks: Vec::new(),
            verify: false,
            hostname: None,
            files: None,
            token: None,
            timeout: Duration::from_secs(120),
            tries: 3,
            retry_after: Duration::from_secs(10),
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    /// What a controller calls it.
    pub id: Option<String>,
    /// What.
    pub work: Work,
    /// With which disk.
    pub disk: Selector,
    /// What follows.
    pub then: Then,
    /// How.
    pub settings: Settings,
}

/// What the kernel's command line says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Orders {
    /// What is done first.
    pub job: Option<Job>,
    /// Who is asked for more.
    pub control: Option<Server>,
    /// How long the reason of a failure stays on the screen before the machine is rebooted; for
    /// ever if there is none.
    pub reboot_after: Option<Duration>,
    /// For jobs that come later.
    pub settings: Settings,
}

/// The port of control servers.
pub const CONTROL_PORT: u16 = 64496;

/// Time that a failure is shown.
pub const REBOOT_AFTER: Duration = Duration::from_secs(600);

/// A list of hooks, separated by commas.
///
/// # Errors
/// When a name is none.
pub fn hooks(text: &str) -> Result<Vec<String>, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let check = |name: &str| match name.starts_with('-') || name.is_empty() || name.len() > 64 {
        false if name.chars().all(is_plain) => Ok(name.to_owned()),
        _ => Err(format!("{name:?} is no name of a hook")),
    };
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(check).collect()
}

/// A host's name as the hook `hostname` takes it.
///
/// # Errors
/// When it is none.
pub fn hostname(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let wrong = text.is_empty() || text.len() > 253 || text.starts_with(['-', '.']);
    match wrong || !text.chars().all(is_plain) {
        true => Err(format!("{text:?} is no host name")),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slash_decides() {
        let read = |text: &str| text.parse::<Source>().map(|source| source.to_string());
        assert_eq!(read("239.1.2.3:7000").unwrap(), "239.1.2.3:7000");
        assert_eq!(read("boss/lab/a b.ndz").unwrap(), "boss:64494/lab/a b.ndz");
        assert_eq!(read("[fe80::1]:5/x").unwrap(), "[fe80::1]:5/x");
        for wrong in [
            "",
            "239.1.2.3",
            "239.1.2.3:0",
            "boss:7",
            "/x",
            "boss/",
            "boss/-x",
            "-S/x",
            "a b/x",
            "boss/a\nb",
            "boss/a\0",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn lists_hold_names_only() {
        assert_eq!(hooks("grow, machine-id,").unwrap(), ["grow", "machine-id"]);
        assert!(hooks("-x").is_err() && hooks("../x").is_err() && hooks("a b").is_err());
        assert!(
            hostname("node-1.lab").is_ok() && hostname("a;b").is_err() && hostname("").is_err()
        );
    }
}
