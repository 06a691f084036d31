//! The server's sentences, from what was seen.

use super::*;
use crate::facts::Bridge;
use crate::finding::Mark;
use crate::firewall::Suspicion;
use mcast::igmp::HeardQuerier;
use std::net::Ipv4Addr;
use std::time::Duration;

fn healthy() -> Surroundings {
    let querier = HeardQuerier { address: Ipv4Addr::new(10, 0, 0, 254), version: Version::V2 };
    Surroundings {
        is_root: false,
        route: Ok("lo".into()),
        is_member: Some(true),
        loopback: Ok((20, 20)),
        buffer_limits: [Some(64 << 20), Some(64 << 20)],
        reverse_path_filter: 0,
        interfaces_up: 2,
        memberships_max: Some(20),
        suspicions: Ok(Vec::new()),
        heard: Ok(Heard { queriers: [querier].into(), ..Heard::default() }),
        asked: false,
        listened: Duration::from_secs(10),
        older_querier: false,
        bridge: None,
        others: Default::default(),
    }
}

fn unheard() -> Surroundings {
    Surroundings { heard: Ok(Heard::default()), ..healthy() }
}

/// The codes of what is wrong, or may be.
fn wrong(around: &Surroundings) -> Vec<&'static str> {
    let mut findings = Findings::default();
    let group = GroupAddress::parse("239.192.70.82", 64494).unwrap();
    let lo = Interface::by_name("lo").unwrap();
    tell_loopback(around, &lo, &mut findings);
    tell_limits(around, &lo, &mut findings);
    tell_rules(around, &mut findings);
    tell_querier(around, &mut findings);
    tell_others(&group, around, &mut findings);
    let bad: Vec<_> = findings.all().iter().filter(|f| f.mark >= Mark::Warn).collect();
    assert!(bad.iter().all(|finding| finding.remedy.is_some()), "{bad:?}");
    bad.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_healthy_host_is_said_to_be_one() {
    assert_eq!(wrong(&healthy()), [""; 0]);
}

#[test]
fn a_silent_network_is_told_from_one_without_a_querier() {
    assert_eq!(wrong(&unheard()), ["querier_unknown"]);
    let long = Surroundings { listened: Duration::from_secs(130), ..unheard() };
    assert_eq!(wrong(&long), ["querier_none"]);
    assert_eq!(wrong(&Surroundings { older_querier: true, ..unheard() }), [""; 0]);
    let bridge = |querier| Some(Bridge { name: "br0".into(), snooping: true, querier });
    let without = Surroundings { bridge: bridge(false), ..unheard() };
    assert_eq!(wrong(&without), ["bridge_without_querier"]);
    assert_eq!(wrong(&Surroundings { bridge: bridge(true), ..unheard() }), [""; 0]);
    let deaf = Surroundings { heard: Err("needs root".into()), ..healthy() };
    assert_eq!(wrong(&deaf), [""; 0], "only noted");
}

#[test]
fn limits_rules_and_others_are_told() {
    let small = Surroundings { buffer_limits: [Some(212_992), Some(212_992)], ..healthy() };
    assert_eq!(wrong(&small), ["buffers_small", "buffers_small"]);
    assert_eq!(wrong(&Surroundings { is_root: true, ..small }), [""; 0], "root passes the limit");
    let strict = Surroundings { reverse_path_filter: 1, ..healthy() };
    assert_eq!(wrong(&strict), ["reverse_path_filter"]);
    assert_eq!(wrong(&Surroundings { interfaces_up: 1, ..strict }), [""; 0]);
    let few = Surroundings { memberships_max: Some(1), ..healthy() };
    assert_eq!(wrong(&few), ["memberships_few"]);
    let rule = Suspicion { chain: "inet f output".into(), rule: "drop".into() };
    let suspected = Surroundings { suspicions: Ok(vec![rule]), ..healthy() };
    assert_eq!(wrong(&suspected), ["firewall_rule"]);
    let others = [([10, 0, 0, 9].into(), 1000)].into();
    assert_eq!(wrong(&Surroundings { others, ..healthy() }), ["group_busy"]);
    assert_eq!(wrong(&Surroundings { loopback: Ok((20, 0)), ..healthy() }), ["loop_lost"]);
    let failed = Surroundings { loopback: Err("no route".into()), ..healthy() };
    assert_eq!(wrong(&failed), ["loop_failed"]);
}

#[test]
fn flooded_groups_are_warned_of_in_two_sentences() {
    let mut findings = Findings::default();
    tell_group(&GroupAddress::parse("224.0.0.5", 7000).unwrap(), &mut findings);
    let [finding] = findings.all() else { panic!("{findings:?}") };
    assert_eq!(finding.code, "group_flooded");
    assert!(finding.what.starts_with("Group 224.0.0.5 is in"), "{}", finding.what);
    assert!(finding.remedy.as_deref().unwrap().starts_with("Choose an org"), "{finding:?}");
}
