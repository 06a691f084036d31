//! The same literal bytes four ways, and properties of all bytes.

use proptest::prelude::*;

use super::*;
use crate::block_set::BlockSet;
use crate::geometry::Geometry;

const SRCIP: [u8; 4] = [10, 99, 0, 11];

fn both_ways(message: Message<'_>, bytes: &[u8]) {
    let datagram = Datagram { srcip: SRCIP, message };
    assert_eq!(decode(bytes), Ok(datagram));
    let mut buffer = [0xaa; 2000];
    let len = encode(&datagram, &mut buffer).unwrap();
    assert_eq!(&buffer[..len], bytes);
    for short in 0..len {
        assert!(encode(&datagram, &mut buffer[..short]).is_err());
        assert!(decode(&bytes[..short]).is_err());
    }
    let longer = [bytes, &[9; 7]].concat();
    assert_eq!(decode(&longer), Ok(datagram), "bytes behind the datagram are ignored");
}

#[test]
fn literal_bytes() {
    let header = |kind: u8, subtype: u8, datalen: u16| {
        let len = datalen.to_le_bytes();
        let mut v = vec![kind, 0, 0, 0, subtype, 0, 0, 0, len[0], len[1], 0, 0];
        v.extend(SRCIP);
        v
    };
    let join = [header(1, 1, 4), vec![0x34, 0xfa, 0xb9, 0x71]].concat();
    both_ways(Message::JoinRequest { client_id: 0x71b9_fa34 }, &join);
    let reply = [header(2, 1, 4), vec![0, 4, 0, 0]].concat();
    both_ways(Message::JoinReply { blocks: 1024 }, &reply);
    let leave = [header(1, 2, 8), vec![1, 0, 0, 0, 255, 255, 255, 255]].concat();
    both_ways(Message::Leave { client_id: 1, elapsed: -1 }, &leave);
    let block = [header(1, 3, 11), vec![2, 0, 0, 0, 3, 0, 0, 0, 7, 8, 9]].concat();
    both_ways(Message::Block { chunk: 2, block: 3, payload: &[7, 8, 9] }, &block);
    assert_eq!(encode_block_header(SRCIP, 2, 3, 3).unwrap(), block[..24]);
    let request = [header(1, 4, 12), vec![1, 0, 0, 0, 2, 0, 0, 0, 0, 4, 0, 0]].concat();
    both_ways(Message::Request { chunk: 1, first: 2, count: 1024 }, &request);
    let mut partial = [header(1, 6, 136), vec![1, 0, 0, 0, 5, 0, 0, 0]].concat();
    partial.extend([0b1010; 1].iter().chain(&[0; 127]));
    let wanted = BlockSet::run(1, 1).union(&BlockSet::run(3, 1));
    both_ways(Message::PartialRequest { chunk: 1, retries: 5, wanted }, &partial);
}

#[test]
fn statistics_have_their_fixed_size_on_the_wire() {
    let statistics = Statistics { version: 1, full_re_requests: 7, ..Statistics::default() };
    let mut buffer = [0; CONTROL_LEN_MAX];
    let leave = Message::Leave2 { client_id: 1, elapsed: 2, statistics };
    let len = encode(&Datagram { srcip: SRCIP, message: leave }, &mut buffer).unwrap();
    assert_eq!(len, HEADER_LEN + 1036);
    assert_eq!(buffer[HEADER_LEN + 8 + 124], 7, "the last field before the padding");
    let head = Progress { client_id: 1, who: SRCIP, when: 3, what: 3, seq: 4 };
    let summary = Some(Summary { chunks_in: 5, chunks_out: 6, bytes_out: 7 });
    let report = ProgressReport { head, summary, statistics: Some(statistics) };
    let message = Message::ProgressReport(report);
    let len = encode(&Datagram { srcip: SRCIP, message }, &mut buffer).unwrap();
    assert_eq!(len, CONTROL_LEN_MAX);
    assert_eq!(decode(&buffer).unwrap().message, message);
}

#[test]
fn what_is_not_valid_is_refused_with_a_reason() {
    let bad = |edit: fn(&mut [u8])| {
        let message = Message::Request { chunk: 1, first: 2, count: 3 };
        let mut buffer = [0; 28];
        encode(&Datagram { srcip: SRCIP, message }, &mut buffer).unwrap();
        edit(&mut buffer);
        decode(&buffer).unwrap_err()
    };
    assert_eq!(bad(|b| b[0] = 3), DecodeError::Unknown { kind: 3, subtype: 4 });
    assert_eq!(bad(|b| b[4] = 9), DecodeError::Unknown { kind: 1, subtype: 9 });
    assert_eq!(bad(|b| b[0] = 2), DecodeError::Unknown { kind: 2, subtype: 4 });
    assert_eq!(bad(|b| b[8] = 13), DecodeError::Truncated { datalen: 13, found: 12 });
    assert_eq!(bad(|b| b[8] = 11), DecodeError::ShortBody { subtype: 4, datalen: 11 });
    assert_eq!(bad(|b| b[16..20].fill(255)), DecodeError::Negative { subtype: 4, value: -1 });
    assert_eq!(decode(&[1; 15]), Err(DecodeError::NoHeader { len: 15 }));
    let tall = Message::Request { chunk: u32::MAX, first: 0, count: 0 };
    let datagram = Datagram { srcip: SRCIP, message: tall };
    let refused = encode(&datagram, &mut [0; 99]).unwrap_err();
    assert_eq!(refused, EncodeError::NumberTooLarge { value: u32::MAX });
}

#[test]
fn geometry_is_checked_to_the_letter() {
    let g = Geometry::deployed(1_300_007).unwrap();
    let request = |chunk, first, count| Message::Request { chunk, first, count }.check(&g);
    assert!(request(1, 0, 1024).is_ok(), "old clients may ask for a whole last chunk");
    assert!(request(0, 1023, 1).is_ok());
    assert!(request(2, 0, 1).is_err());
    assert!(request(0, 1024, 0).is_err());
    assert!(request(0, 1, 1024).is_err());
    assert!(request(0, 1, u32::MAX).is_err());
    let payload = [0; 1024];
    let block = |chunk, block, len| Message::Block { chunk, block, payload: &payload[..len] };
    assert!(block(1, 245, 1024).check(&g).is_ok());
    assert!(block(1, 246, 1024).check(&g).is_err());
    assert!(block(0, 1024, 1024).check(&g).is_err());
    assert!(block(0, 0, 1023).check(&g).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_decodes_encodes(
        kind in 0u8..4, subtype in 0u8..10, datalen in 0u16..1100, mut tail in prop::collection::vec(any::<u8>(), 0..1200),
    ) {
        let len = datalen.to_le_bytes();
        let mut bytes = vec![kind, 0, 0, 0, subtype, 0, 0, 0, len[0], len[1], 0, 0, 1, 2, 3, 4];
        bytes.append(&mut tail);
        let g = Geometry::new(16, 8, 1000).unwrap();
        if let Ok(datagram) = decode(&bytes) {
            let _ = datagram.message.check(&g);
            let mut buffer = [0; 1400];
            let n = match encode(&datagram, &mut buffer) {
                Ok(n) => n,
                Err(EncodeError::ExtensionsTooLong { .. }) => return Ok(()),
                Err(other) => panic!("{other}"),
            };
            prop_assert_eq!(decode(&buffer[..n]), Ok(datagram));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&bytes);
    }
}
