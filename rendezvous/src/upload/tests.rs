use super::*;
use crate::ErrorCode;
use crate::frame::{End, Failure, Message, Upload, UploadReply, UploadStart, Verdict};
use crate::record::{Existing, PutAnswer, PutReply, Signature};
use crate::testing::{Ending, FakeHost, Step, step};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

fn options() -> UploadOptions {
    let limits = Limits {
        connect: Duration::from_secs(5),
        answer: Duration::from_secs(20),
        stop: crate::client::Stop::default(),
    };
    UploadOptions { back_off: Duration::from_millis(1), limits, ..UploadOptions::default() }
}

fn image() -> ImageId {
    "p/disk.ndz".parse().unwrap()
}

/// A file whose bytes tell where they belong.
fn file(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 1000 + at) % 251).unwrap()).collect()
}

fn digest(file: &[u8]) -> Digest {
    Digest(*blake3::hash(file).as_bytes())
}

fn published(file: &[u8]) -> Message {
    let bytes = u64::try_from(file.len()).unwrap();
    Message::Verdict(Verdict::Published { bytes, blake3: digest(file) })
}

fn refused(code: ErrorCode, message: &str) -> Message {
    let error = Failure { code, message: message.into() };
    Message::Verdict(Verdict::Refused { error })
}

fn upload(host: &FakeHost, options: UploadOptions, file: &[u8]) -> Result<Published, UploadError> {
    let mut sender = Sender::start(&host.server(), &image(), options)?;
    for piece in file.chunks(300_000) {
        sender.append(piece)?;
    }
    sender.finish()
}

#[test]
fn a_file_arrives_and_the_verdict_is_returned() {
    let sent = file(5_000_000);
    let expected = sent.clone();
    let host = FakeHost::start(vec![step(move |peer| {
        let asked = peer.hear_upload();
        let name = image();
        let token = Some(Token("t".into()));
        assert_eq!(
            asked,
            Upload { name, token, bytes: Some(5_000_000), image: true, resume: None }
        );
        peer.accept("u1", 0);
        let mut found = Vec::new();
        let ending = peer.take_data(&mut found, usize::MAX);
        let end = End { bytes: 5_000_000, blake3: digest(&expected) };
        assert_eq!(ending, Ending::Message(Message::End(end)));
        assert!(found == expected);
        peer.say(&published(&found));
    })]);
    let options =
        UploadOptions { token: Some(Token("t".into())), bytes: Some(5_000_000), ..options() };
    let result = upload(&host, options, &sent).unwrap();
    let digest = Some(digest(&sent));
    assert_eq!(result, Published { bytes: 5_000_000, digest, resumed: 0 });
    host.finish();
}

#[test]
fn broken_connections_are_resumed_where_the_server_says() {
    let sent = file(4_000_000);
    let store = Arc::new(Mutex::new(Vec::new()));
    // Takes some of it and hangs up; of what it took it forgets a little, but not what it
    // acknowledged before.
    let part = |upto: usize, resumes: bool| -> Step {
        let store = Arc::clone(&store);
        step(move |peer| {
            let asked = peer.hear_upload();
            assert_eq!(asked.resume, resumes.then(|| "u7".into()));
            let mut store = store.lock().unwrap();
            peer.accept("u7", u64::try_from(store.len()).unwrap());
            if let Ending::Message(Message::End(end)) = peer.take_data(&mut store, upto) {
                assert_eq!(end.blake3, digest(&store));
                peer.say(&published(&store));
            }
        })
    };
    let refuse = step(|peer| {
        peer.hear_upload();
        let error = Failure { code: ErrorCode::TryAgain, message: "still busy with it".into() };
        peer.say(&Message::UploadReply(UploadReply::Refused { error }));
    });
    let hang_up = step(|_| {});
    let host = FakeHost::start(vec![
        part(1_000_000, false),
        hang_up,
        refuse,
        part(2_000_000, true),
        // All but the verdict.
        part(4_000_000, true),
        part(usize::MAX, true),
    ]);
    let result = upload(&host, options(), &sent).unwrap();
    assert!(result.resumed >= 2 && result.digest == Some(digest(&sent)), "{result:?}");
    assert!(*store.lock().unwrap() == sent);
    host.finish();
}

