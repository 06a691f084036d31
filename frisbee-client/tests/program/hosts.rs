//! The program and an image host: a scripted one, which names real servers.

use super::{sample, setup, text};
use frisbee_server::{Network, Settings};
use mcast::InterfaceSelector;
use rendezvous::ErrorCode;
use rendezvous::frame::{Message, Trouble, TroubleReply, What};
use rendezvous::record::{GetAnswer, GetReply, Methods, SessionAddress, Signature};
use rendezvous::testing::{FakeHost, Step, step};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};
use tests::real_server::RealServer;
use tests::test_server::{Fate, TestServer};

const IMAGE: &str = "lab/disk.ndz";

fn run(number: u8, host: &FakeHost, more: &str, target: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_frisbee-client"))
        .args(["-S", &host.address().to_string(), "-F", IMAGE])
        .args(["-i", &format!("127.78.{number}.2")])
        .args(more.split_whitespace())
        .arg(target)
        .output()
        .unwrap()
}

fn group(number: u8) -> (Ipv4Addr, u16) {
    (Ipv4Addr::new(239, 192, 102, number), 22_000 + u16::from(number))
}

fn server_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 78, number, 1)
}

/// Names a session to whoever asks for these methods.
fn names(number: u8, methods: Methods, (group, port): (Ipv4Addr, u16)) -> Step {
    step(move |peer| {
        let request = peer.hear_get();
        assert_eq!((request.image.as_str(), request.methods), (Some(IMAGE), methods));
        peer.answer_get(GetReply::Found(GetAnswer {
            methods: if group.is_multicast() { Methods::MULTICAST } else { Methods::UNICAST },
            session: Some(SessionAddress { server: server_address(number), group, port }),
            signature: Signature::Modified(7),
            bytes: 1 << 20,
        }));
    })
}

fn refuses(code: ErrorCode) -> Step {
    step(move |peer| {
        peer.hear_get();
        peer.answer_get(GetReply::Error(code));
    })
}

fn hears_of(check: impl FnOnce(Trouble) + Send + 'static) -> Step {
    step(move |peer| {
        match peer.hear() {
            Some(Message::Trouble(trouble)) => check(trouble),
            other => panic!("expected TROUBLE, found {other:?}"),
        }
        peer.say(&Message::TroubleReply(TroubleReply {}));
    })
}

fn objects(output: &Output) -> Vec<serde_json::Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn event<'a>(objects: &'a [serde_json::Value], name: &str) -> &'a serde_json::Value {
    let found = objects.iter().find(|object| object["event"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {objects:?}"))
}

/// A real server that serves each client by itself.
fn unicast_server(number: u8, file: &Path) -> RealServer {
    let address = server_address(number);
    let network = Network {
        group: address.into(),
        ports: 23_000..=23_999,
        interface: InterfaceSelector::ByAddress(address.into()),
        ..Network::default()
    };
    RealServer::start(file, &network, &Settings::default())
}

#[test]
fn a_name_is_enough() {
    let (disk, image) = sample(3);
    let _server = TestServer::start(setup(20, &image));
    let host = FakeHost::start(vec![
        refuses(ErrorCode::TryAgain),
        refuses(ErrorCode::NoMethod),
        names(20, Methods::MULTICAST, group(20)),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("disk");
    let output = run(20, &host, "--json -B 1 -X bcast,mcast", &target);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("try again"), "{}", text(&output.stderr));
    assert!(std::fs::read(&target).unwrap() == disk);
    let objects = objects(&output);
    let found = event(&objects, "found");
    assert_eq!((&found["image"], &found["port"]), (&IMAGE.into(), &22_020.into()));
    assert_eq!(event(&objects, "done")["chunks"], image.len() >> 20);
    host.finish();
}

#[test]
fn a_host_that_refuses_is_told_from_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("disk");
    let host = FakeHost::start(vec![refuses(ErrorCode::NoSuchImage)]);
    let output = run(21, &host, "--json", &target);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no such image"), "{}", text(&output.stderr));
    let objects = objects(&output);
    let failed = event(&objects, "failed");
    assert_eq!((&failed["refused"], &failed["class"]), (&true.into(), &"server".into()));
    let gone = FakeHost::start(vec![]);
    let server = gone.address().to_string();
    gone.finish();
    let output = Command::new(env!("CARGO_BIN_EXE_frisbee-client"))
        .args(["-S", &server, "-F", IMAGE])
        .arg(&target)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&server), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    host.finish();
}

