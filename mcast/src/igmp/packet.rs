//! IGMP packets: versions 1 (RFC 1112, appendix I), 2 (RFC 2236) and 3 (RFC 3376), with their IPv4
//! header.
//!
//! What it owns: the bytes, both ways. What it never does: judge whether a packet may come from
//! where it came from.
//!
//! All three begin alike (RFC 2236, section 2; RFC 3376, section 4):
//! ```text
//! 0 type   1 code (max response)   2 checksum, 2 bytes   4 group address, 4 bytes
//! ```
//! A query of version 3 goes on with flags, QQIC and source addresses; a report of version 3 has
//! the number of its group records in bytes 6 and 7 and the records after it.

use std::net::Ipv4Addr;
use std::time::Duration;
use thiserror::Error;

/// All machines: where general queries go (RFC 2236, section 9).
pub const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// All routers: where version 2 leaves go (RFC 2236, section 9).
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);

/// Where version 3 reports go (RFC 3376, section 4.2.14).
pub const ALL_REPORTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// IP protocol number of IGMP.
pub const PROTOCOL: u8 = 2;

/// The longest packet we send or read: one Ethernet frame. Longer reports are cut by their senders
/// (RFC 3376, section 4.2.16).
pub const PACKET_LEN_MAX: usize = 1500;

/// Length of our IPv4 header: 20 bytes and the router alert option.
const HEADER_LEN: usize = 24;

/// Router alert (RFC 2113): routers look at the packet although it is not for them. RFC 2236
/// section 2 and RFC 3376 section 4 require it, and some switches snoop only packets that have it.
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];

/// "Internetwork control" precedence (RFC 3376, section 4).
const TYPE_OF_SERVICE: u8 = 0xc0;

/// "Do not fragment": such a small packet never has to be.
const DONT_FRAGMENT: u16 = 0x4000;

const QUERY: u8 = 0x11;
const REPORT_V1: u8 = 0x12;
const REPORT_V2: u8 = 0x16;
const LEAVE: u8 = 0x17;
const REPORT_V3: u8 = 0x22;

/// Longest span that the 8-bit codes of version 3 hold, in their units (RFC 3376, section 4.1.1).
const CODE_UNITS_MAX: u128 = 31 << 10;

/// A version of the protocol. Ordered by age.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// RFC 1112.
    V1,
    /// RFC 2236.
    V2,
    /// RFC 3376.
    V3,
}

/// A membership query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    /// Which version's form it has.
    pub version: Version,
    /// The group asked about; `None`: all groups, a *general query*.
    pub group: Option<Ipv4Addr>,
    /// Members answer within this time, in tenths of a second on the wire. Zero in version 1, which
    /// means 10 s.
    pub max_response: Duration,
    /// Routers keep their timers (version 3).
    pub suppress: bool,
    /// The querier's robustness variable, 0 to 7; 0 when it does not tell (version 3).
    pub robustness: u8,
    /// The querier's interval between general queries; zero when it does not tell (version 3).
    pub interval: Duration,
    /// Sources asked about (version 3).
    pub sources: Vec<Ipv4Addr>,
}

/// What a group record of a version 3 report says (RFC 3376, section 4.2.12).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordKind {
    /// 1: wants the sources listed.
    IsInclude,
    /// 2: wants all but the sources listed: an ordinary member.
    IsExclude,
    /// 3: now wants the sources listed; with none, it has left.
    ToInclude,
    /// 4: now wants all but the sources listed: has joined.
    ToExclude,
    /// 5: wants these sources too.
    Allow,
    /// 6: no longer wants these sources.
    Block,
}

impl RecordKind {
    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::IsInclude,
            2 => Self::IsExclude,
            3 => Self::ToInclude,
            4 => Self::ToExclude,
            5 => Self::Allow,
            6 => Self::Block,
            _ => return None,
        })
    }

    const fn code(self) -> u8 {
        match self {
            Self::IsInclude => 1,
            Self::IsExclude => 2,
            Self::ToInclude => 3,
            Self::ToExclude => 4,
            Self::Allow => 5,
            Self::Block => 6,
        }
    }
}

/// One group of a version 3 report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupRecord {
    /// What is said.
    pub kind: RecordKind,
    /// About which group.
    pub group: Ipv4Addr,
    /// The sources meant.
    pub sources: Vec<Ipv4Addr>,
}

