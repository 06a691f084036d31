//! Small networks of network namespaces: one switch, and nodes with one cable to it.
//!
//! What it is: the ground for tests of programs that talk to each other as on a LAN. What it owns:
//! making the namespaces, losing their packets, slowing their cables, and removing it all, also
//! when the test panics. What it never does: touch the namespace it was called in.
//!
//! Each node has an interface `eth0` with 10.77.0.N and fd77::N (N from 1), a route for multicast,
//! and its own loopback. The bridge lives in a namespace of its own; its port to node N (counted
//! from 0) is `swN`. Needs root and `ip`, `tc` (iproute2), `nft` (nftables) and `ethtool`.

use crate::tools::ready;
use nix::sched::{CloneFlags, setns};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Tools that the helper runs.
const TOOLS: [&str; 4] = ["ip", "tc", "nft", "ethtool"];

/// Names of our namespaces begin so; the process id follows, so that leftovers of a killed test run
/// can be told from those in use.
const PREFIX: &str = "ndz";

/// Where `ip netns` keeps its namespaces.
const FOLDER: &str = "/var/run/netns";

/// More nodes than this do not fit the addresses.
const NODES_MAX: usize = 200;

/// A switch and its nodes. Dropping it removes them.
#[derive(Debug)]
pub struct Network {
    switch: Namespace,
    nodes: Vec<Node>,
}

/// A machine on the network.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    number: usize,
}

/// A network namespace that goes away with this value.
#[derive(Debug)]
struct Namespace {
    name: String,
}

impl Network {
    /// A network of this many nodes, or `None`, said loudly, where it cannot be made.
    ///
    /// # Panics
    /// When a step fails, or when a tool is missing in CI; see [`ready`].
    pub fn new(nodes: usize) -> Option<Self> {
        assert!((1..=NODES_MAX).contains(&nodes), "{nodes} nodes");
        if !ready("network of namespaces", &TOOLS, true) {
            return None;
        }
        remove_leftovers();
        Some(Self::make(nodes))
    }

    fn make(nodes: usize) -> Self {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        let network = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let name = |part: &str| format!("{PREFIX}-{}-{network}-{part}", std::process::id());
        // From here on every namespace is owned, so that a failing step leaves nothing behind.
        let switch = Namespace::add(name("sw"));
        let nodes: Vec<Node> = (0..nodes)
            .map(|number| Node { namespace: Namespace::add(name(&number.to_string())), number })
            .collect();
        let network = Self { switch, nodes };
        network.connect();
        network
    }

    fn connect(&self) {
        // Duplicate address detection would hold IPv6 back for a second.
        for namespace in self.nodes.iter().map(|node| &node.namespace).chain([&self.switch]) {
            namespace.enter(|| {
                for which in ["all", "default"] {
                    let file = format!("/proc/sys/net/ipv6/conf/{which}/accept_dad");
                    // A kernel without IPv6 has no such file and needs none.
                    let _ = fs::write(file, "0");
                }
            });
        }
        // Snooping off: without a querier in the network it would flood all the same.
        let mut cables =
            String::from("link add br0 type bridge mcast_snooping 0\nlink set br0 up\n");
        for node in &self.nodes {
            let (number, name) = (node.number, &node.namespace.name);
            writeln!(cables, "link add sw{number} type veth peer name eth0 netns {name}").unwrap();
            writeln!(cables, "link set sw{number} master br0\nlink set sw{number} up").unwrap();
        }
        self.switch.ip_batch(&cables);
        for node in &self.nodes {
            node.namespace.ip_batch(&format!(
                "link set lo up\nlink set eth0 up\naddr add {}/24 brd + dev eth0\n\
                 addr add {}/64 dev eth0 nodad\nroute add 224.0.0.0/4 dev eth0\n",
                node.ipv4(),
                node.ipv6(),
            ));
        }
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by its number, counted from 0.
    ///
    /// # Panics
    /// When there are not that many.
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }

