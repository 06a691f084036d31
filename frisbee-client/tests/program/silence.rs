//! What a user is told to whom nothing comes: on standard error, with exit status 1.

use super::{run, sample, setup, text};
use proto::wire::{CONTROL_LEN_MAX, Datagram, Message, decode, encode};
use std::net::Ipv4Addr;
use tests::bystander::Bystander;
use tests::test_server::{Fate, TestServer};

/// Runs a client that gives up; all of `parts` must be said.
fn gives_up(number: u8, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("disk");
    let output = run(number, "-T 1", &target);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
}

/// Another client, which says something whenever it hears a datagram that `moves` it.
fn other_client(
    number: u8,
    moves: fn(&Message<'_>) -> bool,
    says: fn() -> Message<'static>,
) -> Bystander {
    let setup = setup(number, &Default::default());
    let host = Ipv4Addr::new(127, 78, number, 3);
    Bystander::start(setup.group, setup.port, host.into(), move |_, bytes, answers| {
        if decode(bytes).is_ok_and(|heard| moves(&heard.message)) {
            let mut buffer = [0; CONTROL_LEN_MAX];
            let datagram = Datagram { srcip: host.octets(), message: says() };
            let len = encode(&datagram, &mut buffer).unwrap();
            answers.push(buffer[..len].to_vec());
        }
    })
}

#[test]
fn nothing_was_heard() {
    gives_up(4, &["nothing at all", "239.192.102.4:22004", "(127.78.4.2)", "IGMP", "firewall"]);
}

#[test]
fn nobody_replied() {
    let _other = other_client(5, |_| true, || Message::JoinRequest { client_id: 9 });
    gives_up(5, &["no server answered", "join requests", "other clients", "firewall"]);
}

#[test]
fn no_data_came() {
    let mut setup = setup(6, &sample(3).1);
    setup.tamper = Box::new(|_, _, _| Fate::Lose);
    let server = TestServer::start(setup);
    gives_up(6, &["127.78.6.1:22006 answered, but no block came", "0 of 4 chunks", "ping"]);
    assert_eq!(server.stop().leaves.len(), 1);
}

#[test]
fn nothing_new_came() {
    // A block never gets through; another one is sent again for somebody else.
    let mut setup = setup(7, &sample(3).1);
    setup.tamper = Box::new(|_, block, _| if block == 77 { Fate::Lose } else { Fate::Send });
    let _server = TestServer::start(setup);
    let is_repair = |heard: &Message<'_>| matches!(heard, Message::PartialRequest { .. });
    let first_block = || Message::Request { chunk: 0, first: 0, count: 1 };
    let _other = other_client(7, is_repair, first_block);
    let parts = [
        "blocks arrive from server 127.78.7.1:22007, but for 1 s none that was missing",
        "0 of 4 chunks",
        "came twice",
        "two servers",
        "disk keep up",
    ];
    gives_up(7, &parts);
}
