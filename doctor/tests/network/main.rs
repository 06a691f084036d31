//! The doctor on networks that are well and on networks that are not, each in namespaces: it has to
//! find what is wrong, and within 20 seconds.

mod host;

use clap::Parser;
use doctor::{ClientArgs, Findings, Mark, ServerArgs};
use host::{GROUP, Host, PORT};
use mcast::igmp::QuerierThread;
use mcast::{Interface, InterfaceSelector};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::netns::{Network, Node};
use tests::wait::until;

/// What the doctor promises.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Runs the client's doctor on a node.
fn examine(node: &Node, server: &str, more: &str) -> Findings {
    let line = format!("doctor --server {server} --rate 8M {more}");
    let mut args = ClientArgs::try_parse_from(line.split_whitespace()).unwrap();
    if !more.contains("--for") {
        args.seconds = 1;
    }
    let start = Instant::now();
    let (findings, _) = node.enter(|| doctor::client::examine(&args));
    let took = start.elapsed();
    eprintln!("after {took:?}:\n{findings}");
    assert!(took < TIME_MAX, "took {took:?}");
    findings
}

/// The codes of what is wrong.
fn failures(findings: &Findings) -> Vec<&'static str> {
    let wrong = findings.all().iter().filter(|finding| finding.mark == Mark::Fail);
    wrong.map(|finding| finding.code).collect()
}

/// Replaces a node's firewall by these rules, in a chain for what arrives.
fn firewall(node: &Node, rules: &str) {
    let text = format!(
        "table inet t {{\n chain input {{\n type filter hook input priority 0; policy accept;\n \
         {rules}\n }}\n}}\n"
    );
    let mut nft = node.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());
}

/// A network in which multicast works at this moment: a bridge's port begins to forward a moment
/// after its link is up.
fn network(nodes: usize) -> Option<Network> {
    let network = Network::new(nodes)?;
    // Nothing listens there: a refusal has come from the server.
    let closed = SocketAddr::from((network.node(0).ipv4(), 9));
    for node in network.nodes().iter().skip(1) {
        let refused = || TcpStream::connect_timeout(&closed, Duration::from_secs(1));
        until("the switch forwards", || {
            let answer = node.enter(refused).map_err(|error| error.kind());
            answer.is_err_and(|kind| kind == ErrorKind::ConnectionRefused)
        });
    }
    Some(network)
}

fn address(node: &Node) -> String {
    node.ipv4().to_string()
}

#[test]
fn a_healthy_network_is_well() {
    let Some(network) = network(2) else { return };
    let [server, client] = [network.node(0), network.node(1)];
    let _host = Host::start(server);
    let querier =
        || QuerierThread::start(&Interface::by_name("eth0").unwrap(), Duration::from_millis(500));
    let _querier = server.enter(querier).unwrap();
    let findings = examine(client, &address(server), "");
    assert_eq!(failures(&findings), [""; 0]);
    for code in ["tcp_ok", "multicast_ok", "unicast_ok"] {
        assert!(findings.has(code), "{code}");
    }
    assert!(findings.has("querier_heard") || findings.has("querier_traces"));
    // Other tests are allowed after it.
    assert!(examine(client, &address(server), "-i eth0 -p 7321 --json").has("multicast_ok"));
}

#[test]
fn a_switch_that_prunes_without_a_querier_is_suspected() {
    let Some(network) = network(2) else { return };
    network.prune(1);
    let _host = Host::start(network.node(0));
    let findings = examine(network.node(1), &address(network.node(0)), "");
    assert_eq!(failures(&findings), ["multicast_none", "snooping"]);
    assert!(findings.to_string().contains("--igmp-querier"));
    assert!(findings.has("unicast_ok"));
}

#[test]
fn a_membership_that_ages_is_seen_in_a_longer_test() {
    let Some(network) = network(3) else { return };
    network.snoop(1000);
    network.node(2).enter(host::query_once);
    let _host = Host::start(network.node(0));
    let findings = examine(network.node(1), &address(network.node(0)), "--for 5");
    assert_eq!(failures(&findings), ["multicast_stopped"]);
}

#[test]
fn a_firewall_that_drops_udp_here_is_recognised_with_its_rule() {
    let Some(network) = network(2) else { return };
    let client = network.node(1);
    firewall(client, "meta l4proto udp drop");
    let _host = Host::start(network.node(0));
    let findings = examine(client, &address(network.node(0)), "");
    assert_eq!(failures(&findings), ["udp_none", "firewall_here"]);
    assert!(
        findings.to_string().contains("probably `meta l4proto udp drop` in chain inet t input")
    );
}

#[test]
fn a_firewall_at_the_server_is_a_firewall_somewhere() {
    let Some(network) = network(2) else { return };
    let server = network.node(0);
    let text = "table inet t {\n chain output {\n type filter hook postrouting priority 0; policy \
                accept;\n meta l4proto udp drop\n }\n}\n";
    let mut nft = server.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());
    let _host = Host::start(server);
    let findings = examine(network.node(1), &address(server), "");
    let failed = failures(&findings);
    assert!(failed == ["udp_none"] || failed == ["server_cannot_send"], "{failed:?}");
}

#[test]
fn only_multicast_dropped_by_the_own_firewall_is_no_switch() {
    let Some(network) = network(2) else { return };
    firewall(network.node(1), "ip daddr 224.0.0.0/4 meta l4proto udp drop");
    let _host = Host::start(network.node(0));
    let findings = examine(network.node(1), &address(network.node(0)), "");
    assert_eq!(failures(&findings), ["multicast_none", "firewall_here"]);
}

