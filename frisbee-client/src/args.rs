//! The command line of frisbee-client.

use crate::methods::MethodList;
use crate::show::Shown;
use clap::{ArgAction, Parser};
use imagezip::cli::{EXIT_STATUS_HELP, default_threads, parse_memory, parse_threads};
use imagezip::load::{FreeSpace, MEMORY_PER_WORKER, PlaceOptions};
use imagezip::partition::PartitionKind;
use mcast::InterfaceSelector;
use proto::{DEFAULT_GROUP, DEFAULT_PORT};
use rendezvous::ImageId;
use rendezvous::client::Server;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Load a disk from a frisbee server, together with any number of other machines.
///
/// The server sends each block once for all clients of the group; clients may join at any time,
/// and what one of them misses it asks for again. Before the first write the image is compared
/// with the target; a chunk of the native format reaches the disk only if its digest is right. The
/// partition table is written last: a load that was interrupted never looks whole.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "frisbee-client",
    version,
    disable_version_flag = true,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_STATUS_HELP}"),
    after_help = "See --help for examples and exit statuses."
)]
pub struct Args {
    /// A block device such as /dev/sda, or a file (it appears only when complete)
    #[arg(required_unless_present = "query")]
    pub target: Option<PathBuf>,

    /// Ask this image host for the image; it names group and port (port if not given: -p)
    #[arg(short = 'S', long, value_name = "HOST[:PORT]", requires = "image", conflicts_with_all = ["group", "broadcast"])]
    pub server: Option<Server>,

    /// The image to ask for, by the host's name for it
    #[arg(short = 'F', long, value_name = "NAME", requires = "server")]
    pub image: Option<ImageId>,

    /// While the host says "try again", or cannot be reached (for 5 minutes), ask again after this
    /// long (default: 10 after "try again"; a host that cannot be reached is an error)
    #[arg(short = 'B', long, value_name = "SECONDS", requires = "server", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub busy_interval: Option<u64>,

    /// How the image may be sent, the preferred way first: unicast, multicast, broadcast (or ucast,
    /// mcast, bcast), separated by commas; any leaves it to the host
    #[arg(short = 'X', long, value_name = "METHODS", requires = "server", default_value = "any")]
    pub methods: MethodList,

    /// Print what the host says of the image, and load nothing
    #[arg(short = 'Q', long, requires = "server")]
    pub query: bool,

    /// Tell the host, and ask it for unicast, when nothing has come for this long
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub fallback_after: u64,

    /// Do not ask for unicast when nothing comes; the host is told all the same
    #[arg(long)]
    pub no_fallback: bool,

    /// The group's address: multicast, broadcast, or the server's own for unicast (default:
    /// 239.192.70.82, or 255.255.255.255 with -b)
    #[arg(short = 'm', long, value_name = "ADDRESS")]
    pub group: Option<IpAddr>,

