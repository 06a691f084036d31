//! Flags of an image host, over those of its configuration file.

use crate::host::access::{Action, Rule, parse_network};
use crate::host::addresses::{GroupRange, PortRange};
use crate::host::config::{Config, ConfigError};
use clap::Args;
use imagezip::cli::{parse_bandwidth, parse_memory};
use ipnet::IpNet;
use rendezvous::client::Server;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Flags of an image host. What is not given is as the configuration file says.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Image host")]
pub struct HostArgs {
    /// Serve all images of a directory (or s3://bucket/prefix), each when it is asked for, and take
    /// new ones
    #[arg(long, value_name = "IMAGES")]
    pub dir: Option<String>,

    /// A configuration file (TOML); flags override it. `--print-config` prints one with every
    /// setting explained
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check configuration, store and access rules, say what is wrong, and end
    #[arg(long)]
    pub check_config: bool,

    /// Print a configuration file in which every setting is explained, and end
    #[arg(long)]
    pub print_config: bool,

    /// Address and port of the rendezvous service [default: 0.0.0.0:64494]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,

    /// Address and port of HTTP, or `off` [default: 0.0.0.0:5011]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<String>,

    /// Where to note running sessions, so that they go on after a restart
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Multicast groups for sessions [default: 239.192.1.1-239.192.1.254]
    #[arg(long, value_name = "FIRST-LAST")]
    pub groups: Option<GroupRange>,

    /// Ports for sessions [default: 7000-7999]
    #[arg(long, value_name = "FIRST-LAST")]
    pub ports: Option<PortRange>,

    /// Bits per second on the wire of each session; -W is for all together [default: automatic]
    #[arg(long, value_name = "BANDWIDTH", value_parser = parse_bandwidth)]
    pub session_bandwidth: Option<u64>,

    /// Another image host, from which images are fetched that this one lacks
    #[arg(long, value_name = "HOST")]
    pub parent: Option<Server>,

    /// Let machines of this network send images (may be repeated); nobody may otherwise
    #[arg(long, value_name = "NETWORK", value_parser = parse_network)]
    pub allow_put: Vec<IpNet>,

    /// Bytes that all images together may take
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub quota: Option<u64>,

    /// Where parts of images of an object store are kept [default: /var/cache/frisbee]
    #[arg(long, value_name = "FOLDER")]
    pub cache_dir: Option<PathBuf>,

    /// Take plain streams (`imagezip DISK - | nc HOST PORT`) here
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub stream_listen: Option<SocketAddr>,

    /// Be the IGMP querier of a network that has none
    #[arg(long)]
    pub igmp_querier: bool,
}

impl HostArgs {
    /// True when an image host is asked for, and not one image.
    pub fn is_asked_for(&self) -> bool {
        self.dir.is_some() || self.config.is_some()
    }

    /// The configuration file's settings with these over them.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        let args = self.clone();
        if let Some(dir) = args.dir {
            config.dir = dir;
        }
        if let Some(http) = args.http {
            config.http = match http.as_str() {
                "off" => None,
                text => Some(text.parse().map_err(|_| {
                    ConfigError::Sense(format!(
                        "--http {text}: expected an address and a port such as 0.0.0.0:5011, or off"
                    ))
                })?),
            };
        }
        set(&mut config.listen, args.listen);
        set(&mut config.groups, args.groups);
        set(&mut config.ports, args.ports);
        set(&mut config.store.quota, args.quota);
        set(&mut config.store.cache_dir, args.cache_dir);
        config.state = args.state.or(config.state);
        config.session_bandwidth = args.session_bandwidth.or(config.session_bandwidth);
        config.parent = args.parent.or(config.parent);
        config.uploads.stream_listen = args.stream_listen.or(config.uploads.stream_listen);
        config.igmp_querier |= args.igmp_querier;
        if !args.allow_put.is_empty() {
            let rule = |allow, from| Rule { allow, from, token: None, images: Vec::new() };
            if config.access.is_empty() {
                config.access.push(rule(vec![Action::Get], Vec::new()));
            }
            config.access.push(rule(vec![Action::Put], args.allow_put));
        }
        config.check()?;
        Ok(config)
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::access::Answer;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        host: HostArgs,
    }

    fn config(line: &str) -> Result<Config, ConfigError> {
        let words = ["frisbee-server"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().host.config()
    }

    #[test]
    fn flags_override_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "dir = '/a'\nhttp = '127.0.0.1:80'\nports = '7000-7009'")
            .unwrap();
        let line = format!("--config {} --dir /b --http off", file.path().display());
        let config = config(&line).unwrap();
        assert_eq!((config.dir.as_str(), config.http), ("/b", None));
        assert_eq!(config.ports, "7000-7009".parse().unwrap());
    }

    #[test]
    fn allowing_to_put_leaves_getting_allowed() {
        let access = config("--dir /b --allow-put 10.0.0.0/8").unwrap().access();
        let check = |peer: &str, action| access.check(peer.parse().unwrap(), None, action, None);
        assert_eq!(check("192.0.2.1", Action::Get), Answer::Allowed);
        assert_eq!(check("192.0.2.1", Action::Put), Answer::Refused);
        assert_eq!(check("10.0.0.1", Action::Put), Answer::Allowed);
        assert_eq!(check("10.0.0.1", Action::Delete), Answer::Refused);
    }

    #[test]
    fn nonsense_is_told() {
        assert!(config("--dir /b --http here").unwrap_err().to_string().contains("5011"));
        assert!(config("--config /nonexistent").unwrap_err().to_string().contains("cannot read"));
    }
}
