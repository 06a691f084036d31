//! From what was seen to what is so: the client's sentences.
//!
//! What it owns: the order in which reasons are considered, and the words. What it never does: look
//! at anything but [`Evidence`].
//!
//! A reason is named as certain (FAIL) only where the evidence is of that reason alone, such as the
//! group arriving on another interface; what merely fits is a warning.

use crate::client::evidence::{Evidence, Measured};
use crate::finding::Findings;
use crate::firewall::Suspicion;
use std::net::IpAddr;

/// More loss than this, in thousandths, is felt: a load repairs less without getting slower.
const LOSS_FELT_PER_MILLE: u64 = 20;

/// Turns evidence into sentences.
pub fn conclude(evidence: &Evidence, findings: &mut Findings) {
    let unicast_came = evidence.unicast.as_ref().is_some_and(|unicast| !unicast.nothing_came());
    match &evidence.multicast {
        None => {
            let why = evidence.multicast_refused.as_deref().unwrap_or("it did not say why");
            findings.fail(
                "multicast_refused",
                format!("The server sends no test to a group: {why}."),
                "Do what it says, or ask its operator.",
            );
        }
        Some(multicast) if multicast.stretch.sent == 0 => findings.fail(
            "server_cannot_send",
            "The server could not send a single datagram to the group.",
            "On the server, run `frisbee-server doctor`: a firewall or a missing route refuses them.",
        ),
        Some(multicast) if !multicast.nothing_came() => {
            came(evidence, multicast, findings);
        }
        Some(multicast) if unicast_came => none_came(evidence, multicast, findings),
        Some(multicast) => no_udp(evidence, multicast, findings),
    }
    if let Some(unicast) = &evidence.unicast {
        tell_unicast(evidence, unicast, findings);
    } else if let Some(why) = &evidence.unicast_refused {
        findings.note("unicast_refused", format!("The server sends no unicast test: {why}."));
    }
    let broken = !findings.is_well();
    tell_rules(evidence, broken, findings);
}

/// Multicast arrives: whole, in time, to the end?
fn came(evidence: &Evidence, multicast: &Measured, findings: &mut Findings) {
    let (stretch, interface) = (&multicast.stretch, &evidence.interface);
    let first = stretch.first_ms.unwrap_or(0);
    let seconds = |ms: u64| format!("{}.{} s", ms / 1000, ms / 100 % 10);
    if multicast.stopped() {
        findings.fail(
            "multicast_stopped",
            format!(
                "Multicast began and then stopped: {} of {} datagrams to {} came on {interface}; \
                 missing are the last {} and {} in interruptions.",
                stretch.received,
                stretch.sent,
                multicast.group(),
                stretch.missing_after,
                stretch.missing_in_gaps
            ),
            format!(
                "The switch forgot that this machine is a member, because nobody asks: {QUERIER} \
                 Until then, loads need -K 60 (join again) or unicast.",
            ),
        );
    } else {
        let ttl = stretch.ttl.map(|ttl| format!(", TTL {ttl} left")).unwrap_or_default();
        findings.ok(
            "multicast_ok",
            format!(
                "Multicast works: {} of {} datagrams to {} came on {interface} at {}, the first \
                 {first} ms after the join{ttl}.",
                stretch.received,
                stretch.sent,
                multicast.group(),
                megabits(stretch.bits_per_sec),
            ),
        );
    }
    if stretch.missing_before > multicast.half_second {
        findings.warn(
            "multicast_late",
            format!(
                "The first {} datagrams did not come: the group opened only {} after the join.",
                stretch.missing_before,
                seconds(first)
            ),
            "Switches that run spanning tree hold a new link back for up to 30 s: make the port an \
             edge port (PortFast). Loads only begin later by as much.",
        );
    }
    tell_loss("multicast_loss", "to the group", evidence, multicast, findings);
    if !multicast.stopped() {
        tell_querier(evidence, findings);
    }
}

/// What makes a switch keep its members.
const QUERIER: &str =
    "turn on the IGMP querier of the switch or router, or run the server with --igmp-querier.";