    /// The group's port; with -S, the host's
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = DEFAULT_PORT)]
    pub port: u16,

    /// The network interface, by name or by its address (default: with -S the one towards the server,
    /// else by route)
    #[arg(short = 'i', long, value_name = "INTERFACE")]
    pub interface: Option<InterfaceSelector>,

    /// Use broadcast instead of multicast
    #[arg(short = 'b', long)]
    pub broadcast: bool,

    /// Restore a one-partition image into this partition of TARGET
    #[arg(short = 's', long, value_name = "N")]
    pub slice: Option<u32>,

    /// Set the type of that partition: a byte such as 0x83, or a GUID
    #[arg(short = 'D', long = "type", value_name = "TYPE", requires = "slice")]
    pub kind: Option<PartitionKind>,

    /// Make free space zero
    #[arg(short = 'z', long, conflicts_with = "trim")]
    pub zero: bool,

    /// Discard free space (TRIM), for SSDs and sparse files
    #[arg(short = 'E', long)]
    pub trim: bool,

    /// Take the file as it is: any file, not decompressed
    #[arg(short = 'N', long, conflicts_with_all = ["slice", "zero", "trim", "verify", "keep_gpt"])]
    pub raw: bool,

    /// Take an existing file as a disk of its size and write into it, instead of replacing it
    #[arg(long)]
    pub in_place: bool,

    /// Leave the GPT as it is in the image, whatever the size of the target
    #[arg(long)]
    pub keep_gpt: bool,

    /// Join, check whether the image suits the target, and write nothing
    #[arg(long, conflicts_with_all = ["verify", "raw"])]
    pub check_only: bool,

    /// Read everything back from the device, not from the cache, and compare
    #[arg(long)]
    pub verify: bool,

    /// Write past the page cache
    #[arg(short = 'O', long)]
    pub direct: bool,

    /// Give up when nothing new has come for this long, and say what was seen (default: wait for
    /// ever)
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,

    /// Join the group anew when nothing was heard for this long, for switches that forget members
    #[arg(short = 'K', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_alive: Option<u64>,

    /// Most memory to use, such as 256M (default: a quarter of the machine's, at most 512M)
    #[arg(short = 'M', long, value_name = "SIZE", value_parser = parse_memory)]
    pub memory: Option<u64>,

    /// Chunk buffers of 1 MiB for what arrives (default: what -M leaves)
    #[arg(short = 'C', long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=65536))]
    pub chunk_buffers: Option<u32>,

    /// Of that memory, most for decompression and writing: 12 MiB a thread
    #[arg(short = 'W', long, value_name = "SIZE", value_parser = parse_memory)]
    pub write_memory: Option<u64>,

    /// The kernel's receive buffer, if larger than the default of 32768 KiB
    #[arg(short = 'k', long, value_name = "KIB", value_parser = clap::value_parser!(u32).range(1..=524_288))]
    pub socket_buffer: Option<u32>,

    /// Threads that decompress and write (default: one a core)
    #[arg(long, value_name = "N", default_value_t = default_threads(), hide_default_value = true, value_parser = parse_threads)]
    pub threads: usize,

    /// Print no progress and no summary
    #[arg(short = 'q', long, conflicts_with = "progress_lines")]
    pub quiet: bool,

    /// Print "Progress: N% seconds chunks-left" lines even on a terminal (default elsewhere)
    #[arg(long)]
    pub progress_lines: bool,

    /// Print JSON objects, one a line, on standard output: found, joined, fallback, progress, done or
    /// failed. In failed, class is refused, server, network, disk, damaged, interrupted or failed
    #[arg(long)]
    pub json: bool,

    /// Say more of what is done; twice for more still
    #[arg(short = 'd', long, action = ArgAction::Count)]
    pub debug: u8,

    /// Accepted for scripts of the deployed client; a mounted or busy disk is refused all the same
    #[arg(short = 'f', long)]
    pub force: bool,

    /// Accepted for scripts of the deployed client; when to ask again is measured
    #[arg(short = 'I', long, value_name = "MS", hide_short_help = true)]
    pub idle_timer: Option<u64>,

    /// Accepted for scripts of the deployed client; when to ask again is measured
    #[arg(short = 'R', long, value_name = "MS", hide_short_help = true)]
    pub redo_delay: Option<u64>,

    /// Accepted for scripts of the deployed client; waiting costs nothing
    #[arg(short = 'P', long, value_name = "MS", hide_short_help = true)]
    pub packet_timeout: Option<u64>,

    /// Accepted for scripts of the deployed client
    #[arg(short = 'H', value_name = "N", hide_short_help = true)]
    pub deployed_h: Option<u64>,

    /// Print the version
    #[arg(short = 'v', long = "version", action = ArgAction::Version)]
    pub version: Option<bool>,
}

/// For `--help`.
const EXAMPLES: &str = "\
Examples:
  frisbee-client /dev/sda                     load what the server of the default group sends
  frisbee-client --verify /dev/sda            ... and read it back from the disk
  frisbee-client -S boss -F lab/ubuntu.ndz /dev/sda
                                              ask the image host \"boss\" where it is to be had
  frisbee-client -S boss -F lab/ubuntu.ndz -Q what does the host know of it?
  frisbee-client -m 239.192.1.2 -p 7000 -i eth1 /dev/nvme0n1
  frisbee-client -s 2 /dev/sda                load a one-partition image into partition 2
  frisbee-client -N boot.iso                  load any file
  frisbee-client --check-only /dev/sda        would it fit?
  frisbee-client -T 60 --json /dev/sda        for scripts: give up after 60 s without news
  frisbee-client doctor --server HOST         does multicast get here? (a file of that name: ./doctor)

