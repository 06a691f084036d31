//! The command lines of the two doctors.

use clap::Parser;
use imagezip::cli::parse_bandwidth;
use mcast::InterfaceSelector;
use std::ffi::OsString;
use std::net::IpAddr;

/// What both say at the end of their help.
const EXIT_STATUS: &str = "\
Marks:
  ok    as it should be
  note  good to know
  WARN  may be the reason for trouble, or become one
  FAIL  wrong; the line below says what to do

Exit status:
  0  nothing is wrong (there may be warnings)
  1  something is wrong
  2  the command line makes no sense";

/// Say whether multicast from an image server gets to this machine, and what to do if not.
///
/// Asks the server for test datagrams, first to a group for tests, then to this machine alone, and
/// measures what arrives: within 20 seconds, and without touching any load. Run it as root, and it
/// also hears whether the network has an IGMP querier and reads this machine's firewall.
#[derive(Clone, Debug, Parser)]
#[command(name = "frisbee-client doctor", after_long_help = EXIT_STATUS)]
pub struct ClientArgs {
    /// The image server: a name or an address, with :PORT if its rendezvous port is not 64494
    #[arg(short = 'S', long, value_name = "HOST[:PORT]")]
    pub server: String,

    /// The network interface, by name or by its address (default: by route)
    #[arg(short = 'i', long, value_name = "INTERFACE")]
    pub interface: Option<InterfaceSelector>,

    /// UDP port of the test datagrams (default: the server's choice); name that of your loads where
    /// a firewall knows it
    #[arg(short = 'p', long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..))]
    pub port: Option<u16>,

    /// How long multicast is tested; 300 and more also shows whether a switch forgets members
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,

    /// How fast, in bits per second of UDP payload, such as 20M; servers limit it
    #[arg(long, value_name = "BANDWIDTH", default_value = "20M", value_parser = parse_bandwidth)]
    pub rate: u64,

    /// Bytes of UDP payload in a datagram
    #[arg(long, value_name = "BYTES", default_value_t = 1400, value_parser = clap::value_parser!(u32).range(16..=65_507))]
    pub size: u32,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Say whether this machine can serve images by multicast, and what to do if not.
///
/// Looks at interfaces, routes, memberships, limits and the firewall, sends itself multicast, and
/// listens for an IGMP querier and for other senders on the group. Whether the network carries it is
/// seen from a node: `frisbee-client doctor --server THIS_MACHINE`.
#[derive(Clone, Debug, Parser)]
#[command(name = "frisbee-server doctor", after_long_help = EXIT_STATUS)]
pub struct ServerArgs {
    /// The group of your loads
    #[arg(short = 'm', long, value_name = "ADDRESS", default_value_t = IpAddr::V4(proto::DEFAULT_GROUP))]
    pub group: IpAddr,

    /// The UDP port of your loads
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = proto::DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,

    /// The network interface, by name or by its address (default: by route)
    #[arg(short = 'i', long, value_name = "INTERFACE")]
    pub interface: Option<InterfaceSelector>,

    /// How long to listen for a querier and for other senders; 130 is certain to hear a querier,
    /// which usually asks every 125 s
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,

    /// Also ask for members once, as a querier does (root), and tell which groups are reported. Not
    /// where loads run: a querier with a higher address than ours may fall silent for four minutes
    #[arg(long)]
    pub ask_members: bool,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The doctor's arguments when `doctor` is the first word of a program's command line, and `None`
/// otherwise. A file of that name is still reached as `./doctor`. Ends the process as clap does when
/// the arguments make no sense (status 2) or ask for help.
pub fn asked<A: Parser>(program: &str, words: impl IntoIterator<Item = OsString>) -> Option<A> {
    let mut words = words.into_iter().skip(1);
    words.next().filter(|first| first == "doctor")?;
    Some(A::parse_from(std::iter::once(OsString::from(format!("{program} doctor"))).chain(words)))
}

impl ClientArgs {
    /// The server's name or address, and its rendezvous port.
    pub(crate) fn host(&self) -> (String, u16) {
        let text = self.server.as_str();
        if text.parse::<IpAddr>().is_ok() {
            return (text.to_owned(), rendezvous::PORT);
        }
        let split = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = split.unwrap_or((text, rendezvous::PORT));
        (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed() {
        ClientArgs::command().debug_assert();
        ServerArgs::command().debug_assert();
    }

    #[test]
    fn only_the_first_word_asks_for_the_doctor() {
        let asked = |line: &str| {
            let words = line.split_whitespace().map(OsString::from);
            asked::<ClientArgs>("frisbee-client", words).map(|args| args.server)
        };
        assert_eq!(asked("frisbee-client doctor -S images"), Some("images".to_owned()));
        for line in ["frisbee-client", "frisbee-client ./doctor", "frisbee-client -T 5 doctor"] {
            assert_eq!(asked(line), None, "{line}");
        }
    }

    #[test]
    fn servers_are_named_in_all_usual_ways() {
        let host = |text: &str| {
            let args = ClientArgs::try_parse_from(["doctor", "--server", text]).unwrap();
            args.host()
        };
        let at = |host: &str, port| (host.to_owned(), port);
        assert_eq!(host("images"), at("images", 64494));
        assert_eq!(host("images:7000"), at("images", 7000));
        assert_eq!(host("10.0.0.1"), at("10.0.0.1", 64494));
        assert_eq!(host("10.0.0.1:7000"), at("10.0.0.1", 7000));
        assert_eq!(host("fd77::1"), at("fd77::1", 64494));
        assert_eq!(host("[fd77::1]:7000"), at("fd77::1", 7000));
        assert!(ClientArgs::try_parse_from(["doctor"]).is_err(), "which server?");
    }
}
