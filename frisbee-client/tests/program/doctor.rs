//! The doctor as a user calls it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_frisbee-client")).args(words).output().unwrap()
}

#[test]
fn findings_are_printed_and_the_status_says_whether_all_is_well() {
    // A port that nobody listens on any more.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let output = run(&["doctor", "--server", &closed.to_string()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("FAIL  127.0.0.1 is there, but nothing listens"), "{text}");
    let output = run(&["doctor", "--server", &closed.to_string(), "--json"]);
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&object["ok"], &object["findings"][0]["code"]),
        (&false.into(), &"tcp_refused".into())
    );
}

#[test]
fn only_the_first_word_is_the_subcommand() {
    assert_eq!(run(&["doctor"]).status.code(), Some(2), "--server is missing");
    // A file that cannot be made: it is taken as a target, not as the doctor.
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("none/doctor");
    let output = run(&["-T", "1", target.to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() != Some(2) && text.contains("none/doctor"), "{text}");
}
