//! A name's addresses.

use dns_lookup::{AddrInfoHints, SockType, getaddrinfo};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// Of a name's addresses, so many are of use.
const ADDRESSES_MAX: usize = 16;

/// `AF_INET` of `getaddrinfo(3)` on Linux.
const IPV4: i32 = 2;

/// The addresses of a host, with this port.
///
/// Some DNS servers of small networks answer the question for an IPv6 address with "no such name" although there is
/// an IPv4 address (dnsmasq's `address=` is one). glibc takes what it got; musl, which the programs of boot images are
/// built with, then takes the name for unknown. So IPv4 alone is asked for before giving up.
///
/// # Errors
/// When the name has no address, or nobody can be asked. That of the first question.
pub fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match (host, port).to_socket_addrs() {
        Ok(found) => Ok(found.take(ADDRESSES_MAX).collect()),
        Err(error) => ipv4_addresses(host, port).map_err(|_| error),
    }
}

fn ipv4_addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let hints = AddrInfoHints {
        address: IPV4,
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(host), None, Some(hints))?;
    let mut found = found.take(ADDRESSES_MAX).collect::<io::Result<Vec<_>>>()?;
    Ok(found.iter_mut().map(|info| SocketAddr::new(info.sockaddr.ip(), port)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn names_and_addresses_are_found() {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 7));
        assert_eq!(addresses("127.0.0.1", 7).unwrap(), [local]);
        assert_eq!(ipv4_addresses("127.0.0.1", 7).unwrap(), [local]);
        assert!(ipv4_addresses("localhost", 7).unwrap().contains(&local));
    }

    #[test]
    fn what_is_no_name_is_an_error() {
        assert!(addresses("", 7).is_err() && addresses("no name", 7).is_err());
    }
}
