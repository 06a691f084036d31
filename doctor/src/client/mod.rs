//! `frisbee-client doctor`: does multicast from a server get here?
//!
//! What it owns: the order of the steps and their time: connect, test the group on every interface,
//! test unicast, look at this machine. What it never does: conclude; [`conclude`] does, from
//! [`Evidence`].

mod conclude;
mod evidence;
mod host;
mod measure;

pub use conclude::conclude;
pub use evidence::{Evidence, Measured};

use crate::args::ClientArgs;
use crate::facts::{Counts, igmp_device};
use crate::finding::{Findings, sentence};
use crate::firewall::{Rules, Traffic};
use crate::listen::Ear;
use crate::tally::Stretch;
use host::{Host, NoConnection, NoTest};
use imagezip::cli::{Exit, print, say};
use mcast::{GroupAddress, Interface, InterfaceSelector, ProbeReceiver};
use measure::{LATE_MAX, Place, duration, measure};
use rendezvous::frame::{Test, TestStart};
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Interfaces that are listened on beside the one chosen.
const OTHERS_MAX: usize = 15;

/// Seconds of the unicast test.
const UNICAST_SECONDS: u32 = 1;

/// Longest single test of the protocol, in seconds; longer ones are put together.
const ROUND_SECONDS_MAX: u32 = 10;

/// Runs the doctor and prints what it finds; the exit status.
pub fn main(args: &ClientArgs) -> ExitCode {
    let (findings, measured) = examine(args);
    let text =
        if args.json { format!("{}\n", findings.json(measured)) } else { findings.to_string() };
    let exit = if findings.is_well() { Exit::Done } else { Exit::Failed };
    if let Err(error) = print(&text) {
        say(format_args!("frisbee-client doctor: cannot print: {error}"));
        return Exit::Failed.into();
    }
    exit.into()
}

/// Runs the doctor: what it finds, and what it measured for programs.
pub fn examine(args: &ClientArgs) -> (Findings, serde_json::Value) {
    let mut findings = Findings::default();
    let (name, port) = args.host();
    let mut host = match Host::connect(&name, port) {
        Ok(host) => host,
        Err(error) => {
            tell_no_connection(&mut findings, &name, port, &error);
            return (findings, json!({}));
        }
    };
    let micros = host.connected_in.as_micros();
    findings.ok(
        "tcp_ok",
        format!(
            "The server answers at {} (TCP, {}.{} ms).",
            host.peer,
            micros / 1000,
            micros / 100 % 10
        ),
    );
    match gather(args, &mut host) {
        Ok(evidence) => {
            conclude(&evidence, &mut findings);
            let measured = json!({
                "server": host.peer.to_string(),
                "interface": evidence.interface,
                "multicast": evidence.multicast.as_ref().map(|m| m.stretch),
                "unicast": evidence.unicast.as_ref().map(|m| m.stretch),
            });
            (findings, measured)
        }
        Err(Trouble::Interface(text)) => {
            findings.fail("interface_unusable", text, "Choose another interface with -i NAME.");
            (findings, json!({}))
        }
        Err(Trouble::NoTest(error)) => {
            tell_no_test(&mut findings, &error);
            (findings, json!({}))
        }
    }
}

/// Why there is no evidence.
enum Trouble {
    Interface(String),
    NoTest(NoTest),
}

