use super::*;
use crate::ErrorCode;
use crate::frame::{Message, Trouble, TroubleReply, What};
use crate::record::{
    Existing, GetAnswer, GetReply, GetRequest, Methods, PutAnswer, PutReply, PutRequest,
    SessionAddress, Signature,
};
use crate::testing::{FakeHost, step};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

fn request() -> GetRequest {
    let image = "a/b.ndz".parse().unwrap();
    GetRequest { host: None, methods: Methods::ANY, status: false, image }
}

fn answer() -> GetAnswer {
    let (server, group) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(239, 1, 2, 3));
    GetAnswer {
        methods: Methods::MULTICAST,
        session: Some(SessionAddress { server, group, port: 7001 }),
        signature: Signature::None,
        bytes: 5 << 20,
    }
}

fn limits() -> Limits {
    let (connect, answer) = (Duration::from_secs(5), Duration::from_secs(5));
    Limits { connect, answer, stop: Stop::default() }
}

/// Asks again at once.
fn patient() -> Patience {
    let long = Duration::from_secs(60);
    Patience { interval: Duration::ZERO, busy: None, unreachable: long, unanswered: long }
}

fn says(reply: GetReply) -> crate::testing::Step {
    step(move |peer| {
        assert_eq!(peer.hear_get(), request());
        peer.answer_get(reply);
    })
}

#[test]
fn asks_again_while_the_host_says_so_or_is_silent() {
    let busy = || says(GetReply::Error(ErrorCode::TryAgain));
    let cut = step(|peer| drop(peer.hear_get()));
    let half = step(|peer| {
        peer.hear_get();
        peer.send(&GetReply::Found(answer()).encode()[..100]);
    });
    let host = FakeHost::start(vec![busy(), cut, half, busy(), says(GetReply::Found(answer()))]);
    assert_eq!(get(&host.server(), &request(), &patient(), &limits()).unwrap(), answer());
    host.finish();
}

#[test]
fn says_who_refused_what_and_why() {
    let steps = vec![
        says(GetReply::Error(ErrorCode::NoSuchImage)),
        says(GetReply::Error(ErrorCode::TryAgain)),
        says(GetReply::Found(GetAnswer { session: None, ..answer() })),
        step(|peer| peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        step(|peer| peer.send(&request().encode())),
    ];
    let host = FakeHost::start(steps);
    let ask = || get(&host.server(), &request(), &Patience::NONE, &limits()).unwrap_err();
    let error = ask();
    assert_eq!(error.code(), Some(ErrorCode::NoSuchImage));
    let text = error.to_string();
    assert!(text.contains("image a/b.ndz: there is no such image"), "{text}");
    assert!(text.starts_with(&host.server().to_string()), "{text}");
    assert_eq!(ask().code(), Some(ErrorCode::TryAgain));
    let expected = ["address of a session", "no image host", "GetRequest"];
    for part in expected {
        let text = ask().to_string();
        assert!(text.contains(part), "{part}: {text}");
    }
    host.finish();
}

#[test]
fn a_host_that_is_not_there_or_says_nothing_is_an_error_in_time() {
    // Nobody listens on a port that was just given back.
    let host = FakeHost::start(vec![]);
    let server = host.server();
    host.finish();
    let error = get(&server, &request(), &Patience::NONE, &limits()).unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
    assert!(error.to_string().contains("firewall"), "{error}");
    let unknown: Server = "no.such.host.invalid".parse().unwrap();
    let error = get(&unknown, &request(), &Patience::NONE, &limits()).unwrap_err();
    assert!(matches!(error, ClientError::Resolve { .. }), "{error}");

    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let host = FakeHost::start(vec![step(move |_| {
        let _ = is_done.recv();
    })]);
    let short = Limits { answer: Duration::from_millis(150), ..limits() };
    let error = get(&host.server(), &request(), &Patience::NONE, &short).unwrap_err();
    assert!(matches!(error, ClientError::Silent { .. }), "{error}");
    drop(done);
    host.finish();
}

#[test]
fn a_wish_to_stop_ends_the_wait() {
    let host = FakeHost::start(vec![says(GetReply::Error(ErrorCode::TryAgain))]);
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = std::sync::Arc::clone(&asked);
    let stop = Stop::when(move || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 10);
    let day = Patience { interval: Duration::from_secs(86_400), ..patient() };
    let error = get(&host.server(), &request(), &day, &Limits { stop, ..limits() }).unwrap_err();
    assert!(matches!(error, ClientError::Stopped), "{error}");
}

#[test]
fn put_asks_where_to_send() {
    let image = request().image;
    let put_request =
        PutRequest { host: None, status: false, image, bytes: 7, modified: 8, timeout: 9 };
    let existing = Some(Existing { signature: Signature::Modified(5), bytes: 6 });
    let address = Some(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 900));
    let accepted = PutAnswer { address, existing, bytes_max: 100 };
    let expected = put_request.clone();
    let steps = vec![
        step(move |peer| {
            assert_eq!(peer.hear_put(), expected);
            peer.answer_put(PutReply::Accepted(accepted));
        }),
        step(|peer| {
            peer.hear_put();
            peer.answer_put(PutReply::Error { code: ErrorCode::TooBig, bytes_max: 5 });
        }),
    ];
    let host = FakeHost::start(steps);
    let ask = || put(&host.server(), &put_request, &Patience::NONE, &limits());
    let address = Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 900));
    assert_eq!(ask().unwrap(), PutAnswer { address, ..accepted });
    assert!(ask().unwrap_err().to_string().contains("the most is 5 bytes"));
    host.finish();
}

#[test]
fn trouble_is_reported_and_old_servers_cannot_hear_of_it() {
    let report = Trouble {
        image: request().image,
        address: [239, 1, 2, 3].into(),
        port: 7001,
        what: What::Stopped,
        seconds: 10,
        received_blocks: 99,
        fallback: true,
        client: "node1".into(),
    };
    let expected = Message::Trouble(report.clone());
    let steps = vec![
        step(move |peer| {
            assert_eq!(peer.hear(), Some(expected));
            peer.say(&Message::TroubleReply(TroubleReply {}));
        }),
        step(|peer| drop(peer.hear())),
        step(|peer| {
            peer.hear();
            peer.answer_get(GetReply::Error(ErrorCode::NotImplemented));
        }),
    ];
    let host = FakeHost::start(steps);
    let tell = || trouble(&host.server(), &report, &limits());
    tell().unwrap();
    assert!(matches!(tell(), Err(ClientError::Old { .. })));
    assert!(matches!(tell(), Err(ClientError::Old { .. })));
    host.finish();
}