#[test]
fn an_upload_that_the_server_does_not_know_begins_anew_while_all_is_here() {
    let sent = file(700_000);
    let unknown = step(|peer| {
        assert!(peer.hear_upload().resume.is_some());
        let error = Failure { code: ErrorCode::Invalid, message: "no such upload".into() };
        peer.say(&Message::UploadReply(UploadReply::Refused { error }));
    });
    let expected = sent.clone();
    let host = FakeHost::start(vec![
        step(|peer| {
            peer.hear_upload();
            peer.accept("u1", 0);
        }),
        unknown,
        step(move |peer| assert!(peer.take_upload("u2").0 == expected)),
    ]);
    assert_eq!(upload(&host, options(), &sent).unwrap().resumed, 1);
    host.finish();
}

#[test]
fn memory_is_bounded_by_what_the_server_acknowledges() {
    // The server takes much and acknowledges nothing: the sender waits, and nobody holds more.
    let sent = file(3_000_000);
    let host = FakeHost::start(vec![step(|peer| {
        peer.hear_upload();
        peer.accept("u1", 0);
        assert_eq!(peer.hear(), None, "gave up without a word");
    })]);
    let limits = Limits { answer: Duration::from_millis(200), ..options().limits };
    let options =
        UploadOptions { window_bytes: 1 << 20, patience: Duration::ZERO, limits, ..options() };
    let mut sender = Sender::start(&host.server(), &image(), options).unwrap();
    let error = sent.chunks(300_000).find_map(|piece| sender.append(piece).err()).unwrap();
    assert!(matches!(error, UploadError::GaveUp { .. }), "{error}");
    assert!(sender.bytes() <= 1 << 20, "{}", sender.bytes());
}

#[test]
fn what_the_server_says_no_to_is_the_result() {
    let deny = |code, message: &'static str| {
        step(move |peer| {
            peer.hear_upload();
            let error = Failure { code, message: message.into() };
            peer.say(&Message::UploadReply(UploadReply::Refused { error }));
        })
    };
    let in_the_middle = step(|peer| {
        peer.hear_upload();
        peer.accept("u1", 0);
        peer.take_data(&mut Vec::new(), 1_000_000);
        peer.say(&refused(ErrorCode::Failed, "chunk 1 is damaged"));
        // Closing with data unread would reset the connection, and the verdict with it.
        peer.read_to_end(&mut Vec::new());
    });
    let at_the_end = step(|peer| {
        peer.hear_upload();
        peer.accept("u1", 0);
        peer.take_data(&mut Vec::new(), usize::MAX);
        peer.say(&refused(ErrorCode::TooBig, "the disk is full"));
    });
    let other_digest = step(|peer| {
        peer.hear_upload();
        peer.accept("u1", 0);
        let mut found = Vec::new();
        peer.take_data(&mut found, usize::MAX);
        found[77] ^= 1;
        peer.say(&published(&found));
    });
    let small = step(|peer| {
        peer.hear_upload();
        let start = UploadStart { upload_id: "u".into(), offset: 0, bytes_max: Some(1_000_000) };
        peer.say(&Message::UploadReply(UploadReply::Start(start)));
        assert!(matches!(
            peer.take_data(&mut Vec::new(), usize::MAX),
            Ending::Message(Message::Abort(_))
        ));
    });
    let forgetful = step(|peer| {
        peer.hear_upload();
        peer.accept("u1", 0);
        peer.take_data(&mut Vec::new(), 600_000);
    });
    let host = FakeHost::start(vec![
        deny(ErrorCode::NoAccess, "10.0.0.9 may not upload"),
        in_the_middle,
        at_the_end,
        other_digest,
        small,
        forgetful,
        step(|peer| {
            peer.hear_upload();
            peer.accept("u1", 5);
        }),
    ]);
    let expected = [
        (Some(ErrorCode::NoAccess), "10.0.0.9 may not upload"),
        (Some(ErrorCode::Failed), "not published: chunk 1 is damaged"),
        (Some(ErrorCode::TooBig), "not published: the disk is full"),
        (None, "do not use p/disk.ndz"),
        (Some(ErrorCode::TooBig), "longer than the 1000000 bytes"),
        (None, "goes on at byte 5"),
    ];
    for (code, part) in expected {
        let error = upload(&host, options(), &file(3_000_000)).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    host.finish();
}

