//! The host on a network of machines: what loopback cannot show.

use crate::support::{Host, load, sample};
use clap::Parser;
use doctor::{ClientArgs, Findings, Mark};
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;
use tests::netns::{Network, Node};
use tests::wait::until;

fn examine(node: &Node, host: &Host) -> Findings {
    let line = format!("doctor --server {} --rate 8M --for 1", host.rendezvous());
    let args = ClientArgs::try_parse_from(line.split_whitespace()).unwrap();
    node.enter(|| doctor::client::examine(&args)).0
}

fn failures(findings: &Findings) -> Vec<&'static str> {
    let wrong = findings.all().iter().filter(|finding| finding.mark == Mark::Fail);
    wrong.map(|finding| finding.code).collect()
}

#[test]
fn a_client_without_multicast_falls_back_and_the_operator_and_the_doctors_see_it() {
    let Some(network) = Network::new(3) else { return };
    let [server, well, deaf] = [network.node(0), network.node(1), network.node(2)];
    let closed = SocketAddr::from((server.ipv4(), 9));
    for node in [well, deaf] {
        // A bridge's port begins to forward a moment after its link is up.
        let refused = || TcpStream::connect_timeout(&closed, Duration::from_secs(1));
        until("the switch forwards", || {
            node.enter(refused).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
    }
    let rules = "table inet t {\n chain input {\n type filter hook input priority 0; policy accept;\n \
                 ip daddr 224.0.0.0/4 meta l4proto udp drop\n }\n}\n";
    let mut nft = deaf.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());

    let (disk, image) = sample(1, 8);
    let address = server.ipv4();
    let settings = format!(
        "interface = 'eth0'\nlisten = '{address}:0'\nhttp = '{address}:0'\nigmp_querier = true\n\
         bandwidth = '200M'"
    );
    let host = server.enter(|| Host::start(140, &settings, &[("a.ndz", &image)]));
    assert_eq!(failures(&examine(well, &host)), [""; 0]);
    let findings = examine(deaf, &host);
    assert!(failures(&findings).contains(&"multicast_none"), "{findings}");
    assert!(findings.has("unicast_ok"), "{findings}");

    // Whatever the routing table says of multicast: it comes from where the server is.
    well.ip("link add eth1 type veth peer name far1\nlink set eth1 up\nlink set far1 up\n\
         addr add 10.78.0.2/24 dev eth1\nroute replace 224.0.0.0/4 dev eth1\n");
    let targets = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for (number, node) in [well, deaf].into_iter().enumerate() {
            let (host, target, disk) = (&host, targets.path().join(number.to_string()), &disk);
            scope.spawn(move || {
                let loading = || load_here(host, &target);
                node.enter(loading).unwrap();
                assert!(fs::read(&target).unwrap() == *disk, "node {number}");
            });
        }
    });
    let said = format!("{} hears no answer to its join", deaf.ipv4());
    assert!(host.log().contains(&said), "{}", host.log());
    assert_eq!(host.log().matches("goes on by unicast").count(), 1, "{}", host.log());
    let id = server.enter(|| host.http_json("/api/v1/sessions"))["sessions"][0]["id"].clone();
    let path = format!("/api/v1/sessions/{}/clients", id.as_str().unwrap());
    let clients = server.enter(|| host.http_json(&path)).to_string();
    assert!(
        clients.contains("\"what\":\"no_reply\"") && clients.contains("\"fallback\":true"),
        "{clients}"
    );
}

fn load_here(host: &Host, target: &std::path::Path) -> Result<(), String> {
    load(host.rendezvous(), "a.ndz", "--fallback-after 1", target)
}
