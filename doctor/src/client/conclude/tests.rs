//! Each sentence from the evidence that asks for it.

use super::*;
use crate::finding::Mark;
use crate::tally::Stretch;
use mcast::igmp::{HeardQuerier, Version};
use rendezvous::frame::TestStart;
use std::time::Duration;

fn start() -> TestStart {
    TestStart {
        group: [239, 192, 70, 83].into(),
        port: 64495,
        datagrams: 3000,
        bits_per_sec: 12_000_000,
        ttl: 5,
        interface: "eth1 (10.0.0.1, fe80::1)".into(),
        querier: None,
        nonce: "0".repeat(16),
    }
}

fn whole() -> Measured {
    let stretch = Stretch {
        sent: 3000,
        received: 3000,
        bits_per_sec: 12_000_000,
        first_ms: Some(203),
        ttl: Some(5),
        ..Stretch::default()
    };
    Measured { start: start(), stretch, half_second: 500, packets: 3010, reverse_path: 0 }
}

fn none() -> Measured {
    let stretch = Stretch { sent: 3000, missing_before: 3000, ..Stretch::default() };
    Measured { stretch, packets: 7, ..whole() }
}

fn unicast(ttl: u8) -> Measured {
    let mut unicast = whole();
    unicast.stretch.ttl = Some(ttl);
    unicast
}

fn healthy() -> Evidence {
    let querier = HeardQuerier { address: [10, 0, 0, 254].into(), version: Version::V2 };
    Evidence {
        server: Some([10, 0, 0, 1].into()),
        toward: Some("eth0".into()),
        interface: "eth0".into(),
        by_route: true,
        running: true,
        carries_multicast: true,
        multicast: Some(whole()),
        unicast: Some(unicast(64)),
        queriers: Some(vec![querier]),
        listened: Duration::from_secs(4),
        suspicions: Some(Vec::new()),
        ..Evidence::default()
    }
}

fn silent() -> Evidence {
    Evidence { multicast: Some(none()), queriers: Some(Vec::new()), ..healthy() }
}

fn said(evidence: &Evidence) -> Findings {
    let mut findings = Findings::default();
    conclude(evidence, &mut findings);
    let unremedied = findings.all().iter().find(|f| f.mark >= Mark::Warn && f.remedy.is_none());
    assert_eq!(unremedied, None, "what is wrong can be mended");
    findings
}

/// The codes of what is wrong, or may be.
fn wrong(evidence: &Evidence) -> Vec<&'static str> {
    let findings = said(evidence);
    findings.all().iter().filter(|f| f.mark >= Mark::Warn).map(|f| f.code).collect()
}

#[test]
fn a_healthy_network_is_said_to_be_one() {
    let findings = said(&healthy());
    assert!(findings.is_well());
    assert_eq!(wrong(&healthy()), [""; 0]);
    let codes: Vec<_> = findings.all().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["multicast_ok", "querier_heard", "unicast_ok"]);
    let text = findings.to_string();
    assert!(text.contains("at 12.0 Mb/s, the first 203 ms after the join, TTL 5 left."), "{text}");
}

#[test]
fn silence_about_the_querier_is_no_proof() {
    let unheard = Evidence { queriers: Some(Vec::new()), ..healthy() };
    assert_eq!(wrong(&unheard), ["querier_unknown"]);
    assert!(said(&unheard).is_well());
    assert!(said(&unheard).to_string().contains("proves nothing"));
    assert!(said(&Evidence { older_querier: true, ..unheard.clone() }).has("querier_traces"));
    let long = Evidence { listened: Duration::from_secs(300), ..unheard.clone() };
    assert!(said(&long).has("querier_not_needed"));
    assert!(said(&Evidence { queriers: None, ..healthy() }).has("querier_not_tested"));
    let mut told = unheard;
    told.multicast.as_mut().unwrap().start.querier = Some([10, 0, 0, 9].into());
    assert!(said(&told).has("querier_at_server"));
}

#[test]
fn unicast_without_multicast_is_put_down_to_the_switch_when_nothing_else_is_seen() {
    assert_eq!(wrong(&silent()), ["multicast_none", "snooping"]);
    let text = said(&silent()).to_string();
    assert!(text.contains("none was heard in 4 s") && text.contains("--igmp-querier"), "{text}");
    let not_root = Evidence { queriers: None, ..silent() };
    assert!(said(&not_root).to_string().contains("not tested: that needs root"));
    let with_querier = Evidence { queriers: healthy().queriers, ..silent() };
    assert_eq!(wrong(&with_querier), ["multicast_none", "switch_filters"]);
}

#[test]
fn the_interface_on_which_the_group_arrives_is_named() {
    let elsewhere = vec![("eth7".to_owned(), whole().stretch)];
    let evidence = Evidence { elsewhere, toward: Some("eth7".into()), ..silent() };
    assert_eq!(wrong(&evidence), ["multicast_none", "interface_wrong"]);
    let text = said(&evidence).to_string();
    assert!(text.contains("arrives on eth7") && text.contains("Use -i eth7"), "{text}");
    let neither = Evidence { toward: Some("eth7".into()), ..silent() };
    assert_eq!(wrong(&neither), ["multicast_none", "interface_wrong", "snooping"]);
    let down = Evidence { running: false, ..silent() };
    assert_eq!(wrong(&down), ["multicast_none", "interface_down"]);
    let deaf = Evidence { carries_multicast: false, ..silent() };
    assert_eq!(wrong(&deaf), ["multicast_none", "interface_no_multicast"]);
}

