//! What an image host is told: a TOML file, and flags that override it.
//!
//! What it owns: names, defaults and bounds of the settings. What it never does: open anything.

use crate::exit_rule::idle_exit_from_secs;
use crate::host::access::{Access, Rule};
use crate::host::addresses::{GroupRange, PortRange};
use imagezip::cli::{parse_bandwidth, parse_memory};
use mcast::InterfaceSelector;
use proto::server::IdleExit;
use rendezvous::client::Server;
use serde::{Deserialize, Deserializer};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// The configuration that comes with the project, every setting explained; also what
/// `--print-config` prints.
pub const EXAMPLE: &str = include_str!("../../../dist/frisbee-server.toml");

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what is expected; the message names line and column.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
    /// Settings contradict each other, or one is missing.
    #[error("{0}")]
    Sense(String),
}

/// All settings of an image host.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A directory of images, or `s3://bucket/prefix`.
    pub dir: String,
    /// Where the rendezvous protocol is spoken.
    pub listen: SocketAddr,
    /// Where HTTP is spoken; `None` for nowhere.
    #[serde(deserialize_with = "off_or")]
    pub http: Option<SocketAddr>,
    /// A state file; sessions that are in it go on after a restart.
    #[serde(deserialize_with = "off_or")]
    pub state: Option<PathBuf>,
    /// The interface that images are sent from.
    #[serde(deserialize_with = "interface")]
    pub interface: InterfaceSelector,
    /// Groups for sessions.
    #[serde(deserialize_with = "parsed")]
    pub groups: GroupRange,
    /// Ports for sessions.
    #[serde(deserialize_with = "parsed")]
    pub ports: PortRange,
    /// Bits per second on the wire, all sessions together.
    #[serde(deserialize_with = "bandwidth")]
    pub bandwidth: Option<u64>,
    /// Bits per second on the wire of each session; `None` adapts to the network.
    #[serde(deserialize_with = "bandwidth")]
    pub session_bandwidth: Option<u64>,
    /// Sessions at a time.
    pub sessions_max: usize,
    /// A session ends after this many seconds without a request.
    pub idle_secs: u32,
    /// Routers that multicast may cross, plus one.
    pub ttl: u8,
    /// Let clients on this machine hear the multicast.
    pub multicast_loop: bool,
    /// Serve clients one by one when they ask for it or hear no multicast.
    pub unicast: bool,
    /// Join the groups again after this many seconds of silence; 0 for never.
    pub keep_alive_secs: u32,
    /// Be the network's IGMP querier.
    pub igmp_querier: bool,
    /// Another image host that has what this one lacks.
    #[serde(deserialize_with = "off_or")]
    pub parent: Option<Server>,
    /// Ask the parent each time whether it has a newer image.
    pub parent_check: bool,
    /// Limits of the connections of all kinds.
    pub limits: Limits,
    /// The store of images.
    pub store: StoreConfig,
    /// Images that are sent to this host.
    pub uploads: Uploads,
    /// TLS for HTTP.
    pub tls: Option<Tls>,
    /// Who may do what.
    pub access: Vec<Rule>,
}

/// Limits of connections.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// ... of one address.
    pub connections_per_address: usize,
    /// A request must have come in this many seconds.
    pub request_secs: u32,
    /// HTTP requests a second of one address.
    pub requests_per_sec: u32,
}

/// How images are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Where parts of images of an object store are kept.
    pub cache_dir: PathBuf,
    /// ... at most this many bytes.
    #[serde(deserialize_with = "size")]
    pub cache: u64,
    /// Bytes of all images together; 0 for no limit.
    #[serde(deserialize_with = "size")]
    pub quota: u64,
    /// Keep the image that an upload replaces.
    pub keep_old: bool,
}

/// How images arrive.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Uploads {
    /// Bytes of one image at most; 0 for no limit.
    #[serde(deserialize_with = "size")]
    pub bytes_max: u64,
    /// An upload that brings nothing for this many seconds is broken off.
    pub idle_secs: u32,
    /// ... and one that takes longer than this.
    pub total_secs: u32,
    /// Uploads at a time.
    pub at_once: usize,
    /// Ports for deployed clients' uploads.
    #[serde(deserialize_with = "parsed")]
    pub ports: PortRange,
    /// Where plain streams (`imagezip DISK - | nc HOST PORT`) are taken.
    #[serde(deserialize_with = "off_or")]
    pub stream_listen: Option<SocketAddr>,
    /// The name that a plain stream gets; `{address}` and `{time}` are filled in.
    pub stream_name: String,
}

/// Certificate and key of the HTTP server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and those it is signed with.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            dir: String::new(),
            listen: SocketAddr::new(any, proto::DEFAULT_PORT),
            http: Some(SocketAddr::new(any, HTTP_PORT)),
            state: None,
            interface: InterfaceSelector::ByRoute,
            groups: GroupRange::DEFAULT,
            ports: PortRange::SESSIONS,
            bandwidth: None,
            session_bandwidth: None,
            sessions_max: 64,
            idle_secs: 1800,
            ttl: 5,
            multicast_loop: false,
            unicast: true,
            keep_alive_secs: 0,
            igmp_querier: false,
            parent: None,
            parent_check: false,
            limits: Limits::default(),
            store: StoreConfig::default(),
            uploads: Uploads::default(),
            tls: None,
            access: Vec::new(),
        }
    }
}

