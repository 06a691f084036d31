//! What this machine's kernel tells of its network.
//!
//! What it owns: reading `/proc` and `/sys`, and the parsers of what is there. What it never does:
//! judge a number.
//!
//! `/proc/thread-self` instead of `/proc/net`: the latter shows the namespace of the program's first
//! thread, which need not be this thread's.

use mcast::Interface;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

/// An interface as `/proc/net/igmp` tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct IgmpDevice {
    /// Its name.
    pub(crate) name: String,
    /// The version of IGMP in use: `V3` unless an older querier was heard lately, or is configured.
    pub(crate) version: String,
    /// Groups that this machine is a member of on it.
    pub(crate) groups: Vec<Ipv4Addr>,
}

/// Numbers at one moment, to be compared with those at a later one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Packets that each interface received.
    packets: Vec<(String, u64)>,
    /// Packets that the reverse path filter dropped.
    reverse_path: u64,
}

impl Counts {
    /// The numbers now.
    pub(crate) fn now() -> Self {
        Self {
            packets: received_packets(&net_file("dev")),
            reverse_path: counter(&net_file("netstat"), "IPReversePathFilter").unwrap_or(0),
        }
    }

    /// Packets that an interface received since `earlier`.
    pub(crate) fn packets_since(&self, earlier: &Self, interface: &str) -> u64 {
        let of = |counts: &Self| {
            let found = counts.packets.iter().find(|(name, _)| name == interface);
            found.map_or(0, |(_, packets)| *packets)
        };
        of(self).saturating_sub(of(earlier))
    }

    /// Packets that the reverse path filter dropped since `earlier`.
    pub(crate) fn reverse_path_since(&self, earlier: &Self) -> u64 {
        self.reverse_path.saturating_sub(earlier.reverse_path)
    }
}

fn net_file(name: &str) -> String {
    fs::read_to_string(Path::new("/proc/thread-self/net").join(name)).unwrap_or_default()
}

/// This machine's memberships on an interface.
pub(crate) fn igmp_device(interface: &str) -> Option<IgmpDevice> {
    parse_igmp(&net_file("igmp")).into_iter().find(|device| device.name == interface)
}

/// A number of `/proc/sys`, such as `net/core/rmem_max`.
pub(crate) fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok()
}

/// The reverse path filter in force on an interface: 0 none, 1 strict, 2 loose. The kernel takes the
/// larger of two settings.
pub(crate) fn reverse_path_filter(interface: &str) -> u64 {
    let setting = |name: &str| sysctl(&format!("net/ipv4/conf/{name}/rp_filter")).unwrap_or(0);
    setting("all").max(setting(interface))
}

/// A bridge of this machine that an interface is, or is a port of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bridge {
    /// Its name.
    pub(crate) name: String,
    /// It forwards groups only to members.
    pub(crate) snooping: bool,
    /// It asks for members itself.
    pub(crate) querier: bool,
}

/// The bridge that belongs to an interface, if one does.
pub(crate) fn bridge_of(interface: &Interface) -> Option<Bridge> {
    let folder = Path::new("/sys/class/net").join(interface.name());
    let text = |path: &Path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    // sysfs may show another namespace, where another interface has the name.
    if text(&folder.join("ifindex"))? != interface.index().to_string() {
        return None;
    }
    let (name, folder) = if folder.join("bridge").is_dir() {
        (interface.name().to_owned(), folder)
    } else {
        let master = fs::canonicalize(folder.join("brport/bridge")).ok()?;
        (master.file_name()?.to_str()?.to_owned(), master)
    };
    let flag = |file: &str| text(&folder.join("bridge").join(file)).is_some_and(|text| text != "0");
    Some(Bridge { name, snooping: flag("multicast_snooping"), querier: flag("multicast_querier") })
}

/// `/proc/net/igmp`: a line for each interface, and below it one for each group, whose address is
/// written as the machine holds a number.
fn parse_igmp(text: &str) -> Vec<IgmpDevice> {
    let mut devices: Vec<IgmpDevice> = Vec::new();
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        if line.starts_with(char::is_whitespace) {
            let group = words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
            let group = group.map(|number| Ipv4Addr::from(number.to_ne_bytes()));
            if let Some(device) = devices.last_mut() {
                device.groups.extend(group);
            }
        } else if let (Some(_), Some(name)) = (words.next(), words.next()) {
            let version = words.rfind(|word| word.starts_with('V')).unwrap_or_default();
            devices.push(IgmpDevice {
                name: name.trim_end_matches(':').to_owned(),
                version: version.to_owned(),
                groups: Vec::new(),
            });
        }
    }
    devices
}

/// `/proc/net/dev`: received bytes and packets are the first two numbers.
fn received_packets(text: &str) -> Vec<(String, u64)> {
    let of_line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let packets = numbers.split_whitespace().nth(1)?.parse().ok()?;
        Some((name.trim().to_owned(), packets))
    };
    text.lines().filter_map(of_line).collect()
}

/// `/proc/net/netstat`: lines of names, each followed by a line of numbers.
fn counter(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let mut pairs = names.split_whitespace().zip(numbers.split_whitespace());
        if let Some((_, number)) = pairs.find(|(found, _)| *found == name) {
            return number.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn memberships_are_read() {
        let [all, group] = [[224, 0, 0, 1], [239, 192, 70, 83]].map(u32::from_ne_bytes);
        let text = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             1\tlo        :     1      V3\n\t\t\t\t{all:08X}     1 0:00000000\t\t0\n\
             4\tlong-name-eth0:     2      V2\n\t\t\t\t{group:08X}     1 0:00000000\t\t1\n\
             \t\t\t\t{all:08X}     1 0:00000000\t\t0\n"
        );
        let devices = parse_igmp(&text);
        assert_eq!(devices.len(), 2);
        let eth0 = &devices[1];
        assert_eq!((eth0.name.as_str(), eth0.version.as_str()), ("long-name-eth0", "V2"));
        assert_eq!(eth0.groups, [Ipv4Addr::new(239, 192, 70, 83), Ipv4Addr::new(224, 0, 0, 1)]);
        assert!(igmp_device("lo").is_some(), "this machine's");
    }

    #[test]
    fn counters_are_read() {
        let text = "TcpExt: A IPReversePathFilter B\nTcpExt: 1 22 3\nIpExt: C D\nIpExt: 4 5\n";
        assert_eq!(counter(text, "IPReversePathFilter"), Some(22));
        assert_eq!((counter(text, "D"), counter(text, "E")), (Some(5), None));
        let text = "Inter-|   Receive\n face |bytes    packets errs\n  eth0: 100 7 0 0\nlo:1 2 3\n";
        assert_eq!(received_packets(text), [("eth0".to_owned(), 7), ("lo".to_owned(), 2)]);
        let (now, earlier) = (Counts::now(), Counts::default());
        assert_eq!(now.packets_since(&now, "lo"), 0);
        assert!(now.packets_since(&earlier, "lo") > 0 || now.packets.len() == 1);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[ -~\t\n]*") {
            let _ = (parse_igmp(&text), received_packets(&text), counter(&text, "a"));
        }
    }
}