If nothing arrives: is the server on the same group and port? Is it the right interface (-i)? Does
a firewall drop UDP? Does the switch forward multicast (IGMP snooping needs a querier)? -T says
what was seen; `frisbee-client doctor` finds out.";

/// Memory used when `-M` is not given, at most.
const MEMORY_DEFAULT_MAX: u64 = 512 << 20;

/// What is used besides buffers and workers.
const MEMORY_OTHER: u64 = 8 << 20;

/// Chunk buffers at least; with fewer the network waits for the disk at every chunk.
const SLOTS_MIN: u64 = 4;

/// Chunk buffers at most: 10 Gb/s for a second and a half.
const SLOTS_MAX: u64 = 2048;

/// How the memory is divided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Shares {
    /// Threads that decompress and write.
    pub(crate) threads: usize,
    /// Chunk buffers.
    pub(crate) slots: u32,
}

impl Args {
    /// What becomes of free space.
    pub(crate) fn free_space(&self) -> FreeSpace {
        match (self.zero, self.trim) {
            (true, _) => FreeSpace::Zero,
            (_, true) => FreeSpace::Trim,
            _ => FreeSpace::Leave,
        }
    }

    /// How the target is taken.
    pub(crate) fn place(&self) -> PlaceOptions {
        PlaceOptions {
            slice: self.slice,
            kind: self.kind,
            in_place: self.in_place,
            keep_gpt: self.keep_gpt,
            direct: self.direct,
        }
    }

    /// What is to be loaded; empty for a query.
    pub fn target(&self) -> &Path {
        self.target.as_deref().unwrap_or(Path::new(""))
    }

    /// The group to join.
    pub(crate) fn group(&self) -> IpAddr {
        let default = if self.broadcast { Ipv4Addr::BROADCAST } else { DEFAULT_GROUP };
        self.group.unwrap_or(IpAddr::V4(default))
    }

    /// How progress is shown.
    pub fn shown(&self) -> Shown {
        match () {
            () if self.json => Shown::Json,
            () if self.quiet => Shown::Nothing,
            () if self.progress_lines => Shown::Lines,
            () => Shown::Auto,
        }
    }

