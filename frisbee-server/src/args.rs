//! The command line of frisbee-server.

use clap::{ArgAction, Parser};
use frisbee_server::host::{Config, ConfigError, HostArgs};
use frisbee_server::network::BROADCAST;
use frisbee_server::settings::{BURST_DEFAULT, BURST_MAX, Settings};
use frisbee_server::{Network, idle_exit_from_secs};
use imagezip::cli::{parse_bandwidth, parse_memory};
use mcast::{GroupAddress, InterfaceSelector, Options};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Serve a disk image to any number of machines at once.
///
/// Sends the blocks of IMAGE to a multicast group as clients ask for them: what one client asks
/// for, all others use as well, so that a hundred machines take no longer than one. Start it, then
/// start `frisbee-client DISK` on each machine, in any order; clients may join late, crash and come
/// back, and so may the server. Clients of the deployed frisbee are served too.
///
/// With --dir it is an image host: one process that serves all images of a directory, each on a group
/// of its own when somebody asks for it (`frisbee-client --server HOST --image NAME DISK`), takes new
/// ones (`imagezip DISK frisbee://HOST/NAME`), and shows it all on a page (http://HOST:5011/).
///
/// IMAGE is an image made by imagezip, whose headers are checked before anybody loads it, or any
/// other file (for `frisbee-client -N`).
#[derive(Debug, Parser)]
#[command(
    name = "frisbee-server",
    version,
    disable_version_flag = true,
    after_long_help = HELP,
    after_help = "See --help for examples and exit statuses."
)]
pub(crate) struct Args {
    /// The image, or any other file; with --dir no image is named, clients name theirs
    #[arg(required_unless_present_any = ["dir", "config", "print_config"], conflicts_with_all = ["dir", "config"])]
    pub(crate) image: Option<PathBuf>,

    /// Multicast or broadcast address of the group, IPv4 or IPv6; or the address of a machine:
    /// then each client that asks this machine is served by itself [default: 239.192.70.82]
    #[arg(short = 'm', long, value_name = "ADDRESS", value_parser = parse_group)]
    pub(crate) group: Option<IpAddr>,

    /// Port of the server and of all clients; of a range PORT-HIGH, the first that is free
    #[arg(short = 'p', long, value_name = "PORT[-HIGH]", default_value = "64494", value_parser = parse_ports)]
    pub(crate) port: RangeInclusive<u16>,

    /// Interface, by name or by its address [default: the one that the routing table says]
    #[arg(short = 'i', long, value_name = "INTERFACE")]
    pub(crate) interface: Option<InterfaceSelector>,

    /// Broadcast instead of multicast, to 255.255.255.255 unless -m says otherwise: for networks
    /// whose switches lose multicast
    #[arg(short = 'b', long)]
    pub(crate) broadcast: bool,

    /// Also serve clients that ask this machine alone (`frisbee-client -m THIS_MACHINE`), each at
    /// its own pace. Only for networks you trust: it sends to whoever claims to have asked
    #[arg(long)]
    pub(crate) unicast: bool,

    /// Bits per second on the wire, all clients together, such as 950M or 10G [default: what the
    /// link and the clients can take]
    #[arg(short = 'W', long, value_name = "BANDWIDTH", value_parser = parse_bandwidth)]
    pub(crate) bandwidth: Option<u64>,

    /// Blocks sent back to back at most [default: 44, and never more than 16 below 2.5 Gb/s]
    #[arg(short = 'B', long, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(1..=i64::from(BURST_MAX)))]
    pub(crate) burst: Option<u32>,

    /// Microseconds from burst to burst: with -B (or its deployed default of 16) another way to say
    /// the bandwidth
    #[arg(short = 'G', long, value_name = "MICROSECONDS", conflicts_with = "bandwidth", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) gap: Option<u32>,

    /// Exit after this many seconds without a request; 0: never; negative: when the last client
    /// has left
    /// [default: 1800]
    #[arg(short = 'T', long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,

    /// Join the group again after this many seconds of silence, for switches that forget members
    #[arg(short = 'K', long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_alive: Option<u32>,

    /// Size of the kernel's socket buffers in KiB [default: 32768 to receive, 4096 to send]
    #[arg(short = 'k', long, value_name = "KIB", value_parser = clap::value_parser!(u32).range(1..=512 << 10))]
    pub(crate) socket_buffer: Option<u32>,