#[test]
fn the_wrong_interface_is_named_and_the_right_one() {
    let Some(network) = network(2) else { return };
    let client = network.node(1);
    // A second network card whose other end hears nothing.
    client.ip("link add eth1 type veth peer name far1\nlink set eth1 up\nlink set far1 up\n\
         addr add 10.78.0.2/24 dev eth1\nroute replace 224.0.0.0/4 dev eth1\n");
    let _host = Host::start(network.node(0));
    let findings = examine(client, &address(network.node(0)), "");
    assert_eq!(failures(&findings), ["multicast_none", "interface_wrong"]);
    assert!(findings.to_string().contains("arrives on eth0"));
    assert!(findings.to_string().contains("Use -i eth0"));
    assert_eq!(failures(&examine(client, &address(network.node(0)), "-i eth0")), [""; 0]);
}

#[test]
fn loss_is_measured_and_put_where_it_happens() {
    let Some(network) = network(2) else { return };
    network.drop_received(1, 50);
    let _host = Host::start(network.node(0));
    let findings = examine(network.node(1), &address(network.node(0)), "");
    assert_eq!(failures(&findings), ["multicast_loss"]);
    let text = findings.to_string();
    assert!(text.contains("inside this machine") && text.contains("numgen random"), "{text}");
}

#[test]
fn a_server_that_is_not_there_is_told_from_one_that_does_not_answer() {
    let Some(network) = network(2) else { return };
    let (server, client) = (network.node(0), network.node(1));
    let refused = examine(client, &address(server), "");
    assert_eq!(failures(&refused), ["tcp_refused"]);
    firewall(server, "meta l4proto tcp drop");
    let _host = Host::start(server);
    let silent = examine(client, &address(server), "");
    assert_eq!(failures(&silent), ["tcp_silent"]);
    let nobody = examine(client, "10.99.0.1", "");
    assert_eq!(failures(&nobody), ["tcp_unreachable"]);
    let unknown = examine(client, "no-such-host.invalid", "");
    assert_eq!(failures(&unknown), ["name_unknown"]);
}

#[test]
fn an_old_server_is_called_old() {
    let Some(network) = network(2) else { return };
    let _host = host::hangs_up(network.node(0));
    let findings = examine(network.node(1), &address(network.node(0)), "");
    assert_eq!(failures(&findings), ["server_old"]);
}

/// Runs the server's doctor on a node.
fn look(node: &Node, more: &str) -> Findings {
    let words = ["doctor", "--for", "1"].into_iter().chain(more.split_whitespace());
    let args = ServerArgs::try_parse_from(words).unwrap();
    let start = Instant::now();
    let (findings, _) = node.enter(|| doctor::server::examine(&args));
    eprintln!("after {:?}:\n{findings}", start.elapsed());
    assert!(start.elapsed() < TIME_MAX);
    findings
}

#[test]
fn an_image_host_looks_at_itself() {
    let Some(network) = network(2) else { return };
    let server = network.node(0);
    let findings = look(server, "");
    assert_eq!(failures(&findings), [""; 0]);
    for code in ["route_ok", "loop_ok", "firewall_ok", "querier_unknown"] {
        assert!(findings.has(code), "{code}");
    }
    let lowest =
        || QuerierThread::start(&Interface::by_name("eth0").unwrap(), Duration::from_millis(500));
    let querier = network.node(1).enter(lowest).unwrap();
    assert!(look(server, "").has("querier_heard"));
    drop(querier);
    assert!(look(server, "").has("querier_traces"), "the kernel remembers it");
    firewall(server, "udp dport 64494 drop");
    assert!(look(server, "").has("firewall_rule"));
    assert_eq!(failures(&look(server, "-i nosuch0")), ["interface_unusable"]);
    assert_eq!(failures(&look(server, "-i lo")), ["interface_loopback"]);
}

#[test]
fn another_server_on_the_group_is_noticed() {
    let Some(network) = network(2) else { return };
    let [server, other] = [network.node(0), network.node(1)];
    let source = other.ipv4();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let sending = other.spawn(move || {
        let group = mcast::GroupAddress::parse(GROUP, PORT).unwrap();
        let eth0 = Interface::by_name("eth0").unwrap();
        let sender = mcast::ProbeSender::open(group, source.into(), Some((&eth0, 5))).unwrap();
        while !stopped.load(Ordering::Relaxed) {
            sender.send(&[0; 1000]).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let findings = look(server, &format!("-m {GROUP} -p {PORT}"));
    stop.store(true, Ordering::Relaxed);
    sending.join().unwrap();
    assert!(findings.has("group_busy"), "{findings}");
    assert!(findings.to_string().contains(&format!("{source} sends to {GROUP}:{PORT} already")));
}

#[test]
fn members_answer_a_host_that_asks() {
    let Some(network) = network(2) else { return };
    let args = ServerArgs::try_parse_from(["doctor", "-m", GROUP, "--ask-members"]).unwrap();
    let _member = network.node(1).enter(|| {
        let group = mcast::GroupAddress::parse(GROUP, PORT).unwrap();
        mcast::ProbeReceiver::join(group, &Interface::by_name("eth0").unwrap()).unwrap()
    });
    let (findings, measured) = network.node(0).enter(|| {
        let seconds = 2;
        let interface = Some(InterfaceSelector::ByName("eth0".into()));
        doctor::server::examine(&ServerArgs { seconds, interface, ..args })
    });
    assert!(findings.has("members"), "{findings}");
    assert_eq!(measured["groups_reported"], serde_json::json!([GROUP]), "{findings}");
}