/// Says whether the membership will last.
fn tell_querier(evidence: &Evidence, findings: &mut Findings) {
    if !evidence.is_ipv4() {
        return;
    }
    let told = evidence.multicast.as_ref().and_then(|multicast| multicast.start.querier);
    let heard = evidence.queriers.as_ref().and_then(|queriers| queriers.first());
    let listened = evidence.listened.as_secs();
    if let Some(querier) = heard {
        findings.ok(
            "querier_heard",
            format!("The IGMP querier {} keeps memberships alive.", querier.address),
        );
    } else if evidence.older_querier {
        findings.ok(
            "querier_traces",
            "This machine's kernel has heard an IGMP querier within the last minutes.",
        );
    } else if let Some(querier) = told {
        findings.note(
            "querier_at_server",
            format!("The server has heard the IGMP querier {querier}; this machine has not yet."),
        );
    } else if listened >= 260 {
        findings.ok(
            "querier_not_needed",
            format!(
                "No IGMP querier was heard in {listened} s, and multicast lasted all the same."
            ),
        );
    } else if evidence.queriers.is_some() {
        findings.warn(
            "querier_unknown",
            format!(
                "No IGMP querier was heard in {listened} s. That proves nothing, it usually asks \
                 every 125 s; but without one, a switch that snoops stops multicast some 4 minutes \
                 after a load began."
            ),
            "Be certain with `--for 300`. If there is none: turn on the querier of the switch or \
             router, or run the server with --igmp-querier.",
        );
    } else {
        findings.note(
            "querier_not_tested",
            "Whether there is an IGMP querier was not tested: that needs root.",
        );
    }
}

/// Unicast arrives, multicast does not.
fn none_came(evidence: &Evidence, multicast: &Measured, findings: &mut Findings) {
    let (sent, group) = (multicast.stretch.sent, multicast.group());
    let interface = &evidence.interface;
    findings.fail(
        "multicast_none",
        format!(
            "Multicast does not get through: none of {sent} datagrams to {group} came on \
                 {interface}, but unicast does."
        ),
        "The lines below say why. Until then, load by unicast (`frisbee-client -m` and the \
         server's address), or by broadcast (-b) on one network.",
    );
    let how = if evidence.by_route { "which the routing table chose" } else { "as you chose" };
    let elsewhere = evidence.elsewhere.iter().find(|(_, stretch)| stretch.received > 0);
    if let Some((right, stretch)) = elsewhere {
        findings.fail(
            "interface_wrong",
            format!(
                "The group arrives on {right} ({} datagrams), not on {interface}, {how}.",
                stretch.received
            ),
            format!(
                "Use -i {right}, or set the route: `ip route replace 224.0.0.0/4 dev {right}`."
            ),
        );
    } else if !evidence.carries_multicast {
        findings.fail(
            "interface_no_multicast",
            format!("Interface {interface} does not carry multicast."),
            format!(
                "Turn it on (`ip link set {interface} multicast on`), or choose another with -i."
            ),
        );
    } else if !evidence.running {
        findings.fail(
            "interface_down",
            format!("Interface {interface} is down or has no carrier."),
            format!("See `ip link show {interface}`, or choose another with -i."),
        );
    } else if multicast.reverse_path * 2 >= sent {
        findings.fail(
            "reverse_path_filter",
            format!(
                "The kernel dropped {} packets because their sender is reached through another \
                     interface (reverse path filter).",
                multicast.reverse_path
            ),
            format!(
                "`sysctl -w net.ipv4.conf.{interface}.rp_filter=2` (and `all`), or route the \
                     server's address through {interface}."
            ),
        );
    } else if multicast.reached_the_interface() {
        tell_dropped_here(evidence, multicast, findings);
    } else if tell_server_side(evidence, multicast, findings) {
        // The server's interface or routers between: that is reason enough.
    } else if let Some(toward) = evidence.toward.as_ref().filter(|toward| *toward != interface) {
        findings.fail(
            "interface_wrong",
            format!(
                "The server is reached through {toward}, but the group was joined on \
                     {interface}, {how}; it arrives on neither."
            ),
            format!(
                "Try -i {toward}, which alone is not enough: see the warnings, and the switch \
                     between."
            ),
        );
        tell_switch(evidence, findings);
    } else {
        tell_switch(evidence, findings);
    }
}

