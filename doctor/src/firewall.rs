//! Which rules of this machine's firewall may drop a test, and a load.
//!
//! What it owns: reading what `nft list ruleset` or `iptables-save` print, and the guess which rules
//! could match. What it never does: be sure. A firewall is a program; this looks at each rule by
//! itself. A rule is suspected when it drops and nothing that is understood here keeps it from
//! matching; what is not understood counts as matching.

use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::process::{Command, Stdio};

/// More rules than this are not read: a bound on time and memory.
const RULES_LEN_MAX: u64 = 4 << 20;

/// Chains that jump to each other are followed this deep.
const DEPTH_MAX: u32 = 16;

/// The datagrams that must pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Traffic {
    /// Their UDP port, at both ends.
    pub port: u16,
    /// The interface they pass.
    pub interface: String,
    /// Where they go: the group and our own addresses.
    pub addresses: Vec<IpAddr>,
    /// True for those that arrive, false for those that leave.
    pub arriving: bool,
}

/// A rule that may drop them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Suspicion {
    /// Where it stands: family, table and chain.
    pub chain: String,
    /// The rule, as the firewall's own tool prints it.
    pub rule: String,
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` in chain {}", self.rule, self.chain)
    }
}

/// What is known of the firewall.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Rules {
    /// What a tool printed.
    Nft(String),
    /// What a tool printed.
    Iptables(String),
    /// Nothing: no tool, or not root.
    Unknown(&'static str),
}

impl Rules {
    /// Asks the tools.
    pub(crate) fn read() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::Unknown("only root can see its rules");
        }
        match (run("nft", &["list", "ruleset"]), run("iptables-save", &[])) {
            // iptables today writes its rules into the same kernel tables.
            (Some(rules), _) if !rules.trim().is_empty() => Self::Nft(rules),
            (_, Some(rules)) => Self::Iptables(rules),
            (Some(none), None) => Self::Nft(none),
            (None, None) => Self::Unknown("neither `nft` nor `iptables-save` is installed"),
        }
    }

    /// Rules that may drop this traffic; `None` when nothing is known.
    pub(crate) fn suspicions(&self, traffic: &Traffic) -> Option<Vec<Suspicion>> {
        match self {
            Self::Nft(text) | Self::Iptables(text) => Some(suspicions(text, traffic)),
            Self::Unknown(_) => None,
        }
    }
}

/// What a tool prints; `None` when it is missing or fails.
fn run(tool: &str, args: &[&str]) -> Option<String> {
    let start = |program: &str| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    };
    // A user's PATH may lack where Debian puts it.
    let mut child = start(tool).or_else(|_| start(&format!("/usr/sbin/{tool}"))).ok()?;
    let mut text = Vec::new();
    let read = child.stdout.take()?.take(RULES_LEN_MAX).read_to_end(&mut text);
    // It may still want to print more.
    let _ = child.kill();
    let _ = child.wait();
    read.ok().map(|_| String::from_utf8_lossy(&text).into_owned())
}

/// A chain of rules, with words of nftables whichever tool printed them.
#[derive(Debug, Default)]
struct Chain<'a> {
    family: &'a str,
    table: &'a str,
    name: &'a str,
    /// Where the kernel calls it, if it does.
    hook: Option<String>,
    drops_by_policy: bool,
    /// As printed, and as words.
    rules: Vec<(&'a str, Vec<String>)>,
}

/// Rules that may drop this traffic, from what `nft list ruleset` or `iptables-save` print.
pub fn suspicions(text: &str, traffic: &Traffic) -> Vec<Suspicion> {
    let is_iptables = text.lines().any(|line| line.starts_with("-A ") || line.starts_with(':'));
    let chains = if is_iptables { parse_iptables(text) } else { parse_nft(text) };
    let mut found = Vec::new();
    for base in chains.iter().filter(|chain| chain.is_called_for(traffic)) {
        let mut reached = vec![base];
        reach(&chains, base, &mut reached, 0);
        let rules = || reached.iter().flat_map(|chain| chain.rules.iter().map(|r| (*chain, r)));
        for (chain, (rule, words)) in rules() {
            if has(words, &["drop", "reject"]) && could_match(words, traffic) {
                found.push(Suspicion { chain: chain.title(), rule: (*rule).to_owned() });
            }
        }
        let accepted = rules().any(|(_, (_, words))| accepts(words, traffic));
        if base.drops_by_policy && !accepted {
            found.push(Suspicion { chain: base.title(), rule: "policy drop".to_owned() });
        }
    }
    found.dedup();
    found
}

impl Chain<'_> {
    fn title(&self) -> String {
        format!("{} {} {}", self.family, self.table, self.name)
    }

    fn is_called_for(&self, traffic: &Traffic) -> bool {
        let v4 = traffic.addresses.first().is_none_or(IpAddr::is_ipv4);
        let family = match self.family {
            "ip" => v4,
            "ip6" => !v4,
            "arp" => false,
            _ => true,
        };
        let hooks: &[&str] = if traffic.arriving {
            &["ingress", "prerouting", "input"]
        } else {
            &["output", "postrouting", "egress"]
        };
        family && self.hook.as_deref().is_some_and(|hook| hooks.contains(&hook))
    }
}

/// Collects the chains that a chain jumps to.
fn reach<'c, 'a>(
    chains: &'c [Chain<'a>],
    from: &'c Chain<'a>,
    reached: &mut Vec<&'c Chain<'a>>,
    depth: u32,
) {
    let jumps = from.rules.iter().flat_map(|(_, words)| {
        words.windows(2).filter_map(|pair| match pair {
            [verb, to] if verb == "jump" || verb == "goto" => Some(to.clone()),
            _ => None,
        })
    });
    for to in jumps {
        let same = |chain: &&Chain<'_>| {
            (chain.family, chain.table, chain.name) == (from.family, from.table, to.as_str())
        };
        if let Some(chain) = chains.iter().find(same)
            && depth < DEPTH_MAX
            && !reached.iter().any(|known| std::ptr::eq(*known, chain))
        {
            reached.push(chain);
            reach(chains, chain, reached, depth + 1);
        }
    }
}

fn parse_nft(text: &str) -> Vec<Chain<'_>> {
    let mut chains: Vec<Chain<'_>> = Vec::new();
    let (mut family, mut table) = ("", "");
    // What each open brace belongs to: a chain or something else.
    let mut open: Vec<bool> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let opened = line.matches('{').count();
        let closed = line.matches('}').count();
        let mut words = line.split_whitespace();
        let head = (words.next(), words.next(), words.next());
        match head {
            (Some("table"), Some(of), Some(name)) if opened > closed => {
                (family, table) = (of, name);
            }
            (Some("chain"), Some(name), _) if opened > closed => {
                chains.push(Chain { family, table, name, ..Chain::default() });
            }
            (Some("type"), ..) if open.last() == Some(&true) => {
                if let Some(chain) = chains.last_mut() {
                    let mut words = line.split_whitespace().skip_while(|word| *word != "hook");
                    chain.hook = words.nth(1).map(str::to_owned);
                    chain.drops_by_policy = line.contains("policy drop");
                }
            }
            _ if open.last() == Some(&true) && opened == closed => {
                if let Some(chain) = chains.last_mut() {
                    chain.rules.push((line, nft_words(line)));
                }
            }
            _ => {}
        }
        for _ in closed..opened {
            open.push(matches!(head, (Some("chain"), ..)));
        }
        for _ in opened..closed {
            open.pop();
        }
    }
    chains
}

fn nft_words(rule: &str) -> Vec<String> {
    // What people wrote about it is no rule.
    let rule = rule.split(" comment ").next().unwrap_or_default();
    let separators = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ',' | '"');
    rule.split(separators).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn parse_iptables(text: &str) -> Vec<Chain<'_>> {
    let mut chains: Vec<Chain<'_>> = Vec::new();
    let mut table = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(chain) = line.strip_prefix(':') {
            let (name, rest) = chain.split_once(' ').unwrap_or((chain, ""));
            let hook = ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"].contains(&name);
            chains.push(Chain {
                family: "ip",
                table,
                name,
                hook: hook.then(|| name.to_ascii_lowercase()),
                drops_by_policy: rest.starts_with("DROP"),
                ..Chain::default()
            });
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let name = rule.split_whitespace().next().unwrap_or_default();
            let same = |chain: &&mut Chain<'_>| (chain.table, chain.name) == (table, name);
            if let Some(chain) = chains.iter_mut().find(same) {
                chain.rules.push((line, iptables_words(rule)));
            }
        }
    }
    chains
}

/// The options of a rule as words of nftables.
fn iptables_words(rule: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut input = rule.split_whitespace().skip(1);
    let mut not = false;
    while let Some(option) = input.next() {
        if option == "!" {
            not = true;
            continue;
        }
        let names: &[&str] = match option {
            "-p" => &["protocol"],
            "-i" => &["iifname"],
            "-o" => &["oifname"],
            "-d" => &["ip", "daddr"],
            "--dport" | "--dports" | "--destination-ports" => &["dport"],
            "--sport" | "--sports" | "--source-ports" => &["sport"],
            "--ctstate" | "--state" => &["ct", "state"],
            "-j" | "-g" => {
                let target = input.next().unwrap_or_default();
                match target {
                    "DROP" | "REJECT" | "ACCEPT" => words.push(target.to_ascii_lowercase()),
                    _ => words.extend(["jump".to_owned(), target.to_owned()]),
                }
                continue;
            }
            "-m" => {
                input.next();
                continue;
            }
            _ => continue,
        };
        words.extend(names.iter().map(|name| (*name).to_owned()));
        if std::mem::take(&mut not) {
            words.push("!=".to_owned());
        }
        let values = input.next().unwrap_or_default().split(',');
        // A range of ports is written 1:9.
        words.extend(values.map(|value| value.replace(':', "-").to_ascii_lowercase()));
    }
    words
}

fn has(words: &[String], any: &[&str]) -> bool {
    words.iter().any(|word| any.contains(&word.as_str()))
}

/// What follows a word, up to the next that is no value: with `true` when it is excluded (`!=`).
fn values<'w>(words: &'w [String], after: &str) -> Option<(bool, Vec<&'w str>)> {
    let at = words.iter().position(|word| word == after)?;
    let mut rest = words.iter().skip(at + 1).map(String::as_str).peekable();
    let not = rest.next_if_eq(&"!=").is_some();
    let first = rest.next()?;
    let value = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let more = rest.take_while(value);
    Some((not, std::iter::once(first).chain(more).collect()))
}

/// True when nothing that is understood keeps a rule from matching.
fn could_match(words: &[String], traffic: &Traffic) -> bool {
    let other_protocol = has(words, &["tcp", "icmp", "icmpv6", "ipv6-icmp", "sctp", "esp"]);
    if other_protocol && !has(words, &["udp", "igmp", "!="]) {
        return false;
    }
    let v4 = traffic.addresses.first().is_none_or(IpAddr::is_ipv4);
    if has(words, &[if v4 { "ip6" } else { "ip" }]) {
        return false;
    }
    let excludes = |after: &str, matches: &dyn Fn(&str) -> Option<bool>| {
        values(words, after).is_some_and(|(not, values)| {
            let found: Option<Vec<bool>> = values.into_iter().map(matches).collect();
            found.is_some_and(|found| found.contains(&true) == not)
        })
    };
    let port = |text: &str| port_matches(text, traffic.port);
    let interface = |text: &str| {
        Some(match text.strip_suffix(['*', '+']) {
            Some(prefix) => traffic.interface.starts_with(prefix),
            None => text == traffic.interface,
        })
    };
    let address = |text: &str| {
        let found: Option<Vec<_>> =
            traffic.addresses.iter().map(|ip| address_matches(text, *ip)).collect();
        found.map(|found| found.contains(&true))
    };
    let (arriving, name) = if traffic.arriving { ("iifname", "iif") } else { ("oifname", "oif") };
    let only_invalid = values(words, "state").is_some_and(|(not, found)| {
        !not && found.iter().all(|state| state.eq_ignore_ascii_case("invalid"))
    });
    !(excludes("dport", &port)
        || excludes("sport", &port)
        || excludes(arriving, &interface)
        || excludes(name, &interface)
        || excludes("daddr", &address)
        || only_invalid)
}

/// True when a rule lets new datagrams of this traffic pass.
fn accepts(words: &[String], traffic: &Traffic) -> bool {
    let state = values(words, "state");
    let old_only = state.is_some_and(|(not, _)| !not && !has(words, &["new"]));
    has(words, &["accept"]) && !old_only && could_match(words, traffic)
}

/// Whether a number or a range holds a port; `None` when it is not understood.
fn port_matches(text: &str, port: u16) -> Option<bool> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    Some((first..=last).contains(&port))
}

/// Whether an address or a prefix holds an address; `None` when it is not understood.
fn address_matches(text: &str, ip: IpAddr) -> Option<bool> {
    let (network, len) = match text.split_once('/') {
        Some((network, len)) => (network, Some(len.parse::<u32>().ok()?)),
        None => (text, None),
    };
    Some(match (network.parse().ok()?, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let shift = 32u32.checked_sub(len.unwrap_or(32))?;
            let difference = network.to_bits() ^ ip.to_bits();
            difference.checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let shift = 128u32.checked_sub(len.unwrap_or(128))?;
            let difference = network.to_bits() ^ ip.to_bits();
            difference.checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests;
