//! Asking for images.

use crate::support::{Host, load_alone, sample};
use rendezvous::ErrorCode;
use rendezvous::client::{Connection, Limits};
use rendezvous::frame::{Message, Test, TestReply};
use rendezvous::record::{GetReply, Methods, Signature};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, SystemTime};
use tests::wait::until;

/// What deployed programs said to each other; see the records' own tests.
const CAPTURED: &[u8] = include_bytes!("../../../rendezvous/tests/golden/master-get-put.records");

fn exchange(host: &Host, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(host.rendezvous()).unwrap();
    stream.write_all(request).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    reply
}

#[test]
fn deployed_requests_get_the_answers_that_deployed_servers_gave() {
    let image =
        fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/g1.v3.ndz")).unwrap();
    let host = Host::start(1, "", &[("g1.v3.ndz", &image)]);
    // The capture's image has another time of change.
    let (get, put) = (8 + 264, 8 + 279);
    let (get_reply, put_reply) = (8 + 280, 8 + 283);
    let mut at = 0;
    let mut next = |len: usize| {
        at += len;
        &CAPTURED[at - len..at]
    };
    let (status, status_reply) = (next(get), next(get_reply));
    let GetReply::Found(captured) = GetReply::decode(&status_reply[8..]).unwrap() else { panic!() };
    let Signature::Modified(secs) = captured.signature else { panic!("{captured:?}") };
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(secs.into());
    File::options().append(true).open(host.image("g1.v3.ndz")).unwrap().set_modified(time).unwrap();
    assert!(exchange(&host, status) == status_reply, "a status request");
    assert!(exchange(&host, next(get)) == next(get_reply), "an image that is not there");
    let started = exchange(&host, next(get));
    let (GetReply::Found(ours), GetReply::Found(theirs)) = (
        GetReply::decode(&started[8..]).unwrap(),
        GetReply::decode(&next(get_reply)[8..]).unwrap(),
    ) else {
        panic!()
    };
    assert_eq!(
        (ours.methods, ours.bytes, ours.signature),
        (theirs.methods, theirs.bytes, theirs.signature)
    );
    let session = ours.session.unwrap();
    assert_eq!(session.group.octets()[..3], [239, 192, 1]);
    assert_eq!(session.server.octets(), [127, 0, 0, 1]);
    // PUT is not allowed here.
    let refused = exchange(&host, next(put));
    assert_eq!(refused.len(), put_reply);
    assert_eq!(u16::from_be_bytes([refused[8], refused[9]]), u16::from(ErrorCode::NoAccess));
}

#[test]
fn clients_load_images_by_name_by_multicast_and_by_unicast() {
    let (disk, image) = sample(1, 6);
    let (other_disk, other) = sample(2, 4);
    let host = Host::start(2, "", &[("a.ndz", &image), ("project/b.ndz", &other)]);
    let targets = tempfile::tempdir().unwrap();
    let wanted =
        [("a.ndz", "", &disk), ("project/b.ndz", "-X unicast", &other_disk), ("a.ndz", "", &disk)];
    std::thread::scope(|scope| {
        for (number, (name, more, disk)) in wanted.into_iter().enumerate() {
            let (host, target) = (&host, targets.path().join(number.to_string()));
            scope.spawn(move || {
                load_alone(host.rendezvous(), name, more, &target).unwrap();
                assert!(fs::read(&target).unwrap() == *disk, "{name}");
            });
        }
    });
    let sessions = host.http_json("/api/v1/sessions");
    let text = sessions.to_string();
    assert!(text.contains("a.ndz") && text.contains("project/b.ndz"), "{text}");
}

#[test]
fn a_herd_starts_one_session() {
    let (_, image) = sample(3, 2);
    let host = Host::start(3, "", &[("a.ndz", &image)]);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || host.get("a.ndz", Methods::MULTICAST, false).unwrap();
        let threads: Vec<_> = (0..400).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sessions: BTreeSet<_> =
        answers.iter().map(|answer| answer.session.unwrap()).map(|s| (s.group, s.port)).collect();
    assert_eq!((answers.len(), sessions.len()), (400, 1));
}