/// What is wrong at the server or between two networks; false when nothing is seen to be.
fn tell_server_side(evidence: &Evidence, multicast: &Measured, findings: &mut Findings) -> bool {
    let there = &multicast.start.interface;
    // An interface is told as `eth0 (10.0.0.1, ...)`.
    let server = evidence.server.map(|ip| ip.to_string()).unwrap_or_default();
    let own = |c: char| c == '(' || c == ')' || c == ',' || c.is_whitespace();
    if there.contains('(') && !there.split(own).any(|word| word == server) {
        findings.fail(
            "server_interface",
            format!(
                "The server sends multicast on its interface {there}, but is reached at \
                     {server}."
            ),
            "Start the server with -i and the interface of this network.",
        );
        return true;
    }
    let Some(hops) = evidence.unicast.as_ref().and_then(|unicast| hops(unicast.stretch.ttl)) else {
        return false;
    };
    if hops == 0 {
        return false;
    }
    let ttl = multicast.start.ttl;
    if ttl <= u32::from(hops) {
        findings.fail(
            "ttl",
            format!(
                "{hops} routers are between the server and here, and TTL {ttl} crosses only \
                     {}.",
                ttl.saturating_sub(1)
            ),
            format!("Start the server with --ttl {}, or put it on this network.", hops + 1),
        );
    } else {
        findings.fail(
            "routed",
            format!(
                "{hops} routers are between the server and here, and routers forward multicast \
                     only where they are told to."
            ),
            "Turn on multicast routing (PIM) on them, put the server on this network, or load by \
             unicast.",
        );
    }
    true
}

/// Routers that a datagram crossed, from the TTL it had left: systems begin with 64, 128 or 255.
fn hops(left: Option<u8>) -> Option<u8> {
    let left = left?;
    [64, 128, 255].into_iter().find_map(|begin: u8| begin.checked_sub(left))
}

/// The last reason standing: the switch.
fn tell_switch(evidence: &Evidence, findings: &mut Findings) {
    let heard = evidence.queriers.as_ref().and_then(|queriers| queriers.first());
    let told = evidence.multicast.as_ref().and_then(|multicast| multicast.start.querier);
    let querier = heard.map(|querier| IpAddr::V4(querier.address)).or(told);
    let listened = evidence.listened.as_secs();
    if let Some(querier) = querier {
        findings.fail(
            "switch_filters",
            format!("The network between drops the group although there is a querier ({querier})."),
            "On the switch, see its table of groups (does it list this port?), its filters and \
             storm control, and whether both ports are in one VLAN.",
        );
    } else {
        let absent = match evidence.queriers {
            Some(_) if evidence.older_querier => "one was there within the last minutes".to_owned(),
            Some(_) => format!("none was heard in {listened} s"),
            None => "whether there is one was not tested: that needs root".to_owned(),
        };
        findings.fail(
            "snooping",
            format!(
                "Most likely a switch between snoops IGMP without a querier ({absent}): it \
                     forwards groups only to members, and has forgotten or never seen this one."
            ),
            format!("Best: {QUERIER} Or turn IGMP snooping off for this VLAN."),
        );
    }
}

/// Neither arrives.
fn no_udp(evidence: &Evidence, multicast: &Measured, findings: &mut Findings) {
    let tested = match &evidence.unicast {
        Some(unicast) => format!(
            "of {} by multicast and {} by unicast",
            multicast.stretch.sent, unicast.stretch.sent
        ),
        None => format!("of {} by multicast; unicast was not tested", multicast.stretch.sent),
    };
    findings.fail(
        "udp_none",
        format!("No UDP datagram from the server arrives ({tested}), although TCP works."),
        "A firewall drops UDP here, at the server or between; let UDP pass from and to the \
         server's ports. The lines below may say where.",
    );
    if multicast.reached_the_interface() {
        tell_dropped_here(evidence, multicast, findings);
    } else if let Some(unicast) = &evidence.unicast
        && unicast.reached_the_interface()
    {
        tell_dropped_here(evidence, unicast, findings);
    }
}

fn tell_dropped_here(evidence: &Evidence, measured: &Measured, findings: &mut Findings) {
    let suspects = evidence.suspicions.as_deref().unwrap_or_default();
    let rule = suspects.first().map(|rule| format!(", probably {rule}")).unwrap_or_default();
    findings.fail(
        "firewall_here",
        format!(
            "The interface received {} packets while {} test datagrams were sent: they reach this \
             machine, and its own firewall drops them{rule}.",
            measured.packets, measured.stretch.sent
        ),
        format!("Let UDP from {} pass: `nft list ruleset` shows the rules.", server(evidence)),
    );
}