#[test]
fn a_verdict_that_does_not_come_is_said_to_be_lost() {
    let all_but_the_verdict = step(|peer| {
        peer.hear_upload();
        peer.accept("u1", 0);
        peer.take_data(&mut Vec::new(), usize::MAX);
    });
    let forgotten = step(|peer| {
        peer.hear_upload();
        let error = Failure { code: ErrorCode::Invalid, message: "no such upload".into() };
        peer.say(&Message::UploadReply(UploadReply::Refused { error }));
    });
    let host = FakeHost::start(vec![all_but_the_verdict, forgotten]);
    let error = upload(&host, options(), &file(100_000)).unwrap_err();
    assert!(matches!(error, UploadError::VerdictLost { bytes: 100_000, .. }), "{error}");
    host.finish();
}

#[test]
fn an_abort_reaches_the_server_even_in_the_middle_of_a_frame() {
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, reading) = (Arc::clone(&stop), Arc::clone(&stop));
    let host = FakeHost::start(vec![step(move |peer| {
        peer.hear_upload();
        peer.accept("u1", 0);
        // Reads nothing until the sender has been told to stop.
        while !reading.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let ending = peer.take_data(&mut Vec::new(), usize::MAX);
        let abort = crate::frame::Abort { reason: "a signal".into() };
        assert_eq!(ending, Ending::Message(Message::Abort(abort)));
    })]);
    let mut options = options();
    options.limits.stop = crate::client::Stop::when(move || seen.load(Ordering::Relaxed));
    options.window_bytes = 1 << 40;
    let mut sender = Sender::start(&host.server(), &image(), options).unwrap();
    let sent = file(1 << 20);
    let error = std::thread::scope(|scope| {
        // Far more than the kernel buffers. Most likely the sender is stuck when the wish comes;
        // whenever it comes, the outcome must be the same.
        let sending = scope.spawn(|| (0..64).find_map(|_| sender.append(&sent).err()));
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        sending.join().unwrap().unwrap()
    });
    assert!(error.is_stopped(), "{error}");
    sender.abort("a signal");
    host.finish();
}

/// A deployed server: F01 is cut, then PUT. `shows` what a status request says in the end.
fn deployed(shows: Option<Existing>, regular: bool) -> (FakeHost, Arc<Mutex<Vec<u8>>>) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let found = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&found);
    let status = move |existing| {
        step(move |peer| {
            assert!(peer.hear_put().status);
            let answer = PutAnswer { address: None, existing, bytes_max: 0 };
            peer.answer_put(PutReply::Accepted(answer));
        })
    };
    let steps = vec![
        step(|peer| drop(peer.hear())),
        status(None),
        step(move |peer| {
            let request = peer.hear_put();
            assert!(!request.status && request.modified != 0);
            let address = Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
            let answer = PutAnswer { address, existing: None, bytes_max: 0 };
            peer.answer_put(PutReply::Accepted(answer));
            let (mut stream, _) = listener.accept().unwrap();
            let ended = stream.read_to_end(&mut into.lock().unwrap());
            assert_eq!(ended.is_ok(), regular);
        }),
        status(None),
        status(shows),
    ];
    (FakeHost::start(steps), found)
}

#[test]
fn a_deployed_server_gets_the_file_by_put_and_must_show_it() {
    let sent = file(2_000_000);
    let shown = Existing { signature: Signature::Modified(1), bytes: 2_000_000 };
    let (host, found) = deployed(Some(shown), true);
    let result = upload(&host, options(), &sent).unwrap();
    assert_eq!(result, Published { bytes: 2_000_000, digest: None, resumed: 0 });
    assert!(*found.lock().unwrap() == sent);
    host.finish();

    let short = Existing { bytes: 1_999_999, ..shown };
    let (host, _) = deployed(Some(short), true);
    // One look more than there are steps ends in a closed connection.
    let options = UploadOptions { patience: Duration::from_millis(200), ..options() };
    let error = upload(&host, options, &sent).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("1999999 bytes") || text.contains("verdict did not come"), "{text}");
}

#[test]
fn a_deployed_server_sees_no_regular_end_of_an_upload_that_is_given_up() {
    let (host, _) = deployed(None, false);
    let mut sender = Sender::start(&host.server(), &image(), options()).unwrap();
    assert!(!sender.is_verified());
    sender.append(&file(1000)).unwrap();
    drop(sender);
    tests_wait(|| host.played() == 3);
}

fn tests_wait(is_so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain");
        std::thread::yield_now();
    }
}
