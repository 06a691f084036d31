//! Reads classic pcap files: UDP datagrams over IPv4 over Ethernet.
//!
//! What it owns: just enough of the format for the captures under tests/golden/wire. What it never
//! does: reassemble fragments; a capture that has any is refused.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, ensure};

/// A UDP datagram in a capture.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Microseconds since the capture's first packet.
    pub micros: u64,
    /// Who sent it.
    pub from: SocketAddrV4,
    /// Whom it was sent to.
    pub to: SocketAddrV4,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// The UDP datagrams of a capture, in order; other packets are left out.
pub fn udp_datagrams(capture: &[u8]) -> Result<Vec<Datagram>> {
    let magic = capture.get(..4).context("a capture has a header of 24 bytes")?;
    ensure!(magic == [0xd4, 0xc3, 0xb2, 0xa1], "not a little-endian microsecond capture");
    ensure!(u32_at(capture, 20)? == 1, "not an Ethernet capture");
    let mut rest = capture.get(24..).context("a capture has a header of 24 bytes")?;
    let mut datagrams = Vec::new();
    let mut start = None;
    while !rest.is_empty() {
        let micros = u64::from(u32_at(rest, 0)?) * 1_000_000 + u64::from(u32_at(rest, 4)?);
        let start = *start.get_or_insert(micros);
        let len = usize::try_from(u32_at(rest, 8)?)?;
        ensure!(u32_at(rest, 12)? == u32_at(rest, 8)?, "a packet was cut off");
        let packet = rest.get(16..16 + len).context("a packet is cut off")?;
        rest = rest.get(16 + len..).unwrap_or(&[]);
        if let Some((from, to, bytes)) = udp(packet)? {
            datagrams.push(Datagram { micros: micros - start, from, to, bytes: bytes.to_vec() });
        }
    }
    Ok(datagrams)
}

fn udp(packet: &[u8]) -> Result<Option<(SocketAddrV4, SocketAddrV4, &[u8])>> {
    const IPV4: [u8; 2] = [8, 0];
    const UDP: u8 = 17;
    let Some(ip) = packet.get(14..).filter(|_| packet.get(12..14) == Some(&IPV4)) else {
        return Ok(None);
    };
    let header = ip.get(..20).context("an IPv4 header is cut off")?;
    if header.get(9) != Some(&UDP) {
        return Ok(None);
    }
    ensure!(u16_at(ip, 6)? & 0x3fff == 0, "a fragment");
    let ip_len = usize::from(header.first().copied().unwrap_or(0) & 15) * 4;
    let udp = ip.get(ip_len..).context("a UDP header is cut off")?;
    let len = usize::from(u16_at(udp, 4)?);
    let payload = udp.get(8..len).context("a UDP datagram is cut off")?;
    let from = SocketAddrV4::new(address_at(ip, 12)?, u16_at(udp, 0)?);
    let to = SocketAddrV4::new(address_at(ip, 16)?, u16_at(udp, 2)?);
    Ok(Some((from, to, payload)))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes.get(at..at + 4).context("a capture is cut off")?;
    Ok(u32::from_le_bytes(four.try_into()?))
}

/// Network byte order, unlike the capture's own numbers.
fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let two = bytes.get(at..at + 2).context("a packet is cut off")?;
    Ok(u16::from_be_bytes(two.try_into()?))
}

fn address_at(bytes: &[u8], at: usize) -> Result<Ipv4Addr> {
    let four: [u8; 4] = bytes.get(at..at + 4).context("a packet is cut off")?.try_into()?;
    Ok(Ipv4Addr::from(four))
}