#[test]
fn names_never_leave_the_store() {
    let host =
        Host::start(4, "[[access]]\nallow = ['get', 'put']", &[("a.ndz", b"x"), ("dir/b", b"y")]);
    fs::write(host.folder.path().join("secret"), b"secret").unwrap();
    std::os::unix::fs::symlink("../secret", host.image("link")).unwrap();
    std::os::unix::fs::symlink("..", host.image("up")).unwrap();
    let outside = host.folder.path().join("secret").display().to_string();
    for name in ["../secret", "dir/../../secret", &outside, "link", "up/secret", ".hidden", "dir"] {
        for status in [true, false] {
            let error = host.get(name, Methods::ANY, status).unwrap_err();
            let code = error.code().unwrap_or_else(|| panic!("{name}: {error}"));
            assert_ne!(code, ErrorCode::TryAgain, "{name}");
        }
    }
    assert_eq!(host.get("dir/b", Methods::ANY, true).unwrap().bytes, 1);
}

#[test]
fn who_may_not_is_told_so() {
    let rules = "[[access]]\nallow = ['get']\nimages = ['open/*']";
    let host = Host::start(5, rules, &[("open/a", b"x"), ("closed/a", b"x")]);
    assert!(host.get("open/a", Methods::ANY, true).is_ok());
    let error = host.get("closed/a", Methods::ANY, true).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NoAccess));
    // A proxy must be one.
    let request = rendezvous::record::GetRequest {
        host: Some([10, 0, 0, 9].into()),
        methods: Methods::ANY,
        status: true,
        image: "open/a".parse().unwrap(),
    };
    let reply = exchange(&host, &request.encode());
    assert!(matches!(GetReply::decode(&reply[8..]), Ok(GetReply::Error(ErrorCode::NoAccess))));
}

#[test]
fn a_broken_image_is_refused_before_anybody_loads_it() {
    let (_, mut image) = sample(6, 4);
    let end = image.len() - (1 << 20);
    image.truncate(end);
    let host = Host::start(6, "", &[("a.ndz", &image)]);
    let error = host.get("a.ndz", Methods::ANY, false).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Failed));
    assert!(host.log().contains("a.ndz"), "{}", host.log());
}

#[test]
fn a_replaced_image_gets_a_session_of_its_own() {
    let host = Host::start(7, "", &[("a", b"old")]);
    let session = |host: &Host| host.get("a", Methods::MULTICAST, false).unwrap().session.unwrap();
    let old = session(&host);
    assert_eq!(session(&host), old);
    fs::write(host.image("new"), b"newer").unwrap();
    fs::rename(host.image("new"), host.image("a")).unwrap();
    let new = session(&host);
    assert!(new.group != old.group && new.port != old.port);
}

#[test]
fn a_doctor_gets_test_datagrams_but_not_on_a_group_in_use() {
    let host = Host::start(9, "", &[("a", b"x")]);
    let session = host.get("a", Methods::MULTICAST, false).unwrap().session.unwrap();
    let test = |group, port| Test {
        seconds: 1,
        bits_per_sec: 1_000_000,
        datagram_bytes: 1000,
        group,
        unicast: false,
        port,
    };
    let ask = |test| {
        let limits = Limits::default();
        let mut connection = Connection::open(&host.server(), &limits).unwrap();
        connection.send_message(&Message::Test(test), "asking").unwrap();
        let reply = connection.receive_message("waiting").unwrap();
        let Message::TestReply(TestReply::Start(start)) = reply else { return Err(reply) };
        let done = connection.receive_message("waiting").unwrap();
        Ok((start, done))
    };
    assert!(ask(test(Some(IpAddr::V4(session.group)), Some(session.port))).is_err());
    let (start, done) = ask(test(None, Some(20_199))).unwrap();
    let Message::TestDone(done) = done else { panic!("{done:?}") };
    assert!(done.sent > 50 && done.sent <= start.datagrams, "{done:?} {start:?}");
}

#[test]
fn idle_sessions_end_and_trouble_is_seen() {
    let host = Host::start(8, "idle_secs = 1", &[("a", b"x")]);
    let session = host.get("a", Methods::MULTICAST, false).unwrap().session.unwrap();
    let trouble = rendezvous::frame::Trouble {
        image: "a".parse().unwrap(),
        address: IpAddr::V4(session.group),
        port: session.port,
        what: rendezvous::frame::What::NoData,
        seconds: 10,
        received_blocks: 0,
        fallback: true,
        client: "node7".into(),
    };
    rendezvous::client::trouble(&host.server(), &trouble, &Default::default()).unwrap();
    assert!(host.log().contains("it goes on by unicast"), "{}", host.log());
    let running = || host.http_json("/api/v1/sessions").to_string().contains("239.192.8.");
    until("the idle session has ended", || !running());
    let again = host.get("a", Methods::MULTICAST, false).unwrap().session.unwrap();
    assert_ne!(again.group, session.group, "not the same at once");
}