#[test]
fn what_the_kernel_drops_is_told_from_what_the_network_drops() {
    let with = |change: &dyn Fn(&mut Measured)| {
        let mut evidence = silent();
        change(evidence.multicast.as_mut().unwrap());
        evidence
    };
    let filtered = with(&|multicast| multicast.reverse_path = 2990);
    assert_eq!(wrong(&filtered), ["multicast_none", "reverse_path_filter"]);
    let arrived = with(&|multicast| multicast.packets = 3005);
    assert_eq!(wrong(&arrived), ["multicast_none", "firewall_here"]);
    let busy = with(&|multicast| multicast.packets = 30_000);
    assert_eq!(wrong(&busy), ["multicast_none", "snooping"], "packets of something else");
    let rule = Suspicion { chain: "inet f input".into(), rule: "udp dport 64495 drop".into() };
    let known = Evidence { suspicions: Some(vec![rule]), ..arrived };
    assert_eq!(wrong(&known), ["multicast_none", "firewall_here"]);
    assert!(said(&known).to_string().contains("probably `udp dport 64495 drop`"));
    let elsewhere = Evidence { multicast: silent().multicast, ..known };
    assert_eq!(wrong(&elsewhere), ["multicast_none", "snooping", "firewall_rule"]);
}

#[test]
fn routers_between_and_a_wrong_interface_of_the_server_are_recognised() {
    let far = |unicast_ttl| Evidence { unicast: Some(unicast(unicast_ttl)), ..silent() };
    assert_eq!(wrong(&far(62)), ["multicast_none", "routed"]);
    assert_eq!(wrong(&far(58)), ["multicast_none", "ttl"]);
    assert!(said(&far(58)).to_string().contains("--ttl 7"));
    assert_eq!(wrong(&far(64)), ["multicast_none", "snooping"]);
    let mut other = silent();
    other.multicast.as_mut().unwrap().start.interface = "eth1 (10.0.0.11, 192.168.1.1)".into();
    assert_eq!(wrong(&other), ["multicast_none", "server_interface"]);
    assert_eq!([64, 63, 127, 255].map(|ttl| hops(Some(ttl))), [0, 1, 1, 0].map(Some));
}

#[test]
fn no_udp_at_all_is_a_firewall() {
    let nothing = Evidence { unicast: Some(none()), ..silent() };
    assert_eq!(wrong(&nothing), ["udp_none"]);
    let mut here = nothing.clone();
    here.unicast.as_mut().unwrap().packets = 3000;
    assert_eq!(wrong(&here), ["udp_none", "firewall_here"]);
    let unknown = Evidence { suspicions: None, ..nothing };
    assert!(said(&unknown).has("firewall_unknown"));
    let only_multicast = Evidence { unicast: Some(none()), ..healthy() };
    assert_eq!(wrong(&only_multicast), ["unicast_none"]);
    let mut mute = silent();
    mute.multicast.as_mut().unwrap().stretch.sent = 0;
    assert_eq!(wrong(&mute), ["server_cannot_send"]);
}

#[test]
fn multicast_that_begins_and_stops_is_a_forgotten_membership() {
    let mut evidence = healthy();
    let multicast = evidence.multicast.as_mut().unwrap();
    multicast.stretch.received = 1000;
    multicast.stretch.missing_after = 2000;
    assert_eq!(wrong(&evidence), ["multicast_stopped"]);
    assert!(said(&evidence).to_string().contains("querier"));
    let multicast = evidence.multicast.as_mut().unwrap();
    (multicast.stretch.missing_after, multicast.stretch.missing_in_gaps) = (0, 2000);
    assert_eq!(wrong(&evidence), ["multicast_stopped"], "and came back");
    let multicast = evidence.multicast.as_mut().unwrap();
    (multicast.stretch.missing_in_gaps, multicast.stretch.missing_before) = (0, 2000);
    assert_eq!(wrong(&evidence), ["multicast_late"]);
}

#[test]
fn loss_is_put_down_to_where_it_happens() {
    let lossy = |lost: u64, change: &dyn Fn(&mut Measured)| {
        let mut evidence = healthy();
        let multicast = evidence.multicast.as_mut().unwrap();
        multicast.stretch.received -= lost;
        multicast.stretch.missing_between = lost;
        multicast.packets = 3010 - lost;
        change(multicast);
        said(&evidence).to_string()
    };
    let text = lossy(150, &|_| {});
    assert!(
        text.contains("5.0 % of the datagrams to the group were lost by the network"),
        "{text}"
    );
    let text = lossy(150, &|multicast| multicast.packets = 3010);
    assert!(text.contains("inside this machine"), "{text}");
    let text = lossy(150, &|multicast| multicast.stretch.kernel_drops = 149);
    assert!(text.contains("149 of 150 of them by this machine's kernel"), "{text}");
    assert!(text.contains("rmem_max"), "{text}");
    let text = lossy(30, &|_| {});
    assert!(text.contains("1.0 %") && !text.contains("FAIL"), "{text}");
}

#[test]
fn refusals_are_passed_on() {
    let evidence = Evidence {
        multicast: None,
        multicast_refused: Some("another test is running".into()),
        ..healthy()
    };
    assert_eq!(wrong(&evidence), ["multicast_refused"]);
    assert!(said(&evidence).to_string().contains("another test is running"));
}
