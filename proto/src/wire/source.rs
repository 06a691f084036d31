//! Whether a datagram comes from whom it says.

use std::net::{IpAddr, SocketAddr};

/// What a sender writes into the header's `srcip`: its IPv4 address in network byte order. IPv6
/// addresses do not fit; over IPv6 the field is zero.
pub fn source_ip_field(local: IpAddr) -> [u8; 4] {
    match local.to_canonical() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => [0; 4],
    }
}

/// The receiver's check. A datagram counts when it was sent *from* the group's port, and when its
/// `srcip` is its real source address or that real source address is the group's own (as with one
/// unicast client, or behind some bridges). Over IPv6 `srcip` must be zero.
///
/// `from` is the address that the socket reported, `group` and `port` where the session talks.
pub fn source_is_valid(srcip: [u8; 4], from: SocketAddr, group: IpAddr, port: u16) -> bool {
    let real = from.ip().to_canonical();
    from.port() == port && (srcip == source_ip_field(real) || real == group.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_port_are_checked_to_the_letter() {
        let group: IpAddr = "239.1.1.1".parse().unwrap();
        let check = |srcip, from: &str| source_is_valid(srcip, from.parse().unwrap(), group, 7000);
        assert!(check([10, 99, 0, 1], "10.99.0.1:7000"));
        assert!(!check([10, 99, 0, 1], "10.99.0.1:7001"));
        assert!(!check([1, 0, 99, 10], "10.99.0.1:7000"));
        assert!(check([1, 2, 3, 4], "239.1.1.1:7000"));
        assert!(!check([1, 2, 3, 4], "239.1.1.1:7001"));
        assert!(check([10, 99, 0, 1], "[::ffff:10.99.0.1]:7000"));
        assert!(check([0; 4], "[fe80::1]:7000"));
        assert!(!check([10, 99, 0, 1], "[fe80::1]:7000"));
    }
}
