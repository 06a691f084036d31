//! Target for what the doctor reads: test datagrams, and firewall rules as other programs print them.

use ::doctor::{TestDatagram, Traffic, suspicions};

/// A datagram; and the same bytes as firewall rules.
pub(crate) fn target(data: &[u8]) {
    if let Some(datagram) = TestDatagram::parse(data) {
        let mut again = data.to_vec();
        assert!(datagram.write(&mut again), "it was long enough to be read");
        assert_eq!(again, data, "writing changes what was read");
    }
    let text = String::from_utf8_lossy(data);
    for arriving in [true, false] {
        let traffic = Traffic {
            port: 64494,
            interface: "eth0".to_owned(),
            addresses: vec![[239, 192, 70, 82].into(), [10, 77, 0, 2].into()],
            arriving,
        };
        for suspicion in suspicions(&text, &traffic) {
            assert!(!suspicion.to_string().is_empty());
        }
    }
}

/// A datagram, and rules of both tools.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let nft = "table inet filter {\n\tset allowed {\n\t\ttype ipv4_addr\n\t\telements = { 1.1.1.1 }\n\t}\n\
               \tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\tct state \
               established,related accept\n\t\tiifname != \"lo\" udp dport { 53, 64000-65000 } drop\n\t\t\
               ip daddr 224.0.0.0/4 jump more\n\t}\n\tchain more {\n\t\tdrop\n\t\tgoto input\n\t}\n}\n";
    let iptables = "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:deny - [0:0]\n-A INPUT ! -i lo -p \
                    udp -m multiport --dports 53,64000:65000 -j deny\n-A INPUT -d 224.0.0.0/4 -m conntrack \
                    --ctstate NEW -j ACCEPT\n-A deny -j REJECT\nCOMMIT\n";
    vec![b"FTSTnonce123\0\0\0\x07rest".to_vec(), nft.into(), iptables.into()]
}