    /// Write the address that was chosen, GROUP:PORT, to this file when the server is ready
    #[arg(short = 'A', long, value_name = "FILE")]
    pub(crate) address_file: Option<PathBuf>,

    /// Routers that multicast may cross, plus one [default: 5]
    #[arg(long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) ttl: Option<u8>,

    /// Let clients on this machine hear the multicast (always so on the loopback interface)
    #[arg(long = "loop")]
    pub(crate) multicast_loop: bool,

    /// Memory for chunks that are read ahead
    #[arg(long, value_name = "SIZE", default_value = "32M", value_parser = parse_memory)]
    pub(crate) cache: u64,

    /// Serve a broken image, as a plain file
    #[arg(short = 'f', long)]
    pub(crate) force: bool,

    /// Print JSON objects on standard output, one a line: start, joined, progress (each second),
    /// left, summary
    #[arg(long)]
    pub(crate) json: bool,

    /// Print warnings and errors only
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,

    /// Say more of what is done; twice for more still
    #[arg(short = 'D', long, action = ArgAction::Count)]
    pub(crate) debug: u8,

    /// Print the version
    #[arg(short = 'v', long = "version", action = ArgAction::Version)]
    pub(crate) version: Option<bool>,

    #[command(flatten)]
    pub(crate) host: HostArgs,
}

/// Examples and exit statuses, for `--help`.
const HELP: &str = "\
Examples:
  frisbee-server disk.ndz                         serve on the default group
  frisbee-server -i eth1 -W 900M disk.ndz         ... on one network, leaving room for others
  frisbee-server -m 239.192.1.2 -p 7000-7009 -A where disk.ndz
                                                  several servers on one machine
  frisbee-server -T -1 disk.ndz                   end when the last client has its image
  frisbee-server -b -i eth1 disk.ndz              a network that loses multicast
  frisbee-server -m 10.1.0.5 disk.ndz             no group: serve whoever asks this machine
  frisbee-server --json disk.ndz | jq .           for programs
  frisbee-server --dir /srv/images --allow-put 10.0.0.0/8
                                                  an image host; nodes of 10.0.0.0/8 may save to it
  frisbee-server --print-config >/etc/frisbee-server.toml
  frisbee-server --config /etc/frisbee-server.toml --check-config
  frisbee-server doctor                           does multicast get through? What to do if not

Signals:
  SIGINT and SIGTERM end the server with its summary. Clients that were loading wait for
  another server with the same image and go on where they were. A second signal ends it at once.

Automatic rate:
  Starts at the speed of the link (100 Mb/s and doubling, where the kernel does not tell it),
  goes down when more than 2 % of what the clients receive gets lost, never below 1/64 of the
  start or 2 Mb/s, and up again. One client that loses more than the others is left behind after 3
  seconds and catches up later. -W switches all that off.

If clients hear nothing: is this the right interface (-i)? Does a firewall drop UDP from port 64494?
Does a switch that snoops IGMP have a querier? Try -b, or -m with this machine's address on the client.

Exit status:
  0  ended by -T, or by a signal while nobody was loading
  1  failed, or ended by a signal while clients were loading
  2  the command line or the configuration makes no sense
  3  the image is broken or empty; the message says why";

fn parse_group(text: &str) -> Result<IpAddr, String> {
    let group = GroupAddress::parse(text, proto::DEFAULT_PORT);
    group.map(|group| group.ip()).map_err(|error| error.to_string())
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("'{text}': expected a port such as 7000, or a range such as 7000-7009");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
    match (port(first)?, port(last)?) {
        (first @ 1.., last) if first <= last => Ok(first..=last),
        _ => Err(wrong()),
    }
}

impl Args {
    /// Where to serve.
    pub(crate) fn network(&self) -> Network {
        let default = if self.broadcast { BROADCAST } else { proto::DEFAULT_GROUP };
        let mut options = Options {
            ttl: self.ttl.unwrap_or(TTL),
            multicast_loop: self.multicast_loop,
            ..Options::default()
        };
        if let Some(bytes) = self.socket_buffer.and_then(|kib| usize::try_from(kib).ok()) {
            options.receive_buffer_bytes = bytes << 10;
            options.send_buffer_bytes = bytes << 10;
        }
        Network {
            group: self.group.unwrap_or(default.into()),
            ports: self.port.clone(),
            interface: self.interface.clone().unwrap_or_default(),
            options,
        }
    }