    /// From now on each UDP datagram that arrives at a node is lost with this probability, in
    /// thousandths, independently of all others. Replaces an earlier call; 0 ends it.
    ///
    /// # Panics
    /// When a tool fails.
    pub fn drop_received(&self, number: usize, per_mille: u32) {
        // The rule sees what the sender handed over: a whole batch unless it is cut before.
        for node in &self.nodes {
            node.segment_early();
        }
        let node = self.node(number);
        let mut rules = String::from("table inet loss {}\ndelete table inet loss\n");
        if per_mille > 0 {
            write!(
                rules,
                "table inet loss {{\n chain input {{\n  type filter hook input priority 0; policy accept;\n  \
                 meta l4proto udp numgen random mod 1000 < {per_mille} drop\n }}\n}}\n"
            )
            .unwrap();
        }
        feed(node.command("nft").args(["-f", "-"]), &rules);
    }

    /// Slows the switch's port to a node to this many megabits per second, with a queue of 20 ms:
    /// what does not fit is lost, as in a real switch.
    ///
    /// # Panics
    /// When a tool fails.
    pub fn limit_received(&self, number: usize, mbit: u32) {
        let (port, rate) = (format!("sw{number}"), format!("{mbit}mbit"));
        let tbf = ["root", "tbf", "rate", rate.as_str(), "burst", "64kb", "latency", "20ms"];
        feed(self.switch.command("tc").args(["qdisc", "replace", "dev", &port]).args(tbf), "");
    }

    /// Turns IGMP snooping on in the switch: it forwards a group only to members, and forgets one
    /// that was not heard for `membership_ms`. As in real switches, it does so once it has heard a
    /// querier, and counts on it for the rest of the test.
    ///
    /// # Panics
    /// When `ip` fails.
    pub fn snoop(&self, membership_ms: u32) {
        // In hundredths of a second, and the other querier's in the same.
        let membership = membership_ms / 10;
        self.switch.ip_batch(&format!(
            "link set br0 type bridge mcast_snooping 1 mcast_querier 0 mcast_igmp_version 2 \
             mcast_membership_interval {membership} mcast_querier_interval 60000\n"
        ));
    }

    /// The groups that the switch forwards to a node at the moment, as `bridge mdb` prints them.
    ///
    /// # Panics
    /// When `bridge` fails.
    pub fn memberships(&self, number: usize) -> Vec<String> {
        let output = self.switch.command("bridge").args(["mdb", "show"]).output();
        let output = output.unwrap_or_else(|error| panic!("bridge: {error}"));
        assert!(output.status.success(), "{output:?}");
        let (text, port) = (String::from_utf8_lossy(&output.stdout), format!("sw{number}"));
        let after = |line: &str, word: &str| {
            line.split_whitespace().skip_while(|w| *w != word).nth(1).map(str::to_owned)
        };
        let of_port = text.lines().filter(|line| after(line, "port").as_deref() == Some(&*port));
        of_port.filter_map(|line| after(line, "grp")).collect()
    }

    /// Has a port of the switch forward no multicast that it knows no member for: what happens in
    /// switches that prune from the start.
    ///
    /// # Panics
    /// When `bridge` fails.
    pub fn prune(&self, number: usize) {
        let port = format!("sw{number}");
        feed(
            self.switch.command("bridge").args(["link", "set", "dev", &port, "mcast_flood", "off"]),
            "",
        );
    }

    /// A port of the switch for a virtual machine: a tap of this name, which QEMU takes when it is
    /// started by [`Network::switch_command`]. It goes away with the switch.
    ///
    /// # Panics
    /// When `ip` refuses, for example because the name is taken.
    pub fn add_tap(&self, name: &str) {
        self.switch.ip_batch(&format!(
            "tuntap add dev {name} mode tap\nlink set {name} master br0\nlink set {name} up\n"
        ));
    }

    /// A command that will run where the switch is, as a virtual machine must that has a tap there.
    pub fn switch_command(&self, program: &str) -> Command {
        self.switch.command(program)
    }

