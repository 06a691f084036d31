//! `frisbee-server doctor`: can this machine serve by multicast?
//!
//! What it owns: the checks of the image host itself, in order, and listening for at most `--for`
//! seconds. What it never does: say that the network carries multicast; only a node can see that.

mod look;

use crate::args::ServerArgs;
use crate::finding::{Findings, sentence};
use imagezip::cli::{Exit, print, say};
use look::{Surroundings, look};
use mcast::igmp::{Heard, Version};
use mcast::{GroupAddress, GroupKind, Interface};
use serde_json::json;
use std::process::ExitCode;

/// Kernel buffers that a server asks for (`mcast::Options`).
const BUFFERS: [(&str, u64); 2] = [("net.core.rmem_max", 32 << 20), ("net.core.wmem_max", 4 << 20)];

/// Datagrams of this many bytes are a load's, not a client's requests.
pub(crate) const LOAD_BYTES: usize = 512;

/// Runs the doctor and prints what it finds; the exit status.
pub fn main(args: &ServerArgs) -> ExitCode {
    let (findings, measured) = examine(args);
    let text =
        if args.json { format!("{}\n", findings.json(measured)) } else { findings.to_string() };
    let exit = if findings.is_well() { Exit::Done } else { Exit::Failed };
    if let Err(error) = print(&text) {
        say(format_args!("frisbee-server doctor: cannot print: {error}"));
        return Exit::Failed.into();
    }
    exit.into()
}

/// Runs the doctor: what it finds, and what it measured for programs.
pub fn examine(args: &ServerArgs) -> (Findings, serde_json::Value) {
    let mut findings = Findings::default();
    list_interfaces(&mut findings);
    let group = match GroupAddress::new(args.group, args.port) {
        Ok(group) => group,
        Err(error) => {
            findings.fail(
                "group_unusable",
                sentence(&error.to_string()),
                "Choose another group with -m.",
            );
            return (findings, json!({}));
        }
    };
    let selector = args.interface.clone().unwrap_or_default();
    let interface = match Interface::select(&selector, &group) {
        Ok(interface) => interface,
        Err(error) => {
            findings.fail(
                "interface_unusable",
                sentence(&error.to_string()),
                "Choose an interface with -i NAME.",
            );
            return (findings, json!({}));
        }
    };
    let around = look(args, group, &interface);
    tell_group(&group, &mut findings);
    tell_interface(&group, &interface, &around, &mut findings);
    tell_loopback(&around, &interface, &mut findings);
    tell_limits(&around, &interface, &mut findings);
    tell_rules(&around, &mut findings);
    tell_querier(&around, &mut findings);
    tell_others(&group, &around, &mut findings);
    findings.note(
        "seen_from_here",
        "Whether the network carries it is seen from a node: `frisbee-client doctor --server \
         THIS_MACHINE`.",
    );
    let measured = json!({
        "interface": interface.name(),
        "group": group.to_string(),
        "queriers": around.heard.as_ref().ok().map(|heard| {
            heard.queriers.iter().map(|querier| querier.address.to_string()).collect::<Vec<_>>()
        }),
        "groups_reported": around.heard.as_ref().ok().map(|heard| {
            heard.members.keys().map(ToString::to_string).collect::<Vec<_>>()
        }),
    });
    (findings, measured)
}

fn list_interfaces(findings: &mut Findings) {
    let all = match Interface::list() {
        Ok(all) => all,
        Err(error) => {
            findings.warn(
                "interfaces_unknown",
                sentence(&error.to_string()),
                "See `ip addr`; the rest is tested all the same.",
            );
            return;
        }
    };
    for interface in all.iter().filter(|interface| !interface.is_loopback()) {
        let state = if interface.is_running() { "up" } else { "down" };
        let multicast = if interface.carries_multicast() { "" } else { ", no multicast" };
        let speed = interface.speed_mbps().map(|mbps| format!(", {mbps} Mb/s"));
        let mtu = interface.mtu().map(|mtu| format!(", MTU {mtu}"));
        findings.note(
            "interface",
            format!(
                "Interface {interface}: {state}{multicast}{}{}.",
                speed.unwrap_or_default(),
                mtu.unwrap_or_default()
            ),
        );
    }
}