    /// The configuration of an image host. Flags that one image has too mean the same here.
    pub(crate) fn host_config(&self) -> Result<Config, ConfigError> {
        let only_for_one = [
            (self.group.is_some(), "-m", "--groups"),
            (self.broadcast, "-b", "`unicast`, which clients fall back to"),
            (self.unicast, "--unicast", "`unicast` in its configuration, which is on"),
            (self.burst.is_some(), "-B", "--session-bandwidth"),
            (self.gap.is_some(), "-G", "--session-bandwidth"),
            (self.socket_buffer.is_some(), "-k", "large ones anyway"),
            (self.address_file.is_some(), "-A", "the rendezvous service"),
            (self.force, "-f", "no way to serve broken images"),
        ];
        if let Some((_, option, instead)) = only_for_one.iter().find(|(given, ..)| *given) {
            let text = format!("{option} is for one image; an image host has {instead}");
            return Err(ConfigError::Sense(text));
        }
        let mut config = self.host.config()?;
        if let Some(interface) = &self.interface {
            config.interface = interface.clone();
        }
        config.bandwidth = self.bandwidth.or(config.bandwidth);
        config.multicast_loop |= self.multicast_loop;
        config.keep_alive_secs = self.keep_alive.unwrap_or(config.keep_alive_secs);
        config.ttl = self.ttl.unwrap_or(config.ttl);
        if let Some(secs) = self.timeout {
            config.idle_secs = u32::try_from(secs).map_err(|_| {
                ConfigError::Sense(
                    "-T: an image host's sessions end after a time, or never (0)".into(),
                )
            })?;
        }
        Ok(config)
    }

    /// How to serve. `block_wire_bits` is the size of a block on the wire, for -B and -G.
    pub(crate) fn settings(&self, block_wire_bits: u64) -> Settings {
        let seconds = |secs: u32| Duration::from_secs(secs.into());
        let by_gap = self.gap.map(|gap| {
            let burst = self.burst.unwrap_or(DEPLOYED_BURST);
            u64::from(burst) * block_wire_bits * 1_000_000 / u64::from(gap)
        });
        Settings {
            bits_per_sec: self.bandwidth.or(by_gap),
            burst_blocks: self.burst.unwrap_or(BURST_DEFAULT),
            idle_exit: idle_exit_from_secs(self.timeout.unwrap_or(IDLE_SECS)),
            keep_alive: self.keep_alive.map(seconds),
            unicast: self.unicast,
            total: None,
            cache_bytes: self.cache,
        }
    }
}

/// Seconds without a request after which a server ends.
const IDLE_SECS: i64 = 1800;

/// Routers that multicast may cross, plus one.
const TTL: u8 = 5;