    /// Pulls a node's cable out of the switch for this long, which is what the test is about.
    ///
    /// # Panics
    /// When a tool fails.
    pub fn cut_off(&self, number: usize, span: Duration) {
        self.set_cable(number, false);
        thread::sleep(span);
        self.set_cable(number, true);
    }

    /// Pulls a node's cable out of the switch, or puts it back: the node loses its carrier.
    ///
    /// # Panics
    /// When a tool fails.
    pub fn set_cable(&self, number: usize, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        self.switch.ip_batch(&format!("link set sw{number} {state}\n"));
    }
}

impl Node {
    /// The name of its namespace, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.namespace.name
    }

    /// The IPv4 address of `eth0`.
    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, u8::try_from(self.number + 1).expect("at most 200 nodes"))
    }

    /// The IPv6 address of `eth0`.
    pub fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(
            0xfd77,
            0,
            0,
            0,
            0,
            0,
            0,
            u16::try_from(self.number + 1).expect("at most 200 nodes"),
        )
    }

    /// A command that will run on this node.
    pub fn command(&self, program: &str) -> Command {
        self.namespace.command(program)
    }

    /// Runs a closure on this node, in a thread of its own, and waits for it. Sockets it opens stay
    /// on the node wherever they go.
    ///
    /// # Panics
    /// When the closure does.
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(run)
    }

    /// Starts a thread on this node.
    pub fn spawn<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let name = self.namespace.name.clone();
        thread::spawn(move || {
            move_this_thread(&name);
            run()
        })
    }

    /// Changes this node with `ip -batch` lines, such as `link set eth0 down`.
    ///
    /// # Panics
    /// When `ip` refuses a line.
    pub fn ip(&self, lines: &str) {
        self.namespace.ip_batch(lines);
    }

    /// Makes this node's kernel cut a batch into datagrams before they leave, so that the network
    /// loses single datagrams and not batches.
    ///
    /// # Panics
    /// When `ethtool` fails.
    pub fn segment_early(&self) {
        feed(self.command("ethtool").args(["-K", "eth0", "tx-udp-segmentation", "off"]), "");
    }

    /// Slows what this node sends to this many kilobits per second, with a queue of this many
    /// bytes; the kernel tells a sender when it is full.
    ///
    /// # Panics
    /// When a tool fails.
    pub fn limit_sent(&self, kbit: u32, queue_bytes: u32) {
        let (rate, queue) = (format!("{kbit}kbit"), queue_bytes.to_string());
        let tbf = ["root", "tbf", "rate", rate.as_str(), "burst", "4kb", "limit", queue.as_str()];
        feed(self.command("tc").args(["qdisc", "replace", "dev", "eth0"]).args(tbf), "");
    }
}

impl Namespace {
    fn add(name: String) -> Self {
        feed(Command::new("ip").args(["netns", "add", &name]), "");
        Self { name }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    fn ip_batch(&self, lines: &str) {
        feed(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), lines);
    }

    fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let moved = || {
            move_this_thread(&self.name);
            run()
        };
        thread::scope(|scope| scope.spawn(moved).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Interfaces go with their namespace. This also runs while a panic unwinds: only report.
        match Command::new("ip").args(["netns", "del", &self.name]).output() {
            Ok(output) if output.status.success() => {}
            other => eprintln!("namespace {} was not removed: {other:?}", self.name),
        }
    }
}

fn move_this_thread(name: &str) {
    let path = Path::new(FOLDER).join(name);
    let namespace = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    setns(namespace, CloneFlags::CLONE_NEWNET)
        .unwrap_or_else(|errno| panic!("setns {name}: {errno}"));
}

/// Runs a command with this text as its input.
fn feed(command: &mut Command, input: &str) {
    let run = |command: &mut Command| -> std::io::Result<_> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A tool that dies early says why itself.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output()
    };
    let output = run(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}\n{input}", output.status);
}

/// Removes namespaces of test runs that were killed.
fn remove_leftovers() {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        let mut parts = name.split('-');
        let ours = parts.next() == Some(PREFIX);
        let pid = parts.next().and_then(|pid| pid.parse::<u32>().ok());
        if ours && pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // Another test may be removing it too.
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}