/// Port of ORBIT's image service over HTTP.
const HTTP_PORT: u16 = 5011;

impl Default for Limits {
    fn default() -> Self {
        // 400 nodes that all ask at once, some behind one address.
        Self {
            connections: 2048,
            connections_per_address: 512,
            request_secs: 10,
            requests_per_sec: 200,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { cache_dir: "/var/cache/frisbee".into(), cache: 64 << 30, quota: 0, keep_old: false }
    }
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            bytes_max: 0,
            idle_secs: 120,
            total_secs: 4 * 3600,
            at_once: 10,
            ports: PortRange::UPLOADS,
            stream_listen: None,
            stream_name: "saves/{address}-{time}.ndz".into(),
        }
    }
}

impl Config {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`ConfigError::Io`], [`ConfigError::Syntax`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Io { path: path.into(), source })?;
        toml::from_str(&text)
            .map_err(|source| ConfigError::Syntax { path: path.into(), source: Box::new(source) })
    }

    /// Checks what no single setting shows.
    ///
    /// # Errors
    /// [`ConfigError::Sense`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let sense = |text: &str| Err(ConfigError::Sense(text.into()));
        if self.dir.is_empty() {
            return sense("no images to serve: set `dir`, or give --dir IMAGES");
        }
        if self.sessions_max == 0 || self.uploads.at_once == 0 || self.limits.connections == 0 {
            return sense("sessions_max, uploads.at_once and limits.connections must be above 0");
        }
        if self.uploads.stream_listen.is_some() && !self.uploads.stream_name.contains("{time}") {
            return sense(
                "uploads.stream_name must contain {time}: each save would replace the one before",
            );
        }
        if self.groups.iter().next().is_none() {
            return sense(
                "all of `groups` are groups that switches flood to every port; take some from \
                 239.192.1.0 on",
            );
        }
        if self.parent_check && self.parent.is_none() {
            return sense("parent_check needs a parent");
        }
        Ok(())
    }

    /// When sessions end.
    pub(crate) fn idle_exit(&self) -> IdleExit {
        idle_exit_from_secs(self.idle_secs.into())
    }

    /// How long a request may take to arrive.
    pub(crate) fn request_time(&self) -> Duration {
        Duration::from_secs(self.limits.request_secs.max(1).into())
    }

    /// Who may do what.
    pub(crate) fn access(&self) -> Access {
        Access::new(self.access.clone())
    }
}

/// A value, or `"off"`.
fn off_or<'de, D: Deserializer<'de>, T: FromStr>(from: D) -> Result<Option<T>, D::Error>
where
    T::Err: std::fmt::Display,
{
    let text = String::deserialize(from)?;
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr>(from: D) -> Result<T, D::Error>
where
    T::Err: std::fmt::Display,
{
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

fn interface<'de, D: Deserializer<'de>>(from: D) -> Result<InterfaceSelector, D::Error> {
    match String::deserialize(from)?.as_str() {
        "auto" => Ok(InterfaceSelector::ByRoute),
        text => text.parse().map_err(serde::de::Error::custom),
    }
}

fn bandwidth<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "automatic" | "off" => Ok(None),
        text => parse_bandwidth(text).map(Some).map_err(serde::de::Error::custom),
    }
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match String::deserialize(from)?.as_str() {
        "off" => Ok(0),
        text => parse_memory(text).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Config::read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_says_the_defaults() {
        let mut example = read(EXAMPLE).unwrap();
        let default = Config { dir: example.dir.clone(), ..Config::default() };
        assert_eq!(example.state.take(), Some("/var/lib/frisbee/sessions.json".into()));
        assert_eq!(format!("{example:?}"), format!("{default:?}"));
        example.check().unwrap();
    }

    #[test]
    fn everything_that_the_example_comments_out_is_understood() {
        let settings = EXAMPLE.lines().filter_map(|line| line.strip_prefix("#: "));
        let text = format!("{EXAMPLE}\n{}\n", settings.collect::<Vec<_>>().join("\n"));
        let config = read(&text).unwrap();
        assert!(config.tls.is_some() && !config.access.is_empty(), "{config:?}");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let wrong = |text: &str| read(text).unwrap_err();
        assert!(wrong("dir = '/x'\nlisten = 'here'").contains("line 2"));
        assert!(wrong("dirs = '/x'").contains("unknown field `dirs`"));
        assert!(wrong("groups = '10.0.0.1'").contains("239.192.1.1"));
        assert!(wrong("bandwidth = 'fast'").contains("950M"));
        let sense = |text: &str| read(text).unwrap().check().unwrap_err().to_string();
        assert!(sense("").contains("--dir"));
        assert!(sense("dir = '/x'\ngroups = '239.0.0.1-239.0.0.9'").contains("flood"));
        assert!(sense("dir = '/x'\nsessions_max = 0").contains("above 0"));
        let name = "dir = '/x'\n[uploads]\nstream_listen = '0.0.0.0:9000'\nstream_name = 'x'";
        assert!(sense(name).contains("{time}"));
    }
}