fn tell_group(group: &GroupAddress, findings: &mut Findings) {
    if group.kind() != GroupKind::Multicast {
        findings.note("group_unicast", format!("{} is no multicast group.", group.ip()));
    } else if let Some(warning) = group.flood_warning() {
        let (what, remedy) = warning.split_once("; ").unwrap_or((&warning, "choose another"));
        findings.warn("group_flooded", sentence(what), sentence(remedy));
    }
}

fn tell_interface(
    group: &GroupAddress,
    interface: &Interface,
    around: &Surroundings,
    findings: &mut Findings,
) {
    let name = interface.name();
    if !interface.is_running() {
        findings.fail(
            "interface_down",
            format!("Interface {name}, which would be used, is down or has no carrier."),
            format!("See `ip link show {name}`, or choose another with -i."),
        );
    }
    if !interface.carries_multicast() {
        findings.fail(
            "interface_no_multicast",
            format!("Interface {name}, which would be used, does not carry multicast."),
            format!("Turn it on (`ip link set {name} multicast on`), or choose another with -i."),
        );
    }
    if interface.is_loopback() {
        findings.fail(
            "interface_loopback",
            "The group would be served on the loopback interface: only this machine hears it.",
            "Name the network's interface with -i.",
        );
    }
    match &around.route {
        Ok(route) if route == name => {
            findings.ok("route_ok", format!("Group {} goes out through {name}.", group.ip()));
        }
        Ok(route) => findings.note(
            "route_other",
            format!(
                "The routing table would send group {} through {route}; start the server with -i \
                 {name} to use {name}.",
                group.ip()
            ),
        ),
        Err(error) => findings.note("route_none", sentence(&error.to_string())),
    }
    if around.is_member == Some(false) {
        findings.fail(
            "membership_missing",
            format!("The kernel does not list the group among its memberships on {name}."),
            "See `ip maddr show` and net.ipv4.igmp_max_memberships.",
        );
    }
}

fn tell_loopback(around: &Surroundings, interface: &Interface, findings: &mut Findings) {
    match &around.loopback {
        Ok((sent, received)) if received == sent => findings.ok(
            "loop_ok",
            format!(
                "Multicast sent on {} is heard on this machine ({sent} of {sent}).",
                interface.name()
            ),
        ),
        Ok((sent, received)) => findings.fail(
            "loop_lost",
            format!("Of {sent} multicast datagrams to itself this machine heard {received}."),
            "A firewall here drops them (`nft list ruleset`), or the interface is down.",
        ),
        Err(error) => findings.fail(
            "loop_failed",
            format!("Multicast cannot be sent to this machine itself: {error}."),
            "See the interface (`ip addr`), the routes (`ip route`) and the firewall.",
        ),
    }
}

fn tell_limits(around: &Surroundings, interface: &Interface, findings: &mut Findings) {
    for ((name, wanted), limit) in BUFFERS.into_iter().zip(around.buffer_limits) {
        if let Some(limit) = limit.filter(|limit| *limit < wanted && !around.is_root) {
            findings.warn(
                "buffers_small",
                format!("{name} is {limit} bytes; the server wants {wanted}."),
                format!("`sysctl -w {name}={wanted}`, or run the server as root."),
            );
        }
    }
    if around.reverse_path_filter == 1 && around.interfaces_up > 1 {
        findings.warn(
            "reverse_path_filter",
            format!(
                "The reverse path filter is strict on {}: requests of clients whose address is \
                 routed through another interface are dropped.",
                interface.name()
            ),
            format!("`sysctl -w net.ipv4.conf.{}.rp_filter=2`.", interface.name()),
        );
    }
    if let Some(limit) = around.memberships_max.filter(|limit| *limit < 2) {
        findings.fail(
            "memberships_few",
            format!("A socket may join only {limit} groups (net.ipv4.igmp_max_memberships)."),
            "`sysctl -w net.ipv4.igmp_max_memberships=20`.",
        );
    }
}