impl GroupRecord {
    /// True when whoever sent it is a member after it.
    pub fn is_member(&self) -> bool {
        match self.kind {
            RecordKind::IsExclude | RecordKind::ToExclude => true,
            RecordKind::IsInclude | RecordKind::ToInclude | RecordKind::Allow => {
                !self.sources.is_empty()
            }
            RecordKind::Block => false,
        }
    }

    /// True when whoever sent it has left the group.
    pub fn is_leave(&self) -> bool {
        self.kind == RecordKind::ToInclude && self.sources.is_empty()
    }
}

/// What an IGMP packet says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// "Who is a member?"
    Query(Query),
    /// "I am a member", version 1.
    ReportV1(Ipv4Addr),
    /// "I am a member", version 2.
    ReportV2(Ipv4Addr),
    /// "I leave", version 2.
    Leave(Ipv4Addr),
    /// Any number of those, version 3. Records of unknown kinds are left out (RFC 3376, section
    /// 4.2.12).
    ReportV3(Vec<GroupRecord>),
}

/// A message and its IPv4 header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet {
    /// Who sent it; 0.0.0.0 from a machine without an address or a switch that only snoops.
    pub source: Ipv4Addr,
    /// Where it was sent to.
    pub destination: Ipv4Addr,
    /// What it says.
    pub message: Message,
}

/// Bytes that are no IGMP packet.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub enum PacketError {
    /// Fewer bytes than the packet says it has, or than it must have.
    #[error("an IGMP packet ends in its {part} ({len} bytes)")]
    Short {
        /// What is not there.
        part: &'static str,
        /// Bytes there are.
        len: usize,
    },
    /// A field has a value that it cannot have.
    #[error("an IGMP packet has {found} as its {field}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
    /// The sum over the bytes is not right.
    #[error("the checksum of an IGMP packet's {part} is wrong")]
    Checksum {
        /// Header or message.
        part: &'static str,
    },
}

