use super::*;
use crate::{ErrorCode, OPENING_LEN, Opening, opening};
use std::net::SocketAddrV4;

/// What went over TCP port 64494 when deployed programs met: requests and replies in turn.
const CAPTURED: &[u8] = include_bytes!("../../tests/golden/master-get-put.records");

#[derive(Debug, PartialEq)]
enum Record {
    GetRequest(GetRequest),
    GetReply(GetReply),
    PutRequest(PutRequest),
    PutReply(PutReply),
}

impl Record {
    fn decode(kind: Kind, body: &[u8]) -> Result<Self, RecordError> {
        Ok(match kind {
            Kind::GetRequest => Self::GetRequest(GetRequest::decode(body)?),
            Kind::GetReply => Self::GetReply(GetReply::decode(body)?),
            Kind::PutRequest => Self::PutRequest(PutRequest::decode(body)?),
            Kind::PutReply => Self::PutReply(PutReply::decode(body)?),
        })
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::GetRequest(record) => record.encode(),
            Self::GetReply(record) => record.encode(),
            Self::PutRequest(record) => record.encode(),
            Self::PutReply(record) => record.encode(),
        }
    }
}

fn captured() -> Vec<Record> {
    let mut rest = CAPTURED;
    let mut records = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<OPENING_LEN>() {
        let Ok(Opening::Record(kind)) = opening(*head) else { panic!("not a record: {head:?}") };
        let (body, next) = behind.split_at(kind.body_len());
        let record = Record::decode(kind, body).unwrap();
        assert_eq!([head.as_slice(), body].concat(), record.encode(), "{record:?}");
        records.push(record);
        rest = next;
    }
    assert!(rest.is_empty());
    records
}

fn get(methods: Methods, status: bool, image: &str) -> Record {
    let image = image.parse().unwrap();
    Record::GetRequest(GetRequest { host: None, methods, status, image })
}

#[test]
fn deployed_records_mean_this_and_encode_to_the_same_bytes() {
    let records = captured();
    let server = Ipv4Addr::new(10, 99, 0, 1);
    let found = GetAnswer {
        methods: Methods::UNICAST | Methods::MULTICAST,
        session: None,
        signature: Signature::Modified(0x6b02_a988),
        bytes: 1 << 20,
    };
    let session = SessionAddress { server, group: Ipv4Addr::new(239, 192, 1, 2), port: 43201 };
    let running = GetAnswer { methods: Methods::MULTICAST, session: Some(session), ..found };
    let put = PutRequest {
        host: None,
        status: false,
        image: "up.bin".parse().unwrap(),
        bytes: 300_007,
        modified: 1_795_336_603,
        timeout: 12,
    };
    let asked = PutRequest { status: true, modified: 0, timeout: 0, ..put.clone() };
    let bytes_max = 20_000_000_000;
    let address = Some(SocketAddrV4::new(server, 58927));
    let existing = Existing { signature: Signature::Modified(0x6b02_a99b), bytes: 300_007 };
    let welcome = PutAnswer { address, existing: None, bytes_max };
    let is_there = PutAnswer { address: None, existing: Some(existing), bytes_max };
    let expected = [
        get(Methods::ANY, true, "g1.v3.ndz"),
        Record::GetReply(GetReply::Found(found)),
        get(Methods::MULTICAST, false, "nosuch.ndz"),
        Record::GetReply(GetReply::Error(ErrorCode::NoSuchImage)),
        get(Methods::MULTICAST, false, "g1.v3.ndz"),
        Record::GetReply(GetReply::Found(running)),
        Record::PutRequest(put),
        Record::PutReply(PutReply::Accepted(welcome)),
        Record::PutRequest(asked),
        Record::PutReply(PutReply::Accepted(is_there)),
    ];
    assert_eq!(records, expected);
}

#[test]
fn every_truncation_is_refused() {
    let mut rest = CAPTURED;
    while let Some((head, behind)) = rest.split_first_chunk::<OPENING_LEN>() {
        let Ok(Opening::Record(kind)) = opening(*head) else { panic!("not a record: {head:?}") };
        let (body, next) = behind.split_at(kind.body_len());
        for len in 0..body.len() {
            assert!(Record::decode(kind, &body[..len]).is_err());
        }
        rest = next;
    }
}

#[test]
fn names_and_methods_are_checked() {
    let body = |change: &dyn Fn(&mut [u8])| {
        let mut body = get(Methods::ANY, false, "abc").encode().split_off(OPENING_LEN);
        change(&mut body);
        GetRequest::decode(&body).map_err(|error| error.to_string())
    };
    assert!(body(&|_| {}).is_ok());
    let has_idlen = |len: u16| {
        body(&move |body: &mut [u8]| body[6..8].copy_from_slice(&len.to_be_bytes())).unwrap_err()
    };
    assert!(has_idlen(0).contains("empty"));
    assert!(has_idlen(4).contains("NUL at byte 3"));
    assert!(has_idlen(256).contains("256 bytes"));
    assert!(has_idlen(65535).contains("65535 bytes"));
    assert!(body(&|body: &mut [u8]| body[4] = 8).unwrap_err().contains("0x8"));
    let long = "x".repeat(255);
    let Record::GetRequest(request) = get(Methods::UNICAST, false, &long) else { unreachable!() };
    assert_eq!(GetRequest::decode(&request.encode()[OPENING_LEN..]), Ok(request));
    assert!("x".repeat(256).parse::<ImageId>().is_err());
}

#[test]
fn methods_read_as_words() {
    assert_eq!(Methods::ANY.to_string(), "unicast, multicast, broadcast");
    assert_eq!(Methods::NONE.to_string(), "none");
}

proptest::proptest! {
    #[test]
    fn what_decodes_encodes_to_what_decodes_to_the_same(
        kind in 1u32..5,
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 283),
        short_name in 0u8..9,
    ) {
        let kind = Kind::from_wire(kind).unwrap();
        let mut body = bytes[..kind.body_len()].to_vec();
        if kind == Kind::GetRequest {
            body[6..8].copy_from_slice(&[0, short_name]);
        } else if kind == Kind::PutRequest {
            body[5..7].copy_from_slice(&[0, short_name]);
        }
        if let Ok(record) = Record::decode(kind, &body) {
            let again = record.encode();
            proptest::prop_assert_eq!(Record::decode(kind, &again[OPENING_LEN..]), Ok(record));
        }
    }
}
