//! Rules as the tools print them, and which of them are suspected.

use super::*;
use proptest::prelude::*;

fn arriving() -> Traffic {
    Traffic {
        port: 64494,
        interface: "eth0".to_owned(),
        addresses: vec![[239, 192, 70, 82].into(), [10, 77, 0, 2].into()],
        arriving: true,
    }
}

fn nft(policy: &str, rules: &str) -> Vec<String> {
    let text = format!(
        "table inet filter {{\n\tset allowed {{\n\t\ttype ipv4_addr\n\t\telements = {{ 1.1.1.1,\n\
         \t\t\t     2.2.2.2 }}\n\t}}\n\n\tchain input {{\n\t\ttype filter hook input priority filter; \
         policy {policy};\n{rules}\n\t}}\n\n\tchain more {{\n\t\tudp dport 64000-65000 drop\n\t}}\n\n\
         \tchain output {{\n\t\ttype filter hook output priority filter; policy accept;\n\t\tdrop\n\t}}\n}}\n"
    );
    suspicions(&text, &arriving()).into_iter().map(|suspicion| suspicion.rule).collect()
}

fn suspected(rule: &str) -> bool {
    !nft("accept", rule).is_empty()
}

#[test]
fn rules_that_drop_the_port_are_suspected() {
    for rule in [
        "drop",
        "meta l4proto udp drop",
        "meta l4proto udp numgen random mod 1000 < 50 drop",
        "udp dport 64494 counter packets 0 bytes 0 drop",
        "udp dport { 53, 64494 } reject with icmp port-unreachable",
        "udp dport 1024-65535 drop",
        "udp dport != 53 drop",
        "iifname \"eth0\" drop",
        "iifname \"eth*\" drop",
        "iifname != \"lo\" drop",
        "ip daddr 224.0.0.0/4 drop",
        "ip daddr 10.77.0.0/24 drop",
        "ip protocol igmp drop",
        "meta l4proto != tcp drop",
        "ip saddr @blocked drop",
        "jump more",
    ] {
        assert!(suspected(rule), "{rule}");
    }
}

#[test]
fn rules_about_something_else_are_not() {
    for rule in [
        "",
        "accept",
        "tcp dport 22 drop",
        "udp dport 53 drop",
        "udp dport { 53, 67-68 } drop",
        "udp sport 53 drop",
        "udp dport != 64494 drop",
        "iifname \"docker0\" drop",
        "iifname != \"eth0\" drop",
        "ip daddr 172.17.0.2 drop",
        "ip6 daddr ff00::/8 drop",
        "ct state invalid drop",
        "icmp type echo-request drop",
        "udp dport 64494 accept comment \"do not drop this\"",
    ] {
        assert!(!suspected(rule), "{rule}: {:?}", nft("accept", rule));
    }
}

#[test]
fn a_policy_of_drop_needs_a_rule_that_accepts() {
    let established = "ct state established,related accept\n\t\tiifname \"lo\" accept";
    assert_eq!(nft("drop", established), ["policy drop"]);
    assert_eq!(nft("drop", "tcp dport 22 accept"), ["policy drop"]);
    for rule in ["udp dport 64494 accept", "iifname \"eth0\" accept", "udp dport 7000-65000 accept"]
    {
        assert_eq!(nft("drop", rule), Vec::<String>::new(), "{rule}");
    }
}

#[test]
fn a_suspicion_says_where_the_rule_stands() {
    let text = "table inet filter {\n chain output {\n type filter hook output priority 0; policy \
                accept;\n udp dport 64494 drop\n }\n}\n";
    let leaving = Traffic { arriving: false, ..arriving() };
    assert_eq!(suspicions(text, &arriving()), []);
    let [found] = &suspicions(text, &leaving)[..] else { panic!("one") };
    assert_eq!(found.to_string(), "`udp dport 64494 drop` in chain inet filter output");
}

#[test]
fn rules_of_iptables_are_read_too() {
    let rules = |rules: &str, policy: &str| {
        let text = format!(
            "# Generated\n*filter\n:INPUT {policy} [0:0]\n:OUTPUT ACCEPT [0:0]\n:deny - [0:0]\n{rules}\n\
             -A deny -p udp -m multiport --dports 1000:65000 -j DROP\nCOMMIT\n"
        );
        suspicions(&text, &arriving()).len()
    };
    for rule in [
        "-A INPUT -p udp -j DROP",
        "-A INPUT -d 224.0.0.0/4 -j REJECT --reject-with icmp-port-unreachable",
        "-A INPUT -i eth0 -p udp -m udp --dport 64494 -j DROP",
        "-A INPUT ! -i lo -j DROP",
        "-A INPUT -j deny",
    ] {
        assert_eq!(rules(rule, "ACCEPT"), 1, "{rule}");
    }
    for rule in [
        "-A INPUT -p tcp -m tcp --dport 22 -j DROP",
        "-A INPUT -p udp -m udp --dport 53 -j DROP",
        "-A INPUT -i docker0 -j DROP",
        "-A INPUT -m conntrack --ctstate INVALID -j DROP",
    ] {
        assert_eq!(rules(rule, "ACCEPT"), 0, "{rule}");
    }
    assert_eq!(rules("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "DROP"), 1);
    assert_eq!(rules("-A INPUT -p udp -m udp --dport 64000:65000 -j ACCEPT", "DROP"), 0);
}

#[test]
fn chains_that_call_each_other_come_to_an_end() {
    let text = "table ip t {\n chain a {\n type filter hook input priority 0; policy accept;\n jump b\n \
                }\n chain b {\n jump c\n jump b\n }\n chain c {\n goto b\n udp dport 64494 drop\n }\n}\n";
    assert_eq!(suspicions(text, &arriving()).len(), 1);
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(table|chain|type|hook|drop|-A|:|\\*|[ -~]|[ \n{}])*") {
        let _ = suspicions(&text, &arriving());
    }
}
