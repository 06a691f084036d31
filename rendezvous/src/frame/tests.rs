use super::*;
use crate::ErrorCode;

fn failure() -> Failure {
    Failure { code: ErrorCode::TooBig, message: "7 GiB; the server takes 5".into() }
}

/// One message of each form, with the body that docs/rendezvous.md promises.
fn samples() -> Vec<(Message, String)> {
    let hex = "01".repeat(32);
    let digest = Digest([1; 32]);
    let start =
        UploadStart { upload_id: "u1".into(), offset: 1 << 40, bytes_max: Some(5_000_000_000) };
    let upload = Upload {
        name: "ubuntu/22.ndz".parse().unwrap(),
        token: Some(Token("s3cret".into())),
        bytes: Some(7),
        image: true,
        resume: Some("u1".into()),
    };
    let bare = Upload { token: None, bytes: None, resume: None, image: false, ..upload.clone() };
    let trouble = Trouble {
        image: "a".parse().unwrap(),
        address: [239, 192, 1, 2].into(),
        port: 7000,
        what: What::NoData,
        seconds: 10,
        received_blocks: 0,
        fallback: true,
        client: "node7".into(),
    };
    let test = Test {
        seconds: 5,
        bits_per_sec: 1_000_000,
        datagram_bytes: 1448,
        group: None,
        unicast: true,
        port: Some(9),
    };
    let test_start = TestStart {
        group: [239, 192, 1, 3].into(),
        port: 7001,
        datagrams: 100,
        bits_per_sec: 1_000_000,
        ttl: 3,
        interface: "eth1".into(),
        querier: Some([10, 0, 0, 1].into()),
        nonce: "00112233445566ff".into(),
    };
    let error = r#"{"error":{"code":8,"message":"7 GiB; the server takes 5"}}"#.to_owned();
    let all = [
        (
            Message::Upload(upload),
            r#"{"name":"ubuntu/22.ndz","token":"s3cret","bytes":7,"image":true,"resume":"u1"}"#
                .into(),
        ),
        (Message::Upload(bare), r#"{"name":"ubuntu/22.ndz","image":false}"#.into()),
        (
            Message::UploadReply(UploadReply::Start(start)),
            r#"{"upload_id":"u1","offset":1099511627776,"bytes_max":5000000000}"#.into(),
        ),
        (Message::UploadReply(UploadReply::Refused { error: failure() }), error.clone()),
        (Message::Ack(Ack { durable_bytes: 5 }), r#"{"durable_bytes":5}"#.into()),
        (
            Message::End(End { bytes: 7, blake3: digest }),
            format!(r#"{{"bytes":7,"blake3":"{hex}"}}"#),
        ),
        (
            Message::Verdict(Verdict::Published { bytes: 7, blake3: digest }),
            format!(r#"{{"bytes":7,"blake3":"{hex}"}}"#),
        ),
        (Message::Verdict(Verdict::Refused { error: failure() }), error.clone()),
        (
            Message::Trouble(trouble),
            concat!(
                r#"{"image":"a","address":"239.192.1.2","port":7000,"what":"no_data","#,
                r#""seconds":10,"received_blocks":0,"fallback":true,"client":"node7"}"#
            )
            .into(),
        ),
        (Message::TroubleReply(TroubleReply {}), "{}".into()),
        (
            Message::Test(test),
            concat!(
                r#"{"seconds":5,"bits_per_sec":1000000,"datagram_bytes":1448,"#,
                r#""unicast":true,"port":9}"#
            )
            .into(),
        ),
        (
            Message::TestReply(TestReply::Start(test_start)),
            concat!(
                r#"{"group":"239.192.1.3","port":7001,"datagrams":100,"bits_per_sec":1000000,"#,
                r#""ttl":3,"interface":"eth1","querier":"10.0.0.1","nonce":"00112233445566ff"}"#
            )
            .into(),
        ),
        (Message::TestReply(TestReply::Refused { error: failure() }), error),
        (Message::TestDone(TestDone { sent: 100 }), r#"{"sent":100}"#.into()),
        (Message::Abort(Abort { reason: "^C".into() }), r#"{"reason":"^C"}"#.into()),
    ];
    all.into()
}

#[test]
fn messages_go_both_ways() {
    for (message, body) in samples() {
        let bytes = message.encode().unwrap();
        let (header, found) = bytes.split_first_chunk::<HEADER_LEN>().unwrap();
        assert_eq!(String::from_utf8_lossy(found), body);
        let header = Header::parse(*header).unwrap();
        assert_eq!((header.kind(), header.body_len()), (message.kind(), found.len()));
        assert_eq!(Message::decode(header.kind(), found).unwrap(), message);
    }
}

#[test]
fn unknown_fields_are_ignored_and_an_error_counts_more_than_the_rest() {
    let body = br#"{"durable_bytes":5,"colour":"red"}"#;
    let message = Message::decode(Kind::Ack, body).unwrap();
    assert_eq!(message, Message::Ack(Ack { durable_bytes: 5 }));
    let body = br#"{"error":{"code":1,"message":"no"},"upload_id":"","offset":0,"bytes_max":0}"#;
    let reply = Message::decode(Kind::UploadReply, body).unwrap();
    assert!(matches!(reply, Message::UploadReply(UploadReply::Refused { .. })), "{reply:?}");
    let body = br#"{"error":null,"upload_id":"x","offset":0}"#;
    let reply = Message::decode(Kind::UploadReply, body).unwrap();
    assert!(matches!(reply, Message::UploadReply(UploadReply::Start(_))), "{reply:?}");
}

#[test]
fn lengths_are_limited_before_anything_is_allocated() {
    let header = |kind: u32, len: u32| {
        let bytes = [*b"F01\0", kind.to_be_bytes(), len.to_be_bytes()].concat();
        Header::parse(bytes.try_into().unwrap()).map_err(|error| error.to_string())
    };
    assert!(header(3, DATA_LEN_MAX).is_ok());
    assert!(header(3, DATA_LEN_MAX + 1).unwrap_err().contains("1048576 are the most"));
    assert!(header(1, JSON_LEN_MAX).is_ok());
    assert!(header(1, JSON_LEN_MAX + 1).is_err());
    assert!(header(13, 0).unwrap_err().contains("type 13"));
    assert!(Header::new(Kind::Data, (1 << 20) + 1).is_none());
    let long = Failure { code: ErrorCode::Failed, message: "x".repeat(70_000) };
    assert!(Message::Verdict(Verdict::Refused { error: long }).encode().is_err());
}

#[test]
fn secrets_are_not_shown() {
    let (message, _) = samples().remove(0);
    assert!(!format!("{message:?}").contains("s3cret"));
}

#[test]
fn bad_bodies_are_named() {
    let refused =
        |kind, body: &str| Message::decode(kind, body.as_bytes()).unwrap_err().to_string();
    assert!(refused(Kind::Upload, r#"{"name":"","image":true}"#).contains("empty"));
    assert!(refused(Kind::Upload, r#"{"name":"a\u0000b","image":true}"#).contains("NUL"));
    assert!(refused(Kind::End, r#"{"bytes":1,"blake3":"zz"}"#).contains("64 hexadecimal"));
    assert!(refused(Kind::Ack, r#"{"durable_bytes":-1}"#).contains("Ack"));
    let nested = "[".repeat(60_000);
    assert!(refused(Kind::Test, &nested).contains("Test"));
}