fn tell_rules(around: &Surroundings, findings: &mut Findings) {
    match &around.suspicions {
        Err(why) => {
            findings.note("firewall_unknown", format!("The firewall was not read: {why}."));
        }
        Ok(suspects) if suspects.is_empty() => {
            findings.ok("firewall_ok", "No firewall rule was found that would drop the datagrams.");
        }
        Ok(suspects) => {
            for suspect in suspects.iter().take(5) {
                findings.warn(
                    "firewall_rule",
                    format!("This machine's firewall may drop the datagrams: {suspect}."),
                    "If it does, let UDP from and to the server's ports and IGMP pass; the guess \
                     is from each rule by itself.",
                );
            }
        }
    }
}

fn tell_querier(around: &Surroundings, findings: &mut Findings) {
    let remedy = "Listen for 130 s to be certain (`--for 130`). If there is none: turn on the \
                  IGMP querier of the switch or router, or run the server with --igmp-querier.";
    let seconds = around.listened.as_secs();
    let bridge = around.bridge.as_ref();
    let helper = bridge.filter(|bridge| bridge.snooping && !bridge.querier);
    match &around.heard {
        Ok(heard) if !heard.queriers.is_empty() => tell_heard(heard, findings),
        _ if around.older_querier => findings.ok(
            "querier_traces",
            "This machine's kernel has heard an IGMP querier within the last minutes.",
        ),
        _ if helper.is_some() => findings.warn(
            "bridge_without_querier",
            format!(
                "This machine's bridge {} snoops IGMP and has no querier of its own, and none was \
                 heard.",
                helper.map_or("", |bridge| &bridge.name)
            ),
            "Run the server with --igmp-querier, or turn the bridge's on (`ip link set BRIDGE type \
             bridge mcast_querier 1`).",
        ),
        _ if bridge.is_some_and(|bridge| bridge.querier) => {
            findings.ok("querier_own_bridge", "This machine's own bridge is an IGMP querier.")
        }
        Ok(_) if seconds >= 130 => findings.warn(
            "querier_none",
            format!("No IGMP querier was heard in {seconds} s: there is none."),
            "If a switch snoops, multicast stops some 4 minutes after a load began: turn on the \
             querier of the switch or router, or run the server with --igmp-querier.",
        ),
        Ok(_) => findings.warn(
            "querier_unknown",
            format!(
                "No IGMP querier was heard in {seconds} s. That proves nothing: it usually asks \
                 every 125 s."
            ),
            remedy,
        ),
        Err(error) => findings.note("querier_not_tested", sentence(&error.to_string())),
    }
    if let Ok(heard) = &around.heard
        && around.asked
    {
        tell_members(heard, findings);
    }
}

fn tell_heard(heard: &Heard, findings: &mut Findings) {
    for querier in &heard.queriers {
        let version = match querier.version {
            Version::V1 => 1,
            Version::V2 => 2,
            Version::V3 => 3,
        };
        if querier.address.is_unspecified() {
            findings.ok(
                "querier_heard",
                "A switch asks for members itself (IGMP queries from 0.0.0.0).",
            );
        } else {
            findings.ok(
                "querier_heard",
                format!(
                    "The IGMP querier {} (version {version}) keeps memberships alive.",
                    querier.address
                ),
            );
        }
    }
}

fn tell_members(heard: &Heard, findings: &mut Findings) {
    if heard.members.is_empty() {
        findings.note(
            "members_none",
            "Asked for members, nobody reported: nobody is one, or a switch that snoops keeps \
             reports from us.",
        );
    }
    for (group, members) in heard.members.iter().take(20) {
        findings.note("members", format!("Group {group} has {} members here.", members.len()));
    }
}

fn tell_others(group: &GroupAddress, around: &Surroundings, findings: &mut Findings) {
    let Some((source, datagrams)) = around.others.iter().max_by_key(|(_, datagrams)| **datagrams)
    else {
        return;
    };
    findings.warn(
        "group_busy",
        format!(
            "{source} sends to {group} already ({datagrams} large datagrams in {} s).",
            around.listened.as_secs()
        ),
        "If that is another server, give this one a group or a port of its own (-m, -p).",
    );
}

#[cfg(test)]
mod tests;
