//! Where an image host is: a name and a port, as users write them.

use crate::{ImageId, ImageIdError, PORT};
use std::fmt;
use std::str::FromStr;

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    host: String,
    port: Option<u16>,
}

/// Not a server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?}: expected HOST or HOST:PORT (an IPv6 address in [brackets]), {why}")]
pub struct ServerError {
    text: String,
    why: &'static str,
}

impl Server {
    /// Its name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(PORT)
    }

    /// The same, at this port unless one was given.
    #[must_use]
    pub fn or_port(mut self, port: u16) -> Self {
        self.port.get_or_insert(port);
        self
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let refused = |why| ServerError { text: text.to_owned(), why };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(|| refused("found no ]"))?;
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => return Err(refused("found something else behind the ]")),
                }
            }
            None => match text.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err(refused("found an address without them"));
                }
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(refused("found no host's name"));
        }
        let number = |port: &str| port.parse().ok().filter(|port| *port != 0);
        let port = match port {
            Some(port) => Some(number(port).ok_or_else(|| refused("found no port's number"))?),
            None => None,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port()),
            false => write!(f, "{}:{}", self.host, self.port()),
        }
    }
}

/// An image at a host: `frisbee://HOST[:PORT]/NAME`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    /// The host.
    pub server: Server,
    /// The image. Everything behind the host's slash, as it is: nothing is decoded.
    pub image: ImageId,
}

/// Not a [`Location`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LocationError {
    /// Of another form.
    #[error("{0:?}: expected frisbee://HOST/NAME or frisbee://HOST:PORT/NAME")]
    Form(String),
    /// The host.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageIdError),
}

impl Location {
    /// What a location begins with.
    pub const SCHEME: &str = "frisbee://";
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let form = || LocationError::Form(text.to_owned());
        let rest = text.strip_prefix(Self::SCHEME).ok_or_else(form)?;
        let (server, image) = rest.split_once('/').ok_or_else(form)?;
        Ok(Self { server: server.parse()?, image: image.parse()? })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}", Self::SCHEME, self.server, self.image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_as_users_write_them() {
        let read = |text: &str| text.parse::<Server>().map(|server| server.to_string());
        assert_eq!(read("boss").unwrap(), "boss:64494");
        assert_eq!(read("10.0.0.1:7").unwrap(), "10.0.0.1:7");
        assert_eq!(read("[fe80::1]").unwrap(), "[fe80::1]:64494");
        assert_eq!(read("[::1]:9").unwrap(), "[::1]:9");
        for wrong in ["", ":7", "boss:", "boss:0", "boss:70000", "::1", "[::1", "[::1]x", "a b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!("boss".parse::<Server>().unwrap().or_port(8).port(), 8);
        assert_eq!("boss:7".parse::<Server>().unwrap().or_port(8).port(), 7);
    }

    #[test]
    fn locations_as_users_write_them() {
        let read = |text: &str| text.parse::<Location>().map_err(|error| error.to_string());
        let location = read("frisbee://boss:7/project/disk 1.ndz").unwrap();
        assert_eq!(location.image.as_str(), Some("project/disk 1.ndz"));
        assert_eq!(location.to_string(), "frisbee://boss:7/project/disk 1.ndz");
        assert!(read("frisbee://boss").unwrap_err().contains("HOST/NAME"));
        assert!(read("frisbee://boss/").unwrap_err().contains("empty"));
        assert!(read("frisbee:///x").unwrap_err().contains("no host"));
        assert!(read("http://boss/x").is_err());
    }
}
