//! Saving straight to an image host: a scripted one, and a real imagezip.

use crate::process::{Place, finish, noise};
use rendezvous::ErrorCode;
use rendezvous::frame::{self, Failure, Message, UploadReply, Verdict};
use rendezvous::testing::{Ending, FakeHost, Step, step};
use rustix::process::{Pid, Signal, kill_process};
use std::sync::mpsc::channel;

fn place() -> Place {
    let place = Place::new();
    place.write("disk", &noise(3, 3 << 20));
    place
}

/// The words of a save to this host.
fn words(host: &FakeHost, more: &str) -> String {
    format!("-r --threads 1 {more} disk frisbee://{}/lab/a.ndz", host.address())
}

fn refuse(code: ErrorCode, message: &'static str) -> Step {
    step(move |peer| {
        peer.hear_upload();
        let error = Failure { code, message: message.into() };
        peer.say(&Message::UploadReply(UploadReply::Refused { error }));
    })
}

#[test]
fn the_host_gets_the_image_that_a_file_would_get() {
    let place = place();
    let uuid = "-u 01234567-89ab-cdef-0123-456789abcdef";
    place.imagezip(&format!("-r {uuid} disk here.ndz")).expect(0);
    let (found, image) = channel();
    let take = |secret: &'static str| {
        let found = found.clone();
        step(move |peer| {
            let upload = peer.hear_upload();
            assert_eq!(upload.name.as_str(), Some("lab/a.ndz"));
            assert!(upload.image && upload.token.is_some_and(|token| token.0 == secret));
            peer.accept("u", 0);
            let mut file = Vec::new();
            let Ending::Message(Message::End(end)) = peer.take_data(&mut file, usize::MAX) else {
                panic!("the upload did not end");
            };
            let verdict = Verdict::Published { bytes: end.bytes, blake3: end.blake3 };
            peer.say(&Message::Verdict(verdict));
            found.send(file).unwrap();
        })
    };
    let host = FakeHost::start(vec![take("word"), take("other")]);
    let said = place.imagezip(&words(&host, &format!("{uuid} --token word"))).expect(0);
    assert!(image.recv().unwrap() == place.read("here.ndz"));
    let digest = blake3::hash(&place.read("here.ndz")).to_hex();
    said.saying("published: lab/a.ndz at 127.0.0.1:").saying(&digest).saying("verified");

    let mut command = place.command("imagezip", &words(&host, &format!("{uuid} --json")));
    let ran = finish(command.env("FRISBEE_TOKEN", "other").spawn().unwrap()).expect(0);
    assert_eq!(ran.json()["published"]["blake3"], digest.as_str());
    assert_eq!(ran.json()["published"]["verified"], true);
    host.finish();
}

#[test]
fn the_exit_status_is_the_verdict() {
    let place = place();
    let at_the_end = |error: Failure| {
        step(move |peer| {
            peer.hear_upload();
            peer.accept("u", 0);
            peer.take_data(&mut Vec::new(), usize::MAX);
            peer.say(&Message::Verdict(Verdict::Refused { error }));
        })
    };
    let full = Failure { code: ErrorCode::Failed, message: "no space left".into() };
    let large = Failure { code: ErrorCode::TooBig, message: "the quota is 1 MiB".into() };
    let host = FakeHost::start(vec![
        refuse(ErrorCode::NoAccess, "this address may not upload"),
        at_the_end(full),
        at_the_end(large),
        step(|peer| {
            peer.hear_upload();
            peer.accept("u", 0);
            let mut file = Vec::new();
            peer.take_data(&mut file, usize::MAX);
            let blake3 = frame::Digest([7; 32]);
            let bytes = u64::try_from(file.len()).unwrap();
            peer.say(&Message::Verdict(Verdict::Published { bytes, blake3 }));
        }),
    ]);
    let save = || place.imagezip(&words(&host, "-q"));
    save().expect(3).saying("image lab/a.ndz: this address may not upload").in_one_line();
    save().expect(1).saying("not published: no space left").in_one_line();
    save().expect(3).saying("not published: the quota is 1 MiB").in_one_line();
    save().expect(1).saying("do not use lab/a.ndz").in_one_line();
    host.finish();
    place.imagezip("disk frisbee://127.0.0.1").expect(2).saying("frisbee://HOST/NAME");
    place.imagezip("disk frisbee://127.0.0.1:99999/x").expect(2).saying("port");
}

#[test]
fn a_host_that_is_not_there_is_named() {
    let place = place();
    let host = FakeHost::start(vec![]);
    let words = words(&host, "-q");
    let address = host.address().to_string();
    host.finish();
    place.imagezip(&words).expect(1).saying(&address).saying("does its server run").in_one_line();
}

#[test]
fn a_signal_tells_the_host_that_nothing_more_comes() {
    let place = Place::new();
    // Some noise, which is sent soon; then a hole of a tebibyte, to be saved as data: hours of
    // work, whatever the machine.
    place.write("disk", &noise(3, 3 << 20));
    let disk = std::fs::File::options().append(true).open(place.path("disk")).unwrap();
    disk.set_len(1 << 40).unwrap();
    let (begun, has_begun) = channel();
    let host = FakeHost::start(vec![step(move |peer| {
        peer.hear_upload();
        peer.accept("u", 0);
        // Before the first data the sender may not have heard that it may send.
        let mut file = Vec::new();
        assert!(matches!(peer.take_data(&mut file, 1), Ending::Enough));
        begun.send(()).unwrap();
        match peer.take_data(&mut file, usize::MAX) {
            Ending::Message(Message::Abort(abort)) => {
                assert!(abort.reason.contains("interrupted"), "{}", abort.reason);
            }
            other => panic!("expected ABORT, found {other:?}"),
        }
    })]);
    let child = place.command("imagezip", &words(&host, "-q -3")).spawn().unwrap();
    has_begun.recv().unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child).expect(128 + 2).saying("interrupted").in_one_line();
    host.finish();
}