/// Blocks in a burst of deployed servers.
const DEPLOYED_BURST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use frisbee_server::IdleExit;

    fn args(line: &str) -> Args {
        Args::try_parse_from(["frisbee-server"].into_iter().chain(line.split_whitespace())).unwrap()
    }

    fn refused(line: &str) -> String {
        let words = ["frisbee-server"].into_iter().chain(line.split_whitespace());
        Args::try_parse_from(words).unwrap_err().to_string()
    }

    #[test]
    fn the_command_is_well_formed_and_its_help_tells_the_defaults() {
        Args::command().debug_assert();
        let help = Args::command().render_long_help().to_string();
        assert!(help.contains(&format!("[default: {}]", proto::DEFAULT_GROUP)), "{help}");
        assert!(help.contains(&format!("[default: {}]", proto::DEFAULT_PORT)), "{help}");
        assert!(help.contains(&format!("[default: {BURST_DEFAULT},")), "{help}");
        let options = Options::default();
        let kib = [options.receive_buffer_bytes >> 10, options.send_buffer_bytes >> 10];
        assert!(help.contains(&format!("[default: {} to receive, {} to send]", kib[0], kib[1])));
    }

    #[test]
    fn no_option_is_needed() {
        let args = args("disk.ndz");
        let (network, default) = (args.network(), Network::default());
        assert_eq!((network.group, network.ports), (default.group, default.ports));
        assert_eq!((network.interface, network.options), (default.interface, default.options));
        let settings = args.settings(8912);
        assert_eq!(settings.bits_per_sec, None);
        assert_eq!(settings.idle_exit, Settings::default().idle_exit);
        assert_eq!(settings.cache_bytes, Settings::default().cache_bytes);
    }

    #[test]
    fn deployed_letters_mean_what_they_did() {
        let args = args(
            "-m 234.5.6.7 -p 3564-3570 -i 10.0.0.1 -W 50000000 -T -1 -K 15 -k 1024 -A /run/f -D x",
        );
        let network = args.network();
        assert_eq!(network.group.to_string(), "234.5.6.7");
        assert_eq!(network.ports, 3564..=3570);
        assert_eq!(network.interface, "10.0.0.1".parse().unwrap());
        assert_eq!(network.options.receive_buffer_bytes, 1 << 20);
        let settings = args.settings(8912);
        assert_eq!(settings.bits_per_sec, Some(50_000_000));
        assert_eq!(settings.idle_exit, IdleExit::WhenEmpty);
        assert_eq!(settings.keep_alive, Some(Duration::from_secs(15)));
    }

    #[test]
    fn every_letter_has_a_long_name_that_means_the_same() {
        let all = [
            ("-m", "--group", "239.1.2.3"),
            ("-p", "--port", "7000-7009"),
            ("-i", "--interface", "eth1"),
            ("-b", "--broadcast", ""),
            ("-W", "--bandwidth", "950M"),
            ("-B", "--burst", "10"),
            ("-G", "--gap", "1000"),
            ("-T", "--timeout", "-1"),
            ("-K", "--keep-alive", "15"),
            ("-k", "--socket-buffer", "1024"),
            ("-A", "--address-file", "/run/f"),
            ("-f", "--force", ""),
            ("-q", "--quiet", ""),
            ("-D", "--debug", ""),
        ];
        for (short, long, value) in all {
            let parsed = |option: &str| format!("{:?}", args(&format!("{option} {value} x")));
            assert_eq!(parsed(short), parsed(long), "{short} {long}");
            assert_ne!(parsed(short), format!("{:?}", args("x")), "{short}");
        }
    }

    #[test]
    fn bursts_and_gaps_are_a_bandwidth() {
        assert_eq!(args("-G 2000 x").settings(8912).bits_per_sec, Some(71_296_000));
        assert_eq!(args("-B 10 -G 1000 x").settings(8912).bits_per_sec, Some(89_120_000));
        assert_eq!(args("-B 10 x").settings(8912).bits_per_sec, None);
        assert!(refused("-G 2000 -W 10M x").contains("cannot be used with"));
    }

    #[test]
    fn broadcast_has_a_default_address() {
        assert_eq!(args("-b x").network().group.to_string(), "255.255.255.255");
        assert_eq!(args("-b -m 10.0.0.255 x").network().group.to_string(), "10.0.0.255");
    }

    #[test]
    fn an_image_host_has_what_it_shares_with_one_image_and_nothing_else() {
        let config =
            args("--dir /i -i eth1 -W 10M -T 60 -K 15 --ttl 9 --loop").host_config().unwrap();
        assert_eq!(config.interface, "eth1".parse().unwrap());
        assert_eq!((config.bandwidth, config.idle_secs), (Some(10_000_000), 60));
        assert_eq!((config.keep_alive_secs, config.ttl, config.multicast_loop), (15, 9, true));
        for line in
            ["-m 239.1.2.3", "-b", "--unicast", "-B 4", "-G 9", "-k 9", "-A f", "-f", "-T -1"]
        {
            let error = args(&format!("--dir /i {line}")).host_config().unwrap_err();
            assert!(error.to_string().contains(line.split(' ').next().unwrap()), "{error}");
        }
        assert!(refused("--dir /i disk.ndz").contains("cannot be used with"));
    }

    #[test]
    fn mistakes_are_explained() {
        assert!(refused("-p 0 x").contains("expected a port"));
        assert!(refused("-p 9-7 x").contains("expected a port"));
        assert!(refused("-m host x").contains("not an IP address"));
        assert!(refused("-W fast x").contains("950M"));
        assert!(refused("").contains("<IMAGE>"));
    }
}