impl Packet {
    /// Reads an IPv4 packet as a raw socket gives it.
    ///
    /// # Errors
    /// [`PacketError`]; such a packet is to be ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, PacketError> {
        let short = |part| PacketError::Short { part, len: bytes.len() };
        let field = |field, found| Err(PacketError::Field { field, found });
        let fixed = bytes.first_chunk::<20>().ok_or_else(|| short("IPv4 header"))?;
        let [version, _, total_high, total_low, _, _, fragment_high, fragment_low, _, protocol, ..] =
            *fixed;
        if version >> 4 != 4 {
            return field("IP version", u64::from(version >> 4));
        }
        if protocol != PROTOCOL {
            return field("IP protocol", u64::from(protocol));
        }
        let fragment = u16::from_be_bytes([fragment_high, fragment_low]) & 0x3fff;
        if fragment != 0 {
            return field("fragment offset", u64::from(fragment));
        }
        let header_len = usize::from(version & 0xf) * 4;
        let header = bytes
            .get(..header_len)
            .filter(|header| header.len() >= fixed.len())
            .ok_or_else(|| short("IPv4 header"))?;
        if checksum(header) != 0 {
            return Err(PacketError::Checksum { part: "IPv4 header" });
        }
        let total = usize::from(u16::from_be_bytes([total_high, total_low]));
        let payload = bytes.get(header_len..total).ok_or_else(|| short("payload"))?;
        let address = |at: usize| address_at(bytes, at).ok_or_else(|| short("IPv4 header"));
        Ok(Self {
            source: address(12)?,
            destination: address(16)?,
            message: Message::parse(payload)?,
        })
    }

    /// The packet as bytes, with its IPv4 header: TTL 1 and router alert.
    pub fn encode(&self) -> Vec<u8> {
        let message = self.message.encode();
        let total = u16::try_from(HEADER_LEN + message.len()).unwrap_or(u16::MAX);
        let mut bytes = vec![0x46, TYPE_OF_SERVICE];
        bytes.extend(total.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(DONT_FRAGMENT.to_be_bytes());
        bytes.extend([1, PROTOCOL, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(ROUTER_ALERT);
        seal(&mut bytes, 10);
        bytes.extend(message);
        bytes
    }
}

impl Message {
    /// Reads what comes after the IPv4 header.
    ///
    /// # Errors
    /// [`PacketError`]; such a message is to be ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, PacketError> {
        let short = |part| PacketError::Short { part, len: bytes.len() };
        let [kind, code, ..] = *bytes.first_chunk::<8>().ok_or_else(|| short("first 8 bytes"))?;
        if checksum(bytes) != 0 {
            return Err(PacketError::Checksum { part: "message" });
        }
        let group = || {
            let group = address_at(bytes, 4).unwrap_or(Ipv4Addr::UNSPECIFIED);
            if group.is_multicast() { Ok(group) } else { Err(bad_group(group)) }
        };
        match kind {
            QUERY => Query::parse(bytes, code).map(Self::Query),
            REPORT_V1 => group().map(Self::ReportV1),
            REPORT_V2 => group().map(Self::ReportV2),
            LEAVE => group().map(Self::Leave),
            REPORT_V3 => parse_records(bytes).map(Self::ReportV3),
            _ => Err(PacketError::Field { field: "type", found: u64::from(kind) }),
        }
    }

    /// The message as bytes, with its checksum. Of more sources or records than fit a packet
    /// ([`PACKET_LEN_MAX`]) the first are taken.
    pub fn encode(&self) -> Vec<u8> {
        let room = PACKET_LEN_MAX - HEADER_LEN;
        let simple = |kind: u8, group: &Ipv4Addr| {
            let mut bytes = vec![kind, 0, 0, 0];
            bytes.extend(group.octets());
            bytes
        };
        let mut bytes = match self {
            Self::Query(query) => query.encode(room),
            Self::ReportV1(group) => simple(REPORT_V1, group),
            Self::ReportV2(group) => simple(REPORT_V2, group),
            Self::Leave(group) => simple(LEAVE, group),
            Self::ReportV3(records) => encode_records(records, room),
        };
        seal(&mut bytes, 2);
        bytes
    }
}

impl Query {
    /// A general query of a version.
    pub const fn general(version: Version, max_response: Duration) -> Self {
        Self {
            version,
            group: None,
            max_response,
            suppress: false,
            robustness: 0,
            interval: Duration::ZERO,
            sources: Vec::new(),
        }
    }

    /// Which version a query has is told by its length and code (RFC 3376, section 7.1); other
    /// lengths are to be ignored.
    fn parse(bytes: &[u8], code: u8) -> Result<Self, PacketError> {
        let group = address_at(bytes, 4).unwrap_or(Ipv4Addr::UNSPECIFIED);
        if !group.is_unspecified() && !group.is_multicast() {
            return Err(bad_group(group));
        }
        let group = Some(group).filter(|group| !group.is_unspecified());
        let plain = |version| Self { group, ..Self::general(version, tenths(u32::from(code))) };
        match (bytes.len(), code) {
            (8, 0) => Ok(plain(Version::V1)),
            (8, _) => Ok(plain(Version::V2)),
            (12.., _) => {
                let flags = bytes.get(8).copied().unwrap_or_default();
                let interval = bytes.get(9).copied().unwrap_or_default();
                Ok(Self {
                    max_response: tenths(units_of_code(code)),
                    suppress: flags & 8 != 0,
                    robustness: flags & 7,
                    interval: Duration::from_secs(u64::from(units_of_code(interval))),
                    sources: addresses_at(bytes, 12, number_at(bytes, 10))?,
                    ..plain(Version::V3)
                })
            }
            (len, _) => Err(PacketError::Short { part: "query of version 3", len }),
        }
    }

    fn encode(&self, room: usize) -> Vec<u8> {
        let tenths = self.max_response.as_millis() / 100;
        let code = match self.version {
            Version::V1 => 0,
            // Zero would make it a query of version 1.
            Version::V2 => u8::try_from(tenths.max(1)).unwrap_or(u8::MAX),
            Version::V3 => code_of_units(tenths),
        };
        let mut bytes = vec![QUERY, code, 0, 0];
        bytes.extend(self.group.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        if self.version == Version::V3 {
            let flags = u8::from(self.suppress) << 3 | self.robustness.min(7);
            bytes.extend([flags, code_of_units(u128::from(self.interval.as_secs()))]);
            let sources = self.sources.len().min(room.saturating_sub(12) / 4);
            bytes.extend(u16::try_from(sources).unwrap_or_default().to_be_bytes());
            bytes.extend(self.sources.iter().take(sources).flat_map(Ipv4Addr::octets));
        }
        bytes
    }
}

fn parse_records(bytes: &[u8]) -> Result<Vec<GroupRecord>, PacketError> {
    let short = || PacketError::Short { part: "group records", len: bytes.len() };
    let mut records = Vec::new();
    let mut rest = bytes.get(8..).unwrap_or_default();
    for _ in 0..number_at(bytes, 6) {
        let [kind, auxiliary_words, ..] = *rest.first_chunk::<8>().ok_or_else(short)?;
        let sources = addresses_at(rest, 8, number_at(rest, 2))?;
        let group = address_at(rest, 4).ok_or_else(short)?;
        let len = 8 + 4 * sources.len() + 4 * usize::from(auxiliary_words);
        rest = rest.get(len..).ok_or_else(short)?;
        if !group.is_multicast() {
            return Err(bad_group(group));
        }
        records.extend(RecordKind::from_code(kind).map(|kind| GroupRecord {
            kind,
            group,
            sources,
        }));
    }
    Ok(records)
}

fn encode_records(records: &[GroupRecord], room: usize) -> Vec<u8> {
    let mut bytes = vec![REPORT_V3, 0, 0, 0, 0, 0, 0, 0];
    let mut written: u16 = 0;
    for record in records {
        let len = 8 + 4 * record.sources.len();
        let Ok(sources) = u16::try_from(record.sources.len()) else { break };
        if bytes.len() + len > room {
            break;
        }
        bytes.extend([record.kind.code(), 0]);
        bytes.extend(sources.to_be_bytes());
        bytes.extend(record.group.octets());
        bytes.extend(record.sources.iter().flat_map(Ipv4Addr::octets));
        written += 1;
    }
    if let Some(place) = bytes.get_mut(6..8) {
        place.copy_from_slice(&written.to_be_bytes());
    }
    bytes
}

fn bad_group(group: Ipv4Addr) -> PacketError {
    PacketError::Field { field: "group address", found: u64::from(group.to_bits()) }
}

fn tenths(units: u32) -> Duration {
    Duration::from_millis(u64::from(units) * 100)
}

/// What an 8-bit code of version 3 stands for: itself below 128, else a floating-point number
/// (RFC 3376, sections 4.1.1 and 4.1.7).
fn units_of_code(code: u8) -> u32 {
    if code < 128 {
        return u32::from(code);
    }
    let (exponent, mantissa) = (u32::from(code >> 4 & 7), u32::from(code & 0xf));
    (mantissa | 0x10) << (exponent + 3)
}

/// The largest code that does not stand for more.
fn code_of_units(units: u128) -> u8 {
    let units = u32::try_from(units.min(CODE_UNITS_MAX)).unwrap_or(u32::MAX);
    (0..=u8::MAX).rev().find(|code| units_of_code(*code) <= units).unwrap_or_default()
}

fn number_at(bytes: &[u8], at: usize) -> u16 {
    let two = bytes.get(at..).and_then(<[u8]>::first_chunk::<2>);
    two.map_or(0, |two| u16::from_be_bytes(*two))
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

fn addresses_at(bytes: &[u8], at: usize, count: u16) -> Result<Vec<Ipv4Addr>, PacketError> {
    let end = at + usize::from(count) * 4;
    let part =
        bytes.get(at..end).ok_or(PacketError::Short { part: "sources", len: bytes.len() })?;
    let address = |four: &[u8]| address_at(four, 0);
    Ok(part.chunks_exact(4).filter_map(address).collect())
}

/// The internet checksum (RFC 1071): zero over bytes that hold their own right one.
fn checksum(bytes: &[u8]) -> u16 {
    let pair = |pair: &[u8]| {
        let high = pair.first().copied().unwrap_or_default();
        u64::from(u16::from_be_bytes([high, pair.get(1).copied().unwrap_or_default()]))
    };
    let mut sum: u64 = bytes.chunks(2).map(pair).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// Writes the checksum of all bytes to its place, which holds zero.
fn seal(bytes: &mut [u8], at: usize) {
    let sum = checksum(bytes).to_be_bytes();
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&sum);
    }
}

#[cfg(test)]
mod tests;