impl From<NoTest> for Trouble {
    fn from(error: NoTest) -> Self {
        Self::NoTest(error)
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Trouble {
    Trouble::NoTest(NoTest::Broken(std::io::Error::other(error)))
}

/// Tests multicast and unicast, and looks around.
fn gather(args: &ClientArgs, host: &mut Host) -> Result<Evidence, Trouble> {
    let rules = Rules::read();
    let test = Test {
        seconds: args.seconds.min(ROUND_SECONDS_MAX),
        bits_per_sec: args.rate,
        datagram_bytes: args.size,
        group: None,
        unicast: false,
        port: args.port,
    };
    let toward = Interface::by_address(host.local).ok();
    let mut evidence = Evidence {
        server: Some(host.peer.ip().to_canonical()),
        toward: toward.map(|interface| interface.name().to_owned()),
        ..Evidence::default()
    };
    match host.ask(&test) {
        Ok(start) => test_multicast(args, host, test, start, &mut evidence)?,
        Err(NoTest::Refused(failure)) => evidence.multicast_refused = Some(failure.to_string()),
        Err(error) => return Err(error.into()),
    }
    test_unicast(args, host, &mut evidence)?;
    evidence.suspicions = rules.suspicions(&Traffic {
        port: evidence.multicast.as_ref().map_or(0, |measured| measured.start.port),
        interface: evidence.interface.clone(),
        addresses: evidence
            .multicast
            .iter()
            .map(|measured| measured.start.group)
            .chain([host.local])
            .collect(),
        arriving: true,
    });
    Ok(evidence)
}

/// Joins the group on all interfaces and counts, in as many rounds as were asked for.
fn test_multicast(
    args: &ClientArgs,
    host: &mut Host,
    test: Test,
    start: TestStart,
    evidence: &mut Evidence,
) -> Result<(), Trouble> {
    let unusable = |error: &dyn std::fmt::Display| Trouble::Interface(sentence(&error.to_string()));
    let group = GroupAddress::new(start.group, start.port).map_err(|error| unusable(&error))?;
    let selector = args.interface.clone().unwrap_or_default();
    evidence.by_route = selector == InterfaceSelector::ByRoute;
    let chosen = Interface::select(&selector, &group).map_err(|error| unusable(&error))?;
    evidence.interface = chosen.name().to_owned();
    evidence.running = chosen.is_running();
    evidence.carries_multicast = chosen.carries_multicast();
    let began = Instant::now();
    let receiver = ProbeReceiver::join(group, &chosen).map_err(|error| unusable(&error))?;
    let mut places = vec![Place::new(chosen.name(), receiver)];
    places.extend(others(group, &chosen));
    let ear = Ear::open(&chosen).ok();
    let before = Counts::now();
    let rounds = count_rounds(args, host, test, start, &mut places, began)?;
    let now = Counts::now();
    let mut stretches = rounds.stretches.into_iter();
    let stretch = stretches.next().unwrap_or_default();
    evidence.elsewhere =
        places.iter().skip(1).map(|place| place.name.clone()).zip(stretches).collect();
    evidence.multicast = Some(Measured {
        packets: now.packets_since(&before, chosen.name()),
        reverse_path: now.reverse_path_since(&before),
        stretch,
        half_second: rounds.half_second,
        start: rounds.last,
    });
    evidence.queriers = ear.map(|ear| ear.finish().queriers.into_iter().collect());
    evidence.listened = began.elapsed();
    evidence.older_querier =
        igmp_device(chosen.name()).is_some_and(|device| ["V1", "V2"].contains(&&*device.version));
    Ok(())
}

/// Several tests of a group in a row.
struct Rounds {
    /// What arrived at each place, all rounds together.
    stretches: Vec<Stretch>,
    /// What the server said of the last.
    last: TestStart,
    /// Datagrams in half a second of the last.
    half_second: u64,
}

/// Counts round after round, until the time that was asked for is over.
fn count_rounds(
    args: &ClientArgs,
    host: &mut Host,
    test: Test,
    mut start: TestStart,
    places: &mut [Place],
    began: Instant,
) -> Result<Rounds, Trouble> {
    let end = began + Duration::from_secs(args.seconds.into());
    let mut all: Option<Vec<Stretch>> = None;
    loop {
        let takes = duration(&start, args.size);
        let half_second = measure::half_second(&start, takes);
        let done = host.await_done(takes + LATE_MAX).map_err(broken)?;
        let round = measure(places, &start, began, takes, &done).map_err(broken)?;
        let stretches: Vec<Stretch> = match all {
            None => round,
            Some(earlier) => {
                let both = earlier.iter().zip(&round);
                both.map(|(earlier, later)| earlier.and_then(later, half_second)).collect()
            }
        };
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        let left = u32::try_from(left).unwrap_or(u32::MAX).min(ROUND_SECONDS_MAX);
        let (group, port) = (Some(start.group), Some(start.port));
        let again = Test { seconds: left, group, port, ..test };
        let next = if left > 0 { host.ask(&again).map(Some) } else { Ok(None) };
        match next {
            Ok(Some(next)) => (start, all) = (next, Some(stretches)),
            Ok(None) => return Ok(Rounds { stretches, last: start, half_second }),
            // The first rounds count; a server may limit how often one asks.
            Err(error) => {
                tracing::info!(?error, "the server does not go on");
                return Ok(Rounds { stretches, last: start, half_second });
            }
        }
    }
}

/// The group on the other interfaces, as far as it can be joined there.
fn others(group: GroupAddress, chosen: &Interface) -> Vec<Place> {
    let usable = |interface: &Interface| {
        interface.index() != chosen.index()
            && interface.is_running()
            && interface.carries_multicast()
            && !interface.is_loopback()
            && interface.source_for(&group).is_ok()
    };
    let join = |interface: Interface| {
        let receiver = ProbeReceiver::join(group, &interface).ok()?;
        Some(Place::new(interface.name(), receiver))
    };
    let all = Interface::list().unwrap_or_default().into_iter();
    all.filter(usable).filter_map(join).take(OTHERS_MAX).collect()
}

/// The same to our own address.
fn test_unicast(
    args: &ClientArgs,
    host: &mut Host,
    evidence: &mut Evidence,
) -> Result<(), Trouble> {
    let receiver = ProbeReceiver::at(host.local).map_err(broken)?;
    let port = receiver.local_addr().map_err(broken)?.port();
    let test = Test {
        seconds: UNICAST_SECONDS,
        bits_per_sec: args.rate,
        datagram_bytes: args.size,
        group: None,
        unicast: true,
        port: Some(port),
    };
    let began = Instant::now();
    let start = match host.ask(&test) {
        Ok(start) => start,
        Err(NoTest::Refused(failure)) => {
            evidence.unicast_refused = Some(failure.to_string());
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let interface = evidence.toward.clone().unwrap_or_default();
    let before = Counts::now();
    let takes = duration(&start, args.size);
    let done = host.await_done(takes + LATE_MAX).map_err(broken)?;
    let mut places = [Place::new("unicast", receiver)];
    let stretches = measure(&mut places, &start, began, takes, &done).map_err(broken)?;
    let now = Counts::now();
    evidence.unicast = Some(Measured {
        packets: now.packets_since(&before, &interface),
        reverse_path: now.reverse_path_since(&before),
        stretch: stretches.into_iter().next().unwrap_or_default(),
        half_second: measure::half_second(&start, takes),
        start,
    });
    Ok(())
}

fn tell_no_connection(findings: &mut Findings, name: &str, port: u16, error: &NoConnection) {
    match error {
        NoConnection::Name(error) => findings.fail(
            "name_unknown",
            format!("The name {name} means no address here ({error})."),
            "Give the server's address in numbers, or mend the name service (`getent hosts NAME`).",
        ),
        NoConnection::Refused(peer) => findings.fail(
            "tcp_refused",
            format!("{} is there, but nothing listens on its TCP port {port}.", peer.ip()),
            "Start the image host there (`frisbee-server --dir IMAGES`), or name its rendezvous \
             port: --server HOST:PORT. A firewall that rejects looks the same.",
        ),
        NoConnection::Silent(peer) => findings.fail(
            "tcp_silent",
            format!("{peer} does not answer within 3 s (TCP)."),
            "See whether the server is up (`ping`) and whether a firewall on it, here or on the \
             way drops the port.",
        ),
        NoConnection::Unreachable(peer, error) => findings.fail(
            "tcp_unreachable",
            format!("There is no way from here to {peer} ({error})."),
            "See whether the interface is up and has an address (`ip addr`), and `ip route get` \
             the server.",
        ),
    }
}

fn tell_no_test(findings: &mut Findings, error: &NoTest) {
    match error {
        NoTest::Refused(failure) => findings.fail(
            "test_refused",
            format!("The server sends no test datagrams: {failure}."),
            "Do what it says, or ask its operator.",
        ),
        NoTest::Unknown => findings.fail(
            "server_old",
            "The server does not know this test: it is older, or something else listens there.",
            "Upgrade the server, or name the right port: --server HOST:PORT.",
        ),
        NoTest::Silent => findings.fail(
            "server_silent",
            "The server took the connection but does not answer.",
            "See its log; it may be overloaded, or something else listens on that port.",
        ),
        NoTest::Broken(error) => findings.fail(
            "test_broken",
            format!("The test broke off: {error}."),
            "Try again; see the server's log.",
        ),
    }
}
