//! Literal packets both ways, and any message there and back.

use super::*;
use proptest::prelude::*;

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// A general query of version 2 as a Linux bridge sends it: 10 s.
const GENERAL_V2: [u8; 32] = [
    0x46, 0xc0, 0x00, 0x20, 0x00, 0x00, 0x40, 0x00, 0x01, 0x02, 0xf9, 0xc8, 0x0a, 0x4d, 0x00, 0x01,
    0xe0, 0x00, 0x00, 0x01, 0x94, 0x04, 0x00, 0x00, 0x11, 0x64, 0xee, 0x9b, 0x00, 0x00, 0x00, 0x00,
];

#[test]
fn the_bytes_of_a_general_query_are_these() {
    let message = Message::Query(Query::general(Version::V2, Duration::from_secs(10)));
    let packet = Packet { source: ip("10.77.0.1"), destination: ALL_SYSTEMS, message };
    assert_eq!(packet.encode(), GENERAL_V2);
    assert_eq!(Packet::parse(&GENERAL_V2), Ok(packet));
}

#[test]
fn reports_of_version_3_tell_joins_and_leaves() {
    // As a Linux host sends it: TO_EX {} for 239.192.70.83.
    let bytes = [
        0x22, 0x00, 0xa3, 0xea, 0x00, 0x00, 0x00, 0x01, 0x04, 0x00, 0x00, 0x00, 0xef, 0xc0, 0x46,
        0x53,
    ];
    let Ok(Message::ReportV3(records)) = Message::parse(&bytes) else {
        panic!("{:?}", Message::parse(&bytes))
    };
    let wanted = GroupRecord {
        kind: RecordKind::ToExclude,
        group: ip("239.192.70.83"),
        sources: Vec::new(),
    };
    assert_eq!(records, std::slice::from_ref(&wanted));
    assert!(wanted.is_member() && !wanted.is_leave());
    let left = GroupRecord { kind: RecordKind::ToInclude, ..wanted.clone() };
    assert!(left.is_leave() && !left.is_member());
    let one_source = GroupRecord { sources: vec![ip("10.0.0.1")], ..left };
    assert!(one_source.is_member() && !one_source.is_leave());
    assert_eq!(Message::ReportV3(vec![wanted]).encode(), bytes);
}

#[test]
fn the_version_of_a_query_is_told_by_length_and_code() {
    let version = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        seal(&mut bytes, 2);
        match Message::parse(&bytes) {
            Ok(Message::Query(query)) => Some(query.version),
            _ => None,
        }
    };
    let old = [QUERY, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(version(&old), Some(Version::V1));
    assert_eq!(version(&[QUERY, 100, 0, 0, 0, 0, 0, 0]), Some(Version::V2));
    assert_eq!(version(&[&old[..], &[0; 4]].concat()), Some(Version::V3));
    assert_eq!(version(&[&old[..], &[0; 2]].concat()), None, "ignored");
}

#[test]
fn codes_are_exact_below_128_and_never_more_than_asked_above() {
    for units in 0..128u8 {
        assert_eq!((code_of_units(units.into()), units_of_code(units)), (units, units.into()));
    }
    for units in (128..32_000u32).step_by(7) {
        let said = units_of_code(code_of_units(units.into()));
        assert!(said <= units && said * 17 >= units.min(31_744) * 16, "{units} {said}");
    }
    assert_eq!(units_of_code(code_of_units(u128::MAX)), 31_744);
}

#[test]
fn what_is_not_igmp_is_refused_with_the_reason() {
    let broken = |at: usize, byte: u8| {
        let mut bytes = GENERAL_V2;
        bytes[at] = byte;
        Packet::parse(&bytes).unwrap_err().to_string()
    };
    assert!(broken(0, 0x66).contains("IP version"));
    assert!(broken(0, 0x4f).contains("IPv4 header"));
    assert!(broken(9, 17).contains("IP protocol"));
    assert!(broken(7, 1).contains("fragment"));
    assert!(broken(12, 11).contains("checksum"));
    assert!(broken(25, 99).contains("message is wrong"));
    for len in 0..GENERAL_V2.len() {
        assert!(Packet::parse(&GENERAL_V2[..len]).is_err(), "{len}");
    }
    let mut unicast = Message::ReportV2(ip("10.0.0.1")).encode();
    assert!(Message::parse(&unicast).unwrap_err().to_string().contains("group address"));
    unicast[0] = 0x99;
    unicast[2..4].fill(0);
    seal(&mut unicast, 2);
    assert!(Message::parse(&unicast).unwrap_err().to_string().contains("type"));
}

fn group() -> impl Strategy<Value = Ipv4Addr> {
    (224..240u8, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| Ipv4Addr::new(a, b, c, d))
}

fn sources() -> impl Strategy<Value = Vec<Ipv4Addr>> {
    prop::collection::vec(any::<u32>().prop_map(Ipv4Addr::from_bits), 0..5)
}

fn record() -> impl Strategy<Value = GroupRecord> {
    (1..7u8, group(), sources()).prop_map(|(kind, group, sources)| GroupRecord {
        kind: RecordKind::from_code(kind).unwrap(),
        group,
        sources,
    })
}

fn query() -> impl Strategy<Value = Query> {
    let of_group = prop::option::of(group());
    let old = (of_group, 1..256u32)
        .prop_map(|(group, units)| Query { group, ..Query::general(Version::V2, tenths(units)) });
    let new = (prop::option::of(group()), any::<[u8; 2]>(), any::<bool>(), 0..8u8, sources());
    let new = new.prop_map(|(group, [code, interval], suppress, robustness, sources)| Query {
        version: Version::V3,
        group,
        max_response: tenths(units_of_code(code)),
        suppress,
        robustness,
        interval: Duration::from_secs(units_of_code(interval).into()),
        sources,
    });
    prop_oneof![old, new]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        query().prop_map(Message::Query),
        group().prop_map(Message::ReportV1),
        group().prop_map(Message::ReportV2),
        group().prop_map(Message::Leave),
        prop::collection::vec(record(), 0..20).prop_map(Message::ReportV3),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_parses_back(message in message(), source: u32, destination: u32) {
        let packet = Packet {
            source: source.into(),
            destination: destination.into(),
            message,
        };
        prop_assert_eq!(Packet::parse(&packet.encode()), Ok(packet));
    }

    #[test]
    fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Packet::parse(&bytes);
        if bytes.len() >= 8 {
            bytes[2..4].fill(0);
            seal(&mut bytes, 2);
        }
        let _ = Message::parse(&bytes);
    }
}
