//! What `-T` says.

use super::{Ground, golden, target};
use frisbee_client::ClientError;
use proto::wire::{CONTROL_LEN_MAX, Datagram, Message, decode, encode};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tests::bystander::Bystander;
use tests::test_server::{Fate, TestServer};

fn said(ground: Ground) -> String {
    let (_folder, target) = target();
    let error = ground.load(2, &target, "-T 1").0.unwrap_err();
    assert!(matches!(error, ClientError::GaveUp(_)), "{error}");
    assert!(!target.exists());
    error.to_string()
}

#[test]
fn nothing_at_all() {
    let text = said(Ground(40));
    for part in ["nothing at all", "239.192.101.40:21040", "lo (127.77.40.2)", "IGMP", "firewall"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn datagrams_but_no_reply() {
    let ground = Ground(41);
    // Another client, waiting too.
    let setup = ground.setup(&Arc::default());
    let host = Ipv4Addr::new(127, 77, 41, 3);
    let other = Bystander::start(setup.group, setup.port, host.into(), move |_, _, answers| {
        let message = Message::JoinRequest { client_id: 3 };
        answers.push(encoded(host, message));
    });
    let text = said(ground);
    assert!(text.contains("no server answered") && text.contains("other clients"), "{text}");
    drop(other);
}

fn encoded(from: Ipv4Addr, message: Message<'_>) -> Vec<u8> {
    let mut buffer = [0; CONTROL_LEN_MAX];
    let len = encode(&Datagram { srcip: from.octets(), message }, &mut buffer).unwrap();
    buffer[..len].to_vec()
}

#[test]
fn a_reply_but_no_data() {
    let ground = Ground(42);
    let mut setup = ground.setup(&golden("g1.v5"));
    setup.tamper = Box::new(|_, _, _| Fate::Lose);
    let _server = TestServer::start(setup);
    let text = said(ground);
    assert!(text.contains("127.77.42.1:21042 answered, but no block came"), "{text}");
    assert!(text.contains("0 of 1 chunks"), "{text}");
}

#[test]
fn data_but_no_progress() {
    let ground = Ground(43);
    let image = golden("file.v3");
    let mut setup = ground.setup(&image);
    // The last block never gets through; the first one is asked for again by somebody else, each
    // time this client asks for the last.
    setup.tamper = Box::new(|_, block, _| if block == 1023 { Fate::Lose } else { Fate::Send });
    let host = Ipv4Addr::new(127, 77, 43, 3);
    let (group, port) = (setup.group, setup.port);
    let _server = TestServer::start(setup);
    let other = Bystander::start(group, port, host.into(), move |_, bytes, answers| {
        if let Ok(Datagram { message: Message::PartialRequest { .. }, .. }) = decode(bytes) {
            answers.push(encoded(host, Message::Request { chunk: 0, first: 0, count: 1 }));
        }
    });
    let text = said(ground);
    drop(other);
    assert!(
        text.contains("blocks arrive from server 127.77.43.1:21043, but for 1 s none"),
        "{text}"
    );
    for part in ["0 of 1 chunks", "blocks came twice", "two servers use group 239.192.101.43:21043"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}