fn server(evidence: &Evidence) -> String {
    evidence.server.map_or_else(|| "the server".into(), |ip| ip.to_string())
}

/// Says how unicast fared, unless that was said already.
fn tell_unicast(evidence: &Evidence, unicast: &Measured, findings: &mut Findings) {
    let stretch = &unicast.stretch;
    if unicast.nothing_came() {
        if !findings.has("udp_none") && stretch.sent > 0 {
            findings.warn(
                "unicast_none",
                format!("Unicast UDP does not arrive: none of {} datagrams came.", stretch.sent),
                "Loads work, but cannot fall back to unicast; see the firewalls here and at the \
                 server.",
            );
        }
        return;
    }
    findings.ok(
        "unicast_ok",
        format!(
            "Unicast works: {} of {} datagrams came at {}.",
            stretch.received,
            stretch.sent,
            megabits(stretch.bits_per_sec)
        ),
    );
    // A test of one second can lose its tail to a busy machine.
    if !findings.has("multicast_loss") {
        tell_loss("unicast_loss", "to this machine", evidence, unicast, findings);
    }
}

/// Says what was lost on the way, and where.
fn tell_loss(
    code: &'static str,
    whose: &str,
    evidence: &Evidence,
    measured: &Measured,
    findings: &mut Findings,
) {
    let stretch = &measured.stretch;
    let (lost, loss) = (stretch.missing_between, stretch.loss_per_mille());
    let rate = megabits(measured.start.bits_per_sec);
    if lost == 0 {
        return;
    }
    if loss < LOSS_FELT_PER_MILLE {
        findings.note(
            "loss_small",
            format!(
                "{} of the datagrams {whose} were lost ({lost}); loads repair that.",
                stretch.loss_text()
            ),
        );
        return;
    }
    let text = stretch.loss_text();
    if stretch.kernel_drops * 2 >= lost {
        findings.fail(
            code,
            format!(
                "{text} of the datagrams {whose} were lost at {rate}, {} of {lost} of them by \
                     this machine's kernel, for lack of receive buffer.",
                stretch.kernel_drops
            ),
            "Raise the limit (`sysctl -w net.core.rmem_max=33554432`), or run loads as root; this \
             machine may be too busy.",
        );
    } else if measured.reached_the_interface() {
        let suspects = evidence.suspicions.as_deref().unwrap_or_default();
        let rule = suspects.first().map(|rule| format!(", probably {rule}")).unwrap_or_default();
        findings.fail(
            code,
            format!(
                "{text} of the datagrams {whose} were lost at {rate} ({lost}), inside this \
                     machine: its interface received {} packets{rule}.",
                measured.packets
            ),
            "See this machine's firewall (`nft list ruleset`) and `ip -s link`.",
        );
    } else {
        findings.fail(
            code,
            format!("{text} of the datagrams {whose} were lost by the network at {rate} ({lost})."),
            "Look for a bad cable, a slow port or a full queue on the way (`ethtool -S`, the \
             switch's counters). Loads work but take longer; a lower rate may lose less \
             (`frisbee-server -W`).",
        );
    }
}

/// Names rules that may be guilty; when all is well they are only noted.
fn tell_rules(evidence: &Evidence, broken: bool, findings: &mut Findings) {
    let Some(suspects) = &evidence.suspicions else {
        if broken {
            findings.note(
                "firewall_unknown",
                "This machine's firewall was not read: that needs root, and `nft` or \
                 `iptables-save`.",
            );
        }
        return;
    };
    let named = |suspect: &&Suspicion| {
        findings.all().iter().any(|finding| finding.what.contains(&suspect.rule))
    };
    let unnamed: Vec<_> = suspects.iter().filter(|suspect| !named(suspect)).take(5).collect();
    for suspect in unnamed {
        if broken {
            findings.warn(
                "firewall_rule",
                format!("This machine's firewall may drop the datagrams: {suspect}."),
                "If it does, change it; the guess is from each rule by itself.",
            );
        } else {
            findings.note(
                "firewall_rule",
                format!("A firewall rule looks as if it could drop datagrams: {suspect}."),
            );
        }
    }
}

/// Bits per second as people read them.
fn megabits(bits_per_sec: u64) -> String {
    format!("{}.{} Mb/s", bits_per_sec / 1_000_000, bits_per_sec / 100_000 % 10)
}

#[cfg(test)]
mod tests;
