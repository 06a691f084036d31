//! The target for what arrives at a rendezvous port, and what comes back from one.

use ::rendezvous::frame::{Ack, End, HEADER_LEN, Header, Message};
use ::rendezvous::record::{GetReply, GetRequest, Kind, PutReply, PutRequest};
use ::rendezvous::{OPENING_LEN, Opening, opening};

/// A connection's bytes: records and frames, one after the other. What decodes must encode to
/// something that decodes to the same.
pub(crate) fn connection(data: &[u8]) {
    let mut rest = data;
    while let Some((head, behind)) = rest.split_first_chunk::<OPENING_LEN>() {
        let next = match opening(*head) {
            Ok(Opening::Record(kind)) => behind.split_at_checked(kind.body_len()).map(|split| {
                record(kind, split.0);
                split.1
            }),
            Ok(Opening::Frame(_)) => frame(rest),
            Err(error) => {
                drop(error.to_string());
                None
            }
        };
        let Some(next) = next else { return };
        rest = next;
    }
}

fn record(kind: Kind, body: &[u8]) {
    macro_rules! both_ways {
        ($record:ty) => {
            match <$record>::decode(body) {
                Err(error) => drop(error.to_string()),
                Ok(record) => {
                    let again = <$record>::decode(&record.encode()[OPENING_LEN..]);
                    assert_eq!(again, Ok(record), "encoding changes the record");
                }
            }
        };
    }
    match kind {
        Kind::GetRequest => both_ways!(GetRequest),
        Kind::GetReply => both_ways!(GetReply),
        Kind::PutRequest => both_ways!(PutRequest),
        Kind::PutReply => both_ways!(PutReply),
    }
}

/// Returns what is behind the frame.
fn frame(data: &[u8]) -> Option<&[u8]> {
    let (head, behind) = data.split_first_chunk::<HEADER_LEN>()?;
    let header = Header::parse(*head).ok()?;
    let (body, rest) = behind.split_at_checked(header.body_len())?;
    match Message::decode(header.kind(), body) {
        Err(error) => drop(error.to_string()),
        Ok(message) => {
            // A text may need more bytes when it is escaped: then it is refused.
            if let Ok(again) = message.encode() {
                let again = Message::decode(header.kind(), &again[HEADER_LEN..]);
                assert_eq!(again.ok(), Some(message), "encoding changes the message");
            }
        }
    }
    Some(rest)
}

/// What deployed programs said, and frames of some kinds.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let captured = include_bytes!("../../rendezvous/tests/golden/master-get-put.records");
    let digest = ::rendezvous::frame::Digest([7; 32]);
    let frames = [
        Message::Ack(Ack { durable_bytes: 1 << 20 }),
        Message::End(End { bytes: 5, blake3: digest }),
    ];
    let mut seeds = vec![captured.to_vec()];
    seeds.extend(frames.iter().filter_map(|message| message.encode().ok()));
    let bodies: [(u8, &str); 4] = [
        (1, r#"{"name":"a/b.ndz","token":"t","bytes":7,"image":true,"resume":"u"}"#),
        (2, r#"{"error":{"code":8,"message":"too big"}}"#),
        (
            7,
            r#"{"image":"a","address":"239.1.2.3","port":7,"what":"no_data","seconds":9,"received_blocks":0,"fallback":true,"client":"n"}"#,
        ),
        (
            10,
            r#"{"group":"239.1.2.3","port":7,"datagrams":9,"bits_per_sec":8,"ttl":1,"interface":"e","nonce":"00"}"#,
        ),
    ];
    for (kind, body) in bodies {
        let len = u32::try_from(body.len()).expect("short").to_be_bytes();
        seeds.push([b"F01\0\0\0\0".as_slice(), &[kind], &len, body.as_bytes()].concat());
    }
    seeds
}