#[test]
fn a_query_loads_nothing() {
    let status = step(|peer| {
        let request = peer.hear_get();
        assert!(request.status && request.methods == Methods::ANY);
        peer.answer_get(GetReply::Found(GetAnswer {
            methods: Methods::UNICAST | Methods::MULTICAST,
            session: None,
            signature: Signature::Modified(77),
            bytes: 5 << 20,
        }));
    });
    let host = FakeHost::start(vec![status, refuses(ErrorCode::NoSuchImage)]);
    let query = || {
        Command::new(env!("CARGO_BIN_EXE_frisbee-client"))
            .args(["-S", &host.address().to_string(), "-F", IMAGE, "-Q"])
            .output()
            .unwrap()
    };
    let said = query();
    assert!(said.status.success());
    let expected = "lab/disk.ndz: 5.0 MiB, modified @77, by unicast, multicast, not running\n";
    assert_eq!(text(&said.stdout), expected);
    assert_eq!(query().status.code(), Some(3));
    host.finish();
}

#[test]
fn a_group_that_brings_nothing_is_left_for_unicast() {
    let (disk, image) = sample(3);
    let folder = tempfile::tempdir().unwrap();
    let (file, target) = (folder.path().join("disk.ndz"), folder.path().join("disk"));
    std::fs::write(&file, &*image).unwrap();
    let server = unicast_server(22, &file);
    let host = FakeHost::start(vec![
        names(22, Methods::ANY, group(22)),
        hears_of(|trouble| {
            assert_eq!((trouble.what, trouble.fallback), (What::NoReply, true));
            assert_eq!((trouble.port, trouble.received_blocks), (22_022, 0));
            assert!(!trouble.client.is_empty() && trouble.seconds == 1, "{trouble:?}");
        }),
        names(22, Methods::UNICAST, (server_address(22), server.port())),
    ]);
    let output = run(22, &host, "--json --fallback-after 1", &target);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("no server answered for 1 s on 239.192.102.22:22022"), "{said}");
    assert!(said.contains("going on by unicast from 127.78.22.1"), "{said}");
    assert!(std::fs::read(&target).unwrap() == disk);
    let objects = objects(&output);
    let fallback = event(&objects, "fallback");
    assert_eq!((&fallback["reason"], &fallback["method"]), (&"no_reply".into(), &"unicast".into()));
    server.stop();
    host.finish();
}

#[test]
fn a_load_whose_data_stops_goes_on_by_unicast_with_what_it_has() {
    let (disk, image) = sample(8);
    let folder = tempfile::tempdir().unwrap();
    let (file, target) = (folder.path().join("disk.ndz"), folder.path().join("disk"));
    std::fs::write(&file, &*image).unwrap();
    let server = unicast_server(23, &file);
    let mut setup = setup(23, &image);
    let mut sent = 0;
    setup.rate = 60_000_000;
    setup.tamper = Box::new(move |_, _, _| {
        sent += 1;
        if sent <= 5_000 { Fate::Send } else { Fate::Lose }
    });
    let _multicast = TestServer::start(setup);
    let host = FakeHost::start(vec![
        names(23, Methods::ANY, group(23)),
        hears_of(|trouble| {
            assert_eq!((trouble.what, trouble.fallback), (What::Stopped, true));
            assert!(trouble.received_blocks > 4_000, "{trouble:?}");
        }),
        names(23, Methods::UNICAST, (server_address(23), server.port())),
    ]);
    let output = run(23, &host, "--json --verify --fallback-after 1", &target);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(std::fs::read(&target).unwrap() == disk);
    let done = objects(&output);
    let done = event(&done, "done");
    assert_eq!((&done["chunks"], &done["blocks_twice"]), (&9.into(), &0.into()), "{done}");
    let blocks = server.stop().totals.blocks_sent;
    assert!(blocks < 5 << 10, "only what was missing is sent again: {blocks}");
    host.finish();
}

#[test]
fn without_fallback_the_host_is_told_all_the_same() {
    let (_, image) = sample(3);
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("disk");
    let mut setup = setup(24, &image);
    setup.tamper = Box::new(|_, _, _| Fate::Lose);
    let _server = TestServer::start(setup);
    let (told, was_told) = std::sync::mpsc::channel();
    let host = FakeHost::start(vec![
        names(24, Methods::ANY, group(24)),
        hears_of(move |trouble| {
            assert_eq!((trouble.what, trouble.fallback), (What::NoData, false));
            told.send(()).unwrap();
        }),
    ]);
    let output = run(24, &host, "--no-fallback --fallback-after 1 -T 2", &target);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("was told"), "{}", text(&output.stderr));
    was_told.recv().unwrap();
    host.finish();
}