    /// Threads and buffers for a machine with this much memory.
    pub(crate) fn shares(&self, machine_bytes: u64) -> Shares {
        let memory = self.memory.unwrap_or((machine_bytes / 4).min(MEMORY_DEFAULT_MAX));
        let for_workers = self.write_memory.unwrap_or(memory / 2).min(memory);
        let most = usize::try_from(for_workers / MEMORY_PER_WORKER).unwrap_or(usize::MAX);
        let threads = self.threads.min(most).max(1);
        let workers = MEMORY_PER_WORKER.saturating_mul(u64::try_from(threads).unwrap_or(1));
        let left = memory.saturating_sub(workers).saturating_sub(MEMORY_OTHER) >> 20;
        let slots = u32::try_from(left.clamp(SLOTS_MIN, SLOTS_MAX)).unwrap_or(u32::MAX);
        Shares { threads, slots: self.chunk_buffers.unwrap_or(slots) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(more: &[&str]) -> Args {
        let all = ["frisbee-client", "--threads", "4", "disk"].into_iter();
        Args::try_parse_from(all.chain(more.iter().copied())).unwrap()
    }

    #[test]
    fn memory_is_divided_and_bounded() {
        let shares = |more: &[&str], machine: u64| args(more).shares(machine << 20);
        assert_eq!(shares(&[], 64 << 10), Shares { threads: 4, slots: 512 - 48 - 8 });
        assert_eq!(shares(&[], 1024), Shares { threads: 4, slots: 256 - 48 - 8 });
        assert_eq!(shares(&["-M", "64"], 1024), Shares { threads: 2, slots: 32 });
        assert_eq!(shares(&["-M", "1"], 1024), Shares { threads: 1, slots: 4 });
        assert_eq!(shares(&["-W", "24", "-C", "64"], 1024), Shares { threads: 2, slots: 64 });
    }

    #[test]
    fn the_letters_of_deployed_scripts_are_understood() {
        let args = args(&["-f", "-i", "10.0.0.2", "-M", "128", "-k", "1024", "-z", "-K", "30"]);
        assert_eq!((args.keep_alive, args.socket_buffer), (Some(30), Some(1024)));
        assert_eq!(args.free_space(), FreeSpace::Zero);
        assert_eq!(args.interface, Some(InterfaceSelector::ByAddress("10.0.0.2".parse().unwrap())));
        let all = "-I 90 -R 1000 -P 30 -T 60 -C 64 -W 64 -q -O -b -m 10.255.255.255 -p 7000";
        let args = self::args(&all.split(' ').collect::<Vec<_>>());
        assert_eq!((args.port, args.timeout, args.direct), (7000, Some(60), true));
    }

    #[test]
    fn the_boot_script_of_a_testbed_is_understood() {
        let line = "-S 10.1.1.1 -B 30 -F proj/image -f -i 10.0.0.2 -M 128 -k 1024 -z -K 30 -H 2 \
                    -s 1 -D 0x83";
        let args = args(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(args.server.unwrap().to_string(), "10.1.1.1:64494");
        assert_eq!(args.image.unwrap().as_str(), Some("proj/image"));
        assert_eq!((args.busy_interval, args.slice), (Some(30), Some(1)));
        assert_eq!(args.interface, Some(InterfaceSelector::ByAddress("10.0.0.2".parse().unwrap())));
        let refused = |words: &str| {
            let words = ["frisbee-client", "disk"].into_iter().chain(words.split_whitespace());
            Args::try_parse_from(words).unwrap_err().to_string()
        };
        assert!(refused("-S boss").contains("--image"));
        assert!(refused("-F image").contains("--server"));
        assert!(refused("-S boss -F image -m 239.1.2.3").contains("cannot be used"));
        assert!(refused("-S boss -F image -X smoke").contains("expected unicast"));
        let query = ["frisbee-client", "-S", "boss", "-F", "image", "-Q"];
        assert!(Args::try_parse_from(query).unwrap().target.is_none());
        assert!(Args::try_parse_from(["frisbee-client"]).is_err());
    }

    #[test]
    fn every_letter_has_a_long_name_that_means_the_same() {
        let all = [
            ("-s", "--slice", "2"),
            ("-z", "--zero", ""),
            ("-E", "--trim", ""),
            ("-N", "--raw", ""),
            ("-T", "--timeout", "60"),
            ("-K", "--keep-alive", "30"),
            ("-b", "--broadcast", ""),
            ("-q", "--quiet", ""),
            ("-O", "--direct", ""),
            ("-f", "--force", ""),
            ("-k", "--socket-buffer", "1024"),
            ("-C", "--chunk-buffers", "64"),
            ("-W", "--write-memory", "64"),
            ("-M", "--memory", "128"),
            ("-I", "--idle-timer", "90"),
            ("-R", "--redo-delay", "1000"),
            ("-P", "--packet-timeout", "30"),
            ("-m", "--group", "239.1.2.3"),
            ("-p", "--port", "7000"),
            ("-i", "--interface", "eth1"),
            ("-d", "--debug", ""),
        ];
        let parsed = |words: &[&str]| {
            let words: Vec<_> = words.iter().copied().filter(|word| !word.is_empty()).collect();
            format!("{:?}", args(&words))
        };
        for (short, long, value) in all {
            assert_eq!(parsed(&[short, value]), parsed(&[long, value]), "{short} {long}");
            assert_ne!(parsed(&[short, value]), parsed(&[]), "{short}");
        }
        let kind = |option| parsed(&["-s", "2", option, "0x83"]);
        assert_eq!(kind("-D"), kind("--type"));
        for only_long in ["--verify", "--check-only", "--in-place", "--json", "--keep-gpt"] {
            assert_ne!(parsed(&[only_long]), parsed(&[]));
        }
    }

    #[test]
    fn groups_have_defaults() {
        assert_eq!(args(&[]).group(), IpAddr::V4(DEFAULT_GROUP));
        assert_eq!(args(&["-b"]).group(), IpAddr::V4(Ipv4Addr::BROADCAST));
        let help = <Args as clap::CommandFactory>::command().render_long_help().to_string();
        assert!(help.contains(&DEFAULT_GROUP.to_string()), "{help}");
    }
}
